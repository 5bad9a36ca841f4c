//! The machine below.

mod guard;
mod identity;
mod kernel;
mod letters;

use crate::lint::Lint;

pub(super) use guard::clock;
pub(super) use kernel::loads_module;

/// The families of this subject.
pub(super) static FAMILIES: &[&[Lint]] = &[kernel::ROWS, guard::ROWS, identity::ROWS, letters::ROWS];
