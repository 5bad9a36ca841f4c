//! What the agent did, as `/run/kiln/status.json` tells it. Anybody may read it: it holds no secret.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::agent::places::Places;
use crate::agent::{clock, etcd, guard, segment};
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::host;
use crate::seed::Identity;
use crate::segment::Finding;

/// One run of the agent.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Status {
    pub(crate) outcome: Outcome,
    /// Why it refused, with what it compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) identity: Option<Identity>,
    /// Digest of the applied seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<Digest>,
    /// Where the seed was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    pub(crate) stages: Vec<Stage>,
    /// Paths that had to be changed.
    pub(crate) changed: Vec<String>,
    /// Seconds since 1970, by the machine's clock.
    pub(crate) finished: u64,
    /// What was done about a clock in the past.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) clock: Option<String>,
    /// What this machine's member of etcd waits for, one sentence each; known later in the boot, and kept apart from the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) etcd: Vec<String>,
    /// What is wrong with the member that runs, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) problems: Vec<String>,
    /// Why this machine does not hold the VIP, where a guard decides that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) vip: Option<String>,
    /// Who else on the segment has what is this cluster's; told later in the boot, and kept apart from the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) segment: Vec<Finding>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// The node is what its seed says, by this run's work.
    Applied,
    /// The node was so already.
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
    /// A run that has done nothing yet.
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

    /// Runs one stage and notes how long it took.
    pub(super) fn stage<T>(&mut self, name: &str, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let watch = host::clock::Stopwatch::start();
        let result = work(self);
        self.stages.push(Stage { name: name.to_owned(), microseconds: watch.microseconds() });
        result
    }

    /// Writes the status where everybody looks for it.
    pub(super) fn write(&self, places: &Places) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).doing(Kind::Internal, || "writing the status".into())?;
        host::fs::write_atomic(&file(places), &text, host::fs::PUBLIC)
    }

    /// Reads the status of this boot.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the agent has not run in this boot.
    pub(crate) fn read(places: &Places) -> Result<Self> {
        let path = file(places);
        let bytes = host::fs::read_if_exists(&path)?.ok_or_else(|| {
            Error::new(Kind::Input, format!("the agent has not run in this boot: there is no `{}`", path.display()))
                .hint("run `kiln agent apply` on a machine that was booted from a kiln image")
        })?;
        let status: Self = serde_json::from_slice(&bytes).doing(Kind::Input, || format!("reading `{}`", path.display()))?;
        let settings = places.root.join(etcd::SETTINGS.trim_start_matches('/'));
        let (etcd, problems) = (etcd::waits_for(&settings), etcd::problems(&settings));
        let clock = clock::strays(&places.root).or(status.clock);
        Ok(Self { clock, etcd, problems, vip: guard::reason(&places.root), segment: segment::found(places)?, ..status })
    }

    /// What a person wants to know, one fact a line.
    pub(crate) fn text(&self) -> String {
        let mut lines = vec![match self.outcome {
            Outcome::Applied => format!("applied {} changes", self.changed.len()),
            Outcome::Unchanged => "nothing had to change".to_owned(),
            Outcome::Refused => format!("refused: {}", self.reason.as_deref().unwrap_or("no reason was noted")),
        }];
        if let Some(identity) = &self.identity {
            let roles = identity.roles.join(", ");
            lines.push(format!("node     {} of cluster {} ({roles})", identity.node, identity.cluster));
        }
        let seed = self.seed.map(|seed| format!("seed     {} from {}", seed.short(), self.source.as_deref().unwrap_or("?")));
        lines.extend(seed);
        let stage = |stage: &Stage| {
            format!("{:<8} {:>8.1} ms", stage.name, f64::from(u32::try_from(stage.microseconds).unwrap_or(u32::MAX)) / 1000.0)
        };
        lines.extend(self.stages.iter().map(stage));
        lines.extend(self.clock.iter().map(|clock| format!("clock    {clock}")));
        lines.extend(self.etcd.iter().map(|reason| format!("etcd     waiting: {reason}")));
        lines.extend(self.problems.iter().map(|problem| format!("etcd     {problem}")));
        lines.extend(self.vip.iter().map(|reason| format!("VIP      not here: {reason}")));
        lines.extend(self.segment.iter().map(|finding| format!("segment  {}; {}", finding.message, finding.fix)));
        lines.join("\n") + "\n"
    }
}

fn file(places: &Places) -> PathBuf {
    places.runtime().join("status.json")
}
