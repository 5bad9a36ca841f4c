//! Problems in a user's files, each with its position.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Error, Result};

/// Severity of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Information only.
    Info,
    /// Works now but causes trouble later.
    Warning,
    /// Prevents the build.
    Error,
}

/// Source text that spans refer to.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: Arc<str>,
}

/// One problem: position, description, reason, replacement.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) severity: Severity,
    /// Stable lint identifier such as `HA010`, or `None` for syntax and schema problems.
    pub(crate) code: Option<&'static str>,
    /// Path of the setting: `nodes[2].address`.
    pub(crate) field: String,
    pub(crate) message: String,
    /// Byte range in the source text.
    pub(crate) span: Option<Range<usize>>,
    /// File that contains the problem, if it is not the file that the report is about.
    pub(crate) source: Option<Source>,
    pub(crate) hint: Option<String>,
}

/// Problems in the order in which they were found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) source: Option<Source>,
    pub(crate) problems: Vec<Problem>,
}

impl Report {
    /// Creates an empty report about `source`.
    pub(crate) fn about(source: Source) -> Self {
        Self { source: Some(source), problems: Vec::new() }
    }

    pub(crate) fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Adds an error without a lint identifier.
    pub(crate) fn error(
        &mut self,
        field: impl Into<String>,
        span: Option<Range<usize>>,
        message: impl Into<String>,
    ) -> &mut Problem {
        self.problems.push(Problem {
            severity: Severity::Error,
            code: None,
            field: field.into(),
            message: message.into(),
            span,
            source: None,
            hint: None,
        });
        self.problems.last_mut().expect("a problem was just pushed")
    }

    /// Returns the number of problems that prevent the build.
    pub(crate) fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    /// Returns an error that lists all problems if at least one of them is an error.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Input`] containing the whole report.
    pub(crate) fn into_result(self) -> Result<()> {
        if self.errors() == 0 { Ok(()) } else { Err(Error::from_report(self)) }
    }
}

impl Problem {
    /// Adds a hint: what to type instead.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }
}
