//! Every problem of what a user wrote, with its place in the file.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Error, Result};

/// How much a problem matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Worth knowing.
    Info,
    /// Works, and will hurt.
    Warning,
    /// Refuses to build.
    Error,
}

/// The text that spans point into.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) text: Arc<str>,
}

/// One problem: where, what, why, what instead.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) severity: Severity,
    /// Stable lint identifier such as `HA010`, or `None` for syntax and schema.
    pub(crate) code: Option<&'static str>,
    /// Path of the setting: `nodes[2].address`.
    pub(crate) field: String,
    pub(crate) message: String,
    /// Byte range in the source text.
    pub(crate) span: Option<Range<usize>>,
    /// The file that it is in, when it is not the report's.
    pub(crate) source: Option<Source>,
    pub(crate) hint: Option<String>,
}

/// Problems in the order they were found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) source: Option<Source>,
    pub(crate) problems: Vec<Problem>,
}

impl Report {
    /// Starts an empty report about `source`.
    pub(crate) fn about(source: Source) -> Self {
        Self { source: Some(source), problems: Vec::new() }
    }

    pub(crate) fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Adds an error without a lint identifier.
    pub(crate) fn error(&mut self, field: impl Into<String>, span: Option<Range<usize>>, message: impl Into<String>) -> &mut Problem {
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

    /// Number of problems that refuse the build.
    pub(crate) fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    /// Fails with every problem when at least one is an error.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Input`], carrying the whole report.
    pub(crate) fn into_result(self) -> Result<()> {
        if self.errors() == 0 { Ok(()) } else { Err(Error::from_report(self)) }
    }
}

impl Problem {
    /// Says what to type instead.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }
}
