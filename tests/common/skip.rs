//! The rule for missing test requirements: the test fails in CI, but ends early and is counted elsewhere.
//! libtest hides the output of passing tests, so each skip is a line in the file `$KILN_TEST_SKIPS`, which
//! `ci/skips` prints at the end.

use std::fs::OpenOptions;
use std::io::{self, Write as _};

/// Skips the rest of a test that needs `what`.
///
/// # Panics
///
/// In CI: if `$CI` is set to anything but `false`.
pub(crate) fn skip<T>(what: &str) -> Option<T> {
    let is_ci = std::env::var("CI").is_ok_and(|value| !value.is_empty() && value != "false");
    assert!(!is_ci, "{what} not found, and CI must not skip (run ci/setup)");
    // Shown if the test runs alone.
    let mut stderr = io::stderr();
    writeln!(stderr, "skipped: {what} not found (run ci/setup)").unwrap();
    if let Some(file) = std::env::var_os("KILN_TEST_SKIPS") {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let line = format!("{what} not found\t{test}\n");
        OpenOptions::new().create(true).append(true).open(file).unwrap().write_all(line.as_bytes()).unwrap();
    }
    None
}
