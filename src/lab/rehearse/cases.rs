//! Rehearsal cases: victim, fault, and meaning of the measured time.

use crate::error::{Error, Kind, Result};
use crate::lab::Lab;
use crate::lab::rehearse::case_table::all;
use crate::lab::rehearse::goals::{Goals, Lost, MINUTE};

/// One way to break a cluster.
#[derive(Debug)]
pub(crate) struct Case {
    /// `--case` value; kebab-case, never renamed.
    pub(super) name: &'static str,
    /// Description for reports, one line.
    pub(super) what: &'static str,
    pub(super) victim: Victim,
    pub(super) fault: Fault,
    pub(super) measure: Measure,
    /// Keys of plan rows; the first row that the cluster's plan contains is the prediction.
    pub(super) predicted_by: &'static [&'static str],
    pub(super) goals: Goals,
    /// Duration of a load in seconds.
    pub(super) burden: f64,
}

/// Nodes that a case affects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    /// A node that runs an API server and does not hold the VIP.
    ApiServer,
    /// The node that holds the VIP and does not run the etcd leader.
    Holder,
    /// The node that holds the VIP and runs the etcd leader.
    LeadingHolder,
    /// A node that neither holds the VIP nor runs the etcd leader, if there is one.
    Other,
    EtcdLeader,
    EtcdFollower,
    /// The node whose program holds this Lease.
    Leads(&'static str),
    /// All nodes with an API server.
    ApiServers,
    /// All etcd members.
    Members,
    All,
}

/// Kind of fault, which also determines what ends the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A program is killed; its supervisor restarts it.
    Kill(Program),
    /// A program is suspended until it is resumed.
    Hang(Program),
    /// A program exits on request and is started again.
    Restart(Program),
    ShutDown,
    Power,
    Freeze,
    FreezeUnplugged,
    Unplug,
    /// A percentage of frames on the cable is lost, and round trips over the cable take longer.
    Loss {
        percent: u8,
        milliseconds: u16,
    },
    /// Each sync takes longer.
    SlowDisk,
    /// No space is left on the disk, even if files are deleted.
    FullDisk,
    /// This many CPU-bound programs run on the machine that the lab runs on.
    Busy(u8),
    /// All machines lose power at once; it is then restored.
    Outage,
    /// All machines lose power at once; it is then restored to all but the last machine.
    OutageButOne,
    /// A majority of etcd members lose their disks, and the others are off at first.
    LostDisks,
}

/// A program, identified by its function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    ApiServer,
    Balancer,
    Keepalived,
    Etcd,
    ControllerManager,
    Scheduler,
}

impl Program {
    /// Returns the file names of programs with this function. Without a load balancer, an API server itself
    /// serves the VIP.
    pub(super) fn names(self, lab: &Lab) -> &'static [&'static str] {
        match self {
            Self::Balancer if lab.shares_load => &["haproxy", "nginx"],
            Self::Balancer | Self::ApiServer => &["kube-apiserver"],
            Self::Keepalived => &["keepalived", "kube-vip"],
            Self::Etcd => &["etcd"],
            Self::ControllerManager => &["kube-controller-manager"],
            Self::Scheduler => &["kube-scheduler"],
        }
    }
}

/// Meaning of a case's measured time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// The longest time without service.
    Service,
    /// The longest time without service, or the time until a watch on the victim is closed, whichever is
    /// longer.
    Sessions,
    /// The time until another process holds this Lease.
    Lease(&'static str),
    /// The time from the first ready API server to the first successful response from the endpoint.
    ReadyToServed,
    /// The time until each waiting member reports which members it is waiting for.
    Waiting,
}

impl Case {
    /// Returns true if API servers are also queried individually during the case.
    pub(super) fn asks_each(&self) -> bool {
        self.goals.ready_to_served.is_some()
    }

    /// Returns true if lost requests in the first minute are counted.
    pub(super) fn lasts_a_minute(&self) -> bool {
        matches!(self.goals.lost, Some(Lost::Share(_) | Lost::Predicted))
    }

    /// Returns the minimum duration of the fault in seconds, long enough to see late effects.
    pub(super) fn least(&self) -> f64 {
        match self.fault {
            _ if self.lasts_a_minute() => MINUTE,
            Fault::Kill(_) | Fault::Restart(_) | Fault::Outage => 8.0,
            Fault::Hang(_) | Fault::ShutDown | Fault::Power | Fault::OutageButOne | Fault::LostDisks => 15.0,
            Fault::Freeze | Fault::FreezeUnplugged | Fault::Unplug | Fault::SlowDisk | Fault::FullDisk => {
                20.0
            }
            Fault::Loss { .. } | Fault::Busy(_) => self.burden,
        }
    }
}

impl Fault {
    /// Returns true if the cluster must withstand the fault without reacting: no server is marked down, the
    /// VIP does not move, etcd elects no new leader.
    pub(super) fn is_borne(self) -> bool {
        matches!(self, Self::Loss { .. } | Self::Busy(_))
    }
}

/// Returns the cases with these names, or all if there are no names; loads that the cluster must withstand
/// last for `burden` seconds.
///
/// # Errors
///
/// [`Kind::Input`], listing the valid names.
pub(super) fn named(names: &[String], burden: f64) -> Result<Vec<Case>> {
    let all: Vec<Case> = all().into_iter().map(|case| Case { burden, ..case }).collect();
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|case| case.name != **name)) {
        let known: Vec<&str> = all.iter().map(|case| case.name).collect();
        return Err(Error::new(Kind::Input, format!("no case named `{unknown}`"))
            .hint(format!("available cases: {}", known.join(", "))));
    }
    Ok(all
        .into_iter()
        .filter(|case| names.is_empty() || names.iter().any(|name| name == case.name))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::{all, named};

    #[test]
    fn an_unknown_case_is_answered_with_the_names_there_are() {
        let err = named(&["holder-power".into(), "fire".into()], 60.0).unwrap_err();
        assert_eq!(err.to_string(), "no case named `fire`");
        assert!(err.hints()[0].contains("holder-power, holder-frozen"), "{:?}", err.hints());
        assert_eq!(named(&["loss".into()], 60.0).unwrap().len(), 1);
        assert_eq!(named(&[], 60.0).unwrap().len(), all().len());
    }

    #[test]
    fn every_case_is_explained_in_the_documentation() {
        let text = crate::host::fs::read_to_string(std::path::Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/docs/rehearse.md"
        )))
        .unwrap();
        for case in all() {
            assert!(text.contains(&format!("| `{}` |", case.name)), "{}", case.name);
        }
    }
}
