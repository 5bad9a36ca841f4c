//! What can go wrong, told so that a person can act: the step, the cause, the next move.
//!
//! Two shapes: [`Error`] stops at once (the machine's faults), [`Report`] collects every problem of what a user wrote.
//! Nothing here prints; `cli` renders both.

mod report;

use std::fmt;

pub(crate) use report::{Problem, Report, Severity, Source};

/// The crate's result.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// What a failure means to the caller; each kind has one exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The user's input is wrong: a file, a flag, a missing setting. Exit code 2.
    Input,
    /// The machine refused: reading, writing, space, permissions. Exit code 3.
    Io,
    /// A server could not be reached or answered wrongly. Exit code 4.
    Network,
    /// A digest, signature or certificate does not match. Exit code 5.
    Verify,
    /// A program that kiln runs failed or is missing. Exit code 6.
    Tool,
    /// A promise was not kept: what was measured is not what was predicted. Exit code 1.
    Broken,
    /// A bug in kiln. Exit code 70, as in sysexits(3).
    Internal,
    /// Interrupted by a signal. Exit code 130, as shells report SIGINT.
    Interrupted,
}

impl Kind {
    /// The process exit code; documented in `kiln --help`.
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
}

impl Error {
    /// Makes an error of `kind`; `message` is lower-case and names the object in backticks.
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, steps: vec![message.into()], hints: Vec::new(), report: None }
    }

    /// Wraps every problem of a user's file; the kind is [`Kind::Input`].
    pub(crate) fn from_report(report: Report) -> Self {
        let found = format!("{} found", counted(report.errors(), "problem"));
        Self { kind: Kind::Input, steps: vec![found], hints: Vec::new(), report: Some(Box::new(report)) }
    }

    /// Adds a next move, written so that it can be typed.
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

    fn within(mut self, step: String) -> Self {
        self.steps.insert(0, step);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.steps.join(": "))
    }
}

impl std::error::Error for Error {}

/// Adds the step to one of our own errors; kind and hints stay.
pub(crate) trait Within<T> {
    /// Names the step that failed, as a lower-case gerund: "loading the cluster CA".
    fn within(self, step: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Within<T> for Result<T> {
    fn within(self, step: impl FnOnce() -> String) -> Self {
        self.map_err(|err| err.within(step()))
    }
}

/// Turns a foreign error into ours, keeping its text and causes.
pub(crate) trait Doing<T> {
    /// Says what kiln was doing, as a lower-case gerund with the object in backticks.
    fn doing(self, kind: Kind, step: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: std::error::Error> Doing<T> for std::result::Result<T, E> {
    fn doing(self, kind: Kind, step: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|err| {
            let mut steps = vec![step()];
            let mut cause: Option<&dyn std::error::Error> = Some(&err);
            while let Some(current) = cause {
                let text = current.to_string();
                if !steps.iter().any(|step| step.ends_with(&text)) {
                    steps.push(text);
                }
                cause = current.source();
            }
            Error { kind, steps, hints: Vec::new(), report: None }
        })
    }
}

/// A number and what it counts: `1 problem`, `2 problems`.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
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
        let err = Err::<(), _>(Error::new(Kind::Io, "no vault").hint("run `kiln pki init`")).within(|| "building".into());
        assert_eq!(err.unwrap_err().hints(), ["run `kiln pki init`"]);
    }
}
