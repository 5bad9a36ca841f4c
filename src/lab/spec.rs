//! Lab contents, read from an output directory's manifest: nodes, their artifacts and their network.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::cluster::MatchRule;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::lab::{BACKENDS, Backend, backend};
use crate::output::{ClusterRecord, Manifest, NetworkRecord, NodeRecord};
use crate::words::{Arch, Role, artifacts as paths};

/// One lab: a cluster's artifacts and where they run on this machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Lab {
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The published output directory, absolute.
    pub(crate) artifacts: PathBuf,
    /// State directory of the lab: control socket and console logs. The directory name is derived from the
    /// cluster name and the artifacts' path, so that two clusters with the same name can run at once.
    pub(crate) state: PathBuf,
    pub(crate) network: IpNet,
    /// CPU architecture of the machines.
    #[serde(default)]
    pub(crate) arch: Arch,
    /// Address of the bridge: the gateway if the cluster has one, otherwise the last free host address.
    pub(crate) host_address: IpAddr,
    /// Name of the node network interface inside a node.
    pub(crate) interface: String,
    pub(crate) vip: Option<IpAddr>,
    /// True if the endpoint reaches all API servers; false if it reaches only the one on the VIP holder.
    pub(crate) shares_load: bool,
    pub(crate) guests: Vec<Guest>,
}

/// One node of a lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Guest {
    pub(crate) name: String,
    /// Zero-based position in the cluster file; used in interface names, whose length is limited.
    pub(crate) index: usize,
    pub(crate) address: IpAddr,
    /// Name of the role image that the node boots.
    pub(crate) image: String,
    /// Rules that select the node's seed; the lab configures the machine to match them.
    pub(crate) matches: Vec<MatchRule>,
    /// Backend that runs the node.
    #[serde(with = "crate::lab::backend")]
    pub(crate) backend: &'static dyn Backend,
    /// Clock time at each power-on, `YYYY-MM-DDTHH:MM:SS` in UTC; `None` for this machine's time.
    #[serde(default)]
    pub(crate) clock: Option<String>,
    /// Path of a seed to use instead of the one in the artifacts.
    #[serde(default)]
    pub(crate) seed: Option<PathBuf>,
}

/// Changes to a node that apply from its next start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Changes {
    /// Name of another backend.
    pub(crate) backend: Option<String>,
    pub(crate) clock: Option<String>,
    pub(crate) seed: Option<PathBuf>,
}

impl Lab {
    /// Returns the node's directory on the lab's private filesystem, which survives power cuts and disappears
    /// with the supervisor.
    pub(crate) fn directory_of(&self, guest: &Guest) -> PathBuf {
        self.private().join(&guest.name)
    }

    /// Returns the path of the node's monitor socket, if the backend has a monitor.
    pub(crate) fn monitor_of(&self, guest: &Guest) -> PathBuf {
        self.directory_of(guest).join("monitor")
    }

    /// Returns the mount point of the lab's private filesystem, visible only in the lab's mount namespace.
    pub(crate) fn private(&self) -> PathBuf {
        self.state.join("private")
    }

    /// Returns the file that receives the node's console output.
    pub(crate) fn console_of(&self, guest: &Guest) -> PathBuf {
        self.state.join(format!("{}.log", guest.name))
    }

    /// Returns `out/<cluster>/images/<image>` without an extension.
    pub(crate) fn image_of(&self, guest: &Guest) -> PathBuf {
        self.artifacts.join(paths::image(&guest.image))
    }

    /// Returns `out/<cluster>/nodes/<node>`, the directory of the node's own artifacts.
    pub(crate) fn artifacts_of(&self, guest: &Guest) -> PathBuf {
        self.artifacts.join(paths::node(&guest.name))
    }

    /// Returns the path of the node's own seed.
    pub(crate) fn seed_of(&self, guest: &Guest) -> PathBuf {
        self.artifacts.join(paths::seed(&guest.name))
    }

    /// Returns true if the lab's supervisor runs as root and puts each node into a cgroup, as containers
    /// require. A lab that was started without containers has no cgroups.
    pub(crate) fn has_control_groups(&self) -> bool {
        self.guests.iter().any(|guest| guest.backend.needs_root())
    }

    /// Returns a fixed MAC address for the bridge: an automatic one changes when ports are added or removed,
    /// and nodes can't reach this machine for a while after each change.
    pub(crate) fn mac(&self) -> String {
        mac(&self.cluster)
    }

    /// Returns the guest with this name.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`], listing the valid names.
    pub(crate) fn guest(&self, name: &str) -> Result<&Guest> {
        self.guests.iter().find(|guest| guest.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.guests.iter().map(|guest| guest.name.as_str()).collect();
            Error::new(Kind::Input, format!("no node named `{name}` in lab `{}`", self.cluster))
                .hint(format!("nodes in the lab: {}", names.join(", ")))
        })
    }
}

impl Guest {
    /// Returns the file name of the node's network namespace in `/run/netns`, see ip-netns(8).
    pub(crate) fn namespace(&self) -> String {
        self.name.clone()
    }

    /// Returns the name of the tap device, or of the bridge end of the veth pair; at most 15 bytes
    /// (IFNAMSIZ).
    pub(crate) fn tap(&self) -> String {
        format!("kiln-n{}", self.index)
    }

    /// Returns the name of the node's port on the lab's bridge while the cable is slow.
    pub(crate) fn slow_port(&self) -> String {
        format!("kiln-s{}", self.index)
    }

    /// Returns the names of the bridge on the node's side of a slow cable segment, and of the segment's port
    /// on that bridge.
    pub(crate) fn slow_bridge(&self) -> [String; 2] {
        [format!("kiln-b{}", self.index), format!("kiln-t{}", self.index)]
    }

    /// Returns a locally administered MAC address that depends only on the cluster and node names.
    pub(crate) fn mac(&self, cluster: &str) -> String {
        mac(&format!("{cluster} {}", self.name))
    }

    /// Returns the node with these changes applied. The clock setting is dropped if the backend has no
    /// per-node clocks.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] for an unknown backend, or a clock setting that the backend does not support.
    pub(super) fn changed(&self, changes: &Changes) -> Result<Self> {
        let backend = changes.backend.as_deref().map_or(Ok(self.backend), backend::find)?;
        backend::check_clock(backend, changes.clock.as_deref())?;
        let clock = changes.clock.clone().or_else(|| self.clock.clone()).filter(|_| backend.has_clocks());
        let seed = changes.seed.clone().or_else(|| self.seed.clone());
        Ok(Self { backend, clock, seed, ..self.clone() })
    }
}

/// Derives a MAC address with QEMU's customary prefix "52:54", which has the locally-administered bit set.
fn mac(of: &str) -> String {
    let digest = Digest::of(format!("kiln lab mac {of}").as_bytes());
    let [a, b, c, d, ..] = *digest.as_bytes();
    format!("52:54:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

impl Lab {
    /// Reads the lab for the published directory `artifacts`, limited to the nodes in `only` unless `only` is
    /// empty. The state directory is below `labs`.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if there is no manifest; [`Kind::Input`] if it does not describe a cluster or lacks a
    /// requested node.
    pub(crate) fn load(artifacts: &Path, labs: &Path, only: &[String]) -> Result<Self> {
        let manifest = Manifest::read(artifacts)
            .map_err(|err| err.hint("run `kiln build` first, or specify its output directory"))?;
        let mut lab = Self::of(manifest.cluster, artifacts, labs)?;
        for name in only {
            lab.guest(name)?;
        }
        lab.guests.retain(|guest| only.is_empty() || only.contains(&guest.name));
        Ok(lab)
    }

    fn of(cluster: ClusterRecord, artifacts: &Path, labs: &Path) -> Result<Self> {
        let taken: Vec<IpAddr> =
            cluster.nodes.iter().map(|node| node.address).chain(cluster.endpoint.vip).collect();
        let host_address = host_address(&cluster.network, &taken).ok_or_else(|| {
            Error::new(
                Kind::Input,
                format!("no free address for this machine in `{}`", cluster.network.nodes),
            )
        })?;
        let guest = |(index, node): (usize, NodeRecord)| {
            let image = Role::image(&node.roles);
            Guest {
                index,
                image,
                name: node.name,
                address: node.address,
                matches: node.matches,
                backend: BACKENDS[0],
                clock: None,
                seed: None,
            }
        };
        Ok(Self {
            state: labs.join(format!(
                "{}-{}",
                cluster.name,
                Digest::of(artifacts.as_os_str().as_encoded_bytes()).short()
            )),
            cluster: cluster.name,
            artifacts: artifacts.to_owned(),
            network: cluster.network.nodes,
            arch: cluster.architecture,
            host_address,
            interface: cluster.network.interface,
            vip: cluster.endpoint.vip,
            shares_load: cluster.endpoint.balancer.proxy.is_some() || !cluster.endpoint.balancer.moves_vip(),
            guests: cluster.nodes.into_iter().enumerate().map(guest).collect(),
        })
    }
}

/// Returns the gateway address unless a node uses it, otherwise the highest free host address.
fn host_address(network: &NetworkRecord, taken: &[IpAddr]) -> Option<IpAddr> {
    let free = |address: &IpAddr| !taken.contains(address);
    network
        .gateway
        .filter(free)
        .or_else(|| last_hosts(&network.nodes, taken.len() + 1).into_iter().find(free))
}

/// Returns the last `count` host addresses of a network, highest first.
fn last_hosts(network: &IpNet, count: usize) -> Vec<IpAddr> {
    let (first, last): (u128, u128) = match network {
        IpNet::V4(net) => (u32::from(net.network()).into(), u32::from(net.broadcast()).into()),
        IpNet::V6(net) => (net.network().into(), net.broadcast().into()),
    };
    let address = |bits: u128| match network {
        IpNet::V4(_) => IpAddr::V4(u32::try_from(bits).expect("an IPv4 address has 32 bits").into()),
        IpNet::V6(_) => IpAddr::V6(bits.into()),
    };
    (first + 1..last).rev().take(count).map(address).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::{Changes, Guest, Lab};

    /// Returns a lab with two nodes.
    pub(in crate::lab) fn sample() -> Lab {
        parse(&manifest("10.0.0.0/24", "null"))
    }

    fn manifest(network: &str, gateway: &str) -> String {
        format!(
            r#"{{"name":"ha","network":{{"nodes":"{network}","gateway":{gateway},"interface":"lan0"}},
            "endpoint":{{"vip":"10.0.0.5","port":6443,"balancer":"haproxy"}},
            "nodes":[{{"name":"m1","roles":["control-plane"],"address":"10.0.0.6"}},{{"name":"m2","roles":["control-plane","worker"],"address":"10.0.0.4"}}]}}"#
        )
    }

    fn parse(manifest: &str) -> Lab {
        Lab::of(serde_json::from_str(manifest).unwrap(), Path::new("/out"), Path::new("/run/lab")).unwrap()
    }

    #[test]
    fn this_machine_takes_the_gateways_address_or_the_last_free_one() {
        for (network, gateway, expected) in [
            ("10.0.0.0/24", "\"10.0.0.1\"", "10.0.0.1"),
            ("10.0.0.0/24", "null", "10.0.0.254"),
            ("10.0.0.0/29", "null", "10.0.0.3"),
            ("10.0.0.0/29", "\"10.0.0.6\"", "10.0.0.3"),
        ] {
            assert_eq!(
                parse(&manifest(network, gateway)).host_address.to_string(),
                expected,
                "{network} {gateway}"
            );
        }
    }

    #[test]
    fn an_unknown_node_is_answered_with_the_names_there_are() {
        let lab = parse(&manifest("10.0.0.0/24", "null"));
        assert_eq!(lab.guest("m2").unwrap().image, "control-plane+worker");
        let err = lab.guest("m9").unwrap_err();
        assert_eq!(err.to_string(), "no node named `m9` in lab `ha`");
        assert_eq!(err.hints(), ["nodes in the lab: m1, m2"]);
    }

    #[test]
    fn a_node_keeps_its_backend_and_clock_until_another_is_named() {
        let table: [(&[(&str, &str)], &str); 6] = [
            (&[("", "")], "nspawn None"),
            (&[("qemu", "")], "qemu None"),
            (&[("qemu", "2001-01-01T00:00:00"), ("", "")], "qemu Some(\"2001-01-01T00:00:00\")"),
            (&[("qemu", "2001-01-01T00:00:00"), ("nspawn", "")], "nspawn None"),
            (&[("", "2001-01-01T00:00:00")], "nodes on the nspawn backend share this machine's clock"),
            (&[("podman", "")], "no lab backend named `podman`"),
        ];
        for (starts, expected) in table {
            let given = |word: &str| Some(word.to_owned()).filter(|word| !word.is_empty());
            let start = |guest: Guest, (backend, clock): &(&str, &str)| {
                guest.changed(&Changes { backend: given(backend), clock: given(clock), seed: None })
            };
            let guest = starts.iter().try_fold(sample().guests[0].clone(), start);
            let found = guest.map_or_else(
                |err| err.to_string(),
                |guest| format!("{} {:?}", guest.backend.name(), guest.clock),
            );
            assert_eq!(found, expected, "{starts:?}");
        }
    }

    #[test]
    fn a_plan_names_the_backend_of_each_node() {
        let mut lab = sample();
        assert!(lab.has_control_groups());
        for guest in &mut lab.guests {
            *guest = guest.changed(&Changes { backend: Some("qemu".into()), ..Changes::default() }).unwrap();
        }
        let lab: Lab = serde_json::from_slice(&serde_json::to_vec(&lab).unwrap()).unwrap();
        assert!(lab.guests.iter().all(|guest| guest.backend.name() == "qemu") && !lab.has_control_groups());
    }

    #[test]
    fn interface_names_fit_the_kernels_limit() {
        let lab = parse(&manifest("10.0.0.0/24", "null"));
        assert!(lab.guests.iter().all(|guest| guest.tap().len().max(guest.slow_port().len()) <= 15));
        assert_ne!(lab.guests[0].mac("ha"), lab.guests[1].mac("ha"));
    }
}
