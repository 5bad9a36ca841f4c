//! `kiln list`: lists the values that cluster files may use.

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::check::described;
use crate::cli::table::columns;
use crate::cli::{Ui, versions};
use crate::error::Result;
use crate::lint::LINTS;
use crate::overlay::{Origin, Overlay, Overlays};
use crate::profile::Catalog;
use crate::words::{BALANCERS, OUTPUTS};

/// List the values that cluster files may use
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Kind of value to list
    what: What,
}

const EXAMPLES: &str = "\
Examples:
  kiln list profiles
  kiln list overlays --overlay-dir site/overlays
  kiln list lints --json | jq -r '.[] | select(.severity == \"error\").id'
  kiln list versions --json | jq '.flags[] | select(.program == \"kubelet\")'";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// Starting points: `profile = …`
    Profiles,
    /// Components of a node: `overlays.ROLE.add = […]`
    Overlays,
    /// Output formats: `outputs.formats = […]`
    #[value(alias = "formats")]
    Outputs,
    /// Endpoint balancers: `endpoint.balancer = …`
    Balancers,
    /// Problems that `kiln check` finds: `# kiln: allow ID because …`
    Lints,
    /// Versions compatible with each Kubernetes release: `cluster.kubernetes = …`
    Versions,
}

/// A value and its meaning.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    name: String,
    summary: String,
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    let rows = match args.what {
        What::Lints => {
            return ui.show(&LINTS.iter().map(|lint| described(lint)).collect::<Vec<_>>(), |_| lints());
        }
        What::Versions => return ui.show(&versions::tables(), versions::text),
        What::Profiles => profiles(ui)?,
        What::Overlays => overlays(ui)?,
        What::Outputs => OUTPUTS
            .iter()
            .map(|kind| row(kind.name, &format!("{}: {}", kind.summary, kind.makes.join(", "))))
            .collect(),
        What::Balancers => BALANCERS.iter().map(|kind| row(kind.name, kind.summary)).collect(),
    };
    ui.show(&rows, |rows| {
        columns(&rows.iter().map(|row| [row.name.clone(), row.summary.clone()]).collect::<Vec<_>>())
    })
}

fn profiles(ui: &Ui) -> Result<Vec<Row>> {
    let catalog = Catalog::load(&ui.global().profile_dir)?;
    let one = |name| {
        catalog
            .get(name)
            .expect("the catalog contains every profile it lists")
            .map(|profile| row(name, &profile.summary))
    };
    catalog.names().map(one).collect()
}

fn overlays(ui: &Ui) -> Result<Vec<Row>> {
    let overlays = Overlays::load(&ui.global().overlay_dir)?;
    let one = |overlay: &Overlay| match &overlay.origin {
        Origin::Embedded => row(&overlay.name, &overlay.manifest.summary),
        Origin::Directory(path) => {
            row(&overlay.name, &format!("{} (from {})", overlay.manifest.summary, path.display()))
        }
    };
    Ok(overlays.iter().map(one).collect())
}

fn lints() -> String {
    let one = |lint: &&crate::lint::Lint| {
        [lint.id.to_owned(), format!("{:?}", lint.severity).to_lowercase(), lint.title.to_owned()]
    };
    columns(&LINTS.iter().map(one).collect::<Vec<_>>())
}

fn row(name: &str, summary: &str) -> Row {
    Row { name: name.to_owned(), summary: summary.to_owned() }
}
