//! Main loop of the guard: checks, decides and acts for as long as the machine runs.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::SETTINGS;
use super::cluster::{self, Seen, seen};
use super::own::Own;
use super::rival::Rival;
use super::settings::Settings;
use super::verdict::{Judge, Verdict, Why};
use crate::error::{Doing, Kind, Result};
use crate::host;
use crate::host::clock::Stopwatch;
use crate::segment::Adverts;

/// Delay beyond a pause that shows that this machine was stopped: by then, other machines have missed its
/// advertisements.
const NOT_RUNNING: Duration = Duration::from_secs(1);

/// Verdict before the first check.
const UNKNOWN: Verdict = Verdict::MayNot(Why::Unknown);

/// Content of the status file for `kiln agent status`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Written {
    reason: Option<String>,
}

/// Runs until the process is killed.
///
/// # Errors
///
/// Fails if the settings can't be read, or if this process lacks permissions.
pub(crate) fn watch(path: &Path, journal: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let settings = Settings::read(path)?;
    let (own, cluster) = (Own::new(&settings)?, cluster::client(&settings)?);
    let adverts = Adverts::listen(settings.vip, settings.virtual_router_id)?;
    let standing = Seen::default();
    let mut guard = Guard {
        settings: &settings,
        journal,
        judge: Judge::new(settings.fall),
        left: None,
        rival: Rival::default(),
        held: settings.holds_vip()?,
        running: Stopwatch::start(),
        last: Stopwatch::start(),
        failure: String::new(),
    };
    settings.tidy()?;
    // keepalived needs a verdict when it starts.
    guard.leave(UNKNOWN)?;
    host::notify::ready()?;
    std::thread::scope(|scope| {
        scope.spawn(|| -> ! { cluster::watch(&settings, &cluster, &standing) });
        loop {
            guard.keep(|guard| guard.hold_rightly(&adverts));
            let verdict = guard.judge.look(own.look(), seen(&standing));
            guard.keep(|guard| guard.leave(verdict));
            guard.last = Stopwatch::start();
            host::clock::sleep(settings.interval);
        }
    })
}

struct Guard<'a> {
    settings: &'a Settings,
    journal: &'a (dyn Fn(&str) + Sync),
    judge: Judge,
    /// Verdict last written for keepalived; `None` if the file still contains the verdict from an earlier
    /// run.
    left: Option<Verdict>,
    rival: Rival,
    /// True if this machine held the VIP at the last check.
    held: bool,
    running: Stopwatch,
    /// Time since the last check.
    last: Stopwatch,
    /// Last error.
    failure: String,
}

impl Guard<'_> {
    /// Runs one part of the work. An error is reported once, and the work is retried at the next check.
    fn keep(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) {
        let Err(err) = work(self) else { return };
        let failure = err.to_string();
        if failure != self.failure {
            (self.journal)(&failure);
            self.failure = failure;
        }
    }

    /// Writes the verdict for keepalived, if it has changed. The verdict from an earlier run is kept until a
    /// new one is known, so that the machine continues to serve if this program exits.
    fn leave(&mut self, verdict: Verdict) -> Result<()> {
        if self.left == Some(verdict) || (verdict == UNKNOWN && self.settings.verdict.exists()) {
            return Ok(());
        }
        let (value, reason) = match verdict {
            Verdict::May => ("0\n", None),
            Verdict::MayNot(why) => ("1\n", Some(why.reason())),
        };
        host::fs::write_atomic(&self.settings.verdict, value.as_bytes(), host::fs::PUBLIC)?;
        self.left = Some(verdict);
        (self.journal)(&reason.map_or("this machine is allowed to hold the VIP".into(), |reason| {
            format!("this machine is not allowed to hold the VIP: {reason}")
        }));
        let written = Written { reason: reason.map(str::to_owned) };
        let text =
            serde_json::to_vec(&written).doing(Kind::Internal, || "writing the guard's verdict".into())?;
        host::fs::write_atomic(&self.settings.status, &text, host::fs::PUBLIC)
    }

    /// Ensures that this machine does not hold the VIP while another machine does, and that no client waits
    /// for a machine that no longer holds the VIP.
    fn hold_rightly(&mut self, adverts: &Adverts) -> Result<()> {
        let stopped = self.last.elapsed() > self.settings.interval + NOT_RUNNING;
        let holds = self.settings.holds_vip()?;
        let others = adverts.holders()?;
        let other = others.into_iter().rfind(|other| self.settings.peers.contains(other));
        if !holds {
            self.rival.forget();
            if self.held {
                self.settings.end_connections()?;
            }
            self.held = false;
            return Ok(());
        }
        self.held = true;
        // If its priority is higher, keepalived would take the VIP back, which is a second interruption. The
        // other machine's advertisements may not have arrived yet.
        if stopped && !self.settings.peers.is_empty() {
            let verdict = self.judge.replaced();
            return self.leave(verdict);
        }
        self.rival.hear(self.running.elapsed(), other).map_or(Ok(()), |other| self.oust(other))
    }

    /// Kills a keepalived that does not release the VIP; systemd or the kubelet restarts it.
    fn oust(&mut self, other: IpAddr) -> Result<()> {
        self.rival.forget();
        (self.journal)(&format!(
            "{other} also holds the VIP, and keepalived has not resolved the conflict: killing keepalived \
            and removing the VIP"
        ));
        host::process::kill_all("keepalived")?;
        // The next check closes the connections.
        self.settings.remove_vip()
    }
}

/// Returns why this machine is not allowed to hold the VIP, if the guard decided so.
pub(crate) fn reason(root: &Path) -> Option<String> {
    let settings = Settings::read(&root.join(SETTINGS.trim_start_matches('/'))).ok()?;
    let bytes = host::fs::read_if_exists(&settings.status).ok()??;
    serde_json::from_slice::<Written>(&bytes).ok()?.reason
}
