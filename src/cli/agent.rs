//! `kiln agent`: what runs on a node.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;

use crate::agent::{self, Places, Request, Status, etcd, guard};
use crate::cli::Ui;
use crate::error::{Error, Result};
use crate::host;

/// Make this machine the node that its seed describes
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  kiln agent status
  kiln agent etcd snapshots
  kiln agent apply --root /sysroot
  kiln agent apply --seed /media/m1.seed";

#[derive(Debug, Subcommand)]
enum Action {
    /// Find this machine's seed and make /etc and /var of it
    Apply(Apply),
    /// Apply, then become systemd: the first process of a container
    Init {
        /// Arguments for systemd
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Tell every console when the boot has ended, and what it waits for until then
    Report,
    /// Tell every console why the boot failed, then restart or stop the machine
    Failure,
    /// Look whether somebody else on the segment has the VIP or its virtual router identifier
    Segment,
    /// Set this machine's clock when it alone is wrong among etcd's members
    Clock,
    /// Decide whether this machine may hold the VIP, until it is stopped
    Guard {
        /// What the node's seed says of the VIP
        #[arg(long, default_value = guard::SETTINGS, value_name = "FILE")]
        settings: PathBuf,
    },
    /// Decide how this node's etcd member starts, and answer the other members
    Etcd(Etcd),
    /// Show what the agent did in this boot
    Status,
}

#[derive(Debug, clap::Args)]
struct Etcd {
    #[command(subcommand)]
    action: EtcdAction,
    /// What the node's seed says of its cluster
    #[arg(long, global = true, default_value = etcd::SETTINGS, value_name = "FILE")]
    settings: PathBuf,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum EtcdAction {
    /// Wait until etcd may start, and leave the flags that it needs
    Start,
    /// Answer the other members, until it is stopped
    Serve,
    /// End connections to other members that have fallen silent, until it is stopped
    Streams,
    /// Show what `start` would do now
    Outlook,
    /// Save a snapshot of etcd now, as is done every six hours: do it before an update
    Snapshot,
    /// List the snapshots that this machine keeps, newest first
    Snapshots,
}

#[derive(Debug, clap::Args)]
struct Apply {
    /// Root filesystem to configure
    #[arg(long, default_value = "/", value_name = "DIR")]
    root: PathBuf,
    /// Consider only this seed
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// Write into /etc itself, not into an overlay in memory
    #[arg(long)]
    no_mount: bool,
    /// Seconds to wait for a device that carries a seed
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    wait: u64,
}

impl Args {
    /// Whether it runs until it is stopped.
    pub(super) fn is_daemon(&self) -> bool {
        matches!(
            &self.action,
            Action::Clock
                | Action::Guard { .. }
                | Action::Etcd(Etcd { action: EtcdAction::Start | EtcdAction::Serve | EtcdAction::Streams, .. })
        )
    }
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    match &args.action {
        Action::Apply(apply) => run_apply(apply, ui),
        Action::Init { arguments } => {
            let tell = |status: &Status| ui.message(status.text().trim_end());
            agent::init(arguments, tell).inspect_err(tell_consoles)
        }
        Action::Report => agent::report(&Places::of_this_machine(Path::new("/"))?),
        Action::Failure => agent::failure(&Places::of_this_machine(Path::new("/sysroot"))?),
        Action::Segment => {
            if let Some(err) = agent::segment(&Places::of_this_machine(Path::new("/"))?)? {
                ui.message(format!("warning: nobody could look at the segment: {err}"));
            }
            Ok(())
        }
        Action::Clock => agent::clock::watch(&|line| ui.message(line)),
        Action::Guard { settings } => guard::watch(settings, &|line| ui.message(line)),
        Action::Etcd(args) => {
            let settings = etcd::Settings::read(&args.settings)?;
            match args.action {
                EtcdAction::Start => etcd::start(&settings, &|line| ui.message(line)),
                EtcdAction::Serve => etcd::serve(&settings, &|line| ui.message(line)),
                EtcdAction::Streams => etcd::streams(&settings, &|line| ui.message(line)),
                EtcdAction::Snapshot => ui.show(&etcd::save(&settings)?, |kept| snapshots(std::slice::from_ref(kept))),
                EtcdAction::Snapshots => ui.show(&etcd::kept(&settings)?, |kept| snapshots(kept)),
                EtcdAction::Outlook => ui.show(&etcd::outlook(&settings)?, etcd::Outlook::text),
            }
        }
        Action::Status => {
            let status = Status::read(&Places::of_this_machine(Path::new("/"))?)?;
            ui.show(&status, Status::text)
        }
    }
}

/// A line for each; all of them were read and found sound when they were saved.
fn snapshots(kept: &[etcd::Kept]) -> String {
    let line = |kept: &etcd::Kept| {
        let etcd::Kept { number, revision, sha256, size, saved, .. } = kept;
        format!("{number:>6}  revision {revision:<12} {:>8} KiB  {saved}  {sha256}\n", size.div_ceil(1024))
    };
    kept.iter().map(line).collect()
}

fn run_apply(args: &Apply, ui: &Ui) -> Result<()> {
    let request = Request { seed: args.seed.clone(), in_place: args.no_mount, patience: Duration::from_secs(args.wait) };
    let places = Places::of_this_machine(&args.root)?;
    let status = agent::apply(&places, &request).inspect_err(|err| {
        // With an explicit seed a person sits here; otherwise this is a boot, and somebody may watch any console.
        if args.seed.is_none() {
            tell_consoles(err);
        }
    })?;
    ui.show(&status, Status::text)
}

fn tell_consoles(err: &Error) {
    let hints: String = err.hints().iter().map(|hint| format!("hint: {hint}\n")).collect();
    host::console::announce(&format!("\nkiln: this machine is not configured: {err}\n{hints}"));
}
