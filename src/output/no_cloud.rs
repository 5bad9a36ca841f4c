//! `cloud-init`: what each node needs on a stock Debian image, loose and on a NoCloud volume. All of it holds the node's keys.

use crate::error::{Error, Kind, Result};
use crate::output::artifacts::{Artifacts, Readers};
use crate::output::node_image::Node;
use crate::output::{Format, Packed};
use crate::progress::Progress;
use crate::words::STOCK;

#[derive(Debug)]
pub(super) struct NoCloud;

impl Format for NoCloud {
    fn name(&self) -> &'static str {
        STOCK
    }

    fn needs_images(&self) -> bool {
        false
    }

    fn pack_role(&self, _: &Packed<'_>, _: &mut Artifacts, _: &dyn Progress) -> Result<()> {
        Ok(())
    }

    fn pack_node(&self, node: &Node<'_>, out: &mut Artifacts, _: &dyn Progress) -> Result<()> {
        let documents = node.documents.ok_or_else(|| Error::new(Kind::Internal, format!("`{}` has no cloud-init documents", node.name)))?;
        let at = |name: &str| format!("nodes/{}/{name}", node.name);
        out.put_bytes(&at("user-data"), Readers::Owner, documents.user_data.as_bytes())?;
        out.put_bytes(&at("meta-data"), Readers::Owner, documents.meta_data.as_bytes())?;
        out.put_bytes(&at("network-config"), Readers::Owner, documents.network_config.as_bytes())?;
        let volume = documents.volume(out.epoch())?;
        out.put_bytes(&at("cidata.img"), Readers::Owner, &volume)
    }
}
