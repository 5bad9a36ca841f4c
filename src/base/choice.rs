//! The order in which apt marks packages for installation, and so which alternative it takes.
//!
//! A solver finds any set that works; people expect the one that apt finds. This walk goes as apt's dependency cache does (`MarkInstall` in
//! apt-pkg/depcache.cc of apt 2.6): what was asked for is marked first, then each need depth first, the first alternative that works. It
//! promises nothing: [`super::solver`] proves or corrects what it finds.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::index::PackageId;
use super::relation::Relation;
use super::universe::Universe;

/// The packages that apt would mark, in the order of marking.
pub(super) fn choose(universe: &Universe<'_>, wanted: &[PackageId]) -> Vec<PackageId> {
    let mut walk = Walk { universe, marked: BTreeMap::new(), refused: BTreeSet::new(), excluded: BTreeMap::new(), depth: 0 };
    for id in wanted {
        walk.mark(*id);
    }
    for id in wanted {
        // What was asked for stays marked whatever happens; the solver will say what is wrong.
        universe.needs(*id).for_each(|group| _ = walk.satisfy(&group));
    }
    let mut order: Vec<(usize, PackageId)> = walk.marked.into_iter().map(|(id, order)| (order, id)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, id)| id).collect()
}

/// Deeper than any real chain of dependencies, and shallow enough for a thread's stack.
const DEEPEST: u32 = 1000;

struct Walk<'u, 'a> {
    universe: &'u Universe<'a>,
    /// With the number of packages that were marked before.
    marked: BTreeMap<PackageId, usize>,
    /// Packages that turned out not to be installable; apt does not try them again.
    refused: BTreeSet<PackageId>,
    /// How many marked packages exclude each package.
    excluded: BTreeMap<PackageId, u32>,
    depth: u32,
}

impl Walk<'_, '_> {
    /// Marks a package and what it needs; on failure nothing stays marked.
    fn install(&mut self, id: PackageId) -> bool {
        if self.marked.contains_key(&id) {
            return true;
        }
        if self.refused.contains(&id) || self.is_excluded(id) || self.depth > DEEPEST {
            return false;
        }
        let before = self.marked.len();
        self.mark(id);
        self.depth += 1;
        let works = self.universe.needs(id).all(|group| self.satisfy(&group));
        self.depth -= 1;
        if !works {
            self.unmark_from(before);
            self.refused.insert(id);
        }
        works
    }

    /// Satisfies one need: by what is marked already, else by the first choice that works.
    fn satisfy(&mut self, group: &[Relation<'_>]) -> bool {
        let universe = self.universe;
        let is_marked = |relation: &Relation<'_>| universe.matching(relation).iter().any(|id| self.marked.contains_key(id));
        group.iter().any(is_marked) || group.iter().any(|relation| universe.choices(relation).into_iter().any(|id| self.install(id)))
    }

    /// Whether a marked package excludes this one, or this one a marked package.
    fn is_excluded(&self, id: PackageId) -> bool {
        self.excluded.contains_key(&id) || self.universe.excluded_by(id).iter().any(|other| self.marked.contains_key(other))
    }

    fn mark(&mut self, id: PackageId) {
        let order = self.marked.len();
        if let Entry::Vacant(entry) = self.marked.entry(id) {
            entry.insert(order);
            self.universe.excluded_by(id).into_iter().for_each(|other| *self.excluded.entry(other).or_default() += 1);
        }
    }

    fn unmark_from(&mut self, first: usize) {
        let gone: Vec<PackageId> = self.marked.iter().filter(|(_, order)| **order >= first).map(|(id, _)| *id).collect();
        for id in gone {
            self.marked.remove(&id);
            for other in self.universe.excluded_by(id) {
                match self.excluded.get_mut(&other) {
                    Some(count) if *count > 1 => *count -= 1,
                    _ => _ = self.excluded.remove(&other),
                }
            }
        }
    }
}
