//! What verbs work on: the cluster file that `--file` names, read and resolved.

use crate::cli::Ui;
use crate::cluster::{self, Cluster};
use crate::error::{Report, Result};
use crate::lint;
use crate::overlay::Overlays;
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

/// As [`cluster`], and holds it against every lint; what does not refuse the build is in the report.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] with every problem if one of them refuses the build.
pub(super) fn checked(ui: &Ui) -> Result<(Cluster, Overlays, Report)> {
    let global = ui.global();
    let profile = profile::load(&global.file, &global.profile_dir)?;
    let cluster = cluster::resolve(&profile)?;
    let overlays = Overlays::load(&global.overlay_dir)?;
    let report = lint::check(&profile, &cluster, &overlays);
    report.clone().into_result()?;
    Ok((cluster, overlays, report))
}

/// Reads, resolves and lints the cluster file for verbs that build, and shows what does not refuse the build.
///
/// # Errors
///
/// As [`checked`].
pub(super) fn site(ui: &Ui) -> Result<Site> {
    let global = ui.global();
    let sources = Sources { file: &global.file, profile_directories: &global.profile_dir, overlay_directories: &global.overlay_dir };
    let site = Site::load(&sources)?;
    ui.report(&site.report);
    Ok(site)
}
