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
const RECIPE: &[u8] = b"1";

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
    let step = progress.begin("unpacking packages", Some(debs.iter().map(Deb::size).sum()));
    let unpacked = unpack::unpack(debs, &scratch.root, keep, &*step)?;
    scratch.ownership = unpacked.ownership.clone();
    drop(step);
    let step = progress.begin("configuring packages", None);
    configure::configure(&mut scratch, &unpacked.packages, users, tools, lock.epoch)?;
    drop(step);
    let _step = progress.begin("packing the base system", None);
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

#[cfg(test)]
mod tests {
    use super::compose;
    use crate::base::deb::Deb;
    use crate::base::{Archive, Lock, PackagePin, TOOLS_SET, Tools, User};
    use crate::host;
    use crate::progress::{Progress, Step};
    use crate::store::Store;
    use std::path::Path;

    /// Puts packages into the store and pins them: `<pool>/<set>.set` names the package files of a set.
    fn lock(pool: &Path, store: &Store) -> Lock {
        let mut lock = Lock::new("trixie", "amd64");
        lock.epoch = 1_789_199_741;
        for list in host::fs::list(pool).unwrap().into_iter().filter(|path| path.extension().is_some_and(|name| name == "set")) {
            let text = host::fs::read_to_string(&list).unwrap();
            let mut names: Vec<String> = text.lines().map(|file| pin(&mut lock, &pool.join(file), store)).collect();
            names.sort();
            lock.sets.insert(list.file_stem().unwrap().to_str().unwrap().to_owned(), names);
        }
        lock.packages.sort_by(|one, other| one.name.cmp(&other.name));
        lock
    }

    fn pin(lock: &mut Lock, file: &Path, store: &Store) -> String {
        let control = Deb::open(file).unwrap().control;
        let field = |name: &str| control.field(name).unwrap().to_owned();
        let (sha256, size) = host::fs::digest(file).unwrap();
        if !lock.packages.iter().any(|pin| pin.sha256 == sha256) {
            if store.blob(&sha256).unwrap().is_none() {
                store.put(host::fs::open(file).unwrap()).unwrap();
            }
            let (name, version, architecture) = (field("Package"), field("Version"), field("Architecture"));
            lock.packages.push(PackagePin { name, version, architecture, archive: Archive::Debian, file: String::new(), size, sha256 });
        }
        control.name().to_owned()
    }

    /// Prints what each step took: wall seconds, and processor seconds of this process and its children.
    struct Clock;

    struct Lap(String, std::time::Instant, f64);

    impl Progress for Clock {
        fn begin(&self, step: &str, _: Option<u64>) -> Box<dyn Step> {
            Box::new(Lap(step.to_owned(), std::time::Instant::now(), processor()))
        }
    }

    impl Step for Lap {
        fn advance(&self, _: u64) {}
    }

    impl Drop for Lap {
        fn drop(&mut self) {
            println!("{}: {:.2} s, processor {:.2} s", self.0, self.1.elapsed().as_secs_f64(), processor() - self.2);
        }
    }

    fn processor() -> f64 {
        let stat = host::fs::read_to_string(Path::new("/proc/self/stat")).unwrap();
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(4);
        fields.map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
    }

    #[test]
    #[ignore = "needs KILN_TEST_POOL, a directory of Debian packages"]
    fn a_pool_becomes_a_tree() {
        let pool = std::env::var_os("KILN_TEST_POOL").expect("KILN_TEST_POOL is set");
        let store = Store::open(None).unwrap();
        let lock = lock(Path::new(&pool), &store);
        let tools = Tools::open(&lock, &store, &Clock).unwrap();
        let users = [User { name: "etcd".into(), uid: 900, gid: 900, home: "/var/lib/etcd".into(), groups: Vec::new() }];
        for set in lock.sets.keys().filter(|set| *set != TOOLS_SET) {
            let start = std::time::Instant::now();
            let tree = compose(&lock, set, &users, &tools, &store, &Clock).unwrap();
            println!("{set}: {} {} entries, {} bytes, {:?}", tree.digest(), tree.len(), tree.size(), start.elapsed());
            let _lap = Clock.begin("again", None);
            assert_eq!(compose(&lock, set, &users, &tools, &Store::open(None).unwrap(), &Clock).unwrap().digest(), tree.digest());
            if let Some(path) = std::env::var_os("KILN_TEST_DUMP") {
                host::fs::write_atomic(Path::new(&path), tree.dump().as_bytes(), host::fs::PUBLIC).unwrap();
            }
            if let Some(path) = std::env::var_os("KILN_TEST_TAR") {
                let mut file = host::fs::create(Path::new(&path), host::fs::PUBLIC).unwrap();
                crate::disk::tar::write(&tree, lock.epoch, &mut file).unwrap();
            }
        }
    }
}
