//! Guard settings: `/etc/kiln/guard.toml`, rendered by the `keepalived` overlay.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::error::{Doing, Kind, Result};
use crate::host;

/// One machine's view of the VIP and of the service at the VIP.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Settings {
    pub(super) vip: IpAddr,
    pub(super) interface: String,
    pub(super) virtual_router_id: u8,
    /// Other machines that can hold the VIP.
    pub(super) peers: Vec<IpAddr>,
    /// File that keepalived tracks; contains 0 while this machine is allowed to hold the VIP.
    pub(super) verdict: PathBuf,
    /// File with the reason that this machine must not hold the VIP, as JSON for `kiln agent status`.
    pub(super) status: PathBuf,
    /// Interval between checks of the service at the VIP.
    #[serde(deserialize_with = "milliseconds")]
    pub(super) interval: Duration,
    /// Time limit for a check.
    #[serde(deserialize_with = "milliseconds")]
    pub(super) limit: Duration,
    /// Number of consecutive failures after which the service counts as failed.
    pub(super) fall: u32,
    /// URL at which a working service at the VIP responds, with any status.
    pub(super) alive: String,
    /// URL that returns status 200 if the service reaches a ready API server.
    pub(super) ready: String,
    /// CA certificate for these URLs, if they use TLS, in PEM format.
    #[serde(default)]
    pub(super) authority: Option<PathBuf>,
    /// URLs of API servers on other machines that this machine's service does not forward to.
    #[serde(default)]
    pub(super) elsewhere: Vec<String>,
    /// Addresses on other machines that accept or refuse connections unless this machine is isolated.
    pub(super) others: Vec<SocketAddr>,
    /// Router, used if there is only one other machine, which may be off.
    #[serde(default)]
    pub(super) gateway: Option<IpAddr>,
}

impl Settings {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] or [`Kind::Input`] naming the file.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = host::fs::read_to_string(path)?;
        toml::from_str(&text).doing(Kind::Input, || format!("reading `{}`", path.display()))
    }
}

fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}
