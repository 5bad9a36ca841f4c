//! Handling of a failed boot in the initrd: shows the reason on every console, then performs the configured
//! action.

use std::fmt::Write as _;
use std::time::Duration;

use crate::agent::Places;
use crate::agent::machine::parameter;
use crate::agent::report::failed_units;
use crate::error::Result;
use crate::host;

/// Kernel parameter that selects the action: `kiln.on-failure=reboot:60`, `poweroff:5`, `halt`.
const ON_FAILURE: &str = "kiln.on-failure";
/// Number of journal lines shown for each unit.
const LINES: &str = "8";

/// Action to take after the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    /// A systemctl(1) command.
    action: &'static str,
    /// Seconds to wait, so that the reason can be read.
    delay: u64,
}

/// Default action: the fault may be transient, such as a disk that spins up late, and the machine may be
/// unattended.
const DEFAULT: Plan = Plan { action: "reboot", delay: 60 };

/// Shows why the boot failed, then reboots, powers off or halts the machine.
///
/// # Errors
///
/// [`crate::error::Kind::Tool`] if systemd rejects the request.
pub(crate) fn failure(places: &Places) -> Result<()> {
    let plan = plan(parameter(&places.command_line, ON_FAILURE).as_deref());
    let failed = failed_units().unwrap_or_default();
    let reasons: Vec<(String, String)> = failed
        .into_iter()
        .map(|unit| (said(&["--unit", &unit]), unit))
        .map(|(text, unit)| (unit, text))
        .collect();
    host::console::announce(&message(&reasons, &said(&["--priority=err"]), plan));
    host::clock::sleep(Duration::from_secs(plan.delay));
    // Without --force, this would wait for the very failure that started this program.
    host::process::run(host::process::command("systemctl").args(["--force", plan.action])).map(drop)
}

/// Parses the parameter; an invalid value is ignored, so that a typo does not hang the machine.
fn plan(value: Option<&str>) -> Plan {
    let parse = |value: &str| {
        let (action, delay) =
            value.split_once(':').map_or((value, None), |(action, delay)| (action, delay.parse().ok()));
        let action = ["reboot", "poweroff", "halt"].into_iter().find(|known| *known == action)?;
        Some(Plan { action, delay: delay.unwrap_or(if action == "reboot" { DEFAULT.delay } else { 0 }) })
    };
    value.and_then(parse).unwrap_or(DEFAULT)
}

fn message(reasons: &[(String, String)], errors: &str, plan: Plan) -> String {
    let mut text = String::from("\nkiln: BOOT FAILED\n");
    for (unit, said) in reasons {
        let _ = writeln!(text, "kiln: {unit} failed");
        text += &indented(said);
    }
    // A unit that waits for a missing device has not failed itself: its reason is among the errors.
    if reasons.is_empty() {
        text += &indented(errors);
    }
    let _ = writeln!(
        text,
        "kiln: {} in {} s (kernel parameter {ON_FAILURE}=reboot|poweroff|halt[:SECONDS])",
        plan.action, plan.delay
    );
    text
}

fn indented(text: &str) -> String {
    text.lines().flat_map(|line| ["kiln:   ", line, "\n"]).collect()
}

/// Returns the last messages of this boot's journal; empty if it can't be read.
fn said(filter: &[&str]) -> String {
    let arguments = ["--boot", "--no-pager", "--output=cat", "--lines", LINES];
    let output = host::process::run(host::process::command("journalctl").args(arguments).args(filter));
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT, Plan, message, plan};

    #[test]
    fn a_value_that_nobody_understands_is_the_default() {
        for (value, expected) in [
            (None, DEFAULT),
            (Some("poweroff"), Plan { action: "poweroff", delay: 0 }),
            (Some("poweroff:5"), Plan { action: "poweroff", delay: 5 }),
            (Some("reboot"), DEFAULT),
            (Some("halt:x"), Plan { action: "halt", delay: 0 }),
            (Some("explode"), DEFAULT),
        ] {
            assert_eq!(plan(value), expected, "{value:?}");
        }
    }

    #[test]
    fn the_message_names_the_unit_its_words_and_what_follows() {
        let reasons = [("kiln-agent.service".to_owned(), "error: no seed found\n".to_owned())];
        insta::assert_snapshot!(message(&reasons, "", DEFAULT), @r"

        kiln: BOOT FAILED
        kiln: kiln-agent.service failed
        kiln:   error: no seed found
        kiln: reboot in 60 s (kernel parameter kiln.on-failure=reboot|poweroff|halt[:SECONDS])
        ");
    }
}
