//! Profiles: complete starting points for clusters. The built-in ones are embedded in the binary; directories
//! can add profiles or replace built-in ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use include_dir::{Dir, include_dir};
use schemars::JsonSchema;
use serde::Deserialize;
use toml::de::DeTable;

use crate::error::{Doing as _, Error, Kind, Report, Result, Source, Within as _};
use crate::host;
use crate::profile::document::Document;
use crate::profile::{Places, check, schema, syntax};
use crate::words::Role;

static EMBEDDED: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/profiles");

const MANIFEST: &str = "profile.toml";
const STARTING_FILE: &str = "cluster.toml";

/// Files of every profile, keyed by profile name; parsed on demand.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    files: BTreeMap<String, Files>,
}

#[derive(Clone, Debug)]
struct Files {
    manifest: Source,
    starting_file: Source,
}

/// One profile.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    /// One line for `kiln list profiles`.
    pub(crate) summary: String,
    /// Overlays of each role, in order; if the profile lists none, the overlays of the profile that it
    /// extends.
    pub(crate) overlays: BTreeMap<Role, Vec<String>>,
    /// File that `kiln init` writes.
    pub(crate) starting_file: Arc<str>,
    manifest: Source,
    /// Profile that supplies the settings that this one omits.
    extends: Option<Box<Self>>,
}

/// Contents of a `profile.toml`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Manifest {
    summary: String,
    /// Profile that supplies the settings that this one omits
    #[schemars(extend("format" = "label"))]
    extends: Option<String>,
    overlays: RoleOverlays,
    /// Defaults for settings that a cluster file omits
    defaults: Document,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct RoleOverlays {
    control_plane: Vec<String>,
    etcd: Vec<String>,
    lb: Vec<String>,
    worker: Vec<String>,
}

impl Catalog {
    /// Loads the built-in profiles, then the profiles in `directories`, in order; a later profile replaces an
    /// earlier one with the same name.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if a directory can't be read, [`Kind::Input`] if a profile lacks one of its two files.
    pub(crate) fn load(directories: &[PathBuf]) -> Result<Self> {
        let mut files = BTreeMap::new();
        for profile in EMBEDDED.dirs() {
            let name = profile.path().to_str().expect("embedded names are UTF-8");
            files.insert(
                name.to_owned(),
                Files { manifest: embedded(name, MANIFEST), starting_file: embedded(name, STARTING_FILE) },
            );
        }
        for directory in directories {
            for path in host::fs::list(directory)?.into_iter().filter(|path| path.is_dir()) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                files.insert(
                    name,
                    Files {
                        manifest: on_disk(&path, MANIFEST)?,
                        starting_file: on_disk(&path, STARTING_FILE)?,
                    },
                );
            }
        }
        Ok(Self { files })
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Returns the profile named `name`, if it exists.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`], listing every problem in the profile's `profile.toml`.
    pub(crate) fn get(&self, name: &str) -> Option<Result<Definition>> {
        self.files.contains_key(name).then(|| self.read(name, &mut Vec::new()))
    }

    /// Reads a profile and the profiles that it extends; `below` contains the names of the profiles that
    /// extend this one.
    fn read(&self, name: &str, below: &mut Vec<String>) -> Result<Definition> {
        let files =
            self.files.get(name).filter(|_| !below.iter().any(|other| other == name)).ok_or_else(|| {
                let why = if below.iter().any(|other| other == name) {
                    "which in turn extends it"
                } else {
                    "which does not exist"
                };
                let from = below.last().map(String::as_str).unwrap_or_default();
                Error::new(Kind::Input, format!("the profile `{from}` extends `{name}`, {why}"))
                    .hint("run `kiln list profiles` to see the available profiles")
            })?;
        let manifest = Manifest::read(&files.manifest).within(|| format!("reading the profile `{name}`"))?;
        below.push(name.to_owned());
        let extends = manifest.extends.as_deref().map(|other| self.read(other, below)).transpose()?;
        Ok(Definition::new(files, manifest, extends))
    }
}

impl Definition {
    fn new(files: &Files, manifest: Manifest, extends: Option<Self>) -> Self {
        let mut overlays = manifest.overlays.by_role();
        for (role, below) in extends.iter().flat_map(|below| &below.overlays) {
            let own = overlays.entry(*role).or_default();
            if own.is_empty() {
                own.clone_from(below);
            }
        }
        Self {
            summary: manifest.summary,
            overlays,
            starting_file: Arc::clone(&files.starting_file.text),
            manifest: files.manifest.clone(),
            extends: extends.map(Box::new),
        }
    }

    /// Returns the defaults for a cluster file: first this profile's defaults, then the defaults of the
    /// profiles that it extends.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`], listing every problem in a `profile.toml`.
    pub(super) fn defaults(&self) -> Result<Vec<DeTable<'_>>> {
        let mut all = self.extends.as_deref().map_or_else(|| Ok(Vec::new()), Self::defaults)?;
        let mut manifest = checked(&self.manifest)?;
        if let Some(toml::de::DeValue::Table(table)) =
            manifest.remove("defaults").map(toml::Spanned::into_inner)
        {
            all.insert(0, table);
        }
        Ok(all)
    }
}

impl Manifest {
    /// # Errors
    ///
    /// [`Kind::Input`], listing every problem in the file.
    fn read(source: &Source) -> Result<Self> {
        Self::deserialize(toml::Deserializer::from(toml::Spanned::new(0..0, checked(source)?)))
            .doing(Kind::Internal, || "reading a profile that passed validation".into())
    }
}

impl RoleOverlays {
    fn by_role(self) -> BTreeMap<Role, Vec<String>> {
        let Self { control_plane, etcd, lb, worker } = self;
        BTreeMap::from([
            (Role::ControlPlane, control_plane),
            (Role::Etcd, etcd),
            (Role::Lb, lb),
            (Role::Worker, worker),
        ])
    }
}

fn checked(source: &Source) -> Result<DeTable<'_>> {
    let mut report = Report::about(source.clone());
    let (table, _) = syntax::parse(&source.text, &mut report);
    let table = check::check(
        &schema::checked::<Manifest>(),
        table,
        &source.text,
        &mut Places::default(),
        &mut report,
    );
    report.into_result().map(|()| table)
}

fn embedded(profile: &str, name: &str) -> Source {
    let path = Path::new(profile).join(name);
    let text = EMBEDDED
        .get_file(&path)
        .and_then(|file| file.contents_utf8())
        .expect("a built-in profile has both files");
    Source { path: Path::new("profiles").join(path), text: text.into() }
}

fn on_disk(directory: &Path, name: &str) -> Result<Source> {
    let path = directory.join(name);
    if !path.is_file() {
        return Err(Error::new(Kind::Input, format!("`{}` is missing", path.display()))
            .hint("a profile is a directory that contains a profile.toml and a cluster.toml"));
    }
    Ok(Source { text: host::fs::read_to_string(&path)?.into(), path })
}
