//! Package mirrors for this machine: from the cluster file, `$KILN_MIRROR`, or the host's own APT sources.
//!
//! Mirrors are never part of the lock: any mirror serves the same bytes, which the lock pins.

use std::path::Path;

use crate::base::lock::Archive;
use crate::error::{Error, Kind, Result};
use crate::host;

/// Code names and their aliases; a source with another suite is not a Debian repository.
const SUITES: [&str; 12] = [
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
    "experimental",
];

/// Base URLs without a final slash, in the order to try.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mirrors {
    debian: Vec<String>,
    security: Vec<String>,
    /// If set, the host's APT is configured to accept expired releases.
    pub(crate) expired_allowed: bool,
}

/// One source of an APT installation.
#[derive(Debug, PartialEq, Eq)]
struct AptSource {
    url: String,
    suites: Vec<String>,
    components: Vec<String>,
    check_valid_until: bool,
}

/// Finds mirrors: `configured` (from the cluster file) or, if it is `None`, `$KILN_MIRROR` (URLs separated by
/// spaces) or, if that is not set, the host's APT sources.
///
/// # Errors
///
/// [`Kind::Input`] if none of them names a mirror; the hint says what to set.
pub(crate) fn mirror(configured: Option<&str>) -> Result<Mirrors> {
    let variable = std::env::var("KILN_MIRROR").ok().filter(|value| !value.trim().is_empty());
    if let Some(urls) = configured.map(str::to_owned).or(variable) {
        return Ok(Mirrors::named(&urls));
    }
    let found = from_apt(Path::new("/etc/apt"))?;
    if found.debian.is_empty() {
        return Err(Error::new(Kind::Input, "no Debian mirror is configured")
            .hint("set `mirror = \"http://HOST/debian\"` in `[base]` in the cluster file")
            .hint(
                "or set KILN_MIRROR to such a URL; by default, kiln uses the Debian sources in `/etc/apt`",
            ));
    }
    Ok(found)
}

impl Mirrors {
    /// Returns mirrors for URLs configured by the user. The security archive is next to the main archive, as
    /// on every mirror that has both.
    pub(super) fn named(urls: &str) -> Self {
        let debian: Vec<String> =
            urls.split_whitespace().map(|url| url.trim_end_matches('/').to_owned()).collect();
        Self {
            security: debian.iter().filter_map(|url| beside(url)).collect(),
            debian,
            expired_allowed: false,
        }
    }

    /// Returns the base URLs of one archive.
    pub(crate) fn of(&self, archive: Archive) -> &[String] {
        match archive {
            Archive::Debian => &self.debian,
            Archive::DebianSecurity => &self.security,
        }
    }

    /// Returns the URLs of a file, given its path below the archive's root.
    pub(crate) fn urls(&self, archive: Archive, file: &str) -> Vec<String> {
        self.of(archive).iter().map(|base| format!("{base}/{file}")).collect()
    }
}

/// Returns the URL of the security archive for a main archive whose URL ends in `debian`.
fn beside(url: &str) -> Option<String> {
    url.ends_with("/debian").then(|| format!("{url}-security"))
}

/// Reads the sources of an APT installation.
fn from_apt(etc: &Path) -> Result<Mirrors> {
    let mut sources = Vec::new();
    let mut expired_allowed = false;
    for (path, text) in texts(etc, "sources.list", "sources.list.d")? {
        let deb822 = path.extension().is_some_and(|extension| extension == "sources");
        let list = path.extension().is_some_and(|extension| extension == "list");
        if deb822 {
            sources.extend(deb822_sources(&text));
        } else if list {
            sources.extend(text.lines().filter_map(one_line_source));
        }
    }
    for (_, text) in texts(etc, "apt.conf", "apt.conf.d")? {
        expired_allowed |= text.lines().any(turns_off_expiry);
    }
    let mut found = choose(&sources);
    found.expired_allowed |= expired_allowed;
    Ok(found)
}

/// Returns a file and the files in a directory, with their contents; missing files are skipped.
fn texts(etc: &Path, file: &str, directory: &str) -> Result<Vec<(std::path::PathBuf, String)>> {
    let mut paths = vec![etc.join(file)];
    if etc.join(directory).is_dir() {
        paths.extend(host::fs::list(&etc.join(directory))?);
    }
    paths.retain(|path| path.is_file());
    paths
        .into_iter()
        .map(|path| Ok((path.clone(), String::from_utf8_lossy(&host::fs::read(&path)?).into_owned())))
        .collect()
}

/// Checks a line for `Acquire::Check-Valid-Until "false";` in its usual form.
fn turns_off_expiry(line: &str) -> bool {
    let line = line.trim().to_ascii_lowercase();
    let value =
        line.strip_prefix("acquire::check-valid-until").map(|rest| rest.trim_matches([' ', '\t', '"', ';']));
    value.is_some_and(|value| ["false", "no", "0", "off"].contains(&value))
}

/// Selects Debian's own archives: sources of a Debian suite with the component `main`, those with the usual
/// URLs first.
fn choose(sources: &[AptSource]) -> Mirrors {
    let mut mirrors = Mirrors::default();
    let mut usual_first: Vec<&AptSource> =
        sources.iter().filter(|source| source.components.iter().any(|part| part == "main")).collect();
    usual_first
        .sort_by_key(|source| !(source.url.ends_with("/debian") || source.url.ends_with("/debian-security")));
    for source in usual_first {
        for suite in &source.suites {
            let (name, pocket) = suite.split_once(['-', '/']).unwrap_or((suite, ""));
            let list = match pocket {
                _ if !SUITES.contains(&name) => continue,
                "security" | "updates/main" => &mut mirrors.security,
                "" | "updates" | "proposed-updates" | "backports" => &mut mirrors.debian,
                _ => continue,
            };
            if !list.contains(&source.url) {
                list.push(source.url.clone());
            }
            mirrors.expired_allowed |= !source.check_valid_until;
        }
    }
    if mirrors.security.is_empty() {
        mirrors.security = mirrors.debian.iter().filter_map(|url| beside(url)).collect();
    }
    mirrors
}

/// Parses `deb [options] URL suite component…` (sources.list(5)).
fn one_line_source(line: &str) -> Option<AptSource> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let url = usable(words.next()?)?;
    let suites = vec![words.next()?.to_owned()];
    let check_valid_until =
        !options.split_whitespace().any(|option| option.eq_ignore_ascii_case("check-valid-until=no"));
    Some(AptSource { url, suites, components: words.map(str::to_owned).collect(), check_valid_until })
}

/// Parses the paragraphs of a `.sources` file (sources.list(5), deb822 style).
fn deb822_sources(text: &str) -> Vec<AptSource> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.split(|line| line.trim().is_empty()).flat_map(paragraph_sources).collect()
}

fn paragraph_sources(lines: &[&str]) -> Vec<AptSource> {
    let words = |key: &str| -> Vec<String> {
        let mut words = Vec::new();
        let mut inside = false;
        for line in lines {
            let value = match line.split_once(':') {
                _ if line.starts_with([' ', '\t']) => inside.then_some(*line),
                Some((found, value)) => {
                    inside = found.eq_ignore_ascii_case(key);
                    inside.then_some(value)
                }
                None => None,
            };
            words.extend(value.into_iter().flat_map(str::split_whitespace).map(str::to_owned));
        }
        words
    };
    let enabled = !words("Enabled").iter().any(|word| word.eq_ignore_ascii_case("no"));
    if !enabled || !words("Types").iter().any(|word| word == "deb") {
        return Vec::new();
    }
    let check_valid_until = !words("Check-Valid-Until").iter().any(|word| word.eq_ignore_ascii_case("no"));
    let (suites, components) = (words("Suites"), words("Components"));
    let source =
        |url| AptSource { url, suites: suites.clone(), components: components.clone(), check_valid_until };
    words("URIs").iter().filter_map(|url| usable(url)).map(source).collect()
}

/// Returns a URL that kiln can read; not `cdrom:`, `file:` and the like.
fn usable(url: &str) -> Option<String> {
    (url.starts_with("http://") || url.starts_with("https://")).then(|| url.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Mirrors, from_apt};
    use crate::base::lock::Archive;
    use crate::host;

    const DEB822: &str = "Types: deb deb-src\n# a comment\nURIs: http://mirror.example/debian/\nSuites: \
        bookworm bookworm-updates\nComponents: main\n\n\
        Types: deb\nURIs: http://mirror.example/debian-security\nSuites: bookworm-security\nComponents: \
        main\nCheck-Valid-Until: no\n";

    fn apt(files: &[(&str, &str)]) -> Mirrors {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            host::fs::write_atomic(&dir.path().join(path), text.as_bytes(), 0o644).unwrap();
        }
        from_apt(dir.path()).unwrap()
    }

    #[test]
    fn the_hosts_sources_are_found_in_both_formats() {
        let one_line = "deb-src http://mirror.example/debian trixie main\ndeb [signed-by=/k arch=amd64] \
            http://mirror.example/debian trixie main contrib # x\n\
            deb http://mirror.example/debian-security trixie-security main\n";
        for files in [
            [("sources.list.d/debian.sources", DEB822)],
            [("sources.list", one_line)],
            [("sources.list.d/debian.list", one_line)],
        ] {
            let found = apt(&files);
            assert_eq!(found.of(Archive::Debian), ["http://mirror.example/debian"], "{files:?}");
            assert_eq!(
                found.of(Archive::DebianSecurity),
                ["http://mirror.example/debian-security"],
                "{files:?}"
            );
        }
    }

    #[test]
    fn other_peoples_repositories_are_left_out() {
        let others = "deb https://download.docker.example/linux/debian trixie stable\ndeb \
            https://apt.example/pgdg trixie-pgdg main\n\
            deb cdrom:[Debian]/ trixie main\ndeb file:/srv/debian trixie main\ndeb https://packages.example \
            cloud-sdk-trixie main\n";
        let disabled = "Types: deb\nEnabled: no\nURIs: http://disabled.example/debian\nSuites: \
            trixie\nComponents: main\n";
        assert_eq!(
            apt(&[("sources.list", others), ("sources.list.d/x.sources", disabled)]),
            Mirrors::default()
        );
    }

    #[test]
    fn the_usual_url_is_tried_before_a_vendors() {
        let found = apt(&[(
            "sources.list",
            "deb http://vendor.example/prod trixie main\ndeb http://mirror.example/debian trixie main\n",
        )]);
        assert_eq!(found.of(Archive::Debian), ["http://mirror.example/debian", "http://vendor.example/prod"]);
        assert_eq!(found.of(Archive::DebianSecurity), ["http://mirror.example/debian-security"]);
    }

    #[test]
    fn expired_releases_are_allowed_where_the_host_says_so() {
        assert!(apt(&[("sources.list.d/debian.sources", DEB822)]).expired_allowed);
        let source = ("sources.list", "deb http://mirror.example/debian trixie main\n");
        assert!(!apt(&[source]).expired_allowed);
        assert!(
            apt(&[source, ("apt.conf.d/99x", "Acquire::Check-Valid-Until \"false\";\n")]).expired_allowed
        );
        assert!(
            apt(&[("sources.list", "deb [check-valid-until=no] http://mirror.example/debian trixie main\n")])
                .expired_allowed
        );
    }

    #[test]
    fn a_named_mirror_has_its_security_archive_beside_it() {
        let named = Mirrors::named("http://a.example/debian/ http://b.example/snapshot");
        assert_eq!(named.of(Archive::Debian), ["http://a.example/debian", "http://b.example/snapshot"]);
        assert_eq!(named.urls(Archive::DebianSecurity, "dists"), ["http://a.example/debian-security/dists"]);
    }
}
