//! Settings of an etcd member: `/etc/kiln/etcd.toml`, rendered by the `etcd` overlay.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::decide::{Copy, Members, Ordered, Place, Unanimity};
use crate::error::{Doing, Error, Kind, Result};
use crate::host;
use crate::host::tls::Identity;
use crate::seed::{ORDER, Order};

/// One member's view of the cluster that it belongs to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Name of this member.
    pub(super) name: String,
    /// etcd's `--data-dir`.
    pub(super) data: PathBuf,
    /// File with the decision for the etcd unit, in the format of EnvironmentFile= (systemd.exec(5)).
    pub(super) flags: PathBuf,
    /// File with the reasons for waiting, as JSON for status and consoles.
    pub(super) status: PathBuf,
    /// Directory for the member's snapshots.
    pub(super) snapshots: PathBuf,
    /// File that lists the problems with the running member, as JSON for status and consoles.
    pub(super) problems: PathBuf,
    /// Directory with `ca.crt`, `peer.crt` and `peer.key`.
    pub(super) certificates: PathBuf,
    /// URL of etcd's metrics, for this machine only.
    pub(super) metrics: String,
    /// TCP port for queries between members.
    pub(super) port: u16,
    /// TCP port on which snapshots are served.
    pub(super) snapshots_port: u16,
    pub(super) found: Found,
    /// Members, sorted by name.
    pub(super) members: Vec<Member>,
    /// Order, from a file next to this one.
    #[serde(skip)]
    pub(super) order: Option<Order>,
}

/// Number of founders that must agree, as in the cluster file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Found {
    All,
    Majority,
}

/// Any member, including this one.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) address: IpAddr,
    pub(super) peer_url: String,
    pub(super) client_url: String,
}

impl Settings {
    /// Reads and checks the file.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] or [`Kind::Input`] naming the file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = host::fs::read_to_string(path)?;
        let step = || format!("reading `{}`", path.display());
        let mut settings: Self = toml::from_str(&text).doing(Kind::Input, step)?;
        settings.order = order(path)?;
        settings.members.sort_by(|one, other| one.name.cmp(&other.name));
        let refuse = |what: String| Err(Error::new(Kind::Input, format!("{}: {what}", step())));
        if settings.members.len() > Members::CAPACITY {
            return refuse(format!(
                "{} members, but at most {} can bootstrap a cluster",
                settings.members.len(),
                Members::CAPACITY
            ));
        }
        if settings.place(&settings.name).is_none() {
            return refuse(format!("`{}` is not among the members", settings.name));
        }
        let stranger =
            settings.order.iter().flat_map(Order::named).find(|name| settings.place(name).is_none());
        if let Some(stranger) = stranger {
            return refuse(format!("the order names `{stranger}`, which is not among the members"));
        }
        Ok(settings)
    }

    pub(super) fn place(&self, name: &str) -> Option<Place> {
        let at = self.members.iter().position(|member| member.name == name)?;
        Some(Place::try_from(at).expect("there are few members"))
    }

    pub(super) fn member(&self, place: Place) -> &Member {
        &self.members[usize::from(place)]
    }

    pub(super) fn me(&self) -> Place {
        self.place(&self.name).expect("it was checked when the file was read")
    }

    pub(super) fn own(&self) -> &Member {
        self.member(self.me())
    }

    /// Returns the addresses of the other members.
    pub(crate) fn others(&self) -> Vec<IpAddr> {
        self.members.iter().filter(|member| member.name != self.name).map(|member| member.address).collect()
    }

    /// Returns all members, except those that an order excludes.
    pub(super) fn founders(&self) -> Members {
        let left_out = self.order.iter().flat_map(|order| &order.without).collect::<Vec<_>>();
        (0..)
            .zip(&self.members)
            .filter(|(_, member)| !left_out.contains(&&member.name))
            .map(|(place, _)| place)
            .collect()
    }

    /// Returns the order about this member's data, unless it has already been carried out here.
    pub(super) fn ordered(&self, done: Option<&str>) -> Option<Ordered> {
        let order = self.order.as_ref().filter(|order| done != Some(order.id.as_str()))?;
        let recover = |name: &String, of: Copy| self.place(name).map(|from| Ordered::Recover { from, of });
        match (&order.restore, &order.recover_from) {
            (Some(restore), _) => recover(&restore.on, Copy::Snapshot),
            (None, Some(name)) => recover(name, Copy::Data),
            (None, None) => order.set_aside.contains(&self.name).then_some(Ordered::SetAside),
        }
    }

    pub(super) fn names(&self, members: Members) -> Vec<String> {
        members.iter().map(|place| self.member(place).name.clone()).collect()
    }

    pub(super) fn unanimity(&self) -> Unanimity {
        match self.found {
            Found::All => Unanimity::All,
            Found::Majority => Unanimity::Majority,
        }
    }

    pub(super) fn identity(&self) -> Identity {
        let file = |name: &str| self.certificates.join(name);
        Identity { authority: file("ca.crt"), certificate: file("peer.crt"), key: file("peer.key") }
    }

    pub(super) fn listening(&self) -> SocketAddr {
        SocketAddr::new(self.own().address, self.port)
    }

    /// Returns the value of etcd's `--initial-cluster` for these members.
    pub(super) fn initial_cluster(&self, members: Members) -> String {
        let member = |place: Place| format!("{}={}", self.member(place).name, self.member(place).peer_url);
        members.iter().map(member).collect::<Vec<_>>().join(",")
    }
}

/// Reads the order next to a settings file, if there is one.
fn order(settings: &Path) -> Result<Option<Order>> {
    let path = settings.with_file_name(Path::new(ORDER).file_name().expect("the path names a file"));
    let Some(bytes) = host::fs::read_if_exists(&path)? else { return Ok(None) };
    toml::from_slice(&bytes).map(Some).doing(Kind::Input, || format!("reading `{}`", path.display()))
}
