//! Build progress in a terminal emulator: progress bars leave nothing behind on wide and narrow terminals,
//! and without a terminal there are only lines.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the world as users do")]

mod common;

use std::process::Command;

use common::{Site, judge, skip};
use serde_json::Value;

/// Runs a command on a pseudoterminal with the given number of columns. Prints as JSON the final screen with
/// its scrollback, and every line that was ever displayed.
const TERMINAL: &str = r#"
import fcntl, json, os, pty, pyte, struct, sys, termios
columns = int(sys.argv[1])
screen = pyte.HistoryScreen(columns, 24, history=10000)
stream = pyte.ByteStream(screen)
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[2], sys.argv[2:])
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
seen, doubled = set(), 0
while True:
    try:
        some = os.read(terminal, 65536)
    except OSError:
        break
    stream.feed(some)
    lines = [line.rstrip() for line in screen.display if line.strip()]
    # Counts screens with two lines for one step, regardless of spinner, bar and numbers.
    steps = [line.lstrip("⠁⠂⠄⡀⢀⠠⠐⠈ ")[:12] for line in lines if line[:1] in "⠁⠂⠄⡀⢀⠠⠐⠈"]
    doubled += len(steps) != len(set(steps))
    seen.update(lines)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
scrolled = ["".join(line[column].data for column in range(columns)).rstrip() for line in screen.history.top]
left = [line for line in scrolled + [line.rstrip() for line in screen.display] if line.strip()]
print(json.dumps({"status": status, "left": left, "seen": sorted(seen), "doubled": doubled}))
"#;

fn on_terminal(columns: u16, command: &Command) -> Option<Value> {
    // Debian's, for which ci/setup installs modules.
    let mut python = judge("/usr/bin/python3")?;
    python.args(["-c", TERMINAL, &columns.to_string()]).arg(command.get_program()).args(command.get_args());
    python
        .current_dir(command.get_current_dir().unwrap())
        .env("TERM", "xterm-256color")
        .env_remove("NO_COLOR");
    python.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = python.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("No module named 'pyte'") {
        return skip("the Python module `pyte`");
    }
    assert!(output.status.success(), "{said}");
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn bars_leave_nothing_behind_and_are_not_drawn_without_a_terminal() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(site) = Site::new(&scratch.path().join("site")) else { return };
    for columns in [80, 40] {
        let out = format!("out-{columns}");
        let Some(shown) = on_terminal(columns, &site.command(&["build", "--out", &out, "--format", "qcow2"]))
        else {
            return;
        };
        assert_eq!((&shown["status"], &shown["doubled"]), (&Value::from(0), &Value::from(0)), "{shown:#}");
        let left = shown["left"].as_array().unwrap();
        assert!(left.len() <= 3 && left[0].as_str().unwrap().starts_with("published `out-"), "{shown:#}");
        assert!(
            shown["seen"].as_array().unwrap().iter().any(|line| line.as_str().unwrap().contains("writing")),
            "no progress bar: {shown:#}"
        );
    }
    let output = site.command(&["build", "--out", "out-plain", "--format", "qcow2"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.success()
            && !text.contains(['\u{1b}', '\r', '⠁', '━'])
            && text.contains("published `out-plain"),
        "{text}"
    );
}
