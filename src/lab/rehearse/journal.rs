//! Node journals during a fault: stored in full, with the lines extracted that explain a row.

use std::path::Path;

use crate::error::Result;
use crate::host;
use crate::lab::rehearse::report::Line;
use crate::lab::rehearse::world::World;

/// Maximum number of lines in a report.
pub(super) const MOST: usize = 16;
/// Maximum length of a line in characters.
const LONGEST: usize = 160;

/// Programs, and parts of the messages that they log about changes.
const TELLING: &[(&str, &[&str])] = &[
    ("haproxy", &[" is DOWN", " is UP", "no server available"]),
    ("Keepalived", &[" STATE", "FAULT", "Stopped", "terminated"]),
    ("kube-vip", &["lost leadership", "became leader", "Node ["]),
    (
        "etcd",
        &[
            "became leader",
            "elected leader",
            "lost leader",
            "lost TCP streaming",
            "stepped down",
            "no space left",
        ],
    ),
    ("kiln", &["VIP", "silent", "waiting: ", "disk is slow"]),
    (
        "systemd",
        &["Main process exited", "Failed with result", "Started Kubernetes API", "Stopping Kubernetes API"],
    ),
    ("kube-controller", &["became leader", "successfully acquired lease", "lost"]),
    ("kube-scheduler", &["became leader", "successfully acquired lease", "lost"]),
];

/// Collects the nodes' messages since `begin`, in seconds since 1970; stores all of them in `directory`, if
/// set.
///
/// # Errors
///
/// If the lab has stopped, or a journal can't be written.
pub(super) fn collect(
    world: &World<'_>,
    begin: f64,
    directory: Option<&Path>,
    name: &str,
) -> Result<Vec<Line>> {
    let since = format!("--since=@{}", begin - 1.0);
    let mut lines = Vec::new();
    for node in world.lab.nodes()?.into_iter().filter(|node| node.running).map(|node| node.name) {
        let text =
            world.lab.transcript(&node, &["journalctl", "--no-pager", "--output=short-unix", &since])?;
        if let Some(directory) = directory {
            host::fs::create_directories(directory)?;
            host::fs::write_atomic(
                &directory.join(format!("{name}-{node}.log")),
                text.as_bytes(),
                host::fs::PUBLIC,
            )?;
        }
        lines.extend(text.lines().filter_map(|line| telling(line, &node, begin)));
    }
    lines.sort_by(|one, other| one.at.total_cmp(&other.at));
    Ok(lines)
}

/// Parses `1780000000.123456 m1 haproxy[123]: text`; `None` for an irrelevant line.
fn telling(line: &str, node: &str, begin: f64) -> Option<Line> {
    let mut words = line.splitn(4, ' ');
    let time: f64 = words.next()?.parse().ok()?;
    let (_, program, text) = (words.next()?, words.next()?, words.next()?);
    // HAProxy logs everything twice, once to its own log.
    if text.starts_with("[WARNING]") || text.starts_with("[ALERT]") {
        return None;
    }
    let says = |(name, marks): &(&str, &[&str])| {
        program.starts_with(name) && marks.iter().any(|mark| text.contains(mark))
    };
    let text = message(text);
    TELLING.iter().any(says).then(|| Line {
        at: time - begin,
        node: node.to_owned(),
        text: format!("{program} {text}"),
    })
}

/// Returns the message in a structured log line, or the whole text of another line, shortened if it is long.
fn message(text: &str) -> String {
    let message = serde_json::from_str::<serde_json::Value>(text)
        .ok()
        .and_then(|line| line["msg"].as_str().map(str::to_owned));
    let message = message.unwrap_or_else(|| text.to_owned());
    if message.chars().count() > LONGEST {
        message.chars().take(LONGEST).chain(['…']).collect()
    } else {
        message
    }
}

#[cfg(test)]
mod tests {
    use super::telling;

    #[test]
    fn lines_that_explain_have_the_time_since_the_fault() {
        let line =
            "1780000003.500000 m1 haproxy[71]: Server kube-apiserver/m2 is DOWN, reason: Layer6 timeout";
        let found = telling(line, "m1", 1_780_000_000.0).unwrap();
        assert_eq!(
            (found.node.as_str(), found.text.starts_with("haproxy[71]: Server kube-apiserver/m2 is DOWN")),
            ("m1", true)
        );
        assert!((found.at - 3.5).abs() < 1e-6);
        let line = r#"1780000003.500000 m1 etcd[7]: {"level":"info","msg":"a1 became leader at term 3"}"#;
        assert_eq!(telling(line, "m1", 0.0).unwrap().text, "etcd[7]: a1 became leader at term 3");
        assert!(telling("1780000003.500000 m1 haproxy[71]: 10.0.0.1:1 accepted", "m1", 0.0).is_none());
    }
}
