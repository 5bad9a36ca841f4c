//! The machine itself.

mod guard;
mod identity;
mod kernel;
mod letters;

use crate::lint::Lint;

pub(super) use guard::clock;
pub(super) use kernel::loads_module;

/// The lint families of this module.
pub(super) static FAMILIES: &[&[Lint]] = &[kernel::ROWS, guard::ROWS, identity::ROWS, letters::ROWS];
