//! Addresses that clients connect to: the endpoint in the administrator's kubeconfig, and every API server.

use std::net::{IpAddr, SocketAddr};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::error::{Doing, Error, Kind, Result};
use crate::host;
use crate::host::http::Held;
use crate::host::session::Dialler;
use crate::lab::Lab;
use crate::words::Service;

/// Name that every API server's certificate contains.
const NAME: &str = "kubernetes";

/// Addresses and credentials for a probe.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) endpoint: SocketAddr,
    /// API servers by node.
    pub(super) servers: Vec<(String, SocketAddr)>,
    pub(super) vip: Option<IpAddr>,
    /// Nodes by the MAC address of their interface.
    pub(super) machines: Vec<(String, String)>,
    pub(super) dialler: Dialler,
}

impl Target {
    /// # Errors
    ///
    /// [`Kind::Input`] if clients on this machine have no endpoint to connect to.
    pub(super) fn of(lab: &Lab) -> Result<Self> {
        let path = lab.artifacts.join("admin.kubeconfig");
        let text = Zeroizing::new(host::fs::read_to_string(&path)?);
        let word = |name: &str| {
            let value = text
                .lines()
                .find_map(|line| line.trim().trim_start_matches("- ").strip_prefix(name)?.strip_prefix(": "));
            value.map(|value| value.trim().trim_matches('"')).ok_or_else(|| {
                Error::new(Kind::Input, format!("`{}` does not contain `{name}`", path.display()))
            })
        };
        let data = |name: &str| -> Result<Zeroizing<Vec<u8>>> {
            STANDARD
                .decode(word(name)?)
                .map(Zeroizing::new)
                .doing(Kind::Input, || format!("reading `{name}` from `{}`", path.display()))
        };
        let authority = data("certificate-authority-data")?;
        let (certificate, key) = (data("client-certificate-data")?, data("client-key-data")?);
        let held = Held { authority: &authority, certificate: &certificate, key: &key };
        let servers =
            lab.guests.iter().filter(|guest| guest.image.split('+').any(|role| role == "control-plane"));
        Ok(Self {
            endpoint: endpoint(word("server")?, lab.vip)?,
            servers: servers
                .map(|guest| (guest.name.clone(), SocketAddr::new(guest.address, Service::ApiServer.port())))
                .collect(),
            vip: lab.vip,
            machines: lab.guests.iter().map(|guest| (guest.mac(&lab.cluster), guest.name.clone())).collect(),
            dialler: Dialler::new(&held, NAME)?,
        })
    }
}

/// Returns the endpoint address in a kubeconfig for clients outside the nodes or, if the kubeconfig contains
/// no such address, the VIP.
fn endpoint(server: &str, vip: Option<IpAddr>) -> Result<SocketAddr> {
    let authority = server.trim_start_matches("https://").trim_end_matches('/');
    let named = authority.parse::<SocketAddr>().ok().filter(|address| !address.ip().is_loopback());
    let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let carried = || Some(SocketAddr::new(vip?, port.unwrap_or(443)));
    named.or_else(carried).ok_or_else(|| {
        Error::new(Kind::Input, format!("this machine can't connect to the endpoint `{server}`"))
    })
}

#[cfg(test)]
mod tests {
    use super::endpoint;

    #[test]
    fn the_endpoint_is_the_address_in_the_kubeconfig_or_the_vip() {
        let vip = Some("10.0.0.10".parse().unwrap());
        assert_eq!(endpoint("https://10.0.0.10:8443", None).unwrap().to_string(), "10.0.0.10:8443");
        assert_eq!(endpoint("https://api.example:8443", vip).unwrap().to_string(), "10.0.0.10:8443");
        assert!(endpoint("https://127.0.0.1:8443", None).is_err());
    }
}
