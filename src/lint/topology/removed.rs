//! Essential components that a cluster file removes from a role.

use crate::lint::subject::{Findings, Subject};
use crate::words::Role;

/// An overlay, the roles that need it, and the consequence of removing it.
const ESSENTIAL: [(&str, &[Role], &str); 6] = [
    ("etcd", &[Role::ControlPlane, Role::Etcd], "the cluster has no data store"),
    ("kube-apiserver", &[Role::ControlPlane], "the cluster has no API"),
    ("kube-controller-manager", &[Role::ControlPlane], "no pods are created and failed nodes go unnoticed"),
    ("kube-scheduler", &[Role::ControlPlane], "no pods are scheduled"),
    ("kubeadm", &[Role::ControlPlane], "the cluster has no API"),
    ("kubelet", &[Role::Worker], "the machines run no pods"),
];

/// Reports missing components, unless an added overlay or another role of each machine may provide them.
pub(super) fn missing_component(subject: &Subject<'_>, findings: &mut Findings) {
    for role in
        subject.cluster.overlays.keys().filter(|role| subject.cluster.with_role(**role).next().is_some())
    {
        let change = subject.profile.document.overlays.of(*role);
        if !change.add.is_empty() {
            continue;
        }
        for (index, name) in change.remove.iter().enumerate() {
            let lacking = subject.cluster.with_role(*role).any(|node| !subject.has(&node.roles, name));
            if let Some(missing) = missing(subject, *role, name).filter(|_| lacking) {
                findings.at(
                    format!("overlays.{}.remove[{index}]", role.name()),
                    format!("without `{name}`, {missing}"),
                );
            }
        }
    }
}

/// Reports removed overlays that remain because other overlays on the same machines require them.
pub(super) fn no_removal(subject: &Subject<'_>, findings: &mut Findings) {
    for role in subject.cluster.overlays.keys() {
        let Some(node) = subject.cluster.with_role(*role).next() else { continue };
        for (index, name) in subject.profile.document.overlays.of(*role).remove.iter().enumerate() {
            let stays = subject.cluster.with_role(*role).all(|node| subject.has(&node.roles, name));
            let needed: Vec<String> =
                subject.requiring(&node.roles, name).into_iter().map(|other| format!("`{other}`")).collect();
            if stays && !needed.is_empty() {
                let message = format!("`{name}` is not removed: it is required by {}", needed.join(", "));
                findings.at(format!("overlays.{}.remove[{index}]", role.name()), message);
            }
        }
    }
}

/// Returns the consequence if machines with a role lack the overlay.
fn missing(subject: &Subject<'_>, role: Role, name: &str) -> Option<&'static str> {
    let cluster = subject.cluster;
    let essential = ESSENTIAL
        .iter()
        .find(|(overlay, roles, _)| *overlay == name && roles.contains(&role))
        .map(|(_, _, missing)| *missing);
    let endpoint = &cluster.endpoint;
    let balances = endpoint.balancer.overlays(endpoint.run).contains(&name)
        && endpoint.balancer.place.roles(subject.has_front()).contains(&role);
    essential.or(balances.then_some("the endpoint does not reach the API servers"))
}
