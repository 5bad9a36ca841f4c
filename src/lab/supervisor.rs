//! Process that a lab runs in. It owns mount, network, PID, IPC and UTS namespaces; however it ends, the
//! kernel kills everything in them.
//!
//! Two processes clean up after each other: the outer one waits; the inner one is the first process in the
//! PID namespace and runs the nodes. A third one removes what outlives both: cgroups without processes.

mod faults;
mod groups;
mod power;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clap::ValueEnum;
use rustix::mount::MountFlags;

use crate::error::{Doing, Error, Kind, Result};
use crate::host;
use crate::host::channel::{Channel, Listener, Received};
use crate::host::clock::Stopwatch;
use crate::host::root::Root;
use crate::lab::control::{NodeState, Reply, Request};
use crate::lab::disk::OwnDisk;
use crate::lab::relay::Relay;
use crate::lab::{Changes, Cut, Delay, Guest, Lab, network};

/// Name of the socket in the state directory.
pub(super) const SOCKET: &str = "control";
/// Name of the supervisor's input file, which contains a [`Lab`].
pub(super) const PLAN: &str = "lab.json";
/// Interval at which the supervisor checks its nodes.
const PAUSE: Duration = Duration::from_millis(100);

/// Lab processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// Creates the PID namespace, waits, cleans up.
    Outer,
    /// Runs the nodes.
    Inner,
    /// Kills and removes leftover cgroups, wherever this machine has mounted cgroups.
    Sweep,
}

/// Runs one part of the lab described in the state directory.
///
/// # Errors
///
/// Errors that keep the lab from starting; they are also sent to the process that started the lab.
pub(crate) fn supervise(state: &Path, part: Part) -> Result<()> {
    let lab = read_plan(state)?;
    match part {
        Part::Outer => run_outside(&lab),
        Part::Inner => run_inside(&lab),
        Part::Sweep => sweep(&lab),
    }
}

/// Returns the command that runs `part`.
pub(super) fn program(lab: &Lab, part: Part) -> Command {
    let name = part.to_possible_value().expect("no part is hidden");
    let mut command = host::process::command("/proc/self/exe");
    command.args(["--quiet", "lab", "supervise", name.get_name()]).arg(&lab.state);
    command
}

pub(super) fn read_plan(state: &Path) -> Result<Lab> {
    let path = state.join(PLAN);
    serde_json::from_slice(&host::fs::read(&path)?)
        .doing(Kind::Internal, || format!("reading `{}`", path.display()))
}

fn run_outside(lab: &Lab) -> Result<()> {
    let _alive = host::lock::FileLock::try_directory(&lab.state)?;
    host::namespace::leave_terminal()?;
    let before = host::namespace::begin_processes()?;
    let mut inner = program(lab, Part::Inner)
        .stdin(Stdio::inherit())
        .spawn()
        .doing(Kind::Tool, || "starting the lab".into())?;
    while inner.try_wait().doing(Kind::Tool, || "waiting for the lab".into())?.is_none() {
        if host::signal::interrupted() {
            let _ = inner.kill();
        }
        host::clock::sleep(PAUSE);
    }
    if lab.has_control_groups() {
        before.restore()?;
    }
    clean_up(lab)
}

/// Removes everything that is not tied to the namespaces, once the lab's processes have exited.
pub(super) fn clean_up(lab: &Lab) -> Result<()> {
    if lab.has_control_groups() && lab.state.join(PLAN).exists() {
        host::process::run(&mut program(lab, Part::Sweep))?;
    }
    remove_contents(lab)?;
    host::fs::remove(&lab.state)?;
    // Other labs may exist.
    let _ = host::fs::remove_empty_directory(labs(lab));
    Ok(())
}

/// Removes the contents of the state directory, but never the contents of a filesystem that is mounted in it,
/// because that is a user's image.
fn remove_contents(lab: &Lab) -> Result<()> {
    if host::mount::is_mount_point(&lab.private()) {
        return Err(Error::new(Kind::Io, format!("`{}` is still mounted", lab.private().display())));
    }
    if lab.state.exists() { host::fs::empty(&lab.state) } else { Ok(()) }
}

/// Returns the directory that contains all labs.
pub(super) fn labs(lab: &Lab) -> &Path {
    lab.state.parent().expect("the state directory is in the directory of all labs")
}

fn sweep(lab: &Lab) -> Result<()> {
    host::namespace::isolate_mounts()?;
    groups::sweep(lab)
}

fn run_inside(lab: &Lab) -> Result<()> {
    host::namespace::end_with_parent()?;
    let starter = Channel::from_stdin()?;
    // The supervisor's own mount over /run will hide the directory that contains all labs.
    let above = Root::open(labs(lab).parent().expect("the directory of all labs is not the root"))?;
    let supervisor = Supervisor { lab, nodes: Mutex::default(), down: AtomicBool::new(false) };
    if let Err(err) = supervisor.set_up(&starter) {
        // The process that started the lab may have exited; then nothing receives this.
        let _ = starter.send(&Reply::Failed((&err).into()), None);
        return Err(err);
    }
    let listener = Listener::bind(&lab.state.join(SOCKET))?;
    let _ = starter.send(&Reply::Done, None);
    std::thread::scope(|scope| {
        scope.spawn(|| supervisor.follow(&starter));
        scope.spawn(|| supervisor.serve(&listener, scope));
        while !supervisor.down.load(Ordering::Relaxed) && !host::signal::interrupted() {
            supervisor.look_after();
            host::clock::sleep(PAUSE);
        }
        // The outer process cleans up, unless this process is ending because the outer one has.
        let cleaned = if host::signal::interrupted() { supervisor.clean_up(&above) } else { Ok(()) };
        // Threads still wait for clients; they end with the process.
        host::process::end(if cleaned.is_ok() { 0 } else { 1 })
    })
}

struct Supervisor<'a> {
    lab: &'a Lab,
    nodes: Mutex<BTreeMap<String, Running>>,
    down: AtomicBool,
}

/// A node that was powered on.
struct Running {
    /// Guest, with all changes made since the lab was started.
    guest: Guest,
    process: Child,
    since: Stopwatch,
    ended: Option<String>,
    unplugged: bool,
    /// True if paused through the monitor.
    paused: bool,
    cuts: Vec<Cut>,
    /// Slow cable segment, if any.
    delay: Option<(Delay, Relay)>,
    /// Duration of a disk sync in milliseconds, if the disk is slow.
    slow: Option<u32>,
}

impl<'a> Supervisor<'a> {
    fn set_up(&self, starter: &Channel) -> Result<()> {
        let step = |text: &str| starter.send(&Reply::Step(text.to_owned()), None);
        step("preparing the lab")?;
        prepare_namespaces(self.lab)?;
        network::set_up(self.lab)?;
        self.lab.guests.iter().try_for_each(|guest| guest.backend.prepare(self.lab, guest))?;
        for guest in &self.lab.guests {
            step(&format!("starting {}", guest.name))?;
            self.start(guest, &Changes::default())?;
        }
        Ok(())
    }

    fn nodes(&self) -> MutexGuard<'_, BTreeMap<String, Running>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the lab when the process that started it exits, unless the lab is detached.
    fn follow(&self, starter: &Channel) {
        match starter.receive::<Request>(None) {
            Ok(Received::Message(Request::Detach, _)) => {}
            _ => self.down.store(true, Ordering::Relaxed),
        }
    }

    fn serve<'scope>(&'scope self, listener: &Listener, scope: &'scope std::thread::Scope<'scope, '_>) {
        while let Ok(client) = listener.accept() {
            scope.spawn(move || self.converse(&client));
        }
    }

    fn converse(&self, client: &Channel) {
        while let Ok(Received::Message(request, _)) = client.receive::<Request>(None) {
            let answer = self.answer(&request);
            let sent = match &answer {
                Ok((reply, handle)) => client.send(reply, handle.as_ref().map(std::os::fd::AsFd::as_fd)),
                Err(err) => client.send(&Reply::Failed(err.into()), None),
            };
            if sent.is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &Request) -> Result<(Reply, Option<std::os::fd::OwnedFd>)> {
        match request {
            Request::List => return Ok((Reply::Nodes(self.list()), None)),
            Request::Kill { node, disk } => self.kill(self.lab.guest(node)?, *disk)?,
            Request::Start { node, changes } => self.start(self.lab.guest(node)?, changes)?,
            Request::Freeze { node, frozen } => self.freeze(self.lab.guest(node)?, *frozen)?,
            Request::Unplug { node, unplugged } => self.unplug(self.lab.guest(node)?, *unplugged)?,
            Request::Cut { node, cut } => self.cut(self.lab.guest(node)?, cut)?,
            Request::Delay { node, delay } => self.delay(self.lab.guest(node)?, *delay)?,
            Request::Slow { node, sync } => self.slow(self.lab.guest(node)?, *sync)?,
            Request::Fill { node } => self.fill(self.lab.guest(node)?)?,
            Request::Mend { node } => self.mend(self.lab.guest(node)?)?,
            Request::Signal { node, program, signal } => {
                return Ok((Reply::Processes(self.signal(self.lab.guest(node)?, program, *signal)?), None));
            }
            Request::Enter(node) => return Ok((Reply::Done, Some(self.handle(node.as_deref())?))),
            Request::Down => self.down.store(true, Ordering::Relaxed),
            Request::Detach => {}
        }
        Ok((Reply::Done, None))
    }

    /// Cleans up instead of the outer process.
    fn clean_up(&self, above: &Root) -> Result<()> {
        if self.lab.has_control_groups() {
            for guest in &self.lab.guests {
                groups::branch(self.lab).below(&guest.name).kill()?;
            }
            groups::leave(self.lab)?;
        }
        host::mount::detach(&self.lab.private())?;
        remove_contents(self.lab)?;
        let labs = labs(self.lab).file_name().unwrap_or_default().to_string_lossy();
        let own = self.lab.state.file_name().unwrap_or_default().to_string_lossy();
        above.remove_directory(&format!("{labs}/{own}"))?;
        // Other labs may exist.
        let _ = above.remove_directory(&labs);
        Ok(())
    }

    /// Detects nodes that stopped on their own and removes their addresses from the network; keeps full disks
    /// full.
    fn look_after(&self) {
        let mut nodes = self.nodes();
        for guest in &self.lab.guests {
            let Some(node) = nodes.get_mut(&guest.name).filter(|node| node.ended.is_none()) else { continue };
            if let Ok(Some(status)) = node.process.try_wait() {
                node.ended = Some(status.to_string());
                let _ = network::pull(guest).and_then(|()| self.forget(node));
            }
            let disk = OwnDisk::of(self.lab, guest);
            if disk.is_full() {
                let _ = disk.fill();
            }
        }
    }

    fn list(&self) -> Vec<NodeState> {
        let nodes = self.nodes();
        let state = |guest: &Guest| {
            let node = nodes.get(&guest.name);
            let running = node.filter(|node| node.ended.is_none());
            let guest = node.map_or(guest, |node| &node.guest);
            NodeState {
                name: guest.name.clone(),
                address: guest.address,
                backend: guest.backend.name().to_owned(),
                clock: guest.clock.clone(),
                running: running.is_some(),
                frozen: running.is_some_and(|node| self.is_frozen(node)),
                unplugged: running.is_some_and(|node| node.unplugged),
                cuts: running
                    .map(|node| node.cuts.iter().map(ToString::to_string).collect())
                    .unwrap_or_default(),
                delay: running.and_then(|node| node.delay.as_ref()).map(|(delay, _)| delay.to_string()),
                disk: running.map(|node| self.faults_of_disk(node)).unwrap_or_default(),
                uptime: node.map_or(0, |node| node.since.elapsed().as_secs()),
                ended: node.and_then(|node| node.ended.clone()),
            }
        };
        self.lab.guests.iter().map(state).collect()
    }

    /// Returns a handle to the process whose namespaces the client enters.
    fn handle(&self, node: Option<&str>) -> Result<std::os::fd::OwnedFd> {
        let Some(node) = node else { return host::namespace::handle(std::process::id()) };
        let nodes = self.nodes();
        let guest = nodes.get(node).map_or(self.lab.guest(node)?, |node| &node.guest);
        if !guest.backend.can_exec() {
            return Err(Error::new(
                Kind::Input,
                format!("the {} backend can't run programs inside a node", guest.backend.name()),
            )
            .hint(format!("the node's console output is in `{}`", self.lab.console_of(guest).display())));
        }
        let process = nodes.get(node).filter(|node| node.ended.is_none()).map(|node| node.process.id());
        let process = process.ok_or_else(|| Error::new(Kind::Input, format!("`{node}` is not running")))?;
        let first = host::process::children(process)?.first().copied();
        host::namespace::handle(
            first.ok_or_else(|| Error::new(Kind::Input, format!("`{node}` has not started booting")))?,
        )
    }
}

/// Sets up the namespaces, so that the lab uses nothing on this machine except its programs, and leaves
/// nothing behind.
fn prepare_namespaces(lab: &Lab) -> Result<()> {
    host::namespace::isolate()?;
    host::namespace::isolate_mounts()?;
    host::mount::filesystem(
        "proc",
        "proc",
        Path::new("/proc"),
        MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC,
        "",
    )?;
    host::mount::hide_but(Path::new("/run"), &lab.state)?;
    host::fs::create_private_directory(&lab.private())?;
    host::mount::filesystem("tmpfs", "kiln", &lab.private(), MountFlags::NODEV, "mode=0700,size=75%")?;
    if lab.has_control_groups() {
        groups::mount(lab)?;
        groups::join_own(lab)?;
    }
    Ok(())
}
