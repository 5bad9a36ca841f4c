//! Components, read from the binary or a directory: their requirements and their files.
//!
//! Independent of any cluster; templates are rendered in `render`.

mod catalog;
mod files;
mod manifest;

pub(crate) use catalog::{Origin, Overlay, Overlays};
pub(crate) use files::OverlayFile;
#[cfg(any(test, fuzzing))]
pub(crate) use manifest::Manifest;
pub(crate) use manifest::{Attributes, Dialler, Port, Protocol, Range, User};
