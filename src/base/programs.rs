//! Kubernetes programs: found in the cluster file's sources, pinned by the lock, verified at each use.
//!
//! Programs from a directory are used in place; programs from an archive are kept in the store, one blob
//! each.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use flate2::read::GzDecoder;
use rayon::prelude::*;

use crate::base::lock::{ArchivePin, BinaryPin, Lock};
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::progress::Progress;
use crate::store::{Download, Store};
use crate::tree::Content;
use crate::words::{Arch, BinarySource, ELF_START, KubernetesVersion};

/// Directory of the programs in a Kubernetes release archive.
const MEMBERS: &str = "kubernetes/server/bin/";
/// Prefix of the top-level directory in an etcd release archive: `etcd-v3.5.21-linux-amd64`.
const ETCD: &str = "etcd-v";
/// Maximum size of digest files: they contain one line, or one per file in a release; anything larger is an
/// error page.
const DIGEST_FILE_LIMIT: u64 = 65536;

/// Pins `names`: the first source with a program wins.
///
/// # Errors
///
/// [`Kind::Input`] if no source contains a program for the lock's architecture, listing the result for each
/// source.
pub(crate) fn pin_programs(
    lock: &mut Lock,
    names: &BTreeSet<String>,
    version: KubernetesVersion,
    sources: &[BinarySource],
    store: &Store,
    progress: &dyn Progress,
) -> Result<()> {
    let mut missing = names.clone();
    let mut tried = Vec::new();
    for source in sources.iter().filter(|_| !names.is_empty()) {
        let found = match source {
            BinarySource::Directory { path } => from_directory(path, &missing),
            BinarySource::Archive { url, sha256 } => {
                pin_archive(lock, &address(url, version), *sha256, &missing, store, progress)
            }
        };
        match found.and_then(|pins| runnable(pins, lock.architecture, source, store)) {
            Ok(pins) => {
                missing.retain(|name| pins.iter().all(|pin| pin.name != *name));
                tried.push(format!(
                    "{} contains {} of {}",
                    describe(source, version),
                    pins.len(),
                    names.len()
                ));
                lock.binaries.extend(pins);
            }
            Err(err) => tried.push(format!("{}: {err}", describe(source, version))),
        }
        if missing.is_empty() {
            break;
        }
    }
    lock.binaries.sort_by(|a, b| a.name.cmp(&b.name));
    if missing.is_empty() { Ok(()) } else { Err(nowhere(&missing, &tried)) }
}

/// Returns the pinned programs with these names, each with its verified content.
///
/// # Errors
///
/// [`Kind::Verify`] if a program in a directory has changed since it was pinned; [`Kind::Input`] if no source
/// contains it.
pub(crate) fn programs(
    lock: &Lock,
    names: &[String],
    version: KubernetesVersion,
    sources: &[BinarySource],
    store: &Store,
    progress: &dyn Progress,
) -> Result<Vec<(String, Content)>> {
    let pins: Vec<&BinaryPin> = names.iter().map(|name| lock.binary(name)).collect::<Result<_>>()?;
    let found: Vec<Option<Content>> =
        pins.par_iter().map(|pin| at_hand(pin, sources, store)).collect::<Result<_>>()?;
    if found.iter().any(Option::is_none) {
        unpack_archives(lock, version, sources, store, progress)?;
    }
    let content = |(pin, found): (&BinaryPin, Option<Content>)| {
        let found = found.map_or_else(|| at_hand(pin, &[], store), |content| Ok(Some(content)))?;
        Ok((pin.name.clone(), found.ok_or_else(|| gone(pin, version, sources))?))
    };
    pins.into_iter().zip(found).map(content).collect()
}

/// Returns the program from the store or from a directory, without using the network.
fn at_hand(pin: &BinaryPin, sources: &[BinarySource], store: &Store) -> Result<Option<Content>> {
    let stored = |file: &Path| Content::Stored {
        file: Arc::from(file),
        offset: 0,
        size: pin.size,
        sha256: pin.sha256,
    };
    let mut changed = None;
    for source in sources {
        let BinarySource::Directory { path } = source else { continue };
        let file = path.join(&pin.name);
        if !file.is_file() {
            continue;
        }
        let (digest, _) = host::fs::digest(&file)?;
        if digest == pin.sha256 {
            return Ok(Some(stored(&file)));
        }
        changed = Some(Error::new(
            Kind::Verify,
            format!("`{}` has the SHA-256 {digest}, but the lock pins {}", file.display(), pin.sha256),
        ));
    }
    match (store.blob(&pin.sha256)?, changed) {
        (Some(file), _) => Ok(Some(stored(&file))),
        (None, Some(err)) => Err(err.hint("if the program was changed on purpose, run `kiln lock`")),
        (None, None) => Ok(None),
    }
}

fn from_directory(directory: &Path, names: &BTreeSet<String>) -> Result<Vec<BinaryPin>> {
    if !directory.is_dir() {
        return Err(Error::new(Kind::Input, "directory not found"));
    }
    let there = names.iter().filter(|name| directory.join(name).is_file());
    there
        .map(|name| {
            let (sha256, size) = host::fs::digest(&directory.join(name))?;
            Ok(BinaryPin { name: name.clone(), size, sha256 })
        })
        .collect()
}

/// Checks that programs are for an architecture, as far as their files show.
fn runnable(
    pins: Vec<BinaryPin>,
    arch: Arch,
    source: &BinarySource,
    store: &Store,
) -> Result<Vec<BinaryPin>> {
    let mut foreign: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pin in &pins {
        let file = match source {
            BinarySource::Directory { path } => Some(path.join(&pin.name)),
            BinarySource::Archive { .. } => store.blob(&pin.sha256)?,
        };
        let start = file.map(|file| host::fs::start(&file, ELF_START)).transpose()?.unwrap_or_default();
        if let Some(other) = arch.is_foreign(&start) {
            foreign.entry(other).or_default().push(format!("`{}`", pin.name));
        }
    }
    if foreign.is_empty() {
        return Ok(pins);
    }
    let foreign: Vec<String> =
        foreign.iter().map(|(other, names)| format!("these are for {other}: {}", names.join(", "))).collect();
    Err(Error::new(Kind::Input, format!("the machines are {arch}, but {}", foreign.join("; "))))
}

/// Pins an archive by the configured or published digest, and its programs by their content.
fn pin_archive(
    lock: &mut Lock,
    url: &str,
    sha256: Option<Digest>,
    names: &BTreeSet<String>,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Vec<BinaryPin>> {
    let sha256 = sha256.map_or_else(|| published_digest(url, store), Ok)?;
    let archive = fetch(url, sha256, store, progress)?;
    let pins = keep_programs(&archive, names, store, progress)?;
    let size = host::fs::open(&archive)?
        .metadata()
        .doing(Kind::Io, || format!("reading `{}`", archive.display()))?
        .len();
    lock.archives.push(ArchivePin { file: file_name(url).to_owned(), size, sha256 });
    Ok(pins)
}

/// Fetches the digest published next to a download in sha256sum(1) format, from the download's own digest
/// file or the release's digest file.
pub(super) fn published_digest(url: &str, store: &Store) -> Result<Digest> {
    if let Some(own) = store.client().read(&format!("{url}.sha256"), DIGEST_FILE_LIMIT)? {
        let text = String::from_utf8_lossy(&own);
        return text
            .split_whitespace()
            .next()
            .unwrap_or_default()
            .parse()
            .within(|| format!("reading `{url}.sha256`"));
    }
    let sums =
        url.rsplit_once('/').map_or_else(String::new, |(directory, _)| format!("{directory}/SHA256SUMS"));
    let nowhere = || {
        Error::new(
            Kind::Network,
            format!("neither `{url}.sha256` nor `{sums}` contains the digest of `{}`", file_name(url)),
        )
    };
    let published = store.client().read(&sums, DIGEST_FILE_LIMIT)?.ok_or_else(nowhere)?;
    of_file(&String::from_utf8_lossy(&published), file_name(url))
        .ok_or_else(nowhere)?
        .parse()
        .within(|| format!("reading `{sums}`"))
}

/// Returns the digest of a file from a sha256sum(1) list.
fn of_file<'t>(sums: &'t str, file: &str) -> Option<&'t str> {
    let mut lines = sums.lines().filter_map(|line| line.split_once(char::is_whitespace));
    lines.find(|(_, name)| name.trim_start().trim_start_matches('*') == file).map(|(digest, _)| digest)
}

/// Returns the program name for a member of a release archive.
fn program(path: &str) -> Option<&str> {
    let path = path.trim_start_matches("./");
    let of_etcd = || {
        path.split_once('/').filter(|(directory, name)| directory.starts_with(ETCD) && !name.contains('/'))
    };
    path.strip_prefix(MEMBERS).or_else(|| of_etcd().map(|(_, name)| name))
}

/// Fetches the pinned archives and stores the pinned programs that they contain.
fn unpack_archives(
    lock: &Lock,
    version: KubernetesVersion,
    sources: &[BinarySource],
    store: &Store,
    progress: &dyn Progress,
) -> Result<()> {
    let names: BTreeSet<String> = lock.binaries.iter().map(|pin| pin.name.clone()).collect();
    for source in sources {
        let BinarySource::Archive { url, .. } = source else { continue };
        let url = address(url, version);
        if let Some(pin) = lock.archives.iter().find(|pin| pin.file == file_name(&url)) {
            keep_programs(&fetch(&url, pin.sha256, store, progress)?, &names, store, progress)?;
        }
    }
    Ok(())
}

fn fetch(url: &str, sha256: Digest, store: &Store, progress: &dyn Progress) -> Result<std::path::PathBuf> {
    let download =
        Download { name: file_name(url).to_owned(), urls: vec![url.to_owned()], sha256, size: None };
    Ok(store.fetch(&[download], progress)?.remove(0))
}

/// Puts the wanted members of an archive into the store. The archive is read as a stream and never unpacked.
fn keep_programs(
    archive: &Path,
    names: &BTreeSet<String>,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Vec<BinaryPin>> {
    let _step = progress.begin("reading a release archive", None);
    let step = || format!("reading `{}`", archive.display());
    let mut reader = tar::Archive::new(GzDecoder::new(host::fs::open(archive)?));
    let mut pins = Vec::new();
    for member in reader.entries().doing(Kind::Verify, step)? {
        let member = member.doing(Kind::Verify, step)?;
        let path = member.path().doing(Kind::Verify, step)?.to_string_lossy().into_owned();
        let Some(name) = program(&path).filter(|name| names.contains(*name)) else { continue };
        let size = member.size();
        let (sha256, _) = store.put(member.take(size))?;
        pins.push(BinaryPin { name: name.to_owned(), size, sha256 });
    }
    Ok(pins)
}

fn address(url: &str, version: KubernetesVersion) -> String {
    url.replace("{version}", &version.to_string())
}

fn file_name(url: &str) -> &str {
    url.rsplit('/').next().unwrap_or(url)
}

fn describe(source: &BinarySource, version: KubernetesVersion) -> String {
    match source {
        BinarySource::Directory { path } => format!("the directory `{}`", path.display()),
        BinarySource::Archive { url, .. } => format!("the archive `{}`", address(url, version)),
    }
}

fn nowhere(missing: &BTreeSet<String>, tried: &[String]) -> Error {
    let names: Vec<String> = missing.iter().map(|name| format!("`{name}`")).collect();
    let tried = if tried.is_empty() { "no sources configured".to_owned() } else { tried.join("; ") };
    Error::new(Kind::Input, format!("no source contains {}: {tried}", names.join(", "))).hint(
        "list a directory that contains the programs in the cluster file: a `[[binaries]]` table with \
        `directory = \"…\"`",
    )
}

fn gone(pin: &BinaryPin, version: KubernetesVersion, sources: &[BinarySource]) -> Error {
    let places: Vec<String> = sources.iter().map(|source| describe(source, version)).collect();
    Error::new(
        Kind::Input,
        format!("`{}` with the SHA-256 {} was not found in {}", pin.name, pin.sha256, places.join(" or ")),
    )
    .hint("run `kiln lock` to pin the sources' current files")
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests look at the files themselves")]
mod tests;
