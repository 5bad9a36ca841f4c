//! `kiln agent`: the program that runs on a node.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;

use crate::agent::{self, Places, Request, Status, etcd, guard};
use crate::cli::Ui;
use crate::error::{Error, Result};
use crate::host;
use crate::words::{KubernetesVersion, Runtime};

/// Configure this machine as the node described by its seed
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
    /// Find this machine's seed and configure /etc and /var from it
    Apply(Apply),
    /// Apply the seed, then exec systemd, as PID 1 of a container
    Init {
        /// Arguments for systemd
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Report on every console what the boot is waiting for and when it has finished
    Report,
    /// Report on every console why the boot failed, then restart, power off or halt the machine
    Failure,
    /// Check whether another machine on the segment uses the VIP or its virtual router ID
    Segment,
    /// Correct this machine's clock if it is the only wrong clock among the etcd members
    Clock,
    /// Decide whether this machine is allowed to hold the VIP; runs until stopped
    Guard {
        /// VIP settings from the node's seed
        #[arg(long, default_value = guard::SETTINGS, value_name = "FILE")]
        settings: PathBuf,
    },
    /// Decide how this node's etcd member starts, and respond to the other members
    Etcd(Etcd),
    /// Import the machine image's container images into the container runtime
    Images {
        /// Container runtime that runs this machine's pods
        #[arg(long, value_name = "NAME")]
        runtime: Runtime,
    },
    /// Set the labels and pod networks that nodes are not allowed to set themselves; fails until every node
    /// has registered
    Nodes {
        /// File with one node per line: name, pod network or `-`, labels
        file: PathBuf,
        /// Credentials for the API server
        #[arg(long, value_name = "FILE")]
        kubeconfig: PathBuf,
    },
    /// Record the cluster that kubeadm created, or join the cluster already recorded
    Join {
        /// Kubernetes version of this node
        version: KubernetesVersion,
    },
    /// Show what the agent did during this boot
    Status,
}

#[derive(Debug, clap::Args)]
struct Etcd {
    #[command(subcommand)]
    action: EtcdAction,
    /// Cluster settings from the node's seed
    #[arg(long, global = true, default_value = etcd::SETTINGS, value_name = "FILE")]
    settings: PathBuf,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum EtcdAction {
    /// Wait until etcd may start, and write its flags
    Start,
    /// Respond to the other members; runs until stopped
    Serve,
    /// Close connections to members that no longer respond; runs until stopped
    Streams,
    /// Show what `start` would do now
    Outlook,
    /// Save an etcd snapshot now, in addition to those taken every six hours; recommended before an update
    Snapshot,
    /// List the snapshots kept on this machine, newest first
    Snapshots,
}

#[derive(Debug, clap::Args)]
struct Apply {
    /// Root filesystem to configure
    #[arg(long, default_value = "/", value_name = "DIR")]
    root: PathBuf,
    /// Use only this seed
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// Write to /etc itself instead of an in-memory overlay
    #[arg(long)]
    no_mount: bool,
    /// Seconds to wait for a device with a seed
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    wait: u64,
}

impl Args {
    /// Checks whether the action runs until it is stopped.
    pub(super) fn is_daemon(&self) -> bool {
        matches!(
            &self.action,
            Action::Clock
                | Action::Guard { .. }
                | Action::Etcd(Etcd {
                    action: EtcdAction::Start | EtcdAction::Serve | EtcdAction::Streams,
                    ..
                })
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
                ui.message(format!("warning: could not check the segment: {err}"));
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
                EtcdAction::Snapshot => {
                    ui.show(&etcd::save(&settings)?, |kept| snapshots(std::slice::from_ref(kept)))
                }
                EtcdAction::Snapshots => ui.show(&etcd::kept(&settings)?, |kept| snapshots(kept)),
                EtcdAction::Outlook => ui.show(&etcd::outlook(&settings)?, etcd::Outlook::text),
            }
        }
        Action::Images { runtime } => agent::preload(*runtime, &|line| ui.message(line)),
        Action::Nodes { file, kubeconfig } => agent::describe(file, kubeconfig, &|line| ui.message(line)),
        Action::Join { version } => agent::join(*version, &|line| ui.message(line)),
        Action::Status => {
            let status = Status::read(&Places::of_this_machine(Path::new("/"))?)?;
            ui.show(&status, Status::text)
        }
    }
}

/// Formats one line per snapshot; each was verified when it was saved.
fn snapshots(kept: &[etcd::Kept]) -> String {
    let line = |kept: &etcd::Kept| {
        let etcd::Kept { number, revision, sha256, size, saved, .. } = kept;
        format!("{number:>6}  revision {revision:<12} {:>8} KiB  {saved}  {sha256}\n", size.div_ceil(1024))
    };
    kept.iter().map(line).collect()
}

fn run_apply(args: &Apply, ui: &Ui) -> Result<()> {
    let request = Request {
        seed: args.seed.clone(),
        in_place: args.no_mount,
        patience: Duration::from_secs(args.wait),
    };
    let places = Places::of_this_machine(&args.root)?;
    let status = agent::apply(&places, &request).inspect_err(|err| {
        // An explicit seed means an interactive user; otherwise this is a boot, and an operator may be
        // watching any console.
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
