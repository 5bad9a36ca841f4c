//! A row of the lint catalogue: the problem, its consequence and the fix.

use crate::config::Fleet;
use crate::error::Severity;
use crate::lint::found::Found;
use crate::lint::subject::{Findings, Subject};
use crate::segment::About;

/// Function that checks the resolved cluster.
type OnCluster = fn(&Subject<'_>, &mut Findings);
/// Function that checks all machines' files.
type OnFiles = for<'a> fn(&Fleet<'a>, &mut Found<'a>);

/// A lint.
#[derive(Clone, Debug)]
pub(crate) struct Lint {
    /// Stable identifier, never reused.
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    /// General statement of the problem.
    pub(crate) title: &'static str,
    pub(crate) why: &'static str,
    pub(crate) fix: &'static str,
    pub(super) on_cluster: Option<OnCluster>,
    pub(super) on_files: Option<OnFiles>,
    /// Segment property that the lint checks.
    pub(super) on_segment: Option<About>,
}

impl Lint {
    /// Returns a lint for a mistake that stops the build.
    pub(super) const fn error(id: &'static str, title: &'static str) -> Self {
        Self {
            id,
            severity: Severity::Error,
            title,
            why: "",
            fix: "",
            on_cluster: None,
            on_files: None,
            on_segment: None,
        }
    }

    /// Returns a lint for a configuration that builds but causes problems in operation.
    pub(super) const fn warning(id: &'static str, title: &'static str) -> Self {
        Self { severity: Severity::Warning, ..Self::error(id, title) }
    }

    /// Returns a lint whose findings are only informational.
    pub(super) const fn info(id: &'static str, title: &'static str) -> Self {
        Self { severity: Severity::Info, ..Self::error(id, title) }
    }

    pub(super) const fn why(mut self, why: &'static str) -> Self {
        self.why = why;
        self
    }

    pub(super) const fn fix(mut self, fix: &'static str) -> Self {
        self.fix = fix;
        self
    }

    /// Sets the function that checks the resolved cluster.
    pub(super) const fn cluster(mut self, check: OnCluster) -> Self {
        self.on_cluster = Some(check);
        self
    }

    /// Sets the function that checks the machines' files.
    pub(super) const fn files(mut self, check: OnFiles) -> Self {
        self.on_files = Some(check);
        self
    }

    /// Sets the segment property that the lint checks.
    pub(super) const fn segment(mut self, about: About) -> Self {
        self.on_segment = Some(about);
        self
    }

    /// Returns the documentation section that describes the lint.
    pub(crate) fn documentation(&self) -> String {
        format!("docs/lints.md#{}", self.id.to_lowercase())
    }

    /// Returns a display name for the lint's input.
    pub(crate) fn looks_at(&self) -> &'static str {
        if self.on_segment.is_some() {
            return "the segment, with `--segment`";
        }
        match (self.on_cluster, self.on_files) {
            (Some(_), Some(_)) => "the cluster file and the nodes' files",
            (Some(_), None) => "the cluster file",
            _ => "the nodes' files",
        }
    }
}
