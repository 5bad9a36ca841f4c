//! `cloud-init`: each node's documents for a stock Debian image, as files and on a NoCloud volume. Only their
//! owner can read them, because they contain the node's keys.

use crate::error::{Error, Kind, Result};
use crate::output::Format;
use crate::output::artifacts::{Artifacts, Readers};
use crate::output::node_image::Node;
use crate::progress::Progress;
use crate::words::artifacts;

#[derive(Debug)]
pub(super) struct NoCloud;

impl Format for NoCloud {
    fn name(&self) -> &'static str {
        "cloud-init"
    }

    fn pack_node(&self, node: &Node<'_>, out: &mut Artifacts, _: &dyn Progress) -> Result<()> {
        let documents = node.documents.ok_or_else(|| {
            Error::new(Kind::Internal, format!("`{}` has no cloud-init documents", node.name))
        })?;
        let at = |name: &str| format!("{}/{name}", artifacts::node(node.name));
        out.put_bytes(&at("user-data"), Readers::Owner, documents.user_data.as_bytes())?;
        out.put_bytes(&at("meta-data"), Readers::Owner, documents.meta_data.as_bytes())?;
        out.put_bytes(&at("network-config"), Readers::Owner, documents.network_config.as_bytes())?;
        let volume = documents.volume(out.epoch())?;
        out.put_bytes(&at("cidata.img"), Readers::Owner, &volume)
    }
}
