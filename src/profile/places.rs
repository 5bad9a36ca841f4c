//! Where each setting stands in the text, and which settings are known to be wrong already.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Spans by the path of the setting: `nodes[2].address`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    spans: BTreeMap<String, Range<usize>>,
    broken: BTreeSet<String>,
}

impl Places {
    /// Span of the setting at `path`, or of the closest table around it that is in the text.
    pub(crate) fn span(&self, path: &str) -> Option<Range<usize>> {
        enclosing(path).find_map(|path| self.spans.get(path)).cloned()
    }

    /// Whether the setting itself was read.
    pub(crate) fn contains(&self, path: &str) -> bool {
        self.spans.contains_key(path)
    }

    /// Whether a problem of this setting, or of a table around it, was reported already.
    pub(crate) fn is_broken(&self, path: &str) -> bool {
        enclosing(path).any(|path| self.broken.contains(path))
    }

    /// Whether a problem of a setting below this table was reported already.
    pub(crate) fn is_broken_below(&self, path: &str) -> bool {
        self.broken.iter().any(|broken| broken.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '['])))
    }

    pub(super) fn insert(&mut self, path: &str, span: Range<usize>) {
        self.spans.insert(path.to_owned(), span);
    }

    pub(super) fn set_broken(&mut self, path: &str) {
        self.broken.insert(path.to_owned());
    }
}

/// `a.b[1].c`, `a.b[1]`, `a.b`, `a`.
fn enclosing(path: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(path), |path| path.rfind(['.', '[']).map(|cut| &path[..cut]))
}

#[cfg(test)]
mod tests {
    use super::enclosing;

    #[test]
    fn a_setting_lies_in_its_table_and_its_list() {
        assert_eq!(enclosing("nodes[1].match.mac").collect::<Vec<_>>(), ["nodes[1].match.mac", "nodes[1].match", "nodes[1]", "nodes"]);
    }
}
