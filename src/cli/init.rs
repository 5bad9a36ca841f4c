//! `kiln init`: a cluster file to edit.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::Ui;
use crate::error::{Error, Kind, Result, Source};
use crate::host;
use crate::profile::{self, Catalog, closest};

/// Write a cluster file to edit, from a profile
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Profile to start from; `kiln list profiles` shows them
    #[arg(long, value_name = "NAME", default_value = "ha")]
    profile: String,

    /// Name of the cluster
    #[arg(long)]
    name: Option<String>,

    /// Directory that holds the Kubernetes programs, instead of the upstream release archive
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,

    /// File to write; `-` is stdout [default: what --file says]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Replace a file that exists
    #[arg(long)]
    force: bool,
}

const EXAMPLES: &str = "\
Examples:
  kiln init
  kiln init --name berlin --output berlin.toml
  kiln init --binaries /srv/kubernetes/v1.20.2
  kiln init --profile ha --output - | less";

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    let catalog = Catalog::load(&ui.global().profile_dir)?;
    let text = starting_file(&catalog, &args.profile)?;
    let text = match &args.name {
        Some(name) => named(&text, name, &catalog)?,
        None => text.to_string(),
    };
    let text = match &args.binaries {
        Some(directory) => with_binaries(text, directory),
        None => text,
    };
    let path = args.output.as_ref().unwrap_or(&ui.global().file);
    if path.as_os_str() == "-" {
        return ui.print(text);
    }
    if args.force {
        host::fs::write_atomic(path, text.as_bytes(), host::fs::PUBLIC)?;
    } else {
        host::fs::write_new(path, text.as_bytes(), host::fs::PUBLIC)
            .map_err(|err| err.hint("name another with `--output`, or replace it with `--force`"))?;
    }
    ui.message(format!("wrote `{0}`; edit it, then run `kiln check --file {0}`", path.display()));
    Ok(())
}

fn starting_file(catalog: &Catalog, name: &str) -> Result<Arc<str>> {
    match catalog.get(name) {
        Some(definition) => Ok(definition?.starting_file),
        None => {
            let hint = match closest(name, catalog.names()) {
                Some(other) => format!("did you mean `{other}`?"),
                None => "run `kiln list profiles` to see the built-in ones".to_owned(),
            };
            Err(Error::new(Kind::Input, format!("no profile named `{name}`")).hint(hint))
        }
    }
}

/// The file with a directory as the one source of Kubernetes programs.
fn with_binaries(text: String, directory: &Path) -> String {
    text + &format!("\n[[binaries]]\ndirectory = \"{}\"\n", directory.display().to_string().escape_default())
}

/// The file with the cluster's name in place of the profile's.
fn named(text: &Arc<str>, name: &str, catalog: &Catalog) -> Result<String> {
    let source = Source { path: "cluster.toml".into(), text: Arc::clone(text) };
    let place = profile::parse(source, catalog)?.places.span("cluster.name");
    let place = place.ok_or_else(|| Error::new(Kind::Input, "the profile's cluster file does not name the cluster"))?;
    let mut text = text.to_string();
    text.replace_range(place, &format!("\"{}\"", name.escape_default()));
    // The name is judged where every other setting is.
    let source = Source { path: "cluster.toml".into(), text: text.as_str().into() };
    if let Some(problem) = profile::parse(source, catalog)?.report.problems.into_iter().find(|problem| problem.field == "cluster.name") {
        return Err(Error::new(Kind::Input, problem.message).hint("choose another `--name`"));
    }
    Ok(text)
}
