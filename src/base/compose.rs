//! Locked packages become an installed base system: unpack, configure, scan, scrub, pack.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::base::deb::Deb;
use crate::base::{Lock, PackagePin, Scratch, Tools, User, configure, pack, packages, scan, scrub, unpack};
use crate::digest::{Digest, Hasher};
use crate::error::{Result, Within};
use crate::progress::Progress;
use crate::store::Store;
use crate::tree::{ImagePath, Tree};

/// Name of the store's stages.
const STAGE: &str = "base";

/// Raised when the same packages give other bytes.
const RECIPE: &[u8] = b"2";

/// Never reach the image: documentation for people who log in, and translations. Licences stay.
const DROPPED: &[&str] =
    &["/usr/share/bug", "/usr/share/doc", "/usr/share/info", "/usr/share/lintian", "/usr/share/locale", "/usr/share/man"];

/// Installs the package set `set` with `users` in the system before any package sees it.
///
/// Gives the same tree for the same lock, set and users: as any user, on any machine, whatever was in the store.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] if the lock has no such set, `Network` if the store lacks a package, `Tool` if a maintainer script fails.
pub(crate) fn compose(lock: &Lock, set: &str, users: &[User], tools: &Tools, store: &Store, progress: &dyn Progress) -> Result<Tree> {
    let key = key(lock, set, users)?;
    let fill = |out: &Path| install(lock, set, users, tools, store, progress, out);
    let out = store.stage(STAGE, &key, fill).within(|| format!("composing the base system of `{set}`"))?;
    pack::load(&out, lock.epoch)
}

fn install(lock: &Lock, set: &str, users: &[User], tools: &Tools, store: &Store, progress: &dyn Progress, out: &Path) -> Result<()> {
    let mut scratch = Scratch::new(store)?;
    let debs = open_packages(lock, set, store, progress)?;
    let step = progress.begin(&format!("unpacking packages of {set}"), Some(debs.iter().map(Deb::size).sum()));
    let unpacked = unpack::unpack(debs, &scratch.root, keep, &*step)?;
    scratch.ownership = unpacked.ownership.clone();
    drop(step);
    let step = progress.begin(&format!("configuring packages of {set}"), None);
    configure::configure(&mut scratch, &unpacked.packages, users, tools, lock.epoch)?;
    drop(step);
    let _step = progress.begin(&format!("packing the base system of {set}"), None);
    let mut nodes = scan::scan(&scratch, &unpacked)?;
    scrub::scrub(&mut nodes, lock.epoch)?;
    pack::pack(&nodes, out)
}

fn key(lock: &Lock, set: &str, users: &[User]) -> Result<Digest> {
    let mut key = Hasher::default();
    key.field("recipe", RECIPE).field("epoch", &lock.epoch.to_le_bytes());
    add_packages(&mut key, lock, set)?;
    for user in users {
        let User { name, uid, gid, home, groups } = user;
        key.field("user", format!("{name}:{uid}:{gid}:{home}:{}", groups.join(",")).as_bytes());
    }
    Ok(key.finish())
}

/// Adds what a package set is to the key of a stage.
pub(super) fn add_packages(key: &mut Hasher, lock: &Lock, set: &str) -> Result<()> {
    for pin in lock.packages(set)? {
        key.field(&pin.name, pin.sha256.as_bytes());
    }
    Ok(())
}

/// Opens every package of a set, in the lock's order.
pub(super) fn open_packages(lock: &Lock, set: &str, store: &Store, progress: &dyn Progress) -> Result<Vec<Deb>> {
    let open = |(pin, path): &(&PackagePin, PathBuf)| Deb::open(path).within(|| format!("opening `{}`", pin.title()));
    packages(lock, set, store, progress)?.par_iter().map(open).collect()
}

fn keep(path: &ImagePath) -> bool {
    let dropped = DROPPED.iter().any(|dropped| path.is_under(dropped) && path.as_str() != *dropped);
    // A package's directory of documents may be a link to another's.
    let licence = match path.as_str().strip_prefix("/usr/share/doc/").map(|rest| rest.split_once('/')) {
        Some(None) => true,
        Some(Some((_, name))) => name == "copyright",
        None => false,
    };
    !dropped || licence
}
