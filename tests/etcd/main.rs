//! Which etcd members bootstrap a cluster, rejoin or wait: real etcd processes in network namespaces,
//! configured with the files that nodes get.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the world as users do")]

mod balancer;
#[path = "../common/mod.rs"]
mod common;
mod decisions;
mod history;
mod member;
mod namespace;
mod power;
mod recovery;
mod snapshots;
mod space;
mod steps;
mod streams;
mod walks;
mod world;

use std::thread::sleep;
use std::time::Duration;

use common::judge;
use common::lab::eventually;
use kiln_model::Look;
use member::Clock;
use serde_json::Value;
use world::World;

const PATIENCE: Duration = Duration::from_secs(60);
/// The identifier of an order, as `kiln order` generates it.
const ORDER: &str = "0123456789abcdef0123456789abcdef";
/// Longer than a member needs to bootstrap or to join when nothing prevents it.
const LONG_ENOUGH: Duration = Duration::from_secs(6);

/// Writes a value, retrying until etcd accepts it.
fn put(world: &World, key: &str, value: &str) {
    eventually("a write", PATIENCE, || world.etcdctl(&["put", key, value]).map(drop));
}

/// Waits until all members form one cluster, and returns its identifier.
fn whole(world: &World) -> u64 {
    world.whole(PATIENCE).unwrap_or_else(|state| panic!("{state}"))
}

/// Checks that no member has a quorum, and that one of them reports the reasons.
fn waits(world: &World, place: usize, reasons: &[&str]) {
    sleep(LONG_ENOUGH);
    let living: Vec<usize> =
        (0..world.members.len()).filter(|place| world.cluster_at(*place).is_some()).collect();
    assert_eq!(living, [0_usize; 0], "members with a quorum");
    let said = world.members[place].waits_for();
    assert_eq!(said.len(), reasons.len(), "{said:?}");
    assert!(said.iter().zip(reasons).all(|(said, reason)| said.starts_with(reason)), "{said:?}");
}

#[test]
fn a_cluster_is_founded_by_all_or_not_at_all_whenever_they_come() {
    let Some(mut world) = World::new(3) else { return };
    world.on(&[2, 1]);
    waits(&world, 1, &["m1 does not respond (Connection refused"]);
    world.on(&[0]);
    whole(&world);
    put(&world, "key", "value");
    // Existing members stay: a start with data does not depend on the other members.
    (0..3).for_each(|place| world.members[place].off());
    world.on(&[0, 1]);
    eventually("the value", PATIENCE, || {
        world
            .etcdctl(&["get", "key"])
            .and_then(|text| if text.contains("value") { Ok(()) } else { Err(text) })
    });
}

#[test]
fn a_member_that_lost_its_disk_comes_back_under_a_new_identifier() {
    let Some(mut world) = World::new(3) else { return };
    world.on(&[0, 1, 2]);
    let cluster = whole(&world);
    let before = world.cluster_at(0).unwrap().1;
    put(&world, "key", "before");
    world.members[2].off();
    world.members[2].lose_disk();
    world.members[2].on();
    eventually("another identifier", PATIENCE, || {
        let after = world.cluster_at(2).ok_or("no quorum at m3")?.1;
        if after.iter().all(|member| before.contains(member)) { Err(format!("{after:?}")) } else { Ok(()) }
    });
    assert_eq!(whole(&world), cluster);
    assert!(world.etcdctl_at(2, &["get", "key"]).unwrap().contains("before"));
}

#[test]
fn two_that_lost_their_disks_never_found_beside_the_third() {
    let Some(mut world) = World::new(3) else { return };
    world.on(&[0, 1, 2]);
    whole(&world);
    put(&world, "key", "value");
    (0..3).for_each(|place| world.members[place].off());
    let token = world.members[2].token();
    (0..2).for_each(|place| world.members[place].lose_disk());
    world.on(&[0, 1]);
    waits(&world, 0, &["m3 does not respond"]);
    world.on(&[2]);
    waits(&world, 1, &["m3 has data at revision "]);
    // The third member's data is unchanged.
    (0..2).for_each(|place| world.members[place].off());
    assert_eq!(world.members[2].token(), token);
    assert!(world.members[2].data().join("member/wal").is_dir());
}

#[test]
fn all_that_lost_their_disks_found_another_cluster() {
    let Some(mut world) = World::new(3) else { return };
    world.on(&[0, 1, 2]);
    let before = whole(&world);
    for place in 0..3 {
        world.members[place].off();
        world.members[place].lose_disk();
    }
    world.on(&[0, 1, 2]);
    assert_ne!(whole(&world), before);
}

#[test]
fn data_of_a_member_that_was_removed_are_kept_aside_and_it_comes_back_as_another() {
    let Some(mut world) = World::new(3) else { return };
    world.on(&[0, 1, 2]);
    let cluster = whole(&world);
    let before = world.cluster_at(0).unwrap().1;
    let (_, id) = before.iter().find(|(name, _)| name == "m3").unwrap();
    // The agent has recorded the member's identifier.
    eventually("a record", PATIENCE, || {
        let record = std::fs::read_to_string(world.members[2].data().join("member/kiln.json"))
            .map_err(|err| err.to_string())?;
        if record.contains(&id.to_string()) { Ok(()) } else { Err(record) }
    });
    // For five seconds after members have connected, etcd refuses membership changes.
    eventually("the removal of m3", PATIENCE, || {
        world.etcdctl_at(0, &["member", "remove", &format!("{id:x}")]).map(drop)
    });
    eventually("another identifier", PATIENCE, || {
        let after = world.cluster_at(0).ok_or("no quorum at m1")?.1;
        let is_back = after.iter().any(|(name, other)| name == "m3" && other != id);
        if is_back { Ok(()) } else { Err(format!("{after:?}")) }
    });
    assert_eq!(whole(&world), cluster);
    assert!(world.members[2].data().join("aside-1/wal").is_dir());
}

#[test]
fn one_member_s_data_become_the_cluster_s_by_an_order_and_old_data_of_others_are_kept_aside() {
    recovery::uses_one_member_s_data_and_sets_old_data_aside();
}

#[test]
fn the_others_return_one_by_one_after_a_recovery_even_while_the_recovered_one_is_off() {
    recovery::lets_the_others_rejoin_one_by_one();
}

#[test]
fn an_old_disk_that_returns_beside_a_living_cluster_waits_until_it_is_ordered_aside() {
    recovery::leaves_an_old_disk_waiting_until_it_is_set_aside();
}

#[test]
fn a_member_that_was_added_before_the_power_failed_takes_its_place_without_a_quorum() {
    recovery::resumes_an_interrupted_addition_without_a_quorum();
}

#[test]
fn a_founder_whose_start_is_cut_at_any_step_is_a_founder_all_the_same() {
    for prepare in [steps::founding_as_the_first, steps::founding_as_another] {
        let Some(steps) = steps::cut(prepare) else { return };
        // The agent records its agreement, records that all founders have agreed, and writes the etcd flags.
        // Each file is written, synced and renamed.
        assert!(steps >= 6, "{steps}");
    }
}

#[test]
fn a_member_whose_return_is_cut_at_any_step_returns_to_the_same_cluster() {
    let Some(steps) = steps::cut(steps::rejoining) else { return };
    assert!(steps >= 4, "{steps}");
}

#[test]
fn a_recovery_that_is_cut_at_any_step_is_carried_out_once() {
    let Some(steps) = steps::cut(steps::recovering) else { return };
    assert!(steps >= 6, "{steps}");
}

#[test]
fn a_member_whose_clock_alone_is_wrong_waits_until_it_is_right() {
    let Some(mut world) = World::new(3) else { return };
    let (Some(_), Some(_)) = (judge("chronyd"), judge("faketime")) else { return };
    // m1 sees that its own clock is wrong. Each of the others sees two other clocks that differ, and can't
    // know which one is right.
    let clocks: Vec<Clock> =
        [(0, "+0"), (1, "+1d"), (2, "+1d")].map(|(place, ahead)| world.members[place].clock(ahead)).into();
    world.on(&[0, 1, 2]);
    let expected = [
        "this machine's clock is 24 h behind a majority of the members, whose clocks agree",
        "m1 has not generated the token for the new cluster yet",
        "m1 has not generated the token for the new cluster yet",
    ];
    eventually("each member reports why it waits", PATIENCE, || {
        let said: Vec<String> = world.members.iter().flat_map(|member| member.waits_for()).collect();
        if said == expected { Ok(()) } else { Err(format!("{said:?}")) }
    });
    drop(clocks);
    whole(&world);
}

/// Returns the place of the etcd leader.
fn leader(world: &World) -> Result<usize, String> {
    let text = world.etcdctl(&["endpoint", "status", "--write-out=json"])?;
    let answers: Vec<Value> = serde_json::from_str(&text).map_err(|err| err.to_string())?;
    let leads = |answer: &Value| answer["Status"]["header"]["member_id"] == answer["Status"]["leader"];
    let endpoint = answers.iter().find(|answer| leads(answer)).ok_or("there is no leader")?["Endpoint"]
        .as_str()
        .unwrap()
        .to_owned();
    Ok(world.members.iter().position(|member| member.client_url() == endpoint).unwrap())
}

#[test]
fn a_connection_that_a_member_reads_from_is_ended_when_it_is_silent() {
    streams::readers_that_hear_nothing_are_ended_and_no_others();
}

#[test]
fn a_leader_whose_disk_is_slow_hands_leadership_on_and_says_so() {
    let Some(mut world) = World::new(3) else { return };
    let Some(_) = judge("strace") else { return };
    world.on(&[0, 1, 2]);
    whole(&world);
    let before = leader(&world).unwrap();
    let _slow = world.members[before].slow_disk(200);
    // The agent takes one initial measurement and three more, five seconds apart.
    eventually("another member becomes the leader", PATIENCE, || {
        world.etcdctl(&["put", "key", "value"])?;
        if leader(&world)? == before { Err("the slow member is still the leader".into()) } else { Ok(()) }
    });
    let after = leader(&world).unwrap();
    let log = world.members[before].log();
    assert!(
        log.contains(&format!(
            "every write in the cluster waits for it: transferring leadership to m{}",
            after + 1
        )),
        "{log}"
    );
    // The problem is written at the end of the check, and remains while there are few writes.
    eventually("it reports that its disk is slow", PATIENCE, || {
        let problems = world.members[before].problems();
        let slow = |problem: &String| problem.starts_with("etcd's disk is slow: a log sync takes 2");
        if problems.iter().any(slow) { Ok(()) } else { Err(format!("{problems:?}")) }
    });
}

#[test]
fn agents_end_at_the_first_signal_whatever_they_wait_for() {
    let Some(world) = World::new(3) else { return };
    for action in ["serve", "start"] {
        let mut agent = world.members[0].agent(action).spawn().unwrap();
        // The agent waits for the other members, or for their requests.
        sleep(Duration::from_secs(3));
        assert!(agent.try_wait().unwrap().is_none(), "{action}");
        rustix::process::kill_process(
            rustix::process::Pid::from_child(&agent),
            rustix::process::Signal::TERM,
        )
        .unwrap();
        // A longer wait would delay the machine's shutdown by up to a minute.
        eventually(action, Duration::from_secs(5), || {
            if agent.try_wait().unwrap().is_some() { Ok(()) } else { Err("it is still running".into()) }
        });
    }
}

#[test]
fn no_history_of_three_members_forks_or_loses_an_acknowledged_write() {
    walks::visit(3, 8, Look::AtOnce);
    walks::visit(3, 3, Look::Apart);
}

#[test]
fn no_history_of_five_members_forks_or_loses_an_acknowledged_write() {
    let all = std::env::var_os("KILN_TEST_ALL").is_some();
    walks::visit(5, if all { 6 } else { 4 }, Look::AtOnce);
}

#[test]
fn the_walk_finds_what_a_wrong_rule_leads_to() {
    walks::faults();
}

#[test]
fn every_decision_of_the_model_is_the_agent_s() {
    decisions::all();
}

#[test]
fn random_histories_lose_no_acknowledged_write_and_never_fork() {
    let all = std::env::var_os("KILN_TEST_ALL").is_some();
    history::random(0..if all { 300 } else { 20 });
}

#[test]
fn snapshots_are_kept_whole_or_not_at_all() {
    snapshots::kept_whole_or_not_at_all();
}

#[test]
fn a_power_cut_while_a_snapshot_is_saved_leaves_the_others() {
    snapshots::killed_while_saving();
}

#[test]
fn a_damaged_snapshot_is_refused_before_a_machine_hears_of_it() {
    snapshots::damaged_ones_are_refused_when_they_are_ordered();
}

#[test]
fn a_snapshot_is_restored_by_an_order_and_a_damaged_one_is_refused_before_data_are_moved() {
    snapshots::restored_by_an_order();
}

#[test]
fn a_full_database_gets_room_one_member_at_a_time_and_the_leader_last() {
    space::is_made();
}

#[test]
fn a_database_that_is_full_of_what_is_needed_is_said_to_be() {
    space::that_is_not_there_is_said();
}

#[test]
fn nothing_is_done_about_corruption_but_to_say_so() {
    space::nothing_is_done_about_corruption();
}
