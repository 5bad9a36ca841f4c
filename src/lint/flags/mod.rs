//! Component flags: removed, misspelt, missing or insecure.

mod apiserver;
mod components;
mod gone;
mod known;
mod kubelet;
mod secure;

use crate::lint::Lint;

pub(super) use components::runtime;

/// The lint families of this module.
pub(super) static FAMILIES: &[&[Lint]] =
    &[gone::ROWS, apiserver::ROWS, secure::ROWS, components::ROWS, kubelet::ROWS];
