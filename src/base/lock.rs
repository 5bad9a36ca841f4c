//! The lock: every input of a build by name, version and digest, so that builds are reproducible.
//!
//! It contains no host names: the lock defines the bytes, and the machine decides where to fetch them from.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::base::Wanted;
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::words::Arch;

/// Version of the file format; any other version is rejected.
const FORMAT: u32 = 1;

/// First lines of every lock file.
const HEADER: &str = "# Written by `kiln lock`; keep it with the cluster file. Do not edit.\n\n";

/// Pinned inputs of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    format: u32,
    /// Date of the newest release below, in seconds since 1970; the timestamp of everything built from the
    /// lock.
    pub(crate) epoch: u64,
    /// Debian suite by code name: `trixie`.
    pub(crate) suite: String,
    pub(crate) architecture: Arch,
    /// Requests in the cluster file when the lock was written.
    #[serde(default)]
    pub(crate) wanted: Wanted,
    /// Package names of each set, sorted and closed under dependencies: `tools` and one set for each role
    /// image.
    pub(crate) sets: BTreeMap<String, Vec<String>>,
    /// Signed releases from which packages were chosen.
    #[serde(rename = "release", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) releases: Vec<ReleasePin>,
    /// Release archives of Kubernetes programs.
    #[serde(rename = "archive", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) archives: Vec<ArchivePin>,
    /// Kubernetes programs.
    #[serde(rename = "binary", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) binaries: Vec<BinaryPin>,
    /// Container image archives.
    #[serde(rename = "image", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) images: Vec<ImagePin>,
    /// Packages of all sets, without duplicates, sorted by name.
    #[serde(rename = "package", default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) packages: Vec<PackagePin>,
}

/// One signed release file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReleasePin {
    /// Suite: `trixie`, `trixie-updates`, `trixie-security`.
    pub(crate) suite: String,
    /// `Date` of the release in seconds since 1970.
    pub(crate) date: u64,
    /// Digest of `InRelease`.
    pub(crate) sha256: Digest,
}

/// One Debian package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PackagePin {
    pub(crate) name: String,
    /// Version with epoch and revision, as in the package index.
    pub(crate) version: String,
    /// Architecture: `amd64` or `all`.
    pub(crate) architecture: String,
    /// Archive that serves the package.
    pub(crate) archive: Archive,
    /// Path below the archive's root: `pool/main/h/haproxy/haproxy_3.0.11-1_amd64.deb`.
    pub(crate) file: String,
    /// Size in bytes.
    pub(crate) size: u64,
    pub(crate) sha256: Digest,
}

/// Debian archive that serves a release; each has its own mirrors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Archive {
    /// The main archive: the suite and its updates.
    Debian,
    /// The security team's archive.
    DebianSecurity,
}

/// One release archive of Kubernetes programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ArchivePin {
    /// File name: `kubernetes-server-linux-amd64.tar.gz`.
    pub(crate) file: String,
    /// Size in bytes.
    pub(crate) size: u64,
    pub(crate) sha256: Digest,
}

/// One Kubernetes program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BinaryPin {
    /// Program name: `kube-apiserver`.
    pub(crate) name: String,
    /// Size in bytes.
    pub(crate) size: u64,
    pub(crate) sha256: Digest,
}

/// One container image archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImagePin {
    /// File name: `haproxy.tar`.
    pub(crate) file: String,
    /// Size in bytes.
    pub(crate) size: u64,
    pub(crate) sha256: Digest,
    /// Images for which the archive was chosen, as named by overlays.
    pub(crate) references: Vec<String>,
}

impl Lock {
    /// Creates a lock without pins.
    pub(crate) fn new(suite: &str, architecture: Arch) -> Self {
        Self {
            format: FORMAT,
            epoch: 0,
            suite: suite.to_owned(),
            architecture,
            wanted: Wanted::default(),
            sets: BTreeMap::new(),
            releases: Vec::new(),
            archives: Vec::new(),
            binaries: Vec::new(),
            images: Vec::new(),
            packages: Vec::new(),
        }
    }

    /// Parses a lock file.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the text is not a lock in this format, or a set names a package that is not pinned.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let relock = |err: Error| err.hint("run `kiln lock` to regenerate it");
        let lock: Self =
            toml::from_str(text).doing(Kind::Input, || "parsing the lock".into()).map_err(relock)?;
        if lock.format != FORMAT {
            let message = format!(
                "the lock has format {}, but this version of kiln reads only format {FORMAT}",
                lock.format
            );
            return Err(relock(Error::new(Kind::Input, message)));
        }
        for set in lock.sets.keys() {
            lock.packages(set).map_err(relock)?;
        }
        Ok(lock)
    }

    /// Reads and parses the lock at `path`.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        Self::parse(&host::fs::read_to_string(path)?)
            .within(|| format!("reading the lock `{}`", path.display()))
    }

    /// Checks that the lock was written for this suite and these requests.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] listing every difference.
    pub(crate) fn serves(&self, suite: &str, architecture: Arch, wanted: &Wanted) -> Result<()> {
        let (pinned, requested) = ((self.suite.as_str(), self.architecture), (suite, architecture));
        if pinned != requested {
            let named = |(suite, architecture): (&str, Arch)| format!("`{suite}` for {architecture}");
            let message = format!(
                "the lock pins packages from {}, but {} is requested",
                named(pinned),
                named(requested)
            );
            return Err(Error::new(Kind::Input, message).hint("run `kiln lock` to regenerate it"));
        }
        self.wanted.check(wanted)
    }

    /// Writes the lock to `path`.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        host::fs::write_atomic(path, self.to_text().as_bytes(), host::fs::PUBLIC)
    }

    /// Returns the lock file's text; equal locks have equal text.
    pub(crate) fn to_text(&self) -> String {
        format!(
            "{HEADER}{}",
            toml::to_string_pretty(self).expect("a lock contains only strings, numbers and lists")
        )
    }

    /// Returns the pins of one set, sorted by name.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the set does not exist, or names a package that is not pinned.
    pub(crate) fn packages(&self, set: &str) -> Result<Vec<&PackagePin>> {
        let names = self.sets.get(set).ok_or_else(|| {
            Error::new(Kind::Input, format!("the lock contains no package set `{set}`"))
                .hint("run `kiln lock` after changing roles or overlays")
        })?;
        names
            .iter()
            .map(|name| self.package(name).within(|| format!("reading the package set `{set}`")))
            .collect()
    }

    /// Returns the pin of one package.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if it is not pinned.
    pub(crate) fn package(&self, name: &str) -> Result<&PackagePin> {
        let found = self.packages.binary_search_by(|pin| pin.name.as_str().cmp(name));
        let index = found
            .map_err(|_| Error::new(Kind::Input, format!("the lock does not pin the package `{name}`")))?;
        Ok(&self.packages[index])
    }

    /// Returns the suites for which this lock pins an older release than `other`, as served by an attacker or
    /// an outdated mirror.
    pub(crate) fn behind<'l>(&'l self, other: &'l Self) -> impl Iterator<Item = &'l str> {
        let is_older = |release: &&ReleasePin| {
            other.releases.iter().any(|old| old.suite == release.suite && old.date > release.date)
        };
        self.releases.iter().filter(is_older).map(|release| release.suite.as_str())
    }

    /// Returns the pin of one Kubernetes program.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if it is not pinned.
    pub(crate) fn binary(&self, name: &str) -> Result<&BinaryPin> {
        self.binaries.iter().find(|pin| pin.name == name).ok_or_else(|| {
            Error::new(Kind::Input, format!("the lock does not pin the program `{name}`"))
                .hint("run `kiln lock`")
        })
    }
}

impl PackagePin {
    /// Returns name and version for display: `haproxy 3.0.11-1`.
    pub(crate) fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::{Archive, Lock, PackagePin, ReleasePin};
    use crate::digest::Digest;
    use crate::words::Arch;

    fn sample() -> Lock {
        let mut lock = Lock::new("trixie", Arch::Amd64);
        lock.epoch = 1_789_199_741;
        lock.releases.push(ReleasePin {
            suite: "trixie".into(),
            date: 1_789_199_741,
            sha256: Digest::of(b"release"),
        });
        lock.packages.push(PackagePin {
            name: "haproxy".into(),
            version: "3.0.11-1".into(),
            architecture: "amd64".into(),
            archive: Archive::Debian,
            file: "pool/main/h/haproxy/haproxy_3.0.11-1_amd64.deb".into(),
            size: 42,
            sha256: Digest::of(b"package"),
        });
        lock.sets.insert("lb".into(), vec!["haproxy".into()]);
        lock
    }

    #[test]
    fn what_is_written_is_read_back_the_same() {
        let lock = sample();
        assert_eq!(Lock::parse(&lock.to_text()).unwrap(), lock);
        assert_eq!(lock.packages("lb").unwrap()[0].title(), "haproxy 3.0.11-1");
    }

    #[test]
    fn the_text_of_a_lock_is_the_one_that_people_review() {
        insta::assert_snapshot!(sample().to_text(), @r#"
        # Written by `kiln lock`; keep it with the cluster file. Do not edit.

        format = 1
        epoch = 1789199741
        suite = "trixie"
        architecture = "amd64"

        [wanted]
        kubernetes = ""
        programs = []

        [wanted.packages]

        [sets]
        lb = ["haproxy"]

        [[release]]
        suite = "trixie"
        date = 1789199741
        sha256 = "a4d451ec23463726f72c43d64c710968f6b602cd653b4de8adee1b556240a829"

        [[package]]
        name = "haproxy"
        version = "3.0.11-1"
        architecture = "amd64"
        archive = "debian"
        file = "pool/main/h/haproxy/haproxy_3.0.11-1_amd64.deb"
        size = 42
        sha256 = "bc4a71180870f7945155fbb02f4b0a2e3faa2a62d6d31b7039013055ed19869a"
        "#);
    }

    #[test]
    fn a_set_that_names_an_unpinned_package_is_refused() {
        let mut lock = sample();
        lock.sets.insert("worker".into(), vec!["containerd".into()]);
        let err = Lock::parse(&lock.to_text()).unwrap_err();
        assert_eq!(
            err.to_string(),
            "reading the package set `worker`: the lock does not pin the package `containerd`"
        );
        assert_eq!(err.hints(), ["run `kiln lock` to regenerate it"]);
    }

    #[test]
    fn a_lock_of_an_older_release_is_noticed() {
        let (old, mut new) = (sample(), sample());
        assert_eq!(new.behind(&old).count(), 0);
        new.releases[0].date -= 1;
        assert_eq!(new.behind(&old).collect::<Vec<_>>(), ["trixie"]);
        assert_eq!(old.behind(&new).count(), 0);
    }

    #[test]
    fn another_format_is_refused_with_the_way_out() {
        let text = sample().to_text().replace("format = 1", "format = 2");
        assert_eq!(
            Lock::parse(&text).unwrap_err().to_string(),
            "the lock has format 2, but this version of kiln reads only format 1"
        );
    }
}
