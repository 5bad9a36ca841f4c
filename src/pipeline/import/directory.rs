//! A directory of configuration files as machines: `DIR/etc/…` is one machine, `DIR/<machine>/etc/…` are several.

use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result, Source};
use crate::host;
use crate::lint::{File, Machine};

/// Directories at a machine's root that hold configuration.
const ROOTS: [&str; 9] = ["etc", "usr", "lib", "root", "home", "opt", "srv", "var", "run"];
/// What is larger is no configuration.
const LARGEST: u64 = 1 << 20;
/// How deep directories are read.
const DEEPEST: usize = 24;

/// Reads every text file below `directory`.
///
/// # Errors
///
/// [`Kind::Input`] if there is none, [`Kind::Io`] if one can't be read.
pub(super) fn read(directory: &Path) -> Result<Vec<Machine>> {
    if !directory.is_dir() {
        let hint = "give a directory that holds keepalived.conf, haproxy.cfg, unit files, …, as they lie on the machines";
        return Err(Error::new(Kind::Input, format!("`{}` is not a directory", directory.display())).hint(hint));
    }
    let mut common = Machine { name: String::new(), files: Vec::new(), images: Vec::new() };
    let mut machines = Vec::new();
    for path in host::fs::list(directory)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && ROOTS.iter().any(|root| path.join(root).is_dir()) {
            let mut machine = Machine { name, files: Vec::new(), images: Vec::new() };
            walk(&path, &path, &mut machine.files, 0)?;
            machines.push(machine);
        } else {
            walk(directory, &path, &mut common.files, 0)?;
        }
    }
    machines.insert(0, common);
    machines.retain(|machine| !machine.files.is_empty());
    if machines.is_empty() {
        let hint = "put the files there as they lie on the machines: `etc/keepalived/keepalived.conf`, `m1/etc/haproxy/haproxy.cfg`";
        return Err(Error::new(Kind::Input, format!("`{}` holds no text file", directory.display())).hint(hint));
    }
    Ok(machines)
}

fn walk(root: &Path, path: &Path, files: &mut Vec<File>, depth: usize) -> Result<()> {
    if path.is_symlink() && path.is_dir() || depth > DEEPEST {
        return Ok(());
    }
    if path.is_dir() {
        return host::fs::list(path)?.iter().try_for_each(|below| walk(root, below, files, depth + 1));
    }
    if !path.is_file() || host::fs::size(path)? > LARGEST {
        return Ok(());
    }
    // Keys in binary form and programs say nothing here.
    if let Ok(text) = String::from_utf8(host::fs::read(path)?) {
        files.push(file(root, path.to_owned(), &text));
    }
    Ok(())
}

fn file(root: &Path, path: PathBuf, text: &str) -> File {
    let place = path.strip_prefix(root).unwrap_or(&path);
    let source = Source { path: path.clone(), text: text.into() };
    File { path: format!("/{}", place.display()), text: source.text.clone(), mode: None, source }
}
