//! `kiln lab`: the cluster on the machine at hand.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Subcommand;
use clap::builder::{PossibleValue, PossibleValuesParser};

use crate::cli::{Ui, input, rehearse};
use crate::error::Result;
use crate::host;
use crate::lab::{self, BACKENDS, Changes, Cut, Delay, Direction, Disk, Lab, Labs, NodeStatus, Part, Protocol};

/// Run the built cluster on this machine, break it, watch it
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

const EXAMPLES: &str = "\
Examples:
  kiln lab up
  kiln lab up --backend qemu out/ha
  kiln lab status
  kiln lab exec -- kubectl --kubeconfig out/ha/admin.kubeconfig get nodes
  kiln lab exec m1 -- journalctl --unit etcd
  kiln lab kill m1
  kiln lab kill m1 --lose-disk
  kiln lab start m1
  kiln lab start m1 --backend qemu --clock 2001-01-01T00:00:00
  kiln lab freeze m1 && sleep 20 && kiln lab thaw m1
  kiln lab unplug m1 && sleep 20 && kiln lab plug m1
  kiln lab cut m1 --protocol vrrp --direction out
  kiln lab cut m1 --from m2 --protocol tcp --port 2380
  kiln lab cut m1 --loss 5
  kiln lab cut m1 --delay 50ms --loss 5
  kiln lab slow m1
  kiln lab slow m1 --sync 500
  kiln lab fill m1
  kiln lab mend m1
  kiln lab down
  kiln lab rehearse out/ha --report rehearsal.html
  kiln lab rehearse --case holder-power --case api-server-hung --repeat 3";

#[derive(Debug, Subcommand)]
enum Action {
    /// Switch on the nodes of an output directory
    Up(Up),
    /// Show every node: running, configured, failed units, holder of the VIP
    Status {
        #[command(flatten)]
        lab: Which,
    },
    /// Run a program inside a node, or on this machine in the lab's network
    Exec(Exec),
    /// Cut a node's power
    Kill {
        #[command(flatten)]
        lab: Which,
        node: String,
        /// Lose its disk too: what starts next is a new machine with the same seed
        #[arg(long)]
        lose_disk: bool,
    },
    /// Switch a node on again
    Start {
        #[command(flatten)]
        lab: Which,
        node: String,
        /// Seed that it gets from now on, as one of `kiln order`
        #[arg(long, value_name = "FILE")]
        seed: Option<PathBuf>,
        /// How to run it from now on, on a disk of that backend's own
        #[arg(long, value_parser = backends())]
        backend: Option<String>,
        /// What its clock says whenever it is switched on from now on, in UTC
        #[arg(long, value_name = "TIME", value_parser = clock)]
        clock: Option<String>,
    },
    /// Stop all of a node: a container's programs, whose kernel still takes connections, or a virtual machine and its clock
    Freeze(Node),
    /// Let a frozen node go on
    Thaw(Node),
    /// Take a node's cable out
    Unplug(Node),
    /// Put a node's cable in again
    Plug(Node),
    /// Make a node's cable slow, or lose everything or some of it beside what it loses already
    Cut(CutArgs),
    /// Make a node's disk slow: each sync takes its time
    Slow {
        #[command(flatten)]
        node: Node,
        /// How long a sync of etcd's log takes on average
        #[arg(long, value_name = "MILLISECONDS", default_value_t = lab::SYNC, value_parser = clap::value_parser!(u32).range(20..=2000))]
        sync: u32,
    },
    /// Make a node's disk full, and what is freed on it, too
    Fill(Node),
    /// Make a node's cable whole again, and its disk fast, with room
    Mend(Node),
    /// Print what a node wrote to its console
    Console {
        #[command(flatten)]
        lab: Which,
        node: String,
    },
    /// End everything; nothing is left on this machine
    Down {
        #[command(flatten)]
        lab: Which,
    },
    /// Break the cluster in every way while clients use it, and hold what they see against the plan
    Rehearse(rehearse::Args),
    #[command(hide = true)]
    Supervise { part: Part, state: PathBuf },
}

#[derive(Debug, clap::Args)]
struct Up {
    /// Published output directory [default: out/CLUSTER beside the cluster file]
    #[arg(value_name = "OUT_DIR")]
    artifacts: Option<PathBuf>,
    /// How to run nodes
    #[arg(long, default_value = BACKENDS[0].name(), value_parser = backends())]
    backend: String,
    /// Only these nodes
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    nodes: Vec<String>,
    /// What the nodes' clocks say whenever they are switched on, in UTC: `2001-01-01T00:00:00`
    #[arg(long, value_name = "TIME", value_parser = clock)]
    clock: Option<String>,
    /// Stay until Ctrl-C, which ends the lab
    #[arg(long)]
    foreground: bool,
}

#[derive(Debug, clap::Args)]
struct Exec {
    #[command(flatten)]
    lab: Which,
    /// Node to run in; without it the program runs on this machine
    node: Option<String>,
    /// Program and arguments
    #[arg(last = true, required = true)]
    program: Vec<OsString>,
}

#[derive(Debug, clap::Args)]
struct Node {
    #[command(flatten)]
    lab: Which,
    node: String,
}

#[derive(Debug, clap::Args)]
struct CutArgs {
    #[command(flatten)]
    node: Node,
    /// Only what goes between the node and this other one
    #[arg(long, value_name = "OTHER")]
    from: Option<String>,
    /// Only what goes this way, as the node sees it
    #[arg(long)]
    direction: Option<Direction>,
    /// Only what is of this protocol
    #[arg(long)]
    protocol: Option<Protocol>,
    /// Only what has this port at either end
    #[arg(long, requires = "protocol")]
    port: Option<u16>,
    /// How many of a hundred frames are lost [default: 100, with `--delay` none]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    loss: Option<u8>,
    /// Make round trips take this much longer, half of it each way or all of it in `--direction`; replaces an earlier delay
    #[arg(long, value_name = "TIME", value_parser = Delay::parse, conflicts_with_all = ["from", "protocol", "port"])]
    delay: Option<u16>,
}

impl CutArgs {
    fn run(&self) -> Result<()> {
        let (lab, node) = (self.node.lab.find()?, &self.node.node);
        if let Some(milliseconds) = self.delay {
            lab.delay(node, Delay { milliseconds, direction: self.direction })?;
        }
        self.cut().map_or(Ok(()), |cut| lab.cut(node, cut))
    }

    /// What is lost, if anything: a cable that is only slow loses nothing.
    fn cut(&self) -> Option<Cut> {
        let Self { from, direction, protocol, port, delay, .. } = self;
        let loss = self.loss.or_else(|| delay.is_none().then_some(100))?;
        Some(Cut { from: from.clone(), direction: *direction, protocol: *protocol, port: *port, loss })
    }
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The lab's cluster, if several labs are up
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

impl Which {
    fn find(&self) -> Result<Lab> {
        Labs::of_this_user().find(self.cluster.as_deref())
    }
}

/// A date and a time as QEMU's `-rtc base=` takes them.
fn clock(text: &str) -> Result<String, String> {
    let is_like = |(pattern, letter): (char, char)| if pattern == '0' { letter.is_ascii_digit() } else { letter == pattern };
    let pattern = "0000-00-00T00:00:00";
    let fits = text.len() == pattern.len() && pattern.chars().zip(text.chars()).all(is_like);
    if fits { Ok(text.to_owned()) } else { Err("write it as 2001-01-01T00:00:00".into()) }
}

fn backends() -> PossibleValuesParser {
    BACKENDS.iter().map(|backend| PossibleValue::new(backend.name()).help(backend.summary())).collect::<Vec<_>>().into()
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    match &args.action {
        Action::Up(up) => run_up(up, ui),
        Action::Status { lab } => ui.show(&lab.find()?.status()?, |nodes| table(nodes)),
        Action::Exec(exec) => {
            let status = exec.lab.find()?.exec(exec.node.as_deref(), &exec.program)?;
            if status.success() { Ok(()) } else { host::process::end_as(status) }
        }
        Action::Kill { lab, node, lose_disk } => lab.find()?.kill(node, if *lose_disk { Disk::Lost } else { Disk::Kept }),
        Action::Start { lab, node, seed, backend, clock } => {
            lab.find()?.start(node, Changes { backend: backend.clone(), clock: clock.clone(), seed: seed.clone() })
        }
        Action::Freeze(Node { lab, node }) => lab.find()?.freeze(node, true),
        Action::Thaw(Node { lab, node }) => lab.find()?.freeze(node, false),
        Action::Unplug(Node { lab, node }) => lab.find()?.unplug(node, true),
        Action::Plug(Node { lab, node }) => lab.find()?.unplug(node, false),
        Action::Cut(args) => args.run(),
        Action::Slow { node: Node { lab, node }, sync } => lab.find()?.slow(node, *sync),
        Action::Fill(Node { lab, node }) => lab.find()?.fill(node),
        Action::Mend(Node { lab, node }) => lab.find()?.mend(node),
        Action::Console { lab, node } => {
            let lab = lab.find()?;
            ui.print(host::fs::read(&lab.console_of(lab.guest(node)?))?)
        }
        Action::Down { lab } => lab.find()?.down(),
        Action::Rehearse(args) => rehearse::run(args, ui),
        Action::Supervise { part, state } => lab::supervise(state, *part),
    }
}

fn run_up(args: &Up, ui: &Ui) -> Result<()> {
    let artifacts = args.artifacts.clone().map_or_else(|| published(ui), Ok)?;
    let changes = Changes { backend: Some(args.backend.clone()), clock: args.clock.clone(), seed: None };
    let started = Labs::of_this_user().up(&artifacts, &args.nodes, &changes, &|step| ui.message(step))?;
    if args.foreground {
        ui.message("the lab is up; Ctrl-C ends it");
        return started.stay();
    }
    ui.message("the lab is up: `kiln lab status` shows it, `kiln lab down` ends it");
    started.detach()
}

/// Where `kiln build` publishes what the cluster file describes.
pub(super) fn published(ui: &Ui) -> Result<PathBuf> {
    let name = input::cluster(ui)?.name;
    Ok(ui.global().file.with_file_name("out").join(name))
}

fn table(nodes: &[NodeStatus]) -> String {
    let width = nodes.iter().map(|node| node.state.name.len()).max().unwrap_or(0).max(4);
    let is_mixed = nodes.iter().any(|node| node.state.backend != nodes[0].state.backend);
    let mut text = format!("{:<width$}  {:<15}  {:<9}  {:<10}  {:<3}  AGENT\n", "NODE", "ADDRESS", "POWER", "SYSTEM", "VIP");
    for NodeStatus { state, agent, system, failed_units, holds_vip } in nodes {
        let power = match (state.running, state.frozen) {
            (true, true) => "frozen".to_owned(),
            (true, false) => format!("on {} s", state.uptime),
            (false, _) => "off".to_owned(),
        };
        let vip = if *holds_vip { "vip" } else { "-" };
        let [system, agent] = [system, agent].map(|text| text.as_deref().unwrap_or("-"));
        let agent = state.ended.as_deref().unwrap_or(agent);
        let _ = writeln!(text, "{:<width$}  {:<15}  {power:<9}  {system:<10}  {vip:<3}  {agent}", state.name, state.address.to_string());
        if is_mixed || state.clock.is_some() {
            let clock = state.clock.as_ref().map(|clock| format!(", clock from {clock}")).unwrap_or_default();
            let _ = writeln!(text, "{:<width$}  {}{clock}", "", state.backend);
        }
        if state.unplugged {
            let _ = writeln!(text, "{:<width$}  unplugged", "");
        }
        if let Some(delay) = &state.delay {
            let _ = writeln!(text, "{:<width$}  delay: {delay}", "");
        }
        for cut in &state.cuts {
            let _ = writeln!(text, "{:<width$}  cut: {cut}", "");
        }
        for fault in &state.disk {
            let _ = writeln!(text, "{:<width$}  disk: {fault}", "");
        }
        for unit in failed_units {
            let _ = writeln!(text, "{:<width$}  failed: {unit}", "");
        }
    }
    text
}
