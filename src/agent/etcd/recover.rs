//! Ordered recovery: one member's data, or a snapshot, becomes the data of a new single-member cluster. For
//! data, the log is replayed by an etcd that no other machine can reach, and a snapshot of the result is
//! saved. The snapshot is restored under another token and with a higher revision
//! (<https://etcd.io/docs/v3.5/op-guide/recovery/>). The original data is moved aside at the end, and never
//! changed.

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

/// URLs of the etcd that replays the log, which no other machine can reach.
const CLIENT: &str = "https://127.0.0.1:2389";
const PEER: &str = "https://127.0.0.1:2390";
/// Time limit for replaying: 100,000 entries take seconds.
const REPLAY: Duration = Duration::from_secs(600);
/// Increase of the revision, so that no revision known to a watcher is reused.
const BUMP: &str = "1000000000";

/// Carries out the order; the next check of the disk finds the new cluster's data.
///
/// # Errors
///
/// [`Kind::Io`] if there is no space for a second copy, [`Kind::Verify`] if the snapshot is damaged or
/// missing, [`Kind::Tool`] containing etcd's message. In each case, the data is unchanged.
pub(super) fn recover(settings: &Settings, directory: &Directory, journal: &dyn Fn(&str)) -> Result<()> {
    let order = settings.order.as_ref().ok_or_else(|| Error::new(Kind::Internal, "there is no order"))?;
    let (copy, restored) = (directory.path().join("recover"), directory.path().join("restored"));
    let member = directory.path().join("member");
    // Leftovers of an earlier attempt, which may be large.
    [&copy, &restored].into_iter().try_for_each(|path| host::fs::remove(path))?;
    let snapshot = if let Some(ordered) = &order.restore {
        ordered_snapshot(settings, directory, ordered, journal)?
    } else {
        journal("recovering the cluster from this member's data, as ordered");
        // The copy, the snapshot, and the restored data.
        insist_on_room(directory, 3 * host::fs::size_of_all(&member)?)?;
        host::fs::create_private_directory(&copy)?;
        host::process::run(host::process::command("cp").arg("--archive").arg(&member).arg(&copy))?;
        let snapshot = copy.join("snapshot.db");
        save(settings, &copy, &snapshot).within(|| "replaying the log".into())?;
        snapshot
    };
    restore(settings, &snapshot, &restored, &order.id, journal).within(|| "restoring the snapshot".into())?;
    // The record marks the rest as complete.
    host::fs::sync_filesystem(directory.path())?;
    let record = Record::Recovered { token: order.id.clone(), order: order.id.clone() };
    Directory::new(&restored).write(&record)?;
    let aside = if member.exists() { Some(directory.set_aside()?) } else { None };
    finish(directory)?;
    journal("this member is now the only member of the cluster");
    aside.iter().for_each(|aside| journal(&format!("the original data is kept in `{}`", aside.display())));
    Ok(())
}

/// Returns the snapshot to restore, which is read completely before anything is changed.
fn ordered_snapshot(
    settings: &Settings,
    directory: &Directory,
    ordered: &Restore,
    journal: &dyn Fn(&str),
) -> Result<PathBuf> {
    let shelf = Shelf::of(settings);
    let sha256 = ordered.sha256;
    let nowhere = || {
        let message =
            format!("no snapshot with SHA-256 {sha256} found on this machine, which is to restore it");
        Error::new(Kind::Verify, message)
            .hint("specify the file in the order, `--restore FILE@SHA256`, so that the seed includes it")
    };
    let path = shelf.find(sha256)?.ok_or_else(nowhere)?;
    let snapshot = snapshots::check(&path, sha256).within(|| "verifying the snapshot to restore".into())?;
    // The restored data, and the first files of its log.
    insist_on_room(directory, 2 * snapshot.size + (64 << 20))?;
    journal(&format!(
        "restoring the snapshot at revision {} with SHA-256 {sha256}, as ordered",
        snapshot.revision
    ));
    Ok(path)
}

fn insist_on_room(directory: &Directory, needed: u64) -> Result<()> {
    host::fs::create_directories(directory.path())?;
    let free = host::fs::free_space(directory.path())?;
    if free < needed {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let message = format!(
            "`{}` has {} MiB free, but recovery needs {} MiB",
            directory.path().display(),
            mib(free),
            mib(needed)
        );
        return Err(Error::new(Kind::Io, message));
    }
    Ok(())
}

/// Moves restored data into place, in case a power cut came just before that.
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

/// Replays the log of a copy and saves a snapshot of the result.
fn save(settings: &Settings, copy: &Path, snapshot: &Path) -> Result<()> {
    let identity = settings.identity();
    let certificate = |name: &str| settings.certificates.join(name);
    let mut etcd = host::process::command("etcd");
    etcd.arg("--force-new-cluster").arg(format!("--name={}", settings.name)).arg("--data-dir").arg(copy);
    etcd.args([format!("--listen-client-urls={CLIENT}"), format!("--advertise-client-urls={CLIENT}")]);
    etcd.args([format!("--listen-peer-urls={PEER}"), format!("--initial-advertise-peer-urls={PEER}")]);
    etcd.arg(format!("--initial-cluster={}={PEER}", settings.name))
        .arg("--client-cert-auth")
        .arg("--peer-client-cert-auth");
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

/// An etcd process that is killed when this value is dropped.
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

/// Restores a snapshot as the data of a cluster with this member only.
fn restore(
    settings: &Settings,
    snapshot: &Path,
    target: &Path,
    token: &str,
    journal: &dyn Fn(&str),
) -> Result<()> {
    let own = settings.own();
    // etcdctl can't restore since 3.6; etcdutl does not exist before 3.5.
    let program = if host::process::find("etcdutl").is_some() { "etcdutl" } else { "etcdctl" };
    let mut command = host::process::command(program);
    command.env("ETCDCTL_API", "3").args(["snapshot", "restore"]).arg(snapshot).arg("--data-dir").arg(target);
    command
        .arg(format!("--name={}", own.name))
        .arg(format!("--initial-cluster={}={}", own.name, own.peer_url));
    command
        .arg(format!("--initial-advertise-peer-urls={}", own.peer_url))
        .arg(format!("--initial-cluster-token={token}"));
    if raises_revisions(program)? {
        command.args(["--bump-revision", BUMP, "--mark-compacted"]);
    } else {
        journal(&format!(
            "this `{program}` can't raise the revision: clients with existing watches must list again"
        ));
    }
    host::process::run(&mut command).map(drop)
}

/// Checks whether a program can raise the revision, as etcdutl 3.5.10 and later can.
fn raises_revisions(program: &str) -> Result<bool> {
    let help = host::process::run(
        host::process::command(program).env("ETCDCTL_API", "3").args(["snapshot", "restore", "--help"]),
    )?;
    Ok(String::from_utf8_lossy(&help.stdout).contains("--bump-revision"))
}
