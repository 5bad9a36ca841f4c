//! What members of etcd keep of their cluster, as whoever has the vault sees it and takes it away.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, Node, SNAPSHOTS_PORT};
use crate::digest::{Digest, Hasher};
use crate::disk;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::host::tls::{Asking, Held};
use crate::pipeline::Site;
use crate::pipeline::site::Sources;
use crate::pki::Vault;
use crate::profile::closest;

/// A snapshot that a member keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Offered {
    pub(crate) number: u64,
    pub(crate) revision: u64,
    pub(crate) sha256: Digest,
    pub(crate) size: u64,
    /// By the clock that the member had then.
    pub(crate) saved: String,
}

/// What one member keeps, newest first, or why it does not say.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) snapshots: Vec<Offered>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// A snapshot that was fetched, and from whom.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Fetched {
    pub(crate) member: String,
    #[serde(flatten)]
    pub(crate) snapshot: Offered,
}

/// Members of a cluster, and the way to ask them.
struct Offering {
    cluster: Cluster,
    asking: Asking,
}

impl Offering {
    fn open(sources: &Sources<'_>) -> Result<Self> {
        let cluster = Site::load(sources)?.cluster;
        let reader = Vault::open(&cluster.vault)?.snapshots_reader(&cluster)?;
        let held = Held { authority: reader.authority.as_bytes(), certificate: reader.certificate.as_bytes(), key: reader.key.as_bytes() };
        Ok(Self { asking: Asking::with(&held)?, cluster })
    }

    fn ask(&self, node: &Node) -> Member {
        let list = || {
            let mut text = Vec::new();
            self.asking.fetch(address(node), "/snapshots", &mut text)?;
            serde_json::from_slice(&text).doing(Kind::Network, || "reading its list".into())
        };
        let (snapshots, error) = match list() {
            Ok(snapshots) => (snapshots, None),
            Err(err) => (Vec::new(), Some(err.to_string())),
        };
        Member { name: node.name.clone(), snapshots, error }
    }

    fn all(&self, from: Option<&str>) -> Vec<Member> {
        let nodes = self.cluster.etcd_members();
        let asked = nodes.into_iter().filter(|node| from.is_none_or(|from| node.name == from));
        std::thread::scope(|scope| {
            let asked: Vec<_> = asked.map(|node| scope.spawn(|| self.ask(node))).collect();
            asked.into_iter().map(|asked| asked.join().expect("asking doesn't panic")).collect()
        })
    }
}

fn address(node: &Node) -> SocketAddr {
    SocketAddr::new(node.address, SNAPSHOTS_PORT)
}

/// What every member keeps.
///
/// # Errors
///
/// Those of the cluster file and the vault; a member that does not answer is in the list with the reason.
pub(crate) fn snapshots(sources: &Sources<'_>) -> Result<Vec<Member>> {
    Ok(Offering::open(sources)?.all(None))
}

/// Takes a snapshot away to a new file, which is its owner's alone: the newest one, or the one with this digest, of one member or of any.
///
/// # Errors
///
/// [`Kind::Input`] for a name that is no member, or if `out` exists; [`Kind::Network`] if nobody has one; [`Kind::Verify`] if what came is
/// not what was offered.
pub(crate) fn fetch_snapshot(sources: &Sources<'_>, from: Option<&str>, wanted: Option<Digest>, out: &Path) -> Result<Fetched> {
    let offering = Offering::open(sources)?;
    let names: Vec<&str> = offering.cluster.etcd_members().into_iter().map(|node| node.name.as_str()).collect();
    if let Some(from) = from.filter(|from| !names.contains(from)) {
        let hint = closest(from, names.iter().copied()).map(|other| format!("did you mean `{other}`?"));
        let hint = hint.unwrap_or_else(|| format!("its members are {}", names.join(", ")));
        return Err(Error::new(Kind::Input, format!("`{from}` is not a member of etcd")).hint(hint));
    }
    if out.exists() {
        return Err(Error::new(Kind::Input, format!("`{}` exists", out.display())).hint("name another file with `--out`"));
    }
    let members = offering.all(from);
    let offered = members.iter().flat_map(|member| member.snapshots.iter().map(move |snapshot| (member, snapshot)));
    let offered = offered.filter(|(_, snapshot)| wanted.is_none_or(|wanted| snapshot.sha256 == wanted));
    // Revisions are the cluster's, numbers each member's own.
    let (member, snapshot) = offered.max_by_key(|(_, snapshot)| snapshot.revision).ok_or_else(|| nobody(&members))?;
    let node = offering.cluster.nodes.iter().find(|node| node.name == member.name).expect("it was asked");
    let path = format!("/snapshots/{}", snapshot.number);
    let mut failed = None;
    let written = host::fs::write_atomic_with(out, host::fs::PRIVATE, |to| {
        let mut checked = Checked { to, hasher: Hasher::default() };
        let fetched = offering.asking.fetch(address(node), &path, &mut checked);
        let actual = checked.hasher.finish();
        let differs =
            || Error::new(Kind::Verify, format!("what {} sent has the SHA-256 {actual}, and not {}", member.name, snapshot.sha256));
        let result = fetched.and_then(|_| if actual == snapshot.sha256 { Ok(()) } else { Err(differs()) });
        result.map_err(|err| {
            let text = err.to_string();
            failed = Some(err);
            io::Error::other(text)
        })
    });
    failed.map_or(written, Err)?;
    if let Err(err) = disk::etcd::verify(&host::fs::open(out)?).within(|| format!("checking what {} sent", member.name)) {
        host::fs::remove(out)?;
        return Err(err);
    }
    Ok(Fetched { member: member.name.clone(), snapshot: snapshot.clone() })
}

fn nobody(members: &[Member]) -> Error {
    let why = |member: &Member| format!("{}: {}", member.name, member.error.as_deref().unwrap_or("it keeps none such"));
    let all = members.iter().map(why).collect::<Vec<_>>().join("; ");
    Error::new(Kind::Network, format!("no member offers the snapshot: {all}")).hint("run `kiln snapshot list` to see what there is")
}

/// Digests what is written.
struct Checked<'a> {
    to: &'a mut dyn io::Write,
    hasher: Hasher,
}

impl io::Write for Checked<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
