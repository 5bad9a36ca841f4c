//! Components that a cluster file takes away from the machines that are there for them.

use crate::lint::subject::{Findings, Subject};
use crate::words::Role;

/// An overlay, the roles that are nothing without it, and what is missing then.
const ESSENTIAL: [(&str, &[Role], &str); 6] = [
    ("etcd", &[Role::ControlPlane, Role::Etcd], "the cluster has no etcd"),
    ("kube-apiserver", &[Role::ControlPlane], "there is no API"),
    ("kube-controller-manager", &[Role::ControlPlane], "nobody makes pods or misses a node"),
    ("kube-scheduler", &[Role::ControlPlane], "no pod gets a node"),
    ("kubeadm", &[Role::ControlPlane], "there is no API"),
    ("kubelet", &[Role::Worker], "the machines run nothing"),
];

/// An addition may do what the removed one did, and another role of each of the machines may bring it.
pub(super) fn missing_component(subject: &Subject<'_>, findings: &mut Findings) {
    for role in subject.cluster.overlays.keys().filter(|role| subject.cluster.with_role(**role).next().is_some()) {
        let change = subject.profile.document.overlays.of(*role);
        if !change.add.is_empty() {
            continue;
        }
        for (index, name) in change.remove.iter().enumerate() {
            let lacking = subject.cluster.with_role(*role).any(|node| !subject.has(&node.roles, name));
            if let Some(missing) = missing(subject, *role, name).filter(|_| lacking) {
                findings.at(format!("overlays.{}.remove[{index}]", role.name()), format!("without `{name}` {missing}"));
            }
        }
    }
}

/// What is taken away and comes back, because something else of the machines requires it.
pub(super) fn no_removal(subject: &Subject<'_>, findings: &mut Findings) {
    for role in subject.cluster.overlays.keys() {
        let Some(node) = subject.cluster.with_role(*role).next() else { continue };
        for (index, name) in subject.profile.document.overlays.of(*role).remove.iter().enumerate() {
            let stays = subject.cluster.with_role(*role).all(|node| subject.has(&node.roles, name));
            let needed: Vec<String> = subject.requiring(&node.roles, name).into_iter().map(|other| format!("`{other}`")).collect();
            if stays && !needed.is_empty() {
                let message = format!("`{name}` stays: it is required by {}", needed.join(", "));
                findings.at(format!("overlays.{}.remove[{index}]", role.name()), message);
            }
        }
    }
}

/// What machines of a role lack without the overlay.
fn missing(subject: &Subject<'_>, role: Role, name: &str) -> Option<&'static str> {
    let cluster = subject.cluster;
    let essential = ESSENTIAL.iter().find(|(overlay, roles, _)| *overlay == name && roles.contains(&role)).map(|(_, _, missing)| *missing);
    let endpoint = &cluster.endpoint;
    let balances =
        endpoint.balancer.overlays(endpoint.run).contains(&name) && endpoint.balancer.place.roles(subject.has_front()).contains(&role);
    essential.or(balances.then_some("nothing carries the endpoint to the API servers"))
}
