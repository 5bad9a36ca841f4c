//! `kiln init`: a cluster file to edit.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use crate::cli::{Ui, diagnostic};
use crate::error::{Error, Kind, Result, Source};
use crate::host;
use crate::import::{Imported, import};
use crate::profile::{self, Catalog, closest};

/// Write a cluster file to edit, from a profile
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Profile to start from; `kiln list profiles` shows them
    #[arg(long, value_name = "NAME", default_value = "ha")]
    profile: String,

    /// Read the cluster from the configuration files of DIR, and tell their mistakes
    #[arg(long, value_name = "DIR")]
    import: Option<PathBuf>,

    /// Name of the cluster
    #[arg(long)]
    name: Option<String>,

    /// Directory that holds the Kubernetes programs, instead of the upstream release archive
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,

    /// Directory that holds archives of the container images that nodes need, instead of `images`
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,

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
  kiln init --profile ha-static-pods --images /srv/images
  kiln init --profile ha --output - | less
  kiln init --import old/ --output imported.toml
  kiln init --import old/ --output - --json | jq -r '.problems[].message'

--import reads keepalived.conf, haproxy.cfg, nginx.conf, units, kubeadm's YAML,
kubeconfigs, etcd's environment, hosts files and Ansible inventories, as they lie
on the machines: DIR/etc/… of one machine, DIR/<machine>/etc/… of several.
Placeholders such as ${VIP} are filled from an environment.sh beside them.";

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    let catalog = Catalog::load(&ui.global().profile_dir)?;
    let text = starting_file(&catalog, &args.profile)?;
    let imported = args.import.as_ref().map(|directory| import(directory, &args.profile)).transpose()?;
    let text = imported.as_ref().map_or(text, |imported| imported.text.as_str().into());
    let text = match &args.name {
        Some(name) => named(&text, name, &catalog)?,
        None => text.to_string(),
    };
    let text = match &args.binaries {
        Some(directory) => with_source(text, "binaries", directory),
        None => text,
    };
    let text = match &args.images {
        Some(directory) => with_source(text, "images", directory),
        None => text,
    };
    let path = args.output.as_ref().unwrap_or(&ui.global().file);
    if let Some(imported) = &imported {
        return tell_import(imported, &text, path, args, ui);
    }
    if path.as_os_str() == "-" {
        return ui.print(text);
    }
    write(path, &text, args)?;
    ui.message(format!("wrote `{0}`; edit it, then run `kiln check --file {0}`", path.display()));
    Ok(())
}

/// Writes the file that was made from others, and tells what is wrong with those.
fn tell_import(imported: &Imported, text: &str, path: &Path, args: &Args, ui: &Ui) -> Result<()> {
    let to_stdout = path.as_os_str() == "-";
    if !to_stdout {
        write(path, text, args)?;
    }
    if ui.global().json {
        let file = (!to_stdout).then(|| path.display().to_string());
        let problems = diagnostic::problems_json(&imported.report);
        return ui.print_json(&json!({ "file": file, "cluster-file": text, "files-read": imported.files, "problems": problems }));
    }
    ui.report(&imported.report);
    if to_stdout {
        return ui.print(text);
    }
    let (files, problems) = (imported.files, imported.report.problems.len());
    ui.message(format!("files read: {files}; problems found in them: {problems}"));
    ui.message(format!("wrote `{0}`; decide what no file says, then run `kiln check --file {0}`", path.display()));
    Ok(())
}

fn write(path: &Path, text: &str, args: &Args) -> Result<()> {
    if args.force {
        host::fs::write_atomic(path, text.as_bytes(), host::fs::PUBLIC)?;
    } else {
        host::fs::write_new(path, text.as_bytes(), host::fs::PUBLIC)
            .map_err(|err| err.hint("name another with `--output`, or replace it with `--force`"))?;
    }
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

/// The file with a directory as the one source of Kubernetes programs or container images.
fn with_source(text: String, table: &str, directory: &Path) -> String {
    text + &format!("\n[[{table}]]\ndirectory = \"{}\"\n", directory.display().to_string().escape_default())
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
