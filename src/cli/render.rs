//! `kiln render`: shows a node's files without building.

use std::path::{Path, PathBuf};

use crate::cli::{Ui, input};
use crate::cluster::{Cluster, Node};
use crate::disk;
use crate::error::{Doing as _, Error, Kind, Result};
use crate::host;
use crate::host::scoped::Scoped;
use crate::overlay::Overlays;
use crate::pipeline::Site;
use crate::pki::{self, Vault};
use crate::profile::closest;
use crate::progress::Silent;
use crate::render;
use crate::tree::{EntryKind, ImagePath, Tree};

/// Show a node's files from overlays and the vault: as a list, a single file, a directory or a tar archive
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Node in the cluster file
    node: String,

    /// File to print, such as /etc/haproxy/haproxy.cfg [default: list all files]
    #[arg(conflicts_with_all = ["out", "tar"])]
    path: Option<String>,

    /// Directory to write the files to; it must be empty or not exist yet
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Tar archive to write, with modes and owners; `-` means stdout
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    tar: Option<PathBuf>,

    /// Include private keys and files that contain secrets; requires the vault
    #[arg(long)]
    secrets: bool,
}

const EXAMPLES: &str = "\
Examples:
  kiln render m1
  kiln render m1 /etc/haproxy/haproxy.cfg
  kiln render m1 --out m1
  kiln render m1 --tar - | tar tv
  diff <(kiln render m1) <(kiln render m2)";

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    let Site { cluster, overlays, .. } = input::checked(ui)?;
    let node = find(&cluster, &args.node)?;
    let mut tree = rendered(&cluster, node, &overlays, args.secrets, ui)?;
    if let Some(path) = &args.path {
        return ui.print(file(&tree, path, args.secrets)?);
    }
    if !args.secrets {
        tree.retain(|_, entry| !entry.secret);
    }
    match (&args.out, &args.tar) {
        (Some(directory), _) => write_directory(&tree, directory, ui),
        (None, Some(archive)) => write_tar(&tree, archive, ui),
        (None, None) => ui.print(tree.dump()),
    }
}

fn find<'a>(cluster: &'a Cluster, name: &str) -> Result<&'a Node> {
    cluster.nodes.iter().find(|node| node.name == name).ok_or_else(|| {
        let names: Vec<&str> = cluster.nodes.iter().map(|node| node.name.as_str()).collect();
        let hint = match closest(name, names.iter().copied()) {
            Some(other) => format!("did you mean `{other}`?"),
            None => format!("the nodes are {}", names.join(", ")),
        };
        Error::new(Kind::Input, format!("unknown node `{name}`")).hint(hint)
    })
}

/// Returns the overlays' files for the role image and the node as one tree.
fn rendered(cluster: &Cluster, node: &Node, overlays: &Overlays, secrets: bool, ui: &Ui) -> Result<Tree> {
    let mut tree = render::role(cluster, &node.image(), overlays)?;
    for (path, entry) in from_vault(cluster, node, overlays, secrets, ui)?.iter() {
        tree.insert(path.clone(), entry.clone());
    }
    Ok(tree)
}

/// Returns the node's tree with the cluster's keys; without a vault, renders with temporary keys and leaves
/// them out.
fn from_vault(cluster: &Cluster, node: &Node, overlays: &Overlays, secrets: bool, ui: &Ui) -> Result<Tree> {
    if secrets || cluster.vault.exists() {
        return render::node(cluster, node, &Vault::open(&cluster.vault)?.pki(cluster)?, overlays);
    }
    let directory =
        tempfile::tempdir().doing(Kind::Io, || "creating a directory for temporary keys".into())?;
    let vault = directory.path().join("vault");
    Vault::init(&vault, cluster, pki::Options::default(), &Silent)?;
    let mut tree = render::node(cluster, node, &Vault::open(&vault)?.pki(cluster)?, overlays)?;
    tree.retain(|_, entry| &*entry.origin != "pki");
    ui.message(format!(
        "no vault at `{}`: certificates are omitted, and identifiers derived from the vault are only \
        examples",
        cluster.vault.display()
    ));
    Ok(tree)
}

fn file(tree: &Tree, path: &str, secrets: bool) -> Result<Vec<u8>> {
    let names = || tree.iter().map(|(path, _)| path.as_str());
    let entry = tree.get(&ImagePath::new(path)?).ok_or_else(|| {
        let hint = match closest(path, names()) {
            Some(other) => format!("did you mean `{other}`?"),
            None => "omit the path to list every file; add `--secrets` to include private files".to_owned(),
        };
        Error::new(Kind::Input, format!("the node has no file `{path}`")).hint(hint)
    })?;
    match &entry.kind {
        EntryKind::File(_) if entry.secret && !secrets => {
            Err(Error::new(Kind::Input, format!("`{path}` contains a secret"))
                .hint("add `--secrets` to show it"))
        }
        EntryKind::File(content) => content.read(),
        EntryKind::Symlink(target) => Ok(format!("{target}\n").into_bytes()),
        EntryKind::Directory => Ok(names()
            .filter(|name| name.starts_with(&format!("{path}/")))
            .map(|name| format!("{name}\n"))
            .collect::<String>()
            .into_bytes()),
    }
}

/// Writes to a temporary directory and renames it, so that the target appears complete or not at all. Files
/// are owned by the caller.
fn write_directory(tree: &Tree, target: &Path, ui: &Ui) -> Result<()> {
    if target.exists() && !host::fs::list(target)?.is_empty() {
        return Err(Error::new(Kind::Input, format!("`{}` exists and is not empty", target.display()))
            .hint("choose another directory with `--out`"));
    }
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    host::fs::create_directories(parent)?;
    let staged = tempfile::Builder::new()
        .prefix(".kiln-")
        .tempdir_in(parent)
        .doing(Kind::Io, || format!("writing `{}`", target.display()))?;
    let mut scoped = Scoped::open(staged.path())?;
    for (path, entry) in tree.iter() {
        match &entry.kind {
            EntryKind::Directory => drop(scoped.directory(path.relative(), entry.mode | 0o700)?),
            EntryKind::File(content) => {
                scoped.file(path.relative(), entry.mode, &mut content.read()?.as_slice())?;
            }
            EntryKind::Symlink(link) => scoped.symlink(path.relative(), link)?,
        }
    }
    host::fs::set_mode(staged.path(), 0o755)?;
    host::fs::rename(&staged.keep(), target)?;
    ui.message(format!(
        "wrote {} files and directories to `{}`; use `--tar` to keep owners",
        tree.len(),
        target.display()
    ));
    Ok(())
}

fn write_tar(tree: &Tree, archive: &Path, ui: &Ui) -> Result<()> {
    let mut bytes = Vec::new();
    disk::tar::write(tree, host::clock::source_date_epoch()?.unwrap_or(0), &mut bytes)?;
    if archive.as_os_str() == "-" {
        ui.print(bytes)
    } else {
        host::fs::write_atomic(archive, &bytes, host::fs::PRIVATE)
    }
}
