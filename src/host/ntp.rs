//! Clock offset of another machine, measured with SNTP (RFC 4330): one packet each way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rsntp::{Config, SntpClient};

use crate::error::{Doing, Kind, Result};

/// NTP port.
const PORT: u16 = 123;

/// Returns the seconds by which the clock of `address` is ahead of this machine's clock.
///
/// # Errors
///
/// [`Kind::Network`] if the machine does not respond within `limit`, or reports that it does not know the
/// time.
pub(crate) fn offset(address: IpAddr, limit: Duration) -> Result<f64> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let client =
        SntpClient::with_config(Config::default().bind_address(SocketAddr::new(any, 0)).timeout(limit));
    let answer = client
        .synchronize(SocketAddr::new(address, PORT))
        .doing(Kind::Network, || format!("querying {address} for the time"))?;
    Ok(answer.clock_offset().as_secs_f64())
}
