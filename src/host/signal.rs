//! Interruption: the first signal asks work to stop and clean up, the second ends the process at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use crate::error::{Doing, Error, Kind, Result};

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Begins to watch for SIGINT, SIGTERM and SIGHUP. Called once, by the command line.
///
/// # Errors
///
/// [`Kind::Io`] if the kernel refuses the handlers.
pub(crate) fn watch() -> Result<()> {
    let interrupted = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // The order matters: the shutdown looks at the flag before this signal sets it.
        flag::register_conditional_shutdown(signal, i32::from(Kind::Interrupted.exit_code()), Arc::clone(interrupted))
            .and_then(|_| flag::register(signal, Arc::clone(interrupted)))
            .doing(Kind::Io, || format!("watching for signal {signal}"))?;
    }
    Ok(())
}

/// Whether a signal asked to stop.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Stops long work at a place where it can be stopped; loops over files, downloads and boots call it.
///
/// # Errors
///
/// [`Kind::Interrupted`] once a signal came.
pub(crate) fn check() -> Result<()> {
    if interrupted() { Err(Error::new(Kind::Interrupted, "interrupted")) } else { Ok(()) }
}
