//! Flags of every program, by version: one table a program, one row a flag.
//!
//! A row says since when and until when a program takes the flag, so that no template asks for a version.

mod apiserver;
mod controller_manager;
mod etcd;
mod kube_proxy;
mod kubelet;
mod scheduler;

use std::collections::BTreeMap;

use crate::render::context::Facts;

/// AEAD suites with forward secrecy for TLS 1.2, as Go names them.
const CIPHER_SUITES: &str = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,\
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,\
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256";

/// One flag of one program.
struct Flag {
    /// Without the dashes.
    name: &'static str,
    /// First minor version that takes it.
    since: u32,
    /// Last minor version that needs it, or takes it.
    until: u32,
    value: Value,
}

enum Value {
    Text(&'static str),
    Computed(fn(&Facts<'_>) -> String),
}

/// One program's name in templates, its table, and the minor version that the table's rows speak of.
struct Program {
    name: &'static str,
    flags: &'static [Flag],
    minor: fn(&Facts<'_>) -> u32,
}

/// Every program that is started with flags.
static PROGRAMS: &[Program] = &[
    Program { name: "etcd", flags: etcd::FLAGS, minor: |facts| facts.etcd_minor() },
    Program { name: "kube_apiserver", flags: apiserver::FLAGS, minor: kubernetes },
    Program { name: "kube_controller_manager", flags: controller_manager::FLAGS, minor: kubernetes },
    Program { name: "kube_scheduler", flags: scheduler::FLAGS, minor: kubernetes },
    Program { name: "kubelet", flags: kubelet::FLAGS, minor: kubernetes },
    Program { name: "kube_proxy", flags: kube_proxy::FLAGS, minor: kubernetes },
];

/// The flags of every program on one node, each as `--name=value`, by the program's name in templates.
pub(super) fn all(facts: &Facts<'_>) -> BTreeMap<&'static str, Vec<String>> {
    PROGRAMS.iter().map(|program| (program.name, program.on(facts))).collect()
}

impl Program {
    fn on(&self, facts: &Facts<'_>) -> Vec<String> {
        let minor = (self.minor)(facts);
        let wanted = self.flags.iter().filter(|flag| (flag.since..=flag.until).contains(&minor));
        let values = wanted.map(|flag| (flag.name, flag.value.of(facts)));
        values.filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("--{name}={value}")).collect()
    }
}

impl Flag {
    const fn since(mut self, minor: u32) -> Self {
        self.since = minor;
        self
    }

    const fn until(mut self, minor: u32) -> Self {
        self.until = minor;
        self
    }
}

impl Value {
    fn of(&self, facts: &Facts<'_>) -> String {
        match self {
            Self::Text(text) => (*text).to_owned(),
            Self::Computed(compute) => compute(facts),
        }
    }
}

/// A flag with the same value everywhere.
const fn text(name: &'static str, value: &'static str) -> Flag {
    Flag { name, since: 0, until: u32::MAX, value: Value::Text(value) }
}

/// A flag whose value depends on the cluster or the node; an empty one is left out.
const fn computed(name: &'static str, value: fn(&Facts<'_>) -> String) -> Flag {
    Flag { name, since: 0, until: u32::MAX, value: Value::Computed(value) }
}

fn kubernetes(facts: &Facts<'_>) -> u32 {
    facts.cluster.kubernetes.minor
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::{Flag, PROGRAMS, Program};
    /// Those that cluster files may name.
    const MINORS: std::ops::RangeInclusive<u32> = 20..=36;

    fn names(program: &Program, minor: u32) -> Vec<&'static str> {
        let wanted = |flag: &&Flag| (flag.since..=flag.until).contains(&minor);
        program.flags.iter().filter(wanted).map(|flag| flag.name).collect()
    }

    #[test]
    fn no_version_of_a_program_gets_a_flag_twice() {
        for program in PROGRAMS {
            for minor in 0..=*MINORS.end() {
                let names = names(program, minor);
                let distinct: BTreeSet<_> = names.iter().collect();
                assert_eq!(names.len(), distinct.len(), "{} 1.{minor}: {names:?}", program.name);
            }
        }
    }

    #[test]
    fn what_changes_from_version_to_version_is_on_record() {
        let mut changes = String::new();
        for minor in MINORS.skip(1) {
            for program in PROGRAMS.iter().filter(|program| program.name != "etcd") {
                let (before, after) = (names(program, minor - 1), names(program, minor));
                for gone in before.iter().filter(|name| !after.contains(name)) {
                    let _ = writeln!(changes, "1.{minor} {} - {gone}", program.name);
                }
                for new in after.iter().filter(|name| !before.contains(name)) {
                    let _ = writeln!(changes, "1.{minor} {} + {new}", program.name);
                }
            }
        }
        insta::assert_snapshot!(changes);
    }
}
