//! One network interface below IP: whole Ethernet frames, out and in. It knows no protocol.

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

/// `ARPHRD_ETHER` of `linux/if_arp.h`.
const ETHERNET: u16 = 1;
/// Longer frames are cut: what is looked for is short.
const LONGEST: usize = 2048;

/// An Ethernet address.
pub(crate) type Mac = [u8; 6];

/// An interface that is up, with sockets that hear frames of some EtherTypes. They hear what a packet filter drops.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) mac: Mac,
    pub(crate) addresses: Vec<IpAddr>,
    name: String,
    index: u32,
    sockets: Vec<OwnedFd>,
    /// Keep this machine in the multicast groups.
    groups: Vec<UdpSocket>,
}

impl Link {
    /// Opens the interface `name` for frames of these EtherTypes; the first is that of the frames which will be sent.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if there is no such Ethernet interface or it is down; [`Kind::Io`] if this process may not.
    pub(crate) fn open(name: &str, types: &[u16]) -> Result<Self> {
        let all: Vec<InterfaceAddress> = getifaddrs().doing(Kind::Io, || "listing network interfaces".into())?.collect();
        let link = find(name, &all)?;
        let sockets = types.iter().map(|ether_type| listen(*ether_type, &link)).collect::<std::io::Result<Vec<_>>>();
        let sockets = sockets.doing(Kind::Io, || format!("listening on `{name}`"));
        let sockets =
            sockets.map_err(|err| err.hint("run this as root, or give the program CAP_NET_RAW: `sudo setcap cap_net_raw+ep kiln`"))?;
        Ok(Self {
            mac: link.addr().unwrap_or_default(),
            addresses: all.iter().filter(|entry| entry.interface_name == name).filter_map(ip_address).collect(),
            name: name.to_owned(),
            index: u32::try_from(link.ifindex()).unwrap_or_default(),
            sockets,
            groups: Vec::new(),
        })
    }

    /// Lets frames to a multicast group through: network cards and switches keep others from this machine.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the kernel refuses.
    pub(crate) fn join(&mut self, group: IpAddr) -> Result<()> {
        let joined = match group {
            IpAddr::V4(group) => UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
                rustix::net::sockopt::set_ip_add_membership_with_ifindex(&socket, &group, &Ipv4Addr::UNSPECIFIED, self.index)?;
                Ok(socket)
            }),
            IpAddr::V6(group) => UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).and_then(|socket| {
                socket.join_multicast_v6(&group, self.index)?;
                Ok(socket)
            }),
        };
        self.groups.push(joined.doing(Kind::Io, || format!("joining {group} on `{}`", self.name))?);
        Ok(())
    }

    /// Sends a whole frame.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the interface went down.
    pub(crate) fn send(&self, frame: &[u8]) -> Result<()> {
        let socket = self.sockets.first().expect("a link is opened for one type at least");
        rustix::net::send(socket, frame, SendFlags::empty()).doing(Kind::Io, || format!("sending on `{}`", self.name)).map(drop)
    }

    /// The next frame, or none within `limit`.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the interface went down.
    pub(crate) fn receive(&self, limit: Duration) -> Result<Option<Vec<u8>>> {
        let step = || format!("listening on `{}`", self.name);
        let mut waiting: Vec<PollFd<'_>> = self.sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        let limit = Timespec::try_from(limit).expect("a limit is short");
        match rustix::event::poll(&mut waiting, Some(&limit)) {
            Ok(0) | Err(Errno::INTR) => return Ok(None),
            other => other.doing(Kind::Io, step)?,
        };
        let ready = waiting.iter().position(|socket| !socket.revents().is_empty());
        ready.map_or(Ok(None), |ready| next(&self.sockets[ready])).doing(Kind::Io, step)
    }
}

/// Addresses of the interface `name`; none where there is no such interface.
///
/// # Errors
///
/// [`Kind::Io`] if the kernel does not list interfaces.
pub(crate) fn addresses(name: &str) -> Result<Vec<IpAddr>> {
    let all = getifaddrs().doing(Kind::Io, || "listing network interfaces".into())?;
    Ok(all.filter(|entry| entry.interface_name == name).filter_map(|entry| ip_address(&entry)).collect())
}

fn find(name: &str, all: &[InterfaceAddress]) -> Result<LinkAddr> {
    let link = |entry: &InterfaceAddress| entry.address.as_ref().and_then(SockaddrStorage::as_link_addr).copied();
    let ethernet = |entry: &&InterfaceAddress| link(entry).is_some_and(|link| link.hatype() == ETHERNET);
    let Some((entry, link)) =
        all.iter().filter(ethernet).find(|entry| entry.interface_name == name).and_then(|entry| Some((entry, link(entry)?)))
    else {
        let names = all.iter().filter(ethernet).filter(|entry| !entry.flags.contains(InterfaceFlags::IFF_LOOPBACK));
        let names = names.map(|entry| format!("`{}`", entry.interface_name)).collect::<Vec<_>>().join(", ");
        let hint = if names.is_empty() { "it has none".to_owned() } else { format!("it has {names}") };
        return Err(Error::new(Kind::Input, format!("this machine has no Ethernet interface `{name}`")).hint(hint));
    };
    if !entry.flags.contains(InterfaceFlags::IFF_UP) {
        let hint = format!("switch it on: `ip link set {name} up`");
        return Err(Error::new(Kind::Input, format!("the interface `{name}` is down")).hint(hint));
    }
    Ok(link)
}

fn ip_address(entry: &InterfaceAddress) -> Option<IpAddr> {
    let address = entry.address.as_ref()?;
    let fourth = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    fourth.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// A socket that hears one interface, packet(7): until it is bound it hears all of them, so what came until then is dropped.
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
