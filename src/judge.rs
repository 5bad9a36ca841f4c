//! Independent programs that judge what kiln writes, for tests: a missing one is told loudly here and is a failure under CI.

use std::process::Command;

use crate::host;

/// Finds `program`, or says that the test judged nothing.
///
/// # Panics
///
/// When the program is missing and `CI` is `true` in the environment.
pub(crate) fn judge(program: &str) -> Option<Command> {
    if let Some(path) = host::process::find(program) {
        let mut command = host::process::command(path);
        // A judge in Python wants the system's own interpreter.
        command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        return Some(command);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "`{program}` is missing: run ci/setup");
    eprintln!("SKIPPED a judgement: `{program}` is not installed, see ci/setup");
    None
}

/// Runs a judge and returns what it printed.
///
/// # Panics
///
/// When it finds fault, with its own words.
pub(crate) fn accepts(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} finds fault ({}):\n{said}", output.status);
    said
}
