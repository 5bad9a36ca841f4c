//! etcd members as a rehearsal sees them: their status, and writes to them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::error::{Error, Kind, Result};
use crate::host;
use crate::lab::rehearse::cases::Program;
use crate::lab::rehearse::probe::locked;
use crate::lab::rehearse::world::World;
use crate::words::{LEADERSHIP_PAUSE, Service};

/// Directory of the files that etcd clients need.
const ETCD: &str = "/etc/kubernetes/pki/etcd";
/// A key outside the range that Kubernetes uses.
const LARGE: &str = "kiln.rehearsal/large";
/// Runs a program with a megabyte on its standard input.
const MEGABYTE: [&str; 4] = ["sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x | \"$@\"", "sh"];

/// Status of the etcd members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    /// IDs of the clusters that the members belong to.
    pub(super) clusters: BTreeSet<u64>,
    /// The node whose member is the leader.
    pub(super) leader: Option<String>,
    pub(super) count: usize,
    /// Raft term, which grows with each election.
    pub(super) term: u64,
    /// Member IDs by node.
    pub(super) ids: BTreeMap<String, u64>,
}

impl World<'_> {
    /// Returns the status of the etcd members; `None` if no node has a program to query them.
    pub(super) fn members(&self) -> Result<Option<Members>> {
        let nodes = self.running(Program::Etcd)?;
        let names: Vec<&str> = nodes.iter().map(|(name, _)| name.as_str()).collect();
        let answer = self.etcdctl(&names, &["endpoint", "status", "--write-out=json"])?;
        let Some(statuses) = answer.and_then(|text| serde_json::from_str::<Vec<Value>>(&text).ok()) else {
            return Ok(None);
        };
        let mut members = Members { count: statuses.len(), ..Members::default() };
        for status in &statuses {
            let number = |place: &str| status.pointer(place).and_then(Value::as_u64);
            members.clusters.extend(number("/Status/header/cluster_id"));
            members.term = members.term.max(number("/Status/raftTerm").unwrap_or_default());
            let endpoint = status["Endpoint"].as_str().unwrap_or_default();
            let is_it = |name: &&&str| self.client_url(name).is_ok_and(|url| url == endpoint);
            let Some(name) = names.iter().find(is_it) else { continue };
            let Some(id) = number("/Status/header/member_id") else { continue };
            members.ids.insert((*name).to_owned(), id);
            if number("/Status/leader") == Some(id) {
                members.leader = Some((*name).to_owned());
            }
        }
        Ok(Some(members))
    }

    /// Moves etcd leadership to the member on this node if `here` is set, otherwise to another member.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if leadership does not move there.
    pub(super) fn lead(&self, node: &str, here: bool) -> Result<()> {
        let Some(members) = self.members()? else { return Ok(()) };
        let Some(leader) = members.leader.filter(|_| members.ids.contains_key(node)) else { return Ok(()) };
        let next = members.ids.iter().find(|(name, _)| (name.as_str() == node) == here && **name != leader);
        let Some((next, id)) = next.filter(|_| (leader == node) != here) else { return Ok(()) };
        self.etcdctl(&[&leader], &["move-leader", &format!("{id:x}")])?;
        let watch = host::clock::Stopwatch::start();
        while self.members()?.and_then(|members| members.leader).as_ref() != Some(next) {
            if watch.elapsed().as_secs() > 5 {
                return Err(Error::new(
                    Kind::Tool,
                    format!("etcd leadership did not move from {leader} to {next}"),
                ));
            }
        }
        Ok(())
    }

    /// Moves etcd leadership to the node whose agent has not transferred leadership from a slow disk for the
    /// longest time, unless that node already is the leader. Returns that node, and the seconds until its
    /// agent may transfer leadership again.
    pub(super) fn lead_rested(&self, leader: &str) -> Result<(String, f64)> {
        let members = self.members()?.unwrap_or_default();
        let slowed = locked(&self.slowed).clone();
        let last = |name: &str| slowed.get(name).copied().unwrap_or(f64::NEG_INFINITY);
        let order = |a: &&String, b: &&String| {
            last(a).total_cmp(&last(b)).then((a.as_str() != leader).cmp(&(b.as_str() != leader)))
        };
        let node = members.ids.keys().min_by(order).map_or(leader, String::as_str);
        self.lead(node, true)?;
        Ok((node.to_owned(), last(node) + LEADERSHIP_PAUSE.as_secs_f64() - self.probe.now()))
    }

    /// Makes the database grow, by writing a megabyte through a member on another node; small objects would
    /// fit into free space in the database file for a long time.
    pub(super) fn grow(&self, victims: &[String]) -> Result<()> {
        let others = self.others(victims)?;
        let name = others.first().map(String::as_str);
        self.etcdctl_after(&MEGABYTE, name.as_slice(), &["put", LARGE]).map(drop)
    }

    /// Deletes the object that made the database grow.
    pub(super) fn shrink(&self, victims: &[String]) -> Result<()> {
        let others = self.others(victims)?;
        self.etcdctl(others.first().map(String::as_str).as_slice(), &["del", LARGE]).map(drop)
    }

    fn others(&self, victims: &[String]) -> Result<Vec<String>> {
        let members = self.running(Program::Etcd)?.into_iter().map(|(name, _)| name);
        Ok(members.filter(|name| !victims.contains(name)).collect())
    }

    /// Queries etcd members by running etcdctl on the first member's node.
    fn etcdctl(&self, nodes: &[&str], words: &[&str]) -> Result<Option<String>> {
        self.etcdctl_after(&[], nodes, words)
    }

    /// Like `etcdctl`, but `before` is the command line of a program that runs etcdctl.
    fn etcdctl_after(&self, before: &[&str], nodes: &[&str], words: &[&str]) -> Result<Option<String>> {
        let endpoints = nodes.iter().map(|name| self.client_url(name)).collect::<Result<Vec<_>>>()?.join(",");
        let [ca, certificate, key] = ["ca.crt", "healthcheck-client.crt", "healthcheck-client.key"]
            .map(|file| format!("{ETCD}/{file}"));
        let tls = ["--cacert", &ca, "--cert", &certificate, "--key", &key, "--endpoints", &endpoints];
        let program =
            [&["env", "ETCDCTL_API=3", "etcdctl", "--command-timeout=3s"], &tls[..], words].concat();
        Ok(nodes.first().and_then(|name| self.lab.answer(name, &[before, &program].concat())))
    }

    fn client_url(&self, node: &str) -> Result<String> {
        Ok(format!(
            "https://{}",
            std::net::SocketAddr::new(self.lab.guest(node)?.address, Service::Etcd.port())
        ))
    }
}
