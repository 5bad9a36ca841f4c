//! Follows the order in which apt marks packages for installation, which decides which alternative it picks.
//!
//! A solver finds any valid set, but users expect the one that apt finds. This walk follows apt's dependency
//! cache (`MarkInstall` in apt-pkg/depcache.cc of apt 2.6): requested packages are marked first, then each
//! dependency depth first, with the first alternative that works. The result is only a preference:
//! [`super::solver`] confirms or corrects it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::index::PackageId;
use super::relation::Relation;
use super::universe::Universe;

/// Returns the packages that apt would mark, in marking order.
pub(super) fn choose(universe: &Universe<'_>, wanted: &[PackageId]) -> Vec<PackageId> {
    let mut walk = Walk {
        universe,
        marked: BTreeMap::new(),
        refused: BTreeSet::new(),
        excluded: BTreeMap::new(),
        depth: 0,
    };
    for id in wanted {
        walk.mark(*id);
    }
    for id in wanted {
        // Requested packages stay marked in any case; the solver reports what is wrong.
        universe.needs(*id).for_each(|group| _ = walk.satisfy(&group));
    }
    let mut order: Vec<(usize, PackageId)> = walk.marked.into_iter().map(|(id, order)| (order, id)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, id)| id).collect()
}

/// Recursion limit: deeper than any real dependency chain, shallow enough for a thread's stack.
const DEEPEST: u32 = 1000;

struct Walk<'u, 'a> {
    universe: &'u Universe<'a>,
    /// Marked packages, each with the number of packages marked before it.
    marked: BTreeMap<PackageId, usize>,
    /// Packages that can't be installed; apt does not try them again.
    refused: BTreeSet<PackageId>,
    /// Number of marked packages that exclude each package.
    excluded: BTreeMap<PackageId, u32>,
    depth: u32,
}

impl Walk<'_, '_> {
    /// Marks a package and its dependencies; on failure nothing stays marked.
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

    /// Satisfies one dependency, with a package that is already marked or with the first alternative that
    /// works.
    fn satisfy(&mut self, group: &[Relation<'_>]) -> bool {
        let universe = self.universe;
        let is_marked = |relation: &Relation<'_>| {
            universe.matching(relation).iter().any(|id| self.marked.contains_key(id))
        };
        group.iter().any(is_marked)
            || group.iter().any(|relation| universe.choices(relation).into_iter().any(|id| self.install(id)))
    }

    /// Checks whether a marked package excludes this one, or the reverse.
    fn is_excluded(&self, id: PackageId) -> bool {
        self.excluded.contains_key(&id)
            || self.universe.excluded_by(id).iter().any(|other| self.marked.contains_key(other))
    }

    fn mark(&mut self, id: PackageId) {
        let order = self.marked.len();
        if let Entry::Vacant(entry) = self.marked.entry(id) {
            entry.insert(order);
            self.universe
                .excluded_by(id)
                .into_iter()
                .for_each(|other| *self.excluded.entry(other).or_default() += 1);
        }
    }

    fn unmark_from(&mut self, first: usize) {
        let gone: Vec<PackageId> =
            self.marked.iter().filter(|(_, order)| **order >= first).map(|(id, _)| *id).collect();
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
