//! A database that has reached its quota: the agents free space, one member at a time, and disarm the alarm.
//! Problems that the agent can't solve are reported.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::common::approve;
use crate::common::lab::eventually;
use crate::member::Member;
use crate::world::World;
use crate::{PATIENCE, whole};

/// Quota small enough to be exhausted within seconds.
const QUOTA: u64 = 24 << 20;
/// Time for at least four checks by the agent, and for defragmentation.
const MENDED: Duration = Duration::from_secs(120);

/// Starts a cluster with a small quota.
fn full(number: usize) -> Option<World> {
    let mut world = if number == 1 { World::alone()? } else { World::new(number)? };
    let places: Vec<usize> = (0..number).collect();
    world.members.iter_mut().for_each(|member| member.flag(&format!("--quota-backend-bytes={QUOTA}")));
    world.on(&places);
    whole(&world);
    Some(world)
}

/// Writes values until etcd refuses one.
fn exhaust(world: &World, key: &str) {
    for _ in 0..200 {
        if let Err(said) = world.put_large(key, 512 << 10) {
            assert!(said.contains("database space exceeded"), "{said}");
            return;
        }
    }
    panic!("etcd never refused a write");
}

/// Returns the agents' log lines and problems.
fn said_of(world: &World) -> String {
    let of = |member: &Member| {
        let log = member.log();
        let lines = log.lines().filter(|line| !line.starts_with('{') && !line.starts_with("20"));
        format!("\n--- {} {:?}\n{}", member.name, member.problems(), lines.collect::<Vec<_>>().join("\n"))
    };
    world.members.iter().map(of).collect()
}

/// Returns the identifier, the leader and the database size that each member reports.
fn statuses(world: &World) -> Vec<(u64, u64, u64)> {
    let urls: Vec<String> = world.members.iter().map(Member::client_url).collect();
    let all: Value = serde_json::from_str(
        &world.ask(&urls.join(","), &["endpoint", "status", "--write-out=json"]).unwrap(),
    )
    .unwrap();
    let one = |status: &Value| {
        let status = &status["Status"];
        let number = |value: &Value| value.as_u64().unwrap();
        (number(&status["header"]["member_id"]), number(&status["leader"]), number(&status["dbSize"]))
    };
    all.as_array().unwrap().iter().map(one).collect()
}

pub(crate) fn is_made() {
    let Some(world) = full(3) else { return };
    // The database contains only the history of one key, all of which can be compacted.
    exhaust(&world, "key");
    let (_, leader, _) = statuses(&world)[0];
    let ids: Vec<u64> = statuses(&world).iter().map(|(id, ..)| *id).collect();
    let first = format!("m{}", ids.iter().position(|id| *id == leader).unwrap() + 1);
    eventually("writes are accepted again", MENDED, || {
        world.etcdctl(&["put", "small", "1"]).map(drop).map_err(|said| said + &said_of(&world))
    });
    assert_eq!(world.etcdctl(&["alarm", "list"]).unwrap().trim(), "");
    for (id, _, size) in statuses(&world) {
        assert!(size < QUOTA / 2, "{id:x} has {size} bytes");
    }
    // The leader is defragmented last, after it has transferred leadership.
    let logs: String = world.members.iter().map(|member| member.log()).collect();
    let of_leader = world.members.iter().find(|member| member.name == first).unwrap().log();
    assert!(!of_leader.contains(&format!("NOSPACE: defragmenting {first}")), "{of_leader}");
    assert!(of_leader.contains("NOSPACE: transferring leadership to"), "{of_leader}");
    for member in &world.members {
        let times = logs.matches(&format!("NOSPACE: defragmenting {}\n", member.name)).count();
        assert_eq!(times, 1, "{}: {logs}", member.name);
    }
    assert_eq!(logs.matches("NOSPACE: space has been freed, alarm disarmed").count(), 1, "{logs}");
}

pub(crate) fn that_is_not_there_is_said() {
    let Some(world) = full(1) else { return };
    let problem = |says: &str| {
        let problems = world.members[0].problems();
        if problems.iter().any(|problem| problem.contains(says)) {
            Ok(())
        } else {
            Err(format!("{problems:?}"))
        }
    };
    // The space that defragmentation frees is used up again, until none is left.
    let mut number = 0;
    eventually("the remaining data exceeds the quota", MENDED, || {
        number += 1;
        let _ = world.put_large(&format!("key-{number}"), 512 << 10);
        problem("delete objects, or raise `quota-backend-bytes`")
    });
    assert!(world.etcdctl(&["alarm", "list"]).unwrap().contains("NOSPACE"));
    // After a person has deleted unneeded objects, the agent does the rest.
    world.etcdctl(&["del", "key-", "--prefix"]).unwrap();
    eventually("writes are accepted again", MENDED, || world.etcdctl(&["put", "small", "1"]).map(drop));
    eventually("no problem is reported", PATIENCE, || {
        let problems = world.members[0].problems();
        if problems.is_empty() { Ok(()) } else { Err(format!("{problems:?}")) }
    });
}

pub(crate) fn nothing_is_done_about_corruption() {
    let Some(world) = full(1) else { return };
    let (id, ..) = statuses(&world)[0];
    // A member raises this alarm when its data differs from the other members' data.
    let member = &world.members[0];
    let body = format!("{{\"action\":\"ACTIVATE\",\"memberID\":\"{id}\",\"alarm\":\"CORRUPT\"}}");
    let pki = member.root().join("etc/kubernetes/pki/etcd");
    let mut curl: Command = member.command("curl");
    curl.args(["--silent", "--show-error", "--fail", "--max-time", "5"]);
    for (flag, file) in [("--cacert", "ca.crt"), ("--cert", "peer.crt"), ("--key", "peer.key")] {
        curl.arg(flag).arg(pki.join(file));
    }
    approve(curl.args(["--data", &body, "https://127.0.0.1:2379/v3/maintenance/alarm"]));
    eventually("the alarm is reported", PATIENCE, || {
        let problems = member.problems();
        if problems.iter().any(|problem| problem.starts_with("CORRUPT alarm on m1")) {
            Ok(())
        } else {
            Err(format!("{problems:?}"))
        }
    });
    std::thread::sleep(Duration::from_secs(15));
    assert!(world.etcdctl(&["alarm", "list"]).unwrap().contains("CORRUPT"));
    assert!(!member.log().contains("NOSPACE"), "{}", member.log());
}
