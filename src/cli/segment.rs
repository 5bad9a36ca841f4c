//! `kiln check --segment`: finds conflicts that no file can reveal, before anything is installed.

use std::time::Duration;

use crate::cli::Ui;
use crate::cluster::Cluster;
use crate::error::{Error, Kind, Result};
use crate::lint;
use crate::pipeline::Site;
use crate::segment::{Observation, Question, USUAL_TIME, look};

/// Checks the network segment on `interface` and adds the findings to the site's report.
///
/// # Errors
///
/// [`Kind::Input`] listing every problem, if another machine uses the VIP, or if the balancer does not
/// announce a VIP; errors of [`look`].
pub(super) fn add(mut site: Site, interface: &str, time: Option<Duration>, ui: &Ui) -> Result<Site> {
    let question = Question {
        interface: interface.to_owned(),
        ..Question::of(&site.cluster).ok_or_else(|| without(&site.cluster))?
    };
    let time = time.unwrap_or(USUAL_TIME);
    let observation = look(&question, time)?;
    ui.message(summary(&question, &observation, time));
    site.report.problems.extend(lint::check_segment(&site.profile, &observation.findings(&question)));
    site.report.clone().into_result()?;
    Ok(site)
}

fn without(cluster: &Cluster) -> Error {
    let balancer = cluster.endpoint.balancer.name;
    Error::new(Kind::Input, format!("the balancer `{balancer}` does not announce a VIP on the segment"))
        .hint("omit `--segment`")
}

fn summary(question: &Question, observation: &Observation, time: Duration) -> String {
    let identifiers: Vec<String> = observation.identifiers().iter().map(u8::to_string).collect();
    let identifiers = if identifiers.is_empty() { "none".to_owned() } else { identifiers.join(", ") };
    let (nodes, all) = (observation.nodes(question), question.nodes.len());
    let seconds = time.as_secs();
    format!(
        "`{}`, {seconds} s: found {nodes} of {all} nodes; virtual router IDs seen: {identifiers}",
        question.interface
    )
}
