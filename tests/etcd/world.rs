//! A cluster of real etcd members, each in its own network namespace with the files that kiln renders for it.
//! Each member can be switched off, be cut off or lose its disk independently.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{approve, judge, root};
use crate::member::{Member, etcdctl};
use crate::namespace::Namespace;

/// Path of the kiln program under test.
pub(crate) const KILN: &str = env!("CARGO_BIN_EXE_kiln");
/// Identifier of a cluster, and the names and identifiers of its members.
pub(crate) type Cluster = (u64, Vec<(String, u64)>);

/// A few members on an isolated network.
pub(crate) struct World {
    // Fields are dropped in this order: the machines use the directory until they are switched off.
    pub(crate) members: Vec<Member>,
    pub(crate) hub: Arc<Namespace>,
    /// Kept alive for worlds of the same size that are created in the meantime.
    _site: Arc<Site>,
    directory: tempfile::TempDir,
}

impl World {
    /// Creates the members `m1` to `mN`, all of them switched off and blank.
    pub(crate) fn new(count: usize) -> Option<Self> {
        root()?;
        for program in ["etcd", "etcdctl", "ip", "nft", "setpriv"] {
            judge(program)?;
        }
        let directory = tempfile::tempdir().unwrap();
        let site = Site::of(count);
        approve(
            Command::new("cp").arg("--archive").arg(site.directory.path().join(".")).arg(directory.path()),
        );
        let hub = Namespace::new("hub");
        hub.ip("link add br0 type bridge");
        hub.ip("address add 10.0.0.250/24 dev br0");
        hub.ip("link set br0 up");
        let members = (1..=count).map(|number| Member::new(directory.path(), &hub, number)).collect();
        Some(Self { directory, _site: site, hub: Arc::new(hub), members })
    }

    /// Creates a single member, whose seed contains an order to start without the others.
    pub(crate) fn alone() -> Option<Self> {
        let world = Self::new(1)?;
        world.members[0].order("id = \"0123456789abcdef0123456789abcdef\"\nwithout = [\"m2\", \"m3\"]\n");
        Some(world)
    }

    pub(crate) fn on(&mut self, places: &[usize]) {
        places.iter().for_each(|place| self.members[*place].on());
    }

    /// Runs etcdctl with the endpoints of all members.
    pub(crate) fn etcdctl(&self, arguments: &[&str]) -> Result<String, String> {
        let endpoints: Vec<String> = self.members.iter().map(Member::client_url).collect();
        self.ask(&endpoints.join(","), arguments)
    }

    /// Runs etcdctl with the endpoint of one member.
    pub(crate) fn etcdctl_at(&self, place: usize, arguments: &[&str]) -> Result<String, String> {
        self.ask(&self.members[place].client_url(), arguments)
    }

    /// Returns the directory with the cluster file and the vault.
    pub(crate) fn site(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a value of the given size through stdin, because it would not fit on a command line.
    pub(crate) fn put_large(&self, key: &str, size: usize) -> Result<String, String> {
        let file = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![b'x'; size], 0).unwrap();
        let mut command = self.hub.command("etcdctl");
        command.stdin(file);
        let endpoints: Vec<String> = self.members.iter().map(Member::client_url).collect();
        etcdctl(command, self.members[0].root(), &endpoints.join(","), &["--command-timeout=10s", "put", key])
    }

    /// Runs etcdctl with the given endpoints.
    pub(crate) fn ask(&self, endpoints: &str, arguments: &[&str]) -> Result<String, String> {
        etcdctl(self.hub.command("etcdctl"), self.members[0].root(), endpoints, arguments)
    }

    /// Returns a client with the endpoints of all members, which can be used from another thread.
    pub(crate) fn client(&self) -> impl Fn(&[&str]) -> Result<String, String> + Send + use<> {
        let (hub, root) = (Arc::clone(&self.hub), self.members[0].root().to_owned());
        let endpoints = self.members.iter().map(Member::client_url).collect::<Vec<_>>().join(",");
        move |arguments| etcdctl(hub.command("etcdctl"), &root, &endpoints, arguments)
    }

    /// Returns the cluster of a member, or `None` if the member has no quorum.
    pub(crate) fn cluster_at(&self, place: usize) -> Option<Cluster> {
        self.etcdctl_at(place, &["get", "x", "--consistency=l"]).ok()?;
        let list: Value =
            serde_json::from_str(&self.etcdctl_at(place, &["member", "list", "--write-out=json"]).ok()?)
                .ok()?;
        let member = |member: &Value| {
            Some((member["name"].as_str().unwrap_or_default().to_owned(), member["ID"].as_u64()?))
        };
        Some((
            list["header"]["cluster_id"].as_u64()?,
            list["members"].as_array()?.iter().filter_map(member).collect(),
        ))
    }

    /// Returns [`World::cluster_at`] for every member; all are queried in parallel.
    pub(crate) fn clusters(&self) -> Vec<Option<Cluster>> {
        std::thread::scope(|scope| {
            let asked: Vec<_> =
                (0..self.members.len()).map(|place| scope.spawn(move || self.cluster_at(place))).collect();
            asked.into_iter().map(|asked| asked.join().unwrap()).collect()
        })
    }

    /// Waits until all members form one cluster with a quorum, and returns its identifier.
    pub(crate) fn whole(&self, patience: Duration) -> Result<u64, String> {
        let begin = Instant::now();
        loop {
            let clusters = self.clusters();
            let names =
                |members: &[(String, u64)]| members.iter().filter(|(name, _)| !name.is_empty()).count();
            let is_whole = clusters.iter().all(|cluster| {
                cluster.as_ref().is_some_and(|(id, members)| {
                    names(members) == self.members.len()
                        && members.len() == self.members.len()
                        && Some(*id) == clusters[0].as_ref().map(|(id, _)| *id)
                })
            });
            if is_whole {
                return Ok(clusters[0].as_ref().unwrap().0);
            }
            if begin.elapsed() > patience {
                let waiting: Vec<_> =
                    self.members.iter().map(|member| (&member.name, member.waits_for())).collect();
                let logs: String = self
                    .members
                    .iter()
                    .map(|member| format!("\n--- {}\n{}", member.name, member.log()))
                    .collect();
                return Err(format!("{clusters:?} {waiting:?}{logs}"));
            }
            sleep(Duration::from_millis(300));
        }
    }
}

/// The files of every member of a cluster, each in `directory/NAME`.
struct Site {
    members: usize,
    directory: tempfile::TempDir,
}

impl Site {
    /// Renders the files, unless an existing world uses the same ones.
    fn of(members: usize) -> Arc<Self> {
        static LAST: Mutex<Weak<Site>> = Mutex::new(Weak::new());
        let mut last = LAST.lock().unwrap();
        if let Some(site) = last.upgrade().filter(|site| site.members == members) {
            return site;
        }
        let site = Arc::new(Self { members, directory: tempfile::tempdir().unwrap() });
        render(site.directory.path(), members);
        *last = Arc::downgrade(&site);
        site
    }
}

fn render(directory: &Path, count: usize) {
    let kiln = |arguments: &[&str]| {
        approve(
            Command::new(KILN)
                .current_dir(directory)
                .args(arguments)
                .env("KILN_STORE", directory.join("store")),
        )
    };
    kiln(&["init", "--profile", "ha"]);
    let path = directory.join("cluster.toml");
    let mut text = fs::read_to_string(&path).unwrap();
    for number in 4..=count {
        let _ = write!(
            text,
            "\n[[nodes]]\nname = \"m{number}\"\nroles = [\"control-plane\"]\naddress = \"10.0.0.1{number}\"\n"
        );
    }
    // The flags must match the etcd version installed on this machine.
    let said = approve(Command::new("etcd").arg("--version"));
    let version = said.lines().next().unwrap().rsplit(' ').next().unwrap();
    let _ = write!(text, "\n[etcd]\nversion = \"{version}\"\n");
    fs::write(&path, text).unwrap();
    kiln(&["pki", "init"]);
    for number in 1..=count {
        let name = format!("m{number}");
        kiln(&["render", &name, "--secrets", "--out", &name]);
    }
}
