//! The lab's cgroups: one for each node and one for the supervisor, in the cgroup v2 hierarchy, and also in
//! the v1 hierarchy if this machine limits disks there.

use std::path::PathBuf;

use crate::digest::Digest;
use crate::error::{Result, Within};
use crate::host;
use crate::host::cgroup::Branch;
use crate::lab::Lab;

/// Name of the supervisor's own cgroup.
const OWN: &str = "supervisor";

/// Returns the lab's branch of the cgroup v2 hierarchy, which is used to kill and freeze processes.
pub(super) fn branch(lab: &Lab) -> Branch {
    Branch::top(&name(lab))
}

fn name(lab: &Lab) -> String {
    let place = Digest::of(lab.state.as_os_str().as_encoded_bytes());
    format!("kiln-lab-{}-{}", lab.cluster, place.short())
}

/// Returns the mount point of the cgroup v1 hierarchy, in the supervisor's mount namespace.
fn disks(lab: &Lab) -> PathBuf {
    lab.private().join(".blkio")
}

fn branches(lab: &Lab) -> Vec<Branch> {
    let disks = disks(lab);
    let of_disks = host::mount::is_mount_point(&disks).then(|| Branch::at(&disks, &name(lab)));
    [branch(lab)].into_iter().chain(of_disks).collect()
}

/// Mounts the hierarchies in the current mount namespace, which belongs to the lab or to the process that
/// cleans up after the lab.
pub(super) fn mount(lab: &Lab) -> Result<()> {
    host::cgroup::mount()?;
    host::cgroup::mount_disks(&disks(lab))
}

/// Moves this process and its future children to a node's cgroups.
pub(super) fn join(lab: &Lab, node: &str) -> Result<()> {
    branches(lab).iter().try_for_each(|branch| branch.below(node).join())
}

/// Moves this process to the supervisor's own cgroups.
pub(super) fn join_own(lab: &Lab) -> Result<()> {
    join(lab, OWN).within(|| "creating cgroups for the lab".into())
}

/// Removes a node's cgroups, in which nothing runs anymore.
pub(super) fn remove(lab: &Lab, node: &str) -> Result<()> {
    branches(lab).iter().try_for_each(|branch| branch.below(node).remove())
}

/// Leaves the lab's cgroups and removes them.
pub(super) fn leave(lab: &Lab) -> Result<()> {
    branches(lab).iter().try_for_each(|branch| branch.leave().and_then(|()| branch.remove()))
}

/// Kills and removes whatever a dead supervisor left behind.
pub(super) fn sweep(lab: &Lab) -> Result<()> {
    mount(lab)?;
    branch(lab).kill()?;
    branches(lab).iter().try_for_each(Branch::remove)
}

/// Limits a node's writes per second to a device, or removes the limit.
pub(super) fn bound_writes(lab: &Lab, node: &str, device: &str, per_second: Option<u32>) -> Result<()> {
    let bounds = branches(lab).pop().expect("there is always one");
    bounds.below(node).bound_writes(device, per_second)
}
