//! `cloud-init`: the same nodes on stock Debian cloud images, configured at first boot by cloud-init instead
//! of kiln's agent.
//!
//! Each node receives user-data, meta-data and network-config, as files and on a NoCloud volume
//! (<https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html>). Packages and programs
//! come from the network, so two machines set up at different times may differ, unlike with kiln's own
//! images.

mod network;
mod user_data;

use std::collections::BTreeMap;

use serde_json::json;

use crate::base::Lock;
use crate::cluster::{Cluster, Node};
use crate::digest::Digest;
use crate::disk::fat;
use crate::error::Result;
use crate::overlay::User;
use crate::tree::Tree;
use crate::yaml;

/// Inputs for a node's documents.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) node: &'a Node,
    /// The node's own tree: files under `/etc`.
    pub(crate) seed: &'a Tree,
    /// Files of the role's overlays elsewhere.
    pub(crate) role: &'a Tree,
    /// Debian packages, without versions, because a stock image installs the versions that its mirror offers.
    pub(crate) packages: &'a [String],
    /// Names of Kubernetes programs; the lock contains their digests.
    pub(crate) programs: &'a [String],
    /// Digest of kiln itself, if a unit of the machine runs it.
    pub(crate) agent: Option<Digest>,
    /// Time at which the newest certificate became valid, in seconds since 1970.
    pub(crate) not_before: u64,
    pub(crate) users: &'a [User],
    pub(crate) lock: &'a Lock,
}

/// Documents that cloud-init reads. `user_data` contains the node's private keys.
pub(crate) struct Documents {
    pub(crate) user_data: String,
    pub(crate) meta_data: String,
    pub(crate) network_config: String,
}

/// Builds a node's documents.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] if the lock lacks the digest of a program or an archive.
pub(crate) fn documents(input: &Input<'_>) -> Result<Documents> {
    let user_data = format!("#cloud-config\n{}", yaml::to_string(&user_data::user_data(input)?)?);
    let network_config = yaml::to_string(&network::config(input.cluster, input.node))?;
    // A new instance ID makes cloud-init apply changed documents at the next boot.
    let digest = Digest::of(format!("{user_data}{network_config}").as_bytes());
    let instance = format!("{}-{}-{}", input.cluster.name, input.node.name, digest.short());
    let meta_data = yaml::to_string(&json!({ "instance-id": instance, "local-hostname": input.node.name }))?;
    Ok(Documents { user_data, meta_data, network_config })
}

impl Documents {
    /// Builds the volume that cloud-init finds by its label.
    ///
    /// # Errors
    ///
    /// Same as [`fat::write`].
    pub(crate) fn volume(&self, epoch: u64) -> Result<Vec<u8>> {
        let files = [
            ("user-data", &self.user_data),
            ("meta-data", &self.meta_data),
            ("network-config", &self.network_config),
        ];
        let files: BTreeMap<String, Vec<u8>> =
            files.map(|(name, text)| (name.to_owned(), text.clone().into_bytes())).into();
        let [a, b, c, d, ..] = *Digest::of(self.meta_data.as_bytes()).as_bytes();
        let serial = u32::from_be_bytes([a, b, c, d]);
        fat::write(
            &files,
            &fat::Options { variant: fat::Variant::Any, label: "CIDATA", serial, epoch, size: 0 },
        )
    }
}

/// Never shows keys.
impl std::fmt::Debug for Documents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes of user-data", self.user_data.len())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use super::{Documents, Input, documents};
    use crate::base::{ArchivePin, BinaryPin, Lock};
    use crate::cluster::{Cluster, MatchRule};
    use crate::digest::Digest;
    use crate::host;
    use crate::judge::{accepts, judge};
    use crate::overlay::Overlays;
    use crate::pki::Options;
    use crate::pki::tests::{sample, vault};
    use crate::render;
    use crate::words::{Arch, BinarySource, Cgroups, Role};

    const URL: &str = "https://dl.k8s.io/v1.20.2/kubernetes-server-linux-amd64.tar.gz";

    fn cluster() -> Cluster {
        let mut cluster = sample();
        let control_plane = [
            "base",
            "node-prep",
            "etcd",
            "kube-apiserver",
            "kubelet",
            "haproxy-service",
            "keepalived-service",
            "rbac",
        ];
        let overlays = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        cluster.overlays = BTreeMap::from([
            (Role::ControlPlane, overlays(&control_plane)),
            (Role::Worker, overlays(&["base", "node-prep", "kubelet"])),
        ]);
        cluster.binaries = vec![BinarySource::Archive { url: URL.into(), sha256: None }];
        cluster.network.gateway = Some("10.0.0.1".parse().unwrap());
        cluster.network.dns = vec!["10.0.0.2".parse().unwrap()];
        cluster.nodes[0].matches = vec![MatchRule::Mac("52:54:00:00:00:0b".into())];
        cluster
    }

    fn lock(programs: &[String]) -> Lock {
        let mut lock = Lock::new("trixie", Arch::Amd64);
        lock.archives = vec![ArchivePin {
            file: "kubernetes-server-linux-amd64.tar.gz".into(),
            size: 1,
            sha256: Digest::of(b"archive"),
        }];
        lock.binaries = programs
            .iter()
            .map(|name| BinaryPin { name: name.clone(), size: 1, sha256: Digest::of(name.as_bytes()) })
            .collect();
        lock
    }

    /// Returns every node's documents.
    fn all(cluster: &Cluster) -> Vec<(String, Documents)> {
        let (_dir, vault) = vault(cluster, Options::default());
        let (pki, overlays) = (vault.pki(cluster).unwrap(), Overlays::load(&[]).unwrap());
        let of_node = |node: &crate::cluster::Node| {
            let needs = render::requirements(cluster, &node.image(), &overlays).unwrap();
            let (seed, role) = (
                render::node(cluster, node, &pki, &overlays).unwrap(),
                render::role(cluster, &node.image(), &overlays).unwrap(),
            );
            let (packages, programs, users, lock) =
                (&needs.packages, &needs.binaries, &needs.users, &lock(&needs.binaries));
            let agent = needs.agent.then(|| Digest::of(b"kiln"));
            let input = Input {
                cluster,
                node,
                seed: &seed,
                role: &role,
                packages,
                programs,
                agent,
                not_before: 1_700_000_000,
                users,
                lock,
            };
            let made = documents(&input).unwrap();
            let again = documents(&input).unwrap();
            assert!(
                made.user_data == again.user_data && made.volume(1).unwrap() == again.volume(1).unwrap(),
                "two runs differ"
            );
            (node.name.clone(), made)
        };
        cluster.nodes.iter().map(of_node).collect()
    }

    /// Returns the value that PyYAML reads.
    fn parsed(text: &str) -> Option<Value> {
        let script = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin.buffer.read()), sys.stdout)";
        let output =
            host::process::run_with_input(judge("python3")?.args(["-c", script]), text.as_bytes()).unwrap();
        Some(serde_json::from_slice(&output.stdout).unwrap())
    }

    #[test]
    fn cloud_init_accepts_the_user_data_of_every_node() {
        let dir = tempfile::tempdir().unwrap();
        let old = {
            let mut cluster = cluster();
            cluster.base.cgroups = Cgroups::V1;
            cluster
        };
        for (node, made) in all(&cluster()).into_iter().chain(all(&old)) {
            let Some(mut cloud_init) = judge("cloud-init") else { return };
            let path = dir.path().join("user-data");
            host::fs::write_atomic(&path, made.user_data.as_bytes(), host::fs::PRIVATE).unwrap();
            let said = accepts(cloud_init.args(["schema", "--config-file"]).arg(&path));
            assert!(said.contains("Valid") && !said.to_lowercase().contains("deprecat"), "{node}: {said}");
        }
    }

    #[test]
    fn a_system_whose_command_line_is_to_change_starts_again_once_it_has_changed() {
        let mut cluster = cluster();
        let settings = |cluster: &Cluster| parsed(&all(cluster)[0].1.user_data);
        let Some(usual) = settings(&cluster) else { return };
        assert!(usual.get("power_state").is_none(), "{usual}");
        cluster.base.cgroups = Cgroups::V1;
        let changed = settings(&cluster).unwrap();
        assert_eq!(
            changed["runcmd"].as_array().unwrap().last().unwrap(),
            &serde_json::json!(["update-grub"])
        );
        let grub = changed["write_files"]
            .as_array()
            .unwrap()
            .iter()
            .find(|file| file["path"] == "/etc/default/grub.d/90-kiln.cfg")
            .unwrap();
        let line = "GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX systemd.unified_cgroup_hierarchy=0 \
            systemd.legacy_systemd_cgroup_controller=1\"\n";
        assert!(grub["content"].as_str().unwrap().ends_with(line), "{grub}");
        let condition = changed["power_state"]["condition"].as_str().unwrap();
        let starts_again = |command_line: &str| {
            let script = condition.replace("/proc/cmdline", "/dev/stdin");
            host::process::run_with_input(
                host::process::command("sh").args(["-c", &script]),
                command_line.as_bytes(),
            )
            .is_ok()
        };
        assert!(starts_again("root=/dev/vda1 quiet\n"));
        assert!(!starts_again("root=/dev/vda1 systemd.unified_cgroup_hierarchy=0 quiet\n"));
    }

    #[test]
    fn every_file_with_a_key_is_private_and_its_directory_closed_before() {
        for (node, made) in all(&cluster()) {
            let Some(data) = parsed(&made.user_data) else { return };
            let closed: Vec<&str> =
                data["bootcmd"][2].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let mut keys = 0;
            for file in data["write_files"].as_array().unwrap() {
                let path = file["path"].as_str().unwrap();
                if path.ends_with(".key") || path.ends_with(".conf") && path.starts_with("/etc/kubernetes/") {
                    keys += 1;
                    assert!(
                        file["permissions"].as_str().unwrap().ends_with('0'),
                        "{path} of {node} is open to all"
                    );
                    assert!(closed.contains(&path.rsplit_once('/').unwrap().0), "{path} of {node}");
                }
            }
            assert!(keys >= 2, "{node} has {keys} keys");
        }
    }

    #[test]
    fn a_clock_behind_the_certificates_is_raised_first_and_no_other_is_set() {
        let Some(data) = parsed(&all(&cluster())[0].1.user_data) else { return };
        let command = data["bootcmd"][0][2].as_str().unwrap();
        let sets = |now: &str| {
            let date = format!("date() {{ [ \"$1\" = +%s ] && echo {now} || echo \"$@\"; }}; {command}");
            let said = host::process::run(host::process::command("sh").args(["-c", &date])).unwrap();
            String::from_utf8(said.stdout).unwrap()
        };
        assert_eq!(sets("978307200"), "--utc --set=@1700000000\n");
        assert_eq!(sets("1700000001"), "");
    }

    #[test]
    fn the_network_is_matched_by_address_where_the_cluster_file_names_one() {
        let made = all(&cluster());
        insta::assert_snapshot!(made[0].1.network_config, @r#"
        ethernets:
          lan0:
            addresses:
            - "10.0.0.11/24"
            dhcp4: false
            dhcp6: false
            match:
              macaddress: "52:54:00:00:00:0b"
            nameservers:
              addresses:
              - "10.0.0.2"
            routes:
            - to: "0.0.0.0/0"
              via: "10.0.0.1"
            set-name: lan0
        version: 2
        "#);
        insta::assert_snapshot!(made[1].1.network_config, @r#"
        ethernets:
          lan0:
            addresses:
            - "10.0.0.12/24"
            dhcp4: false
            dhcp6: false
            match:
              name: "[el][!o]*"
            nameservers:
              addresses:
              - "10.0.0.2"
            routes:
            - to: "0.0.0.0/0"
              via: "10.0.0.1"
        version: 2
        "#);
    }

    #[test]
    fn the_volume_is_what_cloud_init_looks_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("volume");
        let (_, made) = all(&cluster()).remove(0);
        host::fs::write_atomic(&path, &made.volume(1_700_000_000).unwrap(), host::fs::PRIVATE).unwrap();
        let (Some(mut blkid), Some(mut mtype)) = (judge("blkid"), judge("mtype")) else { return };
        assert_eq!(accepts(blkid.args(["-o", "value", "-s", "LABEL"]).arg(&path)).trim(), "CIDATA");
        assert_eq!(accepts(mtype.arg("-i").arg(&path).arg("::user-data")), made.user_data);
    }

    #[test]
    fn another_seed_is_another_instance_of_the_same_machine() {
        let ids = |made: Vec<(String, Documents)>| {
            made.into_iter().map(|(_, made)| parsed(&made.meta_data)).collect::<Option<Vec<_>>>()
        };
        let (Some(first), Some(second)) = (ids(all(&cluster())), ids(all(&cluster()))) else { return };
        for (first, second) in first.iter().zip(&second) {
            assert_eq!(first["local-hostname"], second["local-hostname"]);
            assert_ne!(first["instance-id"], second["instance-id"], "the vaults differ");
        }
    }

    #[test]
    fn programs_come_with_the_digests_of_the_lock() {
        let mut made = all(&cluster());
        let Some(data) = parsed(&made.remove(0).1.user_data) else { return };
        let file = |name: &str| {
            let files = data["write_files"].as_array().unwrap();
            files.iter().find(|file| file["path"] == name).unwrap()["content"].as_str().unwrap().to_owned()
        };
        assert_eq!(file("/usr/local/lib/kiln/archives"), format!("{}\t{URL}\n", Digest::of(b"archive")));
        assert!(
            file("/usr/local/lib/kiln/programs")
                .contains(&format!("{}  /usr/bin/kubelet\n", Digest::of(b"kubelet")))
        );
        assert!(file("/usr/local/lib/kiln/units").contains("kubelet.service\n"));
    }

    #[test]
    fn shellcheck_accepts_the_setup_script() {
        let Some(mut shellcheck) = judge("shellcheck") else { return };
        accepts(
            shellcheck
                .args(["--shell=sh", concat!(env!("CARGO_MANIFEST_DIR"), "/src/output/cloud_init/setup.sh")]),
        );
    }
}
