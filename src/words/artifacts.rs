//! Paths of artifacts in an output directory, relative to it.

/// File that describes a build.
pub(crate) const MANIFEST: &str = "manifest.json";
/// Digests of all files, for `sha256sum --check`.
pub(crate) const SUMS: &str = "SHA256SUMS";

/// Returns the path of a role image's files without an extension; their parts are in a directory of this
/// name.
pub(crate) fn image(role: &str) -> String {
    format!("images/{role}")
}

/// Returns the path of a role's disk image in a format.
pub(crate) fn disk_image(role: &str, format: &str) -> String {
    format!("{}.{format}", image(role))
}

/// Returns the directory of a node's own artifacts.
pub(crate) fn node(name: &str) -> String {
    format!("nodes/{name}")
}

/// Returns the path of a node's disk in a format.
pub(crate) fn node_disk(name: &str, format: &str) -> String {
    format!("{}/{name}.{format}", node(name))
}

/// Returns the path of a node's seed.
pub(crate) fn seed(name: &str) -> String {
    node_disk(name, "seed")
}
