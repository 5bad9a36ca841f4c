//! What verbs work on: the cluster file that `--file` names, read and resolved.

use crate::cli::Ui;
use crate::cluster::{self, Cluster};
use crate::error::{Result, Severity};
use crate::pipeline::{Site, Sources};
use crate::profile;

/// Reads and resolves the cluster file.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] with every problem of the file.
pub(super) fn cluster(ui: &Ui) -> Result<Cluster> {
    let global = ui.global();
    cluster::resolve(&profile::load(&global.file, &global.profile_dir)?)
}

/// Reads and resolves the cluster file and holds it against every lint; what does not refuse the build is in its report.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] with every problem if one of them refuses the build.
pub(super) fn checked(ui: &Ui) -> Result<Site> {
    Site::load(&sources(ui))
}

/// What the global options name.
pub(super) fn sources(ui: &Ui) -> Sources<'_> {
    let global = ui.global();
    Sources { file: &global.file, profile_directories: &global.profile_dir, overlay_directories: &global.overlay_dir }
}

/// As [`checked`], and shows the warnings; remarks are for `kiln check`.
///
/// # Errors
///
/// As [`checked`].
pub(super) fn site(ui: &Ui) -> Result<Site> {
    let site = checked(ui)?;
    let mut report = site.report.clone();
    report.problems.retain(|problem| problem.severity >= Severity::Warning);
    ui.report(&report);
    Ok(site)
}
