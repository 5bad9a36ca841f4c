//! HAProxy and nginx in front of the API servers.

mod checks;
mod process;

use crate::lint::Lint;

/// The lint families of this module.
pub(super) static FAMILIES: &[&[Lint]] = &[checks::ROWS, process::ROWS];
