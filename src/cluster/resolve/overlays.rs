//! The overlays of each role: the profile's, with the cluster file's changes.

use std::collections::BTreeMap;

use crate::cluster::resolve::draft::Draft;
use crate::cluster::{Balancer, Endpoint, Node, Role};
use crate::profile::closest;

/// The component that a dedicated member takes away from the control plane.
const ETCD: &str = "etcd";
/// The components that an external balancer stands in for.
const BALANCERS: [&str; 2] = ["haproxy", "keepalived"];

pub(super) fn resolve(draft: &mut Draft<'_>, nodes: &[Node], endpoint: Option<&Endpoint>) -> BTreeMap<Role, Vec<String>> {
    let dedicated = nodes.iter().any(|node| node.roles.contains(&Role::Etcd));
    let external = endpoint.is_some_and(|endpoint| endpoint.balancer == Balancer::External);
    let mut of_role = |role| {
        let mut overlays = profile_overlays(draft, role);
        if dedicated && role == Role::ControlPlane {
            overlays.retain(|overlay| overlay != ETCD);
        }
        if external {
            overlays.retain(|overlay| !BALANCERS.contains(&overlay.as_str()));
        }
        (role, changed(draft, role, overlays))
    };
    Role::ALL.into_iter().map(&mut of_role).collect()
}

fn profile_overlays(draft: &Draft<'_>, role: Role) -> Vec<String> {
    draft.profile.definition.as_ref().and_then(|definition| definition.overlays.get(&role)).cloned().unwrap_or_default()
}

/// The user's additions and removals.
fn changed(draft: &mut Draft<'_>, role: Role, mut overlays: Vec<String>) -> Vec<String> {
    let change = draft.profile.document.overlays.of(role);
    for (index, name) in change.remove.iter().enumerate() {
        let path = format!("overlays.{}.remove[{index}]", role.name());
        if !overlays.contains(name) {
            let hint = match closest(name, overlays.iter().map(String::as_str)) {
                Some(other) => format!("did you mean `{other}`?"),
                None => format!("the role has: {}", overlays.join(", ")),
            };
            draft.wrong(&path, format!("the role `{}` has no overlay `{name}` to remove", role.name()), hint);
        }
        overlays.retain(|overlay| overlay != name);
    }
    for (index, name) in change.add.iter().enumerate() {
        let path = format!("overlays.{}.add[{index}]", role.name());
        if overlays.contains(name) {
            draft.wrong(&path, format!("the role `{}` has the overlay `{name}` already", role.name()), "leave it out");
        } else {
            overlays.push(name.clone());
        }
    }
    overlays
}
