//! Verification of artifacts: digests, permissions, and the chain from the boot entry to the last block of
//! the root.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::disk::virtual_disk;
use crate::error::{Error, Kind, Result};
use crate::host;
use crate::output::inspect::Parts;
use crate::output::manifest::{ArtifactRecord, Manifest};
use crate::progress::Progress;
use crate::seed::Seed;
use crate::words::artifacts::{MANIFEST, SUMS};

/// Result of a verification without faults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Verified {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
    /// Disks with an intact boot chain.
    pub(crate) disks: usize,
}

/// Checks an output directory against its manifest.
///
/// # Errors
///
/// [`Kind::Verify`], listing every fault; [`Kind::Io`] if there is no manifest.
pub(crate) fn directory(directory: &Path, progress: &dyn Progress) -> Result<Verified> {
    let manifest = Manifest::read(directory)?;
    let step = progress
        .begin("verifying artifacts", Some(manifest.artifacts.values().map(|record| record.size).sum()));
    let mut faults: Vec<String> = strangers(directory, &manifest);
    let checked: Vec<Option<String>> = manifest
        .artifacts
        .par_iter()
        .map(|(path, record)| {
            let fault = artifact(&directory.join(path), record).map(|fault| format!("`{path}` {fault}"));
            step.advance(record.size);
            fault
        })
        .collect();
    faults.extend(checked.into_iter().flatten());
    faults.extend(sums(directory, &manifest));
    let disks: Vec<PathBuf> =
        manifest.artifacts.keys().filter(|path| is_disk(path)).map(|path| directory.join(path)).collect();
    faults.extend(disks.iter().filter_map(|path| disk(path).err()).map(|err| err.to_string()));
    if !faults.is_empty() {
        return Err(fault(&format!("`{}` differs from what was built", directory.display()), &faults));
    }
    let bytes = manifest.artifacts.values().map(|record| record.size).sum();
    Ok(Verified { files: manifest.artifacts.len(), bytes, disks: disks.len() })
}

/// Checks that a disk boots the root that it contains, and that the root is unmodified.
///
/// # Errors
///
/// [`Kind::Verify`], listing every fault.
pub(crate) fn disk(path: &Path) -> Result<Verified> {
    let disk = virtual_disk::open(path)?;
    let parts = Parts::open(&disk)?;
    let named = parts.named_root_hash()?;
    let (actual, tree_holds) = parts.actual_root_hash()?;
    let mut faults = Vec::new();
    if actual.to_string() != named {
        faults.push(format!(
            "the root partition is modified: its root hash is {actual}, but the partition \
            IDs are derived from {named}"
        ));
    }
    if !tree_holds {
        faults.push("the hash partition is modified".to_owned());
    }
    let entries = parts.boot_entries()?;
    if entries.is_empty() {
        faults.push("the disk contains no boot entry".to_owned());
    }
    for (file, entry) in &entries {
        let command_line =
            String::from_utf8_lossy(entry.section(".cmdline").unwrap_or_default()).into_owned();
        if !command_line.split_ascii_whitespace().any(|word| word == format!("roothash={named}")) {
            faults.push(format!("the boot entry `{file}` opens a different root"));
        }
    }
    if let Some(seed) = parts.seed()?
        && let Err(err) = Seed::unpack(&seed)
    {
        faults.push(format!("the seed is damaged: {err}"));
    }
    if faults.is_empty() {
        return Ok(Verified { files: 1, bytes: disk.size(), disks: 1 });
    }
    Err(fault(&format!("`{}` differs from what was built", path.display()), &faults))
}

fn fault(what: &str, faults: &[String]) -> Error {
    Error::new(Kind::Verify, format!("{what}:\n  {}", faults.join("\n  "))).hint("run `kiln build` again")
}

fn is_disk(path: &str) -> bool {
    path.ends_with(".raw") || path.ends_with(".qcow2")
}

/// Returns the fault of a file, if there is one.
fn artifact(path: &Path, record: &ArtifactRecord) -> Option<String> {
    let Ok(metadata) = path.symlink_metadata() else { return Some("is missing".into()) };
    let mode = metadata.permissions().mode() & 0o777;
    if !metadata.is_file() {
        return Some("is not a regular file".into());
    }
    if metadata.len() != record.size {
        return Some(format!("is {} bytes long instead of {}", metadata.len(), record.size));
    }
    if record.secret && mode & 0o077 != 0 {
        return Some(format!("contains a secret but has mode {mode:04o}: other users can read it"));
    }
    match host::fs::digest(path) {
        Ok((digest, _)) if digest == record.sha256 => None,
        Ok((digest, _)) => Some(format!(
            "is modified: its digest is {} instead of {}",
            digest.short(),
            record.sha256.short()
        )),
        Err(err) => Some(format!("can't be read: {err}")),
    }
}

/// Lists files that were not created by a build.
fn strangers(directory: &Path, manifest: &Manifest) -> Vec<String> {
    let known: BTreeSet<PathBuf> = manifest
        .artifacts
        .keys()
        .map(String::as_str)
        .chain([MANIFEST, SUMS])
        .map(|path| directory.join(path))
        .collect();
    match super::artifacts::files(directory) {
        Ok(found) => found
            .difference(&known)
            .map(|path| format!("`{}` was not created by a build", path.display()))
            .collect(),
        Err(err) => vec![err.to_string()],
    }
}

/// Returns the fault of `SHA256SUMS`, which users may check instead of the manifest, if there is one.
fn sums(directory: &Path, manifest: &Manifest) -> Option<String> {
    let expected = host::fs::digest(&directory.join(MANIFEST)).map(|(digest, _)| manifest.sums(&digest)).ok();
    let text = host::fs::read_to_string(&directory.join(SUMS)).ok();
    (expected != text).then(|| format!("`{SUMS}` does not match the manifest"))
}
