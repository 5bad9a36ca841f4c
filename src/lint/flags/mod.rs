//! How components are started: flags that a version lost, that are misspelt, that are missing, that open a door.

mod apiserver;
mod components;
mod gone;
mod known;
mod kubelet;
mod secure;

use crate::lint::Lint;

pub(super) use components::runtime;

/// The families of this subject.
pub(super) static FAMILIES: &[&[Lint]] = &[gone::ROWS, apiserver::ROWS, secure::ROWS, components::ROWS, kubelet::ROWS];
