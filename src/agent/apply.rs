//! One run of the agent. Each step first checks whether there is anything to do; nothing is written until a
//! seed has been accepted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::agent::discover::{self, Discovery, Found};
use crate::agent::machine::Machine;
use crate::agent::places::Places;
use crate::agent::select::{Candidate, guard, select};
use crate::agent::status::{Outcome, Status};
use crate::agent::{etc, state};
use crate::error::{Error, Kind, Result};
use crate::host;
use crate::host::root::Change;
use crate::words::CONFIG;

/// Mount points of the running machine's root filesystem: after boot, and in the initrd.
const THIS_MACHINE: [&str; 2] = ["/", "/sysroot"];

/// Options of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// If set, the only seed to consider.
    pub(crate) seed: Option<PathBuf>,
    /// If true, files are written directly to `/etc`, without an overlay.
    pub(crate) in_place: bool,
    /// Time to wait for a carrier if no seed is found.
    pub(crate) patience: Duration,
}

/// Configures the machine at `places` as the node that its seed describes. A second run changes nothing.
///
/// # Errors
///
/// [`Kind::Input`] if the seed is missing, wrong or ambiguous; [`Kind::Verify`] if it is damaged;
/// [`Kind::Io`] if a write fails. The status reports the same error.
pub(crate) fn apply(places: &Places, request: &Request) -> Result<Status> {
    let mut status = Status::begin();
    let result = run(places, request, &mut status);
    status.finished = host::clock::now();
    if let Err(err) = &result {
        status.outcome = Outcome::Refused;
        status.reason = Some(err.to_string());
    }
    // A run that changed nothing keeps the status of the run that made the changes.
    if status.outcome != Outcome::Unchanged || Status::read(places).is_err() {
        status.write(places)?;
    }
    result.map(|()| status)
}

fn run(places: &Places, request: &Request, status: &mut Status) -> Result<()> {
    let found = status.stage("find", |_| choose(places, request))?;
    status.identity = Some(found.seed.identity.clone());
    status.seed = Some(found.candidate.digest);
    status.source = Some(found.candidate.place.clone());
    status.stage("clock", |status| {
        status.clock = raise_clock(places, found.seed.identity.not_before);
        Ok(())
    })?;
    status.stage("etc", |status| write_etc(places, request, &found, status))?;
    status.stage("name", |_| set_name(places, &found.seed.identity.node))?;
    status.stage("var", |status| fill_var(places, &found, status))?;
    status.outcome = if status.changed.is_empty() { Outcome::Unchanged } else { Outcome::Applied };
    Ok(())
}

/// Returns this machine's seed: the matching one among the carried seeds, otherwise the last accepted one.
fn choose(places: &Places, request: &Request) -> Result<Found> {
    let machine = Machine::ask(&places.sys, &places.command_line);
    let stored = discover::stored(places);
    let Discovery { mut carried, mut damaged } = search(places, request, matches!(stored, Ok(Some(_))))?;
    if carried.is_empty() {
        let stored = stored?.ok_or_else(|| damaged.pop().unwrap_or_else(nothing_found))?;
        select(std::slice::from_ref(&stored.candidate), &machine)?;
        return Ok(stored);
    }
    let candidates: Vec<Candidate> = carried.iter().map(|found| found.candidate.clone()).collect();
    let chosen = carried.swap_remove(select(&candidates, &machine)?);
    // A damaged stored copy does not identify the machine; the carried seed replaces it.
    let before = stored.ok().flatten();
    guard(&chosen.seed.identity, before.as_ref().map(|found| &found.seed.identity), &machine)?;
    Ok(chosen)
}

/// Searches for seeds. Waits for devices that appear late, unless the machine has a copy of its seed.
fn search(places: &Places, request: &Request, has_stored: bool) -> Result<Discovery> {
    let pause = Duration::from_millis(250);
    let mut waited = Duration::ZERO;
    loop {
        let discovery = discover::carried(places, request.seed.as_deref())?;
        let found = !discovery.carried.is_empty() || !discovery.damaged.is_empty();
        if found || has_stored || waited >= request.patience {
            return Ok(discovery);
        }
        host::clock::sleep(pause);
        waited += pause;
    }
}

fn nothing_found() -> Error {
    let places = format!(
        "systemd credential `kiln.seed`, partition labelled `{CONFIG}`, all other block devices, \
        `/var/lib/kiln/seed`"
    );
    Error::new(Kind::Input, format!("no seed found; searched: {places}")).hint(
        "write the node's seed to the config partition, or attach it as a volume: `dd if=NODE.seed \
        of=/dev/…`",
    )
}

/// Sets the clock forward if the seed's certificates are not valid yet, before any program reads a
/// certificate: the hardware clock may be wrong or missing. Applies only to the running machine; a failure
/// does not stop the boot.
fn raise_clock(places: &Places, not_before: u64) -> Option<String> {
    let before = host::clock::now();
    if before >= not_before || !THIS_MACHINE.map(Path::new).contains(&places.root.as_path()) {
        return None;
    }
    let [was, is] = [before, not_before].map(host::clock::rfc3339);
    Some(match host::clock::set(not_before) {
        Ok(()) => {
            format!("set forward from {was} to {is}, the time at which the seed's certificates become valid")
        }
        Err(err) => format!("is {was}, but the seed's certificates are not valid until {is}: {err}"),
    })
}

fn write_etc(places: &Places, request: &Request, found: &Found, status: &mut Status) -> Result<()> {
    if !request.in_place && etc::mount(places)? == Change::Written {
        status.changed.push("/etc (mounted)".into());
    }
    let changed = etc::write(&found.seed.tree, &places.root)?;
    status.changed.extend(changed.iter().map(ToString::to_string));
    Ok(())
}

/// Sets the running kernel's host name; `/etc/hostname` is one of the node's files.
fn set_name(places: &Places, node: &str) -> Result<()> {
    let is_running = places.root == Path::new("/");
    if is_running { host::process::set_host_name(node) } else { Ok(()) }
}

fn fill_var(places: &Places, found: &Found, status: &mut Status) -> Result<()> {
    if state::fill(places)? == Change::Written {
        status.changed.push("/var (populated)".into());
    }
    // This must come before the seed is stored: an order with an incomplete snapshot is not carried out at
    // the next boot either.
    if state::take_snapshot(places, found)? == Change::Written {
        status.changed.push(state::SNAPSHOTS.into());
    }
    if state::store(places, &found.packed)? == Change::Written {
        status.changed.push("/var/lib/kiln/seed".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;
    use std::time::Duration;

    use super::{Request, apply};
    use crate::agent::Places;
    use crate::agent::status::{Outcome, Status};
    use crate::cluster::MatchRule;
    use crate::host;
    use crate::host::fs::{PUBLIC, read, write_atomic};
    use crate::seed::Seed;
    use crate::tree::Tree;

    /// A machine in a directory: an image's factory copy of `/var`, a config partition, an empty second disk.
    struct Machine {
        directory: tempfile::TempDir,
        places: Places,
    }

    impl Machine {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let at = |name: &str| directory.path().join(name);
            let write = |path: &str, text: &str| write_atomic(&at(path), text.as_bytes(), PUBLIC).unwrap();
            write("root/etc/os-release", "ID=debian\n");
            write("root/usr/share/factory/var/lib/dpkg/status", "Package: x\n");
            write("sys/class/block/vda4/uevent", "DEVTYPE=partition\nPARTNAME=kiln-config\n");
            write("sys/class/block/vdb/uevent", "DEVTYPE=disk\n");
            write("dev/vda4", &"\0".repeat(4096));
            write("dev/vdb", "");
            host::fs::create_directories(&at("root/var")).unwrap();
            let [root, run, sys, dev] = ["root", "run", "sys", "dev"].map(at);
            Self {
                directory,
                places: Places { root, run, sys, dev, command_line: String::new(), handed: Vec::new() },
            }
        }

        fn carry(&self, device: &str, seed: &Seed) {
            let mut bytes = seed.pack(1_700_000_000).unwrap();
            bytes.resize(1 << 20, 0);
            write_atomic(&self.places.dev.join(device), &bytes, PUBLIC).unwrap();
        }

        fn apply(&self) -> crate::error::Result<Status> {
            apply(&self.places, &Request { in_place: true, ..Request::default() })
        }

        fn root(&self, path: &str) -> std::path::PathBuf {
            self.places.root.join(path)
        }
    }

    /// A seed whose files belong to whoever runs the tests.
    fn seed(node: &str, matches: &[MatchRule]) -> Seed {
        let mut seed = crate::seed::tests::sample(node, matches.to_vec());
        let (uid, gid) = host::process::owner();
        let mut tree = Tree::new();
        for (path, entry) in seed.tree.iter() {
            tree.insert(path.clone(), entry.clone().owned_by(uid, gid));
        }
        seed.tree = tree;
        seed
    }

    /// Every path below a directory with what would show a change.
    fn fingerprint(path: &Path, lines: &mut Vec<String>) {
        for path in host::fs::list(path).unwrap() {
            let stat = path.symlink_metadata().unwrap();
            lines.push(format!(
                "{} {} {:o} {}.{}",
                path.display(),
                stat.ino(),
                stat.mode(),
                stat.mtime(),
                stat.mtime_nsec()
            ));
            if stat.is_dir() {
                fingerprint(&path, lines);
            }
        }
    }

    #[test]
    fn the_config_partitions_seed_becomes_etc_and_var() {
        let machine = Machine::new();
        machine.carry("vda4", &seed("m1", &[]));
        let status = machine.apply().unwrap();
        assert_eq!(status.outcome, Outcome::Applied);
        assert_eq!(status.identity.unwrap().node, "m1");
        assert_eq!(read(&machine.root("etc/hostname")).unwrap(), b"m1\n");
        assert_eq!(machine.root("etc/kubernetes/pki/sa.key").metadata().unwrap().mode() & 0o7777, 0o600);
        assert_eq!(read(&machine.root("var/lib/dpkg/status")).unwrap(), b"Package: x\n");
        assert_eq!(machine.root("var/lib/kiln/seed").metadata().unwrap().mode() & 0o7777, 0o600);
        let reported = read(&machine.places.run.join("kiln/status.json")).unwrap();
        assert!(!String::from_utf8(reported).unwrap().contains("canary"));
    }

    #[test]
    fn a_snapshot_behind_the_seed_is_taken_over_once_and_only_whole() {
        let machine = Machine::new();
        let snapshot = vec![7; 100_000];
        let sha256 = crate::digest::Digest::of(&snapshot);
        let mut bytes = Vec::new();
        let order = format!("id = \"1\"\n[restore]\non = \"m1\"\nsha256 = \"{sha256}\"\n");
        let mut seed = seed("m1", &[]);
        let (uid, gid) = host::process::owner();
        let entry = crate::tree::Entry::file(order.into_bytes(), 0o644, &"order".into()).owned_by(uid, gid);
        seed.tree.insert(crate::tree::ImagePath::new(crate::seed::ORDER).unwrap(), entry);
        crate::seed::attach(&mut bytes, &seed.pack(0).unwrap(), &*snapshot, 100_000, sha256).unwrap();
        let kept = machine.root(&format!("var/lib/etcd-snapshots/ordered-{sha256}.db"));
        // The stick was taken away while it was written.
        write_atomic(&machine.places.dev.join("vdb"), &bytes[..50_000], PUBLIC).unwrap();
        let err = machine.apply().unwrap_err().to_string();
        assert!(err.contains("the file attached to the seed is truncated"), "{err}");
        assert!(!kept.exists() && !machine.root("var/lib/kiln/seed").exists());

        write_atomic(&machine.places.dev.join("vdb"), &bytes, PUBLIC).unwrap();
        machine.apply().unwrap();
        assert_eq!(read(&kept).unwrap(), snapshot);
        assert_eq!(kept.metadata().unwrap().mode() & 0o7777, 0o600);
        assert_eq!(kept.parent().unwrap().metadata().unwrap().mode() & 0o7777, 0o700);
        assert_eq!(machine.apply().unwrap().outcome, Outcome::Unchanged);

        // The usual seed was written over the one with the order, and what was behind that is still there.
        host::fs::remove(&kept).unwrap();
        seed.tree.remove(&crate::tree::ImagePath::new(crate::seed::ORDER).unwrap()).unwrap();
        let usual = seed.pack(0).unwrap();
        bytes[..usual.len()].copy_from_slice(&usual);
        write_atomic(&machine.places.dev.join("vdb"), &bytes, PUBLIC).unwrap();
        machine.apply().unwrap();
        assert!(!kept.exists());
    }

    #[test]
    fn a_second_run_changes_nothing_and_says_so() {
        let machine = Machine::new();
        machine.carry("vda4", &seed("m1", &[]));
        machine.apply().unwrap();
        let fingerprint = || {
            let mut lines = Vec::new();
            fingerprint(machine.directory.path(), &mut lines);
            lines.join("\n")
        };
        let before = fingerprint();
        let status = machine.apply().unwrap();
        assert_eq!(status.outcome, Outcome::Unchanged);
        assert_eq!(status.changed, Vec::<String>::new());
        assert_eq!(fingerprint(), before);
    }

    #[test]
    fn the_stored_copy_serves_when_the_carrier_is_gone() {
        let machine = Machine::new();
        machine.carry("vdb", &seed("m1", &[]));
        machine.apply().unwrap();
        write_atomic(&machine.places.dev.join("vdb"), b"", PUBLIC).unwrap();
        host::fs::remove(&machine.root("etc/hostname")).unwrap();
        let status = machine.apply().unwrap();
        assert_eq!(status.source.unwrap(), "this machine's own copy");
        assert_eq!(status.changed, ["/etc/hostname"]);
    }

    #[test]
    fn a_refused_seed_writes_nothing_but_the_reason() {
        let machine = Machine::new();
        machine.carry("vda4", &seed("m1", &[MatchRule::Serial("S-9".into())]));
        let err = machine.apply().unwrap_err();
        let device = machine.places.dev.join("vda4");
        let reason = err.to_string();
        assert!(reason.contains(&format!("config partition `{}`: node `m1`", device.display())), "{reason}");
        assert!(reason.contains("serial number: seed requires `S-9`, machine has none"), "{reason}");
        assert!(!machine.root("etc/hostname").exists());
        assert!(!machine.root("var/lib").exists());
        let status = Status::read(&machine.places).unwrap();
        assert_eq!((status.outcome, status.reason), (Outcome::Refused, Some(reason)));
    }

    #[test]
    fn a_damaged_seed_is_named_and_an_older_good_copy_serves() {
        let machine = Machine::new();
        let packed = seed("m1", &[]).pack(0).unwrap();
        write_atomic(&machine.places.dev.join("vda4"), &packed[..200], PUBLIC).unwrap();
        let err = machine.apply().unwrap_err();
        assert!(
            err.to_string().ends_with(&format!("the seed is truncated: 200 of {} bytes", packed.len())),
            "{err}"
        );
        machine.carry("vda4", &seed("m1", &[]));
        machine.apply().unwrap();
        write_atomic(&machine.places.dev.join("vda4"), &packed[..200], PUBLIC).unwrap();
        assert_eq!(machine.apply().unwrap().source.unwrap(), "this machine's own copy");
    }

    #[test]
    fn another_clusters_seed_is_refused_on_a_machine_with_state() {
        let mut machine = Machine::new();
        machine.carry("vda4", &seed("m1", &[]));
        machine.apply().unwrap();
        let mut foreign = seed("m1", &[]);
        foreign.identity.cluster_id = "c2".into();
        foreign.identity.cluster = "blue".into();
        machine.carry("vda4", &foreign);
        assert!(machine.apply().unwrap_err().hints()[0].contains("kiln.adopt=blue"));
        machine.places.command_line = "quiet kiln.adopt=blue".into();
        assert_eq!(machine.apply().unwrap().identity.unwrap().cluster, "blue");
    }

    #[test]
    fn interrupted_filling_of_var_goes_on_and_leaves_what_is_there() {
        let machine = Machine::new();
        machine.carry("vda4", &seed("m1", &[]));
        write_atomic(&machine.root("var/lib/dpkg/status"), b"changed here\n", PUBLIC).unwrap();
        machine.apply().unwrap();
        assert_eq!(read(&machine.root("var/lib/dpkg/status")).unwrap(), b"changed here\n");
        assert!(machine.root("var/lib/kiln/factory").exists());
    }

    #[test]
    fn without_any_seed_the_places_looked_at_are_told_within_the_time_allowed() {
        let machine = Machine::new();
        let watch = host::clock::Stopwatch::start();
        let request = Request { in_place: true, patience: Duration::from_millis(300), ..Request::default() };
        let err = apply(&machine.places, &request).unwrap_err();
        assert!(err.to_string().contains("partition labelled `kiln-config`"), "{err}");
        assert!((300..3000).contains(&watch.elapsed().as_millis()));
    }
}
