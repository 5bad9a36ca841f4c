//! One member's data, or a snapshot, become those of a new cluster of one, as ordered. Data: their log is replayed by an etcd that no other
//! machine can reach, and a snapshot is saved of that. The snapshot is restored under another token and with a higher revision
//! (<https://etcd.io/docs/v3.5/op-guide/recovery/>). The data as they were are moved aside at the end, and never changed.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use super::control::Endpoint;
use super::directory::{Directory, Record};
use super::settings::Settings;
use super::snapshots::{self, Shelf};
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::host::clock::Stopwatch;
use crate::seed::Restore;

/// Where the log is replayed: no other machine can reach it.
const CLIENT: &str = "https://127.0.0.1:2389";
const PEER: &str = "https://127.0.0.1:2390";
/// How long replaying may take: 100,000 entries take seconds.
const REPLAY: Duration = Duration::from_secs(600);
/// By how much the revision rises, so that none of a watcher's is ever seen again.
const BUMP: &str = "1000000000";

/// Carries the order out; the next look at the disk finds the new cluster's data.
///
/// # Errors
///
/// [`Kind::Io`] if there is no room for a second copy, [`Kind::Verify`] if the snapshot is damaged or not here, [`Kind::Tool`] with what
/// etcd said. The data are then as they were.
pub(super) fn recover(settings: &Settings, directory: &Directory, journal: &dyn Fn(&str)) -> Result<()> {
    let order = settings.order.as_ref().ok_or_else(|| Error::new(Kind::Internal, "there is no order"))?;
    let (copy, restored) = (directory.path().join("recover"), directory.path().join("restored"));
    let member = directory.path().join("member");
    // What an attempt before this one left, which may be much.
    [&copy, &restored].into_iter().try_for_each(|path| host::fs::remove(path))?;
    let snapshot = if let Some(ordered) = &order.restore {
        ordered_snapshot(settings, directory, ordered, journal)?
    } else {
        journal("recovers the cluster from the data of this member, as ordered");
        // The copy, the snapshot, and what is restored of it.
        insist_on_room(directory, 3 * host::fs::size_of_all(&member)?)?;
        host::fs::create_private_directory(&copy)?;
        host::process::run(host::process::command("cp").arg("--archive").arg(&member).arg(&copy))?;
        let snapshot = copy.join("snapshot.db");
        save(settings, &copy, &snapshot).within(|| "replaying the log".into())?;
        snapshot
    };
    restore(settings, &snapshot, &restored, &order.id, journal).within(|| "restoring the snapshot".into())?;
    // The record says that all the rest is whole.
    host::fs::sync_filesystem(directory.path())?;
    let record = Record::Recovered { token: order.id.clone(), order: order.id.clone() };
    Directory::new(&restored).write(&record)?;
    let aside = if member.exists() { Some(directory.set_aside()?) } else { None };
    finish(directory)?;
    journal("the cluster is this member's alone now");
    aside.iter().for_each(|aside| journal(&format!("the data as they were are kept in `{}`", aside.display())));
    Ok(())
}

/// The snapshot that is to be restored, read whole before anything is changed.
fn ordered_snapshot(settings: &Settings, directory: &Directory, ordered: &Restore, journal: &dyn Fn(&str)) -> Result<PathBuf> {
    let shelf = Shelf::of(settings);
    let sha256 = ordered.sha256;
    let nowhere = || {
        let message = format!("no snapshot with the SHA-256 {sha256} is on this machine, which is to restore it");
        Error::new(Kind::Verify, message).hint("order it with its file, `--restore FILE@SHA256`, so that it travels with the seed")
    };
    let path = shelf.find(sha256)?.ok_or_else(nowhere)?;
    let snapshot = snapshots::check(&path, sha256).within(|| "the snapshot that is to be restored is refused".into())?;
    // What is restored of it, and the first files of its log.
    insist_on_room(directory, 2 * snapshot.size + (64 << 20))?;
    journal(&format!("restores the snapshot of revision {} with the SHA-256 {sha256}, as ordered", snapshot.revision));
    Ok(path)
}

fn insist_on_room(directory: &Directory, needed: u64) -> Result<()> {
    host::fs::create_directories(directory.path())?;
    let free = host::fs::free_space(directory.path())?;
    if free < needed {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let message = format!("`{}` has {} MiB free, and recovering takes {}", directory.path().display(), mib(free), mib(needed));
        return Err(Error::new(Kind::Io, message));
    }
    Ok(())
}

/// Puts restored data in their place: a power cut may have come just before that.
pub(super) fn finish(directory: &Directory) -> Result<()> {
    let (member, restored) = (directory.path().join("member"), directory.path().join("restored"));
    let is_whole = matches!(Directory::new(&restored).record()?, Some(Record::Recovered { .. }));
    if is_whole && !member.exists() {
        host::fs::rename(&restored.join("member"), &member)?;
        host::fs::sync_directory(directory.path())?;
    }
    host::fs::remove(&directory.path().join("recover"))?;
    host::fs::remove(&restored)
}

/// Replays the log of a copy and saves a snapshot of what comes out.
fn save(settings: &Settings, copy: &Path, snapshot: &Path) -> Result<()> {
    let identity = settings.identity();
    let certificate = |name: &str| settings.certificates.join(name);
    let mut etcd = host::process::command("etcd");
    etcd.arg("--force-new-cluster").arg(format!("--name={}", settings.name)).arg("--data-dir").arg(copy);
    etcd.args([format!("--listen-client-urls={CLIENT}"), format!("--advertise-client-urls={CLIENT}")]);
    etcd.args([format!("--listen-peer-urls={PEER}"), format!("--initial-advertise-peer-urls={PEER}")]);
    etcd.arg(format!("--initial-cluster={}={PEER}", settings.name)).arg("--client-cert-auth").arg("--peer-client-cert-auth");
    for kind in ["", "peer-"] {
        etcd.arg(format!("--{kind}trusted-ca-file")).arg(&identity.authority);
    }
    etcd.arg("--cert-file").arg(certificate("server.crt")).arg("--key-file").arg(certificate("server.key"));
    etcd.arg("--peer-cert-file").arg(&identity.certificate).arg("--peer-key-file").arg(&identity.key);
    etcd.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let child = etcd.spawn().doing(Kind::Tool, || "starting `etcd`".into())?;
    let saved = Replaying(child).save(&Endpoint::new(settings, CLIENT), snapshot);
    saved.within(|| format!("saving `{}`", snapshot.display()))
}

/// An etcd that ends with this value.
struct Replaying(Child);

impl Replaying {
    fn save(mut self, endpoint: &Endpoint<'_>, snapshot: &Path) -> Result<()> {
        let watch = Stopwatch::start();
        while let Err(err) = endpoint.quorum() {
            let ended = self.0.try_wait().doing(Kind::Tool, || "waiting for `etcd`".into())?;
            if ended.is_some() || watch.elapsed() > REPLAY {
                return Err(err);
            }
            host::clock::sleep(Duration::from_millis(200));
        }
        endpoint.save(snapshot)
    }
}

impl Drop for Replaying {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Restores a snapshot as the data of a cluster of this member alone.
fn restore(settings: &Settings, snapshot: &Path, target: &Path, token: &str, journal: &dyn Fn(&str)) -> Result<()> {
    let own = settings.own();
    // From 3.6 on etcdctl can't; before 3.5 there is no etcdutl.
    let program = if host::process::find("etcdutl").is_some() { "etcdutl" } else { "etcdctl" };
    let mut command = host::process::command(program);
    command.env("ETCDCTL_API", "3").args(["snapshot", "restore"]).arg(snapshot).arg("--data-dir").arg(target);
    command.arg(format!("--name={}", own.name)).arg(format!("--initial-cluster={}={}", own.name, own.peer_url));
    command.arg(format!("--initial-advertise-peer-urls={}", own.peer_url)).arg(format!("--initial-cluster-token={token}"));
    if raises_revisions(program)? {
        command.args(["--bump-revision", BUMP, "--mark-compacted"]);
    } else {
        journal(&format!("this `{program}` can't raise the revision: whoever watched the cluster before must list it again"));
    }
    host::process::run(&mut command).map(drop)
}

/// Whether a restorer knows how to raise the revision: etcdutl from 3.5.10 on.
fn raises_revisions(program: &str) -> Result<bool> {
    let help = host::process::run(host::process::command(program).env("ETCDCTL_API", "3").args(["snapshot", "restore", "--help"]))?;
    Ok(String::from_utf8_lossy(&help.stdout).contains("--bump-revision"))
}
