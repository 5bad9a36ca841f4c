//! State during the resolution of a cluster file: the file and the problems found so far.

use crate::error::Report;
use crate::profile::Profile;

/// Cluster file during resolution.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) profile: &'a Profile,
    pub(super) report: Report,
}

impl<'a> Draft<'a> {
    /// Creates a draft that already contains the problems found while reading the file.
    pub(super) fn new(profile: &'a Profile) -> Self {
        Self { profile, report: profile.report.clone() }
    }

    /// Returns a required setting. Reports it as missing unless its value was invalid.
    pub(super) fn required<'v, T>(
        &mut self,
        path: &str,
        value: Option<&'v T>,
        example: &str,
    ) -> Option<&'v T> {
        if value.is_none() && !self.profile.places.is_broken(path) {
            let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
            let place = if table.ends_with(']') { "this table".to_owned() } else { format!("`[{table}]`") };
            let span = self.profile.places.contains(table).then(|| self.profile.places.span(table)).flatten();
            self.report
                .error(path, span, format!("`{key}` is missing from {place}"))
                .hint(format!("add `{key} = {example}`"));
        }
        value
    }

    /// Reports an error at `path`.
    pub(super) fn wrong(&mut self, path: &str, message: String, hint: impl Into<String>) {
        self.report.error(path, self.profile.places.span(path), message).hint(hint);
    }

    /// Checks whether a setting in the table at `path` was reported and removed.
    pub(super) fn is_broken_below(&self, path: &str) -> bool {
        self.profile.places.is_broken_below(path)
    }
}
