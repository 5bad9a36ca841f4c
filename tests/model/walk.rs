//! All histories of a few members, up to a number of events: machines that are switched off and on, lose
//! their disks, are cut off, at any moment between two steps of [`decide`]. Raft itself is believed: one log
//! per cluster, which a majority extends.
//!
//! A state is what the disks hold, what each machine has seen and is about to do, and each cluster's log, of
//! which only the positions are kept that some disk is at. States that differ by a renaming of members are
//! visited once; the first founder, who draws tokens, keeps its place.

mod canonical;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use self::canonical::orders;
use crate::decide::{Answer, Decision, Disk, Founding, Members, Unanimity, View, decide};

/// The largest cluster that is walked.
const MOST: usize = 5;
/// Marks a place that a configuration has no member for.
const ABSENT: u8 = u8::MAX;

/// The incarnation of each place's member: one that was replaced has another.
type Configuration = [u8; MOST];
/// Tokens by size; those of a state are 2, 4, 6 and so on.
type Token = u8;

/// A cluster as an observer who sees everything knows it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Cluster {
    token: Token,
    /// Configurations at the positions of the log that matter, the founders' at 0.
    log: Vec<Configuration>,
    /// A majority has acknowledged the end of the log.
    acknowledged: bool,
    /// Places whose member of the last configuration has lost its disk, or was added and has not caught up
    /// yet.
    lost: u8,
}

/// What a directory of etcd holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Held {
    Blank,
    Agreed(Token),
    Starting(Token),
    /// It is to be added, and etcd has made no data yet; at this position of the log nothing was in its
    /// place.
    Joining(Token, u8),
    /// A log up to a position; none for a member that has just been added.
    Data(Data),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Data {
    token: Token,
    incarnation: u8,
    position: Option<u8>,
}

/// What a machine is at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Doing {
    Deciding,
    /// It asked one of two others, and will ask the other one later.
    Saw(u8, Seen),
    /// It has decided, and not yet done it.
    About(Act),
    /// It has removed what was in its place.
    Removed(Token),
    /// It was added as this incarnation.
    Added(Token, u8),
    Running,
}

/// A [`Decision`] that is one to act upon.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Act {
    Start,
    Draw,
    Agree(Token),
    Found(Token),
    Join(Token),
    Resume(Token, u8),
}

/// An [`Answer`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Seen {
    Silent,
    Blank,
    Agreed(Token),
    Data(Token, bool),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Machine {
    on: bool,
    /// It was never switched on: the first time is no event.
    new: bool,
    /// Machines hear those on their own side.
    side: bool,
    held: Held,
    doing: Doing,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct State {
    machines: Vec<Machine>,
    clusters: Vec<Cluster>,
}

/// How the members of a walk look at each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// All others at one moment.
    AtOnce,
    /// One after the other, with anything between: three members only.
    Apart,
}

/// Deliberate faults, which show what the walk finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    FoundsWithMajority,
    KeepsIdentifier,
}

/// A walk over all states.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    pub members: u8,
    pub events: u8,
    pub look: Look,
    pub fault: Option<Fault>,
}

/// What it found.
#[derive(Debug, Default)]
pub struct Walk {
    pub states: usize,
    /// States in which all hear each other and nothing is left to do.
    pub at_rest: usize,
    /// Those among them in which a person must decide.
    pub waiting: usize,
    pub decisions: BTreeSet<(u8, Disk, Vec<Answer>, Decision)>,
}

impl Model {
    /// Visits every state; the first one that breaks a promise is the error.
    pub fn walk(&self) -> Result<Walk, String> {
        let mut walk = Walk::default();
        let machine =
            Machine { on: false, new: true, side: false, held: Held::Blank, doing: Doing::Deciding };
        let begin = State { machines: vec![machine; usize::from(self.members)], clusters: Vec::new() };
        let orders = orders(usize::from(self.members));
        // The fewest events that lead to a state, by its fingerprint: whole states would not fit into memory.
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

    fn founders(&self) -> Members {
        (0..self.members).collect()
    }

    /// What may happen to machines, and how many events it counts as.
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

    /// What machines and clusters do by themselves.
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

    fn step(&self, state: &State, index: usize, walk: &mut Walk, found: &mut Vec<State>) {
        let machine = state.machines[index];
        let mut go = |act: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            act(&mut next);
            found.push(next);
        };
        let mut set = |doing: Doing| go(&|next| next.machines[index].doing = doing);
        let leads = |token| state.leads(machine.side, token).is_some();
        match machine.doing {
            Doing::Deciding if self.look == Look::AtOnce => {
                let seen = (0..state.machines.len()).map(|other| state.seen(index, other)).collect();
                self.decide(state, index, seen, walk).into_iter().for_each(set);
            }
            Doing::Deciding => {
                let others = (0..state.machines.len()).filter(|other| *other != index);
                others.for_each(|other| set(Doing::Saw(other as u8, state.seen(index, other))));
            }
            Doing::Saw(first, what) => {
                let seen = (0..state.machines.len())
                    .map(|other| if other == usize::from(first) { what } else { state.seen(index, other) });
                // Nothing to do: it looks again.
                set(self.decide(state, index, seen.collect(), walk).unwrap_or(Doing::Deciding));
            }
            Doing::About(Act::Start) => set(Doing::Running),
            Doing::About(Act::Draw) => {
                // Greater or smaller than each token that is in use.
                let drawn = state.clusters.iter().map(|cluster| cluster.token + 1).chain([1]);
                drawn.for_each(|token| go(&|next| next.agree(index, token)));
            }
            Doing::About(Act::Agree(token)) => go(&|next| next.agree(index, token)),
            Doing::About(Act::Found(token)) if machine.held == Held::Starting(token) => go(&|next| {
                next.machines[index].held = Held::Data(Data { token, incarnation: 0, position: Some(0) });
                next.machines[index].doing = Doing::Running;
            }),
            Doing::About(Act::Found(token)) => go(&|next| next.machines[index].held = Held::Starting(token)),
            Doing::About(Act::Join(token)) if leads(token) && self.fault == Some(Fault::KeepsIdentifier) => {
                set(Doing::Added(token, 0))
            }
            Doing::About(Act::Join(token)) if leads(token) => go(&|next| {
                next.append(machine.side, token, |configuration| configuration[index] = ABSENT);
                next.machines[index].doing = Doing::Removed(token);
            }),
            // Noted before it is added: what is found in its place later, this very disk has asked for.
            Doing::Removed(token)
                if leads(token) && !matches!(machine.held, Held::Joining(own, _) if own == token) =>
            {
                let since = state.leads(machine.side, token).expect("it leads");
                go(&|next| next.machines[index].held = Held::Joining(token, since));
            }
            Doing::Removed(token) if leads(token) => go(&|next| {
                let log = &next.cluster(token).log;
                let before = log
                    .iter()
                    .map(|configuration| configuration[index])
                    .filter(|incarnation| *incarnation != ABSENT)
                    .max();
                let incarnation = before.map_or(1, |before| before + 1);
                next.append(machine.side, token, |configuration| configuration[index] = incarnation);
                next.machines[index].doing = Doing::Added(token, incarnation);
            }),
            Doing::About(Act::Resume(token, incarnation)) => set(Doing::Added(token, incarnation)),
            // With two of two there is no quorum before it starts.
            Doing::Added(token, incarnation)
                if state.expects(machine.side, token, index, machine.held.since()) == Some(incarnation) =>
            {
                go(&|next| {
                    next.machines[index].held = Held::Data(Data { token, incarnation, position: None });
                    next.machines[index].doing = Doing::Running;
                })
            }
            Doing::About(Act::Join(_)) | Doing::Removed(_) | Doing::Added(..) => set(Doing::Deciding),
            Doing::Running => {}
        }
    }

    /// What a machine that has seen this is about to do; none if it waits.
    fn decide(&self, state: &State, index: usize, seen: Vec<Seen>, walk: &mut Walk) -> Option<Doing> {
        let founding = |token: Token| Founding { token: token.into(), founders: self.founders() };
        let answer = |seen: Seen| match seen {
            Seen::Silent => Answer::Silent,
            Seen::Blank => Answer::Blank,
            Seen::Agreed(token) => Answer::Agreed(founding(token)),
            Seen::Data(token, quorum) => Answer::Data { token: Some(token.into()), quorum, ordered: false },
        };
        let disk = match state.machines[index].held {
            Held::Blank => Disk::Blank,
            Held::Joining(..) => Disk::Joining,
            Held::Agreed(token) => Disk::Agreed(founding(token)),
            Held::Starting(token) => Disk::Starting(founding(token)),
            Held::Data(data) => Disk::Data(Some(data.token.into())),
        };
        let answers: Vec<Answer> = seen.iter().copied().map(answer).collect();
        let me = index as u8;
        let unanimity =
            if self.fault == Some(Fault::FoundsWithMajority) { Unanimity::Majority } else { Unanimity::All };
        let expected = match state.machines[index].held {
            Held::Joining(token, since) => state
                .expects(state.machines[index].side, token, index, since)
                .map(|incarnation| (token, incarnation)),
            _ => None,
        };
        let expected_by = expected.map(|_| u8::MAX);
        let decision = decide(&View {
            me,
            disk,
            founders: self.founders(),
            unanimity,
            order: None,
            expected_by,
            answers: &answers,
        });
        let small = |token: u128| u8::try_from(token).expect("tokens of the walk are small");
        let act = match &decision {
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
                unreachable!("there is no order, and only a member's own blank successor removes it")
            }
        };
        // Who has data heeds the living alone.
        let is_heeded = |answer: &Answer| {
            !matches!(disk, Disk::Data(_)) || matches!(answer, Answer::Data { quorum: true, .. })
        };
        let heeded =
            answers.iter().map(|answer| if is_heeded(answer) { *answer } else { Answer::Silent }).collect();
        walk.decisions.insert((me, disk, heeded, decision));
        act.map(Doing::About)
    }
}

impl Held {
    /// The cluster that it belongs to.
    fn token(self) -> Option<Token> {
        match self {
            Self::Blank => None,
            Self::Agreed(token)
            | Self::Starting(token)
            | Self::Joining(token, _)
            | Self::Data(Data { token, .. }) => Some(token),
        }
    }

    /// The position that it noted before it was added.
    fn since(self) -> u8 {
        if let Self::Joining(_, since) = self { since } else { 0 }
    }

    fn data(self, of: Token) -> Option<Data> {
        match self {
            Self::Data(data) if data.token == of => Some(data),
            _ => None,
        }
    }
}

impl Cluster {
    fn last(&self) -> Configuration {
        *self.log.last().expect("a log begins with its founders")
    }

    /// Whether a majority of its members have lost their disks, after which nothing is promised.
    fn is_excused(&self) -> bool {
        self.lost.count_ones() as usize * 2 > count(self.last())
    }
}

fn count(configuration: Configuration) -> usize {
    configuration.iter().filter(|incarnation| **incarnation != ABSENT).count()
}

impl State {
    fn cluster(&self, token: Token) -> &Cluster {
        self.clusters
            .iter()
            .find(|cluster| cluster.token == token)
            .expect("a token that is held has a cluster")
    }

    fn is_whole(&self) -> bool {
        self.machines.iter().all(|machine| machine.on && machine.side == self.machines[0].side)
    }

    /// Members that run on this side, with what they have of a cluster.
    fn running(&self, side: bool, token: Token) -> impl Iterator<Item = (usize, Data)> {
        let here = self.machines.iter().enumerate().filter(move |(_, machine)| {
            machine.on && machine.side == side && machine.doing == Doing::Running
        });
        here.filter_map(move |(index, machine)| Some((index, machine.held.data(token)?)))
    }

    /// The position from which a majority on this side goes on, if there is one. A member that was just added
    /// votes, too.
    fn leads(&self, side: bool, token: Token) -> Option<u8> {
        let best = self.running(side, token).filter_map(|(_, data)| data.position).max()?;
        let configuration =
            self.clusters.iter().find(|cluster| cluster.token == token)?.log[usize::from(best)];
        let voters =
            self.running(side, token).filter(|(index, data)| configuration[*index] == data.incarnation);
        (voters.count() * 2 > count(configuration)).then_some(best)
    }

    /// The incarnation under which a member of a cluster on this side knows this place.
    fn expects(&self, side: bool, token: Token, index: usize, since: u8) -> Option<u8> {
        let cluster = self.clusters.iter().find(|cluster| cluster.token == token)?;
        let known = |(_, data): (usize, Data)| {
            Some(cluster.log[usize::from(data.position.filter(|position| *position >= since)?)][index])
        };
        self.running(side, token).filter_map(known).filter(|incarnation| *incarnation != ABSENT).max()
    }

    fn seen(&self, asking: usize, asked: usize) -> Seen {
        let (one, other) = (&self.machines[asking], &self.machines[asked]);
        if asking == asked || !other.on || one.side != other.side {
            return Seen::Silent;
        }
        match other.held {
            Held::Blank | Held::Joining(..) => Seen::Blank,
            Held::Agreed(token) => Seen::Agreed(token),
            Held::Starting(token) => Seen::Data(token, false),
            Held::Data(Data { token, .. }) => {
                Seen::Data(token, other.doing == Doing::Running && self.leads(other.side, token).is_some())
            }
        }
    }

    /// A majority goes on from a position of its log: nothing that was acknowledged may be missing, here or
    /// elsewhere.
    fn judge(&self, cluster: &Cluster, best: u8) -> Result<(), String> {
        let token = cluster.token;
        if usize::from(best) + 1 < cluster.log.len() && cluster.acknowledged && !cluster.is_excused() {
            return Err(format!("a majority goes on without what {token} acknowledged\n{self:#?}"));
        }
        for other in self.clusters.iter().filter(|other| other.token != token) {
            let configuration = other.last();
            let has_data = |(index, machine): &(usize, &Machine)| {
                machine.held.data(other.token).is_some_and(|data| configuration[*index] == data.incarnation)
            };
            if self.machines.iter().enumerate().filter(has_data).count() * 2 > count(configuration) {
                return Err(format!("{token} has a majority, and {} has one, too\n{self:#?}", other.token));
            }
            if other.acknowledged && !other.is_excused() {
                return Err(format!(
                    "{token} has a majority without what {} acknowledged\n{self:#?}",
                    other.token
                ));
            }
        }
        Ok(())
    }

    /// All hear each other and nothing is left to do: they are one cluster, or it is right that a person must
    /// decide.
    fn waits_for_a_person(&self) -> Result<bool, String> {
        let side = self.machines[0].side;
        let living = self.clusters.iter().find(|cluster| self.leads(side, cluster.token).is_some());
        let (good, waiting) = match living {
            // Data of another founding are kept, whatever came of it.
            Some(cluster) => {
                let elsewhere = self
                    .machines
                    .iter()
                    .filter(|machine| matches!(machine.held, Held::Data(data) if data.token != cluster.token))
                    .count();
                (self.running(side, cluster.token).count() + elsewhere == self.machines.len(), elsewhere > 0)
            }
            // Data without a majority: those without them had agreed, so they have lost their disks, or went
            // on to another token.
            None => (self.machines.iter().any(|machine| matches!(machine.held, Held::Data(_))), true),
        };
        if good { Ok(waiting) } else { Err(format!("stuck\n{self:#?}")) }
    }

    fn lose_disk(&mut self, index: usize) {
        if let Held::Data(Data { token, incarnation, .. }) = self.machines[index].held
            && let Some(cluster) = self.clusters.iter_mut().find(|cluster| cluster.token == token)
            && cluster.last()[index] == incarnation
        {
            cluster.lost |= 1 << index;
        }
        let machine = &mut self.machines[index];
        (machine.on, machine.new, machine.held, machine.doing) = (true, false, Held::Blank, Doing::Deciding);
    }

    fn agree(&mut self, index: usize, token: Token) {
        if !self.clusters.iter().any(|cluster| cluster.token == token) {
            let mut founders = [ABSENT; MOST];
            founders[..self.machines.len()].fill(0);
            self.clusters.push(Cluster { token, log: vec![founders], acknowledged: false, lost: 0 });
        }
        (self.machines[index].held, self.machines[index].doing) = (Held::Agreed(token), Doing::Deciding);
    }

    /// A majority on this side appends to its log.
    fn append(&mut self, side: bool, token: Token, change: impl FnOnce(&mut Configuration)) {
        let best = self.leads(side, token).expect("a majority was seen");
        let cluster = self.clusters.iter_mut().find(|cluster| cluster.token == token).expect("it leads");
        cluster.log.truncate(usize::from(best) + 1);
        let before = cluster.last();
        let mut configuration = before;
        change(&mut configuration);
        for index in (0..MOST).filter(|index| configuration[*index] != before[*index]) {
            cluster.lost &= !(1 << index);
            cluster.lost |= u8::from(configuration[index] != ABSENT) << index;
        }
        cluster.log.push(configuration);
        cluster.acknowledged = true;
        let last = (cluster.log.len() - 1) as u8;
        self.catch_up(side, token, last);
    }

    fn catch_up(&mut self, side: bool, token: Token, to: u8) {
        let cluster = self.clusters.iter_mut().find(|cluster| cluster.token == token).expect("it leads");
        let (last, has_all) = (cluster.last(), usize::from(to) + 1 == cluster.log.len());
        let here = self
            .machines
            .iter_mut()
            .enumerate()
            .filter(|(_, machine)| machine.on && machine.side == side && machine.doing == Doing::Running);
        for (index, machine) in here {
            if let Held::Data(data) = &mut machine.held
                && data.token == token
            {
                data.position = Some(to);
                if has_all && data.incarnation == last[index] {
                    cluster.lost &= !(1 << index);
                }
            }
        }
    }

    fn fingerprint(&self) -> u128 {
        let half = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            (salt, self).hash(&mut hasher);
            hasher.finish()
        };
        u128::from(half(0)) << 64 | u128::from(half(1))
    }
}

impl Doing {
    fn token(mut self) -> Option<Token> {
        self.token_mut().map(|token| *token)
    }

    fn token_mut(&mut self) -> Option<&mut Token> {
        match self {
            Self::Saw(_, Seen::Agreed(token) | Seen::Data(token, _))
            | Self::About(Act::Agree(token) | Act::Found(token) | Act::Join(token) | Act::Resume(token, _))
            | Self::Removed(token)
            | Self::Added(token, _) => Some(token),
            _ => None,
        }
    }
}
