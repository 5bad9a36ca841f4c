//! Debian: packages resolved from signed indexes, fetched, unpacked and configured, and the tools tree.
//!
//! Another distribution would provide the same operations: resolve names to pins, fetch pins, compose a root,
//! open tools.

mod choice;
mod claims;
mod compose;
mod configure;
mod control;
mod database;
mod deb;
mod index;
#[cfg(test)]
mod judged_by_apt;
#[cfg(test)]
mod judged_by_mmdebstrap;
mod member;
mod mirror;
mod ownership;
mod pack;
mod relation;
mod release;
mod repository;
mod resolve;
mod scan;
mod scratch;
mod scrub;
mod signature;
mod solver;
mod tools;
mod universe;
mod unpack;
mod users;

pub(crate) use compose::compose;
pub(crate) use mirror::mirror;
pub(crate) use resolve::{LockRequest, Trust, fetch, packages, resolve};
use scratch::Scratch;
pub(crate) use tools::{TOOLS_PACKAGES, TOOLS_SET, Tools};
pub(crate) use users::User;

/// Reads a package and its data to the end, for `crate::fuzz`.
#[cfg(any(test, fuzzing))]
pub(super) fn read_deb(path: &std::path::Path) {
    let Ok(deb) = deb::Deb::open(path) else { return };
    let _ = deb.data().map(|mut data| std::io::copy(&mut data, &mut std::io::sink()));
}
