//! Explores all histories of a few members, up to a number of events: at any moment between two steps of
//! [`decide`](crate::decide::decide), a machine can be switched off or on, lose its disk or be cut off. Raft
//! itself is assumed to be correct: each cluster has one log, which a majority extends.
//!
//! A state consists of the disks' contents, what each machine has seen and is about to do, and each cluster's
//! log, reduced to the positions that some disk has reached. States that differ only in the members' names
//! are visited once; the first founder, which generates tokens, keeps its place.

mod canonical;
mod state;
mod step;

use std::collections::{BTreeSet, HashMap, VecDeque};

use self::canonical::orders;
use self::state::{Doing, Held, Machine, State};
use crate::decide::{Answer, Decision, Disk};

/// How a member looks at the others during a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// A member sees all others at the same moment.
    AtOnce,
    /// A member sees the others one after another, and anything may happen in between; three members only.
    Apart,
}

/// A deliberate fault, which shows that the walk detects it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    FoundsWithMajority,
    KeepsIdentifier,
}

/// The parameters of a walk over all states.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    pub members: u8,
    pub events: u8,
    pub look: Look,
    pub fault: Option<Fault>,
}

/// The result of a walk.
#[derive(Debug, Default)]
pub struct Walk {
    pub states: usize,
    /// Number of states in which all machines reach each other and nothing is left to do.
    pub at_rest: usize,
    /// Number of states at rest in which a person must decide.
    pub waiting: usize,
    pub decisions: BTreeSet<(u8, Disk, Vec<Answer>, Decision)>,
}

impl Model {
    /// Visits every state. Fails with the first state that breaks a guarantee.
    pub fn walk(&self) -> Result<Walk, String> {
        let mut walk = Walk::default();
        let machine =
            Machine { on: false, new: true, side: false, held: Held::Blank, doing: Doing::Deciding };
        let begin = State { machines: vec![machine; usize::from(self.members)], clusters: Vec::new() };
        let orders = orders(usize::from(self.members));
        // The lowest number of events that lead to each state. States are stored as fingerprints, because
        // whole states would not fit into memory.
        let mut fewest: HashMap<u128, u8> = HashMap::from([(begin.fingerprint(), 0)]);
        let mut queue = VecDeque::from([(begin, 0_u8)]);
        while let Some((state, used)) = queue.pop_front() {
            if fewest[&state.fingerprint()] < used {
                continue;
            }
            let mut reached: Vec<(State, u8)> = Vec::new();
            let mut at_rest = state.is_whole();
            for next in self.steps(&state, &mut walk)? {
                let next = next.canonical(&orders);
                at_rest &= next == state;
                reached.push((next, used));
            }
            if at_rest {
                walk.at_rest += 1;
                walk.waiting += usize::from(state.waits_for_a_person()?);
            }
            for (next, cost) in self.events(&state) {
                if used + cost <= self.events {
                    reached.push((next.canonical(&orders), used + cost));
                }
            }
            for (next, used_then) in reached {
                let known = fewest.entry(next.fingerprint()).or_insert(u8::MAX);
                if *known > used_then {
                    *known = used_then;
                    if used_then == used {
                        queue.push_front((next, used_then))
                    } else {
                        queue.push_back((next, used_then))
                    }
                }
            }
        }
        walk.states = fewest.len();
        Ok(walk)
    }

    /// Returns the states that one failure, repair or power switch leads to, each with the number of events
    /// that it counts as.
    fn events(&self, state: &State) -> Vec<(State, u8)> {
        let mut found = Vec::new();
        for index in 0..state.machines.len() {
            let mut happen = |cost: u8, act: &dyn Fn(&mut Machine)| {
                let mut next = state.clone();
                act(&mut next.machines[index]);
                found.push((next, cost));
            };
            let machine = state.machines[index];
            if machine.on {
                happen(1, &|machine| (machine.on, machine.doing) = (false, Doing::Deciding));
            } else {
                happen(u8::from(!machine.new), &|machine| (machine.on, machine.new) = (true, false));
            }
            happen(1, &|machine| machine.side = !machine.side);
            if machine.held != Held::Blank {
                let mut next = state.clone();
                next.lose_disk(index);
                found.push((next, 1));
            }
        }
        found
    }

    /// Returns the states that the machines and clusters reach on their own.
    fn steps(&self, state: &State, walk: &mut Walk) -> Result<Vec<State>, String> {
        let mut found = Vec::new();
        for index in (0..state.machines.len()).filter(|index| state.machines[*index].on) {
            self.step(state, index, walk, &mut found);
        }
        for cluster in &state.clusters {
            for side in [false, true] {
                if let Some(best) = state.leads(side, cluster.token) {
                    state.judge(cluster, best)?;
                    let (mut caught_up, mut written) = (state.clone(), state.clone());
                    caught_up.catch_up(side, cluster.token, best);
                    written.append(side, cluster.token, |_| ());
                    found.extend([caught_up, written]);
                }
            }
        }
        Ok(found)
    }
}
