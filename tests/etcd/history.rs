//! Random histories of three members, while a client writes continuously and records which writes were
//! acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle, sleep};
use std::time::Duration;

use crate::PATIENCE;
use crate::common::lab::eventually;
use crate::world::World;

/// Number of events in a history.
const EVENTS: usize = 8;

/// An xorshift64* generator, so that a seed produces the same history on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

/// A history in progress.
struct History {
    world: World,
    said: String,
    writer: Writer,
    /// Members that have lost their disks since all members last formed one cluster.
    lost: BTreeSet<usize>,
    /// Whether a majority of the disks was lost, and possibly acknowledged writes with them.
    is_broken: bool,
}

/// Writes one key after another, regardless of what happens to the members.
struct Writer {
    stop: Arc<AtomicBool>,
    /// Numbers of the acknowledged writes.
    written: Arc<Mutex<Vec<u32>>>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Pause between two writes.
    const PAUSE: Duration = Duration::from_millis(400);

    fn start(world: &World) -> Self {
        let (stop, written) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (client, stopped, acknowledged) = (world.client(), Arc::clone(&stop), Arc::clone(&written));
        let thread = thread::spawn(move || {
            for number in 1.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                if client(&["put", &format!("w{number}"), &number.to_string()]).is_ok() {
                    acknowledged.lock().unwrap().push(number);
                }
                sleep(Self::PAUSE);
            }
        });
        Self { stop, written, thread }
    }

    fn end(self) -> Vec<u32> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        std::mem::take(&mut self.written.lock().unwrap())
    }
}

/// Number of histories that run in parallel; they spend most of the time waiting for timeouts.
const AT_ONCE: usize = 6;

pub(crate) fn random(seeds: Range<u64>) {
    let next = AtomicU64::new(seeds.start);
    let work = || {
        while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| seeds.contains(seed))
        {
            let Some(world) = World::new(3) else { return };
            let writer = Writer::start(&world);
            let history =
                History { world, said: String::new(), writer, lost: BTreeSet::new(), is_broken: false };
            history.run(seed);
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
}

impl History {
    fn run(mut self, seed: u64) {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        // Some histories start with a complete cluster, others while it is being bootstrapped.
        self.world.on(&[0, 1, 2]);
        if dice.below(3) > 0 {
            self.world.whole(PATIENCE).unwrap();
        }
        for _ in 0..EVENTS {
            self.event(&mut dice);
            sleep(Duration::from_millis(dice.below(1500)));
            self.check(seed);
        }
        self.end(seed);
    }

    fn event(&mut self, dice: &mut Dice) {
        let place = usize::try_from(dice.below(3)).unwrap();
        let what = dice.below(5);
        let member = &mut self.world.members[place];
        let name = match what {
            0 | 1 if member.is_on() => {
                member.off();
                "off"
            }
            0 | 1 => {
                member.on();
                "on"
            }
            2 => {
                member.off();
                member.lose_disk();
                member.on();
                self.lost.insert(place);
                self.is_broken |= self.lost.len() > 1;
                "re-imaged"
            }
            _ => {
                let cut = !member.is_cut();
                member.cut(cut);
                if cut { "cut" } else { "reconnected" }
            }
        };
        let _ = write!(self.said, " m{}:{name}", place + 1);
    }

    /// Checks that all members with a quorum belong to the same cluster.
    fn check(&mut self, seed: u64) {
        let living: Vec<u64> = self.world.clusters().into_iter().flatten().map(|(id, _)| id).collect();
        let clusters: BTreeSet<&u64> = living.iter().collect();
        assert!(clusters.len() < 2, "seed {seed}:{}: a fork: {clusters:?}", self.said);
        // Every member answered with a quorum, so every member has all acknowledged writes.
        if living.len() == self.world.members.len() {
            self.lost.clear();
        }
    }

    /// Switches on and connects all members, and checks that they form one cluster with every acknowledged
    /// write, unless a majority of the disks was lost.
    fn end(mut self, seed: u64) {
        for member in &mut self.world.members {
            if member.is_cut() {
                member.cut(false);
            }
            if !member.is_on() {
                member.on();
            }
        }
        if self.is_broken {
            self.check(seed);
            self.writer.end();
            return;
        }
        if let Err(state) = self.world.whole(PATIENCE) {
            panic!("seed {seed}:{}: {state}", self.said);
        }
        // If the cluster was never complete before, there may be no acknowledged write yet.
        eventually("a write is acknowledged", PATIENCE, || {
            if self.writer.written.lock().unwrap().is_empty() {
                Err(format!("seed {seed}:{}", self.said))
            } else {
                Ok(())
            }
        });
        let written = self.writer.end();
        let read = self.world.etcdctl(&["get", "w", "--prefix"]).unwrap();
        let lines: Vec<&str> = read.lines().collect();
        let found: BTreeMap<&str, &str> = lines.chunks(2).map(|pair| (pair[0], pair[1])).collect();
        for number in written {
            let (key, value) = (format!("w{number}"), number.to_string());
            assert_eq!(found.get(key.as_str()), Some(&value.as_str()), "seed {seed}:{}: {key}", self.said);
        }
    }
}
