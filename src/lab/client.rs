//! Command-line side of a lab: starts the supervisor, sends requests to it, and runs programs in the lab's
//! namespaces.

mod breaking;

use std::fmt;
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

/// Time limit for stopping a lab.
const END: Duration = Duration::from_secs(30);
/// Time limit for one query to a node.
const QUESTION: Duration = Duration::from_secs(10);

/// Directory that contains all labs of this user.
#[derive(Debug)]
pub(crate) struct Labs(PathBuf);

/// A lab that runs until this value is dropped, unless it is detached.
#[derive(Debug)]
pub(crate) struct Started {
    lab: Lab,
    channel: Channel,
    outer: Child,
}

/// Node state, as seen from outside and from inside.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct NodeStatus {
    #[serde(flatten)]
    pub(crate) state: NodeState,
    /// Agent status.
    pub(crate) agent: Option<String>,
    /// Output of `systemctl is-system-running`.
    pub(crate) system: Option<String>,
    pub(crate) failed_units: Vec<String>,
    /// True if the VIP is on one of the node's interfaces.
    pub(crate) holds_vip: bool,
}

impl Labs {
    /// Returns the directory in `KILN_LAB`; the default is `/run/kiln-lab` for root and a subdirectory of the
    /// runtime directory for other users.
    pub(crate) fn of_this_user() -> Self {
        let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let own = variable("XDG_RUNTIME_DIR").filter(|_| !host::namespace::is_root());
        Self(
            variable("KILN_LAB")
                .or_else(|| own.map(|directory| directory.join("kiln-lab")))
                .unwrap_or_else(|| "/run/kiln-lab".into()),
        )
    }

    /// Returns a separate lab directory below this one, for a lab that other commands do not find.
    pub(crate) fn apart(&self, name: &str) -> Self {
        Self(self.0.join(format!("{name}-{}", std::process::id())))
    }

    /// Returns the lab that [`Labs::up`] would start, with all its nodes.
    ///
    /// # Errors
    ///
    /// Same as [`Lab::load`].
    pub(super) fn plan(&self, artifacts: &Path) -> Result<Lab> {
        let artifacts =
            artifacts.canonicalize().doing(Kind::Io, || format!("looking for `{}`", artifacts.display()))?;
        Lab::load(&artifacts, &self.0, &[])
    }

    /// Removes the parent directory, unless it contains other labs.
    pub(super) fn remove_if_empty(&self) {
        let _ = self.0.parent().map(host::fs::remove_empty_directory);
    }

    /// Starts all nodes of the published directory `artifacts`, or only those in `only`, with the same
    /// changes, and returns once they are powered on.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the cluster's lab is already up; otherwise the error that kept the lab from
    /// starting, in which case nothing is left behind.
    pub(crate) fn up(
        &self,
        artifacts: &Path,
        only: &[String],
        changes: &Changes,
        report: &dyn Fn(&str),
    ) -> Result<Started> {
        require(changes.backend.as_deref().map_or(Ok(BACKENDS[0]), backend::find)?)?;
        let artifacts =
            artifacts.canonicalize().doing(Kind::Io, || format!("looking for `{}`", artifacts.display()))?;
        let mut lab = Lab::load(&artifacts, &self.0, only)?;
        for guest in &mut lab.guests {
            *guest = guest.changed(changes)?;
        }
        clear(&lab)?;
        host::fs::create_private_directory(&lab.state)?;
        let plan = serde_json::to_vec(&lab).doing(Kind::Internal, || "writing the lab's plan".into())?;
        host::fs::write_atomic(&lab.state.join(PLAN), &plan, host::fs::PRIVATE)?;
        Started::spawn(lab, report)
    }

    /// Returns the lab that a command applies to.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the lab is not up, or if several labs match.
    pub(crate) fn find(&self, wanted: &Wanted) -> Result<Lab> {
        let states = if self.0.is_dir() { host::fs::list(&self.0)? } else { Vec::new() };
        let running =
            states.into_iter().filter(|state| state.join(SOCKET).exists()).map(|state| read_plan(&state));
        let mut running = running.collect::<Result<Vec<Lab>>>()?;
        let all = running.iter().map(Lab::title).collect::<Vec<_>>().join(", ");
        running.retain(|lab| wanted.is(lab));
        match (running.len(), wanted) {
            (1, _) => Ok(running.remove(0)),
            (0, _) if all.is_empty() => Err(Error::new(Kind::Input, "no lab is up").hint("kiln lab up")),
            (0, _) => Err(Error::new(Kind::Input, format!("{wanted} is not up"))
                .hint(format!("choose a lab that is up with `--cluster NAME`: {all}"))),
            (_, _) => Err(Error::new(Kind::Input, format!("several labs are up: {all}"))
                .hint("choose one with `--cluster NAME`")),
        }
    }
}

/// Lab that a command applies to.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// The lab of the cluster with this name, or the lab whose state directory has this name.
    Named(String),
    /// The lab for the artifacts that a cluster file's build publishes in this directory (absolute path).
    Of(PathBuf),
    /// The only lab that is up.
    Any,
}

impl Wanted {
    fn is(&self, lab: &Lab) -> bool {
        match self {
            Self::Named(name) => lab.cluster == *name || lab.state.ends_with(name),
            Self::Of(artifacts) => lab.artifacts == *artifacts,
            Self::Any => true,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(f, "lab `{name}`"),
            Self::Of(artifacts) => write!(f, "the lab for `{}`", artifacts.display()),
            Self::Any => f.write_str("a lab"),
        }
    }
}

/// Rejects a backend that this machine or user can't run.
fn require(backend: &dyn Backend) -> Result<()> {
    let name = backend.name();
    if backend.needs_root() && !host::namespace::is_root() {
        return Err(
            Error::new(Kind::Input, format!("the {name} backend requires root")).hint("sudo kiln lab up")
        );
    }
    match backend.tools().iter().find(|tool| host::process::find(tool).is_none()) {
        Some(tool) => {
            Err(Error::new(Kind::Tool, format!("the {name} backend requires `{tool}`"))
                .hint("run `kiln doctor`"))
        }
        None => Ok(()),
    }
}

/// Cleans up after a lab whose processes were all killed; waits for a lab that is shutting down.
fn clear(lab: &Lab) -> Result<()> {
    let watch = host::clock::Stopwatch::start();
    while lab.state.exists() {
        // Killed processes accept connections until they have exited, but do not respond.
        let is_up = lab.ask(&Request::List).is_ok();
        if is_up || watch.elapsed() > END {
            return Err(
                Error::new(Kind::Input, format!("lab {} is already up", lab.title())).hint("kiln lab down")
            );
        }
        match FileLock::try_directory(&lab.state) {
            Ok(Some(_dead)) => return supervisor::clean_up(lab),
            _ => host::clock::sleep(Duration::from_millis(50)),
        }
    }
    Ok(())
}

impl Started {
    fn spawn(lab: Lab, report: &dyn Fn(&str)) -> Result<Self> {
        let (ours, theirs) = Channel::pair()?;
        let mut command = supervisor::program(&lab, Part::Outer);
        command.stdin(theirs.into_stdio());
        let log = host::fs::open_to_append(&lab.state.join("supervisor.log"), host::fs::PRIVATE)?;
        command.stdout(std::process::Stdio::null()).stderr(log);
        let outer = command.spawn().doing(Kind::Tool, || "starting the lab's supervisor".into())?;
        drop(command);
        let started = Self { lab, channel: ours, outer };
        match started.follow(report) {
            Ok(()) => Ok(started),
            // The error is reported once nothing is left of the lab.
            Err(err) => started.end().and(Err(err)),
        }
    }

    /// Stops the lab and waits until it has ended.
    fn end(mut self) -> Result<()> {
        drop(self.channel);
        let watch = host::clock::Stopwatch::start();
        while self.outer.try_wait().doing(Kind::Tool, || "waiting for the lab".into())?.is_none()
            && watch.elapsed() < END
        {
            host::clock::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn follow(&self, report: &dyn Fn(&str)) -> Result<()> {
        loop {
            host::signal::check()?;
            match self.channel.receive::<Reply>(Some(Duration::from_millis(200)))? {
                Received::Message(Reply::Step(step), _) => report(&step),
                Received::Message(Reply::Failed(failure), _) => return Err(failure.into()),
                Received::Message(Reply::Done | Reply::Nodes(_) | Reply::Processes(_), _) => return Ok(()),
                Received::Nothing => {}
                Received::End => {
                    let log = host::fs::read(&self.lab.state.join("supervisor.log")).unwrap_or_default();
                    let log = String::from_utf8_lossy(&log).trim().to_owned();
                    return Err(Error::new(Kind::Tool, format!("the lab's supervisor exited: {log}")));
                }
            }
        }
    }

    /// Runs `work` on the lab and then stops the lab, even if `work` fails.
    ///
    /// # Errors
    ///
    /// Errors from `work` or from stopping the lab.
    pub(crate) fn during<T>(self, work: impl FnOnce(&Lab) -> Result<T>) -> Result<T> {
        let done = work(&self.lab);
        let ended = self.end();
        done.and_then(|done| ended.map(|()| done))
    }

    /// Keeps the lab running when this process exits.
    pub(crate) fn detach(self) -> Result<()> {
        self.channel.send(&Request::Detach, None)
    }

    /// Waits for a signal or the end of the lab, then stops the lab.
    pub(crate) fn stay(mut self) -> Result<()> {
        while self.outer.try_wait().doing(Kind::Tool, || "waiting for the lab".into())?.is_none()
            && !host::signal::interrupted()
        {
            host::clock::sleep(Duration::from_millis(200));
        }
        self.end()
    }
}

impl Lab {
    /// Returns the cluster name and the path of the artifacts, for messages.
    pub(crate) fn title(&self) -> String {
        format!("`{}` (`{}`)", self.cluster, self.artifacts.display())
    }

    /// Stops the lab and returns once nothing is left of it, even if the lab's processes were killed.
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
                return Err(Error::new(
                    Kind::Tool,
                    format!("lab `{}` did not stop within {} s", self.cluster, END.as_secs()),
                ));
            }
            host::clock::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Returns the state of the nodes, as the supervisor sees them from outside.
    pub(super) fn nodes(&self) -> Result<Vec<NodeState>> {
        match self.ask(&Request::List)? {
            (Reply::Nodes(states), _) => Ok(states),
            _ => Err(Error::new(Kind::Internal, "unexpected reply from the supervisor")),
        }
    }

    /// Returns a handle to a process in whose network namespace this machine's programs can reach the nodes.
    pub(super) fn network(&self) -> Result<std::os::fd::OwnedFd> {
        self.ask(&Request::Enter(None))?
            .1
            .ok_or_else(|| Error::new(Kind::Internal, "the supervisor sent no handle"))
    }

    /// Runs a program inside a node, or on this machine in the lab's network, and returns its exit status.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the node is not running; [`Kind::Tool`] if the program can't be started.
    pub(crate) fn exec(&self, node: Option<&str>, program: &[std::ffi::OsString]) -> Result<ExitStatus> {
        let (_, handle) = self.ask(&Request::Enter(node.map(str::to_owned)))?;
        let handle = handle.ok_or_else(|| Error::new(Kind::Internal, "the supervisor sent no handle"))?;
        let scope = if node.is_some() { Scope::All } else { Scope::Network };
        host::namespace::enter(handle, scope)?;
        let (program, arguments) =
            program.split_first().ok_or_else(|| Error::new(Kind::Input, "no program specified"))?;
        let mut command = host::process::command(program);
        command.args(arguments).stdin(std::process::Stdio::inherit());
        if node.is_some() {
            command
                .current_dir("/")
                .env_clear()
                .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin")
                .env("HOME", "/root");
            command.envs(std::env::var_os("TERM").map(|term| ("TERM", term)));
        }
        command.status().doing(Kind::Tool, || format!("starting `{}`", program.display()))
    }

    /// Returns the status of every node; nodes are queried in parallel.
    pub(crate) fn status(&self) -> Result<Vec<NodeStatus>> {
        let states = self.nodes()?;
        let statuses = std::thread::scope(|scope| {
            let asked: Vec<_> =
                states.into_iter().map(|state| scope.spawn(|| self.look_inside(state))).collect();
            asked.into_iter().map(|asked| asked.join().expect("queries do not panic")).collect()
        });
        Ok(statuses)
    }

    fn look_inside(&self, state: NodeState) -> NodeStatus {
        // In a frozen node, only the kernel still responds.
        let ask = |program: &[&str]| {
            let answers = state.running && (!state.frozen || program[0] == "ip");
            if answers { self.answer(&state.name, program) } else { None }
        };
        let agent = ask(&["/usr/bin/kiln", "agent", "status"])
            .and_then(|text| text.lines().next().map(str::to_owned));
        let system = ask(&["systemctl", "is-system-running"]).map(|word| word.trim().to_owned());
        let failed =
            ask(&["systemctl", "list-units", "--failed", "--plain", "--no-legend"]).unwrap_or_default();
        let failed_units =
            failed.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
        let addresses = ask(&["ip", "-oneline", "address"]).unwrap_or_default();
        let holds_vip = self.vip.is_some_and(|vip| {
            addresses.split_whitespace().any(|word| word.split('/').next() == Some(&vip.to_string()))
        });
        NodeStatus { state, agent, system, failed_units, holds_vip }
    }

    /// Returns the output of a program inside a node; `None` if the program can't be run. Ignores the exit
    /// code, which is part of the answer of some programs.
    pub(super) fn answer(&self, node: &str, program: &[&str]) -> Option<String> {
        let output = host::process::output_within(&mut self.command_in(node, program), QUESTION).ok()?;
        String::from_utf8(output.stdout).ok().filter(|text| !text.is_empty())
    }

    /// Returns the complete output of a program inside a node.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if the program fails.
    pub(super) fn transcript(&self, node: &str, program: &[&str]) -> Result<String> {
        let output = host::process::run(&mut self.command_in(node, program))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn command_in(&self, node: &str, program: &[&str]) -> std::process::Command {
        let mut command = host::process::command("/proc/self/exe");
        command.env("KILN_LAB", supervisor::labs(self));
        let own = self.state.file_name().unwrap_or_default().to_string_lossy();
        command.args(["--quiet", "lab", "exec", "--cluster", &own, node, "--"]).args(program);
        command
    }

    fn ask(&self, request: &Request) -> Result<(Reply, Option<std::os::fd::OwnedFd>)> {
        let channel = Channel::connect(&self.state.join(SOCKET))
            .map_err(|err| err.hint("the lab may have stopped: `kiln lab up`"))?;
        channel.send(request, None)?;
        match channel.receive(Some(END))? {
            Received::Message(Reply::Failed(failure), _) => Err(failure.into()),
            Received::Message(reply, handle) => Ok((reply, handle)),
            Received::End | Received::Nothing => {
                Err(Error::new(Kind::Tool, "the lab's supervisor did not respond"))
            }
        }
    }
}
