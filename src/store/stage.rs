//! Stages: directories created once for each key, and checked at each use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::host::lock::FileLock;

use super::{Store, explain_full_disk};

/// Contents of a stage: every file and link below `out/` by relative path.
type Record = BTreeMap<String, Recorded>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Recorded {
    File { size: u64, sha256: Digest },
    Link { target: String },
}

impl Store {
    /// Returns the directory that `fill` creates for `key`: the existing one if its files are intact,
    /// otherwise a new one.
    ///
    /// The directory appears atomically. A concurrent caller, even in another process, waits and receives the
    /// same directory. The output of `fill` must depend only on `key`.
    ///
    /// # Errors
    ///
    /// Errors from `fill`; [`Kind::Io`] if the store can't be read or written.
    pub(crate) fn stage(
        &self,
        name: &str,
        key: &Digest,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let directory = self.root.join("stages").join(name).join(key.to_string());
        let _lock = FileLock::exclusive(&self.lock_path(&format!("{name}-{key}")))?;
        if self.is_intact(&directory)? {
            host::fs::touch(&directory)?;
            return Ok(directory.join("out"));
        }
        let made = self.make(name, &directory, fill);
        made.map_err(|err| explain_full_disk(err, &self.root))
    }

    /// Returns the newest stage with this name, if any. Its contents are not checked; the caller must do
    /// that.
    pub(crate) fn newest_unchecked(&self, name: &str) -> Option<PathBuf> {
        let stages = host::fs::list(&self.root.join("stages").join(name)).ok()?;
        let used = |stage: &PathBuf| stage.metadata().and_then(|metadata| metadata.modified()).ok();
        stages.into_iter().max_by_key(used).map(|stage| stage.join("out"))
    }

    /// Checks whether a stage exists and is intact; a damaged one is reported and removed.
    fn is_intact(&self, directory: &Path) -> Result<bool> {
        if !directory.exists() || self.is_checked(directory) {
            return Ok(directory.exists());
        }
        let damage = damage(directory)?;
        match &damage {
            None => self.mark_checked(directory),
            Some(damage) => {
                self.warn(format!(
                    "the stage `{}` in the store was corrupt and will be rebuilt: {damage}",
                    directory.display()
                ));
                host::fs::remove(directory)?;
            }
        }
        Ok(damage.is_none())
    }

    fn make(&self, name: &str, directory: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let temporary = self.temporary()?;
        let out = temporary.path().join("out");
        host::fs::create_directories(&out)?;
        host::fs::set_mode(&out, 0o755)?;
        fill(&out).within(|| format!("building the stage `{name}`"))?;
        let record =
            serde_json::to_vec(&record(&out)?).doing(Kind::Internal, || "writing the stage record".into())?;
        host::fs::write_atomic(&temporary.path().join("record.json"), &record, host::fs::PUBLIC)?;
        host::fs::create_directories(directory.parent().expect("a stage has a parent directory"))?;
        host::fs::rename(temporary.path(), directory)?;
        self.mark_checked(directory);
        Ok(directory.join("out"))
    }

    fn is_checked(&self, directory: &Path) -> bool {
        self.checked.lock().is_ok_and(|checked| checked.contains(directory))
    }

    fn mark_checked(&self, directory: &Path) {
        if let Ok(mut checked) = self.checked.lock() {
            checked.insert(directory.to_owned());
        }
    }
}

/// Returns a description of the damage to a stage; `None` if every file matches the record.
pub(super) fn damage(directory: &Path) -> Result<Option<String>> {
    let path = directory.join("record.json");
    let Some(bytes) = host::fs::read_if_exists(&path)? else {
        return Ok(Some("`record.json` is missing".into()));
    };
    let Ok(expected) = serde_json::from_slice::<Record>(&bytes) else {
        return Ok(Some("`record.json` can't be read".into()));
    };
    if !directory.join("out").is_dir() {
        return Ok(Some("`out` is missing".into()));
    }
    let actual = record(&directory.join("out"))?;
    let all: std::collections::BTreeSet<&String> = expected.keys().chain(actual.keys()).collect();
    let differs = all.into_iter().find(|path| expected.get(*path) != actual.get(*path));
    Ok(differs.map(|path| match (expected.get(path), actual.get(path)) {
        (Some(_), None) => format!("`out/{path}` is missing"),
        (None, _) => format!("`out/{path}` is unexpected"),
        (Some(_), Some(Recorded::File { size, sha256 })) => {
            format!("`out/{path}` has unexpected sha256 {sha256} ({size} bytes)")
        }
        (Some(_), Some(Recorded::Link { target })) => {
            format!("`out/{path}` is unexpectedly a link to `{target}`")
        }
    }))
}

/// Computes the digests of everything below a directory.
fn record(out: &Path) -> Result<Record> {
    let mut paths = Vec::new();
    for entry in walkdir::WalkDir::new(out).min_depth(1) {
        let entry = entry.doing(Kind::Io, || format!("listing `{}`", out.display()))?;
        if !entry.file_type().is_dir() {
            paths.push((entry.path().to_owned(), entry.file_type().is_symlink()));
        }
    }
    paths.into_par_iter().map(|(path, link)| Ok((relative(&path, out)?, recorded(&path, link)?))).collect()
}

fn recorded(path: &Path, link: bool) -> Result<Recorded> {
    if link {
        let target = path.read_link().doing(Kind::Io, || format!("reading the link `{}`", path.display()))?;
        return Ok(Recorded::Link { target: target.to_string_lossy().into_owned() });
    }
    let (sha256, size) = host::fs::digest(path)?;
    Ok(Recorded::File { size, sha256 })
}

fn relative(path: &Path, out: &Path) -> Result<String> {
    let relative = path.strip_prefix(out).expect("a walk stays below its root");
    let text = relative
        .to_str()
        .ok_or_else(|| Error::new(Kind::Io, format!("`{}` is not UTF-8", path.display())))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::tests::store;
    use crate::digest::Digest;
    use crate::error::{Error, Kind, Result};
    use crate::host;
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    fn fill(out: &Path) -> Result<()> {
        host::fs::write_atomic(&out.join("bin/tool"), b"tool", 0o755)?;
        std::os::unix::fs::symlink("tool", out.join("bin/alias")).unwrap();
        Ok(())
    }

    fn never(_: &Path) -> Result<()> {
        panic!("the stage is there already");
    }

    #[test]
    fn a_stage_is_made_once_for_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let key = Digest::of(b"key");
        let made = store(dir.path()).stage("tools", &key, fill).unwrap();
        assert_eq!(store(dir.path()).stage("tools", &key, never).unwrap(), made);
        assert_eq!(host::fs::read(&made.join("bin/alias")).unwrap(), b"tool");
    }

    #[test]
    fn a_failed_stage_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path());
        let failing = |out: &Path| {
            fill(out)?;
            Err(Error::new(Kind::Tool, "`dpkg` failed"))
        };
        let err = store.stage("base", &Digest::of(b"key"), failing).unwrap_err();
        assert_eq!(err.to_string(), "building the stage `base`: `dpkg` failed");
        assert_eq!(host::fs::list(&dir.path().join("stages")).unwrap(), [] as [PathBuf; 0]);
        store.stage("base", &Digest::of(b"key"), fill).unwrap();
    }

    #[test]
    fn a_damaged_stage_is_named_and_made_again() {
        type Damage = fn(&Path);
        let cases: [(&str, Damage, &str); 5] = [
            (
                "a flipped byte",
                |out| host::fs::write_atomic(&out.join("bin/tool"), b"tooL", 0o755).unwrap(),
                "has unexpected sha256",
            ),
            (
                "a missing file",
                |out| host::fs::remove(&out.join("bin/tool")).unwrap(),
                "`out/bin/tool` is missing",
            ),
            (
                "a foreign file",
                |out| host::fs::write_atomic(&out.join("x"), b"", 0o644).unwrap(),
                "`out/x` is unexpected",
            ),
            (
                "an empty record",
                |out| host::fs::write_atomic(&out.join("../record.json"), b"", 0o644).unwrap(),
                "can't be read",
            ),
            (
                "no record",
                |out| host::fs::remove(&out.join("../record.json")).unwrap(),
                "`record.json` is missing",
            ),
        ];
        for (what, damage, said) in cases {
            let dir = tempfile::tempdir().unwrap();
            let made = store(dir.path()).stage("tools", &Digest::of(b"key"), fill).unwrap();
            damage(&made);
            let store = store(dir.path());
            assert_eq!(store.stage("tools", &Digest::of(b"key"), fill).unwrap(), made, "{what}");
            let warnings = store.take_warnings();
            assert!(warnings.len() == 1 && warnings[0].contains(said), "{what}: {warnings:?}");
            assert_eq!(host::fs::read(&made.join("bin/tool")).unwrap(), b"tool", "{what}");
        }
    }

    #[test]
    fn two_callers_at_once_make_one_stage() {
        let dir = tempfile::tempdir().unwrap();
        let count = AtomicU32::new(0);
        let slow = |out: &Path| {
            count.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(100));
            fill(out)
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| store(dir.path()).stage("tools", &Digest::of(b"key"), slow).unwrap());
            }
        });
        assert_eq!(count.into_inner(), 1);
    }
}
