//! Programs that kiln runs: argument lists only, never a shell; a failure shows the program's output.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::error::{Doing, Error, Kind, Result};

/// Time limit for any program: some hang on a full disk, and there may be no user to interrupt them. The
/// longest step of a build, compressing a root filesystem, takes minutes, or an hour on an emulated
/// processor.
const LONGEST: Duration = Duration::from_secs(2 * 3600);

/// Prepares a program. Secrets must never be on its command line, which other users can read.
#[expect(clippy::disallowed_methods, reason = "this is the wrapper")]
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Runs a program to completion and returns its output.
///
/// # Errors
///
/// [`Kind::Tool`] containing the last lines of standard error, if the program is missing or fails.
pub(crate) fn run(command: &mut Command) -> Result<Output> {
    let name = name(command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().doing(Kind::Tool, || format!("starting `{name}`"))?;
    wait(&name, child)
}

/// Like [`run`], with `input` on standard input.
pub(crate) fn run_with_input(command: &mut Command, input: &[u8]) -> Result<Output> {
    let name = name(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().doing(Kind::Tool, || format!("starting `{name}`"))?;
    // A program that stops reading early reports the reason itself, so a broken pipe is not the error to
    // show.
    attend(&name, child, |stdin| stdin.map(|mut stdin| stdin.write_all(input)))?.1
}

/// Waits for a child whose output is piped, and checks it as [`run`] does.
pub(crate) fn wait(name: &str, child: Child) -> Result<Output> {
    attend(name, child, drop)?.1
}

/// Calls `write` with a child's standard input while its output is read, waits until it exits, and checks it
/// as [`run`] does.
///
/// The child is killed immediately on a signal to kiln, or after [`LONGEST`]. Returns the result of `write`
/// and the child's output.
pub(crate) fn attend<T>(
    name: &str,
    child: Child,
    write: impl FnOnce(Option<ChildStdin>) -> T,
) -> Result<(T, Result<Output>)> {
    attend_for(LONGEST, name, child, write)
}

fn attend_for<T>(
    limit: Duration,
    name: &str,
    mut child: Child,
    write: impl FnOnce(Option<ChildStdin>) -> T,
) -> Result<(T, Result<Output>)> {
    let step = || format!("waiting for `{name}`");
    let handle = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a child has a process ID");
    let handle = pidfd_open(handle, PidfdFlags::empty()).doing(Kind::Tool, step)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stdout = scope.spawn(|| read_all(stdout));
        let stderr = scope.spawn(|| read_all(stderr));
        let watcher = scope.spawn(|| end_early(&handle, limit, &ended));
        let written = write(stdin);
        let stdout = stdout.join().expect("a reader doesn't panic").doing(Kind::Tool, step);
        let stderr = stderr.join().expect("a reader doesn't panic").doing(Kind::Tool, step);
        let status = child.wait().doing(Kind::Tool, step);
        ended.store(true, Ordering::Relaxed);
        watcher.thread().unpark();
        let late = watcher.join().expect("a watcher doesn't panic") == Early::Late;
        let output = Output { status: status?, stdout: stdout?, stderr: stderr? };
        Ok((written, if late { Err(too_long(name, limit)) } else { check(name, output) }))
    })
}

fn read_all(pipe: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.map_or(Ok(0), |mut pipe| pipe.read_to_end(&mut bytes))?;
    Ok(bytes)
}

/// Why a program was killed early, if it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Early {
    No,
    Interrupted,
    Late,
}

fn end_early(child: &OwnedFd, limit: Duration, ended: &AtomicBool) -> Early {
    let watch = super::clock::Stopwatch::start();
    while !ended.load(Ordering::Relaxed) {
        let why = if super::signal::interrupted() { Early::Interrupted } else { Early::Late };
        if why == Early::Interrupted || watch.elapsed() > limit {
            // The child may have just exited.
            let _ = pidfd_send_signal(child, Signal::KILL);
            return why;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
    Early::No
}

fn too_long(name: &str, limit: Duration) -> Error {
    Error::new(Kind::Tool, format!("`{name}` did not finish within {} s", limit.as_secs()))
}

/// Returns the path of the running program.
pub(crate) fn own_program() -> Result<std::path::PathBuf> {
    std::env::current_exe().doing(Kind::Io, || "finding the path of the running program".into())
}

/// Finds a program in `PATH` or in system directories that may be missing from an unprivileged user's `PATH`.
pub(crate) fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let fixed = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&path)
        .chain(fixed)
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file())
}

/// Replaces this process with the program; returns only if it can't be started.
pub(crate) fn replace(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    let name = name(command);
    Err(command.stdin(Stdio::inherit()).exec()).doing(Kind::Tool, || format!("starting `{name}`"))
}

/// Runs a program to completion, or kills it after `limit`. Only for programs with little output.
///
/// # Errors
///
/// [`Kind::Tool`] if the program is missing or did not finish in time.
pub(crate) fn output_within(command: &mut Command, limit: std::time::Duration) -> Result<Output> {
    let name = name(command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().doing(Kind::Tool, || format!("starting `{name}`"))?;
    let watch = super::clock::Stopwatch::start();
    while child.try_wait().doing(Kind::Tool, || format!("waiting for `{name}`"))?.is_none() {
        if watch.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            return Err(too_long(&name, limit));
        }
        super::clock::sleep(std::time::Duration::from_millis(20));
    }
    child.wait_with_output().doing(Kind::Tool, || format!("waiting for `{name}`"))
}

/// Lists the running children of process `id`, oldest first.
pub(crate) fn children(id: u32) -> Result<Vec<u32>> {
    let path = format!("/proc/{id}/task/{id}/children");
    let children = super::fs::read_to_string(Path::new(&path))?;
    Ok(children.split_whitespace().filter_map(|child| child.parse().ok()).collect())
}

/// Returns the file name of the program that process `id` runs, as it was invoked, and its state letter
/// (proc_pid_stat(5)).
pub(crate) fn program_of(id: u32) -> Option<(String, char)> {
    let line = super::fs::read(Path::new(&format!("/proc/{id}/cmdline"))).ok()?;
    let first = String::from_utf8_lossy(line.split(|byte| *byte == 0 || *byte == b' ').next()?).into_owned();
    let stat = super::fs::read_to_string(Path::new(&format!("/proc/{id}/stat"))).ok()?;
    let state = stat.rsplit_once(") ")?.1.chars().next()?;
    let name = first.trim_end_matches(':').rsplit('/').next()?.to_owned();
    Some((name, state))
}

/// Kills every process on this machine that runs the program `name`.
///
/// # Errors
///
/// [`Kind::Io`] if permission is denied.
pub(crate) fn kill_all(name: &str) -> Result<()> {
    let ids = super::fs::list(Path::new("/proc"))?
        .into_iter()
        .filter_map(|entry| entry.file_name()?.to_str()?.parse().ok());
    let mut ids = ids.filter(|id| program_of(*id).is_some_and(|(program, _)| program == name));
    ids.try_for_each(|id| send(id, Signal::KILL))
}

/// Sends a signal to process `id`; does nothing if it has exited.
pub(crate) fn send(id: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Error::new(Kind::Internal, format!("{id} is not a process ID")))?;
    match rustix::process::kill_process(pid, signal) {
        Err(rustix::io::Errno::SRCH) => Ok(()),
        other => other.doing(Kind::Io, || format!("sending a signal to process {id}")),
    }
}

/// Exits immediately, even if other threads are still waiting.
#[expect(clippy::exit, reason = "a supervisor's threads wait for clients that may never connect")]
pub(crate) fn end(code: i32) -> ! {
    std::process::exit(code)
}

/// Exits as a child did: with the same code, or with 128 plus the signal number, as shells do.
#[expect(clippy::exit, reason = "a command that runs another program exits with its status")]
pub(crate) fn end_as(status: std::process::ExitStatus) -> ! {
    use std::os::unix::process::ExitStatusExt as _;
    std::process::exit(status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1))
}

/// Returns the effective user and group of this process; files that it creates belong to them.
pub(crate) fn owner() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// Sets the host name of the running kernel.
pub(crate) fn set_host_name(name: &str) -> Result<()> {
    rustix::system::sethostname(name.as_bytes())
        .doing(Kind::Io, || format!("setting the host name to `{name}`"))
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

#[cfg(test)]
mod tests {
    use std::process::Stdio;
    use std::time::Duration;

    use super::{attend_for, command, run_with_input};

    #[test]
    fn a_program_that_waits_for_ever_is_ended_while_it_is_written_to() {
        let mut sleeping = command("sleep");
        let child = sleeping
            .arg("600")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // More than a pipe takes: the writer waits too.
        let write = |stdin: Option<std::process::ChildStdin>| {
            std::io::Write::write_all(&mut stdin.unwrap(), &[0; 1 << 20])
        };
        let (written, output) = attend_for(Duration::from_millis(200), "sleep", child, write).unwrap();
        assert!(written.is_err());
        assert_eq!(output.unwrap_err().to_string(), "`sleep` did not finish within 0 s");
    }

    #[test]
    fn a_program_that_does_not_read_gives_its_own_reason() {
        let input = vec![0; 1 << 20];
        assert!(run_with_input(&mut command("true"), &input).is_ok());
        let err = run_with_input(command("sh").args(["-c", "echo full >&2; exit 3"]), &input).unwrap_err();
        assert!(err.to_string().contains("full"), "{err}");
    }
}
