//! Looks, judges, and does what follows, for as long as the machine is on.

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

/// A pause that is longer by so much was none of ours, and another machine has missed this one's advertisements by its end.
const NOT_RUNNING: Duration = Duration::from_secs(1);

/// Before anything was seen.
const UNKNOWN: Verdict = Verdict::MayNot(Why::Unknown);

/// What is kept for `kiln agent status`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Written {
    reason: Option<String>,
}

/// Looks until the process is ended.
///
/// # Errors
///
/// Settings that can't be read, and what this process may not do.
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
    // keepalived finds a verdict when it starts.
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
    /// The verdict that keepalived has; none where it has that of an earlier run.
    left: Option<Verdict>,
    rival: Rival,
    /// Whether this machine held the VIP when it was looked at last.
    held: bool,
    running: Stopwatch,
    /// Since the last look.
    last: Stopwatch,
    /// What went wrong last.
    failure: String,
}

impl Guard<'_> {
    /// Does a part of the work. What fails is reported once, and tried again at the next look.
    fn keep(&mut self, work: impl FnOnce(&mut Self) -> Result<()>) {
        let Err(err) = work(self) else { return };
        let failure = err.to_string();
        if failure != self.failure {
            (self.journal)(&failure);
            self.failure = failure;
        }
    }

    /// Gives keepalived a verdict, if it is another one. That of a run before stays until more is known: this program may end, the machine
    /// serves on.
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
        (self.journal)(
            &reason.map_or("this machine may hold the VIP".into(), |reason| format!("this machine does not hold the VIP: {reason}")),
        );
        let written = Written { reason: reason.map(str::to_owned) };
        let text = serde_json::to_vec(&written).doing(Kind::Internal, || "writing the verdict".into())?;
        host::fs::write_atomic(&self.settings.status, &text, host::fs::PUBLIC)
    }

    /// Sees to it that the VIP is not here when it is elsewhere, and that no client waits for a machine that no longer holds it.
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
        // keepalived would take it back, if its priority is higher: a second interruption. The other's advertisements may be on their way yet.
        if stopped && !self.settings.peers.is_empty() {
            let verdict = self.judge.replaced();
            return self.leave(verdict);
        }
        self.rival.hear(self.running.elapsed(), other).map_or(Ok(()), |other| self.oust(other))
    }

    /// Ends a keepalived that does not give the VIP up; systemd or the kubelet starts another one.
    fn oust(&mut self, other: IpAddr) -> Result<()> {
        self.rival.forget();
        (self.journal)(&format!("{other} holds the VIP, too, and keepalived does not settle that: it is ended here, and the VIP removed"));
        host::process::kill_all("keepalived")?;
        // The next look ends the connections.
        self.settings.remove_vip()
    }
}

/// Why this machine does not hold the VIP, if a guard says so.
pub(crate) fn reason(root: &Path) -> Option<String> {
    let settings = Settings::read(&root.join(SETTINGS.trim_start_matches('/'))).ok()?;
    let bytes = host::fs::read_if_exists(&settings.status).ok()??;
    serde_json::from_slice::<Written>(&bytes).ok()?.reason
}
