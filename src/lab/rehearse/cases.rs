//! Rehearsal cases: the faults, one line per case.

use crate::error::{Error, Kind, Result};
use crate::lab::Lab;
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
    /// All machines lose power at once and get it back.
    Outage,
    /// All machines lose power at once, and the last one stays off when the others get it back.
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
    /// The longest time without service, or the time until a watch on the victim is cut, whichever is longer.
    Sessions,
    /// The time until another process holds this Lease.
    Lease(&'static str),
    /// The time from the first ready API server to the first successful response from the endpoint.
    ReadyToServed,
    /// The time until each waiting member reports which members it is waiting for.
    Waiting,
}

/// Returns all cases, in the order in which they are run. To add a case, add a line.
pub(super) fn all() -> Vec<Case> {
    use Program::{ApiServer, Balancer, ControllerManager, Etcd, Keepalived, Scheduler};
    const MANAGER: &str = "kube-controller-manager";
    const BAD: Fault = Fault::Loss { percent: 5, milliseconds: 50 };
    const SCHEDULER: &str = "kube-scheduler";
    vec![
        case("api-server-killed", "an API server is killed", Victim::ApiServer, Fault::Kill(ApiServer))
            .by(&["api-server-dies"]),
        case(
            "api-server-restarted",
            "an API server is restarted, as in an update",
            Victim::ApiServer,
            Fault::Restart(ApiServer),
        )
        .losing(Lost::None),
        case("api-server-hung", "an API server hangs", Victim::ApiServer, Fault::Hang(ApiServer))
            .by(&["api-server-hangs"])
            .measuring(Measure::Sessions),
        case(
            "balancer-killed",
            "the balancer on the VIP holder is killed",
            Victim::Holder,
            Fault::Kill(Balancer),
        )
        .by(&["balancer-dies", "balancer-fails"]),
        case("balancer-hung", "the balancer on the VIP holder hangs", Victim::Holder, Fault::Hang(Balancer))
            .by(&["balancer-hangs", "balancer-fails"]),
        case(
            "keepalived-killed",
            "the program that manages the VIP is killed on the VIP holder",
            Victim::Holder,
            Fault::Kill(Keepalived),
        )
        .by(&["keepalived-dies", "holder-dies"]),
        case(
            "keepalived-hung",
            "the program that manages the VIP hangs on the VIP holder",
            Victim::Holder,
            Fault::Hang(Keepalived),
        )
        .by(&["keepalived-dies", "holder-dies"]),
        case(
            "holder-shut-down",
            "the machine that holds the VIP is shut down",
            Victim::Holder,
            Fault::ShutDown,
        )
        .by(&["holder-leaves"]),
        case("holder-power", "the machine that holds the VIP loses power", Victim::Holder, Fault::Power)
            .by(&["holder-dies"]),
        case(
            "holder-frozen",
            "all programs on the machine that holds the VIP hang",
            Victim::Holder,
            Fault::Freeze,
        )
        .by(&["holder-frozen", "holder-dies"]),
        case(
            "holder-frozen-unplugged",
            "the machine that holds the VIP hangs and is unplugged",
            Victim::Holder,
            Fault::FreezeUnplugged,
        )
        .by(&["holder-frozen", "holder-dies"]),
        case(
            "holder-cut-off",
            "the cable of the machine that holds the VIP is unplugged",
            Victim::Holder,
            Fault::Unplug,
        )
        .by(&["holder-frozen", "holder-dies"]),
        case(
            "holder-leader-power",
            "the machine with the VIP and the etcd leader loses power",
            Victim::LeadingHolder,
            Fault::Power,
        )
        .by(&["etcd-leader-dies"]),
        case("node-power", "another machine loses power", Victim::Other, Fault::Power)
            .by(&["machine-dies"])
            .losing(HUNDREDTH),
        case("node-frozen", "all programs on another machine hang", Victim::Other, Fault::Freeze)
            .by(&["api-server-hangs"])
            .losing(HUNDREDTH),
        case("etcd-hung", "an etcd follower hangs", Victim::EtcdFollower, Fault::Hang(Etcd))
            .by(&["etcd-hangs-on", "etcd-hangs"])
            .measuring(Measure::Sessions)
            .losing(HUNDREDTH),
        case("etcd-leader-killed", "the etcd leader is killed", Victim::EtcdLeader, Fault::Kill(Etcd))
            .by(&["etcd-leader-dies"]),
        case("etcd-leader-hung", "the etcd leader hangs", Victim::EtcdLeader, Fault::Hang(Etcd))
            .by(&["etcd-leader-hangs"])
            .losing(Lost::Predicted),
        case("etcd-leader-disk-slow", "the etcd leader's disk is slow", Victim::EtcdLeader, Fault::SlowDisk)
            .losing(Lost::Share(0.05)),
        case("etcd-leader-disk-full", "the etcd leader's disk is full", Victim::EtcdLeader, Fault::FullDisk)
            .by(&["etcd-leader-dies"])
            .losing(Lost::Predicted),
        case(
            "controller-manager-killed",
            "the leading controller manager is killed",
            Victim::Leads(MANAGER),
            Fault::Kill(ControllerManager),
        )
        .by(&["controller-manager-dies"])
        .measuring(Measure::Lease(MANAGER)),
        case(
            "scheduler-killed",
            "the leading scheduler is killed",
            Victim::Leads(SCHEDULER),
            Fault::Kill(Scheduler),
        )
        .by(&["scheduler-dies"])
        .measuring(Measure::Lease(SCHEDULER)),
        case(
            "loss",
            "the cable of the machine that holds the VIP loses 5 % of frames and adds 50 ms of delay",
            Victim::Holder,
            BAD,
        ),
        case("busy", "ten CPU-bound programs run beside the cluster", Victim::All, Fault::Busy(10)),
        case(
            "all-api-servers",
            "all API servers are killed at once",
            Victim::ApiServers,
            Fault::Kill(ApiServer),
        )
        .by(&["api-servers-return"])
        .measuring(Measure::ReadyToServed)
        .within(Goals { ready_to_served: Some(1.0), ..Goals::default() }),
        case("all-power", "all machines lose power at once and get it back", Victim::All, Fault::Outage)
            .within(COLD),
        case(
            "all-power-one-missing",
            "all machines lose power at once, and one stays off",
            Victim::All,
            Fault::OutageButOne,
        )
        .within(COLD),
        case(
            "majority-lost-disks",
            "a majority of etcd members lose their disks",
            Victim::Members,
            Fault::LostDisks,
        )
        .measuring(Measure::Waiting),
    ]
}

/// Limit for lost requests when a machine fails that clients can do without.
const HUNDREDTH: Lost = Lost::Share(0.01);

/// Goals for a cluster in which all machines lost power.
const COLD: Goals = Goals { seconds: Some(20.0), ready_to_served: Some(2.0), lost: None };

fn case(name: &'static str, what: &'static str, victim: Victim, fault: Fault) -> Case {
    Case {
        name,
        what,
        victim,
        fault,
        measure: Measure::Service,
        predicted_by: &[],
        goals: Goals::default(),
        burden: 0.0,
    }
}

impl Case {
    fn by(self, predicted_by: &'static [&'static str]) -> Self {
        Self { predicted_by, ..self }
    }

    fn measuring(self, measure: Measure) -> Self {
        Self { measure, ..self }
    }

    fn within(self, goals: Goals) -> Self {
        Self { goals, ..self }
    }

    fn losing(self, lost: Lost) -> Self {
        Self { goals: Goals { lost: Some(lost), ..self.goals }, ..self }
    }

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
