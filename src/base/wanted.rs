//! Requests for which a lock was written, so that a build never uses another cluster file's lock.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// Requests of a cluster, as stored in the lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    /// Kubernetes version: `1.36.0`.
    pub(crate) kubernetes: String,
    /// etcd version, unless the suite's version is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) etcd: Option<String>,
    /// Names of Kubernetes programs.
    pub(crate) programs: BTreeSet<String>,
    /// References of container images.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) images: BTreeSet<String>,
    /// Package names, keyed by set, without dependencies.
    pub(crate) packages: BTreeMap<String, BTreeSet<String>>,
}

impl Wanted {
    /// Checks that a lock written for `self` satisfies the current requests.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] listing every difference.
    pub(super) fn check(&self, now: &Self) -> Result<()> {
        let mut differences = Vec::new();
        if self.kubernetes != now.kubernetes {
            differences.push(format!(
                "its Kubernetes version is {}, but {} is requested",
                or_none(&self.kubernetes),
                now.kubernetes
            ));
        }
        if self.etcd != now.etcd {
            let version =
                |etcd: &Option<String>| etcd.clone().unwrap_or_else(|| "the suite's version".to_owned());
            differences.push(format!(
                "its etcd version is {}, but {} is requested",
                version(&self.etcd),
                version(&now.etcd)
            ));
        }
        differences.extend(difference("the programs", &self.programs, &now.programs));
        differences.extend(difference("the images", &self.images, &now.images));
        let sets: BTreeSet<&String> = self.packages.keys().chain(now.packages.keys()).collect();
        let none = BTreeSet::new();
        for set in sets {
            let [then, now] = [self, now].map(|wanted| wanted.packages.get(set).unwrap_or(&none));
            differences.extend(difference(&format!("the packages of `{set}`"), then, now));
        }
        if differences.is_empty() {
            return Ok(());
        }
        let message = format!("the lock was written for different requests: {}", differences.join("; "));
        Err(Error::new(Kind::Input, message).hint("run `kiln lock` to regenerate it"))
    }
}

fn or_none(version: &str) -> &str {
    if version.is_empty() { "not set" } else { version }
}

fn difference(what: &str, then: &BTreeSet<String>, now: &BTreeSet<String>) -> Option<String> {
    let list =
        |names: Vec<&String>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let (added, removed) = (list(now.difference(then).collect()), list(then.difference(now).collect()));
    match (added.is_empty(), removed.is_empty()) {
        (true, true) => None,
        (false, true) => Some(format!("{what} do not include {added}")),
        (true, false) => Some(format!("{what} also include {removed}")),
        (false, false) => Some(format!("{what} do not include {added}, but include {removed}")),
    }
}

#[cfg(test)]
mod tests {
    use super::Wanted;

    fn wanted(kubernetes: &str, programs: &[&str], packages: &[&str]) -> Wanted {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let packages = [("lb".to_owned(), names(packages))].into();
        Wanted {
            kubernetes: kubernetes.into(),
            etcd: None,
            programs: names(programs),
            images: names(&[]),
            packages,
        }
    }

    #[test]
    fn a_lock_serves_what_it_was_made_for_and_nothing_else() {
        let lock = wanted("1.20.2", &["kubelet"], &["haproxy"]);
        lock.check(&wanted("1.20.2", &["kubelet"], &["haproxy"])).unwrap();
        for (now, expected) in [
            (
                wanted("1.21.0", &["kubelet"], &["haproxy"]),
                "its Kubernetes version is 1.20.2, but 1.21.0 is requested",
            ),
            (
                wanted("1.20.2", &["kubelet", "kubectl"], &["haproxy"]),
                "the programs do not include `kubectl`",
            ),
            (wanted("1.20.2", &["kubelet"], &[]), "the packages of `lb` also include `haproxy`"),
            (
                wanted("1.20.2", &["kubelet"], &["nginx", "tcpdump"]),
                "the packages of `lb` do not include `nginx`, `tcpdump`, but include `haproxy`",
            ),
        ] {
            let err = lock.check(&now).unwrap_err();
            assert_eq!(err.to_string(), format!("the lock was written for different requests: {expected}"));
            assert_eq!(err.hints(), ["run `kiln lock` to regenerate it"]);
        }
    }
}
