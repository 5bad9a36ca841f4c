//! Check of this machine's own service at the VIP.

use std::time::Duration;

use super::settings::Settings;
use super::verdict::Look;
use crate::error::Result;
use crate::host::clock::Stopwatch;
use crate::host::fs;
use crate::host::http::{Client, Patience};

/// Delay beyond a request's time limits that shows that this program was not scheduled.
const LATE: Duration = Duration::from_millis(500);

/// Client with a persistent connection, so that a balancer at its connection limit still responds.
pub(super) struct Own<'a> {
    settings: &'a Settings,
    client: Client,
}

impl<'a> Own<'a> {
    pub(super) fn new(settings: &'a Settings) -> Result<Self> {
        Ok(Self { settings, client: client(settings, settings.limit)? })
    }

    pub(super) fn look(&self) -> Look {
        let watch = Stopwatch::start();
        match self.client.status(&self.settings.alive) {
            Ok(_) => Look::Answered,
            // One limit for connecting, one for the response.
            Err(_) if watch.elapsed() > 2 * self.settings.limit + LATE => Look::Void,
            Err(_) => Look::Failed,
        }
    }
}

/// Returns a client that makes a single attempt, with `limit` for the connection and for the response.
pub(super) fn client(settings: &Settings, limit: Duration) -> Result<Client> {
    let patience = Patience { connect: limit, silence: limit, pause: Duration::ZERO, attempts: 1 };
    match &settings.authority {
        Some(authority) => Client::trusting(&fs::read(authority)?, patience),
        None => Ok(Client::local(patience)),
    }
}
