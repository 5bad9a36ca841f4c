//! Table of the rehearsal cases, one line per case.

use crate::lab::rehearse::cases::{Case, Fault, Measure, Program, Victim};
use crate::lab::rehearse::goals::{Goals, Lost};

const MANAGER: &str = "kube-controller-manager";
const SCHEDULER: &str = "kube-scheduler";

/// A bad cable.
const BAD: Fault = Fault::Loss { percent: 5, milliseconds: 50 };

/// Limit for lost requests when a machine that clients can do without fails.
const HUNDREDTH: Lost = Lost::Share(0.01);

/// Goals for a cluster in which all machines lost power.
const COLD: Goals = Goals { seconds: Some(20.0), ready_to_served: Some(2.0), lost: None };

/// Returns all cases, in the order in which they are run. To add a case, add a line to its group.
pub(super) fn all() -> Vec<Case> {
    let groups = [
        api_servers(),
        balancers(),
        holders(),
        other_machines(),
        etcd(),
        controllers(),
        loads(),
        many_at_once(),
    ];
    groups.into_iter().flatten().collect()
}

/// Returns the cases that affect API servers.
fn api_servers() -> Vec<Case> {
    vec![
        case(
            "api-server-killed",
            "an API server is killed",
            Victim::ApiServer,
            Fault::Kill(Program::ApiServer),
        )
        .by(&["api-server-dies"]),
        case(
            "api-server-restarted",
            "an API server is restarted, as in an update",
            Victim::ApiServer,
            Fault::Restart(Program::ApiServer),
        )
        .losing(Lost::None),
        case("api-server-hung", "an API server hangs", Victim::ApiServer, Fault::Hang(Program::ApiServer))
            .by(&["api-server-hangs"])
            .measuring(Measure::Sessions),
    ]
}

/// Returns the cases that affect balancers, and the programs that manage the VIP.
fn balancers() -> Vec<Case> {
    vec![
        case(
            "balancer-killed",
            "the balancer on the VIP holder is killed",
            Victim::Holder,
            Fault::Kill(Program::Balancer),
        )
        .by(&["balancer-dies", "balancer-fails"]),
        case(
            "balancer-hung",
            "the balancer on the VIP holder hangs",
            Victim::Holder,
            Fault::Hang(Program::Balancer),
        )
        .by(&["balancer-hangs", "balancer-fails"]),
        case(
            "keepalived-killed",
            "the program that manages the VIP is killed on the VIP holder",
            Victim::Holder,
            Fault::Kill(Program::Keepalived),
        )
        .by(&["keepalived-dies", "holder-dies"]),
        case(
            "keepalived-hung",
            "the program that manages the VIP hangs on the VIP holder",
            Victim::Holder,
            Fault::Hang(Program::Keepalived),
        )
        .by(&["keepalived-dies", "holder-dies"]),
    ]
}

/// Returns the cases that affect the machine that holds the VIP.
fn holders() -> Vec<Case> {
    vec![
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
            "the machine that holds the VIP hangs, and its cable is unplugged",
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
    ]
}

/// Returns the cases that affect other machines.
fn other_machines() -> Vec<Case> {
    vec![
        case("node-power", "another machine loses power", Victim::Other, Fault::Power)
            .by(&["machine-dies"])
            .losing(HUNDREDTH),
        case("node-frozen", "all programs on another machine hang", Victim::Other, Fault::Freeze)
            .by(&["api-server-hangs"])
            .losing(HUNDREDTH),
    ]
}

/// Returns the cases that affect etcd members.
fn etcd() -> Vec<Case> {
    vec![
        case("etcd-hung", "an etcd follower hangs", Victim::EtcdFollower, Fault::Hang(Program::Etcd))
            .by(&["etcd-hangs-on", "etcd-hangs"])
            .measuring(Measure::Sessions)
            .losing(HUNDREDTH),
        case(
            "etcd-leader-killed",
            "the etcd leader is killed",
            Victim::EtcdLeader,
            Fault::Kill(Program::Etcd),
        )
        .by(&["etcd-leader-dies"]),
        case("etcd-leader-hung", "the etcd leader hangs", Victim::EtcdLeader, Fault::Hang(Program::Etcd))
            .by(&["etcd-leader-hangs"])
            .losing(Lost::Predicted),
        case("etcd-leader-disk-slow", "the etcd leader's disk is slow", Victim::EtcdLeader, Fault::SlowDisk)
            .losing(Lost::Share(0.08)),
        case("etcd-leader-disk-full", "the etcd leader's disk is full", Victim::EtcdLeader, Fault::FullDisk)
            .by(&["etcd-leader-dies"])
            .losing(Lost::Predicted),
    ]
}

/// Returns the cases that affect the controller manager and the scheduler.
fn controllers() -> Vec<Case> {
    vec![
        case(
            "controller-manager-killed",
            "the leading controller manager is killed",
            Victim::Leads(MANAGER),
            Fault::Kill(Program::ControllerManager),
        )
        .by(&["controller-manager-dies"])
        .measuring(Measure::Lease(MANAGER)),
        case(
            "scheduler-killed",
            "the leading scheduler is killed",
            Victim::Leads(SCHEDULER),
            Fault::Kill(Program::Scheduler),
        )
        .by(&["scheduler-dies"])
        .measuring(Measure::Lease(SCHEDULER)),
    ]
}

/// Returns the cases that apply a load that the cluster must withstand.
fn loads() -> Vec<Case> {
    vec![
        case(
            "loss",
            "the cable of the machine that holds the VIP loses 5 % of frames and adds 50 ms of delay",
            Victim::Holder,
            BAD,
        ),
        case("busy", "ten CPU-bound programs run alongside the cluster", Victim::All, Fault::Busy(10)),
    ]
}

/// Returns the cases that affect many machines at once.
fn many_at_once() -> Vec<Case> {
    vec![
        case(
            "all-api-servers",
            "all API servers are killed at once",
            Victim::ApiServers,
            Fault::Kill(Program::ApiServer),
        )
        .by(&["api-servers-return"])
        .measuring(Measure::ReadyToServed)
        .within(Goals { ready_to_served: Some(1.0), ..Goals::default() }),
        case("all-power", "all machines lose power at once; it is then restored", Victim::All, Fault::Outage)
            .within(COLD),
        case(
            "all-power-one-missing",
            "all machines lose power at once; it is then restored to all but one",
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
}
