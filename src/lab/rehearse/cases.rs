//! What is broken, one line a case.

use crate::error::{Error, Kind, Result};
use crate::lab::Lab;
use crate::lab::rehearse::goals::{Goals, Lost, MINUTE};

/// One way to break a cluster.
#[derive(Debug)]
pub(crate) struct Case {
    /// The word after `--case`; kebab-case, never renamed.
    pub(super) name: &'static str,
    /// One line for reports.
    pub(super) what: &'static str,
    pub(super) victim: Victim,
    pub(super) fault: Fault,
    pub(super) measure: Measure,
    /// Keys of the plan's rows, of which the first one that a cluster has predicts what is measured.
    pub(super) predicted_by: &'static [&'static str],
    pub(super) goals: Goals,
    /// Seconds for which a burden lasts.
    pub(super) burden: f64,
}

/// Which node it happens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Victim {
    /// One with an API server that does not hold the VIP.
    ApiServer,
    /// The one that holds the VIP, and does not lead etcd.
    Holder,
    /// The one that holds the VIP and leads etcd.
    LeadingHolder,
    /// One that neither holds the VIP nor leads etcd, as far as there is one.
    Other,
    EtcdLeader,
    EtcdFollower,
    /// The one whose program holds this Lease.
    Leads(&'static str),
    /// Every one with an API server.
    ApiServers,
    /// Every member of etcd.
    Members,
    All,
}

/// What happens there, and by that what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A program ends at once; whatever started it starts it again.
    Kill(Program),
    /// A program stops between two instructions, until it is continued.
    Hang(Program),
    /// A program ends as it is asked to, and is started again.
    Restart(Program),
    ShutDown,
    Power,
    Freeze,
    FreezeUnplugged,
    Unplug,
    /// Of a hundred frames on the cable some are lost, and a round trip over it takes longer.
    Loss {
        percent: u8,
        milliseconds: u16,
    },
    /// Each sync takes its time.
    SlowDisk,
    /// There is no room left, whatever is deleted.
    FullDisk,
    /// So many programs compute on the machine that the lab runs on.
    Busy(u8),
    /// The power of all machines at once, which comes back.
    Outage,
    /// The same, and the last machine stays off.
    OutageButOne,
    /// A majority loses its disks, and the others are off at first.
    LostDisks,
}

/// A program by what it does.
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
    /// Names of files that do it. Where nothing shares the load, an API server itself answers at the VIP.
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

/// What the time of a case is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// The longest time without service.
    Service,
    /// That, or the time until a watch of the victim is cut, whichever is longer.
    Sessions,
    /// The time until another one holds this Lease.
    Lease(&'static str),
    /// The time from the first ready API server to the first good answer at the endpoint.
    ReadyToServed,
    /// The time until each member that waits says for whom.
    Waiting,
}

/// All of them, in the order in which they are run. Adding one means adding a line.
pub(super) fn all() -> Vec<Case> {
    use Program::{ApiServer, Balancer, ControllerManager, Etcd, Keepalived, Scheduler};
    const MANAGER: &str = "kube-controller-manager";
    const BAD: Fault = Fault::Loss { percent: 5, milliseconds: 50 };
    const SCHEDULER: &str = "kube-scheduler";
    vec![
        case("api-server-killed", "an API server is killed", Victim::ApiServer, Fault::Kill(ApiServer)).by(&["api-server-dies"]),
        case("api-server-restarted", "an API server is restarted as an update does it", Victim::ApiServer, Fault::Restart(ApiServer))
            .losing(Lost::None),
        case("api-server-hung", "an API server hangs", Victim::ApiServer, Fault::Hang(ApiServer))
            .by(&["api-server-hangs"])
            .measuring(Measure::Sessions),
        case("balancer-killed", "the balancer that holds the VIP is killed", Victim::Holder, Fault::Kill(Balancer))
            .by(&["balancer-dies", "balancer-fails"]),
        case("balancer-hung", "the balancer that holds the VIP hangs", Victim::Holder, Fault::Hang(Balancer))
            .by(&["balancer-hangs", "balancer-fails"]),
        case("keepalived-killed", "what holds the VIP is killed", Victim::Holder, Fault::Kill(Keepalived))
            .by(&["keepalived-dies", "holder-dies"]),
        case("keepalived-hung", "what holds the VIP hangs", Victim::Holder, Fault::Hang(Keepalived))
            .by(&["keepalived-dies", "holder-dies"]),
        case("holder-shut-down", "the machine that holds the VIP is shut down", Victim::Holder, Fault::ShutDown).by(&["holder-leaves"]),
        case("holder-power", "the machine that holds the VIP loses its power", Victim::Holder, Fault::Power).by(&["holder-dies"]),
        case("holder-frozen", "all programs of the machine that holds the VIP hang", Victim::Holder, Fault::Freeze)
            .by(&["holder-frozen", "holder-dies"]),
        case("holder-frozen-unplugged", "the machine that holds the VIP hangs as a whole", Victim::Holder, Fault::FreezeUnplugged)
            .by(&["holder-frozen", "holder-dies"]),
        case("holder-cut-off", "the cable of the machine that holds the VIP is out", Victim::Holder, Fault::Unplug)
            .by(&["holder-frozen", "holder-dies"]),
        case("holder-leader-power", "the machine that holds the VIP and leads etcd loses its power", Victim::LeadingHolder, Fault::Power)
            .by(&["etcd-leader-dies"]),
        case("node-power", "another machine loses its power", Victim::Other, Fault::Power).by(&["machine-dies"]).losing(HUNDREDTH),
        case("node-frozen", "all programs of another machine hang", Victim::Other, Fault::Freeze)
            .by(&["api-server-hangs"])
            .losing(HUNDREDTH),
        case("etcd-hung", "a member of etcd that follows hangs", Victim::EtcdFollower, Fault::Hang(Etcd))
            .by(&["etcd-hangs-on", "etcd-hangs"])
            .measuring(Measure::Sessions)
            .losing(HUNDREDTH),
        case("etcd-leader-killed", "the leader of etcd is killed", Victim::EtcdLeader, Fault::Kill(Etcd)).by(&["etcd-leader-dies"]),
        case("etcd-leader-hung", "the leader of etcd hangs", Victim::EtcdLeader, Fault::Hang(Etcd))
            .by(&["etcd-leader-hangs"])
            .losing(Lost::Predicted),
        case("etcd-leader-disk-slow", "the disk of the leader of etcd is slow", Victim::EtcdLeader, Fault::SlowDisk)
            .losing(Lost::Share(0.05)),
        case("etcd-leader-disk-full", "the disk of the leader of etcd is full", Victim::EtcdLeader, Fault::FullDisk)
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
        case("scheduler-killed", "the leading scheduler is killed", Victim::Leads(SCHEDULER), Fault::Kill(Scheduler))
            .by(&["scheduler-dies"])
            .measuring(Measure::Lease(SCHEDULER)),
        case("loss", "the cable of the machine that holds the VIP loses 5 % and is 50 ms slow", Victim::Holder, BAD),
        case("busy", "ten programs compute beside the cluster", Victim::All, Fault::Busy(10)),
        case("all-api-servers", "all API servers are killed at once", Victim::ApiServers, Fault::Kill(ApiServer))
            .by(&["api-servers-return"])
            .measuring(Measure::ReadyToServed)
            .within(Goals { ready_to_served: Some(1.0), ..Goals::default() }),
        case("all-power", "all machines lose their power at once, and get it back", Victim::All, Fault::Outage).within(COLD),
        case("all-power-one-missing", "the same, and one of them stays off", Victim::All, Fault::OutageButOne).within(COLD),
        case("majority-lost-disks", "a majority of the members of etcd loses its disks", Victim::Members, Fault::LostDisks)
            .measuring(Measure::Waiting),
    ]
}

/// What may be lost when a machine fails that clients can do without.
const HUNDREDTH: Lost = Lost::Share(0.01);

/// How soon a cluster is back that had no power.
const COLD: Goals = Goals { seconds: Some(20.0), ready_to_served: Some(2.0), lost: None };

fn case(name: &'static str, what: &'static str, victim: Victim, fault: Fault) -> Case {
    Case { name, what, victim, fault, measure: Measure::Service, predicted_by: &[], goals: Goals::default(), burden: 0.0 }
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

    /// Whether API servers are asked by themselves all the while.
    pub(super) fn asks_each(&self) -> bool {
        self.goals.ready_to_served.is_some()
    }

    /// Whether lost requests of the first minute are counted.
    pub(super) fn lasts_a_minute(&self) -> bool {
        matches!(self.goals.lost, Some(Lost::Share(_) | Lost::Predicted))
    }

    /// Seconds for which the fault lasts at least: what begins late must be seen.
    pub(super) fn least(&self) -> f64 {
        match self.fault {
            _ if self.lasts_a_minute() => MINUTE,
            Fault::Kill(_) | Fault::Restart(_) | Fault::Outage => 8.0,
            Fault::Hang(_) | Fault::ShutDown | Fault::Power | Fault::OutageButOne | Fault::LostDisks => 15.0,
            Fault::Freeze | Fault::FreezeUnplugged | Fault::Unplug | Fault::SlowDisk | Fault::FullDisk => 20.0,
            Fault::Loss { .. } | Fault::Busy(_) => self.burden,
        }
    }
}

impl Fault {
    /// Whether the cluster must bear it without reacting: no server is given up, no VIP moves, no member of etcd is elected.
    pub(super) fn is_borne(self) -> bool {
        matches!(self, Self::Loss { .. } | Self::Busy(_))
    }
}

/// Those with these names, or all; what the cluster must bear lasts for `burden` seconds.
///
/// # Errors
///
/// [`Kind::Input`] that lists the names there are.
pub(super) fn named(names: &[String], burden: f64) -> Result<Vec<Case>> {
    let all: Vec<Case> = all().into_iter().map(|case| Case { burden, ..case }).collect();
    if let Some(unknown) = names.iter().find(|name| all.iter().all(|case| case.name != **name)) {
        let known: Vec<&str> = all.iter().map(|case| case.name).collect();
        return Err(Error::new(Kind::Input, format!("no case named `{unknown}`")).hint(format!("the cases are {}", known.join(", "))));
    }
    Ok(all.into_iter().filter(|case| names.is_empty() || names.iter().any(|name| name == case.name)).collect())
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
        let text = crate::host::fs::read_to_string(std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/rehearse.md"))).unwrap();
        for case in all() {
            assert!(text.contains(&format!("| `{}` |", case.name)), "{}", case.name);
        }
    }
}
