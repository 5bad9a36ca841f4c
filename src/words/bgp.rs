//! BGP settings for a VIP that is announced to routers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// BGP settings with which kube-vip announces the VIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Bgp {
    /// Autonomous system of the control-plane nodes.
    pub(crate) local_as: u32,
    /// Routers; not empty.
    pub(crate) peers: Vec<BgpPeer>,
    /// True if peers may be more than one hop away.
    pub(crate) multihop: bool,
}

/// One router: `10.0.0.1:64512` or `[fd00::1]:64512`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct BgpPeer {
    pub(crate) address: IpAddr,
    pub(crate) autonomous_system: u32,
}

impl std::str::FromStr for BgpPeer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a router address with an autonomous system number, such as `10.0.0.1:64512`"
            )
        };
        let (address, system) = text.rsplit_once(':').ok_or_else(wrong)?;
        let autonomous_system = system.parse().ok().filter(|system| *system > 0).ok_or_else(wrong)?;
        let bracketed = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let address = match bracketed {
            Some(inside) => inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => address.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        };
        Ok(Self { address: address.ok_or_else(wrong)?, autonomous_system })
    }
}

impl TryFrom<String> for BgpPeer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<BgpPeer> for String {
    fn from(peer: BgpPeer) -> Self {
        peer.to_string()
    }
}

impl fmt::Display for BgpPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(f, "{address}:{}", self.autonomous_system),
            IpAddr::V6(address) => write!(f, "[{address}]:{}", self.autonomous_system),
        }
    }
}
