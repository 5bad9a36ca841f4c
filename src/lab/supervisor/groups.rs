//! The lab's control groups: one for each node and one for the supervisor, in version 2's hierarchy, and where this machine bounds disks by
//! version 1, in that one too.

use std::path::PathBuf;

use crate::digest::Digest;
use crate::error::{Result, Within};
use crate::host;
use crate::host::cgroup::Branch;
use crate::lab::Lab;

/// Name of the group that the supervisor itself is in.
const OWN: &str = "supervisor";

/// The lab's branch of version 2, which ends and freezes what is in it.
pub(super) fn branch(lab: &Lab) -> Branch {
    Branch::top(&name(lab))
}

fn name(lab: &Lab) -> String {
    let place = Digest::of(lab.state.as_os_str().as_encoded_bytes());
    format!("kiln-lab-{}-{}", lab.cluster, place.short())
}

/// Where version 1's hierarchy is, in the supervisor's mount namespace.
fn disks(lab: &Lab) -> PathBuf {
    lab.private().join(".blkio")
}

fn branches(lab: &Lab) -> Vec<Branch> {
    let disks = disks(lab);
    let of_disks = host::mount::is_mount_point(&disks).then(|| Branch::at(&disks, &name(lab)));
    [branch(lab)].into_iter().chain(of_disks).collect()
}

/// Makes the hierarchies visible in this mount namespace, which is the lab's or its sweeper's.
pub(super) fn mount(lab: &Lab) -> Result<()> {
    host::cgroup::mount()?;
    host::cgroup::mount_disks(&disks(lab))
}

/// Moves this process, and what it starts from now on, to a node's groups.
pub(super) fn join(lab: &Lab, node: &str) -> Result<()> {
    branches(lab).iter().try_for_each(|branch| branch.below(node).join())
}

/// Moves this process to the supervisor's own groups.
pub(super) fn join_own(lab: &Lab) -> Result<()> {
    join(lab, OWN).within(|| "making control groups for the lab".into())
}

/// Removes a node's groups, of which nothing runs any more.
pub(super) fn remove(lab: &Lab, node: &str) -> Result<()> {
    branches(lab).iter().try_for_each(|branch| branch.below(node).remove())
}

/// Leaves the lab's groups and removes them.
pub(super) fn leave(lab: &Lab) -> Result<()> {
    branches(lab).iter().try_for_each(|branch| branch.leave().and_then(|()| branch.remove()))
}

/// Ends and removes what an ended supervisor has left.
pub(super) fn sweep(lab: &Lab) -> Result<()> {
    mount(lab)?;
    branch(lab).kill()?;
    branches(lab).iter().try_for_each(Branch::remove)
}

/// Bounds how often a second a node writes to a device, or lifts that.
pub(super) fn bound_writes(lab: &Lab, node: &str, device: &str, per_second: Option<u32>) -> Result<()> {
    let bounds = branches(lab).pop().expect("there is always one");
    bounds.below(node).bound_writes(device, per_second)
}
