//! Dependency fields of Debian packages (Debian policy chapter 7): `a (>= 1) | b, c:any`.

use std::cmp::Ordering;

use debversion::Version;

/// One alternative: a package or a virtual package, optionally with a version constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Relation<'a> {
    pub(super) name: &'a str,
    pub(super) version: Option<(Comparison, &'a str)>,
}

/// Comparison of a version with the relation's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

impl Comparison {
    fn parse(text: &str) -> Option<(Self, &str)> {
        // Longer operators first. Single characters are the obsolete spelling of `<=` and `>=`.
        const SPELLINGS: [(&str, Comparison); 7] = [
            ("<<", Comparison::Earlier),
            ("<=", Comparison::EarlierOrEqual),
            (">>", Comparison::Later),
            (">=", Comparison::LaterOrEqual),
            ("=", Comparison::Equal),
            ("<", Comparison::EarlierOrEqual),
            (">", Comparison::LaterOrEqual),
        ];
        SPELLINGS
            .iter()
            .find_map(|(spelling, comparison)| Some((*comparison, text.strip_prefix(spelling)?.trim())))
    }

    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Earlier => ordering.is_lt(),
            Self::EarlierOrEqual => ordering.is_le(),
            Self::Equal => ordering.is_eq(),
            Self::LaterOrEqual => ordering.is_ge(),
            Self::Later => ordering.is_gt(),
        }
    }
}

impl<'a> Relation<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (name, rest) = text.split_once('(').map_or((text, None), |(name, rest)| (name, Some(rest)));
        // `:any` accepts a package of any architecture; with only one architecture, that is every package.
        let name = name.trim().split(':').next().filter(|name| !name.is_empty())?;
        let version = match rest {
            Some(rest) => Some(Comparison::parse(rest.split(')').next()?.trim())?),
            None => None,
        };
        Some(Self { name, version })
    }

    /// Checks whether the relation accepts this `version`; `None` is a package provided without a version.
    pub(super) fn accepts(&self, version: Option<&str>) -> bool {
        match (self.version, version) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((comparison, wanted)), Some(version)) => comparison.holds(compare(version, wanted)),
        }
    }
}

impl std::fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some((comparison, version)) = self.version else { return f.write_str(self.name) };
        let sign = match comparison {
            Comparison::Earlier => "<<",
            Comparison::EarlierOrEqual => "<=",
            Comparison::Equal => "=",
            Comparison::LaterOrEqual => ">=",
            Comparison::Later => ">>",
        };
        write!(f, "{} ({sign} {version})", self.name)
    }
}

/// Parses the groups of a field; one alternative of each group suffices. Invalid parts are skipped; dpkg
/// would reject them anyway.
pub(super) fn groups(field: &str) -> impl Iterator<Item = Vec<Relation<'_>>> {
    field
        .split(',')
        .map(|group| group.split('|').filter_map(Relation::parse).collect::<Vec<_>>())
        .filter(|group| !group.is_empty())
}

/// Parses the relations of a field without alternatives, such as `Provides` and `Conflicts`.
pub(super) fn list(field: &str) -> impl Iterator<Item = Relation<'_>> {
    field.split(',').filter_map(Relation::parse)
}

/// Orders versions as dpkg does; an invalid version is earlier than any other.
pub(super) fn compare(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    Version::parse_lenient(a).ok().cmp(&Version::parse_lenient(b).ok())
}

#[cfg(test)]
mod tests {
    use super::{Comparison, Relation, compare, groups, list};

    #[test]
    fn a_field_is_read_as_groups_of_alternatives() {
        let read: Vec<Vec<String>> =
            groups("libc6 (>= 2.41), default-mta | mail-transport-agent, python3:any(<<3.14),")
                .map(|group| group.iter().map(ToString::to_string).collect())
                .collect();
        assert_eq!(
            read,
            [vec!["libc6 (>= 2.41)"], vec!["default-mta", "mail-transport-agent"], vec!["python3 (<< 3.14)"]]
        );
        assert_eq!(groups("").count(), 0);
    }

    #[test]
    fn only_a_versioned_provision_meets_a_versioned_relation() {
        let relation = |text| list(text).next().unwrap();
        let versioned = Relation { name: "a", version: Some((Comparison::LaterOrEqual, "2.0")) };
        assert_eq!(relation("a (>= 2.0)"), versioned);
        for (version, accepted) in
            [(Some("2.0"), true), (Some("2.0~rc1"), false), (Some("1:0.1"), true), (None, false)]
        {
            assert_eq!(versioned.accepts(version), accepted, "{version:?}");
        }
        assert!(relation("a").accepts(None));
    }

    #[test]
    fn versions_compare_as_dpkg_compares_them() {
        let ascending = [
            "1.0~~",
            "1.0~",
            "1.0~rc1-1",
            "1.0",
            "1.0-1",
            "1.0-1+b1",
            "1.0-1.1",
            "1.0a",
            "1.0+dfsg",
            "1.2",
            "1.10",
            "1:0.1",
        ];
        for pair in ascending.windows(2) {
            assert!(compare(pair[0], pair[1]).is_lt(), "{} < {}", pair[0], pair[1]);
        }
        assert!(compare("0:1.0-0", "1.0").is_eq());
    }
}
