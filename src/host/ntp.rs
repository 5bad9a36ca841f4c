//! What another machine's clock says, by SNTP (RFC 4330): one packet there, one back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use rsntp::{Config, SntpClient};

use crate::error::{Doing, Kind, Result};

/// Port of NTP.
const PORT: u16 = 123;

/// By how many seconds the clock of `address` is ahead of this machine's.
///
/// # Errors
///
/// [`Kind::Network`] if it does not answer within `limit`, or says that it does not know the time.
pub(crate) fn offset(address: IpAddr, limit: Duration) -> Result<f64> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let client = SntpClient::with_config(Config::default().bind_address(SocketAddr::new(any, 0)).timeout(limit));
    let answer = client.synchronize(SocketAddr::new(address, PORT)).doing(Kind::Network, || format!("asking {address} for the time"))?;
    Ok(answer.clock_offset().as_secs_f64())
}
