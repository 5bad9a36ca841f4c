//! Input and findings of lints that check the cluster file.

use std::collections::BTreeSet;

use crate::cluster::Cluster;
use crate::overlay::{Overlay, Overlays};
use crate::profile::Profile;
use crate::words::Role;

/// Input of lints that check the cluster file.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) profile: &'a Profile,
    pub(super) cluster: &'a Cluster,
    pub(super) overlays: &'a Overlays,
}

impl<'a> Subject<'a> {
    /// Returns the overlays of all nodes' roles, including the overlays that they require; ignores overlays
    /// that do not exist.
    pub(super) fn chosen(&self) -> impl Iterator<Item = &'a Overlay> {
        let names: BTreeSet<&String> =
            self.cluster.nodes.iter().flat_map(|node| self.names(&node.roles)).collect();
        let known = names.into_iter().filter(|name| self.overlays.get(name).is_ok());
        self.overlays.select(known).unwrap_or_default().into_iter()
    }

    /// Checks whether machines with these roles have the overlay, directly or because another overlay
    /// requires it.
    pub(super) fn has(&self, roles: &BTreeSet<Role>, name: &str) -> bool {
        self.selected(roles).iter().any(|overlay| overlay.name == name)
    }

    /// Returns the overlays of machines with these roles that require the overlay `name`.
    pub(super) fn requiring(&self, roles: &BTreeSet<Role>, name: &str) -> Vec<&str> {
        let requires =
            |overlay: &&&Overlay| overlay.manifest.requires.iter().any(|required| required == name);
        self.selected(roles).iter().filter(requires).map(|overlay| overlay.name.as_str()).collect()
    }

    fn selected(&self, roles: &BTreeSet<Role>) -> Vec<&Overlay> {
        let known = self.names(roles).into_iter().filter(|name| self.overlays.get(name).is_ok());
        self.overlays.select(known).unwrap_or_default()
    }

    /// Checks whether any machine is a dedicated balancer.
    pub(super) fn has_front(&self) -> bool {
        self.cluster.with_role(Role::Lb).next().is_some()
    }

    /// Returns the names of the overlays that are assigned to these roles.
    pub(super) fn names(&self, roles: &BTreeSet<Role>) -> BTreeSet<&'a String> {
        roles.iter().filter_map(|role| self.cluster.overlays.get(role)).flatten().collect()
    }
}

/// Findings of one lint: the setting's path, the message, and the fix if it differs from the fix in the
/// lint's row.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<(String, String, Option<String>)>);

impl Findings {
    pub(super) fn at(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push((path.into(), message.into(), None));
    }

    pub(super) fn with_fix(
        &mut self,
        path: impl Into<String>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.0.push((path.into(), message.into(), Some(fix.into())));
    }
}
