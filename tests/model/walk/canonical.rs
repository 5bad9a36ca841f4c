//! Reduces equivalent states to one: renames members, renumbers tokens and incarnations, and drops what no
//! disk refers to.

use super::state::{ABSENT, Act, Cluster, Configuration, Data, Doing, Held, MOST, Machine, State, Token};

impl State {
    /// Returns the smallest equivalent state over all renamings of the members, without what no disk refers
    /// to.
    pub(super) fn canonical(mut self, orders: &[Vec<usize>]) -> Self {
        self.forget();
        self.number();
        let flipped = |flip: bool| orders.iter().map(move |order| (order.as_slice(), flip));
        let renamed = flipped(false).chain(flipped(true)).map(|(order, flip)| self.renamed(order, flip));
        if orders.len() <= 2 {
            return renamed.min().expect("there is at least one order");
        }
        // With more members, sorting them is cheaper than trying every order: members that have identical
        // properties are interchangeable.
        let sorted = |flip: bool| {
            let mut places: Vec<usize> = (1..self.machines.len()).collect();
            let known = |place: usize| {
                let machine = &self.machines[place];
                let of_cluster = |cluster: &Cluster| {
                    (cluster.lost >> place & 1, cluster.log.iter().map(|log| log[place]).collect::<Vec<_>>())
                };
                (machine.side ^ flip, *machine, self.clusters.iter().map(of_cluster).collect::<Vec<_>>())
            };
            places.sort_by_cached_key(|place| known(*place));
            let mut order = vec![0; self.machines.len()];
            places.iter().enumerate().for_each(|(to, place)| order[*place] = to + 1);
            self.renamed(&order, flip)
        };
        sorted(false).min(sorted(true))
    }

    /// Drops clusters that no disk or machine refers to, and log positions that no disk has reached.
    fn forget(&mut self) {
        let machines = &mut self.machines;
        self.clusters.retain(|cluster| {
            machines.iter().any(|machine| {
                machine.held.token() == Some(cluster.token) || machine.doing.token() == Some(cluster.token)
            })
        });
        for cluster in &mut self.clusters {
            let position = |machine: &Machine| match machine.held {
                Held::Joining(token, since) if token == cluster.token => Some(since),
                held => held.data(cluster.token)?.position,
            };
            let mut positions: Vec<u8> = machines.iter().filter_map(position).collect();
            positions.extend([0, (cluster.log.len() - 1) as u8]);
            // A log that lost its majority can be shorter than a recorded position.
            positions.retain(|position| usize::from(*position) < cluster.log.len());
            positions.sort_unstable();
            positions.dedup();
            if positions.len() == cluster.log.len() {
                continue;
            }
            cluster.log = positions.iter().map(|position| cluster.log[usize::from(*position)]).collect();
            for machine in machines.iter_mut() {
                if let Held::Data(Data { token, position: Some(position), .. })
                | Held::Joining(token, position) = &mut machine.held
                    && *token == cluster.token
                {
                    *position = positions.binary_search(position).unwrap_or(positions.len() - 1) as u8;
                }
            }
        }
    }

    /// Renumbers tokens by size and incarnations by age.
    fn number(&mut self) {
        self.clusters.sort_unstable_by_key(|cluster| cluster.token);
        let tokens: Vec<Token> = self.clusters.iter().map(|cluster| cluster.token).collect();
        // A new token fits between any two. A token that a machine saw in a cluster that no longer exists
        // maps to 0, which no cluster has.
        let anew = |token: Token| match tokens.binary_search(&token) {
            Ok(at) => (at as u8 + 1) * 2,
            Err(_) => 0,
        };
        for cluster in &mut self.clusters {
            cluster.token = anew(cluster.token);
        }
        for machine in &mut self.machines {
            match &mut machine.held {
                Held::Agreed(token)
                | Held::Starting(token)
                | Held::Joining(token, _)
                | Held::Data(Data { token, .. }) => *token = anew(*token),
                Held::Blank => {}
            }
            if let Some(token) = machine.doing.token_mut() {
                *token = anew(*token);
            }
        }
        for cluster in &mut self.clusters {
            for (index, machine) in self.machines.iter_mut().enumerate() {
                cluster.number_incarnations(index, machine);
            }
        }
    }

    fn renamed(&self, order: &[usize], flip: bool) -> Self {
        let mut machines = self.machines.clone();
        for (index, machine) in self.machines.iter().enumerate() {
            let mut machine = *machine;
            machine.side ^= flip;
            if let Doing::Saw(other, _) = &mut machine.doing {
                *other = order[usize::from(*other)] as u8;
            }
            machines[order[index]] = machine;
        }
        let rename = |configuration: &Configuration| {
            let mut renamed = [ABSENT; MOST];
            order.iter().enumerate().for_each(|(index, to)| renamed[*to] = configuration[index]);
            renamed
        };
        let clusters = self.clusters.iter().map(|cluster| Cluster {
            log: cluster.log.iter().map(rename).collect(),
            lost: order
                .iter()
                .enumerate()
                .fold(0, |lost, (index, to)| lost | (cluster.lost >> index & 1) << to),
            ..*cluster
        });
        Self { machines, clusters: clusters.collect() }
    }
}

impl Cluster {
    fn number_incarnations(&mut self, index: usize, machine: &mut Machine) {
        let data = machine.held.data(self.token).map(|data| data.incarnation);
        let added = match machine.doing {
            Doing::Added(token, incarnation) | Doing::About(Act::Resume(token, incarnation))
                if token == self.token =>
            {
                Some(incarnation)
            }
            _ => None,
        };
        let mut known: Vec<u8> = self
            .log
            .iter()
            .map(|configuration| configuration[index])
            .filter(|incarnation| *incarnation != ABSENT)
            .collect();
        known.extend(data.into_iter().chain(added).chain([0]));
        known.sort_unstable();
        known.dedup();
        let anew = |incarnation: u8| known.binary_search(&incarnation).map_or(ABSENT, |at| at as u8);
        self.log.iter_mut().for_each(|configuration| configuration[index] = anew(configuration[index]));
        if let (Held::Data(own), true) = (&mut machine.held, data.is_some()) {
            own.incarnation = anew(own.incarnation);
        }
        if let (Doing::Added(_, incarnation) | Doing::About(Act::Resume(_, incarnation)), true) =
            (&mut machine.doing, added.is_some())
        {
            *incarnation = anew(*incarnation);
        }
    }
}

/// Returns all orders of the members; the first member keeps its place.
pub(super) fn orders(count: usize) -> Vec<Vec<usize>> {
    (1..count).fold(vec![vec![0]], |orders, next| {
        let longer = |order: &Vec<usize>| {
            (1..=order.len()).map(|at| [&order[..at], &[next], &order[at..]].concat()).collect::<Vec<_>>()
        };
        orders.iter().flat_map(longer).collect()
    })
}
