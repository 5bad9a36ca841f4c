//! Positions of settings in the text, and settings that are known to be invalid.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Spans by setting path, such as `nodes[2].address`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    spans: BTreeMap<String, Range<usize>>,
    broken: BTreeSet<String>,
}

impl Places {
    /// Returns the span of the setting at `path`, or of the innermost enclosing table that is in the text.
    pub(crate) fn span(&self, path: &str) -> Option<Range<usize>> {
        enclosing(path).find_map(|path| self.spans.get(path)).cloned()
    }

    /// Checks whether the setting itself was read.
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.spans.contains_key(path)
    }

    /// Checks whether a problem with this setting, or with an enclosing table, was already reported.
    pub(crate) fn is_broken(&self, path: &str) -> bool {
        enclosing(path).any(|path| self.broken.contains(path))
    }

    /// Checks whether a problem with a setting in this table was already reported.
    pub(crate) fn is_broken_below(&self, path: &str) -> bool {
        self.broken
            .iter()
            .any(|broken| broken.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '['])))
    }

    pub(super) fn insert(&mut self, path: &str, span: Range<usize>) {
        self.spans.insert(path.to_owned(), span);
    }

    pub(super) fn set_broken(&mut self, path: &str) {
        self.broken.insert(path.to_owned());
    }
}

/// Returns `a.b[1].c`, `a.b[1]`, `a.b`, `a`.
fn enclosing(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rfind(['.', '[']).map(|cut| &path[..cut]))
}

#[cfg(test)]
mod tests {
    use super::enclosing;

    #[test]
    fn a_setting_lies_in_its_table_and_its_list() {
        assert_eq!(
            enclosing("nodes[1].match.mac").collect::<Vec<_>>(),
            ["nodes[1].match.mac", "nodes[1].match", "nodes[1]", "nodes"]
        );
    }
}
