//! Shared parts of the slow tests: sites that are initialised, locked and built once per machine, labs that
//! run them, and judges.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its own part")]

pub mod lab;
mod skip;
pub mod watch;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

pub(crate) use skip::skip;

/// A built-in profile with changes to its initial cluster file.
pub struct Variant {
    /// The name of the variant's site in the cache.
    pub name: &'static str,
    pub profile: &'static str,
    /// Pairs of an original text and its replacement.
    pub changes: &'static [(&'static str, &'static str)],
}

const HA: Variant = Variant { name: "ha", profile: "ha", changes: &[] };

/// A directory with a cluster file, a vault, a lock and outputs.
pub struct Site {
    pub dir: PathBuf,
    /// The store, shared by all tests except those that test the store itself.
    pub store: PathBuf,
}

/// The shared `ha` site, built. Tests may read but not change it.
pub fn ha() -> Option<&'static Site> {
    static SITE: OnceLock<Option<Site>> = OnceLock::new();
    SITE.get_or_init(|| built(&HA)).as_ref()
}

/// A separate site for a variant, built.
pub fn built(variant: &Variant) -> Option<Site> {
    let programs = kubernetes()?;
    let site = Site { dir: cache().join(format!("site-{}", variant.name)), store: shared_store() };
    fs::create_dir_all(&site.dir).unwrap();
    let guard = File::create(site.dir.join(".guard")).unwrap();
    guard.lock().unwrap();
    forget_stages_of_another_kiln();
    site.prepare(&programs, variant);
    site.ok(&["build"]);
    Some(site)
}

/// Everything that determines a site's lock: the profile, the overlays' requirements, and the overlays that
/// each load balancer adds.
fn recipe(variant: &Variant) -> String {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list =
        |directory: &str| fs::read_dir(project.join(directory)).unwrap().map(|entry| entry.unwrap().path());
    let mut parts: Vec<PathBuf> = list("overlays")
        .map(|overlay| overlay.join("overlay.toml"))
        .chain(list("src/words/balancer"))
        .collect();
    parts.extend(
        ["cluster.toml", "profile.toml"]
            .map(|name| project.join("profiles").join(variant.profile).join(name)),
    );
    parts.extend(["profiles/ha/profile.toml", "src/base/debian/tools.rs"].map(|path| project.join(path)));
    parts.sort();
    let texts: String = parts.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    format!("{texts}{:?}", variant.changes)
}

impl Site {
    /// A new site of the `ha` profile under `dir`, initialised and locked, not built.
    pub fn new(dir: &Path) -> Option<Self> {
        let shared = ha()?;
        let site = Self { dir: dir.to_owned(), store: shared_store() };
        fs::create_dir_all(dir).unwrap();
        for name in ["cluster.toml", "kiln.lock"] {
            fs::copy(shared.dir.join(name), dir.join(name)).unwrap();
        }
        copy_directory(&shared.dir.join("vault"), &dir.join("vault"));
        Some(site)
    }

    fn prepare(&self, programs: &Path, variant: &Variant) {
        let recipe = recipe(variant);
        let stamp = self.dir.join(".recipe");
        if fs::read_to_string(&stamp).ok().as_deref() == Some(&recipe) && self.dir.join("kiln.lock").exists()
        {
            return;
        }
        for old in ["cluster.toml", "kiln.lock", "vault", "out"] {
            let path = self.dir.join(old);
            let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
        self.ok(&["init", "--profile", variant.profile, "--binaries", programs.to_str().unwrap()]);
        self.change(variant.changes);
        self.ok(&["check"]);
        self.ok(&["pki", "init"]);
        self.ok(&["lock"]);
        fs::write(stamp, recipe).unwrap();
    }

    /// Replaces parts of the cluster file.
    fn change(&self, changes: &[(&str, &str)]) {
        let path = self.dir.join("cluster.toml");
        let mut text = fs::read_to_string(&path).unwrap();
        for (from, to) in changes {
            assert!(text.contains(from), "{} has no {from:?}", path.display());
            text = text.replacen(from, to, 1);
        }
        fs::write(path, text).unwrap();
    }

    /// A kiln command in this directory, with the site's store.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.current_dir(&self.dir).args(arguments).env("KILN_STORE", &self.store);
        command.env_remove("SOURCE_DATE_EPOCH");
        command
    }

    /// Runs kiln and panics if it fails.
    pub fn ok(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "kiln {arguments:?} failed:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    /// The directory with the cluster file and the vault.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The published outputs.
    pub fn out(&self) -> PathBuf {
        let published: Vec<PathBuf> =
            fs::read_dir(self.dir.join("out")).unwrap().map(|entry| entry.unwrap().path()).collect();
        published
            .into_iter()
            .find(|path| path.join("manifest.json").is_file())
            .expect("one cluster is published under out/")
    }
}

fn shared_store() -> PathBuf {
    cache().join("store")
}

/// Creates a store with the downloads of the shared one but without its stages, so that everything is built
/// again.
pub fn fresh_store(dir: &Path) -> PathBuf {
    let store = dir.join("store");
    fs::create_dir_all(&store).unwrap();
    copy_directory(&shared_store().join("blobs"), &store);
    store
}

/// Removes stages that another kiln built. The shared store outlives a checkout: its downloads remain valid,
/// but old stages would hide what this kiln builds.
fn forget_stages_of_another_kiln() {
    let (store, kiln) = (shared_store(), sha256(Path::new(env!("CARGO_BIN_EXE_kiln"))));
    fs::create_dir_all(&store).unwrap();
    let guard = File::create(cache().join(".guard")).unwrap();
    guard.lock().unwrap();
    if fs::read_to_string(store.join(".kiln")).ok().as_deref() != Some(&kiln) {
        let _ = fs::remove_dir_all(store.join("stages"));
        fs::write(store.join(".kiln"), kiln).unwrap();
    }
}

/// The directory of fixtures that outlive a checkout.
pub fn cache() -> PathBuf {
    if let Some(dir) = std::env::var_os("KILN_TEST_CACHE") {
        return dir.into();
    }
    let home = std::env::var_os("HOME").expect("HOME is set");
    std::env::var_os("XDG_CACHE_HOME")
        .map_or_else(|| Path::new(&home).join(".cache"), PathBuf::from)
        .join("kiln-tests")
}

/// The directory of real Kubernetes v1.20.2 programs that `ci/kubernetes` built.
pub fn kubernetes() -> Option<PathBuf> {
    let dir = std::env::var_os("KILN_TEST_KUBERNETES")
        .map_or_else(|| cache().join("kubernetes-v1.20.2"), PathBuf::from);
    if dir.join("kube-apiserver").is_file() {
        Some(dir)
    } else {
        skip("the Kubernetes programs of `ci/kubernetes`")
    }
}

/// The directory of container images that `ci/images` created.
pub fn images() -> Option<PathBuf> {
    let dir = std::env::var_os("KILN_TEST_IMAGES").map_or_else(|| cache().join("images"), PathBuf::from);
    if dir.join("pause.tar").is_file() { Some(dir) } else { skip("the container images of `ci/images`") }
}

/// An independent program that judges kiln's output. If it is missing, the test is skipped with a message, or
/// fails in CI.
pub fn judge(program: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let fixed = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path)
        .chain(fixed)
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file());
    found.map_or_else(|| skip(&format!("`{program}`")), |path| Some(Command::new(path)))
}

/// Checks that the tests run as root, which mounting and booting need. Otherwise skips like a missing judge.
pub fn root() -> Option<()> {
    if rustix::process::geteuid().is_root() { Some(()) } else { skip("the permissions of root") }
}

/// Runs a judge, panics unless it succeeds, and returns its output.
pub fn approve(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} refused:\n{text}");
    text
}

/// The SHA-256 digest of a file, from coreutils.
pub fn sha256(path: &Path) -> String {
    approve(Command::new("sha256sum").arg(path)).split(' ').next().unwrap().to_owned()
}

/// Files at or below `paths` that contain a line of the file `patterns` literally, from grep(1).
pub fn holding(patterns: &Path, paths: &[&Path]) -> Vec<String> {
    let mut grep = Command::new("grep");
    grep.args(["--recursive", "--fixed-strings", "--text", "--files-with-matches"]);
    grep.arg("--file").arg(patterns).args(paths);
    let output = grep.env("LC_ALL", "C").output().unwrap();
    assert!(output.status.code().is_some_and(|code| code < 2), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

pub fn copy_directory(from: &Path, to: &Path) {
    approve(Command::new("cp").arg("-a").arg(from).arg(to));
}

/// Relative paths of all regular files below `dir`, sorted.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(dir).sort_by_file_name() {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            found.push(entry.path().strip_prefix(dir).unwrap().to_owned());
        }
    }
    found
}
