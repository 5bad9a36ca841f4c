//! `kiln check --segment`: what no file can show, looked for before anything is installed.

use std::time::Duration;

use crate::cli::Ui;
use crate::cluster::Cluster;
use crate::error::{Error, Kind, Result};
use crate::lint;
use crate::pipeline::Site;
use crate::segment::{Impression, Question, USUAL_TIME, look};

/// Adds what a look at the segment behind `interface` finds to the site's report.
///
/// # Errors
///
/// [`Kind::Input`] with every problem if somebody else has the VIP, or if nobody would tell a segment of it; as [`look`].
pub(super) fn add(mut site: Site, interface: &str, time: Option<Duration>, ui: &Ui) -> Result<Site> {
    let question = Question { interface: interface.to_owned(), ..Question::of(&site.cluster).ok_or_else(|| without(&site.cluster))? };
    let time = time.unwrap_or(USUAL_TIME);
    let impression = look(&question, time)?;
    ui.message(summary(&question, &impression, time));
    site.report.problems.extend(lint::check_segment(&site.profile, &impression.findings(&question)));
    site.report.clone().into_result()?;
    Ok(site)
}

fn without(cluster: &Cluster) -> Error {
    let balancer = cluster.endpoint.balancer.name;
    Error::new(Kind::Input, format!("no segment learns of a VIP: the balancer is `{balancer}`")).hint("leave `--segment` out")
}

fn summary(question: &Question, impression: &Impression, time: Duration) -> String {
    let identifiers: Vec<String> = impression.identifiers().iter().map(u8::to_string).collect();
    let identifiers = if identifiers.is_empty() { "none".to_owned() } else { identifiers.join(", ") };
    let (nodes, all) = (impression.nodes(question), question.nodes.len());
    let seconds = time.as_secs();
    format!("`{}`, {seconds} s: {nodes} of {all} nodes are there; router identifiers that were heard: {identifiers}", question.interface)
}
