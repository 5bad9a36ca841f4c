//! What a lab runs, read from an output directory's manifest: the nodes, their artifacts, their network.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::cluster::MatchRule;
use crate::digest::Digest;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::lab::{BACKENDS, Backend, backend};
use crate::words::Balancer;

/// One lab: a cluster's artifacts and where it lives on this machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Lab {
    /// The cluster's name.
    pub(crate) cluster: String,
    /// The published output directory, absolute.
    pub(crate) artifacts: PathBuf,
    /// The lab's state directory: control socket, console logs.
    pub(crate) state: PathBuf,
    pub(crate) network: IpNet,
    /// The bridge's own address: the gateway if the cluster has one, else the last free host address.
    pub(crate) host_address: IpAddr,
    /// The node network's interface inside a node.
    pub(crate) interface: String,
    pub(crate) vip: Option<IpAddr>,
    /// Whether the endpoint leads to all API servers; else to that of the machine which holds the VIP.
    pub(crate) shares_load: bool,
    pub(crate) guests: Vec<Guest>,
}

/// One node of a lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Guest {
    pub(crate) name: String,
    /// Position in the cluster file, from 0; names interfaces, whose names are short.
    pub(crate) index: usize,
    pub(crate) address: IpAddr,
    /// Name of the role image it boots.
    pub(crate) image: String,
    /// How it recognises its seed; the lab's machine answers to it.
    pub(crate) matches: Vec<MatchRule>,
    /// What runs it.
    #[serde(with = "crate::lab::backend")]
    pub(crate) backend: &'static dyn Backend,
    /// What its clock says whenever it is switched on, `YYYY-MM-DDTHH:MM:SS` in UTC; none for this machine's time.
    #[serde(default)]
    pub(crate) clock: Option<String>,
    /// A seed that takes the place of the artifacts' own.
    #[serde(default)]
    pub(crate) seed: Option<PathBuf>,
}

/// What is different about a node from its next start on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Changes {
    /// Name of another backend.
    pub(crate) backend: Option<String>,
    pub(crate) clock: Option<String>,
    pub(crate) seed: Option<PathBuf>,
}

impl Lab {
    /// The node's directory on the lab's private filesystem: it lasts over a power cut and vanishes with the supervisor.
    pub(crate) fn directory_of(&self, guest: &Guest) -> PathBuf {
        self.private().join(&guest.name)
    }

    /// The socket of the node's monitor, where its backend has one.
    pub(crate) fn monitor_of(&self, guest: &Guest) -> PathBuf {
        self.directory_of(guest).join("monitor")
    }

    /// Mount point of the lab's private filesystem, visible only inside its mount namespace.
    pub(crate) fn private(&self) -> PathBuf {
        self.state.join("private")
    }

    /// The file that receives the node's console.
    pub(crate) fn console_of(&self, guest: &Guest) -> PathBuf {
        self.state.join(format!("{}.log", guest.name))
    }

    /// `out/<cluster>/images/<image>` without its suffix.
    pub(crate) fn image_of(&self, guest: &Guest) -> PathBuf {
        self.artifacts.join("images").join(&guest.image)
    }

    /// `out/<cluster>/nodes/<node>`, the directory of the node's own artifacts.
    pub(crate) fn artifacts_of(&self, guest: &Guest) -> PathBuf {
        self.artifacts.join("nodes").join(&guest.name)
    }

    /// Whether the lab's supervisor is root and puts each node into a control group, which containers need. A lab that began without
    /// containers has none.
    pub(crate) fn has_control_groups(&self) -> bool {
        self.guests.iter().any(|guest| guest.backend.needs_root())
    }

    /// MAC address of the bridge: its own would change with its ports, and nodes would not find this machine for a while.
    pub(crate) fn mac(&self) -> String {
        mac(&self.cluster)
    }

    /// The guest of that name.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] that lists the names there are.
    pub(crate) fn guest(&self, name: &str) -> Result<&Guest> {
        self.guests.iter().find(|guest| guest.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.guests.iter().map(|guest| guest.name.as_str()).collect();
            Error::new(Kind::Input, format!("no node named `{name}` in the lab of `{}`", self.cluster))
                .hint(format!("its nodes are {}", names.join(", ")))
        })
    }
}

impl Guest {
    /// File name of the node's network namespace below `/run/netns`, as ip-netns(8) has it.
    pub(crate) fn namespace(&self) -> String {
        self.name.clone()
    }

    /// Name of the tap device or of the bridge's end of the veth pair; at most 15 bytes (IFNAMSIZ).
    pub(crate) fn tap(&self) -> String {
        format!("kiln-n{}", self.index)
    }

    /// Name of the node's port of the lab's bridge while its cable is slow.
    pub(crate) fn slow_port(&self) -> String {
        format!("kiln-s{}", self.index)
    }

    /// Names of the bridge that is on the node's side of the slow piece of its cable, and of its port there.
    pub(crate) fn slow_bridge(&self) -> [String; 2] {
        [format!("kiln-b{}", self.index), format!("kiln-t{}", self.index)]
    }

    /// A locally administered MAC address that depends on cluster and node only.
    pub(crate) fn mac(&self, cluster: &str) -> String {
        mac(&format!("{cluster} {}", self.name))
    }

    /// The node with these changes. A clock goes with a backend that has none.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] for a backend that there is not, or a clock where the backend has none.
    pub(super) fn changed(&self, changes: &Changes) -> Result<Self> {
        let backend = changes.backend.as_deref().map_or(Ok(self.backend), backend::find)?;
        backend::check_clock(backend, changes.clock.as_deref())?;
        let clock = changes.clock.clone().or_else(|| self.clock.clone()).filter(|_| backend.has_clocks());
        let seed = changes.seed.clone().or_else(|| self.seed.clone());
        Ok(Self { backend, clock, seed, ..self.clone() })
    }
}

/// "52:54" is QEMU's customary prefix, with the locally-administered bit set.
fn mac(of: &str) -> String {
    let digest = Digest::of(format!("kiln lab mac {of}").as_bytes());
    let [a, b, c, d, ..] = *digest.as_bytes();
    format!("52:54:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// The part of `manifest.json` that a lab needs.
#[derive(Deserialize)]
struct Manifest {
    cluster: Cluster,
}

#[derive(Deserialize)]
struct Cluster {
    name: String,
    network: Network,
    endpoint: Endpoint,
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Network {
    nodes: IpNet,
    gateway: Option<IpAddr>,
    interface: String,
}

#[derive(Deserialize)]
struct Endpoint {
    vip: Option<IpAddr>,
    balancer: Balancer,
}

#[derive(Deserialize)]
struct Node {
    name: String,
    roles: Vec<String>,
    address: IpAddr,
    #[serde(default)]
    matches: Vec<MatchRule>,
}

impl Lab {
    /// Reads the lab of the published directory `artifacts`, restricted to the nodes named in `only` unless that is empty. Its state
    /// directory is one of `labs`.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if there is no manifest; [`Kind::Input`] if it describes no cluster or lacks a wanted node.
    pub(crate) fn load(artifacts: &Path, labs: &Path, only: &[String]) -> Result<Self> {
        let path = artifacts.join("manifest.json");
        let text = host::fs::read_to_string(&path).map_err(|err| err.hint("run `kiln build` first, or name its output directory"))?;
        let mut lab = Self::parse(&text, artifacts, labs).within(|| format!("reading `{}`", path.display()))?;
        for name in only {
            lab.guest(name)?;
        }
        lab.guests.retain(|guest| only.is_empty() || only.contains(&guest.name));
        Ok(lab)
    }

    fn parse(manifest: &str, artifacts: &Path, labs: &Path) -> Result<Self> {
        let Manifest { cluster } = serde_json::from_str(manifest).doing(Kind::Input, || "parsing the manifest".into())?;
        let taken: Vec<IpAddr> = cluster.nodes.iter().map(|node| node.address).chain(cluster.endpoint.vip).collect();
        let host_address = host_address(&cluster.network, &taken)
            .ok_or_else(|| Error::new(Kind::Input, format!("no address is left for this machine in `{}`", cluster.network.nodes)))?;
        let guest = |(index, node): (usize, Node)| {
            let image = node.roles.join("+");
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
            state: labs.join(&cluster.name),
            cluster: cluster.name,
            artifacts: artifacts.to_owned(),
            network: cluster.network.nodes,
            host_address,
            interface: cluster.network.interface,
            vip: cluster.endpoint.vip,
            shares_load: cluster.endpoint.balancer.proxy.is_some() || !cluster.endpoint.balancer.moves_vip(),
            guests: cluster.nodes.into_iter().enumerate().map(guest).collect(),
        })
    }
}

/// The gateway if no node holds it, else the highest host address that is free.
fn host_address(network: &Network, taken: &[IpAddr]) -> Option<IpAddr> {
    let free = |address: &IpAddr| !taken.contains(address);
    network.gateway.filter(free).or_else(|| last_hosts(&network.nodes, taken.len() + 1).into_iter().find(free))
}

/// The last `count` host addresses of a network, highest first.
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

    /// A lab of two nodes.
    pub(in crate::lab) fn sample() -> Lab {
        parse(&manifest("10.0.0.0/24", "null"))
    }

    fn manifest(network: &str, gateway: &str) -> String {
        format!(
            r#"{{"format":1,"cluster":{{"name":"ha","network":{{"nodes":"{network}","gateway":{gateway},"interface":"lan0"}},
            "endpoint":{{"vip":"10.0.0.5","port":6443,"balancer":"haproxy"}},
            "nodes":[{{"name":"m1","roles":["control-plane"],"address":"10.0.0.6"}},{{"name":"m2","roles":["control-plane","worker"],"address":"10.0.0.4"}}]}}}}"#
        )
    }

    fn parse(manifest: &str) -> Lab {
        Lab::parse(manifest, Path::new("/out"), Path::new("/run/lab")).unwrap()
    }

    #[test]
    fn this_machine_takes_the_gateways_address_or_the_last_free_one() {
        for (network, gateway, expected) in [
            ("10.0.0.0/24", "\"10.0.0.1\"", "10.0.0.1"),
            ("10.0.0.0/24", "null", "10.0.0.254"),
            ("10.0.0.0/29", "null", "10.0.0.3"),
            ("10.0.0.0/29", "\"10.0.0.6\"", "10.0.0.3"),
        ] {
            assert_eq!(parse(&manifest(network, gateway)).host_address.to_string(), expected, "{network} {gateway}");
        }
    }

    #[test]
    fn an_unknown_node_is_answered_with_the_names_there_are() {
        let lab = parse(&manifest("10.0.0.0/24", "null"));
        assert_eq!(lab.guest("m2").unwrap().image, "control-plane+worker");
        let err = lab.guest("m9").unwrap_err();
        assert_eq!(err.to_string(), "no node named `m9` in the lab of `ha`");
        assert_eq!(err.hints(), ["its nodes are m1, m2"]);
    }

    #[test]
    fn a_node_keeps_its_backend_and_clock_until_another_is_named() {
        let table: [(&[(&str, &str)], &str); 6] = [
            (&[("", "")], "nspawn None"),
            (&[("qemu", "")], "qemu None"),
            (&[("qemu", "2001-01-01T00:00:00"), ("", "")], "qemu Some(\"2001-01-01T00:00:00\")"),
            (&[("qemu", "2001-01-01T00:00:00"), ("nspawn", "")], "nspawn None"),
            (&[("", "2001-01-01T00:00:00")], "nodes of the nspawn backend have this machine's clock"),
            (&[("podman", "")], "no lab backend named `podman`"),
        ];
        for (starts, expected) in table {
            let given = |word: &str| Some(word.to_owned()).filter(|word| !word.is_empty());
            let start = |guest: Guest, (backend, clock): &(&str, &str)| {
                guest.changed(&Changes { backend: given(backend), clock: given(clock), seed: None })
            };
            let guest = starts.iter().try_fold(sample().guests[0].clone(), start);
            let found = guest.map_or_else(|err| err.to_string(), |guest| format!("{} {:?}", guest.backend.name(), guest.clock));
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
