//! The steps that machines take on their own: deciding, then acting on the decision.

use super::state::{ABSENT, Act, Data, Doing, Held, Machine, Seen, State, Token};
use super::{Fault, Look, Model, Walk};
use crate::decide::{Answer, Decision, Disk, Founding, Members, Unanimity, View, decide};

/// One machine's next step.
struct Step<'a> {
    state: &'a State,
    index: usize,
    /// The states that the step leads to.
    found: &'a mut Vec<State>,
}

impl Step<'_> {
    fn machine(&self) -> Machine {
        self.state.machines[self.index]
    }

    /// Returns the position from which a majority of the cluster on this machine's side continues, if there
    /// is a majority.
    fn leads(&self, token: Token) -> Option<u8> {
        self.state.leads(self.machine().side, token)
    }

    /// Adds a state that differs from the current one by `act`.
    fn go(&mut self, act: impl FnOnce(&mut State)) {
        let mut next = self.state.clone();
        act(&mut next);
        self.found.push(next);
    }

    fn set(&mut self, doing: Doing) {
        let index = self.index;
        self.go(|next| next.machines[index].doing = doing);
    }

    /// Starts etcd with data of a cluster.
    fn run(&mut self, data: Data) {
        let index = self.index;
        self.go(|next| {
            next.machines[index].held = Held::Data(data);
            next.machines[index].doing = Doing::Running;
        });
    }

    /// Acts on a decision.
    fn act(&mut self, act: Act, fault: Option<Fault>) {
        let (state, index) = (self.state, self.index);
        match act {
            Act::Start => self.set(Doing::Running),
            Act::Draw => {
                // The new token is greater or smaller than any token in use.
                let drawn = state.clusters.iter().map(|cluster| cluster.token + 1).chain([1]);
                drawn.for_each(|token| self.go(|next| next.agree(index, token)));
            }
            Act::Agree(token) => self.go(|next| next.agree(index, token)),
            Act::Found(token) if self.machine().held == Held::Starting(token) => {
                self.run(Data { token, incarnation: 0, position: Some(0) });
            }
            Act::Found(token) => self.go(|next| next.machines[index].held = Held::Starting(token)),
            Act::Join(token) if self.leads(token).is_none() => self.set(Doing::Deciding),
            Act::Join(token) if fault == Some(Fault::KeepsIdentifier) => self.set(Doing::Added(token, 0)),
            Act::Join(token) => {
                let side = self.machine().side;
                self.go(|next| {
                    next.append(side, token, |configuration| configuration[index] = ABSENT);
                    next.machines[index].doing = Doing::Removed(token);
                });
            }
            Act::Resume(token, incarnation) => self.set(Doing::Added(token, incarnation)),
        }
    }

    /// Adds the machine to the cluster from which its previous member was removed.
    fn add(&mut self, token: Token) {
        let (machine, index) = (self.machine(), self.index);
        let Some(since) = self.leads(token) else {
            self.set(Doing::Deciding);
            return;
        };
        // The intention is recorded before the member is added, so a member that is found in this place later
        // is known to have been added on behalf of this disk.
        if !matches!(machine.held, Held::Joining(own, _) if own == token) {
            self.go(|next| next.machines[index].held = Held::Joining(token, since));
            return;
        }
        self.go(|next| {
            let log = &next.cluster(token).log;
            let before = log
                .iter()
                .map(|configuration| configuration[index])
                .filter(|incarnation| *incarnation != ABSENT)
                .max();
            let incarnation = before.map_or(1, |before| before + 1);
            next.append(machine.side, token, |configuration| configuration[index] = incarnation);
            next.machines[index].doing = Doing::Added(token, incarnation);
        });
    }

    /// Starts etcd on a machine that was added, if its cluster still knows it. This needs no quorum: a
    /// cluster of two has none until the second member starts.
    fn start_added(&mut self, token: Token, incarnation: u8) {
        let machine = self.machine();
        let expected = self.state.expects(machine.side, token, self.index, machine.held.since());
        if expected == Some(incarnation) {
            self.run(Data { token, incarnation, position: None });
        } else {
            self.set(Doing::Deciding);
        }
    }
}

impl Model {
    /// Adds the states that one machine's next step leads to.
    pub(super) fn step(&self, state: &State, index: usize, walk: &mut Walk, found: &mut Vec<State>) {
        let mut step = Step { state, index, found };
        let machines = 0..state.machines.len();
        match step.machine().doing {
            Doing::Deciding if self.look == Look::AtOnce => {
                let seen = machines.map(|other| state.seen(index, other)).collect();
                self.decide(state, index, seen, walk).into_iter().for_each(|doing| step.set(doing));
            }
            Doing::Deciding => {
                let others = machines.filter(|other| *other != index);
                others.for_each(|other| step.set(Doing::Saw(other as u8, state.seen(index, other))));
            }
            Doing::Saw(first, what) => {
                let seen = machines
                    .map(|other| if other == usize::from(first) { what } else { state.seen(index, other) });
                // A machine with nothing to do looks again.
                step.set(self.decide(state, index, seen.collect(), walk).unwrap_or(Doing::Deciding));
            }
            Doing::About(act) => step.act(act, self.fault),
            Doing::Removed(token) => step.add(token),
            Doing::Added(token, incarnation) => step.start_added(token, incarnation),
            Doing::Running => {}
        }
    }

    /// Returns what a machine that has seen this is about to do, or `None` if it waits.
    fn decide(&self, state: &State, index: usize, seen: Vec<Seen>, walk: &mut Walk) -> Option<Doing> {
        let machine = state.machines[index];
        let disk = self.disk(machine.held);
        let answers: Vec<Answer> = seen.iter().map(|seen| self.answer(*seen)).collect();
        let me = index as u8;
        let unanimity =
            if self.fault == Some(Fault::FoundsWithMajority) { Unanimity::Majority } else { Unanimity::All };
        let expected = match machine.held {
            Held::Joining(token, since) => {
                state.expects(machine.side, token, index, since).map(|incarnation| (token, incarnation))
            }
            _ => None,
        };
        let decision = decide(&View {
            me,
            disk,
            founders: self.founders(),
            unanimity,
            order: None,
            expected_by: expected.map(|_| u8::MAX),
            answers: &answers,
        });
        let act = act_on(&decision, &seen, expected);
        // A member that has data considers only members with a quorum.
        let is_heeded = |answer: &Answer| {
            !matches!(disk, Disk::Data(_)) || matches!(answer, Answer::Data { quorum: true, .. })
        };
        let heeded =
            answers.iter().map(|answer| if is_heeded(answer) { *answer } else { Answer::Silent }).collect();
        walk.decisions.insert((me, disk, heeded, decision));
        act.map(Doing::About)
    }

    fn founders(&self) -> Members {
        (0..self.members).collect()
    }

    fn founding(&self, token: Token) -> Founding {
        Founding { token: token.into(), founders: self.founders() }
    }

    fn disk(&self, held: Held) -> Disk {
        match held {
            Held::Blank => Disk::Blank,
            Held::Joining(..) => Disk::Joining,
            Held::Agreed(token) => Disk::Agreed(self.founding(token)),
            Held::Starting(token) => Disk::Starting(self.founding(token)),
            Held::Data(data) => Disk::Data(Some(data.token.into())),
        }
    }

    fn answer(&self, seen: Seen) -> Answer {
        match seen {
            Seen::Silent => Answer::Silent,
            Seen::Blank => Answer::Blank,
            Seen::Agreed(token) => Answer::Agreed(self.founding(token)),
            Seen::Data(token, quorum) => Answer::Data { token: Some(token.into()), quorum, ordered: false },
        }
    }
}

/// Returns the action that a decision calls for, or `None` if the machine waits.
fn act_on(decision: &Decision, seen: &[Seen], expected: Option<(Token, u8)>) -> Option<Act> {
    let small = |token: u128| u8::try_from(token).expect("the tokens of a walk are small");
    match decision {
        Decision::Start => Some(Act::Start),
        Decision::Draw => Some(Act::Draw),
        Decision::Agree(founding) => Some(Act::Agree(small(founding.token))),
        Decision::Found(founding) => Some(Act::Found(small(founding.token))),
        Decision::Join(through) => match seen[usize::from(*through)] {
            Seen::Data(token, _) => Some(Act::Join(token)),
            other => unreachable!("it joins through {other:?}"),
        },
        Decision::Wait(_) => None,
        Decision::Resume(_) => expected.map(|(token, incarnation)| Act::Resume(token, incarnation)),
        Decision::SetAside | Decision::Recover => {
            unreachable!("there is no order, and a member is removed only by the blank machine in its place")
        }
    }
}
