//! VRRP advertisements that this machine receives while it listens.

use std::net::IpAddr;

use etherparse::IpNumber;

use crate::error::Result;
use crate::host::packets::Packets;
use crate::segment::frame;

/// Receives the advertisements of other virtual routers with one identifier.
#[derive(Debug)]
pub(crate) struct Adverts {
    packets: Packets,
    id: u8,
}

impl Adverts {
    /// Listens for routers with the identifier `id`, in the VIP's address family.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Io`] if this process lacks permission.
    pub(crate) fn listen(vip: IpAddr, id: u8) -> Result<Self> {
        Ok(Self { packets: Packets::listen(IpNumber::VRRP.0, vip)?, id })
    }

    /// Returns the machines that have advertised the address since the last call; priority 0 means that a
    /// machine releases the address (RFC 5798 section 5.2.4).
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Io`] if the kernel rejects the request.
    pub(crate) fn holders(&self) -> Result<Vec<IpAddr>> {
        let mut holders = Vec::new();
        while let Some((from, packet)) = self.packets.next()? {
            let router = frame::advertisement(from, &packet)
                .filter(|router| router.id == self.id && router.priority > 0);
            holders.extend(router.map(|router| router.from));
        }
        Ok(holders)
    }
}
