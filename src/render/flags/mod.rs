//! Flags of every program, by version: one table a program, one row a flag.
//!
//! A row says since when and until when a program takes the flag, so that no template asks for a version.

mod apiserver;
mod controller_manager;
mod etcd;
mod kube_proxy;
mod kubeadm;
mod kubelet;
mod scheduler;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::render::context::Facts;
use crate::words::Runtime;

pub(super) use apiserver::{health_limit, readiness};
pub(super) use kubeadm::extra;

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
    /// First minor version that discourages it, and first that refuses it, where that is known.
    deprecated: Option<u32>,
    removed: Option<u32>,
    /// The only runtime with which it is given.
    runtime: Option<Runtime>,
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

/// One row of the tables, for people and scripts. Numbers are minor versions: of etcd 3.x for etcd, else of Kubernetes 1.x.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Row {
    pub(crate) program: String,
    pub(crate) flag: &'static str,
    /// First version that kiln gives it to.
    pub(crate) since: Option<u32>,
    /// Last version that kiln gives it to.
    pub(crate) until: Option<u32>,
    pub(crate) deprecated: Option<u32>,
    pub(crate) removed: Option<u32>,
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

/// Every row of every program's table.
pub(crate) fn table() -> Vec<Row> {
    let row = |program: &Program, flag: &Flag| Row {
        program: program.name.replace('_', "-"),
        flag: flag.name,
        since: Some(flag.since).filter(|since| *since > 0),
        until: Some(flag.until).filter(|until| *until < u32::MAX),
        deprecated: flag.deprecated,
        removed: flag.removed,
    };
    PROGRAMS.iter().flat_map(|program| program.flags.iter().map(move |flag| row(program, flag))).collect()
}

impl Program {
    fn on(&self, facts: &Facts<'_>) -> Vec<String> {
        self.arguments(facts).map(|(name, value)| format!("--{name}={value}")).collect()
    }

    /// Names and values of the flags that the version gets.
    fn arguments(&self, facts: &Facts<'_>) -> impl Iterator<Item = (&'static str, String)> {
        let minor = (self.minor)(facts);
        let wanted = self.flags.iter().filter(move |flag| (flag.since..=flag.until).contains(&minor));
        let wanted = wanted.filter(|flag| flag.runtime.is_none_or(|runtime| runtime == facts.cluster.runtime));
        wanted.filter_map(|flag| Some((flag.name, flag.value.of(facts)?)))
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

    const fn deprecated(mut self, minor: u32) -> Self {
        self.deprecated = Some(minor);
        self
    }

    const fn removed(mut self, minor: u32) -> Self {
        self.removed = Some(minor);
        self
    }

    const fn with(mut self, runtime: Runtime) -> Self {
        self.runtime = Some(runtime);
        self
    }
}

impl Value {
    fn of(&self, facts: &Facts<'_>) -> Option<String> {
        match self {
            Self::Text(text) => Some((*text).to_owned()),
            Self::Computed(compute) => Some(compute(facts)).filter(|value| !value.is_empty()),
        }
    }
}

/// A flag with the same value everywhere.
const fn text(name: &'static str, value: &'static str) -> Flag {
    flag(name, Value::Text(value))
}

/// A flag whose value depends on the cluster or the node; an empty one is left out.
const fn computed(name: &'static str, value: fn(&Facts<'_>) -> String) -> Flag {
    flag(name, Value::Computed(value))
}

const fn flag(name: &'static str, value: Value) -> Flag {
    Flag { name, since: 0, until: u32::MAX, deprecated: None, removed: None, runtime: None, value }
}

fn kubernetes(facts: &Facts<'_>) -> u32 {
    facts.cluster.kubernetes.minor
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::RangeInclusive;

    use super::{PROGRAMS, Program};
    use crate::words::KubernetesVersion;

    /// The versions that a program's rows speak of.
    fn minors(program: &Program) -> RangeInclusive<u32> {
        if program.name == "etcd" { 1..=6 } else { KubernetesVersion::MINORS }
    }

    #[test]
    fn no_version_of_a_program_gets_a_flag_twice() {
        for program in PROGRAMS {
            for minor in minors(program) {
                let flags = program.flags.iter().filter(|flag| (flag.since..=flag.until).contains(&minor));
                let names: Vec<&str> = flags.map(|flag| flag.name).collect();
                let distinct: BTreeSet<_> = names.iter().collect();
                assert_eq!(names.len(), distinct.len(), "{} of minor {minor}: {names:?}", program.name);
            }
        }
    }

    #[test]
    fn no_row_ends_before_it_begins_and_none_is_for_no_version() {
        for program in PROGRAMS {
            for flag in program.flags {
                assert!(flag.since <= flag.until, "{} --{}", program.name, flag.name);
                let minors = minors(program);
                let rendered = flag.since <= *minors.end() && flag.until >= *minors.start();
                assert!(rendered, "{} --{} is never rendered", program.name, flag.name);
            }
        }
    }

    #[test]
    fn no_flag_is_given_to_a_version_that_refuses_it() {
        for program in PROGRAMS {
            for flag in program.flags {
                assert!(flag.removed.is_none_or(|removed| flag.until < removed), "{} --{}", program.name, flag.name);
                assert!(flag.deprecated.unwrap_or(0) <= flag.removed.unwrap_or(u32::MAX), "{} --{}", program.name, flag.name);
            }
        }
    }

    /// Kubernetes versions have golden trees; etcd's are recorded here, because no profile has them all.
    #[test]
    fn what_changes_from_etcd_to_etcd_is_on_record() {
        let etcd = PROGRAMS.iter().find(|program| program.name == "etcd").unwrap();
        let given = |minor: u32| -> BTreeSet<String> {
            let flags = etcd.flags.iter().filter(|flag| (flag.since..=flag.until).contains(&minor));
            flags.map(|flag| format!("--{}{}", flag.name, flag.value.shown())).collect()
        };
        let mut changes = given(1).iter().map(|flag| format!("3.1   {flag}\n")).collect::<String>();
        for minor in minors(etcd).skip(1) {
            let (before, after) = (given(minor - 1), given(minor));
            changes.extend(before.difference(&after).map(|flag| format!("3.{minor} - {flag}\n")));
            changes.extend(after.difference(&before).map(|flag| format!("3.{minor} + {flag}\n")));
        }
        insta::assert_snapshot!(changes);
    }

    impl super::Value {
        /// `=value` for a value that is the same everywhere.
        fn shown(&self) -> String {
            match self {
                Self::Text(text) => format!("={text}"),
                Self::Computed(_) => String::new(),
            }
        }
    }
}
