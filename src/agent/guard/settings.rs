//! What a node's seed says of the VIP: `/etc/kiln/guard.toml`, rendered by the overlay `keepalived`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::error::{Doing, Kind, Result};
use crate::host;

/// One machine's view of the VIP and of what answers at it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Settings {
    pub(super) vip: IpAddr,
    pub(super) interface: String,
    pub(super) virtual_router_id: u8,
    /// The other machines that may hold it.
    pub(super) peers: Vec<IpAddr>,
    /// The file that keepalived tracks: 0 while this machine may hold the VIP.
    pub(super) verdict: PathBuf,
    /// Why it may not, as JSON for status.
    pub(super) status: PathBuf,
    /// Between two looks at what answers at the VIP.
    #[serde(deserialize_with = "milliseconds")]
    pub(super) interval: Duration,
    /// Until a look without an answer has failed.
    #[serde(deserialize_with = "milliseconds")]
    pub(super) limit: Duration,
    /// So many failures in a row count.
    pub(super) fall: u32,
    /// What answers at the VIP works if it answers here, with whatever status.
    pub(super) alive: String,
    /// It leads to an API server that is ready if the status here is 200.
    pub(super) ready: String,
    /// Who signed the certificates of these, where they are asked by TLS; PEM.
    #[serde(default)]
    pub(super) authority: Option<PathBuf>,
    /// API servers of other machines that this one does not lead to.
    #[serde(default)]
    pub(super) elsewhere: Vec<String>,
    /// What answers on other machines, or refuses, unless this one is cut off.
    pub(super) others: Vec<SocketAddr>,
    /// The router, where there is only one other machine, which may be off.
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
