//! Labels of the partitions on a machine's disk.

pub(crate) const ESP: &str = "kiln-esp";
pub(crate) const ROOT: &str = "kiln-root";
pub(crate) const ROOT_VERITY: &str = "kiln-root-verity";
/// Contains a seed.
pub(crate) const CONFIG: &str = "kiln-config";
/// Mounted at `/var`.
pub(crate) const STATE: &str = "kiln-state";
