//! What lies on a machine tells its role: an API server, a member of etcd, a kubelet, a balancer alone.

use std::collections::BTreeMap;

use crate::config::{Document, Fleet, Word};
use crate::import::facts::{Facts, Origin};
use crate::words::Role;

/// What a machine is seen to run, in the order in which it tells roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trace {
    ApiServer,
    Etcd,
    /// Joins as a node; on its own that is a worker.
    Kubelet,
    /// keepalived holds a VIP.
    Vip,
    /// Something of Kubernetes, whatever it is.
    Kubernetes,
}

/// The first place of each trace of a machine.
type Traces<'f, 'a> = BTreeMap<Trace, (&'f Document<'a>, Word<'a>)>;

/// Notes each machine that has a directory, so that none is lost: with its roles, as far as what lies on it tells them.
pub(super) fn learn(fleet: &Fleet<'_>, facts: &mut Facts) {
    let mut machines: BTreeMap<&str, Vec<&Document<'_>>> = BTreeMap::new();
    fleet.documents.iter().for_each(|document| machines.entry(document.machine).or_default().push(document));
    let traces = traces(fleet);
    for (name, documents) in machines {
        let none = Traces::new();
        let own = traces.get(name).unwrap_or(&none);
        for (trace, role) in [(Trace::ApiServer, Role::ControlPlane), (Trace::Etcd, Role::Etcd)] {
            if let Some((document, word)) = own.get(&trace) {
                facts.machine_of(document, Some(role), Origin::of(document, *word));
            }
        }
        let (document, word) = own.values().next().copied().unwrap_or((documents[0], documents[0].text.part(0..0)));
        if let Some(machine) = facts.machine_of(document, None, Origin::of(document, word)) {
            machine.otherwise = otherwise(own);
        }
    }
    for block in fleet.keepalived("vrrp_instance") {
        let word = block.statement.setting("priority");
        let machine = word.and_then(|word| facts.machine_of(block.document, None, Origin::of(block.document, word)));
        if let Some((word, machine)) = word.zip(machine) {
            machine.priority = word.text.parse().ok();
        }
    }
}

/// The role of a machine that is no control-plane node. What carries the VIP and has something of Kubernetes may be either.
fn otherwise(traces: &Traces<'_, '_>) -> Option<Role> {
    match (traces.contains_key(&Trace::Kubelet), traces.contains_key(&Trace::Vip)) {
        (true, false) => Some(Role::Worker),
        (false, true) => (!traces.contains_key(&Trace::Kubernetes)).then_some(Role::Lb),
        _ => None,
    }
}

fn traces<'f, 'a>(fleet: &'f Fleet<'a>) -> BTreeMap<&'a str, Traces<'f, 'a>> {
    let mut found: BTreeMap<&str, Traces<'_, '_>> = BTreeMap::new();
    let mut see = |document: &'f Document<'a>, trace: Trace, word: Word<'a>| {
        found.entry(document.machine).or_default().entry(trace).or_insert((document, word));
    };
    for invocation in &fleet.invocations {
        let trace = match invocation.program {
            "kube-apiserver" => Trace::ApiServer,
            "etcd" => Trace::Etcd,
            "kubelet" => Trace::Kubelet,
            _ => Trace::Kubernetes,
        };
        see(&fleet.documents[invocation.document], trace, invocation.word);
    }
    for (document, command) in fleet.commands() {
        if command.runs(&["kubeadm", "init"]) || command.runs(&["kubeadm", "join", "--control-plane"]) {
            see(document, Trace::ApiServer, command.name());
        } else if command.runs(&["kubeadm", "join"]) {
            see(document, Trace::Kubelet, command.name());
        }
    }
    for document in &fleet.documents {
        let name = document.path.rsplit('/').next().unwrap_or_default();
        let start = document.text.part(0..0);
        if name.starts_with("kubelet") || name.starts_with("bootstrap") && name.ends_with("kubeconfig") {
            see(document, Trace::Kubelet, start);
        } else if document.path.contains("kube") {
            see(document, Trace::Kubernetes, start);
        }
    }
    for block in fleet.keepalived("vrrp_instance") {
        see(block.document, Trace::Vip, block.statement.name());
    }
    found
}
