//! Network segment check before this node is allowed to hold the VIP. Findings are reported on the consoles,
//! in the journal and in the status. The node starts regardless, since it can't distinguish a foreign machine
//! from a peer whose response was lost.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::{Places, Status};
use crate::error::{Doing, Error, Kind, Result};
use crate::host;
use crate::segment::{Finding, Observation, Question, USUAL_TIME, look};

/// Time to wait for the interface, and pause between two attempts.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_secs(1);
/// Path of the node's own [`Question`], relative to its root.
const QUESTION: &str = "etc/kiln/segment.toml";

/// Checks the segment and stores the findings for this boot's status. Returns an error as a value if the
/// check could not be performed: this says nothing about the segment, so it must not fail the units that wait
/// for the check.
///
/// # Errors
///
/// [`Kind::Input`] listing every finding.
pub(crate) fn segment(places: &Places) -> Result<Option<Error>> {
    let question = Question::read(&places.root.join(QUESTION))?;
    let observation = match patiently(&question) {
        Ok(observation) => observation,
        Err(err) => return Ok(Some(err)),
    };
    let findings = observation.findings(&question);
    let text =
        serde_json::to_vec_pretty(&findings).doing(Kind::Internal, || "writing the findings".into())?;
    host::fs::write_atomic(&file(places), &text, host::fs::PUBLIC)?;
    if findings.is_empty() {
        return Ok(None);
    }
    let node = Status::read(places)
        .ok()
        .and_then(|status| status.identity)
        .map_or("unknown".into(), |identity| identity.node);
    host::console::announce(&lines(&node, &findings));
    let messages: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
    let err = Error::new(Kind::Input, messages.join("; "));
    Err(findings.into_iter().fold(err, |err, finding| err.hint(finding.fix)))
}

/// Checks as soon as the interface is up, which on a busy machine may be after the network target is reached.
fn patiently(question: &Question) -> Result<Observation> {
    let watch = host::clock::Stopwatch::start();
    loop {
        match look(question, USUAL_TIME) {
            Err(_) if watch.elapsed() < PATIENCE => host::clock::sleep(PAUSE),
            other => return other,
        }
    }
}

/// Returns the findings of this boot; empty if no check was performed.
pub(super) fn found(places: &Places) -> Result<Vec<Finding>> {
    let Some(bytes) = host::fs::read_if_exists(&file(places))? else { return Ok(Vec::new()) };
    serde_json::from_slice(&bytes).doing(Kind::Input, || format!("reading `{}`", file(places).display()))
}

/// Formats each finding as two lines in a fixed format that users and tests search for.
fn lines(node: &str, findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { message, fix, .. } in findings {
        let _ = write!(text, "kiln: segment node={node} {message}\nkiln:   {fix}\n");
    }
    text
}

fn file(places: &Places) -> PathBuf {
    places.runtime().join("segment.json")
}
