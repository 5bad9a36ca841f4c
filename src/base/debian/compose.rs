//! Turns locked packages into an installed base system: unpack, configure, scan, scrub, pack.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::base::debian::deb::Deb;
use crate::base::debian::{Scratch, Tools, User, configure, pack, packages, scan, scrub, unpack};
use crate::base::{Lock, PackagePin};
use crate::digest::{Digest, Hasher};
use crate::error::{Result, Within};
use crate::progress::Progress;
use crate::store::Store;
use crate::tree::{ImagePath, Tree};

/// Name of the stages in the store.
const STAGE: &str = "base";

/// Recipe version, increased when the same packages produce different bytes.
const RECIPE: &[u8] = b"2";

/// Directories omitted from the image: documentation and translations. Licences are kept.
const DROPPED: &[&str] = &[
    "/usr/share/bug",
    "/usr/share/doc",
    "/usr/share/info",
    "/usr/share/lintian",
    "/usr/share/locale",
    "/usr/share/man",
];

/// Installs the package set `set`; `users` are created before any package is configured.
///
/// The same lock, set and users produce the same tree: as any user, on any machine, with any store.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] if the lock does not contain the set, `Network` if the store lacks a
/// package, `Tool` if a maintainer script fails.
pub(crate) fn compose(
    lock: &Lock,
    set: &str,
    users: &[User],
    tools: &Tools,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Tree> {
    let key = key(lock, set, users)?;
    let fill = |out: &Path| install(lock, set, users, tools, store, progress, out);
    let out = store.stage(STAGE, &key, fill).within(|| format!("composing the base system for `{set}`"))?;
    pack::load(&out, lock.epoch)
}

fn install(
    lock: &Lock,
    set: &str,
    users: &[User],
    tools: &Tools,
    store: &Store,
    progress: &dyn Progress,
    out: &Path,
) -> Result<()> {
    let mut scratch = Scratch::new(store)?;
    let debs = open_packages(lock, set, store, progress)?;
    let step =
        progress.begin(&format!("unpacking packages for {set}"), Some(debs.iter().map(Deb::size).sum()));
    let unpacked = unpack::unpack(debs, &scratch.root, keep, &*step)?;
    scratch.ownership = unpacked.ownership.clone();
    drop(step);
    let step = progress.begin(&format!("configuring packages for {set}"), None);
    configure::configure(&mut scratch, &unpacked.packages, users, tools, lock.epoch)?;
    drop(step);
    let _step = progress.begin(&format!("packing the base system for {set}"), None);
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

/// Adds the contents of a package set to the key of a stage.
pub(super) fn add_packages(key: &mut Hasher, lock: &Lock, set: &str) -> Result<()> {
    for pin in lock.packages(set)? {
        key.field(&pin.name, pin.sha256.as_bytes());
    }
    Ok(())
}

/// Opens every package of a set, in the lock's order.
pub(super) fn open_packages(
    lock: &Lock,
    set: &str,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Vec<Deb>> {
    let open = |(pin, path): &(&PackagePin, PathBuf)| {
        Deb::open(path).within(|| format!("opening `{}`", pin.title()))
    };
    packages(lock, set, store, progress)?.par_iter().map(open).collect()
}

fn keep(path: &ImagePath) -> bool {
    let dropped = DROPPED.iter().any(|dropped| path.is_under(dropped) && path.as_str() != *dropped);
    // A package's documentation directory may be a link to another package's documentation directory.
    let licence = match path.as_str().strip_prefix("/usr/share/doc/").map(|rest| rest.split_once('/')) {
        Some(None) => true,
        Some(Some((_, name))) => name == "copyright",
        None => false,
    };
    !dropped || licence
}
