//! One member's data become those of a new cluster of one, as ordered: its log is replayed by an etcd that no other machine can reach, a
//! snapshot is saved of that, and the snapshot is restored under another token and with a higher revision
//! (<https://etcd.io/docs/v3.5/op-guide/recovery/>). The data as they were are moved aside at the end, and never changed.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::control::Endpoint;
use super::directory::{Directory, Record};
use super::settings::Settings;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::host::clock::Stopwatch;

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
/// [`Kind::Io`] if there is no room for a second copy, [`Kind::Tool`] with what etcd said. The data are then as they were.
pub(super) fn recover(settings: &Settings, directory: &Directory, journal: &dyn Fn(&str)) -> Result<()> {
    let order = settings.order.as_ref().ok_or_else(|| Error::new(Kind::Internal, "there is no order"))?;
    let (copy, restored) = (directory.path().join("recover"), directory.path().join("restored"));
    journal("recovers the cluster from the data of this member, as ordered");
    let member = directory.path().join("member");
    let (needed, free) = (host::fs::size_of_all(&member)?, host::fs::free_space(directory.path())?);
    // The copy, the snapshot, and what is restored of it.
    if free < 3 * needed {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let message = format!("`{}` has {} MiB free, and recovering takes {}", directory.path().display(), mib(free), mib(3 * needed));
        return Err(Error::new(Kind::Io, message));
    }
    host::fs::create_private_directory(&copy)?;
    host::process::run(host::process::command("cp").arg("--archive").arg(&member).arg(&copy))?;
    let snapshot = copy.join("snapshot.db");
    save(settings, &copy, &snapshot).within(|| "replaying the log".into())?;
    restore(settings, &snapshot, &restored, &order.id).within(|| "restoring the snapshot".into())?;
    let record = Record::Recovered { token: order.id.clone(), order: order.id.clone() };
    Directory::new(&restored).write(&record)?;
    host::fs::sync_filesystem(directory.path())?;
    let aside = directory.set_aside()?;
    finish(directory)?;
    journal(&format!("the cluster is this member's alone now; the data as they were are kept in `{}`", aside.display()));
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
fn restore(settings: &Settings, snapshot: &Path, target: &Path, token: &str) -> Result<()> {
    let own = settings.own();
    // From 3.6 on etcdctl can't; before 3.5 there is no etcdutl, and nothing raises the revision.
    let is_new = host::process::find("etcdutl").is_some();
    let mut command = host::process::command(if is_new { "etcdutl" } else { "etcdctl" });
    command.env("ETCDCTL_API", "3").args(["snapshot", "restore"]).arg(snapshot).arg("--data-dir").arg(target);
    command.arg(format!("--name={}", own.name)).arg(format!("--initial-cluster={}={}", own.name, own.peer_url));
    command.arg(format!("--initial-advertise-peer-urls={}", own.peer_url)).arg(format!("--initial-cluster-token={token}"));
    if is_new {
        command.args(["--bump-revision", BUMP, "--mark-compacted"]);
    }
    host::process::run(&mut command).map(drop)
}
