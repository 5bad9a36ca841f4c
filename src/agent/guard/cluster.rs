//! Check of the rest of the cluster: whether an API server is ready for this machine and, if not, whether the
//! machine is isolated.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::own;
use super::settings::Settings;
use super::verdict::Standing;
use crate::error::Result;
use crate::host;
use crate::host::http::Client;
use crate::segment;

/// Interval between checks. An API server that is not ready is not urgent, because balancers skip it.
const PAUSE: Duration = Duration::from_millis(500);
/// Time limit for a request, during which nginx may try several servers one after another.
const LIMIT: Duration = Duration::from_secs(1);
/// Time limit for another machine to accept or refuse a connection.
const TOUCH: Duration = Duration::from_millis(500);

/// Last observed [`Standing`]; `None` at first.
pub(super) type Seen = Mutex<Option<Standing>>;

/// Returns the last observation.
pub(super) fn seen(seen: &Seen) -> Option<Standing> {
    *seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Checks for as long as the machine runs. A bad result counts only if it occurs twice in a row.
pub(super) fn watch(settings: &Settings, client: &Client, seen: &Seen) -> ! {
    let mut before = None;
    loop {
        let standing = look(settings, client);
        if standing == Standing::Fit || before == Some(standing) {
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(standing);
        }
        before = Some(standing);
        host::clock::sleep(PAUSE);
    }
}

/// Returns the client for requests to API servers, or to the balancer in front of them.
pub(super) fn client(settings: &Settings) -> Result<Client> {
    own::client(settings, LIMIT)
}

fn look(settings: &Settings, client: &Client) -> Standing {
    let is_ready = |url: &String| client.status(url).is_ok_and(|status| status == 200);
    if is_ready(&settings.ready) {
        Standing::Fit
    } else if any(&settings.elsewhere, is_ready) {
        Standing::Outdone
    } else if settings.others.is_empty()
        || any(&settings.others, |other| is_there(*other))
        || router_is_there(settings)
    {
        Standing::Fit
    } else {
        Standing::CutOff
    }
}

/// Checks all elements in parallel.
fn any<T: Sync>(all: &[T], ask: impl Fn(&T) -> bool + Sync) -> bool {
    let ask = &ask;
    std::thread::scope(|scope| {
        let asked: Vec<_> = all.iter().map(|one| scope.spawn(move || ask(one))).collect();
        asked.into_iter().any(|asked| asked.join().unwrap_or_default())
    })
}

/// Checks whether a machine is up; a refused connection is also a response.
fn is_there(address: SocketAddr) -> bool {
    match TcpStream::connect_timeout(&address, TOUCH) {
        Ok(_) => true,
        Err(err) => err.kind() == std::io::ErrorKind::ConnectionRefused,
    }
}

fn router_is_there(settings: &Settings) -> bool {
    settings
        .gateway
        .is_some_and(|gateway| segment::answers(&settings.interface, gateway, TOUCH).unwrap_or_default())
}
