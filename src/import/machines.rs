//! Machine roles inferred from the files on the machines: an API server, an etcd member, a kubelet, or only a
//! balancer.

use std::collections::BTreeMap;

use crate::config::{Document, Fleet, Word};
use crate::import::facts::{Facts, Origin};
use crate::words::Role;

/// Components that the files on a machine reveal, in the order in which they determine the machine's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Trace {
    ApiServer,
    Etcd,
    /// Joins as a node; without other components, the machine is a worker.
    Kubelet,
    /// keepalived manages a VIP.
    Vip,
    /// Any Kubernetes component.
    Kubernetes,
}

/// First position of each trace on a machine.
type Traces<'f, 'a> = BTreeMap<Trace, (&'f Document<'a>, Word<'a>)>;

/// Records each machine that has a directory, so that none is lost, with the roles that its files imply.
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
        let (document, word) =
            own.values().next().copied().unwrap_or((documents[0], documents[0].text.part(0..0)));
        if let Some(machine) = facts.machine_of(document, None, Origin::of(document, word)) {
            machine.otherwise = otherwise(own);
        }
    }
    for block in fleet.keepalived("vrrp_instance") {
        let word = block.statement.setting("priority");
        let machine =
            word.and_then(|word| facts.machine_of(block.document, None, Origin::of(block.document, word)));
        if let Some((word, machine)) = word.zip(machine) {
            machine.priority = word.text.parse().ok();
        }
    }
}

/// Returns the role of a machine that is not a control-plane node. A machine with the VIP and a Kubernetes
/// component may have either role.
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
