//! The lab as a rehearsal sees it: which machine currently runs which program and has which role.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::error::{Error, Kind, Result};
use crate::host;
use crate::lab::Lab;
use crate::lab::rehearse::cases::{Case, Fault, Program, Victim};
use crate::lab::rehearse::probe::{Probe, locked};
use crate::lab::rehearse::record::Lease;

/// A lab and its clients.
pub(super) struct World<'a> {
    pub(super) lab: &'a Lab,
    pub(super) probe: Probe,
    /// Latest time at which the agent on a node transferred leadership from its slow disk.
    pub(super) slowed: Mutex<BTreeMap<String, f64>>,
}

impl World<'_> {
    /// Runs a program on all running nodes at the same time; results are in node order.
    pub(super) fn ask_nodes(&self, program: &[&str]) -> Result<Vec<(String, Option<String>)>> {
        let running = self.lab.nodes()?.into_iter().filter(|node| node.running).map(|node| node.name);
        Ok(std::thread::scope(|scope| {
            let ask = |name: String| {
                scope.spawn(move || {
                    let answer = self.lab.answer(&name, program);
                    (name, answer)
                })
            };
            let asked: Vec<_> = running.map(ask).collect();
            asked.into_iter().map(|asked| asked.join().expect("queries do not panic")).collect()
        }))
    }

    /// Returns the nodes that have the VIP on an interface.
    pub(super) fn holders(&self) -> Result<Vec<String>> {
        let Some(vip) = self.lab.vip.map(|vip| vip.to_string()) else { return Ok(Vec::new()) };
        let has = |text: &str| text.split_whitespace().any(|word| word.split('/').next() == Some(&vip));
        let nodes = self.ask_nodes(&["ip", "-oneline", "address"])?.into_iter();
        Ok(nodes.filter(|(_, text)| text.as_deref().is_some_and(has)).map(|(name, _)| name).collect())
    }

    /// Returns the nodes whose API servers clients reach through the endpoint, now or in turn.
    pub(super) fn reached(&self) -> Result<Vec<String>> {
        if !self.lab.shares_load {
            return self.holders();
        }
        Ok(self.probe.shared.target.servers.iter().map(|(name, _)| name.clone()).collect())
    }

    /// Returns the nodes that run a program, and the program's name.
    pub(super) fn running(&self, program: Program) -> Result<Vec<(String, &'static str)>> {
        let mut found = Vec::new();
        for node in self.lab.nodes()?.into_iter().filter(|node| node.running) {
            for name in program.names(self.lab) {
                if !self.lab.signal(&node.name, name, None)?.is_empty() {
                    found.push((node.name.clone(), *name));
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Checks whether the cluster has the target of a case, and enough others of its kind.
    pub(super) fn has(&self, case: &Case) -> Result<bool> {
        let several = |program| self.running(program).map(|nodes| nodes.len() > 1);
        let victims = match case.victim {
            Victim::Holder => self.lab.vip.is_some(),
            Victim::LeadingHolder => {
                let (holders, members) = (self.holders()?, self.members()?.unwrap_or_default());
                holders.iter().any(|holder| members.ids.contains_key(holder))
            }
            Victim::EtcdLeader | Victim::EtcdFollower => {
                self.running(Program::Etcd)?.len() > 2 && self.members()?.is_some()
            }
            Victim::ApiServer | Victim::Other => several(Program::ApiServer)?,
            Victim::Members => self.running(Program::Etcd)?.len() > 2 && self.is_founded_by_agents()?,
            Victim::All if case.fault == Fault::OutageButOne => self.running(Program::Etcd)?.len() > 2,
            Victim::ApiServers | Victim::Leads(_) | Victim::All => true,
        };
        let program = match case.fault {
            Fault::Kill(program) | Fault::Hang(program) | Fault::Restart(program) => several(program)?,
            _ => true,
        };
        Ok(victims && program)
    }

    /// Checks whether agents manage etcd membership (docs/etcd.md), unlike with kubeadm's static pods.
    fn is_founded_by_agents(&self) -> Result<bool> {
        let answers = self.running(Program::Etcd)?.into_iter();
        let mut answers =
            answers.map(|(node, _)| self.lab.answer(&node, &["systemctl", "is-active", "kiln-etcd.service"]));
        Ok(answers.all(|word| word.is_some_and(|word| word.trim() == "active")))
    }

    /// Returns the nodes that a case affects.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if there are currently none.
    pub(super) fn victims(&self, victim: Victim) -> Result<Vec<String>> {
        let holders = self.holders()?;
        let leader = || Ok::<_, Error>(self.members()?.and_then(|members| members.leader));
        let servers = || -> Result<Vec<String>> {
            Ok(self.running(Program::ApiServer)?.into_iter().map(|(name, _)| name).collect())
        };
        let not = |nodes: Vec<String>, avoided: &[String]| {
            let rest: Vec<String> = nodes.iter().filter(|name| !avoided.contains(name)).cloned().collect();
            if rest.is_empty() { nodes } else { rest }
        };
        let mut found = match victim {
            // The last node is one that the quorum does not need.
            Victim::All => {
                let mut all: Vec<String> = self.lab.guests.iter().map(|guest| guest.name.clone()).collect();
                let last = self
                    .running(Program::Etcd)?
                    .into_iter()
                    .map(|(name, _)| name)
                    .rfind(|name| !holders.contains(name));
                all.sort_by_key(|name| Some(name) == last.as_ref());
                return Ok(all);
            }
            Victim::ApiServers => return servers(),
            Victim::Members => {
                return Ok(self.running(Program::Etcd)?.into_iter().map(|(name, _)| name).collect());
            }
            Victim::Holder | Victim::LeadingHolder => holders,
            Victim::ApiServer => not(servers()?, &holders),
            Victim::Other => not(not(servers()?, &holders), leader()?.as_slice()),
            Victim::EtcdLeader => leader()?.into_iter().collect(),
            Victim::EtcdFollower => {
                let members = self.running(Program::Etcd)?.into_iter().map(|(name, _)| name).collect();
                not(not(members, leader()?.as_slice()), &holders)
            }
            Victim::Leads(lease) => self.leader_of(lease).into_iter().collect(),
        };
        found.truncate(1);
        if found.is_empty() {
            Err(Error::new(Kind::Tool, format!("no node qualifies as a victim: {victim:?}")))
        } else {
            Ok(found)
        }
    }

    /// Returns the node on which the holder of a Lease runs; holder identities begin with the node name.
    fn leader_of(&self, lease: &'static str) -> Option<String> {
        let mut looked_at = locked(&self.probe.shared.lease);
        if looked_at.as_ref().is_none_or(|seen| seen.name != lease) {
            *looked_at = Some(Lease { name: lease, holders: Vec::new() });
        }
        drop(looked_at);
        let watch = host::clock::Stopwatch::start();
        loop {
            let seen = locked(&self.probe.shared.lease)
                .as_ref()
                .and_then(|seen| seen.holders.last())
                .map(|(_, holder)| holder.clone());
            let node = seen.and_then(|holder| {
                self.lab.guests.iter().find(|guest| holder.starts_with(&format!("{}_", guest.name)))
            });
            if node.is_some() || watch.elapsed().as_secs() > 5 {
                return node.map(|guest| guest.name.clone());
            }
            host::clock::sleep(std::time::Duration::from_millis(100));
        }
    }
}
