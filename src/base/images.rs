//! Container images: found in the archives that the cluster file specifies, pinned by the lock, verified at
//! each use.
//!
//! An archive is copied into role images unchanged; its content is checked when it is pinned, and its digest
//! is verified after that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::image_archive::{self, Archive};
use crate::base::lock::{ImagePin, Lock};
use crate::base::programs::published_digest;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::host;
use crate::progress::Progress;
use crate::store::{Download, Store};
use crate::tree::Content;
use crate::words::{Arch, ImageSource};

/// Suffixes of archive files to look for in a directory.
const ENDINGS: [&str; 5] = [".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.zstd"];

/// Wanted images, keyed by reference, each with a description of what needs it.
pub(crate) type WantedImages = BTreeMap<String, String>;

/// An image archive in a role image.
#[derive(Clone, Debug)]
pub(crate) struct ImageArchive {
    pub(crate) pin: ImagePin,
    pub(crate) content: Content,
}

/// Pins the archives that contain `wanted`: the first archive with an image wins.
///
/// # Errors
///
/// [`Kind::Input`] if no source contains an image, naming what needs it and the result for each source;
/// [`Kind::Verify`] if an archive does not match its index, or is for another platform.
pub(crate) fn pin_images(
    lock: &mut Lock,
    wanted: &WantedImages,
    sources: &[ImageSource],
    store: &Store,
    progress: &dyn Progress,
) -> Result<()> {
    let mut missing: BTreeSet<&String> = wanted.keys().collect();
    let mut tried = Vec::new();
    for source in sources {
        if missing.is_empty() {
            break;
        }
        match candidates(source, store, progress) {
            Ok(files) => {
                let before = missing.len();
                for (name, file) in files {
                    lock.images.extend(pin(&name, &file, lock.architecture, &mut missing)?);
                }
                tried.push(format!("{} contains {} of {before}", describe(source), before - missing.len()));
            }
            Err(err) => tried.push(format!("{}: {err}", describe(source))),
        }
    }
    match missing.first() {
        None => Ok(()),
        Some(image) => Err(nowhere(image, &missing, wanted, &tried)),
    }
}

/// Returns the pinned archives that contain the named images, each with its verified content.
///
/// # Errors
///
/// [`Kind::Verify`] if a file has changed since it was pinned; [`Kind::Input`] if no source contains it.
pub(crate) fn images(
    lock: &Lock,
    wanted: &WantedImages,
    sources: &[ImageSource],
    store: &Store,
    progress: &dyn Progress,
) -> Result<Vec<ImageArchive>> {
    let pins = lock
        .images
        .iter()
        .filter(|pin| pin.references.iter().any(|reference| wanted.contains_key(reference)));
    let archive = |pin: &ImagePin| {
        let file = at_hand(pin, sources, store, progress)?;
        let references =
            pin.references.iter().filter(|reference| wanted.contains_key(*reference)).cloned().collect();
        let content =
            Content::Stored { file: Arc::from(file), offset: 0, size: pin.size, sha256: pin.sha256 };
        Ok(ImageArchive { pin: ImagePin { references, ..pin.clone() }, content })
    };
    pins.map(archive).collect()
}

/// Returns the archives in a source, by file name.
fn candidates(
    source: &ImageSource,
    store: &Store,
    progress: &dyn Progress,
) -> Result<Vec<(String, PathBuf)>> {
    match source {
        ImageSource::Url { url } => {
            Ok(vec![(file_name(url), fetch(url, published_digest(url, store)?, store, progress)?)])
        }
        ImageSource::File { path } if path.is_file() => Ok(vec![(name_of(path), path.clone())]),
        ImageSource::File { .. } => Err(Error::new(Kind::Input, "file not found")),
        ImageSource::Directory { path } if path.is_dir() => {
            let files = host::fs::list(path)?.into_iter().map(|file| (name_of(&file), file));
            Ok(files.filter(|(name, _)| ENDINGS.iter().any(|ending| name.ends_with(ending))).collect())
        }
        ImageSource::Directory { .. } => Err(Error::new(Kind::Input, "directory not found")),
    }
}

/// Pins an archive if it contains images that are still missing.
fn pin(
    name: &str,
    file: &Path,
    architecture: Arch,
    missing: &mut BTreeSet<&String>,
) -> Result<Option<ImagePin>> {
    let archive = Archive::open(file)?;
    let found: Vec<&String> = missing.iter().filter(|reference| archive.has(reference)).copied().collect();
    for reference in &found {
        archive.verify(reference, architecture.name)?;
        missing.remove(*reference);
    }
    if found.is_empty() {
        return Ok(None);
    }
    let (sha256, size) = host::fs::digest(file)?;
    Ok(Some(ImagePin {
        file: name.to_owned(),
        size,
        sha256,
        references: found.into_iter().cloned().collect(),
    }))
}

/// Returns the pinned file from a source, or from the store.
fn at_hand(
    pin: &ImagePin,
    sources: &[ImageSource],
    store: &Store,
    progress: &dyn Progress,
) -> Result<PathBuf> {
    let mut changed = None;
    for source in sources {
        let file = match source {
            ImageSource::Directory { path } => path.join(&pin.file),
            ImageSource::File { path } if name_of(path) == pin.file => path.clone(),
            ImageSource::Url { url } if file_name(url) == pin.file => {
                return fetch(url, pin.sha256, store, progress);
            }
            _ => continue,
        };
        if file.is_file() {
            let (digest, _) = host::fs::digest(&file)?;
            if digest == pin.sha256 {
                return Ok(file);
            }
            let message =
                format!("`{}` has the SHA-256 {digest}, but the lock pins {}", file.display(), pin.sha256);
            changed = Some(
                Error::new(Kind::Verify, message)
                    .hint("if the archive was changed on purpose, run `kiln lock`"),
            );
        }
    }
    let gone = || {
        let places: Vec<String> = sources.iter().map(describe).collect();
        Error::new(
            Kind::Input,
            format!(
                "`{}` with the SHA-256 {} was not found in {}",
                pin.file,
                pin.sha256,
                places.join(" or ")
            ),
        )
        .hint("run `kiln lock` to pin the sources' current files")
    };
    store.blob(&pin.sha256)?.ok_or_else(|| changed.unwrap_or_else(gone))
}

fn fetch(url: &str, sha256: Digest, store: &Store, progress: &dyn Progress) -> Result<PathBuf> {
    let download = Download { name: file_name(url), urls: vec![url.to_owned()], sha256, size: None };
    Ok(store.fetch(&[download], progress)?.remove(0))
}

fn file_name(url: &str) -> String {
    url.rsplit('/').next().unwrap_or(url).to_owned()
}

fn name_of(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn describe(source: &ImageSource) -> String {
    match source {
        ImageSource::Directory { path } => format!("the directory `{}`", path.display()),
        ImageSource::File { path } => format!("the archive `{}`", path.display()),
        ImageSource::Url { url } => format!("the archive `{url}`"),
    }
}

fn nowhere(image: &str, missing: &BTreeSet<&String>, wanted: &WantedImages, tried: &[String]) -> Error {
    let images: Vec<String> =
        missing.iter().map(|image| format!("`{image}`, which {} needs", wanted[*image])).collect();
    let tried = if tried.is_empty() { "no sources configured".to_owned() } else { tried.join("; ") };
    let save = format!(
        "save the image to a directory listed in the cluster file: `docker save --output images/{}.tar \
        {image}`",
        image_archive::short(image)
    );
    Error::new(Kind::Input, format!("no source contains the image {}: {tried}", images.join(", ")))
        .hint(save)
        .hint(
            "list a directory of image archives in the cluster file: an `[[images]]` table with \
            `directory = \"…\"`",
        )
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests look at the files themselves")]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{WantedImages, images, pin_images};
    use crate::base::Lock;
    use crate::base::image_archive::tests::{Sample, oci};
    use crate::error::Kind;
    use crate::progress::Silent;
    use crate::store::Store;
    use crate::words::{Arch, ImageSource};

    const PAUSE: &str = "k8s.gcr.io/pause:3.2";

    fn wanted() -> WantedImages {
        [(PAUSE.to_owned(), "the overlay `preload` of `worker`".to_owned())].into()
    }

    fn directory(path: &Path) -> ImageSource {
        ImageSource::Directory { path: path.to_owned() }
    }

    #[test]
    fn an_archive_is_pinned_for_what_is_wanted_of_it_and_used_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Some(&dir.path().join("store"))).unwrap();
        let archive = dir.path().join("all.tar");
        fs::write(
            &archive,
            oci(&Sample { names: &["docker.io/library/haproxy:3.0", PAUSE], ..Sample::default() }),
        )
        .unwrap();
        let sources = [directory(&dir.path().join("nowhere")), directory(dir.path())];
        let mut lock = Lock::new("trixie", Arch::Amd64);
        pin_images(&mut lock, &wanted(), &sources, &store, &Silent).unwrap();
        assert_eq!(
            (lock.images[0].file.as_str(), &lock.images[0].references[..]),
            ("all.tar", &[PAUSE.to_owned()][..])
        );
        let found = images(&lock, &wanted(), &sources, &store, &Silent).unwrap();
        assert_eq!(found[0].content.read().unwrap(), fs::read(&archive).unwrap());
        assert!(images(&lock, &WantedImages::new(), &sources, &store, &Silent).unwrap().is_empty());
        fs::write(&archive, "another").unwrap();
        let err = images(&lock, &wanted(), &sources, &store, &Silent).unwrap_err();
        assert_eq!(
            (err.kind(), &err.hints()[0]),
            (Kind::Verify, &"if the archive was changed on purpose, run `kiln lock`".to_owned())
        );
    }

    #[test]
    fn an_image_that_no_source_has_names_who_wants_it_and_what_to_write() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Some(&dir.path().join("store"))).unwrap();
        let sources = [directory(&dir.path().join("nowhere")), directory(dir.path())];
        let err = pin_images(&mut Lock::new("trixie", Arch::Amd64), &wanted(), &sources, &store, &Silent)
            .unwrap_err();
        assert_eq!(
            err.to_string().replace(dir.path().to_str().unwrap(), "DIR"),
            "no source contains the image `k8s.gcr.io/pause:3.2`, which the overlay `preload` of `worker` \
            needs: the directory `DIR/nowhere`: directory not found; the directory `DIR` contains 0 of 1"
        );
        assert_eq!(
            err.hints()[0],
            "save the image to a directory listed in the cluster file: `docker save --output \
            images/pause.tar k8s.gcr.io/pause:3.2`"
        );
    }

    #[test]
    fn a_cluster_that_wants_no_image_asks_no_source() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Some(&dir.path().join("store"))).unwrap();
        let mut lock = Lock::new("trixie", Arch::Amd64);
        pin_images(
            &mut lock,
            &WantedImages::new(),
            &[directory(&dir.path().join("nowhere"))],
            &store,
            &Silent,
        )
        .unwrap();
        assert!(lock.images.is_empty());
    }
}
