//! Flags of every program for each version: one table per program, one row per flag.
//!
//! A row contains the first and last version for which the flag is written, so that templates need no version
//! checks.

mod apiserver;
mod controller_manager;
mod etcd;
mod kube_proxy;
mod kubeadm;
mod kubelet;
mod scheduler;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::render::context::NodeContext;
use crate::words::{FlagHistory, Runtime, Span};

pub(super) use apiserver::{health_limit, readiness};
pub(super) use kubeadm::extra;

/// AEAD cipher suites with forward secrecy for TLS 1.2, under their names in Go.
const CIPHER_SUITES: &str = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,\
    TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,\
    TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256";

/// One flag of one program.
struct Flag {
    /// Name without the dashes.
    name: &'static str,
    /// Minor versions for which the flag is written.
    span: Span,
    /// Container runtime with which the flag is set; `None` for every runtime.
    runtime: Option<Runtime>,
    value: Value,
}

enum Value {
    Text(&'static str),
    Computed(fn(&NodeContext<'_>) -> String),
}

/// A program: its name in templates, its table, and the minor version that the table's rows refer to.
struct Program {
    name: &'static str,
    flags: &'static [Flag],
    minor: fn(&NodeContext<'_>) -> u32,
}

/// One row of the tables, for users and scripts. Numbers are minor versions: of etcd 3.x for etcd, otherwise
/// of Kubernetes 1.x.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Row {
    pub(crate) program: String,
    pub(crate) flag: &'static str,
    /// First version for which kiln sets the flag.
    pub(crate) since: Option<u32>,
    /// Last version for which kiln sets the flag.
    pub(crate) until: Option<u32>,
    pub(crate) deprecated: Option<u32>,
    pub(crate) removed: Option<u32>,
}

/// Programs started with flags.
static PROGRAMS: &[Program] = &[
    Program { name: "etcd", flags: etcd::FLAGS, minor: |context| context.etcd_minor() },
    Program { name: "kube_apiserver", flags: apiserver::FLAGS, minor: kubernetes },
    Program { name: "kube_controller_manager", flags: controller_manager::FLAGS, minor: kubernetes },
    Program { name: "kube_scheduler", flags: scheduler::FLAGS, minor: kubernetes },
    Program { name: "kubelet", flags: kubelet::FLAGS, minor: kubernetes },
    Program { name: "kube_proxy", flags: kube_proxy::FLAGS, minor: kubernetes },
];

/// Returns the flags of every program on one node, each as `--name=value`, keyed by the program's name in
/// templates.
pub(super) fn all(context: &NodeContext<'_>) -> BTreeMap<&'static str, Vec<String>> {
    PROGRAMS.iter().map(|program| (program.name, program.on(context))).collect()
}

/// Returns every row of every program's table.
pub(crate) fn table() -> Vec<Row> {
    let row = |program: &Program, flag: &Flag| {
        let name = program.name.replace('_', "-");
        let value = if let Value::Text(text) = flag.value { text } else { "" };
        let history = FlagHistory::find(&name, flag.name, value).map(|history| history.span);
        Row {
            program: name,
            flag: flag.name,
            since: Some(flag.span.introduced).filter(|since| *since > 0),
            until: flag.span.removed.map(|removed| removed - 1),
            deprecated: history.and_then(|span| span.deprecated),
            removed: history.and_then(|span| span.removed),
        }
    };
    PROGRAMS.iter().flat_map(|program| program.flags.iter().map(move |flag| row(program, flag))).collect()
}

impl Program {
    fn on(&self, context: &NodeContext<'_>) -> Vec<String> {
        self.arguments(context).map(|(name, value)| format!("--{name}={value}")).collect()
    }

    /// Returns the names and values of the flags for the version.
    fn arguments(&self, context: &NodeContext<'_>) -> impl Iterator<Item = (&'static str, String)> {
        let minor = (self.minor)(context);
        let wanted = self.flags.iter().filter(move |flag| flag.span.covers(minor));
        let wanted =
            wanted.filter(|flag| flag.runtime.is_none_or(|runtime| runtime == context.cluster.runtime));
        wanted.filter_map(|flag| Some((flag.name, flag.value.of(context)?)))
    }
}

impl Flag {
    const fn since(mut self, minor: u32) -> Self {
        self.span.introduced = minor;
        self
    }

    const fn before(mut self, minor: u32) -> Self {
        self.span.removed = Some(minor);
        self
    }

    const fn with(mut self, runtime: Runtime) -> Self {
        self.runtime = Some(runtime);
        self
    }
}

impl Value {
    fn of(&self, context: &NodeContext<'_>) -> Option<String> {
        match self {
            Self::Text(text) => Some((*text).to_owned()),
            Self::Computed(compute) => Some(compute(context)).filter(|value| !value.is_empty()),
        }
    }
}

/// Creates a flag with the same value everywhere.
const fn text(name: &'static str, value: &'static str) -> Flag {
    flag(name, Value::Text(value))
}

/// Creates a flag whose value depends on the cluster or the node; with an empty value it is omitted.
const fn computed(name: &'static str, value: fn(&NodeContext<'_>) -> String) -> Flag {
    flag(name, Value::Computed(value))
}

const fn flag(name: &'static str, value: Value) -> Flag {
    Flag { name, span: Span::ALWAYS, runtime: None, value }
}

fn kubernetes(context: &NodeContext<'_>) -> u32 {
    context.cluster.kubernetes.minor
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::RangeInclusive;

    use super::{PROGRAMS, Program, table};
    use crate::words::KubernetesVersion;

    /// Versions that a program's rows refer to.
    fn minors(program: &Program) -> RangeInclusive<u32> {
        if program.name == "etcd" { 1..=6 } else { KubernetesVersion::MINORS }
    }

    #[test]
    fn no_version_of_a_program_gets_a_flag_twice() {
        for program in PROGRAMS {
            for minor in minors(program) {
                let flags = program.flags.iter().filter(|flag| flag.span.covers(minor));
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
                assert!(flag.span.is_in_order(), "{} --{}", program.name, flag.name);
                let is_rendered = minors(program).any(|minor| flag.span.covers(minor));
                assert!(is_rendered, "{} --{} is never rendered", program.name, flag.name);
            }
        }
    }

    #[test]
    fn no_flag_is_given_to_a_version_that_rejects_it() {
        for row in table() {
            assert!(
                row.removed.is_none_or(|removed| row.until.is_some_and(|until| until < removed)),
                "{row:?}"
            );
        }
    }

    /// Golden trees record the flags for Kubernetes versions; the flags for etcd versions are recorded here,
    /// because no profile covers all of these.
    #[test]
    fn what_changes_from_etcd_to_etcd_is_on_record() {
        let etcd = PROGRAMS.iter().find(|program| program.name == "etcd").unwrap();
        let given = |minor: u32| -> BTreeSet<String> {
            let flags = etcd.flags.iter().filter(|flag| flag.span.covers(minor));
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
