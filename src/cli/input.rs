//! Input for the verbs: the `--file` cluster file, read and resolved.

use crate::cli::Ui;
use crate::cluster::{self, Cluster};
use crate::error::{Result, Severity};
use crate::host;
use crate::pipeline::{Site, Sources};
use crate::profile;

/// Reads and resolves the cluster file.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] listing every problem in the file.
pub(super) fn cluster(ui: &Ui) -> Result<Cluster> {
    let global = ui.global();
    cluster::resolve(&profile::load(&global.file, &global.profile_dir)?)
}

/// Returns the cluster's name, even if something else in the cluster file is wrong.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] listing every problem in the file, if it does not set the name.
pub(super) fn name(ui: &Ui) -> Result<String> {
    let text = host::fs::read_to_string(&ui.global().file)?;
    let file = toml::from_str::<toml::Table>(&text).unwrap_or_default();
    let name = file.get("cluster").and_then(|cluster| cluster.get("name")?.as_str());
    name.map_or_else(|| Ok(cluster(ui)?.name), |name| Ok(name.to_owned()))
}

/// Reads, resolves and lints the cluster file; problems that do not block the build are in the site's report.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] listing every problem, if one of them blocks the build.
pub(super) fn checked(ui: &Ui) -> Result<Site> {
    Site::load(&sources(ui))
}

/// Returns the sources that the global options specify.
pub(super) fn sources(ui: &Ui) -> Sources<'_> {
    let global = ui.global();
    Sources {
        file: &global.file,
        profile_directories: &global.profile_dir,
        overlay_directories: &global.overlay_dir,
    }
}

/// Does the same as [`checked`], and shows warnings; only `kiln check` shows notes.
///
/// # Errors
///
/// Same as [`checked`].
pub(super) fn site(ui: &Ui) -> Result<Site> {
    let site = checked(ui)?;
    let mut report = site.report.clone();
    report.problems.retain(|problem| problem.severity >= Severity::Warning);
    ui.report(&report);
    Ok(site)
}
