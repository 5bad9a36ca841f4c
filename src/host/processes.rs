//! Processes of this machine that kiln did not start.

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Doing, Kind, Result};
use crate::host::fs;

/// Ends every process whose name begins so, at once, and returns how many there were.
///
/// # Errors
///
/// [`Kind::Io`] if one may not be ended.
pub(crate) fn kill(name: &str) -> Result<usize> {
    let found = named(name)?;
    for process in &found {
        match kill_process(*process, Signal::KILL) {
            // It ended by itself just now.
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(err) => return Err(err).doing(Kind::Io, || format!("ending `{name}`")),
        }
    }
    Ok(found.len())
}

/// By what the kernel calls a process: `comm` of proc(5).
fn named(name: &str) -> Result<Vec<Pid>> {
    let id = |entry: &std::path::PathBuf| Pid::from_raw(entry.file_name()?.to_str()?.parse().ok()?);
    // What has ended meanwhile has no name.
    let is_named = |entry: &std::path::PathBuf| fs::read_to_string(&entry.join("comm")).is_ok_and(|comm| comm.starts_with(name));
    Ok(fs::list("/proc".as_ref())?.into_iter().filter(is_named).filter_map(|entry| id(&entry)).collect())
}
