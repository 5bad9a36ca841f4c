//! Components as read from the binary or a directory: what each one needs, and its files.
//!
//! Nothing here renders templates or knows a cluster; `render` does.

mod catalog;
mod files;
mod manifest;

pub(crate) use catalog::{Origin, Overlay, Overlays};
pub(crate) use files::OverlayFile;
pub(crate) use manifest::{Attributes, Dialler, Port, Protocol, Range, User};
