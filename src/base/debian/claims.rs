//! Paths claimed by packages that are unpacked in parallel: one package owns each path, whatever the order.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::base::debian::deb::Deb;
use crate::error::{Error, Kind, Result};
use crate::tree::ImagePath;

/// Owners of all paths that are not directories.
pub(super) struct Claims {
    owners: Mutex<BTreeMap<ImagePath, usize>>,
    /// Locks: one is held from a claim until the file is written, so that no package replaces a file that
    /// does not exist yet.
    turns: [Mutex<()>; 64],
    names: Vec<String>,
    replaces: Vec<Vec<usize>>,
}

/// Result of a claim.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The path was free.
    Write,
    /// The owner is replaced by the claimant.
    Replace,
    /// The owner replaces the claimant.
    Skip,
}

impl Claims {
    pub(super) fn new(debs: &[Deb]) -> Self {
        let names: Vec<String> = debs.iter().map(|deb| deb.control.name().to_owned()).collect();
        let index = |name: &str| names.iter().position(|other| other == name);
        let replaces =
            debs.iter().map(|deb| deb.control.replaces().into_iter().filter_map(index).collect()).collect();
        Self { owners: Mutex::default(), turns: std::array::from_fn(|_| Mutex::default()), names, replaces }
    }

    /// Waits until no other package writes `path`.
    pub(super) fn turn(&self, path: &ImagePath) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(path.as_str());
        let turn = usize::try_from(hash % self.turns.len() as u64).expect("there are few turns");
        self.turns[turn].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn claim(&self, path: &ImagePath, claimant: usize) -> Result<Verdict> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(owner) = owners.get(path).copied() else {
            owners.insert(path.clone(), claimant);
            return Ok(Verdict::Write);
        };
        if self.replaces[claimant].contains(&owner) {
            owners.insert(path.clone(), claimant);
            Ok(Verdict::Replace)
        } else if self.replaces[owner].contains(&claimant) {
            Ok(Verdict::Skip)
        } else {
            let (first, second) = (&self.names[owner.min(claimant)], &self.names[owner.max(claimant)]);
            Err(Error::new(Kind::Input, format!("`{path}` is in the packages `{first}` and `{second}`"))
                .hint("remove one of them"))
        }
    }

    /// Returns the owner of each claimed path.
    pub(super) fn into_owners(self) -> BTreeMap<ImagePath, usize> {
        self.owners.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}
