//! Service notifications to systemd (sd_notify(3)).

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::error::{Doing, Kind, Result};

/// Reports that this service is ready; does nothing if systemd does not wait for it.
///
/// # Errors
///
/// [`Kind::Io`] if systemd does not accept the message.
pub(crate) fn ready() -> Result<()> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Ok(()) };
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    let send = |address: SocketAddr| UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address);
    address.and_then(send).map(drop).doing(Kind::Io, || "notifying systemd that this service is ready".into())
}
