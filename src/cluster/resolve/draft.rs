//! A cluster file on its way to a cluster, and the problems met on it.

use crate::error::Report;
use crate::profile::Profile;

/// What is being resolved.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) profile: &'a Profile,
    pub(super) report: Report,
}

impl<'a> Draft<'a> {
    /// Starts with the problems that reading the file has found.
    pub(super) fn new(profile: &'a Profile) -> Self {
        Self { profile, report: profile.report.clone() }
    }

    /// A setting that nothing can stand in for. Reports it as missing unless it was written wrongly.
    pub(super) fn required<'v, T>(&mut self, path: &str, value: Option<&'v T>, example: &str) -> Option<&'v T> {
        if value.is_none() && !self.profile.places.is_broken(path) {
            let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
            let place = if table.ends_with(']') { "this table".to_owned() } else { format!("`[{table}]`") };
            let span = self.profile.places.contains(table).then(|| self.profile.places.span(table)).flatten();
            self.report.error(path, span, format!("`{key}` is missing in {place}")).hint(format!("add `{key} = {example}`"));
        }
        value
    }

    /// Reports an error at `path`.
    pub(super) fn wrong(&mut self, path: &str, message: String, hint: impl Into<String>) {
        self.report.error(path, self.profile.places.span(path), message).hint(hint);
    }

    /// Whether the table at `path` held a setting that was reported and taken out.
    pub(super) fn is_broken_below(&self, path: &str) -> bool {
        self.profile.places.is_broken_below(path)
    }
}
