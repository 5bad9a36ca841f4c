//! Recovery orders: one member's data becomes the cluster's data, and the other members rejoin.

use std::thread::sleep;
use std::time::Duration;

use crate::common::lab::eventually;
use crate::world::World;
use crate::{ORDER, PATIENCE, put, waits, whole};

pub(crate) fn uses_one_member_s_data_and_sets_old_data_aside() {
    let Some(mut world) = World::new(3) else { return };
    world.on(&[0, 1, 2]);
    let before = whole(&world);
    put(&world, "key", "value");
    (0..3).for_each(|place| world.members[place].off());
    world.members[0].lose_disk();
    for member in &world.members {
        member.order(&format!("id = \"{ORDER}\"\nrecover-from = \"m3\"\n"));
    }
    // The other members wait for the one that is to recover the cluster, whether or not they have old data.
    world.on(&[0, 1]);
    waits(&world, 1, &["m3 is to recover the cluster from its data, as ordered, but has no quorum yet"]);
    world.on(&[2]);
    let after = whole(&world);
    assert_ne!(after, before);
    assert!(world.etcdctl_at(1, &["get", "key"]).unwrap().contains("value"));
    for place in [1, 2] {
        assert!(world.members[place].data().join("aside-1/wal").is_dir(), "m{}", place + 1);
    }
    // At the next boot the seed contains the same order, which has already been carried out.
    put(&world, "key", "newer");
    (0..3).for_each(|place| world.members[place].off());
    world.on(&[0, 1, 2]);
    assert_eq!(whole(&world), after);
    assert!(world.etcdctl_at(2, &["get", "key"]).unwrap().contains("newer"));
    // Nor is the order carried out again on a new disk of that member, which has no data to recover from.
    world.members[2].off();
    world.members[2].lose_disk();
    world.on(&[2]);
    assert_eq!(whole(&world), after);
    assert!(world.etcdctl_at(2, &["get", "key"]).unwrap().contains("newer"));
}

pub(crate) fn lets_the_others_rejoin_one_by_one() {
    let Some(mut world) = World::new(3) else { return };
    world.on(&[0, 1, 2]);
    let before = whole(&world);
    put(&world, "before", "1");
    (0..3).for_each(|place| world.members[place].off());
    for member in &world.members {
        member.order(&format!("id = \"{ORDER}\"\nrecover-from = \"m3\"\n"));
    }
    world.on(&[2]);
    put(&world, "alone", "2");
    world.on(&[0]);
    eventually("two members", PATIENCE, || {
        world.cluster_at(0).map(drop).ok_or_else(|| world.members[0].log())
    });
    put(&world, "of two", "3");
    // m1 alone is not a quorum of two, and m2's old data must not help to form one.
    world.members[2].off();
    world.on(&[1]);
    waits(&world, 1, &["m3 is to recover the cluster from its data, as ordered, but has no quorum yet"]);
    world.on(&[2]);
    let after = whole(&world);
    assert_ne!(after, before);
    put(&world, "after", "4");
    for (key, value) in [("before", "1"), ("alone", "2"), ("of two", "3"), ("after", "4")] {
        for place in 0..3 {
            assert_eq!(
                world.etcdctl_at(place, &["get", key, "--print-value-only"]).unwrap().trim(),
                value,
                "{key} at m{}",
                place + 1
            );
        }
    }
    for place in [0, 1] {
        assert!(world.members[place].data().join("aside-1/wal").is_dir(), "m{}", place + 1);
    }
}

pub(crate) fn leaves_an_old_disk_waiting_until_it_is_set_aside() {
    let Some(mut world) = World::new(3) else { return };
    world.on(&[0, 1, 2]);
    whole(&world);
    (0..3).for_each(|place| world.members[place].off());
    let (here, elsewhere) = (world.members[0].data(), world.members[0].data().with_file_name("elsewhere"));
    std::fs::rename(&here, &elsewhere).unwrap();
    world.members[1].lose_disk();
    for member in &world.members {
        member.order(&format!("id = \"{ORDER}\"\nrecover-from = \"m3\"\n"));
    }
    world.on(&[0, 1, 2]);
    let cluster = whole(&world);
    put(&world, "key", "newer");
    // m1's old disk returns with a seed that contains no order.
    world.members[0].off();
    world.members[0].lose_disk();
    std::fs::rename(&elsewhere, &here).unwrap();
    world.members[0].order("id = \"none\"\n");
    world.on(&[0]);
    eventually("m1 reports why it waits", PATIENCE, || {
        let said = world.members[0].waits_for();
        let is_right = said.first().is_some_and(|said| {
            said.starts_with("m2 belongs to a different cluster than the data on this machine")
        });
        if is_right { Ok(()) } else { Err(format!("{said:?}")) }
    });
    assert!(here.join("member/wal").is_dir());
    world.members[0].off();
    world.members[0].order("id = \"fedcba9876543210fedcba9876543210\"\nset-aside = [\"m1\"]\n");
    world.on(&[0]);
    assert_eq!(whole(&world), cluster);
    assert!(here.join("aside-1/wal").is_dir());
    assert!(world.etcdctl_at(0, &["get", "key"]).unwrap().contains("newer"));
}

pub(crate) fn resumes_an_interrupted_addition_without_a_quorum() {
    let Some(mut world) = World::new(3) else { return };
    world.on(&[0, 1, 2]);
    whole(&world);
    (0..3).for_each(|place| world.members[place].off());
    (0..2).for_each(|place| world.members[place].lose_disk());
    for member in &world.members {
        member.order(&format!("id = \"{ORDER}\"\nrecover-from = \"m3\"\n"));
    }
    world.on(&[2]);
    eventually("a cluster of one", PATIENCE, || {
        world.cluster_at(2).map(drop).ok_or_else(|| world.members[2].log())
    });
    // m1 recorded that it is to be added, was added, but did not start: the quorum is now two of two.
    let record =
        format!("{{\"state\":\"joining\",\"token\":\"{ORDER}\",\"order\":\"{ORDER}\",\"applied\":1}}");
    std::fs::create_dir_all(world.members[0].data().join("member")).unwrap();
    std::fs::write(world.members[0].data().join("member/kiln.json"), record).unwrap();
    world.etcdctl_at(2, &["member", "add", "m1", "--peer-urls=https://10.0.0.11:2380"]).unwrap();
    sleep(Duration::from_secs(2));
    assert_eq!(world.cluster_at(2), None);
    world.on(&[0, 1]);
    whole(&world);
}
