//! Decides how an etcd member starts, as a function of its own disk and the other members' answers. The
//! decision does not depend on a clock, on the order of arrival, or on anything that re-imaging a machine
//! could erase.
//!
//! A cluster can't be bootstrapped twice: data for a token exists only after every founder has durably agreed
//! to that token, so a machine that is blank while another has data has lost its disk and never bootstraps.
//! Two foundings also differ in their tokens, and therefore in etcd's cluster identifier.

/// Set of members, by their places in the seed's list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Members(u16);

/// A member's place in the seed's list.
pub type Place = u8;

impl Members {
    /// Maximum number of members in a cluster; etcd recommends at most seven.
    pub const CAPACITY: usize = 15;
    /// Place of a founder that is not in a member's seed.
    pub const STRANGER: Place = 15;

    pub fn contains(self, place: Place) -> bool {
        self.0 >> place & 1 == 1
    }

    pub fn iter(self) -> impl Iterator<Item = Place> {
        (0..16).filter(move |place| self.contains(*place))
    }

    pub fn count(self) -> u32 {
        self.0.count_ones()
    }
}

impl FromIterator<Place> for Members {
    fn from_iter<I: IntoIterator<Item = Place>>(places: I) -> Self {
        Self(places.into_iter().fold(0, |set, place| set | 1 << place))
    }
}

/// One founding of a cluster; its token becomes etcd's `--initial-cluster-token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Founding {
    /// Random. The greater of two tokens wins, so that founders that agreed to different tokens converge.
    pub token: u128,
    pub founders: Members,
}

/// State of a member's own disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Disk {
    /// No data, and no agreement.
    Blank,
    /// Durably agreed to this founding, and to no smaller one since.
    Agreed(Founding),
    /// All founders have agreed, and etcd may have started, but there is no data yet.
    Starting(Founding),
    /// The member was about to be added to a cluster that had no member in its place; there is no data yet.
    Joining,
    /// A write-ahead log of the cluster with this token; `None` for data that predates tokens.
    Data(Option<u128>),
    /// Data of a member that a quorum has removed.
    Removed,
}

/// Answer from another member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    Silent,
    Blank,
    /// The member's last agreement.
    Agreed(Founding),
    /// The member has data, or is about to create it.
    Data {
        /// As [`Disk::Data`].
        token: Option<u128>,
        /// True if its etcd answered a linearizable request, which proves that there is a quorum.
        quorum: bool,
        /// True if the data was created by the order that this member has, or after that order.
        ordered: bool,
    },
}

/// Number of founders that must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unanimity {
    All,
    /// Opt-in: an empty cluster may start although a machine that is off has intact data.
    Majority,
}

/// An administrator's decision about data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ordered {
    /// One member's copy of the data, or a snapshot on its machine, becomes the cluster's data.
    Recover { from: Place, of: Copy },
    /// This member's data is obsolete if another cluster is live.
    SetAside,
}

/// Source of a cluster's recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Copy {
    /// The member's own data.
    Data,
    /// A snapshot on the member's machine, regardless of the member's data.
    Snapshot,
}

/// Inputs of a decision.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub me: Place,
    pub disk: Disk,
    /// Members that may bootstrap the cluster: all members in the seed, except those that an order excludes.
    pub founders: Members,
    pub unanimity: Unanimity,
    /// Order that, according to this member's disk, has not been carried out yet.
    pub order: Option<Ordered>,
    /// Member that lists this one as added but not started, if the disk is [`Disk::Joining`].
    pub expected_by: Option<Place>,
    /// Answers, indexed by place; this member's own entry is not read.
    pub answers: &'a [Answer],
}

/// Next action. Everything but [`Decision::Start`], [`Decision::Found`] and [`Decision::Join`] is followed by
/// another decision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// Start etcd with the existing data.
    Start,
    /// Move the data aside.
    SetAside,
    /// Create a cluster with this member only from its data or snapshot, as ordered.
    Recover,
    /// Draw a token and agree to it.
    Draw,
    Agree(Founding),
    /// Start etcd as a founder.
    Found(Founding),
    /// Rejoin the cluster of the given member, under a new identifier.
    Join(Place),
    /// Start etcd as the member that was added before the power failure: the cluster may have no quorum
    /// without it.
    Resume(Place),
    /// Ask again later, because of these members.
    Wait(Vec<(Place, Why)>),
}

/// Reason to wait for a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    Silent,
    /// The member has data but no quorum: an administrator must decide whether newer data exists elsewhere.
    DataWithoutQuorum,
    /// The member is to draw the token.
    Draws,
    /// The member has not agreed yet.
    Agrees,
    /// The member is bootstrapping with founders other than those in this member's seed.
    OtherFounders,
    /// The member is bootstrapping the cluster without this one, which can only join.
    FoundsWithoutMe,
    /// The member is recovering the cluster, as ordered, but has no quorum yet.
    Recovers,
    /// This member itself is to recover the cluster, but has no data.
    NothingToRecover,
    /// The member belongs to a different cluster than the local data.
    OtherCluster,
    /// This member's data is to be set aside, as ordered, but the other member has no quorum to join.
    NothingToJoin,
}

/// Decides what the member with this view does next.
pub fn decide(view: &View<'_>) -> Decision {
    match (view.order, view.disk) {
        (Some(Ordered::Recover { from, of }), _) => return recover(view, from, of),
        (order, Disk::Data(token)) => return go_on(view, token, order == Some(Ordered::SetAside)),
        _ => {}
    }
    let agreed = match view.disk {
        Disk::Data(_) => unreachable!("data is handled above"),
        Disk::Removed => return Decision::SetAside,
        Disk::Starting(founding) => return Decision::Found(founding),
        Disk::Agreed(founding) => Some(founding),
        Disk::Blank | Disk::Joining => None,
    };
    let others = || (0..).zip(view.answers).filter(|(place, _)| *place != view.me);
    // A founder that has started proves that all founders had agreed.
    let has_begun = |founding: &Founding| {
        others()
            .any(|(_, answer)| matches!(answer, Answer::Data { token, .. } if *token == Some(founding.token)))
    };
    if let Some(founding) = agreed.filter(has_begun) {
        return Decision::Found(founding);
    }
    if let Some((place, _)) = others().find(|(_, answer)| matches!(answer, Answer::Data { quorum: true, .. }))
    {
        return Decision::Join(place);
    }
    if let Some(place) = view.expected_by.filter(|_| view.disk == Disk::Joining) {
        return Decision::Resume(place);
    }
    let reasons: Vec<(Place, Why)> =
        others().filter_map(|(place, answer)| Some((place, view.obstacle(place, answer)?))).collect();
    if !reasons.is_empty() && !view.is_enough(&reasons) {
        return Decision::Wait(reasons);
    }
    found(view, agreed)
}

/// Starts with the existing data, but never alongside another live cluster: a machine that was off while an
/// administrator decided, or while others bootstrapped, has the data of a cluster that no longer exists.
fn go_on(view: &View<'_>, own: Option<u128>, sets_aside: bool) -> Decision {
    let others = || (0..).zip(view.answers).filter(|(place, _)| *place != view.me);
    let is_other =
        |answer: &Answer| matches!(answer, Answer::Data { token, quorum: true, .. } if *token != own);
    let living: Vec<(Place, Why)> = others()
        .filter(|(_, answer)| is_other(answer))
        .map(|(place, _)| (place, Why::OtherCluster))
        .collect();
    match (living.is_empty(), sets_aside) {
        (false, true) => Decision::SetAside,
        (false, false) => Decision::Wait(living),
        (true, false) => Decision::Start,
        (true, true) => {
            let why =
                |answer: &Answer| if *answer == Answer::Silent { Why::Silent } else { Why::NothingToJoin };
            Decision::Wait(others().map(|(place, answer)| (place, why(answer))).collect())
        }
    }
}

/// Lets one member create a cluster from its data. The other members' old data would form a second cluster,
/// and is moved aside once the new cluster is live. The same applies to that member's own data or new disk,
/// if it returns after the order was carried out.
fn recover(view: &View<'_>, from: Place, of: Copy) -> Decision {
    let has_data = matches!(view.disk, Disk::Data(_) | Disk::Removed);
    let is_living = |answer: &Answer| matches!(answer, Answer::Data { quorum: true, ordered: true, .. });
    let living = (0..).zip(view.answers).find(|(place, answer)| *place != view.me && is_living(answer));
    match living {
        Some(_) if has_data => Decision::SetAside,
        Some((place, _)) => Decision::Join(place),
        None if from != view.me => Decision::Wait(vec![(from, Why::Recovers)]),
        None if has_data || of == Copy::Snapshot => Decision::Recover,
        None => Decision::Wait(vec![(view.me, Why::NothingToRecover)]),
    }
}

/// Bootstraps a cluster: every required founder has answered, and none has data.
fn found(view: &View<'_>, agreed: Option<Founding>) -> Decision {
    let agreed = agreed.filter(|founding| founding.founders == view.founders);
    let of = |place: Place| match view.answers.get(usize::from(place)) {
        _ if place == view.me => agreed,
        Some(Answer::Agreed(founding)) => Some(*founding),
        _ => None,
    };
    let answering = || {
        view.founders
            .iter()
            .filter(|place| *place == view.me || view.answers[usize::from(*place)] != Answer::Silent)
    };
    let Some(founding) = answering().filter_map(of).max() else {
        let first = answering().next().expect("this member is a founder");
        return if first == view.me { Decision::Draw } else { Decision::Wait(vec![(first, Why::Draws)]) };
    };
    if agreed != Some(founding) {
        return Decision::Agree(founding);
    }
    let late: Vec<(Place, Why)> =
        answering().filter(|place| of(*place) != agreed).map(|place| (place, Why::Agrees)).collect();
    if late.is_empty() { Decision::Found(founding) } else { Decision::Wait(late) }
}

impl View<'_> {
    /// Returns why a member prevents this one from bootstrapping the cluster, if it does.
    fn obstacle(&self, place: Place, answer: &Answer) -> Option<Why> {
        let is_founder = self.founders.contains(place);
        match answer {
            Answer::Data { .. } => Some(Why::DataWithoutQuorum),
            _ if !self.founders.contains(self.me) => is_founder.then_some(Why::FoundsWithoutMe),
            _ if !is_founder => None,
            Answer::Silent => Some(Why::Silent),
            Answer::Agreed(founding) if founding.founders != self.founders => Some(Why::OtherFounders),
            Answer::Blank | Answer::Agreed(_) => None,
        }
    }

    /// Checks whether the answering founders are a majority and the opt-in makes that enough; data on any
    /// member is an obstacle.
    fn is_enough(&self, reasons: &[(Place, Why)]) -> bool {
        let absent = u32::try_from(reasons.len()).expect("there are few members");
        self.unanimity == Unanimity::Majority
            && reasons.iter().all(|(_, why)| *why == Why::Silent)
            && (self.founders.count() - absent) * 2 > self.founders.count()
    }
}
