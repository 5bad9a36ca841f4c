//! A look at the segment before this node may carry the VIP. What is found is told on the consoles, in the journal and by the status;
//! the node starts all the same, since nobody is there to tell a stranger from a peer whose answer was lost.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use crate::agent::{Places, Status};
use crate::error::{Doing, Error, Kind, Result};
use crate::host;
use crate::segment::{Finding, Impression, Question, USUAL_TIME, look};

/// How long to wait for the interface, and between two attempts.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_secs(1);
/// A node's own question, below its root.
const QUESTION: &str = "etc/kiln/segment.toml";

/// Looks, and keeps what was found for the status of this boot. Returns why nobody could look: that says nothing about the segment, and
/// is no fault of what waits for the look.
///
/// # Errors
///
/// [`Kind::Input`] with every finding.
pub(crate) fn segment(places: &Places) -> Result<Option<Error>> {
    let question = Question::read(&places.root.join(QUESTION))?;
    let impression = match patiently(&question) {
        Ok(impression) => impression,
        Err(err) => return Ok(Some(err)),
    };
    let findings = impression.findings(&question);
    let text = serde_json::to_vec_pretty(&findings).doing(Kind::Internal, || "writing what was found".into())?;
    host::fs::write_atomic(&file(places), &text, host::fs::PUBLIC)?;
    if findings.is_empty() {
        return Ok(None);
    }
    let node = Status::read(places).ok().and_then(|status| status.identity).map_or("unknown".into(), |identity| identity.node);
    host::console::announce(&lines(&node, &findings));
    let messages: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
    let err = Error::new(Kind::Input, messages.join("; "));
    Err(findings.into_iter().fold(err, |err, finding| err.hint(finding.fix)))
}

/// Looks as soon as the interface is up, which on a busy machine may be later than the network's target.
fn patiently(question: &Question) -> Result<Impression> {
    let watch = host::clock::Stopwatch::start();
    loop {
        match look(question, USUAL_TIME) {
            Err(_) if watch.elapsed() < PATIENCE => host::clock::sleep(PAUSE),
            other => return other,
        }
    }
}

/// What the look of this boot found; nothing where there was none.
pub(super) fn found(places: &Places) -> Result<Vec<Finding>> {
    let Some(bytes) = host::fs::read_if_exists(&file(places))? else { return Ok(Vec::new()) };
    serde_json::from_slice(&bytes).doing(Kind::Input, || format!("reading `{}`", file(places).display()))
}

/// Two lines a finding, that people and tests search for.
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
