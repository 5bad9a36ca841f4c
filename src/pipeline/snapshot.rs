//! What members of etcd keep of their cluster, as whoever has the vault sees it and takes it away.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cluster::{Cluster, Node};
use crate::digest::Digest;
use crate::disk;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::host::http::{Answer, Client, Held, Patience};
use crate::pipeline::Site;
use crate::pipeline::site::{Sources, member};
use crate::pki::Vault;
use crate::words::SNAPSHOTS_PORT;

/// A list is shorter.
const LONGEST: u64 = 1 << 16;
/// Machines are near, or off.
const PATIENCE: Patience =
    Patience { connect: Duration::from_secs(3), silence: Duration::from_secs(30), pause: Duration::ZERO, attempts: 1 };

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
    client: Client,
}

impl Offering {
    fn open(sources: &Sources<'_>) -> Result<Self> {
        let cluster = Site::load(sources)?.cluster;
        let reader = Vault::open(&cluster.vault)?.snapshots_reader(&cluster)?;
        let held = Held { authority: reader.authority.as_bytes(), certificate: reader.certificate.as_bytes(), key: reader.key.as_bytes() };
        Ok(Self { client: Client::among(&held, PATIENCE)?, cluster })
    }

    fn ask(&self, node: &Node) -> Member {
        let list = || {
            let text = self.client.read(&url(node, "/snapshots"), LONGEST)?.unwrap_or_default();
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

fn url(node: &Node, path: &str) -> String {
    format!("https://{}{path}", SocketAddr::new(node.address, SNAPSHOTS_PORT))
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
/// [`Kind::Input`] for a name that is no member, or if `out` exists; [`Kind::Network`] if no member has one; [`Kind::Verify`] if what came is
/// not what was offered.
pub(crate) fn fetch_snapshot(sources: &Sources<'_>, from: Option<&str>, wanted: Option<Digest>, out: &Path) -> Result<Fetched> {
    let offering = Offering::open(sources)?;
    from.map_or(Ok(()), |from| member(&offering.cluster, from))?;
    if out.exists() {
        return Err(Error::new(Kind::Input, format!("`{}` exists", out.display())).hint("name another file with `--out`"));
    }
    let members = offering.all(from);
    let offered = members.iter().flat_map(|member| member.snapshots.iter().map(move |snapshot| (member, snapshot)));
    let offered = offered.filter(|(_, snapshot)| wanted.is_none_or(|wanted| snapshot.sha256 == wanted));
    // Revisions are the cluster's, numbers each member's own.
    let (member, snapshot) = offered.max_by_key(|(_, snapshot)| snapshot.revision).ok_or_else(|| none(&members))?;
    let node = offering.cluster.nodes.iter().find(|node| node.name == member.name).expect("it was asked");
    let url = url(node, &format!("/snapshots/{}", snapshot.number));
    // It is a file of the user's only after it was read whole.
    host::fs::write_checked(out, host::fs::PRIVATE, |file| {
        let Answer::Body(body) = offering.client.get(&url, 0)? else {
            return Err(Error::new(Kind::Network, format!("{} no longer offers the snapshot", member.name)).hint("fetch the newest one"));
        };
        host::fs::copy(body, &mut &*file, || format!("fetching `{url}`"))?;
        disk::etcd::verify(file, Some(snapshot.sha256)).within(|| format!("checking what {} sent", member.name)).map(drop)
    })?;
    Ok(Fetched { member: member.name.clone(), snapshot: snapshot.clone() })
}

fn none(members: &[Member]) -> Error {
    let why = |member: &Member| format!("{}: {}", member.name, member.error.as_deref().unwrap_or("it keeps none such"));
    let all = members.iter().map(why).collect::<Vec<_>>().join("; ");
    Error::new(Kind::Network, format!("no member offers the snapshot: {all}")).hint("run `kiln snapshot list` to see what there is")
}
