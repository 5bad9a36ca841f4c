//! Decides how an etcd member starts, as a function of its own disk and of what the others answer. No clock, no order of arrival, and
//! nothing that re-imaging a machine could erase goes into it.
//!
//! Why a cluster can't be founded twice: data under a token exist only after every founder had agreed to it durably, so a machine that
//! is blank beside data has lost its disk and never founds; and two foundings differ in their tokens, so in etcd's cluster identifier.

/// Members by their place in the seed's list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Members(u16);

/// A member's place in the seed's list.
pub type Place = u8;

impl Members {
    /// How many a cluster may have; etcd advises at most seven.
    pub const CAPACITY: usize = 15;
    /// Place of a founder that a member's seed does not know.
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

/// One founding of a cluster, which becomes etcd's `--initial-cluster-token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Founding {
    /// Random. Of two, the greater one wins, so that founders which agreed to different ones come together.
    pub token: u128,
    pub founders: Members,
}

/// What a member's own disk says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Disk {
    /// No data, and no agreement.
    Blank,
    /// Durably agreed to this founding, and to no smaller one since.
    Agreed(Founding),
    /// All had agreed, and etcd may have begun; there are no data yet.
    Starting(Founding),
    /// It was about to be added to a cluster that had no member in its place; there are no data yet.
    Joining,
    /// A write-ahead log, of the cluster with this token; none for data that were founded before tokens were drawn.
    Data(Option<u128>),
    /// Data of a member that a quorum has removed.
    Removed,
}

/// What another member answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    Silent,
    Blank,
    /// What it agreed to last.
    Agreed(Founding),
    /// It has data, or is about to make them.
    Data {
        /// As [`Disk::Data`].
        token: Option<u128>,
        /// Its etcd answered a linearizable request, so a quorum is behind it.
        quorum: bool,
        /// They were made by the order that this member has, or after it.
        ordered: bool,
    },
}

/// How many founders must agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unanimity {
    All,
    /// Opt-in: an empty cluster may begin while the data of a machine that is off are intact.
    Majority,
}

/// What a person decided about data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ordered {
    /// One member's copy of the data, or a snapshot there, becomes the cluster's.
    Recover { from: Place, of: Copy },
    /// This member's data are of no more use beside another cluster that lives.
    SetAside,
}

/// What a cluster is recovered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Copy {
    /// The member's own data.
    Data,
    /// A snapshot that is on its machine, whatever else is there.
    Snapshot,
}

/// Everything that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub me: Place,
    pub disk: Disk,
    /// Who may found: all members of the seed, less those that an order leaves out.
    pub founders: Members,
    pub unanimity: Unanimity,
    /// An order that this member's disk does not show as carried out.
    pub order: Option<Ordered>,
    /// A member that knows of this one as added and not started, for a disk that is [`Disk::Joining`].
    pub expected_by: Option<Place>,
    /// Answers by place; one's own is not read.
    pub answers: &'a [Answer],
}

/// What to do next. Everything but [`Decision::Start`], [`Decision::Found`] and [`Decision::Join`] leads to another decision.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decision {
    /// Start etcd with the data that are there.
    Start,
    /// Move the data aside.
    SetAside,
    /// Make a cluster of this member alone of the data or the snapshot that it has, as ordered.
    Recover,
    /// Draw a token and agree to it.
    Draw,
    Agree(Founding),
    /// Start etcd as a founder.
    Found(Founding),
    /// Take one's own place in the cluster that this member belongs to, under a new identifier.
    Join(Place),
    /// Start etcd as the member that was added before the power failed: its cluster may have no quorum without it.
    Resume(Place),
    /// Ask again later: these members are the reason.
    Wait(Vec<(Place, Why)>),
}

/// Why a member is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    Silent,
    /// It has data and no quorum: a person must decide whether newer ones exist elsewhere.
    DataWithoutQuorum,
    /// It draws the token.
    Draws,
    /// It has not agreed yet.
    Agrees,
    /// It founds with others than this member's seed says.
    OtherFounders,
    /// It founds without this member, which can only join.
    FoundsWithoutMe,
    /// It recovers the cluster, as ordered, and has no quorum yet.
    Recovers,
    /// It is this member: it is to recover the cluster, and has no data.
    NothingToRecover,
    /// It lives in another cluster than the one whose data are here.
    OtherCluster,
    /// This member's data are to be set aside, as ordered, and it has no quorum to join.
    NothingToJoin,
}

/// Decides what the member of this view does next.
pub fn decide(view: &View<'_>) -> Decision {
    match (view.order, view.disk) {
        (Some(Ordered::Recover { from, of }), _) => return recover(view, from, of),
        (order, Disk::Data(token)) => return go_on(view, token, order == Some(Ordered::SetAside)),
        _ => {}
    }
    let agreed = match view.disk {
        Disk::Data(_) => unreachable!("it was decided"),
        Disk::Removed => return Decision::SetAside,
        Disk::Starting(founding) => return Decision::Found(founding),
        Disk::Agreed(founding) => Some(founding),
        Disk::Blank | Disk::Joining => None,
    };
    let others = || (0..).zip(view.answers).filter(|(place, _)| *place != view.me);
    // That one started proves that all had agreed.
    let has_begun =
        |founding: &Founding| others().any(|(_, answer)| matches!(answer, Answer::Data { token, .. } if *token == Some(founding.token)));
    if let Some(founding) = agreed.filter(has_begun) {
        return Decision::Found(founding);
    }
    if let Some((place, _)) = others().find(|(_, answer)| matches!(answer, Answer::Data { quorum: true, .. })) {
        return Decision::Join(place);
    }
    if let Some(place) = view.expected_by.filter(|_| view.disk == Disk::Joining) {
        return Decision::Resume(place);
    }
    let reasons: Vec<(Place, Why)> = others().filter_map(|(place, answer)| Some((place, view.obstacle(place, answer)?))).collect();
    if !reasons.is_empty() && !view.is_enough(&reasons) {
        return Decision::Wait(reasons);
    }
    found(view, agreed)
}

/// Starts with the data that are here, but never beside another cluster that lives: a machine that was off while a person decided, or
/// while others founded, has the data of a cluster that is no more.
fn go_on(view: &View<'_>, own: Option<u128>, sets_aside: bool) -> Decision {
    let others = || (0..).zip(view.answers).filter(|(place, _)| *place != view.me);
    let is_other = |answer: &Answer| matches!(answer, Answer::Data { token, quorum: true, .. } if *token != own);
    let living: Vec<(Place, Why)> = others().filter(|(_, answer)| is_other(answer)).map(|(place, _)| (place, Why::OtherCluster)).collect();
    match (living.is_empty(), sets_aside) {
        (false, true) => Decision::SetAside,
        (false, false) => Decision::Wait(living),
        (true, false) => Decision::Start,
        (true, true) => {
            let why = |answer: &Answer| if *answer == Answer::Silent { Why::Silent } else { Why::NothingToJoin };
            Decision::Wait(others().map(|(place, answer)| (place, why(answer))).collect())
        }
    }
}

/// One member makes a cluster of its data; the others' old data would be a second one, and are moved aside once the new one lives. So
/// are that member's own, or a new disk of it, which come after the order was carried out.
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

/// Every founder that counts answered, and none has data.
fn found(view: &View<'_>, agreed: Option<Founding>) -> Decision {
    let agreed = agreed.filter(|founding| founding.founders == view.founders);
    let of = |place: Place| match view.answers.get(usize::from(place)) {
        _ if place == view.me => agreed,
        Some(Answer::Agreed(founding)) => Some(*founding),
        _ => None,
    };
    let answering = || view.founders.iter().filter(|place| *place == view.me || view.answers[usize::from(*place)] != Answer::Silent);
    let Some(founding) = answering().filter_map(of).max() else {
        let first = answering().next().expect("this member is a founder");
        return if first == view.me { Decision::Draw } else { Decision::Wait(vec![(first, Why::Draws)]) };
    };
    if agreed != Some(founding) {
        return Decision::Agree(founding);
    }
    let late: Vec<(Place, Why)> = answering().filter(|place| of(*place) != agreed).map(|place| (place, Why::Agrees)).collect();
    if late.is_empty() { Decision::Found(founding) } else { Decision::Wait(late) }
}

impl View<'_> {
    /// Why a member keeps this one from founding, if it does.
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

    /// Whether the others are a majority and the opt-in makes that enough; data are an obstacle whoever has them.
    fn is_enough(&self, reasons: &[(Place, Why)]) -> bool {
        let absent = u32::try_from(reasons.len()).expect("a handful");
        self.unanimity == Unanimity::Majority
            && reasons.iter().all(|(_, why)| *why == Why::Silent)
            && (self.founders.count() - absent) * 2 > self.founders.count()
    }
}
