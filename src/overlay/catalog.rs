//! Catalog of overlays: embedded overlays, and overlays from directories, which extend or replace them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use crate::error::{Error, Kind, Result, Source, Within};
use crate::host;
use crate::overlay::OverlayFile;
use crate::overlay::files::{self, Files};
use crate::overlay::manifest::{Manifest, place};
use crate::tree::ImagePath;

static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/overlays");

const MANIFEST: &str = "overlay.toml";
const ROOTFS: &str = "rootfs";

/// A component: its requirements and its files.
#[derive(Clone, Debug)]
pub(crate) struct Overlay {
    pub(crate) name: String,
    pub(crate) manifest: Manifest,
    pub(crate) origin: Origin,
    pub(crate) files: BTreeMap<ImagePath, OverlayFile>,
}

/// Source of an overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Embedded,
    Directory(PathBuf),
}

/// Overlays by name.
#[derive(Clone, Debug)]
pub(crate) struct Overlays {
    by_name: BTreeMap<String, Overlay>,
}

impl Overlays {
    /// Reads the embedded overlays, then the overlays in `directories`, in order; a later overlay replaces an
    /// earlier one with the same name.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`], naming the file, line and column of an error in an overlay.
    pub(crate) fn load(directories: &[PathBuf]) -> Result<Self> {
        let mut by_name = BTreeMap::new();
        for directory in EMBEDDED.dirs() {
            let overlay = read_embedded(directory)?;
            by_name.insert(overlay.name.clone(), overlay);
        }
        for directory in directories {
            for path in host::fs::list(directory)?.into_iter().filter(|path| path.is_dir()) {
                let overlay = read_directory(&path)?;
                by_name.insert(overlay.name.clone(), overlay);
            }
        }
        Ok(Self { by_name })
    }

    /// Returns the overlay called `name`.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if the overlay does not exist.
    pub(crate) fn get(&self, name: &str) -> Result<&Overlay> {
        self.by_name.get(name).ok_or_else(|| {
            Error::new(Kind::Input, format!("no overlay named `{name}`")).hint(
                "run `kiln list overlays` to see all overlays, or add the overlay's directory with \
                `--overlay-dir`",
            )
        })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Overlay> {
        self.by_name.values()
    }

    /// Returns the named overlays in order, each once and after the overlays that it requires.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] if an overlay is missing.
    pub(crate) fn select<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Result<Vec<&Overlay>> {
        let mut chosen = Vec::new();
        names.into_iter().try_for_each(|name| self.choose(name, &mut Vec::new(), &mut chosen))?;
        Ok(chosen)
    }

    fn choose<'a>(
        &'a self,
        name: &str,
        pending: &mut Vec<String>,
        chosen: &mut Vec<&'a Overlay>,
    ) -> Result<()> {
        if chosen.iter().any(|overlay| overlay.name == name) {
            return Ok(());
        }
        if pending.iter().any(|waiting| waiting == name) {
            return Err(Error::new(
                Kind::Input,
                format!("overlays require each other: {} -> {name}", pending.join(" -> ")),
            ));
        }
        let overlay = self.get(name)?;
        pending.push(name.to_owned());
        for required in &overlay.manifest.requires {
            self.choose(required, pending, chosen)
                .within(|| format!("selecting the overlays that `{name}` requires"))?;
        }
        pending.pop();
        chosen.push(overlay);
        Ok(())
    }
}

fn read_embedded(directory: &Dir<'_>) -> Result<Overlay> {
    let name = directory.path().to_str().expect("embedded names are UTF-8");
    let root = Path::new("overlays");
    let manifest = directory.path().join(MANIFEST);
    let text = EMBEDDED
        .get_file(&manifest)
        .and_then(|file| file.contents_utf8())
        .ok_or_else(|| no_manifest(&root.join(&manifest)))?;
    let mut files = Files::new();
    let rootfs = directory.path().join(ROOTFS);
    if let Some(below) = EMBEDDED.get_dir(&rootfs) {
        files::embedded(below, &rootfs, root, &mut files)?;
    }
    assemble(name, Origin::Embedded, Source { path: root.join(&manifest), text: text.into() }, files)
}

fn read_directory(directory: &Path) -> Result<Overlay> {
    let name = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let manifest = directory.join(MANIFEST);
    if !manifest.is_file() {
        return Err(no_manifest(&manifest));
    }
    let text = host::fs::read_to_string(&manifest)?;
    let mut files = Files::new();
    let rootfs = directory.join(ROOTFS);
    files::on_disk(&rootfs, &rootfs, &mut files)?;
    assemble(
        name,
        Origin::Directory(directory.to_owned()),
        Source { path: manifest, text: text.into() },
        files,
    )
}

fn no_manifest(path: &Path) -> Error {
    Error::new(Kind::Input, format!("`{}` is missing", path.display()))
        .hint("an overlay is a directory that contains overlay.toml and rootfs")
}

fn assemble(name: &str, origin: Origin, source: Source, files: Files) -> Result<Overlay> {
    let manifest = Manifest::parse(source.clone()).within(|| format!("reading the overlay `{name}`"))?;
    let mut report = crate::error::Report::about(source.clone());
    for (path, attributes) in &manifest.files {
        // Certificates are declared in the same table but come from the PKI.
        if !files.contains_key(path) && !path.is_under("/etc/kubernetes") {
            report.error("files", place(&source.text, path.as_str()), format!("`{path}` is not in rootfs"));
        }
        if attributes.secret && !path.is_under("/etc") {
            report.error(
                "files",
                place(&source.text, path.as_str()),
                format!("`{path}` is secret, but role images contain no secrets"),
            );
        }
    }
    report.into_result().within(|| format!("reading the overlay `{name}`"))?;
    Ok(Overlay { name: name.to_owned(), manifest, origin, files })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Origin, Overlays};
    use crate::host;

    fn write(root: &Path, path: &str, text: &str) {
        host::fs::write_atomic(&root.join(path), text.as_bytes(), 0o644).unwrap();
    }

    #[test]
    fn every_embedded_overlay_is_well_formed_and_requires_only_known_ones() {
        let overlays = Overlays::load(&[]).unwrap();
        for overlay in overlays.iter() {
            assert_eq!(overlay.origin, Origin::Embedded);
            assert!(overlays.select([&overlay.name]).is_ok(), "{}", overlay.name);
        }
    }

    #[test]
    fn a_directory_replaces_an_overlay_of_the_same_name_and_adds_new_ones() {
        let site = tempfile::tempdir().unwrap();
        write(site.path(), "base/overlay.toml", "summary = \"ours\"\n");
        write(site.path(), "motd/overlay.toml", "summary = \"a greeting\"\nrequires = [\"base\"]\n");
        write(site.path(), "motd/rootfs/etc/motd.tera", "{{ node.name }}\n");
        let overlays = Overlays::load(&[site.path().to_owned()]).unwrap();
        assert_eq!(overlays.get("base").unwrap().origin, Origin::Directory(site.path().join("base")));
        let names: Vec<_> = overlays
            .select([&"motd".to_owned()])
            .unwrap()
            .iter()
            .map(|overlay| overlay.name.as_str())
            .collect();
        assert_eq!(names, ["base", "motd"]);
        let (path, file) = overlays.get("motd").unwrap().files.first_key_value().unwrap();
        assert_eq!((path.as_str(), file.template), ("/etc/motd", true));
    }

    #[test]
    fn a_template_outside_etc_is_refused() {
        let site = tempfile::tempdir().unwrap();
        write(site.path(), "x/overlay.toml", "summary = \"x\"\n");
        write(site.path(), "x/rootfs/usr/share/x.tera", "{{ node.name }}\n");
        let err = Overlays::load(&[site.path().to_owned()]).unwrap_err();
        assert!(err.to_string().ends_with("is a template outside /etc"), "{err}");
    }

    #[test]
    fn overlays_that_require_each_other_are_refused() {
        let site = tempfile::tempdir().unwrap();
        write(site.path(), "a/overlay.toml", "summary = \"a\"\nrequires = [\"b\"]\n");
        write(site.path(), "b/overlay.toml", "summary = \"b\"\nrequires = [\"a\"]\n");
        let err = Overlays::load(&[site.path().to_owned()]).unwrap().select([&"a".to_owned()]).unwrap_err();
        assert!(err.to_string().ends_with("overlays require each other: a -> b -> a"), "{err}");
    }

    #[test]
    fn attributes_of_a_file_that_is_not_there_are_refused() {
        let site = tempfile::tempdir().unwrap();
        write(site.path(), "x/overlay.toml", "summary = \"x\"\n[files.\"/usr/bin/x\"]\nmode = \"0755\"\n");
        let err = Overlays::load(&[site.path().to_owned()]).unwrap_err();
        assert_eq!(err.report().unwrap().problems[0].message, "`/usr/bin/x` is not in rootfs");
    }
}
