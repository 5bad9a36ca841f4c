//! Interruption: the first signal stops work and cleans up, the second ends the process immediately.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{Doing, Error, Kind, Result};

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Starts watching for SIGINT, SIGTERM and SIGHUP. Called once, by the CLI.
///
/// # Errors
///
/// [`Kind::Io`] if the signal handlers can't be installed.
pub(crate) fn watch() -> Result<()> {
    let interrupted = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The order matters: the shutdown checks the flag before this signal sets it.
        flag::register_conditional_shutdown(
            signal,
            i32::from(Kind::Interrupted.exit_code()),
            Arc::clone(interrupted),
        )
        .and_then(|_| flag::register(signal, Arc::clone(interrupted)))
        .doing(Kind::Io, || format!("installing a handler for signal {signal}"))?;
    }
    Ok(())
}

/// Checks whether a signal has requested a stop.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Stops long work at a safe point; called in loops over files, downloads and boots.
///
/// # Errors
///
/// [`Kind::Interrupted`] after a signal.
pub(crate) fn check() -> Result<()> {
    if interrupted() { Err(Error::new(Kind::Interrupted, "interrupted")) } else { Ok(()) }
}
