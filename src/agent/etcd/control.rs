//! Queries and changes to etcd, through etcdctl with JSON output.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::settings::Settings;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;

/// Time limit for an etcdctl query.
const QUESTION: &str = "1s";
/// Time limit for a query that must succeed even if the leader's disk is slow: at 200 ms per sync, it took
/// 1.1 s.
const PATIENT_QUESTION: &str = "5s";
/// Time limit for changes, such as membership changes, that the members must agree on.
const CHANGE: &str = "10s";
/// Time limit for operations whose duration depends on the size of the data.
const LARGE: &str = "10m";
/// Time limit for etcdctl itself, which may hang.
const LONGEST: Duration = Duration::from_secs(15);

/// One member as the cluster sees it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Member {
    /// `ID` in etcdctl's output, `id` in answers between members.
    #[serde(rename = "ID", alias = "id")]
    pub(super) id: u64,
    /// Empty until the member has started.
    #[serde(default)]
    pub(super) name: String,
    #[serde(rename = "peerURLs", default)]
    pub(super) peer_urls: Vec<String>,
}

/// Header of every etcd response: the responding member, and its revision.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Header {
    #[serde(rename = "cluster_id")]
    pub(super) cluster: u64,
    #[serde(rename = "member_id")]
    pub(super) member: u64,
    /// Absent in responses that are not about keys.
    #[serde(default)]
    pub(super) revision: u64,
}

#[derive(Debug, Deserialize)]
struct Read {
    header: Header,
}

/// All members, and their cluster.
#[derive(Debug, Deserialize)]
pub(super) struct Members {
    pub(super) header: Header,
    pub(super) members: Vec<Member>,
}

/// Status of a member: its database, and the leader.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Status {
    pub(super) header: Header,
    /// Size of the file, in bytes.
    #[serde(rename = "dbSize", default)]
    pub(super) size: u64,
    /// Size of the file's used part, in bytes.
    #[serde(rename = "dbSizeInUse", default)]
    pub(super) used: u64,
    /// Identifier of the leader; 0 if there is none.
    #[serde(default)]
    pub(super) leader: u64,
}

#[derive(Debug, Deserialize)]
struct Answered {
    #[serde(rename = "Status")]
    status: Status,
}

/// Condition that stops a cluster's writes until it is resolved (api/etcdserverpb/rpc.proto, `AlarmType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alarm {
    NoSpace,
    Corrupt,
    Other(u64),
}

impl From<u64> for Alarm {
    fn from(number: u64) -> Self {
        match number {
            1 => Self::NoSpace,
            2 => Self::Corrupt,
            other => Self::Other(other),
        }
    }
}

/// An alarm, and the member that raised it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Alarmed {
    #[serde(rename = "memberID", default)]
    pub(super) member: u64,
    #[serde(default, deserialize_with = "alarm")]
    pub(super) alarm: Option<Alarm>,
}

fn alarm<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<Alarm>, D::Error> {
    u64::deserialize(deserializer).map(|number| Some(number.into()))
}

#[derive(Debug, Deserialize)]
struct Alarms {
    #[serde(default)]
    alarms: Vec<Alarmed>,
}

/// One etcd member, addressed by its client URL.
#[derive(Clone, Debug)]
pub(super) struct Endpoint<'a> {
    settings: &'a Settings,
    url: &'a str,
}

impl<'a> Endpoint<'a> {
    pub(super) fn new(settings: &'a Settings, url: &'a str) -> Self {
        Self { settings, url }
    }

    /// Performs a linearizable read: an answer proves that there is a quorum.
    pub(super) fn quorum(&self) -> Result<Header> {
        let read: Read =
            self.ask(QUESTION, &["get", "kiln", "--consistency=l", "--keys-only", "--limit=1"])?;
        Ok(read.header)
    }

    pub(super) fn members(&self) -> Result<Members> {
        self.ask(PATIENT_QUESTION, &["member", "list"])
    }

    pub(super) fn remove(&self, id: u64) -> Result<()> {
        self.run(CHANGE, &["member", "remove", &format!("{id:x}")]).map(drop)
    }

    /// Adds a member, and returns all members, including the new one. If the new member is the second one,
    /// there is no quorum until it has started, so the cluster can't be queried.
    pub(super) fn add(&self, name: &str, peer_url: &str) -> Result<Vec<Member>> {
        let added: Members =
            self.ask(CHANGE, &["member", "add", name, &format!("--peer-urls={peer_url}")])?;
        Ok(added.members)
    }

    /// Saves all keys to a file.
    pub(super) fn save(&self, snapshot: &Path) -> Result<()> {
        host::process::run(self.command(LARGE).args(["snapshot", "save"]).arg(snapshot)).map(drop)
    }

    pub(super) fn status(&self) -> Result<Status> {
        let answers: Vec<Answered> = self.ask(QUESTION, &["endpoint", "status"])?;
        let nothing = || Error::new(Kind::Tool, format!("etcd at `{}` reported no status", self.url));
        answers.into_iter().next().map(|answered| answered.status).ok_or_else(nothing)
    }

    pub(super) fn alarms(&self) -> Result<Vec<Alarmed>> {
        let alarms: Alarms = self.ask(QUESTION, &["alarm", "list"])?;
        Ok(alarms.alarms)
    }

    /// Disarms all alarms of any kind.
    pub(super) fn disarm(&self) -> Result<()> {
        self.run(CHANGE, &["alarm", "disarm"]).map(drop)
    }

    /// Compacts the history before `revision`, and waits until this member has done so. It is not an error if
    /// another agent has already done so.
    pub(super) fn compact(&self, revision: u64) -> Result<()> {
        let compacted =
            host::process::run(self.command(LARGE).args(["compact", "--physical", &revision.to_string()]));
        match compacted {
            Err(err) if err.to_string().contains("has been compacted") => Ok(()),
            other => other.map(drop).within(|| format!("compacting etcd up to revision {revision}")),
        }
    }

    /// Releases free space in the member's file to the filesystem. The member does not respond meanwhile.
    pub(super) fn defragment(&self) -> Result<()> {
        host::process::run(self.command(LARGE).arg("defrag"))
            .map(drop)
            .within(|| format!("defragmenting etcd at `{}`", self.url))
    }

    /// Transfers leadership to another member; this one must be the leader.
    pub(super) fn hand_over(&self, id: u64) -> Result<()> {
        self.run(CHANGE, &["move-leader", &format!("{id:x}")]).map(drop)
    }

    fn ask<T: DeserializeOwned>(&self, limit: &str, arguments: &[&str]) -> Result<T> {
        let output = self.run(limit, arguments)?;
        serde_json::from_slice(&output)
            .doing(Kind::Tool, || format!("parsing the output of `etcdctl {}`", arguments[0]))
    }

    fn run(&self, limit: &str, arguments: &[&str]) -> Result<Vec<u8>> {
        let step = || format!("querying etcd at `{}`", self.url);
        let output =
            host::process::output_within(self.command(limit).args(arguments), LONGEST).within(step)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        // The last line is the reason; since 3.5 it is JSON with the reason in a field.
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no error message");
        Err(Error::new(Kind::Tool, format!("{}: {}", step(), reason(last))))
    }

    fn command(&self, limit: &str) -> Command {
        let identity = self.settings.identity();
        let mut command = host::process::command("etcdctl");
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", self.url)).arg("--write-out=json");
        command.arg(format!("--command-timeout={limit}")).arg(format!("--dial-timeout={limit}"));
        command
            .arg("--cacert")
            .arg(identity.authority)
            .arg("--cert")
            .arg(identity.certificate)
            .arg("--key")
            .arg(identity.key);
        command
    }
}

/// Returns the reason in etcdctl's last line: `{"level":"warn",…,"error":"…"}`, or `Error: …`.
fn reason(line: &str) -> String {
    #[derive(Deserialize)]
    struct Logged {
        error: String,
    }
    let logged = serde_json::from_str::<Logged>(line).map(|logged| logged.error);
    logged.unwrap_or_else(|_| line.trim_start_matches("Error: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Alarm, Alarms, Answered, Members, Read, reason};

    #[test]
    fn what_etcdctl_prints_is_read() {
        // etcdctl 3.4 and 3.5 with `--write-out=json`; a member that has not started has no name.
        let list = r#"{"header":{"cluster_id":14841639068965178418,"member_id":10276657743932975437,"raft_term":2},
            "members":[{"ID":10276657743932975437,"name":"m1","peerURLs":["https://10.0.0.1:2380"],"clientURLs":["https://10.0.0.1:2379"]},
            {"ID":18446744073709551615,"peerURLs":["https://10.0.0.2:2380"]}]}"#;
        let members = serde_json::from_str::<Members>(list).unwrap().members;
        assert_eq!((members[0].id, members[0].name.as_str()), (10_276_657_743_932_975_437, "m1"));
        assert_eq!((members[1].id, members[1].name.as_str(), members[1].peer_urls.len()), (u64::MAX, "", 1));
        let read = r#"{"header":{"cluster_id":1,"member_id":2,"revision":8123,"raft_term":2}}"#;
        assert_eq!(serde_json::from_str::<Read>(read).unwrap().header.revision, 8123);
    }

    #[test]
    fn alarms_and_sizes_are_read() {
        let text = r#"{"header":{"cluster_id":1,"member_id":2},"alarms":[{"memberID":3,"alarm":1},{"memberID":4,"alarm":2}]}"#;
        let alarms = serde_json::from_str::<Alarms>(text).unwrap().alarms;
        let read = alarms.iter().map(|alarmed| (alarmed.member, alarmed.alarm));
        assert_eq!(read.collect::<Vec<_>>(), [(3, Some(Alarm::NoSpace)), (4, Some(Alarm::Corrupt))]);
        assert_eq!(serde_json::from_str::<Alarms>("{}").unwrap().alarms, []);
        let text = r#"[{"Endpoint":"x","Status":{"header":{"cluster_id":1,"member_id":2,"revision":62,"raft_term":2},"version":"3.4.23",
            "dbSize":2891776,"leader":2,"raftIndex":65,"raftTerm":2,"raftAppliedIndex":65,"dbSizeInUse":2646016}}]"#;
        let status = serde_json::from_str::<Vec<Answered>>(text).unwrap().remove(0).status;
        assert_eq!(
            (status.header.member, status.leader, status.size, status.used),
            (2, 2, 2_891_776, 2_646_016)
        );
    }

    #[test]
    fn the_reason_is_taken_from_either_form() {
        assert_eq!(
            reason(r#"{"level":"warn","msg":"x","error":"rpc error: code = Unavailable"}"#),
            "rpc error: code = Unavailable"
        );
        assert_eq!(reason("Error: context deadline exceeded"), "context deadline exceeded");
    }
}
