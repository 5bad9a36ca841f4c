//! A look at the segment before this node may carry the VIP. What is found is told on the consoles, in the journal and by the status;
//! the node starts all the same, since nobody is there to tell a stranger from a peer whose answer was lost.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::agent::{Places, Status};
use crate::error::{Doing, Error, Kind, Result};
use crate::host;
use crate::segment::{Finding, Question, USUAL_TIME, look};

/// A node's own question, below its root.
const QUESTION: &str = "etc/kiln/segment.toml";

/// Looks, and keeps what was found for the status of this boot.
///
/// # Errors
///
/// [`Kind::Input`] with every finding; as [`look`].
pub(crate) fn segment(places: &Places) -> Result<()> {
    let question = Question::read(&places.root.join(QUESTION))?;
    let findings = look(&question, USUAL_TIME)?.findings(&question);
    let text = serde_json::to_vec_pretty(&findings).doing(Kind::Internal, || "writing what was found".into())?;
    host::fs::write_atomic(&file(places), &text, host::fs::PUBLIC)?;
    if findings.is_empty() {
        return Ok(());
    }
    let node = Status::read(places).ok().and_then(|status| status.identity).map_or("unknown".into(), |identity| identity.node);
    host::console::announce(&lines(&node, &findings));
    let messages: Vec<&str> = findings.iter().map(|finding| finding.message.as_str()).collect();
    let err = Error::new(Kind::Input, messages.join("; "));
    Err(findings.into_iter().fold(err, |err, finding| err.hint(finding.fix)))
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
