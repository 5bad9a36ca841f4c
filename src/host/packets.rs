//! Packets of one IP protocol that are sent to this machine (raw(7)). Other receivers still receive the
//! packets.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType};

use crate::error::{Doing, Kind, Result};

/// Size limit in bytes: longer packets are truncated, because the relevant ones are short.
const LONGEST: usize = 2048;

/// Socket that receives packets of one protocol, unless a packet filter drops them.
#[derive(Debug)]
pub(crate) struct Packets {
    socket: OwnedFd,
    with_header: bool,
}

impl Packets {
    /// Listens for packets with this protocol number, sent to addresses in the family of `address`.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if permission is denied.
    pub(crate) fn listen(protocol: u8, address: IpAddr) -> Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let number = NonZeroU32::new(protocol.into()).map(Protocol::from_raw);
        let socket = rustix::net::socket_with(family, SocketType::RAW, flags, number)
            .doing(Kind::Io, || format!("listening for packets of IP protocol {protocol}"))?;
        // Only IPv4 sockets return the header (ip(7), ipv6(7)).
        Ok(Self { socket, with_header: address.is_ipv4() })
    }

    /// Returns the next packet that has arrived: its sender and its content.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the kernel rejects the request.
    pub(crate) fn next(&self) -> Result<Option<(IpAddr, Vec<u8>)>> {
        let mut bytes = vec![0; LONGEST];
        let (length, from) = match rustix::net::recvfrom(&self.socket, &mut bytes, RecvFlags::empty()) {
            Ok((length, _, from)) => (length, from),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
            Err(err) => return Err(err).doing(Kind::Io, || "receiving packets".into()),
        };
        bytes.truncate(length);
        if self.with_header {
            // Its length is in words of four bytes (RFC 791 section 3.1).
            let header = bytes.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
            bytes.drain(..header.min(length));
        }
        Ok(from.and_then(|from| SocketAddr::try_from(from).ok()).map(|from| (from.ip(), bytes)))
    }
}
