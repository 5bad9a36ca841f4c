//! `kiln render`: the files of a node, without building.

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

/// Show the files that overlays and the vault give a node: a list, one file, a directory or a tar
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Node of the cluster file
    node: String,

    /// File to print, such as /etc/haproxy/haproxy.cfg [default: a list of all]
    #[arg(conflicts_with_all = ["out", "tar"])]
    path: Option<String>,

    /// Directory to write the files into; it must not exist, or be empty
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Archive to write, with modes and owners; `-` is stdout
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    tar: Option<PathBuf>,

    /// Include private keys and files that hold secrets; needs the vault
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
        Error::new(Kind::Input, format!("no node named `{name}`")).hint(hint)
    })
}

/// What overlays give the role image and the node, as one tree.
fn rendered(cluster: &Cluster, node: &Node, overlays: &Overlays, secrets: bool, ui: &Ui) -> Result<Tree> {
    let mut tree = render::role(cluster, &node.image(), overlays)?;
    for (path, entry) in from_vault(cluster, node, overlays, secrets, ui)?.iter() {
        tree.insert(path.clone(), entry.clone());
    }
    Ok(tree)
}

/// The node's tree with the cluster's keys; without a vault, with the keys of one that lives for a moment, which are then left out.
fn from_vault(cluster: &Cluster, node: &Node, overlays: &Overlays, secrets: bool, ui: &Ui) -> Result<Tree> {
    if secrets || cluster.vault.exists() {
        return render::node(cluster, node, &Vault::open(&cluster.vault)?.pki(cluster)?, overlays);
    }
    let directory = tempfile::tempdir().doing(Kind::Io, || "making a directory for a moment's keys".into())?;
    let vault = directory.path().join("vault");
    Vault::init(&vault, cluster, pki::Options::default(), &Silent)?;
    let mut tree = render::node(cluster, node, &Vault::open(&vault)?.pki(cluster)?, overlays)?;
    tree.retain(|_, entry| &*entry.origin != "pki");
    ui.message(format!(
        "there is no vault at `{}`: certificates are left out, and identifiers that follow from it are examples",
        cluster.vault.display()
    ));
    Ok(tree)
}

fn file(tree: &Tree, path: &str, secrets: bool) -> Result<Vec<u8>> {
    let names = || tree.iter().map(|(path, _)| path.as_str());
    let entry = tree.get(&ImagePath::new(path)?).ok_or_else(|| {
        let hint = match closest(path, names()) {
            Some(other) => format!("did you mean `{other}`?"),
            None => "leave the path out to list every file; `--secrets` adds the private ones".to_owned(),
        };
        Error::new(Kind::Input, format!("the node has no file `{path}`")).hint(hint)
    })?;
    match &entry.kind {
        EntryKind::File(_) if entry.secret && !secrets => {
            Err(Error::new(Kind::Input, format!("`{path}` holds a secret")).hint("add `--secrets` to see it"))
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

/// Writes beside the target and renames, so that it is there whole or not at all. Owners are the caller's own.
fn write_directory(tree: &Tree, target: &Path, ui: &Ui) -> Result<()> {
    if target.exists() && !host::fs::list(target)?.is_empty() {
        return Err(
            Error::new(Kind::Input, format!("`{}` exists and is not empty", target.display())).hint("name another directory with `--out`")
        );
    }
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    host::fs::create_directories(parent)?;
    let staged =
        tempfile::Builder::new().prefix(".kiln-").tempdir_in(parent).doing(Kind::Io, || format!("writing `{}`", target.display()))?;
    let mut scoped = Scoped::open(staged.path())?;
    for (path, entry) in tree.iter() {
        match &entry.kind {
            EntryKind::Directory => drop(scoped.directory(path.relative(), entry.mode | 0o700)?),
            EntryKind::File(content) => drop(scoped.file(path.relative(), entry.mode, &mut content.read()?.as_slice())?),
            EntryKind::Symlink(link) => scoped.symlink(path.relative(), link)?,
        }
    }
    host::fs::set_mode(staged.path(), 0o755)?;
    host::fs::rename(&staged.keep(), target)?;
    ui.message(format!("wrote {} files and directories to `{}`; their owners are in `--tar`", tree.len(), target.display()));
    Ok(())
}

fn write_tar(tree: &Tree, archive: &Path, ui: &Ui) -> Result<()> {
    let mut bytes = Vec::new();
    disk::tar::write(tree, host::clock::source_date_epoch()?.unwrap_or(0), &mut bytes)?;
    if archive.as_os_str() == "-" { ui.print(bytes) } else { host::fs::write_atomic(archive, &bytes, host::fs::PRIVATE) }
}
