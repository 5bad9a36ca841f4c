//! One row of the catalogue: what is looked for, why it hurts, what to do instead.

use crate::config::Fleet;
use crate::error::Severity;
use crate::lint::found::Found;
use crate::lint::subject::{Findings, Subject};
use crate::segment::About;

/// Looks at the resolved cluster.
type OnCluster = fn(&Subject<'_>, &mut Findings);
/// Looks at the files of all machines.
type OnFiles = for<'a> fn(&Fleet<'a>, &mut Found<'a>);

/// One lint.
#[derive(Clone, Debug)]
pub(crate) struct Lint {
    /// Stable, and never given twice.
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    /// What is wrong, in general.
    pub(crate) title: &'static str,
    pub(crate) why: &'static str,
    pub(crate) fix: &'static str,
    pub(super) on_cluster: Option<OnCluster>,
    pub(super) on_files: Option<OnFiles>,
    /// What of the segment it is about.
    pub(super) on_segment: Option<About>,
}

impl Lint {
    /// A mistake that refuses the build.
    pub(super) const fn error(id: &'static str, title: &'static str) -> Self {
        Self { id, severity: Severity::Error, title, why: "", fix: "", on_cluster: None, on_files: None, on_segment: None }
    }

    /// What works, and will hurt.
    pub(super) const fn warning(id: &'static str, title: &'static str) -> Self {
        Self { severity: Severity::Warning, ..Self::error(id, title) }
    }

    /// What is worth knowing.
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

    /// How the resolved cluster shows it.
    pub(super) const fn cluster(mut self, check: OnCluster) -> Self {
        self.on_cluster = Some(check);
        self
    }

    /// How files show it.
    pub(super) const fn files(mut self, check: OnFiles) -> Self {
        self.on_files = Some(check);
        self
    }

    /// What a look at the segment shows of it.
    pub(super) const fn segment(mut self, about: About) -> Self {
        self.on_segment = Some(about);
        self
    }

    /// Where the documentation speaks of it.
    pub(crate) fn documentation(&self) -> String {
        format!("docs/lints.md#{}", self.id.to_lowercase())
    }

    /// What the lint looks at, for people.
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
