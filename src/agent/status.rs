//! Result of the agent's run, stored in `/run/kiln/status.json`. World-readable: it contains no secrets.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::agent::places::Places;
use crate::agent::{clock, etcd, guard, segment};
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result, counted};
use crate::host;
use crate::seed::Identity;
use crate::segment::Finding;

/// Status of one agent run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Status {
    pub(crate) outcome: Outcome,
    /// Reason for a refusal, with the compared values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<Identity>,
    /// Digest of the applied seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<Digest>,
    /// Display name of the carrier of the seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    pub(crate) stages: Vec<Stage>,
    /// Changed paths.
    pub(crate) changed: Vec<String>,
    /// End of the run in seconds since 1970, according to the machine's clock.
    pub(crate) finished: u64,
    /// Correction of a clock that was behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) clock: Option<String>,
    /// Why this machine's etcd member is waiting, one sentence for each reason; determined later in the boot
    /// and stored separately.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) etcd: Vec<String>,
    /// Problems with the running member, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) problems: Vec<String>,
    /// Why this machine is not allowed to hold the VIP, if the guard decided so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vip: Option<String>,
    /// Segment conflicts over the VIP or the virtual router identifier; determined later in the boot and
    /// stored separately.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) segment: Vec<Finding>,
}

/// Outcome of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// This run configured the node from its seed.
    Applied,
    /// The node was already configured.
    Unchanged,
    /// Nothing was written.
    Refused,
}

/// One step of the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) microseconds: u64,
}

impl Status {
    /// Returns the status of a run that has just begun.
    pub(super) fn begin() -> Self {
        let (outcome, stages, changed) = (Outcome::Unchanged, Vec::new(), Vec::new());
        Self {
            outcome,
            reason: None,
            identity: None,
            seed: None,
            source: None,
            stages,
            changed,
            finished: 0,
            clock: None,
            etcd: Vec::new(),
            problems: Vec::new(),
            vip: None,
            segment: Vec::new(),
        }
    }

    /// Runs one stage and records its duration.
    pub(super) fn stage<T>(&mut self, name: &str, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let watch = host::clock::Stopwatch::start();
        let result = work(self);
        self.stages.push(Stage { name: name.to_owned(), microseconds: watch.microseconds() });
        result
    }

    /// Writes the status to its file.
    pub(super) fn write(&self, places: &Places) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).doing(Kind::Internal, || "writing the status".into())?;
        host::fs::write_atomic(&file(places), &text, host::fs::PUBLIC)
    }

    /// Reads the status of this boot.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the agent has not run since boot.
    pub(crate) fn read(places: &Places) -> Result<Self> {
        let path = file(places);
        let bytes = host::fs::read_if_exists(&path)?.ok_or_else(|| {
            Error::new(
                Kind::Input,
                format!("the agent has not run since boot: `{}` does not exist", path.display()),
            )
            .hint("run `kiln agent apply` on a machine that was booted from a kiln image")
        })?;
        let status: Self =
            serde_json::from_slice(&bytes).doing(Kind::Input, || format!("reading `{}`", path.display()))?;
        let settings = places.root.join(etcd::SETTINGS.trim_start_matches('/'));
        let (etcd, problems) = (etcd::waits_for(&settings), etcd::problems(&settings));
        let clock = clock::strays(&places.root).or(status.clock);
        Ok(Self {
            clock,
            etcd,
            problems,
            vip: guard::reason(&places.root),
            segment: segment::found(places)?,
            ..status
        })
    }

    /// Formats the status for users, one fact per line.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![match self.outcome {
            Outcome::Applied => format!("applied {}", counted(self.changed.len(), "change")),
            Outcome::Unchanged => "no changes were necessary".to_owned(),
            Outcome::Refused => {
                format!("refused: {}", self.reason.as_deref().unwrap_or("no reason was recorded"))
            }
        }];
        if let Some(identity) = &self.identity {
            let roles = identity.roles.join(", ");
            lines.push(format!("node     {} in cluster {} ({roles})", identity.node, identity.cluster));
        }
        let seed = self
            .seed
            .map(|seed| format!("seed     {} from {}", seed.short(), self.source.as_deref().unwrap_or("?")));
        lines.extend(seed);
        let stage = |stage: &Stage| {
            format!(
                "{:<8} {:>8.1} ms",
                stage.name,
                f64::from(u32::try_from(stage.microseconds).unwrap_or(u32::MAX)) / 1000.0
            )
        };
        lines.extend(self.stages.iter().map(stage));
        lines.extend(self.clock.iter().map(|clock| format!("clock    {clock}")));
        lines.extend(self.etcd.iter().map(|reason| format!("etcd     waiting: {reason}")));
        lines.extend(self.problems.iter().map(|problem| format!("etcd     {problem}")));
        lines.extend(self.vip.iter().map(|reason| format!("VIP      not held: {reason}")));
        lines.extend(
            self.segment.iter().map(|finding| format!("segment  {}; {}", finding.message, finding.fix)),
        );
        lines.join("\n") + "\n"
    }
}

fn file(places: &Places) -> PathBuf {
    places.runtime().join("status.json")
}
