//! Garbage collection: keeps the store within bounds by removing the least recently used entries.

use serde::Serialize;

use crate::error::{Error, Kind, Result};
use crate::host;

use super::{Entry, EntryKind, Store, session};

/// Limits of the store after a collection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    /// Total size in bytes.
    pub(crate) size: Option<u64>,
    /// Maximum time since the last use, in seconds.
    pub(crate) age: Option<u64>,
}

/// Entries that a collection removed, or would remove.
#[derive(Debug, Serialize)]
pub(crate) struct Collected {
    pub(crate) removed: Vec<Entry>,
    /// Size of the removed entries in bytes.
    pub(crate) freed: u64,
    /// Size of the remaining entries in bytes.
    pub(crate) kept: u64,
}

impl Store {
    /// Removes unfinished downloads and entries outside `bounds`. With `pretend`, only lists them.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if another process uses the store.
    pub(crate) fn collect(&self, bounds: Bounds, now: u64, pretend: bool) -> Result<Collected> {
        if !pretend && !self.session.usage.try_upgrade(&session::usage_path(&self.root))? {
            return Err(Error::new(
                Kind::Io,
                format!("another kiln process is using the store `{}`", self.root.display()),
            )
            .hint("try again later"));
        }
        let (removed, kept) = choose(self.list()?, bounds, now);
        if !pretend {
            removed.iter().try_for_each(|entry| host::fs::remove(&entry.path))?;
            self.remove_stale_locks()?;
        }
        let sum = |entries: &[Entry]| entries.iter().map(|entry| entry.size).sum();
        Ok(Collected { freed: sum(&removed), kept: sum(&kept), removed })
    }

    /// Removes stale locks. No process is waiting for them, because this one has exclusive use of the store.
    fn remove_stale_locks(&self) -> Result<()> {
        let ours = ["usage", "sessions"].map(|name| self.lock_path(name));
        let locks = host::fs::list(&self.root.join("locks"))?;
        locks.iter().filter(|path| !ours.contains(path)).try_for_each(|path| host::fs::remove(path))
    }
}

/// Splits entries into removed and kept ones, most recently used first.
fn choose(mut entries: Vec<Entry>, bounds: Bounds, now: u64) -> (Vec<Entry>, Vec<Entry>) {
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.used));
    let mut total = 0;
    entries.into_iter().partition(|entry| {
        let old = bounds.age.is_some_and(|age| now.saturating_sub(entry.used) > age);
        let large = bounds.size.is_some_and(|size| total + entry.size > size);
        let goes = old || large || entry.kind == EntryKind::Partial;
        total += if goes { 0 } else { entry.size };
        goes
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::store;
    use super::{Bounds, Entry, EntryKind, choose};

    #[test]
    fn the_least_recently_used_go_first() {
        let entry =
            |name: &str, size, used, kind| Entry { kind, name: name.into(), size, used, path: name.into() };
        let entries = || {
            vec![
                entry("new", 40, 100, EntryKind::Stage),
                entry("old", 10, 10, EntryKind::Blob),
                entry("middle", 70, 50, EntryKind::Blob),
                entry("half", 1, 100, EntryKind::Partial),
            ]
        };
        let cases: [(Option<u64>, Option<u64>, &[&str]); 4] = [
            (None, None, &["half"]),
            (Some(60), None, &["half", "middle"]),
            (None, Some(60), &["half", "old"]),
            (Some(0), None, &["half", "middle", "new", "old"]),
        ];
        for (size, age, expected) in cases {
            let (gone, _) = choose(entries(), Bounds { size, age }, 100);
            let mut names: Vec<&str> = gone.iter().map(|entry| entry.name.as_str()).collect();
            names.sort_unstable();
            assert_eq!(names, expected, "{size:?} {age:?}");
        }
    }

    #[test]
    fn a_store_in_use_is_not_collected() {
        let dir = tempfile::tempdir().unwrap();
        let (ours, other) = (store(dir.path()), store(dir.path()));
        let (digest, _) = ours.put(&b"abc"[..]).unwrap();
        let bounds = Bounds { size: Some(0), age: None };
        assert!(
            ours.collect(bounds, 0, false)
                .unwrap_err()
                .to_string()
                .contains("another kiln process is using the store")
        );
        assert_eq!(ours.collect(bounds, 0, true).unwrap().freed, 3);
        drop(other);
        assert_eq!(ours.collect(bounds, 0, false).unwrap().removed.len(), 1);
        assert_eq!(ours.blob(&digest).unwrap(), None);
    }
}
