//! Installable packages: the candidate of each name, as chosen by apt's policy, and the providers of each
//! name.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::index::{Field, Index, Mention, PackageId};
use super::relation::{self, Relation};

/// Candidates of an index.
#[derive(Debug)]
pub(super) struct Universe<'a> {
    index: &'a Index,
    /// Newest version of each name.
    candidates: BTreeMap<&'a str, PackageId>,
    /// Virtual names, with the candidates that provide them and the provided versions.
    providers: BTreeMap<&'a str, Vec<(PackageId, Option<&'a str>)>>,
    /// Cache of first mentions; only few packages are compared by them.
    mentions: RefCell<BTreeMap<PackageId, Option<Mention>>>,
}

impl<'a> Universe<'a> {
    pub(super) fn new(index: &'a Index) -> Self {
        let mut candidates: BTreeMap<&str, PackageId> = BTreeMap::new();
        for id in index.ids() {
            let best = candidates.entry(index.name(id)).or_insert(id);
            // Equal versions are the same package in another suite; the first suite wins.
            if relation::compare(index.version(id), index.version(*best)).is_gt() {
                *best = id;
            }
        }
        let mut providers: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for id in candidates.values().copied() {
            for provided in relation::list(index.field(id, Field::Provides)) {
                let version = provided.version.map(|(_, version)| version);
                providers.entry(provided.name).or_default().push((id, version));
            }
        }
        Self { index, candidates, providers, mentions: RefCell::default() }
    }

    pub(super) fn index(&self) -> &'a Index {
        self.index
    }

    pub(super) fn candidate(&self, name: &str) -> Option<PackageId> {
        self.candidates.get(name).copied()
    }

    /// Returns every candidate, sorted by name.
    pub(super) fn candidates(&self) -> impl Iterator<Item = PackageId> {
        self.candidates.values().copied()
    }

    /// Returns the candidates that a relation accepts: the package of that name first, then providers.
    pub(super) fn matching(&self, relation: &Relation<'_>) -> Vec<PackageId> {
        let real = self.candidate(relation.name).filter(|id| relation.accepts(Some(self.index.version(*id))));
        let provided = self.providers.get(relation.name).into_iter().flatten();
        let mut found: Vec<PackageId> = real.into_iter().collect();
        for (id, version) in provided {
            if relation.accepts(*version) && !found.contains(id) {
                found.push(*id);
            }
        }
        found
    }

    /// Returns the candidates of [`Self::matching`] in the order in which apt tries them (`CompareProviders`
    /// in apt-pkg/depcache.cc).
    pub(super) fn choices(&self, relation: &Relation<'_>) -> Vec<PackageId> {
        let mut found = self.matching(relation);
        found.sort_by(|a, b| {
            let by_rank = self.rank(*a, relation).cmp(&self.rank(*b, relation));
            // As the last criterion, apt prefers the higher number: the name mentioned later.
            by_rank.then_with(|| self.first_mention(*b).cmp(&self.first_mention(*a)))
        });
        found
    }

    /// Returns a package's dependencies as groups of alternatives, in apt's order.
    pub(super) fn needs(&self, id: PackageId) -> impl Iterator<Item = Vec<Relation<'a>>> {
        let field = |field| relation::groups(self.index.field(id, field));
        field(Field::PreDepends).chain(field(Field::Depends))
    }

    /// Returns the candidates that a package excludes by `Conflicts` or `Breaks`.
    pub(super) fn excluded_by(&self, id: PackageId) -> Vec<PackageId> {
        let field = |field| relation::list(self.index.field(id, field));
        let mut excluded: Vec<PackageId> = field(Field::Conflicts)
            .chain(field(Field::Breaks))
            .flat_map(|relation| self.matching(&relation))
            .collect();
        // A package that conflicts with a name it provides means the other providers (Debian policy section
        // 7.6.2).
        excluded.retain(|other| *other != id);
        excluded.sort_unstable();
        excluded.dedup();
        excluded
    }

    fn rank(&self, id: PackageId, relation: &Relation<'_>) -> impl Ord + use<> {
        let package = self.index.package(id);
        (self.index.name(id) != relation.name, !package.essential, !package.important, package.priority)
    }

    fn first_mention(&self, id: PackageId) -> Option<Mention> {
        *self.mentions.borrow_mut().entry(id).or_insert_with(|| self.index.first_mention(self.index.name(id)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::tests::index;
    use super::super::relation::list;
    use super::Universe;

    #[test]
    fn the_newest_version_is_the_candidate() {
        let index = index("a 1.9\n\na 1.10\n\na 1.10~rc1");
        let universe = Universe::new(&index);
        assert_eq!(index.version(universe.candidate("a").unwrap()), "1.10");
    }

    #[test]
    fn choices_are_in_the_order_in_which_apt_tries() {
        let index = index(
            "gawk 1\nProvides: awk\n\nmawk 1\nPriority: required\nProvides: awk (= 2)\n\nawk \
            1\n\noriginal-awk 1\nProvides: awk",
        );
        let universe = Universe::new(&index);
        let names = |text: &str| -> Vec<&str> {
            universe.choices(&list(text).next().unwrap()).into_iter().map(|id| index.name(id)).collect()
        };
        assert_eq!(names("awk"), ["awk", "mawk", "original-awk", "gawk"]);
        assert_eq!(names("awk (>= 2)"), ["mawk"]);
        assert_eq!(names("nothing"), [] as [&str; 0]);
    }

    #[test]
    fn a_package_does_not_exclude_itself() {
        let index =
            index("a 1\nProvides: mta\nConflicts: mta\nBreaks: c (<< 2)\n\nb 1\nProvides: mta\n\nc 1");
        let universe = Universe::new(&index);
        let excluded = universe.excluded_by(universe.candidate("a").unwrap());
        assert_eq!(excluded.into_iter().map(|id| index.name(id)).collect::<Vec<_>>(), ["b", "c"]);
    }
}
