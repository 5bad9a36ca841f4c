//! HAProxy and nginx before the API servers.

mod checks;
mod process;

use crate::lint::Lint;

/// The families of this subject.
pub(super) static FAMILIES: &[&[Lint]] = &[checks::ROWS, process::ROWS];
