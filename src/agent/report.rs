//! Final boot message, on every console: the node is ready, or why it is not.

use std::path::Path;
use std::time::Duration;

use crate::agent::machine::parameter;
use crate::agent::{Places, Status, etcd};
use crate::error::Result;
use crate::host;

/// Kernel parameter that ends a test boot: `kiln.test=poweroff`.
const TEST: &str = "kiln.test";

/// Seconds before a boot reports what it is waiting for, and seconds between two polls.
const QUIET: u64 = 20;
const PAUSE: u64 = 3;
/// Seconds before a changed message is shown, and before an unchanged one is repeated: a restarting service
/// must not flood the console.
const CHANGE: u64 = 15;
const REPEAT: u64 = 60;

/// Waits until the boot has finished and reports the result with any failed units; until then, shows what the
/// boot is waiting for. A test boot ends here.
///
/// # Errors
///
/// [`crate::error::Kind::Tool`] if systemd can't be queried.
pub(crate) fn report(places: &Places) -> Result<()> {
    let node = Node::of(places);
    let mut reported = String::new();
    let (mut elapsed, mut last) = (0, 0);
    loop {
        let jobs = running_jobs()?;
        if jobs.is_empty() {
            break;
        }
        let line = node.line("waiting", "for", &jobs) + &reasons(&etcd_says());
        let silence = if line == reported { REPEAT } else { CHANGE };
        if elapsed >= QUIET && (reported.is_empty() || elapsed - last >= silence) {
            host::console::announce(&line);
            (reported, last) = (line, elapsed);
        }
        host::clock::sleep(Duration::from_secs(PAUSE));
        elapsed += PAUSE;
    }
    let failed = failed_units()?;
    let state = if failed.is_empty() { "ready" } else { "degraded" };
    host::console::announce(&(node.line(state, "failed", &failed) + &reasons(&etcd_says())));
    if parameter(&places.command_line, TEST).as_deref() == Some("poweroff") {
        host::process::run(host::process::command("systemctl").args(["--no-block", "poweroff"]))?;
    }
    Ok(())
}

/// The booting node.
#[derive(Debug)]
struct Node {
    name: String,
    roles: String,
}

impl Node {
    fn of(places: &Places) -> Self {
        match Status::read(places).ok().and_then(|status| status.identity) {
            Some(identity) => Self { name: identity.node, roles: identity.roles.join("+") },
            None => Self { name: "unknown".into(), roles: "none".into() },
        }
    }

    /// Returns one line in a fixed format that users and tests search for.
    fn line(&self, state: &str, what: &str, units: &[String]) -> String {
        let units = if units.is_empty() { String::new() } else { format!(" {what}={}", units.join(",")) };
        format!("kiln: {state} node={} target={}{units}\n", self.name, self.roles)
    }
}

/// Returns what etcd is waiting for, and its problems.
fn etcd_says() -> Vec<String> {
    let settings = Path::new(etcd::SETTINGS);
    [etcd::waits_for(settings), etcd::problems(settings)].concat()
}

/// Formats reasons, one per line.
fn reasons(reasons: &[String]) -> String {
    reasons.iter().map(|reason| format!("kiln:   etcd: {reason}\n")).collect()
}

/// Returns the names of units with a running job; a waiting job is not the cause of the delay.
fn running_jobs() -> Result<Vec<String>> {
    let output = host::process::run(host::process::command("systemctl").args([
        "list-jobs",
        "--plain",
        "--no-legend",
        "--no-pager",
        "--full",
    ]))?;
    Ok(running(&String::from_utf8_lossy(&output.stdout)))
}

/// Parses lines of `JOB UNIT TYPE STATE`.
fn running(list: &str) -> Vec<String> {
    let lines = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.filter(|words| words.len() == 4 && words[3] == "running").map(|words| words[1].to_owned()).collect()
}

/// Returns the names of the units in state `failed`.
pub(super) fn failed_units() -> Result<Vec<String>> {
    let arguments = ["list-units", "--state=failed", "--plain", "--no-legend", "--no-pager", "--full"];
    let output = host::process::run(host::process::command("systemctl").args(arguments))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::{Node, running};

    #[test]
    fn the_line_names_node_roles_and_units() {
        let node = Node { name: "m1".into(), roles: "control-plane".into() };
        assert_eq!(node.line("ready", "failed", &[]), "kiln: ready node=m1 target=control-plane\n");
        let failed = ["etcd.service".to_owned(), "kubelet.service".to_owned()];
        let expected = "kiln: degraded node=m1 target=control-plane failed=etcd.service,kubelet.service\n";
        assert_eq!(node.line("degraded", "failed", &failed), expected);
    }

    #[test]
    fn only_running_jobs_are_waited_for() {
        let list =
            "  1 multi-user.target start waiting\n 52 etcd.service      start running\nNo jobs running.\n";
        assert_eq!(running(list), ["etcd.service"]);
    }
}
