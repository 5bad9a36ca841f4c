//! Selects a package set: closed under dependencies, free of conflicts, and as apt would choose it.
//!
//! A SAT solver (resolvo) decides what is possible; apt's walk ([`super::choice`]) decides what is preferred:
//! its packages come first among alternatives, and are soft requirements. If the walk succeeds, the solver
//! confirms its set; otherwise the solver deviates as little as possible, or explains why no solution exists.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;

use resolvo::{
    Candidates, Condition, ConditionId, ConditionalRequirement, Dependencies, DependencyProvider,
    HintDependenciesAvailable, Interner, KnownDependencies, NameId, Problem, Requirement, SolvableId, Solver,
    SolverCache, StringId, UnsolvableOrCancelled, VersionSetId, VersionSetUnionId,
};

use crate::error::{Error, Kind, Result};

use super::choice;
use super::index::PackageId;
use super::relation::Relation;
use super::universe::Universe;

/// Resolves the closure of `wanted` and every essential package, sorted by name.
///
/// # Errors
///
/// [`Kind::Input`] if a name is unknown, or the packages can't be installed together.
pub(super) fn solve(universe: &Universe<'_>, wanted: &[String]) -> Result<Vec<PackageId>> {
    let essential = universe.candidates().filter(|id| universe.index().package(*id).essential);
    let named = wanted.iter().map(|name| named(universe, name)).collect::<Result<Vec<_>>>()?;
    let mut seen = BTreeSet::new();
    let wanted: Vec<PackageId> = named.into_iter().chain(essential).filter(|id| seen.insert(*id)).collect();
    let preferred = choice::choose(universe, &wanted);
    let mut chosen = prove(universe, &wanted, &preferred)?;
    chosen.sort_by_key(|id| universe.index().name(*id));
    Ok(chosen)
}

/// Finds a package by name, or the only provider of a virtual package.
fn named(universe: &Universe<'_>, name: &str) -> Result<PackageId> {
    let relation = Relation { name, version: None };
    match universe.matching(&relation)[..] {
        [first, ..] if universe.index().name(first) == name => Ok(first),
        [only] => Ok(only),
        [] => {
            Err(Error::new(Kind::Input, format!("no package `{name}` in this suite"))
                .hint(near(universe, name)))
        }
        ref several => {
            let names: Vec<&str> = several.iter().map(|id| universe.index().name(*id)).collect();
            Err(Error::new(
                Kind::Input,
                format!("`{name}` is provided by several packages: {}", names.join(", ")),
            )
            .hint("choose one of them"))
        }
    }
}

/// Returns the hint for an unknown name: similar names, if any.
fn near(universe: &Universe<'_>, name: &str) -> String {
    let stem = &name[..name.len().min(4)];
    let names = universe.candidates().map(|id| universe.index().name(id));
    let near: Vec<&str> = names
        .filter(|other| other.starts_with(stem) && other.len().abs_diff(name.len()) <= 2)
        .take(5)
        .collect();
    if near.is_empty() {
        "check the name with `apt-cache search`, or on packages.debian.org".to_owned()
    } else {
        format!("similar names: {}", near.join(", "))
    }
}

fn prove(universe: &Universe<'_>, wanted: &[PackageId], preferred: &[PackageId]) -> Result<Vec<PackageId>> {
    let set = preferred.iter().copied().collect();
    let provider =
        Provider { universe, preferred: set, unions: RefCell::default(), complaints: RefCell::default() };
    let requirements =
        wanted.iter().map(|id| ConditionalRequirement::from(provider.is_installed(*id))).collect();
    let problem = Problem::new()
        .requirements(requirements)
        .soft_requirements(preferred.iter().map(|id| SolvableId::from_raw(id.0)));
    let mut solver = Solver::new(provider);
    match solver.solve(problem) {
        Ok(solvables) => Ok(solvables.into_iter().map(|solvable| PackageId(solvable.into_raw())).collect()),
        Err(UnsolvableOrCancelled::Unsolvable(conflict)) => {
            let why = conflict.display_user_friendly(&solver).to_string();
            Err(Error::new(
                Kind::Input,
                format!("the packages can't be installed together:\n{}", why.trim_end()),
            ))
        }
        Err(UnsolvableOrCancelled::Cancelled(_)) => {
            Err(Error::new(Kind::Internal, "the solver stopped without being cancelled"))
        }
    }
}

/// Debian's rules in resolvo's terms. Each package is a separate name with one solvable, because only the
/// candidate of a name can be installed; a version set states that one package is installed (even numbers) or
/// absent (odd numbers).
struct Provider<'u, 'a> {
    universe: &'u Universe<'a>,
    preferred: BTreeSet<PackageId>,
    unions: RefCell<Vec<Vec<VersionSetId>>>,
    /// Unsatisfiable dependencies.
    complaints: RefCell<Vec<String>>,
}

impl Provider<'_, '_> {
    fn is_installed(&self, id: PackageId) -> VersionSetId {
        VersionSetId(id.0 * 2)
    }

    fn is_absent(&self, id: PackageId) -> VersionSetId {
        VersionSetId(id.0 * 2 + 1)
    }

    fn package(version_set: VersionSetId) -> PackageId {
        PackageId(version_set.0 / 2)
    }

    /// Returns the alternatives of one dependency; if there are none, the error is the dependency's text.
    fn requirement(&self, group: &[Relation<'_>]) -> Result<Requirement, String> {
        let mut ids: Vec<PackageId> =
            group.iter().flat_map(|relation| self.universe.matching(relation)).collect();
        ids.sort_by_key(|id| !self.preferred.contains(id));
        let mut sets: Vec<VersionSetId> = ids.into_iter().map(|id| self.is_installed(id)).collect();
        let mut seen = BTreeSet::new();
        sets.retain(|set| seen.insert(*set));
        match sets[..] {
            [] => Err(group.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ")),
            [only] => Ok(Requirement::Single(only)),
            _ => {
                let mut unions = self.unions.borrow_mut();
                unions.push(sets);
                Ok(Requirement::Union(VersionSetUnionId(
                    u32::try_from(unions.len() - 1).expect("there are fewer than 2^32"),
                )))
            }
        }
    }

    fn complain(&self, complaint: String) -> StringId {
        let mut complaints = self.complaints.borrow_mut();
        complaints.push(complaint);
        StringId(u32::try_from(complaints.len() - 1).expect("there are fewer than 2^32"))
    }
}

impl Interner for Provider<'_, '_> {
    type NameId = NameId;
    type SolvableId = SolvableId;

    fn display_solvable(&self, solvable: SolvableId) -> impl Display + '_ {
        let id = PackageId(solvable.into_raw());
        format!("{} {}", self.universe.index().name(id), self.universe.index().version(id))
    }

    fn display_name(&self, name: NameId) -> impl Display + '_ {
        self.universe.index().name(PackageId(name.into_raw()))
    }

    fn display_version_set(&self, version_set: VersionSetId) -> impl Display + '_ {
        if version_set.0.is_multiple_of(2) { "installed" } else { "not installed" }
    }

    fn display_string(&self, string_id: StringId) -> impl Display + '_ {
        self.complaints.borrow()[string_id.0 as usize].clone()
    }

    fn version_set_name(&self, version_set: VersionSetId) -> NameId {
        NameId::from_raw(Self::package(version_set).0)
    }

    fn solvable_name(&self, solvable: SolvableId) -> NameId {
        NameId::from_raw(solvable.into_raw())
    }

    fn version_sets_in_union(&self, union: VersionSetUnionId) -> impl Iterator<Item = VersionSetId> {
        self.unions.borrow()[union.0 as usize].clone().into_iter()
    }

    fn resolve_condition(&self, _: ConditionId) -> Condition {
        unreachable!("Debian's dependencies have no conditions")
    }
}

impl DependencyProvider for Provider<'_, '_> {
    async fn filter_candidates(
        &self,
        candidates: &[SolvableId],
        version_set: VersionSetId,
        inverse: bool,
    ) -> Vec<SolvableId> {
        let installed = version_set.0.is_multiple_of(2);
        if installed == inverse { Vec::new() } else { candidates.to_vec() }
    }

    async fn get_candidates(&self, name: NameId) -> Option<Candidates> {
        let candidates = vec![SolvableId::from_raw(name.into_raw())];
        Some(Candidates {
            candidates,
            hint_dependencies_available: HintDependenciesAvailable::None,
            ..Candidates::default()
        })
    }

    async fn sort_candidates(&self, _: &SolverCache<Self>, _: &mut [SolvableId]) {
        // A package has one candidate; the alternatives are in the order of the union.
    }

    async fn get_dependencies(&self, solvable: SolvableId) -> Dependencies {
        let id = PackageId(solvable.into_raw());
        let mut known = KnownDependencies::default();
        for group in self.universe.needs(id) {
            match self.requirement(&group) {
                Ok(requirement) => {
                    known.requirements.push(ConditionalRequirement { condition: None, requirement });
                }
                Err(need) => {
                    let name = self.universe.index().name(id);
                    return Dependencies::Unknown(
                        self.complain(format!("`{name}` needs `{need}`, which nothing provides")),
                    );
                }
            }
        }
        known.constrains =
            self.universe.excluded_by(id).into_iter().map(|other| self.is_absent(other)).collect();
        Dependencies::Known(known)
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::tests::index;
    use super::super::universe::Universe;
    use super::solve;

    fn solved(paragraphs: &str, wanted: &str) -> Result<String, String> {
        let index = index(paragraphs);
        let wanted: Vec<String> =
            wanted.split(' ').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let chosen = solve(&Universe::new(&index), &wanted).map_err(|err| err.to_string())?;
        Ok(chosen.into_iter().map(|id| index.name(id)).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_set_is_the_one_that_apt_would_install() {
        #[rustfmt::skip]
        let cases = [
            ("nothing more than needed", "a 1\nDepends: b\n\nb 1\nRecommends: c\n\nc 1", "a", "a b"),
            ("pre-dependencies and cycles", "a 1\nPre-Depends: b\n\nb 1\nDepends: a", "a", "a b"),
            ("essential packages always", "a 1\n\nb 1\nEssential: yes\nDepends: c\n\nc 1", "a", "a b c"),
            ("the first alternative", "a 1\nDepends: b | c\n\nb 1\n\nc 1", "a", "a b"),
            ("the alternative that is wanted anyway", "a 1\nDepends: b | c\n\nb 1\n\nc 1", "a c", "a c"),
            ("the alternative that is there already", "a 1\nDepends: c, d\n\nb 1\n\nc 1\n\nd 1\nDepends: b \
                | c", "a", "a c d"),
            ("both, when the second is needed later", "a 1\nDepends: d, c\n\nb 1\n\nc 1\n\nd 1\nDepends: b \
                | c", "a", "a b c d"),
            ("the alternative that can be installed", "a 1\nDepends: b | c\n\nb 1\nDepends: missing\n\nc \
                1", "a", "a c"),
            ("the alternative without conflict", "a 1\nDepends: b | c\n\nb 1\nConflicts: a\n\nc \
                1", "a", "a c"),
            ("nothing of an alternative that failed", "a 1\nDepends: b | c\n\nb 1\nDepends: d, missing\n\nc \
                1\n\nd 1", "a", "a c"),
            ("nothing beside the alternative that is there", "a 1\nDepends: c\n\nb 1\nEssential: \
                yes\nDepends: d | c\n\nc 1\n\nd 1", "a", "a b c"),
            ("a real package before a provider", "a 1\nDepends: v\n\np 1\nProvides: v\n\nv 1", "a", "a v"),
            ("the provider with the higher priority", "a 1\nDepends: v\n\np 1\nProvides: v\n\nq \
                1\nPriority: required\nProvides: v", "a", "a q"),
            ("a provider in the right version", "a 1\nDepends: v (>= 2)\n\np 1\nProvides: v (= 1)\n\nq \
                1\nProvides: v (= 2)\n\nr 1\nProvides: v", "a", "a q"),
            ("a provider for a virtual name", "p 1\nProvides: v", "v", "p"),
            ("the newest version only", "a 1\nDepends: b (>= 2)\n\nb 1\n\nb 2\nDepends: c\n\nc \
                1", "a", "a b c"),
            ("breaks in other versions only", "a 1\nDepends: b\nBreaks: b (<< 2)\n\nb 2", "a", "a b"),
            ("a conflict with what it provides itself", "a 1\nProvides: v\nConflicts: v", "a", "a"),
        ];
        for (what, paragraphs, wanted, expected) in cases {
            assert_eq!(solved(paragraphs, wanted).as_deref(), Ok(expected), "{what}");
        }
    }

    #[test]
    fn the_solver_finds_a_way_where_the_walk_does_not() {
        // The walk takes `b` for `a`, and then `d`, which was asked for, can't have `c`.
        let paragraphs = "a 1\nDepends: b | c\n\nb 1\nConflicts: c\n\nc 1\n\nd 1\nDepends: c";
        assert_eq!(solved(paragraphs, "a d").as_deref(), Ok("a c d"));
    }

    #[test]
    fn what_is_impossible_is_explained() {
        let cases = [
            ("a 1\nDepends: b (>= 2)\n\nb 1", "a", "`a` needs `b (>= 2)`, which nothing provides"),
            ("a 1\nConflicts: b\n\nb 1", "a b", "b"),
            ("a 1", "ab", "no package `ab` in this suite"),
            ("a 1\nProvides: v\n\nb 1\nProvides: v", "v", "`v` is provided by several packages: a, b"),
        ];
        for (paragraphs, wanted, said) in cases {
            let message = solved(paragraphs, wanted).unwrap_err();
            assert!(message.contains(said), "{message}");
        }
    }
}
