//! The command line's side of a lab: starting the supervisor, talking to it, running programs in its namespaces.

mod breaking;

use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use serde::Serialize;

use crate::error::{Doing, Error, Kind, Result};
use crate::host;
use crate::host::channel::{Channel, Received};
use crate::host::lock::FileLock;
use crate::host::namespace::Scope;
use crate::lab::control::{NodeState, Reply, Request};
use crate::lab::supervisor::{self, PLAN, Part, SOCKET, read_plan};
use crate::lab::{BACKENDS, Backend, Changes, Lab, backend};

/// Longest time that ending a lab may take.
const END: Duration = Duration::from_secs(30);
/// Longest time for one question to a node.
const QUESTION: Duration = Duration::from_secs(10);

/// The directory of all labs of this user.
#[derive(Debug)]
pub(crate) struct Labs(PathBuf);

/// A lab that runs as long as this value lives, unless it is detached.
#[derive(Debug)]
pub(crate) struct Started {
    lab: Lab,
    channel: Channel,
    outer: Child,
}

/// A node from outside and from inside.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct NodeStatus {
    #[serde(flatten)]
    pub(crate) state: NodeState,
    /// What the agent did.
    pub(crate) agent: Option<String>,
    /// The word of `systemctl is-system-running`.
    pub(crate) system: Option<String>,
    pub(crate) failed_units: Vec<String>,
    /// Whether the VIP is on one of its interfaces.
    pub(crate) holds_vip: bool,
}

impl Labs {
    /// Where `KILN_LAB` says; else labs of root lie in `/run/kiln-lab`, those of others in their runtime directory.
    pub(crate) fn of_this_user() -> Self {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let own = variable("XDG_RUNTIME_DIR").filter(|_| !host::namespace::is_root());
        Self(variable("KILN_LAB").or_else(|| own.map(|directory| directory.join("kiln-lab"))).unwrap_or_else(|| "/run/kiln-lab".into()))
    }

    /// A directory of labs of its own below this one, for a lab that no other command finds.
    pub(crate) fn apart(&self, name: &str) -> Self {
        Self(self.0.join(format!("{name}-{}", std::process::id())))
    }

    /// The lab that [`Labs::up`] would start, with all its nodes.
    ///
    /// # Errors
    ///
    /// As [`Lab::load`].
    pub(super) fn plan(&self, artifacts: &Path) -> Result<Lab> {
        let artifacts = artifacts.canonicalize().doing(Kind::Io, || format!("looking for `{}`", artifacts.display()))?;
        Lab::load(&artifacts, &self.0, &[])
    }

    /// Removes the directory above, unless other labs are in it.
    pub(super) fn remove_if_empty(&self) {
        let _ = self.0.parent().map(host::fs::remove_empty_directory);
    }

    /// Starts the nodes of the published directory `artifacts`, all or those in `only`, each with the same changes, and returns when all
    /// are switched on.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the cluster's lab is up already; what kept it from starting otherwise, and then nothing is left of it.
    pub(crate) fn up(&self, artifacts: &Path, only: &[String], changes: &Changes, tell: &dyn Fn(&str)) -> Result<Started> {
        require(changes.backend.as_deref().map_or(Ok(BACKENDS[0]), backend::find)?)?;
        let artifacts = artifacts.canonicalize().doing(Kind::Io, || format!("looking for `{}`", artifacts.display()))?;
        let mut lab = Lab::load(&artifacts, &self.0, only)?;
        for guest in &mut lab.guests {
            *guest = guest.changed(changes)?;
        }
        clear(&lab)?;
        host::fs::create_private_directory(&lab.state)?;
        let plan = serde_json::to_vec(&lab).doing(Kind::Internal, || "writing the lab's plan".into())?;
        host::fs::write_atomic(&lab.state.join(PLAN), &plan, host::fs::PRIVATE)?;
        Started::spawn(lab, tell)
    }

    /// The lab of `cluster`, or the only one there is.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if there is none, or more than one to choose from.
    pub(crate) fn find(&self, cluster: Option<&str>) -> Result<Lab> {
        let running = if self.0.is_dir() { host::fs::list(&self.0)? } else { Vec::new() };
        let running: Vec<PathBuf> = running.into_iter().filter(|state| state.join(SOCKET).exists()).collect();
        let wanted = |state: &&PathBuf| cluster.is_none_or(|cluster| state.ends_with(cluster));
        let state = match running.iter().filter(wanted).collect::<Vec<_>>()[..] {
            [state] => state,
            [] => return Err(Error::new(Kind::Input, "no lab is up").hint("kiln lab up out/CLUSTER")),
            _ => return Err(Error::new(Kind::Input, "several labs are up").hint("name one: `--cluster NAME`")),
        };
        read_plan(state)
    }
}

/// Refuses a backend that this machine or user can't run.
fn require(backend: &dyn Backend) -> Result<()> {
    let name = backend.name();
    if backend.needs_root() && !host::namespace::is_root() {
        return Err(Error::new(Kind::Input, format!("the {name} backend needs root")).hint("sudo kiln lab up"));
    }
    match backend.tools().iter().find(|tool| host::process::find(tool).is_none()) {
        Some(tool) => Err(Error::new(Kind::Tool, format!("the {name} backend needs `{tool}`")).hint("run `kiln doctor`")),
        None => Ok(()),
    }
}

/// Removes what a lab left whose processes were all killed; a lab that is just ending gets a little time for it.
fn clear(lab: &Lab) -> Result<()> {
    let watch = host::clock::Stopwatch::start();
    while lab.state.exists() {
        // Processes that were killed take connections until they are gone, but they do not answer.
        let is_up = lab.ask(&Request::List).is_ok();
        if is_up || watch.elapsed() > END {
            return Err(Error::new(Kind::Input, format!("the lab of `{}` is up", lab.cluster)).hint("kiln lab down"));
        }
        match FileLock::try_directory(&lab.state) {
            Ok(Some(_dead)) => return supervisor::clean_up(lab),
            _ => host::clock::sleep(Duration::from_millis(50)),
        }
    }
    Ok(())
}

impl Started {
    fn spawn(lab: Lab, tell: &dyn Fn(&str)) -> Result<Self> {
        let (ours, theirs) = Channel::pair()?;
        let mut command = supervisor::program(&lab, Part::Outer);
        command.stdin(theirs.into_stdio());
        let log = host::fs::open_to_append(&lab.state.join("supervisor.log"), host::fs::PRIVATE)?;
        command.stdout(std::process::Stdio::null()).stderr(log);
        let outer = command.spawn().doing(Kind::Tool, || "starting the lab's supervisor".into())?;
        drop(command);
        let started = Self { lab, channel: ours, outer };
        match started.follow(tell) {
            Ok(()) => Ok(started),
            // What went wrong is told when nothing is left of it.
            Err(err) => started.end().and(Err(err)),
        }
    }

    /// Ends the lab, which no longer has anybody who wants it, and waits for that.
    fn end(mut self) -> Result<()> {
        drop(self.channel);
        let watch = host::clock::Stopwatch::start();
        while self.outer.try_wait().doing(Kind::Tool, || "waiting for the lab".into())?.is_none() && watch.elapsed() < END {
            host::clock::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn follow(&self, tell: &dyn Fn(&str)) -> Result<()> {
        loop {
            host::signal::check()?;
            match self.channel.receive::<Reply>(Some(Duration::from_millis(200)))? {
                Received::Message(Reply::Step(step), _) => tell(&step),
                Received::Message(Reply::Failed(failure), _) => return Err(failure.into()),
                Received::Message(Reply::Done | Reply::Nodes(_) | Reply::Processes(_), _) => return Ok(()),
                Received::Nothing => {}
                Received::End => {
                    let log = host::fs::read(&self.lab.state.join("supervisor.log")).unwrap_or_default();
                    let log = String::from_utf8_lossy(&log).trim().to_owned();
                    return Err(Error::new(Kind::Tool, format!("the lab's supervisor ended: {log}")));
                }
            }
        }
    }

    /// Does something with the lab and ends it, however that went.
    ///
    /// # Errors
    ///
    /// What the work or the end said.
    pub(crate) fn during<T>(self, work: impl FnOnce(&Lab) -> Result<T>) -> Result<T> {
        let done = work(&self.lab);
        let ended = self.end();
        done.and_then(|done| ended.map(|()| done))
    }

    /// Leaves the lab running when this process ends.
    pub(crate) fn detach(self) -> Result<()> {
        self.channel.send(&Request::Detach, None)
    }

    /// Stays until a signal or the end of the lab, and ends the lab.
    pub(crate) fn stay(mut self) -> Result<()> {
        while self.outer.try_wait().doing(Kind::Tool, || "waiting for the lab".into())?.is_none() && !host::signal::interrupted() {
            host::clock::sleep(Duration::from_millis(200));
        }
        self.end()
    }
}

impl Lab {
    /// Ends everything and returns when nothing is left, also of a lab whose processes were killed.
    pub(crate) fn down(&self) -> Result<()> {
        if self.ask(&Request::Down).is_err() {
            return clear(&read_plan(&self.state)?);
        }
        self.wait_for_end()
    }

    fn wait_for_end(&self) -> Result<()> {
        let watch = host::clock::Stopwatch::start();
        while self.state.exists() {
            if watch.elapsed() > END {
                return Err(Error::new(Kind::Tool, format!("the lab of `{}` did not end within {} s", self.cluster, END.as_secs())));
            }
            host::clock::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// What the supervisor sees of the nodes from outside.
    pub(super) fn nodes(&self) -> Result<Vec<NodeState>> {
        match self.ask(&Request::List)? {
            (Reply::Nodes(states), _) => Ok(states),
            _ => Err(Error::new(Kind::Internal, "the supervisor answered something else")),
        }
    }

    /// A handle to the process in whose network this machine's programs see the nodes.
    pub(super) fn network(&self) -> Result<std::os::fd::OwnedFd> {
        self.ask(&Request::Enter(None))?.1.ok_or_else(|| Error::new(Kind::Internal, "the supervisor sent no handle"))
    }

    /// Runs a program inside a node, or on this machine in the lab's network, and returns how it ended.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the node is not running; [`Kind::Tool`] if the program can't be started.
    pub(crate) fn exec(&self, node: Option<&str>, program: &[std::ffi::OsString]) -> Result<ExitStatus> {
        let (_, handle) = self.ask(&Request::Enter(node.map(str::to_owned)))?;
        let handle = handle.ok_or_else(|| Error::new(Kind::Internal, "the supervisor sent no handle"))?;
        let scope = if node.is_some() { Scope::All } else { Scope::Network };
        host::namespace::enter(handle, scope)?;
        let (program, arguments) = program.split_first().ok_or_else(|| Error::new(Kind::Input, "no program was named"))?;
        let mut command = host::process::command(program);
        command.args(arguments).stdin(std::process::Stdio::inherit());
        if node.is_some() {
            command.current_dir("/").env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin").env("HOME", "/root");
            command.envs(std::env::var_os("TERM").map(|term| ("TERM", term)));
        }
        command.status().doing(Kind::Tool, || format!("starting `{}`", program.display()))
    }

    /// Everything worth knowing about every node; nodes are asked at the same time.
    pub(crate) fn status(&self) -> Result<Vec<NodeStatus>> {
        let states = self.nodes()?;
        let statuses = std::thread::scope(|scope| {
            let asked: Vec<_> = states.into_iter().map(|state| scope.spawn(|| self.look_inside(state))).collect();
            asked.into_iter().map(|asked| asked.join().expect("asking does not panic")).collect()
        });
        Ok(statuses)
    }

    fn look_inside(&self, state: NodeState) -> NodeStatus {
        // In a frozen node only its kernel answers.
        let ask = |program: &[&str]| {
            let answers = state.running && (!state.frozen || program[0] == "ip");
            if answers { self.answer(&state.name, program) } else { None }
        };
        let agent = ask(&["/usr/bin/kiln", "agent", "status"]).and_then(|text| text.lines().next().map(str::to_owned));
        let system = ask(&["systemctl", "is-system-running"]).map(|word| word.trim().to_owned());
        let failed = ask(&["systemctl", "list-units", "--failed", "--plain", "--no-legend"]).unwrap_or_default();
        let failed_units = failed.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
        let addresses = ask(&["ip", "-oneline", "address"]).unwrap_or_default();
        let holds_vip =
            self.vip.is_some_and(|vip| addresses.split_whitespace().any(|word| word.split('/').next() == Some(&vip.to_string())));
        NodeStatus { state, agent, system, failed_units, holds_vip }
    }

    /// What a program inside a node prints; `None` if it can't be run. Its exit code is part of some answers, so it does not count.
    pub(super) fn answer(&self, node: &str, program: &[&str]) -> Option<String> {
        let output = host::process::output_within(&mut self.command_in(node, program), QUESTION).ok()?;
        String::from_utf8(output.stdout).ok().filter(|text| !text.is_empty())
    }

    /// What a program inside a node prints, however much that is.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if it fails.
    pub(super) fn transcript(&self, node: &str, program: &[&str]) -> Result<String> {
        let output = host::process::run(&mut self.command_in(node, program))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn command_in(&self, node: &str, program: &[&str]) -> std::process::Command {
        let mut command = host::process::command("/proc/self/exe");
        command.env("KILN_LAB", supervisor::labs(self));
        command.args(["--quiet", "lab", "exec", "--cluster", &self.cluster, node, "--"]).args(program);
        command
    }

    fn ask(&self, request: &Request) -> Result<(Reply, Option<std::os::fd::OwnedFd>)> {
        let channel = Channel::connect(&self.state.join(SOCKET)).map_err(|err| err.hint("the lab may be gone: `kiln lab up`"))?;
        channel.send(request, None)?;
        match channel.receive(Some(END))? {
            Received::Message(Reply::Failed(failure), _) => Err(failure.into()),
            Received::Message(reply, handle) => Ok((reply, handle)),
            Received::End | Received::Nothing => Err(Error::new(Kind::Tool, "the lab's supervisor did not answer")),
        }
    }
}
