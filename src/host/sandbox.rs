//! Runs programs in a sandbox: with their own mounts, processes, network, host name and message queues, and a
//! directory as their root.
//!
//! Works as root and as any other user. An unprivileged user becomes root in a user namespace with one mapped
//! ID, so no subordinate IDs are needed; root remains root but loses the capabilities that affect the
//! machine. The program sees only bind-mounted files. The namespaces end with their first process, which ends
//! with kiln: nothing remains mounted or running.
//!
//! kiln starts itself twice: `sandbox-exec` creates the namespaces, `sandbox-init` is the first process
//! inside them.

mod fakeroot;
mod init;
mod kernel;
mod mounts;
mod outer;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Output, Stdio};

use serde::{Deserialize, Serialize};

use crate::error::{Doing, Error, Kind, Result};
use crate::host;

pub(crate) use fakeroot::Fakeroot;

/// Hidden subcommands of kiln.
const OUTER: &str = "sandbox-exec";
const INNER: &str = "sandbox-init";
/// Environment variable with the [`Sandbox`] as JSON; it contains no secrets.
const SPEC: &str = "KILN_SANDBOX";
/// Environment variable with the program to start as the sandbox, if the running program is not kiln.
const PROGRAM: &str = "KILN_SANDBOX_EXE";
/// Exit code if the sandbox itself fails, as with `env` and `chroot`.
const FAILED: u8 = 125;

/// Access of a program to a directory or file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Access {
    Read,
    Write,
}

/// A program to run, and everything that it can see.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sandbox {
    /// With [`Access::Read`], every entry of the root directory is bound read-only into an empty one, so that
    /// other files can be bound anywhere next to them; the directory must contain an empty `run`. With
    /// [`Access::Write`], it is the root itself.
    root: PathBuf,
    access: Access,
    binds: Vec<Bind>,
    /// Environment of the program; nothing is inherited.
    environment: BTreeMap<String, String>,
    /// Program and arguments; the program is looked up in `PATH` inside the sandbox.
    command: Vec<String>,
    fakeroot: Option<Fakeroot>,
    /// Process that started the sandbox; the sandbox ends with it.
    parent: u32,
}

/// A file or directory of the host, and its path inside the sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Bind {
    host: PathBuf,
    inside: String,
    access: Access,
}

impl Sandbox {
    /// Prepares to run `program` with `root` as its root directory, empty standard input and no network.
    pub(crate) fn new(root: &Path, access: Access, program: &str) -> Self {
        let environment = [
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            ("HOME", "/root"),
            ("LANG", "C.UTF-8"),
            ("LC_ALL", "C.UTF-8"),
            ("TERM", "dumb"),
            ("TZ", "UTC"),
        ];
        Self {
            root: root.to_owned(),
            access,
            binds: Vec::new(),
            environment: environment
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            command: vec![program.to_owned()],
            fakeroot: None,
            parent: std::process::id(),
        }
    }

    pub(crate) fn arg(&mut self, argument: impl Into<String>) -> &mut Self {
        self.command.push(argument.into());
        self
    }

    pub(crate) fn args<T: Into<String>>(&mut self, arguments: impl IntoIterator<Item = T>) -> &mut Self {
        self.command.extend(arguments.into_iter().map(Into::into));
        self
    }

    pub(crate) fn env(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Binds the host's file or directory `host` to the absolute path `inside`, which is created if missing.
    pub(crate) fn bind(&mut self, host: &Path, inside: &str, access: Access) -> &mut Self {
        self.binds.push(Bind { host: host.to_owned(), inside: inside.to_owned(), access });
        self
    }

    /// Emulates changes to file ownership for the program, and records these changes.
    pub(crate) fn fakeroot(&mut self, fakeroot: Fakeroot) -> &mut Self {
        self.fakeroot = Some(fakeroot);
        self
    }

    /// Runs the program to completion and returns its output.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] containing the last lines of standard error, if the program fails;
    /// [`Kind::Interrupted`] after a signal.
    pub(crate) fn run(&self) -> Result<Output> {
        self.run_with(Stdio::null(), |_| Ok(()))
    }

    /// Like [`Sandbox::run`], with standard input written by `fill`.
    ///
    /// # Errors
    ///
    /// Errors from the program first, because a writer fails when its reader does; then errors from `fill`.
    pub(crate) fn run_with_stdin(
        &self,
        fill: impl FnOnce(&mut dyn std::io::Write) -> Result<()>,
    ) -> Result<Output> {
        self.run_with(Stdio::piped(), |stdin| {
            let mut stdin =
                std::io::BufWriter::with_capacity(1 << 20, stdin.expect("standard input is piped"));
            fill(&mut stdin)?;
            let step = || format!("writing to `{}`", self.name());
            stdin.into_inner().map_err(std::io::IntoInnerError::into_error).doing(Kind::Tool, step).map(drop)
        })
    }

    fn run_with(&self, stdin: Stdio, write: impl FnOnce(Option<ChildStdin>) -> Result<()>) -> Result<Output> {
        let mut command = self.to_command()?;
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = self.name();
        let child = command.spawn().doing(Kind::Tool, || format!("starting a sandbox for `{name}`"))?;
        let (written, output) = host::process::attend(name, child, write)?;
        host::signal::check()?;
        let output = output?;
        written?;
        Ok(output)
    }

    fn name(&self) -> &str {
        let program = &self.command[0];
        program.rsplit('/').next().unwrap_or(program)
    }

    fn to_command(&self) -> Result<Command> {
        let spec = serde_json::to_string(self).doing(Kind::Internal, || "serializing the sandbox".into())?;
        let program = std::env::var_os(PROGRAM).unwrap_or_else(|| OsString::from("/proc/self/exe"));
        let mut command = host::process::command(program);
        command.arg(OUTER).env_clear().env(SPEC, spec);
        Ok(command)
    }
}

/// Runs as part of a sandbox if this process was started as one, and returns the exit code; otherwise returns
/// `None`.
///
/// Must be called before anything else in `main`, while there is only one thread.
pub(crate) fn enter_if_asked() -> Option<u8> {
    let part = std::env::args_os().nth(1)?;
    let run: fn(&Sandbox) -> Result<u8> = match part.to_str()? {
        OUTER => outer::run,
        INNER => init::run,
        _ => return None,
    };
    // Only kiln sets the variable: a user who types the hidden subcommand sees the usual error for an unknown
    // command.
    let spec = std::env::var(SPEC).ok()?;
    let result = serde_json::from_str(&spec)
        .doing(Kind::Internal, || "parsing the sandbox".into())
        .and_then(|spec| run(&spec));
    Some(result.unwrap_or_else(|err| {
        tell(&err);
        FAILED
    }))
}

/// Reports the error on standard error: a pipe to the kiln process that started this one, which shows the
/// last lines.
fn tell(err: &Error) {
    use std::io::Write;
    let mut text = format!("sandbox: {err}\n");
    for hint in err.hints() {
        text.push_str("hint: ");
        text.push_str(hint);
        text.push('\n');
    }
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// Returns the exit code for a child's status, as in shells.
fn exit_code(status: std::process::ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    u8::try_from(code).unwrap_or(FAILED)
}

#[cfg(test)]
mod tests {
    use super::{Access, Sandbox};
    use crate::error::Kind;
    use crate::host;
    use std::path::{Path, PathBuf};

    /// A read-only root made of the machine's own programs.
    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        host::fs::create_directories(&root.path().join("run")).unwrap();
        root
    }

    fn sandbox(root: &Path, program: &str) -> Sandbox {
        let mut sandbox = Sandbox::new(root, Access::Read, program);
        for directory in ["usr", "bin", "lib", "lib64"] {
            let host = PathBuf::from("/").join(directory);
            if host.exists() {
                sandbox.bind(&host.canonicalize().unwrap(), &format!("/{directory}"), Access::Read);
            }
        }
        sandbox
    }

    fn shell(root: &Path, script: &str) -> Sandbox {
        let mut sandbox = sandbox(root, "/bin/sh");
        sandbox.args(["-c", script]);
        sandbox
    }

    fn said(sandbox: &Sandbox) -> String {
        String::from_utf8(sandbox.run().unwrap().stdout).unwrap()
    }

    #[test]
    fn a_confined_program_is_root_and_alone() {
        let root = root();
        let script = "id -u; id -g; echo $$; uname -n; umask; echo /*; echo /dev/*; echo \
            /proc/sys/net/ipv4/conf/*; env | sort";
        insta::assert_snapshot!(said(&shell(root.path(), script)), @r"
        0
        0
        2
        kiln
        0022
        /bin /dev /lib /lib64 /proc /run /sys /tmp /usr
        /dev/fd /dev/full /dev/null /dev/random /dev/shm /dev/stderr /dev/stdin /dev/stdout /dev/tty /dev/urandom /dev/zero
        /proc/sys/net/ipv4/conf/all /proc/sys/net/ipv4/conf/default /proc/sys/net/ipv4/conf/lo
        HOME=/root
        LANG=C.UTF-8
        LC_ALL=C.UTF-8
        PATH=/usr/sbin:/usr/bin:/sbin:/bin
        PWD=/
        TERM=dumb
        TZ=UTC
        ");
    }

    #[test]
    fn what_is_bound_for_reading_cannot_be_written() {
        let root = root();
        let shared = tempfile::tempdir().unwrap();
        let mut sandbox = shell(root.path(), "echo yes > /write/x; echo no > /read/x || cat /write/x");
        sandbox.bind(shared.path(), "/write", Access::Write).bind(shared.path(), "/read", Access::Read);
        assert_eq!(said(&sandbox), "yes\n");
    }

    #[test]
    fn standard_input_is_streamed() {
        let root = root();
        let output = sandbox(root.path(), "sha256sum").run_with_stdin(|out| {
            for _ in 0..1000 {
                out.write_all(&[0; 4096]).unwrap();
            }
            Ok(())
        });
        let expected = crate::digest::Digest::of(&vec![0; 4_096_000]).to_string();
        assert_eq!(String::from_utf8(output.unwrap().stdout).unwrap(), format!("{expected}  -\n"));
    }

    #[test]
    fn a_failing_program_is_named_with_what_it_said() {
        let root = root();
        let err = shell(root.path(), "echo no such disk >&2; exit 3").run().unwrap_err();
        assert_eq!(
            (err.kind(), err.to_string().as_str()),
            (Kind::Tool, "`sh` failed (exit status: 3):\n  no such disk")
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let root = root();
        let err = sandbox(root.path(), "mkfs.missing").run().unwrap_err();
        assert!(err.to_string().contains("starting `mkfs.missing` in the sandbox"), "{err}");
    }

    #[test]
    fn nothing_is_left_running_when_the_program_ends() {
        let root = root();
        let start = std::time::Instant::now();
        said(&shell(root.path(), "sleep 60 > /dev/null 2>&1 & echo done"));
        assert!(start.elapsed().as_secs() < 20);
    }
}
