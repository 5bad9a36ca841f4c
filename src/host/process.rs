//! Programs that kiln runs: argument lists only, never a shell; a failure shows what the program said.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::error::{Doing, Error, Kind, Result};

/// Prepares a program. Secrets never go on its command line: other users can read it.
#[expect(clippy::disallowed_methods, reason = "this is the wrapper")]
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Runs to the end and returns what it printed.
///
/// # Errors
///
/// [`Kind::Tool`] with the last lines of standard error if the program is missing or fails.
pub(crate) fn run(command: &mut Command) -> Result<Output> {
    let name = name(command);
    let output = command.output().doing(Kind::Tool, || format!("starting `{name}`"))?;
    check(&name, output)
}

/// As [`run`], with `input` on standard input.
pub(crate) fn run_with_input(command: &mut Command, input: &[u8]) -> Result<Output> {
    let name = name(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().doing(Kind::Tool, || format!("starting `{name}`"))?;
    let mut stdin = child.stdin.take().expect("standard input is piped");
    std::thread::scope(|scope| {
        // A program that stops reading early reports why by itself, so a broken pipe is not the error to show.
        scope.spawn(move || stdin.write_all(input));
        wait(&name, child)
    })
}

/// Waits for a child whose output is piped, and checks it as [`run`] does.
pub(crate) fn wait(name: &str, child: Child) -> Result<Output> {
    check(name, child.wait_with_output().doing(Kind::Tool, || format!("waiting for `{name}`"))?)
}

/// Calls `write` with a child's standard input while its output is read, waits for its end, and checks it as [`run`] does.
///
/// A signal to kiln ends the child at once. Returns what `write` returned, and the child's output.
pub(crate) fn attend<T>(name: &str, mut child: Child, write: impl FnOnce(Option<ChildStdin>) -> T) -> Result<(T, Result<Output>)> {
    let step = || format!("waiting for `{name}`");
    let handle = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child has a process number");
    let handle = pidfd_open(handle, PidfdFlags::empty()).doing(Kind::Tool, step)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stdout = scope.spawn(|| read_all(stdout));
        let stderr = scope.spawn(|| read_all(stderr));
        let watcher = scope.spawn(|| end_on_signal(&handle, &ended));
        let written = write(stdin);
        let stdout = stdout.join().expect("a reader doesn't panic").doing(Kind::Tool, step);
        let stderr = stderr.join().expect("a reader doesn't panic").doing(Kind::Tool, step);
        let status = child.wait().doing(Kind::Tool, step);
        ended.store(true, Ordering::Relaxed);
        watcher.thread().unpark();
        Ok((written, check(name, Output { status: status?, stdout: stdout?, stderr: stderr? })))
    })
}

fn read_all(pipe: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut bytes))?;
    Ok(bytes)
}

fn end_on_signal(child: &OwnedFd, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        if super::signal::interrupted() {
            // It may have ended by itself just now.
            let _ = pidfd_send_signal(child, Signal::KILL);
            return;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Path of the running program.
pub(crate) fn own_program() -> Result<std::path::PathBuf> {
    std::env::current_exe().doing(Kind::Io, || "finding the running program".into())
}

/// Finds a program in `PATH` or in the system directories that an ordinary user's `PATH` lacks.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let fixed = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&path).chain(fixed).map(|dir| dir.join(program)).find(|candidate| candidate.is_file())
}

/// Becomes the program: returns only if it can't be started.
pub(crate) fn replace(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    let name = name(command);
    Err(command.stdin(Stdio::inherit()).exec()).doing(Kind::Tool, || format!("starting `{name}`"))
}

/// Runs to the end, however that is, or kills the program when `limit` is over. For programs that print little.
///
/// # Errors
///
/// [`Kind::Tool`] if the program is missing or the time was not enough.
pub(crate) fn output_within(command: &mut Command, limit: std::time::Duration) -> Result<Output> {
    let name = name(command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().doing(Kind::Tool, || format!("starting `{name}`"))?;
    let watch = super::clock::Stopwatch::start();
    while child.try_wait().doing(Kind::Tool, || format!("waiting for `{name}`"))?.is_none() {
        if watch.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            return Err(Error::new(Kind::Tool, format!("`{name}` did not end within {} s", limit.as_secs())));
        }
        super::clock::sleep(std::time::Duration::from_millis(20));
    }
    child.wait_with_output().doing(Kind::Tool, || format!("waiting for `{name}`"))
}

/// Processes that the process `id` started and that still run, oldest first.
pub(crate) fn children(id: u32) -> Result<Vec<u32>> {
    let path = format!("/proc/{id}/task/{id}/children");
    let children = super::fs::read_to_string(Path::new(&path))?;
    Ok(children.split_whitespace().filter_map(|child| child.parse().ok()).collect())
}

/// Ends this process at once, under threads that still wait.
#[expect(clippy::exit, reason = "a supervisor's threads wait for clients that may never come")]
pub(crate) fn end(code: i32) -> ! {
    std::process::exit(code)
}

/// Ends this process as a program that it ran ended: same code, or 128 and the signal's number, as shells do.
#[expect(clippy::exit, reason = "a verb that stands in for another program ends as that one did")]
pub(crate) fn end_as(status: std::process::ExitStatus) -> ! {
    use std::os::unix::process::ExitStatusExt as _;
    std::process::exit(status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1))
}

/// User and group that this process acts as; what it creates belongs to them.
pub(crate) fn owner() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Tells the running kernel its name.
pub(crate) fn set_host_name(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes()).doing(Kind::Io, || format!("naming this machine `{name}`"))
}

fn name(command: &Command) -> String {
    Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn check(name: &str, output: Output) -> Result<Output> {
    if output.status.success() {
        return Ok(output);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail = lines[lines.len().saturating_sub(12)..].join("\n  ");
    let said = if tail.is_empty() { String::new() } else { format!(":\n  {tail}") };
    Err(Error::new(Kind::Tool, format!("`{name}` failed ({}){said}", output.status)))
}
