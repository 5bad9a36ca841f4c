//! Advertisements of VRRP that are sent to this machine, for as long as it listens.

use std::net::IpAddr;

use etherparse::IpNumber;

use crate::error::Result;
use crate::host::packets::Packets;
use crate::segment::frame;

/// Hears the other virtual routers that have one identifier.
#[derive(Debug)]
pub(crate) struct Adverts {
    packets: Packets,
    id: u8,
}

impl Adverts {
    /// Listens for routers with the identifier `id`, of the VIP's family.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Io`] if this process may not.
    pub(crate) fn listen(vip: IpAddr, id: u8) -> Result<Self> {
        Ok(Self { packets: Packets::listen(IpNumber::VRRP.0, vip)?, id })
    }

    /// Whoever has said since the last call that it holds the address; who gives it up says so with priority 0 (RFC 5798 section 5.2.4).
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Io`] if the kernel refuses.
    pub(crate) fn holders(&self) -> Result<Vec<IpAddr>> {
        let mut holders = Vec::new();
        while let Some((from, packet)) = self.packets.next()? {
            let router = frame::advertisement(from, &packet).filter(|router| router.id == self.id && router.priority > 0);
            holders.extend(router.map(|router| router.from));
        }
        Ok(holders)
    }
}
