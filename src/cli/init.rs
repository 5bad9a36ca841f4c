//! `kiln init`: creates a cluster file to edit.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use crate::cli::{Ui, diagnostic};
use crate::error::{Error, Kind, Result, Source};
use crate::host;
use crate::import::{Imported, import};
use crate::profile::{self, Catalog, closest};

/// Create a cluster file to edit, based on a profile
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Profile to start from; see `kiln list profiles`
    #[arg(long, value_name = "NAME", default_value = "ha")]
    profile: String,

    /// Import the cluster from the configuration files in DIR, and report the mistakes in them
    #[arg(long, value_name = "DIR")]
    import: Option<PathBuf>,

    /// Cluster name
    #[arg(long)]
    name: Option<String>,

    /// Directory with the Kubernetes programs, used instead of the upstream release archive
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,

    /// Directory of container image archives for the nodes, used instead of `images/`
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,

    /// File to write; `-` means stdout [default: the value of --file]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Overwrite an existing file
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

--import reads keepalived.conf, haproxy.cfg, nginx.conf, systemd units, kubeadm YAML,
kubeconfigs, etcd environment files, hosts files and Ansible inventories, laid out as
on the machines: DIR/etc/… for one machine, DIR/<machine>/etc/… for several.
Placeholders such as ${VIP} are filled in from an environment.sh next to the files.";

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

/// Writes the imported cluster file and reports the problems in the files it was imported from.
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
    ui.message(format!("files read: {files}; problems found: {problems}"));
    ui.message(format!(
        "wrote `{0}`; fill in what the imported files do not specify, then run `kiln check --file {0}`",
        path.display()
    ));
    Ok(())
}

fn write(path: &Path, text: &str, args: &Args) -> Result<()> {
    if args.force {
        host::fs::write_atomic(path, text.as_bytes(), host::fs::PUBLIC)?;
    } else {
        host::fs::write_new(path, text.as_bytes(), host::fs::PUBLIC).map_err(|err| {
            err.hint("choose another file with `--output`, or overwrite this one with `--force`")
        })?;
    }
    Ok(())
}

fn starting_file(catalog: &Catalog, name: &str) -> Result<Arc<str>> {
    match catalog.get(name) {
        Some(definition) => Ok(definition?.starting_file),
        None => {
            let hint = match closest(name, catalog.names()) {
                Some(other) => format!("did you mean `{other}`?"),
                None => "run `kiln list profiles` to see all profiles".to_owned(),
            };
            Err(Error::new(Kind::Input, format!("unknown profile `{name}`")).hint(hint))
        }
    }
}

/// Returns the file with a directory as the only source of Kubernetes programs or container images.
fn with_source(text: String, table: &str, directory: &Path) -> String {
    text + &format!("\n[[{table}]]\ndirectory = \"{}\"\n", directory.display().to_string().escape_default())
}

/// Returns the file with the given cluster name instead of the profile's name.
fn named(text: &Arc<str>, name: &str, catalog: &Catalog) -> Result<String> {
    let source = Source { path: "cluster.toml".into(), text: Arc::clone(text) };
    let place = profile::parse(source, catalog)?.places.span("cluster.name");
    let place = place
        .ok_or_else(|| Error::new(Kind::Input, "the profile's cluster file does not set the cluster name"))?;
    let mut text = text.to_string();
    text.replace_range(place, &format!("\"{}\"", name.escape_default()));
    // The name is checked like any other setting.
    let source = Source { path: "cluster.toml".into(), text: text.as_str().into() };
    if let Some(problem) = profile::parse(source, catalog)?
        .report
        .problems
        .into_iter()
        .find(|problem| problem.field == "cluster.name")
    {
        return Err(Error::new(Kind::Input, problem.message).hint("choose another `--name`"));
    }
    Ok(text)
}
