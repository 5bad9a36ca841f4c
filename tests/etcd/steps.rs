//! Power cuts at each step of a start: strace(1) kills the agent at its first, second, … call that changes
//! the disk, and the machine starts again.

use std::process::Command;
use std::thread;

use crate::common::judge;
use crate::member::Member;
use crate::world::World;
use crate::{ORDER, PATIENCE, put, whole};

/// System calls that change what the next start finds on the disk.
const CALLS: [&str; 3] = ["fsync", "rename", "mkdir"];

/// Prepares a world up to the start that is to be interrupted.
type Prepare = fn(&mut World) -> Case;

/// The member whose start is interrupted, and the conditions that must be met afterwards.
pub(crate) struct Case {
    place: usize,
    /// Identifier of the cluster that the member must still belong to.
    cluster: Option<u64>,
    /// Whether a value was written that must still exist.
    is_written: bool,
}

/// Interrupts the start at every step, each time in a new world, and checks that all members form one cluster
/// afterwards. Returns the number of steps.
pub(crate) fn cut(prepare: Prepare) -> Option<usize> {
    judge("strace")?;
    thread::scope(|scope| {
        let calls = CALLS.map(|call| scope.spawn(move || cut_each(prepare, call)));
        Some(calls.into_iter().map(|steps| steps.join().unwrap()).sum())
    })
}

/// Interrupts at the first occurrence of a call, the second, and so on, until the start completes without
/// interruption. Two worlds run in parallel, because they mostly wait.
fn cut_each(prepare: Prepare, call: &str) -> usize {
    let both = |number: usize| {
        thread::scope(|scope| {
            let cuts = [number, number + 1].map(|number| scope.spawn(move || cut_at(prepare, call, number)));
            cuts.map(|cut| cut.join().unwrap())
        })
    };
    let cuts = (1..).step_by(2).flat_map(both);
    cuts.take_while(|was_cut| *was_cut).count()
}

/// Interrupts the start at the given occurrence of a call. Returns whether the start got that far.
fn cut_at(prepare: Prepare, call: &str, number: usize) -> bool {
    let Some(mut world) = World::new(3) else { return false };
    let Case { place, cluster, is_written } = prepare(&mut world);
    let trace = world.members[place].settings().with_file_name("trace");
    let first = traced(&world.members[place], call, number, &trace);
    world.members[place].on_after(first);
    let others: Vec<usize> = (0..3).filter(|other| !world.members[*other].is_on()).collect();
    world.on(&others);
    let whole = world.whole(PATIENCE).unwrap_or_else(|state| panic!("cut at {call} {number}: {state}"));
    assert!(cluster.is_none_or(|before| before == whole), "cut at {call} {number}: another cluster");
    if is_written {
        assert!(
            world.etcdctl_at(place, &["get", "key"]).unwrap().contains("value"),
            "cut at {call} {number}"
        );
        let log = world.members[place].log();
        assert!(
            !world.members[place].data().join("aside-2").exists(),
            "cut at {call} {number}: carried out twice\n{log}"
        );
    }
    std::fs::read_to_string(&trace).unwrap().contains("killed by SIGKILL")
}

/// Returns a command that runs `kiln agent etcd start` and kills it as it enters the given occurrence of a
/// call.
fn traced(member: &Member, call: &str, number: usize, trace: &std::path::Path) -> Command {
    let start = member.agent("start");
    let mut command = Command::new("strace");
    command.arg("-o").arg(trace).args([
        "-e",
        &format!("trace={call}"),
        "-e",
        &format!("inject={call}:signal=KILL:when={number}"),
    ]);
    // setpriv(1) and ip(8) set up the environment and then execute the agent.
    command.arg(start.get_program()).args(start.get_args());
    command
}

/// Bootstraps a cluster; the first founder generates the token.
pub(crate) fn founding_as_the_first(_: &mut World) -> Case {
    Case { place: 0, cluster: None, is_written: false }
}

/// Bootstraps a cluster as a founder that adopts the token.
pub(crate) fn founding_as_another(_: &mut World) -> Case {
    Case { place: 1, cluster: None, is_written: false }
}

/// Starts a member with a new disk while its cluster has a quorum.
pub(crate) fn rejoining(world: &mut World) -> Case {
    world.on(&[0, 1, 2]);
    let cluster = Some(whole(world));
    put(world, "key", "value");
    world.members[1].off();
    world.members[1].lose_disk();
    Case { place: 1, cluster, is_written: true }
}

/// Starts the member with the only copy of the data and an order to recover from it.
pub(crate) fn recovering(world: &mut World) -> Case {
    world.on(&[0, 1, 2]);
    whole(world);
    put(world, "key", "value");
    (0..3).for_each(|place| world.members[place].off());
    (0..2).for_each(|place| world.members[place].lose_disk());
    for member in &world.members {
        member.order(&format!("id = \"{ORDER}\"\nrecover-from = \"m3\"\n"));
    }
    Case { place: 2, cluster: None, is_written: true }
}
