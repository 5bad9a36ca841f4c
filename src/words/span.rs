//! Version ranges, as used by every version table.

use serde::Serialize;

/// Versions that support something: from the first one up to, but excluding, the first one that no longer
/// does. For Kubernetes and etcd a version is the minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Span<V = u32> {
    /// First version with support.
    pub(crate) introduced: V,
    /// First version in which a replacement should be used.
    pub(crate) deprecated: Option<V>,
    /// First version without support.
    pub(crate) removed: Option<V>,
}

impl<V: Copy> Span<V> {
    /// Creates a span that begins with a version and has no end.
    pub(crate) const fn since(introduced: V) -> Self {
        Self { introduced, deprecated: None, removed: None }
    }

    pub(crate) const fn deprecated(self, version: V) -> Self {
        Self { deprecated: Some(version), ..self }
    }

    pub(crate) const fn removed(self, version: V) -> Self {
        Self { removed: Some(version), ..self }
    }
}

impl Span {
    /// Span of every version.
    pub(crate) const ALWAYS: Self = Self::since(0);
}

impl<V: Copy + PartialOrd> Span<V> {
    /// Checks whether the span contains `version`, even if deprecated.
    pub(crate) fn covers(&self, version: V) -> bool {
        version >= self.introduced && self.removed.is_none_or(|removed| version < removed)
    }

    /// Checks whether the span contains `version` and is not deprecated in it.
    pub(crate) fn is_current(&self, version: V) -> bool {
        self.covers(version) && self.deprecated.is_none_or(|deprecated| version < deprecated)
    }

    /// Checks that the bounds are in order and that the span covers some version.
    #[cfg(test)]
    pub(crate) fn is_in_order(&self) -> bool {
        let bounds = [Some(self.introduced), self.deprecated, self.removed];
        bounds.into_iter().flatten().is_sorted()
            && self.removed.is_none_or(|removed| removed > self.introduced)
    }
}
