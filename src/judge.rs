//! Independent programs that check kiln's output in tests. A missing program is reported and the check is
//! skipped, except in CI, where the test fails.

#[path = "../tests/common/skip.rs"]
mod skip;

use std::process::Command;

use crate::host;

pub(crate) use skip::skip;

/// Finds `program`, or reports that the check was skipped.
///
/// # Panics
///
/// In CI, if the program is missing.
pub(crate) fn judge(program: &str) -> Option<Command> {
    if let Some(path) = host::process::find(program) {
        let mut command = host::process::command(path);
        // A judge written in Python needs the system's own interpreter.
        command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        return Some(command);
    }
    skip(&format!("`{program}`"))
}

/// Runs a judge and returns its output.
///
/// # Panics
///
/// If the judge reports an error; the message contains the judge's output.
pub(crate) fn accepts(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} reports an error ({}):\n{said}", output.status);
    said
}
