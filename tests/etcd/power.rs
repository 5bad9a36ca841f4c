//! A machine that is switched on: runs the agent and etcd as systemd does on a node, until the power is cut.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

/// Restart delay, shorter than the unit's RestartSec=.
const RESTART: Duration = Duration::from_millis(300);

/// The programs that run on a machine.
pub(crate) struct Programs {
    /// The agent that responds to the other members.
    pub(crate) serve: Command,
    /// Runs before the first start of etcd.
    pub(crate) first: Command,
    /// Runs before each later start of etcd.
    pub(crate) start: Command,
    pub(crate) etcd: Command,
}

/// A machine that is switched on.
pub(crate) struct Power {
    stop: Arc<AtomicBool>,
    running: Arc<Mutex<Vec<Child>>>,
    thread: JoinHandle<()>,
}

impl Power {
    pub(crate) fn on(programs: Programs, flags: PathBuf, log: fs::File) -> Self {
        let (stop, running) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let machine = Machine { stop: Arc::clone(&stop), running: Arc::clone(&running), flags, log };
        Self { stop, running, thread: std::thread::spawn(move || machine.run(programs)) }
    }

    /// Kills every process at once.
    pub(crate) fn off(self) {
        self.stop.store(true, Ordering::SeqCst);
        for child in self.running.lock().unwrap().iter() {
            let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
        }
        self.thread.join().unwrap();
    }

    /// Returns the process of a running program.
    pub(crate) fn process(&self, program: &str) -> Pid {
        let running = self.running.lock().unwrap();
        let is_it = |child: &&Child| {
            fs::read_to_string(format!("/proc/{}/comm", child.id())).is_ok_and(|name| name.trim() == program)
        };
        Pid::from_child(running.iter().find(is_it).unwrap())
    }
}

/// Starts and restarts the programs, as systemd does on a node.
struct Machine {
    stop: Arc<AtomicBool>,
    running: Arc<Mutex<Vec<Child>>>,
    flags: PathBuf,
    log: fs::File,
}

impl Machine {
    fn run(&self, programs: Programs) {
        let Programs { mut serve, mut first, mut start, mut etcd } = programs;
        let base: Vec<_> = etcd.get_args().map(ToOwned::to_owned).collect();
        let Some(serving) = self.spawn(&mut serve) else { return };
        let mut starting = self.spawn(&mut first);
        while let Some(id) = starting {
            if self.wait(id) {
                let text = fs::read_to_string(&self.flags).unwrap();
                let extra =
                    text.trim().strip_prefix("KILN_ETCD_FLAGS=").unwrap().trim_matches('"').to_owned();
                let mut command = Command::new(etcd.get_program());
                command.args(&base).args(extra.split_whitespace());
                etcd = command;
                let Some(running) = self.spawn(&mut etcd) else { break };
                self.wait(running);
            }
            sleep(RESTART);
            starting = self.spawn(&mut start);
        }
        self.wait(serving);
    }

    /// Starts a program in its own process group, unless the power is off.
    fn spawn(&self, command: &mut Command) -> Option<u32> {
        let mut running = self.running.lock().unwrap();
        if self.stop.load(Ordering::SeqCst) {
            return None;
        }
        command
            .stdin(Stdio::null())
            .stdout(self.log.try_clone().unwrap())
            .stderr(self.log.try_clone().unwrap())
            .process_group(0);
        let child = command.spawn().unwrap();
        let id = child.id();
        running.push(child);
        Some(id)
    }

    /// Waits until a program exits and kills what it has started, like KillMode=control-group in
    /// systemd.kill(5). Returns whether the program succeeded.
    fn wait(&self, id: u32) -> bool {
        loop {
            let mut running = self.running.lock().unwrap();
            let at = running.iter().position(|child| child.id() == id).unwrap();
            if let Some(status) = running[at].try_wait().unwrap() {
                drop(running.remove(at));
                let group = Pid::from_raw(id.cast_signed()).unwrap();
                let _ = kill_process_group(group, Signal::KILL);
                return status.success();
            }
            drop(running);
            sleep(Duration::from_millis(20));
        }
    }
}
