//! `InRelease` files: the contents of a signed suite (<https://wiki.debian.org/DebianRepository/Format>).

use std::collections::BTreeMap;

use deb822_fast::Deb822;

use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result};
use crate::words::Arch;

/// Component from which packages are taken: free software that Debian supports.
const COMPONENT: &str = "main";

/// A parsed release; created only from text whose signature was checked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Release {
    /// Code name, such as `trixie-updates`.
    pub(super) codename: String,
    /// Seconds since 1970.
    pub(super) date: u64,
    /// Expiry in seconds since 1970; by then a mirror should have a newer release.
    pub(super) valid_until: Option<u64>,
    by_hash: bool,
    /// True if packages for all architectures have a separate index.
    separate_all: bool,
    /// Digest and size of each file below `dists/<suite>/`.
    files: BTreeMap<String, (Digest, u64)>,
}

/// One index to read, below `dists/<suite>/`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct IndexFile {
    /// Paths to try, in this order.
    pub(super) paths: Vec<String>,
    pub(super) sha256: Digest,
    pub(super) size: u64,
}

impl Release {
    /// Parses the text of a release.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] if a required field is missing or invalid.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let wrong = |what: &str| Error::new(Kind::Verify, format!("the release contains no {what}"));
        let stanzas: Deb822 = text.parse().doing(Kind::Verify, || "reading the release".into())?;
        let field = |key: &str| stanzas.iter().next()?.get(key);
        let words = |key: &str| field(key).unwrap_or_default().split_whitespace();
        Ok(Self {
            codename: field("Codename").ok_or_else(|| wrong("code name"))?.to_owned(),
            date: field("Date").and_then(seconds).ok_or_else(|| wrong("valid date"))?,
            valid_until: field("Valid-Until").and_then(seconds),
            by_hash: field("Acquire-By-Hash") == Some("yes"),
            separate_all: words("Architectures").any(|word| word == "all")
                && words("No-Support-for-Architecture-all").all(|word| word != "Packages"),
            files: files(field("SHA256").unwrap_or_default()),
        })
    }

    /// Returns the package indexes for an architecture.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] if the release does not list an index.
    pub(super) fn indexes(&self, architecture: Arch) -> Result<Vec<IndexFile>> {
        let mut indexes = vec![self.index(architecture.name)?];
        if self.separate_all {
            indexes.push(self.index("all")?);
        }
        Ok(indexes)
    }

    fn index(&self, architecture: &str) -> Result<IndexFile> {
        let directory = format!("{COMPONENT}/binary-{architecture}");
        let path = format!("{directory}/Packages.xz");
        let (sha256, size) = *self
            .files
            .get(&path)
            .ok_or_else(|| Error::new(Kind::Verify, format!("the release does not list `{path}`")))?;
        let by_hash = self.by_hash.then(|| format!("{directory}/by-hash/SHA256/{sha256}"));
        Ok(IndexFile { paths: by_hash.into_iter().chain([path]).collect(), sha256, size })
    }
}

/// Parses the field `SHA256`, one line per file.
fn files(field: &str) -> BTreeMap<String, (Digest, u64)> {
    field
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let digest = words.next()?.parse().ok()?;
            let size = words.next()?.parse().ok()?;
            Some((words.next()?.to_owned(), (digest, size)))
        })
        .collect()
}

/// Parses `Sat, 12 Sep 2026 07:55:41 UTC` (RFC 5322, always in UTC) to seconds since 1970.
fn seconds(date: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = date.split([' ', ':']).filter(|word| !word.is_empty()).collect();
    let [_, day, month, year, hour, minute, second, "UTC" | "GMT" | "+0000"] = words[..] else { return None };
    let month = u64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let number = |text: &str| text.parse::<u64>().ok();
    let days = days(number(year).filter(|year| (1970..9999).contains(year))?, month, number(day)?);
    Some(((days * 24 + number(hour)?) * 60 + number(minute)?) * 60 + number(second)?)
}

/// Returns the days from 1970-01-01 to a Gregorian date (Howard Hinnant, "chrono-compatible low-level date
/// algorithms").
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::{Release, seconds};
    use crate::digest::Digest;
    use crate::words::Arch;

    const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn release(more: &str) -> String {
        format!(
            "Origin: Debian\nCodename: trixie\nDate: Sat, 12 Sep 2026 07:55:41 UTC\nArchitectures: all \
            amd64\n{more}MD5Sum:\n 3e498904a30e240573dac8ddac594e6f 1 \
            main/binary-amd64/Packages.xz\nSHA256:\n {DIGEST}  7 main/binary-amd64/Packages.xz\n {DIGEST} 8 \
            main/binary-all/Packages.xz\n"
        )
    }

    #[test]
    fn dates_are_those_of_date_1() {
        let cases = [
            ("Thu, 01 Jan 1970 00:00:00 UTC", Some(0)),
            ("Sat, 12 Sep 2026 07:55:41 UTC", Some(1_789_199_741)),
            ("Thu, 29 Feb 2024 23:59:59 +0000", Some(1_709_251_199)),
            ("Sun, 01 Mar 2026  1:02:03 GMT", Some(1_772_326_923)),
            ("Sat, 12 Sep 2026 07:55:41 +0200", None),
            ("2026-09-12", None),
        ];
        for (text, expected) in cases {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn indexes_for_all_architectures_are_read_where_they_are_separate() {
        let separate = Release::parse(&release("")).unwrap().indexes(Arch::Amd64).unwrap();
        let paths: Vec<&str> = separate.iter().flat_map(|index| &index.paths).map(String::as_str).collect();
        assert_eq!(paths, ["main/binary-amd64/Packages.xz", "main/binary-all/Packages.xz"]);
        assert_eq!((separate[0].sha256, separate[0].size), (Digest::of(b"abc"), 7));
        let joined =
            Release::parse(&release("No-Support-for-Architecture-all: Packages\nAcquire-By-Hash: yes\n"))
                .unwrap()
                .indexes(Arch::Amd64)
                .unwrap();
        assert_eq!(joined.len(), 1);
        assert_eq!(
            joined[0].paths,
            [format!("main/binary-amd64/by-hash/SHA256/{DIGEST}"), "main/binary-amd64/Packages.xz".into()]
        );
    }

    #[test]
    fn a_text_that_is_no_release_is_refused() {
        for text in ["", "Codename: trixie\n", "Codename: trixie\nDate: yesterday\n"] {
            assert!(
                Release::parse(text).unwrap_err().to_string().starts_with("the release contains no"),
                "{text}"
            );
        }
        let without = Release::parse("Codename: trixie\nDate: Sat, 12 Sep 2026 07:55:41 UTC\n").unwrap();
        assert_eq!(
            without.indexes(Arch::Amd64).unwrap_err().to_string(),
            "the release does not list `main/binary-amd64/Packages.xz`"
        );
    }
}
