//! Errors that a user can act on: the failed step, the cause, the next action.
//!
//! There are two types: [`Error`] stops at once (machine faults), [`Report`] collects every problem in a
//! user's files. Nothing here prints; `cli` renders both.

mod report;

use std::{fmt, io};

pub(crate) use report::{Problem, Report, Severity, Source};

/// Result with [`Error`] as the default error type.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// Category of a failure; each kind has one exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Invalid user input: a file, a flag, a missing setting. Exit code 2.
    Input,
    /// I/O error: read, write, disk space, permissions. Exit code 3.
    Io,
    /// A server that is unreachable or returned an invalid response. Exit code 4.
    Network,
    /// A digest, signature or certificate that does not match. Exit code 5.
    Verify,
    /// A program that kiln runs failed or is missing. Exit code 6.
    Tool,
    /// A failed prediction: a measured value does not match the predicted one. Exit code 1.
    Broken,
    /// A bug in kiln. Exit code 70, as in sysexits(3).
    Internal,
    /// Interrupted by a signal. Exit code 130, as shells report SIGINT.
    Interrupted,
}

impl Kind {
    /// Returns the process exit code; documented in `kiln --help`.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Input => 2,
            Self::Io => 3,
            Self::Network => 4,
            Self::Verify => 5,
            Self::Tool => 6,
            Self::Broken => 1,
            Self::Internal => 70,
            Self::Interrupted => 130,
        }
    }
}

/// One failure: the outermost step first, then each cause, then hints that can be typed.
#[derive(Debug)]
pub(crate) struct Error {
    kind: Kind,
    /// Steps from the outermost to the innermost cause.
    steps: Vec<String>,
    hints: Vec<String>,
    report: Option<Box<Report>>,
    /// Kind of the innermost I/O error among the causes.
    io: Option<io::ErrorKind>,
}

impl Error {
    /// Creates an error of `kind`; `message` is lower-case and names the object in backticks.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, steps: vec![message.into()], hints: Vec::new(), report: None, io: None }
    }

    /// Wraps all problems in a user's file; the kind is [`Kind::Input`].
    pub(crate) fn from_report(report: Report) -> Self {
        let found = format!("{} found", counted(report.errors(), "problem"));
        Self { report: Some(Box::new(report)), ..Self::new(Kind::Input, found) }
    }

    /// Adds a hint: the next action, written so that it can be typed.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn steps(&self) -> &[String] {
        &self.steps
    }

    pub(crate) fn hints(&self) -> &[String] {
        &self.hints
    }

    pub(crate) fn report(&self) -> Option<&Report> {
        self.report.as_deref()
    }

    /// Returns true if the disk was full or the quota exceeded.
    pub(crate) fn is_full_disk(&self) -> bool {
        matches!(self.io, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    /// Adds the failed step; kind and hints are kept.
    #[must_use]
    pub(crate) fn within(mut self, step: impl Into<String>) -> Self {
        self.steps.insert(0, step.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.steps.join(": "))
    }
}

impl std::error::Error for Error {}

/// Adds the failed step to an [`Error`]; kind and hints are kept.
pub(crate) trait Within<T> {
    /// Names the step that failed, as a lower-case gerund: "loading the cluster CA".
    fn within(self, step: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Within<T> for Result<T> {
    fn within(self, step: impl FnOnce() -> String) -> Self {
        self.map_err(|err| err.within(step()))
    }
}

/// Converts a foreign error to [`Error`], keeping its text and causes.
pub(crate) trait Doing<T> {
    /// Names the failed step, as a lower-case gerund with the object in backticks.
    fn doing(self, kind: Kind, step: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: std::error::Error + 'static> Doing<T> for std::result::Result<T, E> {
    fn doing(self, kind: Kind, step: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|err| {
            let (mut steps, mut io) = (vec![step()], None);
            let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&err);
            while let Some(current) = cause {
                io = current.downcast_ref::<io::Error>().map(innermost).or(io);
                let text = current.to_string();
                if !steps.iter().any(|step| step.ends_with(&text)) {
                    steps.push(text);
                }
                cause = current.source();
            }
            Error { kind, steps, hints: Vec::new(), report: None, io }
        })
    }
}

/// Returns the kind of the innermost I/O error, which others may wrap.
fn innermost(err: &io::Error) -> io::ErrorKind {
    err.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()).map_or_else(|| err.kind(), innermost)
}

/// Formats a number and its noun: `1 problem`, `2 problems`, `3 entries`.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    match noun.strip_suffix('y') {
        _ if number == 1 => format!("1 {noun}"),
        Some(stem) => format!("{number} {stem}ies"),
        None => format!("{number} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Doing, Error, Kind, Within};

    #[test]
    fn a_foreign_error_keeps_its_step_and_its_cause() {
        let err = "x".parse::<u8>().doing(Kind::Input, || "reading the VRID".into()).unwrap_err();
        let err = Err::<(), _>(err).within(|| "checking `m1`".into()).unwrap_err();
        assert_eq!(err.to_string(), "checking `m1`: reading the VRID: invalid digit found in string");
        assert_eq!(err.kind(), Kind::Input);
    }

    #[test]
    fn hints_survive_an_added_step() {
        let err = Error::new(Kind::Io, "no vault").hint("run `kiln pki init`").within("building");
        assert_eq!(
            (err.hints(), err.to_string().as_str()),
            (&["run `kiln pki init`".to_owned()][..], "building: no vault")
        );
    }

    #[test]
    fn a_full_disk_is_known_by_its_cause_and_not_by_its_text() {
        let full = |err: std::io::Error| {
            Err::<(), _>(err).doing(Kind::Io, || "writing `/x`".into()).unwrap_err().within("building")
        };
        let other = std::io::Error::other("No space left on device");
        let within = std::io::Error::other(std::io::Error::from_raw_os_error(28));
        assert!(
            full(std::io::Error::from_raw_os_error(28)).is_full_disk()
                && full(std::io::Error::from_raw_os_error(122)).is_full_disk()
        );
        assert!(full(within).is_full_disk() && !full(other).is_full_disk());
    }
}
