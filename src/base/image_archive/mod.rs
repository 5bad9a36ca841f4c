//! Container image archives: an OCI image layout
//! (<https://github.com/opencontainers/image-spec/blob/main/image-layout.md>), or the older format of `docker
//! save`.
//!
//! The archive is read in one pass: every member is digested, small ones are kept, nothing is unpacked.

mod format;
mod member;
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests look at the files themselves")]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use oci_spec::image::{Descriptor, ImageIndex, ImageManifest, Os};
use serde::de::DeserializeOwned;

use crate::error::{Doing, Error, Kind, Result};
use crate::host;

use format::{Configuration, Saved, name, normal};
use member::{Member, beside, unpacked};

/// An archive that has been read.
#[derive(Debug)]
pub(super) struct Archive {
    file: PathBuf,
    members: BTreeMap<String, Member>,
    /// Listed images: name and location.
    images: Vec<(String, Image)>,
}

/// Location of the list of an image's parts.
#[derive(Clone, Debug)]
enum Image {
    Oci(Box<Descriptor>),
    Docker(Saved),
}

impl Archive {
    /// Reads the archive at `file`, which may be compressed with gzip or zstd.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] if it is not an image archive.
    pub(super) fn open(file: &Path) -> Result<Self> {
        let mut archive = Self { file: file.to_owned(), members: BTreeMap::new(), images: Vec::new() };
        let step = || format!("reading `{}`", file.display());
        let mut tar =
            tar::Archive::new(unpacked(BufReader::new(host::fs::open(file)?)).doing(Kind::Io, step)?);
        for member in tar.entries().doing(Kind::Verify, step)? {
            let member = member.doing(Kind::Verify, step)?;
            let path = member
                .path()
                .doing(Kind::Verify, step)?
                .to_string_lossy()
                .trim_start_matches("./")
                .to_owned();
            // In the older format of `docker save`, a link may refer to a layer of an earlier image.
            if let Some(target) = member.link_name().doing(Kind::Verify, step)? {
                let target = beside(&path, &target.to_string_lossy());
                archive.repeat(&path, &target);
            } else if member.header().entry_type().is_file() {
                archive.members.insert(path, Member::read(member).doing(Kind::Verify, step)?);
            }
        }
        archive.images = archive.listed()?;
        Ok(archive)
    }

    /// Checks whether the archive contains the image `reference`.
    pub(super) fn has(&self, reference: &str) -> bool {
        self.find(reference).is_some()
    }

    /// Checks that every part of an image exists, matches its digest, and is for Linux on `architecture`.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] if a check fails.
    pub(super) fn verify(&self, reference: &str, architecture: &str) -> Result<()> {
        let checked = match self.find(reference) {
            None => Err("it is not in the archive".to_owned()),
            Some(Image::Oci(descriptor)) => self.verify_oci(descriptor, architecture),
            Some(Image::Docker(saved)) => self.verify_docker(saved, architecture),
        };
        checked.map_err(|why| {
            Error::new(
                Kind::Verify,
                format!("the image `{reference}` in `{}` can't be used: {why}", self.file.display()),
            )
            .hint(format!(
                "save it again for linux/{architecture}: `docker pull --platform linux/{architecture} \
                {reference}`"
            ))
        })
    }

    fn find(&self, reference: &str) -> Option<&Image> {
        let (name, digest) =
            reference.split_once('@').map_or((reference, None), |(name, digest)| (name, Some(digest)));
        let fits = |(there, image): &&(String, Image)| {
            let exact = match image {
                Image::Oci(descriptor) => digest.is_none_or(|digest| descriptor.digest().as_ref() == digest),
                Image::Docker(_) => digest.is_none(),
            };
            exact && there == name
        };
        self.images.iter().find(fits).map(|(_, image)| image)
    }

    /// Adds another name for an earlier member.
    fn repeat(&mut self, path: &str, target: &str) {
        if let Some(Member { sha256, unpacked, .. }) = self.members.get(target) {
            let again = Member { sha256: *sha256, unpacked: *unpacked, bytes: Vec::new() };
            self.members.insert(path.to_owned(), again);
        }
    }

    /// Returns the images in the index, with their names as containerd reads them.
    fn listed(&self) -> Result<Vec<(String, Image)>> {
        let malformed = |why: String| {
            Error::new(Kind::Verify, format!("`{}` is not an image archive: {why}", self.file.display()))
        };
        if self.members.contains_key("index.json") {
            let index: ImageIndex = self.json("index.json").map_err(malformed)?;
            let named = index
                .manifests()
                .iter()
                .filter_map(|one| Some((name(one)?, Image::Oci(Box::new(one.clone())))));
            return Ok(named.collect());
        }
        let saved: Vec<Saved> = self.json("manifest.json").map_err(malformed)?;
        let names = |one: &Saved| one.repo_tags.iter().flatten().map(|tag| normal(tag)).collect::<Vec<_>>();
        Ok(saved
            .into_iter()
            .flat_map(|one| names(&one).into_iter().map(move |name| (name, Image::Docker(one.clone()))))
            .collect())
    }

    fn verify_oci(&self, descriptor: &Descriptor, architecture: &str) -> Result<(), String> {
        let path = self.blob(descriptor)?;
        let manifest: ImageManifest = match self.json::<ImageIndex>(&path) {
            Ok(index) => {
                let fits = |one: &&Descriptor| {
                    let platform = one.platform().as_ref();
                    platform.is_some_and(|own| {
                        *own.os() == Os::Linux && own.architecture().to_string() == architecture
                    })
                };
                let own = index
                    .manifests()
                    .iter()
                    .find(fits)
                    .ok_or_else(|| format!("it contains no image for linux/{architecture}"))?;
                self.json(&self.blob(own)?)?
            }
            Err(_) => self.json(&path)?,
        };
        let configuration: Configuration = self.json(&self.blob(manifest.config())?)?;
        configuration.platform.check(architecture)?;
        manifest.layers().iter().try_for_each(|layer| self.blob(layer).map(|_| ()))
    }

    fn verify_docker(&self, saved: &Saved, architecture: &str) -> Result<(), String> {
        let configuration: Configuration = self.json(&saved.config)?;
        configuration.platform.check(architecture)?;
        let config = &self.members[&saved.config];
        let stem = saved.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
        if config.sha256.to_string() != stem {
            return Err(format!("`{}` has the SHA-256 {}", saved.config, config.sha256));
        }
        if saved.layers.len() != configuration.rootfs.diff_ids.len() {
            return Err(format!(
                "it has {} layers, but its configuration lists {}",
                saved.layers.len(),
                configuration.rootfs.diff_ids.len()
            ));
        }
        for (path, expected) in saved.layers.iter().zip(&configuration.rootfs.diff_ids) {
            let member = self.members.get(path).ok_or_else(|| format!("`{path}` is missing"))?;
            let found = member.unpacked.unwrap_or(member.sha256);
            if format!("sha256:{found}") != *expected {
                return Err(format!("`{path}` has the digest sha256:{found}, expected {expected}"));
            }
        }
        Ok(())
    }

    /// Returns the path of a blob, which must exist and match its digest.
    fn blob(&self, descriptor: &Descriptor) -> Result<String, String> {
        let digest = descriptor.digest().to_string();
        let path = format!("blobs/{}", digest.replacen(':', "/", 1));
        let member = self.members.get(&path).ok_or_else(|| format!("`{path}` is missing"))?;
        if format!("sha256:{}", member.sha256) != digest {
            return Err(format!("`{path}` has the SHA-256 {}", member.sha256));
        }
        Ok(path)
    }

    fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        let member = self.members.get(path).ok_or_else(|| format!("`{path}` is missing"))?;
        serde_json::from_slice(&member.bytes).map_err(|err| format!("`{path}`: {err}"))
    }
}

/// Returns a short file name for an image.
pub(super) fn short(reference: &str) -> &str {
    let last = reference.rsplit('/').next().unwrap_or(reference);
    last.split([':', '@']).next().unwrap_or(last)
}
