//! `kiln lab`: runs the cluster on this machine.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use clap::builder::{PossibleValue, PossibleValuesParser};

use crate::cli::{Ui, input, rehearse};
use crate::error::Result;
use crate::host;
use crate::lab::{
    self, BACKENDS, Changes, Cut, Delay, Direction, Disk, Lab, Labs, NodeStatus, Part, Protocol, Wanted,
};

/// Run the built cluster on this machine and inject faults
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
    /// Start the nodes in an output directory
    Up(Up),
    /// Show the state of every node, its failed units, and which node holds the VIP
    Status {
        #[command(flatten)]
        lab: Which,
    },
    /// Run a program on a node, or on this machine inside the lab's network
    Exec(Exec),
    /// Cut a node's power
    Kill {
        #[command(flatten)]
        lab: Which,
        node: String,
        /// Also discard the node's disk, so that the node next starts as a new machine with the same seed
        #[arg(long)]
        lose_disk: bool,
    },
    /// Power a node back on
    Start {
        #[command(flatten)]
        lab: Which,
        node: String,
        /// Seed to attach from now on, such as a seed written by `kiln order`
        #[arg(long, value_name = "FILE")]
        seed: Option<PathBuf>,
        /// Backend to run the node with from now on, on a separate disk
        #[arg(long, value_parser = backends())]
        backend: Option<String>,
        /// UTC time to set the node's clock to at every start from now on
        #[arg(long, value_name = "TIME", value_parser = clock)]
        clock: Option<String>,
    },
    /// Freeze a node: a container's processes, while the kernel still accepts connections, or a virtual
    /// machine and its clock
    Freeze(Node),
    /// Resume a frozen node
    Thaw(Node),
    /// Unplug a node's network cable
    Unplug(Node),
    /// Plug a node's network cable back in
    Plug(Node),
    /// Delay a node's traffic, or drop all or part of it; earlier cuts stay in effect
    Cut(CutArgs),
    /// Slow down a node's disk: delay each sync
    Slow {
        #[command(flatten)]
        node: Node,
        /// Average duration of an etcd log sync
        #[arg(long, value_name = "MILLISECONDS", default_value_t = lab::SYNC, value_parser = clap::value_parser!(u32).range(20..=2000))]
        sync: u32,
    },
    /// Fill a node's disk, including space that is freed later
    Fill(Node),
    /// Remove a node's cuts, delays and disk faults
    Mend(Node),
    /// Print a node's console output
    Console {
        #[command(flatten)]
        lab: Which,
        node: String,
    },
    /// Stop the lab and remove everything that it created on this machine
    Down {
        #[command(flatten)]
        lab: Which,
    },
    /// Inject every fault while clients use the cluster, and compare the measured outages with the plan
    Rehearse(rehearse::Args),
    #[command(hide = true)]
    Supervise { part: Part, state: PathBuf },
}

#[derive(Debug, clap::Args)]
struct Up {
    /// Published output directory [default: out/CLUSTER next to the cluster file]
    #[arg(value_name = "OUT_DIR")]
    artifacts: Option<PathBuf>,
    /// Backend that runs the nodes
    #[arg(long, default_value = BACKENDS[0].name(), value_parser = backends())]
    backend: String,
    /// Start only these nodes
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    nodes: Vec<String>,
    /// UTC time to set the nodes' clocks to at every start, such as `2001-01-01T00:00:00`
    #[arg(long, value_name = "TIME", value_parser = clock)]
    clock: Option<String>,
    /// Stay in the foreground; Ctrl-C stops the lab
    #[arg(long)]
    foreground: bool,
}

#[derive(Debug, clap::Args)]
struct Exec {
    #[command(flatten)]
    lab: Which,
    /// Node to run the program on [default: this machine]
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
    /// Only traffic between the node and this other node
    #[arg(long, value_name = "OTHER")]
    from: Option<String>,
    /// Only traffic in this direction, as seen from the node
    #[arg(long)]
    direction: Option<Direction>,
    /// Only traffic that uses this protocol
    #[arg(long)]
    protocol: Option<Protocol>,
    /// Only traffic with this source or destination port
    #[arg(long, requires = "protocol")]
    port: Option<u16>,
    /// Percentage of frames to drop [default: 100, or 0 with `--delay`]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    loss: Option<u8>,
    /// Extend round trips by this time: half each way, or all of it in `--direction`; replaces an earlier
    /// delay
    #[arg(long, value_name = "TIME", value_parser = Delay::parse, conflicts_with_all = ["from", "protocol", "port"])]
    delay: Option<u16>,
}

impl CutArgs {
    fn run(&self, ui: &Ui) -> Result<()> {
        let (lab, node) = (self.node.lab.find(ui)?, &self.node.node);
        if let Some(milliseconds) = self.delay {
            lab.delay(node, Delay { milliseconds, direction: self.direction })?;
        }
        self.cut().map_or(Ok(()), |cut| lab.cut(node, cut))
    }

    /// Returns the traffic to drop, if any: a delay alone drops nothing.
    fn cut(&self) -> Option<Cut> {
        let Self { from, direction, protocol, port, delay, .. } = self;
        let loss = self.loss.or_else(|| delay.is_none().then_some(100))?;
        Some(Cut { from: from.clone(), direction: *direction, protocol: *protocol, port: *port, loss })
    }
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Name of the lab's cluster [default: from the cluster file]
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

impl Which {
    /// Finds the named lab, or the cluster file's lab; without a cluster file, the only lab.
    fn find(&self, ui: &Ui) -> Result<Lab> {
        let file = &ui.global().file;
        let wanted = match &self.cluster {
            Some(name) => Wanted::Named(name.clone()),
            None if file.exists() => Wanted::Of(absolute(&published(ui)?)),
            None => Wanted::Any,
        };
        Labs::of_this_user().find(&wanted)
    }
}

/// Returns a path in the form that labs record; the path may no longer exist.
fn absolute(path: &Path) -> PathBuf {
    path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned())
}

/// Checks that a date and time has the format of QEMU's `-rtc base=`.
fn clock(text: &str) -> Result<String, String> {
    let is_like = |(pattern, letter): (char, char)| {
        if pattern == '0' { letter.is_ascii_digit() } else { letter == pattern }
    };
    let pattern = "0000-00-00T00:00:00";
    let fits = text.len() == pattern.len() && pattern.chars().zip(text.chars()).all(is_like);
    if fits { Ok(text.to_owned()) } else { Err("use the format 2001-01-01T00:00:00".into()) }
}

fn backends() -> PossibleValuesParser {
    BACKENDS
        .iter()
        .map(|backend| PossibleValue::new(backend.name()).help(backend.summary()))
        .collect::<Vec<_>>()
        .into()
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    match &args.action {
        Action::Up(up) => run_up(up, ui),
        Action::Status { lab } => ui.show(&lab.find(ui)?.status()?, |nodes| table(nodes)),
        Action::Exec(exec) => {
            let status = exec.lab.find(ui)?.exec(exec.node.as_deref(), &exec.program)?;
            if status.success() { Ok(()) } else { host::process::end_as(status) }
        }
        Action::Kill { lab, node, lose_disk } => {
            lab.find(ui)?.kill(node, if *lose_disk { Disk::Lost } else { Disk::Kept })
        }
        Action::Start { lab, node, seed, backend, clock } => lab
            .find(ui)?
            .start(node, Changes { backend: backend.clone(), clock: clock.clone(), seed: seed.clone() }),
        Action::Freeze(Node { lab, node }) => lab.find(ui)?.freeze(node, true),
        Action::Thaw(Node { lab, node }) => lab.find(ui)?.freeze(node, false),
        Action::Unplug(Node { lab, node }) => lab.find(ui)?.unplug(node, true),
        Action::Plug(Node { lab, node }) => lab.find(ui)?.unplug(node, false),
        Action::Cut(args) => args.run(ui),
        Action::Slow { node: Node { lab, node }, sync } => lab.find(ui)?.slow(node, *sync),
        Action::Fill(Node { lab, node }) => lab.find(ui)?.fill(node),
        Action::Mend(Node { lab, node }) => lab.find(ui)?.mend(node),
        Action::Console { lab, node } => {
            let lab = lab.find(ui)?;
            ui.print(host::fs::read(&lab.console_of(lab.guest(node)?))?)
        }
        Action::Down { lab } => {
            let lab = lab.find(ui)?;
            lab.down()?;
            ui.message(format!("stopped lab {}", lab.title()));
            Ok(())
        }
        Action::Rehearse(args) => rehearse::run(args, ui),
        Action::Supervise { part, state } => lab::supervise(state, *part),
    }
}

fn run_up(args: &Up, ui: &Ui) -> Result<()> {
    let artifacts = args.artifacts.clone().map_or_else(|| published(ui), Ok)?;
    let changes = Changes { backend: Some(args.backend.clone()), clock: args.clock.clone(), seed: None };
    let started = Labs::of_this_user().up(&artifacts, &args.nodes, &changes, &|step| ui.message(step))?;
    if args.foreground {
        ui.message("the lab is up; press Ctrl-C to stop it");
        return started.stay();
    }
    ui.message("the lab is up; use `kiln lab status` to show it and `kiln lab down` to stop it");
    started.detach()
}

/// Returns the directory in which `kiln build` publishes the cluster.
pub(super) fn published(ui: &Ui) -> Result<PathBuf> {
    let name = input::name(ui)?;
    Ok(ui.global().file.with_file_name("out").join(name))
}

fn table(nodes: &[NodeStatus]) -> String {
    let width = nodes.iter().map(|node| node.state.name.len()).max().unwrap_or(0).max(4);
    let is_mixed = nodes.iter().any(|node| node.state.backend != nodes[0].state.backend);
    let mut text = format!(
        "{:<width$}  {:<15}  {:<9}  {:<10}  {:<3}  AGENT\n",
        "NODE", "ADDRESS", "POWER", "SYSTEM", "VIP"
    );
    for NodeStatus { state, agent, system, failed_units, holds_vip } in nodes {
        let power = match (state.running, state.frozen) {
            (true, true) => "frozen".to_owned(),
            (true, false) => format!("on {} s", state.uptime),
            (false, _) => "off".to_owned(),
        };
        let vip = if *holds_vip { "vip" } else { "-" };
        let [system, agent] = [system, agent].map(|text| text.as_deref().unwrap_or("-"));
        let agent = state.ended.as_deref().unwrap_or(agent);
        let _ = writeln!(
            text,
            "{:<width$}  {:<15}  {power:<9}  {system:<10}  {vip:<3}  {agent}",
            state.name,
            state.address.to_string()
        );
        if is_mixed || state.clock.is_some() {
            let clock =
                state.clock.as_ref().map(|clock| format!(", clock starts at {clock}")).unwrap_or_default();
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
