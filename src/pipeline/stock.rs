//! Nodes on stock Debian images: cloud-init documents instead of an image and a seed.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::base::Lock;
use crate::cluster::Cluster;
use crate::error::{Result, Within};
use crate::host;
use crate::output::cloud_init::{self, Documents};
use crate::pipeline::site::{self, Site};
use crate::pki::Pki;
use crate::render;

/// Overlay for kiln's own images; a stock image boots without it.
const IMAGE: &str = "image";

/// Returns every node's documents, keyed by node name.
///
/// # Errors
///
/// Rendering errors; [`crate::error::Kind::Input`] if the lock does not pin a program.
pub(super) fn documents(site: &Site, lock: &Lock, pki: &Pki) -> Result<BTreeMap<String, Documents>> {
    let cluster = &without_image(&site.cluster);
    let (agent, _) = host::fs::digest(&site::agent()?)?;
    let of_node = |node: &crate::cluster::Node| {
        let image = node.image();
        let needs = render::requirements(cluster, &image, &site.overlays)?;
        let input = cloud_init::Input {
            cluster,
            node,
            seed: &render::node(cluster, node, pki, &site.overlays)?,
            role: &render::role(cluster, &image, &site.overlays)?,
            packages: &needs.packages,
            programs: &needs.binaries,
            agent: needs.agent.then_some(agent),
            not_before: pki.not_before(),
            users: &needs.users,
            lock,
        };
        let documents = cloud_init::documents(&input)
            .within(|| format!("writing the cloud-init documents for `{}`", node.name))?;
        Ok((node.name.clone(), documents))
    };
    cluster.nodes.par_iter().map(of_node).collect()
}

fn without_image(cluster: &Cluster) -> Cluster {
    let mut cluster = cluster.clone();
    cluster.overlays.values_mut().for_each(|overlays| overlays.retain(|name| name != IMAGE));
    cluster
}
