//! Lists and fetches the snapshots kept by etcd members, with keys from the vault.

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
use crate::words::Service;

/// Maximum size of a list in bytes.
const LONGEST: u64 = 1 << 16;
/// Request timeouts, which are short because machines are either nearby or off.
const PATIENCE: Patience = Patience {
    connect: Duration::from_secs(3),
    silence: Duration::from_secs(30),
    pause: Duration::ZERO,
    attempts: 1,
};

/// A snapshot kept by a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Offered {
    pub(crate) number: u64,
    pub(crate) revision: u64,
    pub(crate) sha256: Digest,
    pub(crate) size: u64,
    /// Time of the snapshot according to the member's clock.
    pub(crate) saved: String,
}

/// Snapshots of one member, newest first, or the error from listing them.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) snapshots: Vec<Offered>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
}

/// A fetched snapshot and the member that it came from.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Fetched {
    pub(crate) member: String,
    #[serde(flatten)]
    pub(crate) snapshot: Offered,
}

/// A cluster, and the client for requests to its members.
struct Offering {
    cluster: Cluster,
    client: Client,
}

impl Offering {
    fn open(sources: &Sources<'_>) -> Result<Self> {
        let cluster = Site::load(sources)?.cluster;
        let reader = Vault::open(&cluster.vault)?.snapshots_reader(&cluster)?;
        let held = Held {
            authority: reader.authority.as_bytes(),
            certificate: reader.certificate.as_bytes(),
            key: reader.key.as_bytes(),
        };
        Ok(Self { client: Client::among(&held, PATIENCE)?, cluster })
    }

    fn ask(&self, node: &Node) -> Member {
        let list = || {
            let text = self.client.read(&url(node, "/snapshots"), LONGEST)?.unwrap_or_default();
            serde_json::from_slice(&text).doing(Kind::Network, || "reading the snapshot list".into())
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
            asked.into_iter().map(|asked| asked.join().expect("the request doesn't panic")).collect()
        })
    }
}

fn url(node: &Node, path: &str) -> String {
    format!("https://{}{path}", SocketAddr::new(node.address, Service::EtcdSnapshots.port()))
}

/// Lists the snapshots of every member.
///
/// # Errors
///
/// Errors from reading the cluster file or the vault; a member that does not respond is listed with the
/// reason.
pub(crate) fn snapshots(sources: &Sources<'_>) -> Result<Vec<Member>> {
    Ok(Offering::open(sources)?.all(None))
}

/// Fetches a snapshot into a new file that only its owner can read: the newest snapshot or the one with this
/// digest, from one member or from any.
///
/// # Errors
///
/// [`Kind::Input`] for a name that is not a member, or if `out` exists; [`Kind::Network`] if no member has
/// the snapshot; [`Kind::Verify`] if the data does not match the offered snapshot.
pub(crate) fn fetch_snapshot(
    sources: &Sources<'_>,
    from: Option<&str>,
    wanted: Option<Digest>,
    out: &Path,
) -> Result<Fetched> {
    let offering = Offering::open(sources)?;
    from.map_or(Ok(()), |from| member(&offering.cluster, from))?;
    if out.exists() {
        return Err(Error::new(Kind::Input, format!("`{}` already exists", out.display()))
            .hint("choose another file with `--out`"));
    }
    let members = offering.all(from);
    let offered =
        members.iter().flat_map(|member| member.snapshots.iter().map(move |snapshot| (member, snapshot)));
    let offered = offered.filter(|(_, snapshot)| wanted.is_none_or(|wanted| snapshot.sha256 == wanted));
    // Revisions are cluster-wide, but each member has its own numbers.
    let (member, snapshot) =
        offered.max_by_key(|(_, snapshot)| snapshot.revision).ok_or_else(|| none(&members))?;
    let node = offering
        .cluster
        .nodes
        .iter()
        .find(|node| node.name == member.name)
        .expect("the member is a node of the cluster");
    let url = url(node, &format!("/snapshots/{}", snapshot.number));
    // The file is given its name only after all of it has been read.
    host::fs::write_checked(out, host::fs::PRIVATE, |file| {
        let Answer::Body(body) = offering.client.get(&url, 0)? else {
            return Err(Error::new(Kind::Network, format!("{} no longer offers the snapshot", member.name))
                .hint("fetch the newest snapshot"));
        };
        host::fs::copy(body, &mut &*file, || format!("fetching `{url}`"))?;
        disk::etcd::verify(file, Some(snapshot.sha256))
            .within(|| format!("checking the snapshot from {}", member.name))
            .map(drop)
    })?;
    Ok(Fetched { member: member.name.clone(), snapshot: snapshot.clone() })
}

fn none(members: &[Member]) -> Error {
    let why = |member: &Member| {
        format!("{}: {}", member.name, member.error.as_deref().unwrap_or("no such snapshot"))
    };
    let all = members.iter().map(why).collect::<Vec<_>>().join("; ");
    Error::new(Kind::Network, format!("no member offers the snapshot: {all}"))
        .hint("run `kiln snapshot list` to see all snapshots")
}
