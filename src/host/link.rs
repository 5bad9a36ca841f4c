//! Network interface below IP: sends and receives whole Ethernet frames of any protocol.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{LinkAddr, SockaddrStorage};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::error::{Doing, Error, Kind, Result};

/// `ARPHRD_ETHER` from `linux/if_arp.h`.
const ETHERNET: u16 = 1;
/// Size limit in bytes: longer frames are truncated, because the relevant ones are short.
const LONGEST: usize = 2048;

/// An Ethernet address.
pub(crate) type Mac = [u8; 6];

/// Interface that is up, with sockets that receive frames of some EtherTypes, including those that a packet
/// filter drops.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) mac: Mac,
    pub(crate) addresses: Vec<IpAddr>,
    name: String,
    index: u32,
    sockets: Vec<OwnedFd>,
    /// Sockets that keep this machine in the multicast groups.
    groups: Vec<UdpSocket>,
}

impl Link {
    /// Opens the interface `name` for frames of these EtherTypes; sent frames use the first type.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if there is no such Ethernet interface or it is down; [`Kind::Io`] if permission is
    /// denied.
    pub(crate) fn open(name: &str, types: &[u16]) -> Result<Self> {
        let all: Vec<InterfaceAddress> =
            getifaddrs().doing(Kind::Io, || "listing network interfaces".into())?.collect();
        let link = find(name, &all)?;
        let sockets =
            types.iter().map(|ether_type| listen(*ether_type, &link)).collect::<std::io::Result<Vec<_>>>();
        let sockets = sockets.doing(Kind::Io, || format!("listening on `{name}`"));
        let sockets = sockets.map_err(|err| {
            err.hint(
                "run this as root, or grant CAP_NET_RAW to the program: `sudo setcap cap_net_raw+ep kiln`",
            )
        })?;
        Ok(Self {
            mac: link.addr().unwrap_or_default(),
            addresses: all
                .iter()
                .filter(|entry| entry.interface_name == name)
                .filter_map(ip_address)
                .collect(),
            name: name.to_owned(),
            index: u32::try_from(link.ifindex()).unwrap_or_default(),
            sockets,
            groups: Vec::new(),
        })
    }

    /// Joins a multicast group, so that network cards and switches forward its frames to this machine.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the kernel rejects the request.
    pub(crate) fn join(&mut self, group: IpAddr) -> Result<()> {
        let joined = match group {
            IpAddr::V4(group) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
                rustix::net::sockopt::set_ip_add_membership_with_ifindex(
                    &socket,
                    &group,
                    &Ipv4Addr::UNSPECIFIED,
                    self.index,
                )?;
                Ok(socket)
            }),
            IpAddr::V6(group) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).and_then(|socket| {
                socket.join_multicast_v6(&group, self.index)?;
                Ok(socket)
            }),
        };
        self.groups.push(
            joined.doing(Kind::Io, || format!("joining the multicast group {group} on `{}`", self.name))?,
        );
        Ok(())
    }

    /// Sends a whole frame.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the interface went down.
    pub(crate) fn send(&self, frame: &[u8]) -> Result<()> {
        let socket = self.sockets.first().expect("a link is opened for at least one type");
        rustix::net::send(socket, frame, SendFlags::empty())
            .doing(Kind::Io, || format!("sending on `{}`", self.name))
            .map(drop)
    }

    /// Returns the next frame, or `None` after `limit`.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the interface went down.
    pub(crate) fn receive(&self, limit: Duration) -> Result<Option<Vec<u8>>> {
        let step = || format!("listening on `{}`", self.name);
        let mut waiting: Vec<PollFd<'_>> =
            self.sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        let limit = Timespec::try_from(limit).expect("limits are short");
        match rustix::event::poll(&mut waiting, Some(&limit)) {
            Ok(0) | Err(Errno::INTR) => return Ok(None),
            other => other.doing(Kind::Io, step)?,
        };
        let ready = waiting.iter().position(|socket| !socket.revents().is_empty());
        ready.map_or(Ok(None), |ready| next(&self.sockets[ready])).doing(Kind::Io, step)
    }
}

/// Returns the addresses of the interface `name`; empty if there is no such interface.
///
/// # Errors
///
/// [`Kind::Io`] if the kernel does not list interfaces.
pub(crate) fn addresses(name: &str) -> Result<Vec<IpAddr>> {
    let all = getifaddrs().doing(Kind::Io, || "listing network interfaces".into())?;
    Ok(all.filter(|entry| entry.interface_name == name).filter_map(|entry| ip_address(&entry)).collect())
}

fn find(name: &str, all: &[InterfaceAddress]) -> Result<LinkAddr> {
    let link =
        |entry: &InterfaceAddress| entry.address.as_ref().and_then(SockaddrStorage::as_link_addr).copied();
    let ethernet = |entry: &&InterfaceAddress| link(entry).is_some_and(|link| link.hatype() == ETHERNET);
    let Some((entry, link)) = all
        .iter()
        .filter(ethernet)
        .find(|entry| entry.interface_name == name)
        .and_then(|entry| Some((entry, link(entry)?)))
    else {
        let names =
            all.iter().filter(ethernet).filter(|entry| !entry.flags.contains(InterfaceFlags::IFF_LOOPBACK));
        let names = names.map(|entry| format!("`{}`", entry.interface_name)).collect::<Vec<_>>().join(", ");
        let hint = if names.is_empty() {
            "there are no Ethernet interfaces".to_owned()
        } else {
            format!("available interfaces: {names}")
        };
        return Err(
            Error::new(Kind::Input, format!("this machine has no Ethernet interface `{name}`")).hint(hint)
        );
    };
    if !entry.flags.contains(InterfaceFlags::IFF_UP) {
        let hint = format!("bring it up: `ip link set {name} up`");
        return Err(Error::new(Kind::Input, format!("the interface `{name}` is down")).hint(hint));
    }
    Ok(link)
}

fn ip_address(entry: &InterfaceAddress) -> Option<IpAddr> {
    let address = entry.address.as_ref()?;
    let fourth = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    fourth.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// Returns a socket for one interface (packet(7)). Until it is bound, it receives from all interfaces, so
/// earlier frames are dropped.
fn listen(ether_type: u16, link: &LinkAddr) -> std::io::Result<OwnedFd> {
    use std::os::fd::AsRawFd as _;
    let protocol = NonZeroU32::new(u32::from(ether_type.to_be())).map(Protocol::from_raw);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::PACKET, SocketType::RAW, flags, protocol)?;
    nix::sys::socket::bind(socket.as_raw_fd(), link)?;
    while next(&socket)?.is_some() {}
    Ok(socket)
}

fn next(socket: &OwnedFd) -> std::io::Result<Option<Vec<u8>>> {
    let mut frame = vec![0; LONGEST];
    match rustix::net::recv(socket, &mut frame, RecvFlags::empty()) {
        Ok((length, _)) => {
            frame.truncate(length);
            Ok(Some(frame))
        }
        Err(Errno::AGAIN) => Ok(None),
        Err(err) => Err(err.into()),
    }
}
