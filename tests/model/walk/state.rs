//! The state of a walk: the machines, their disks, and the clusters as an all-seeing observer knows them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Maximum number of members in a walk.
pub(super) const MOST: usize = 5;
/// Marks a place without a member in a configuration.
pub(super) const ABSENT: u8 = u8::MAX;

/// The incarnation of each place's member; replacing a member changes its incarnation.
pub(super) type Configuration = [u8; MOST];
/// A token, reduced to its rank: the tokens of a state are 2, 4, 6 and so on.
pub(super) type Token = u8;

/// A cluster as an all-seeing observer knows it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Cluster {
    pub(super) token: Token,
    /// Configurations at the relevant positions of the log, starting with the founders at position 0.
    pub(super) log: Vec<Configuration>,
    /// Whether a majority has acknowledged the end of the log.
    pub(super) acknowledged: bool,
    /// Set of places whose member of the last configuration has lost its disk, or was added and has not
    /// caught up yet.
    pub(super) lost: u8,
}

/// Contents of an etcd data directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Held {
    Blank,
    Agreed(Token),
    Starting(Token),
    /// The member is about to be added, and etcd has not created its data yet; at this position of the log
    /// its place was empty.
    Joining(Token, u8),
    /// A log up to a position, or without a position for a member that was just added.
    Data(Data),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Data {
    pub(super) token: Token,
    pub(super) incarnation: u8,
    pub(super) position: Option<u8>,
}

/// The activity of a machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Doing {
    Deciding,
    /// The machine has asked one of two others and will ask the second one later.
    Saw(u8, Seen),
    /// The machine has decided but not acted yet.
    About(Act),
    /// The machine has removed the previous member in its place.
    Removed(Token),
    /// The machine was added as this incarnation.
    Added(Token, u8),
    Running,
}

/// A [`Decision`](crate::decide::Decision) that requires an action.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Act {
    Start,
    Draw,
    Agree(Token),
    Found(Token),
    Join(Token),
    Resume(Token, u8),
}

/// An [`Answer`](crate::decide::Answer).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum Seen {
    Silent,
    Blank,
    Agreed(Token),
    Data(Token, bool),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Machine {
    pub(super) on: bool,
    /// Whether the machine was never switched on; switching it on for the first time is not an event.
    pub(super) new: bool,
    /// The side of the network; a machine reaches only machines on its own side.
    pub(super) side: bool,
    pub(super) held: Held,
    pub(super) doing: Doing,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct State {
    pub(super) machines: Vec<Machine>,
    pub(super) clusters: Vec<Cluster>,
}

impl Held {
    /// Returns the token of the cluster that the data or the agreement belongs to.
    pub(super) fn token(self) -> Option<Token> {
        match self {
            Self::Blank => None,
            Self::Agreed(token)
            | Self::Starting(token)
            | Self::Joining(token, _)
            | Self::Data(Data { token, .. }) => Some(token),
        }
    }

    /// Returns the position that was recorded before the member was added.
    pub(super) fn since(self) -> u8 {
        if let Self::Joining(_, since) = self { since } else { 0 }
    }

    pub(super) fn data(self, of: Token) -> Option<Data> {
        match self {
            Self::Data(data) if data.token == of => Some(data),
            _ => None,
        }
    }
}

impl Cluster {
    fn last(&self) -> Configuration {
        *self.log.last().expect("a log starts with its founders")
    }

    /// Returns whether a majority of the members has lost its disks, after which nothing is guaranteed.
    fn is_excused(&self) -> bool {
        self.lost.count_ones() as usize * 2 > count(self.last())
    }
}

fn count(configuration: Configuration) -> usize {
    configuration.iter().filter(|incarnation| **incarnation != ABSENT).count()
}

impl State {
    pub(super) fn cluster(&self, token: Token) -> &Cluster {
        self.clusters
            .iter()
            .find(|cluster| cluster.token == token)
            .expect("every token on a disk belongs to a cluster")
    }

    pub(super) fn is_whole(&self) -> bool {
        self.machines.iter().all(|machine| machine.on && machine.side == self.machines[0].side)
    }

    /// Returns the members that run on this side, with their data of a cluster.
    fn running(&self, side: bool, token: Token) -> impl Iterator<Item = (usize, Data)> {
        let here = self.machines.iter().enumerate().filter(move |(_, machine)| {
            machine.on && machine.side == side && machine.doing == Doing::Running
        });
        here.filter_map(move |(index, machine)| Some((index, machine.held.data(token)?)))
    }

    /// Returns the position from which a majority on this side continues the log, if there is a majority. A
    /// member that was just added votes too.
    pub(super) fn leads(&self, side: bool, token: Token) -> Option<u8> {
        let best = self.running(side, token).filter_map(|(_, data)| data.position).max()?;
        let configuration =
            self.clusters.iter().find(|cluster| cluster.token == token)?.log[usize::from(best)];
        let voters =
            self.running(side, token).filter(|(index, data)| configuration[*index] == data.incarnation);
        (voters.count() * 2 > count(configuration)).then_some(best)
    }

    /// Returns the incarnation that the running members on this side expect in a place.
    pub(super) fn expects(&self, side: bool, token: Token, index: usize, since: u8) -> Option<u8> {
        let cluster = self.clusters.iter().find(|cluster| cluster.token == token)?;
        let known = |(_, data): (usize, Data)| {
            Some(cluster.log[usize::from(data.position.filter(|position| *position >= since)?)][index])
        };
        self.running(side, token).filter_map(known).filter(|incarnation| *incarnation != ABSENT).max()
    }

    pub(super) fn seen(&self, asking: usize, asked: usize) -> Seen {
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

    /// Checks that a majority that continues from a position of its log loses no acknowledged write, neither
    /// of its own cluster nor of another one.
    pub(super) fn judge(&self, cluster: &Cluster, best: u8) -> Result<(), String> {
        let token = cluster.token;
        if usize::from(best) + 1 < cluster.log.len() && cluster.acknowledged && !cluster.is_excused() {
            return Err(format!("a majority continues without what {token} acknowledged\n{self:#?}"));
        }
        for other in self.clusters.iter().filter(|other| other.token != token) {
            let configuration = other.last();
            let has_data = |(index, machine): &(usize, &Machine)| {
                machine.held.data(other.token).is_some_and(|data| configuration[*index] == data.incarnation)
            };
            if self.machines.iter().enumerate().filter(has_data).count() * 2 > count(configuration) {
                return Err(format!("{token} and {} both have a majority\n{self:#?}", other.token));
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

    /// Returns whether a person must decide, in a state in which all machines reach each other and nothing is
    /// left to do. Fails if the machines neither form one cluster nor have a reason to wait.
    pub(super) fn waits_for_a_person(&self) -> Result<bool, String> {
        let side = self.machines[0].side;
        let living = self.clusters.iter().find(|cluster| self.leads(side, cluster.token).is_some());
        let (good, waiting) = match living {
            // Data of another founding is kept in any case.
            Some(cluster) => {
                let elsewhere = self
                    .machines
                    .iter()
                    .filter(|machine| matches!(machine.held, Held::Data(data) if data.token != cluster.token))
                    .count();
                (self.running(side, cluster.token).count() + elsewhere == self.machines.len(), elsewhere > 0)
            }
            // There is data but no majority. The members without data had agreed, so they have lost their
            // disks or switched to another token.
            None => (self.machines.iter().any(|machine| matches!(machine.held, Held::Data(_))), true),
        };
        if good { Ok(waiting) } else { Err(format!("stuck\n{self:#?}")) }
    }

    pub(super) fn lose_disk(&mut self, index: usize) {
        if let Held::Data(Data { token, incarnation, .. }) = self.machines[index].held
            && let Some(cluster) = self.clusters.iter_mut().find(|cluster| cluster.token == token)
            && cluster.last()[index] == incarnation
        {
            cluster.lost |= 1 << index;
        }
        let machine = &mut self.machines[index];
        (machine.on, machine.new, machine.held, machine.doing) = (true, false, Held::Blank, Doing::Deciding);
    }

    pub(super) fn agree(&mut self, index: usize, token: Token) {
        if !self.clusters.iter().any(|cluster| cluster.token == token) {
            let mut founders = [ABSENT; MOST];
            founders[..self.machines.len()].fill(0);
            self.clusters.push(Cluster { token, log: vec![founders], acknowledged: false, lost: 0 });
        }
        (self.machines[index].held, self.machines[index].doing) = (Held::Agreed(token), Doing::Deciding);
    }

    /// Appends a configuration to the log on behalf of the majority on this side.
    pub(super) fn append(&mut self, side: bool, token: Token, change: impl FnOnce(&mut Configuration)) {
        let best = self.leads(side, token).expect("the cluster has a majority");
        let cluster = self
            .clusters
            .iter_mut()
            .find(|cluster| cluster.token == token)
            .expect("the cluster has a majority");
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

    /// Brings the running members on this side up to a position of the log.
    pub(super) fn catch_up(&mut self, side: bool, token: Token, to: u8) {
        let cluster = self
            .clusters
            .iter_mut()
            .find(|cluster| cluster.token == token)
            .expect("the cluster has a majority");
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

    pub(super) fn fingerprint(&self) -> u128 {
        let half = |salt: u64| {
            let mut hasher = DefaultHasher::new();
            (salt, self).hash(&mut hasher);
            hasher.finish()
        };
        u128::from(half(0)) << 64 | u128::from(half(1))
    }
}

impl Doing {
    pub(super) fn token(mut self) -> Option<Token> {
        self.token_mut().map(|token| *token)
    }

    pub(super) fn token_mut(&mut self) -> Option<&mut Token> {
        match self {
            Self::Saw(_, Seen::Agreed(token) | Seen::Data(token, _))
            | Self::About(Act::Agree(token) | Act::Found(token) | Act::Join(token) | Act::Resume(token, _))
            | Self::Removed(token)
            | Self::Added(token, _) => Some(token),
            _ => None,
        }
    }
}
