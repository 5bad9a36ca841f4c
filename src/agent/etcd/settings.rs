//! What a member's seed says of its cluster: `/etc/kiln/etcd.toml`, rendered by the overlay `etcd`.

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
    /// This member.
    pub(super) name: String,
    /// etcd's `--data-dir`.
    pub(super) data: PathBuf,
    /// Where the decision is left for etcd's unit, as lines of an EnvironmentFile= of systemd.exec(5).
    pub(super) flags: PathBuf,
    /// What is waited for, as JSON for status and consoles.
    pub(super) status: PathBuf,
    /// Where the member's snapshots are kept.
    pub(super) snapshots: PathBuf,
    /// What is wrong with the member that runs, as JSON for status and consoles.
    pub(super) problems: PathBuf,
    /// Directory of `ca.crt`, `peer.crt` and `peer.key`.
    pub(super) certificates: PathBuf,
    /// Where etcd shows its metrics, to this machine alone.
    pub(super) metrics: String,
    /// TCP port on which members ask each other.
    pub(super) port: u16,
    /// TCP port on which snapshots are handed out.
    pub(super) snapshots_port: u16,
    pub(super) found: Found,
    /// Sorted by name when it is read.
    pub(super) members: Vec<Member>,
    /// From a file beside this one.
    #[serde(skip)]
    pub(super) order: Option<Order>,
}

/// How many founders must agree, as the cluster file says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Found {
    All,
    Majority,
}

/// Another member, or this one.
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
            return refuse(format!("{} members, at most {} can found a cluster", settings.members.len(), Members::CAPACITY));
        }
        if settings.place(&settings.name).is_none() {
            return refuse(format!("`{}` is not among the members", settings.name));
        }
        let stranger = settings.order.iter().flat_map(Order::named).find(|name| settings.place(name).is_none());
        if let Some(stranger) = stranger {
            return refuse(format!("the order is about `{stranger}`, which is not among the members"));
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

    /// Addresses of the other members.
    pub(crate) fn others(&self) -> Vec<IpAddr> {
        self.members.iter().filter(|member| member.name != self.name).map(|member| member.address).collect()
    }

    /// All members, less those that an order leaves out.
    pub(super) fn founders(&self) -> Members {
        let left_out = self.order.iter().flat_map(|order| &order.without).collect::<Vec<_>>();
        (0..).zip(&self.members).filter(|(_, member)| !left_out.contains(&&member.name)).map(|(place, _)| place).collect()
    }

    /// What is ordered about this member's data, unless it was carried out here.
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

    /// etcd's `--initial-cluster` of these members.
    pub(super) fn initial_cluster(&self, members: Members) -> String {
        let member = |place: Place| format!("{}={}", self.member(place).name, self.member(place).peer_url);
        members.iter().map(member).collect::<Vec<_>>().join(",")
    }
}

/// The order in the directory of a settings file, if there is one.
fn order(settings: &Path) -> Result<Option<Order>> {
    let path = settings.with_file_name(Path::new(ORDER).file_name().expect("it is a file"));
    let Some(bytes) = host::fs::read_if_exists(&path)? else { return Ok(None) };
    toml::from_slice(&bytes).map(Some).doing(Kind::Input, || format!("reading `{}`", path.display()))
}
