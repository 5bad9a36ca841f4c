//! A running cluster in the lab, and checks that every cluster must pass.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::common::lab::{Client, FAILOVER, Lab, PATIENCE, etcd_is_healthy, eventually, succeeded};
use crate::common::{Variant, approve, built, images};

pub(crate) const RAW: (&str, &str) =
    ("# [outputs]\n# formats = [\"raw\", \"qcow2\"]", "[outputs]\nformats = [\"raw\"]");
pub(crate) const MASTERS: [&str; 3] = ["10.0.0.11", "10.0.0.12", "10.0.0.13"];

/// A cluster in the lab that has started and is healthy.
pub(crate) struct Running {
    pub(crate) lab: Lab,
    pub(crate) client: Client,
    /// The address to which clients connect.
    pub(crate) endpoint: &'static str,
    _scratch: tempfile::TempDir,
}

/// Expected properties of a variant's cluster.
pub(crate) struct Expected {
    pub(crate) endpoint: &'static str,
    /// The node of an etcd member.
    pub(crate) member: &'static str,
    /// Addresses of all etcd members.
    pub(crate) members: [&'static str; 3],
    /// The number of machines with a kubelet.
    pub(crate) kubelets: usize,
}

impl Running {
    /// Boots all machines of a variant at once, without anyone logging in. `before` runs once the network
    /// is up.
    pub(crate) fn new<T>(
        variant: &Variant,
        expected: &Expected,
        before: impl FnOnce(&Lab) -> T,
    ) -> Option<(Self, T)> {
        let (lab, site) = (Lab::new()?, built(variant)?);
        let scratch = tempfile::tempdir().unwrap();
        let client = Client::new(&site, scratch.path())?;
        lab.up(&client.artifacts);
        let made = before(&lab);
        let running = Self { lab, client, endpoint: expected.endpoint, _scratch: scratch };
        eventually("etcd is healthy", PATIENCE, || {
            etcd_is_healthy(&running.lab, &expected.members, expected.member)
        });
        eventually("the endpoint answers", PATIENCE, || running.ready());
        eventually("every node is ready, network included", PATIENCE, || {
            let ready = "--output=jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
            let nodes = running.client.kubectl(&running.lab, &["get", "nodes", ready]);
            let count = String::from_utf8_lossy(&nodes.stdout)
                .split_whitespace()
                .filter(|status| *status == "True")
                .count();
            if count == expected.kubelets {
                Ok(())
            } else {
                Err(format!("{count} of {}: {nodes:?}", expected.kubelets))
            }
        });
        running.is_closed_to_strangers();
        Some((running, made))
    }

    /// Checks that machines outside the cluster reach API servers and the endpoint, but not etcd or kubelets.
    fn is_closed_to_strangers(&self) {
        let (host, port) = self.endpoint.rsplit_once(':').unwrap();
        let master = &*self.lab.address("m1");
        for (address, port, expected) in [
            (host.trim_matches(['[', ']']), port.parse().unwrap(), true),
            (master, 6443, true),
            (master, 10256, true),
            (master, 30000, true),
            (master, 10250, false),
            (master, 2379, false),
            (master, 2380, false),
            (master, 9, false),
        ] {
            assert_eq!(self.lab.reaches(None, address, port), expected, "{address}:{port}");
        }
    }

    /// Connects a network namespace on `node` to the pod network, as a container runtime does for a pod, and
    /// returns its address.
    pub(crate) fn pod_on(&self, node: &str) -> String {
        let list =
            approve(self.lab.kiln(&["exec", node, "--"]).args(["cat", "/etc/cni/net.d/10-kiln.conflist"]));
        let list: Value = serde_json::from_str(&list).unwrap();
        let mut plugin = list["plugins"][0].clone();
        plugin["cniVersion"] = list["cniVersion"].clone();
        plugin["name"] = list["name"].clone();
        let script = "ip netns add probe && export CNI_COMMAND=ADD CNI_CONTAINERID=probe \
            CNI_NETNS=/run/netns/probe CNI_IFNAME=eth0 \
                      CNI_PATH=/opt/cni/bin && echo \"$0\" | /opt/cni/bin/bridge";
        let result =
            approve(self.lab.kiln(&["exec", node, "--"]).args(["sh", "-c", script, &plugin.to_string()]));
        let result: Value = serde_json::from_str(&result).unwrap();
        result["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().to_owned()
    }

    /// Checks that pods on different nodes reach each other, API servers, kubelets and machines without a
    /// route to pods, but not etcd.
    pub(crate) fn pods_reach_what_they_should(&self, nodes: [&str; 2]) {
        let addresses = nodes.map(|node| self.pod_on(node));
        let gateway = "10.0.0.1";
        for (address, port, expected) in [
            (&*addresses[1], 9, true),
            (MASTERS[0], 6443, true),
            (MASTERS[1], 10250, true),
            (gateway, 9, true),
            (MASTERS[0], 2379, false),
        ] {
            let script = format!("ip netns exec probe timeout 3 bash -c ': </dev/tcp/{address}/{port}'");
            let output = self.lab.inside(nodes[0], &["sh", "-c", &script]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                output.status.success() || said.contains("refused"),
                expected,
                "{address}:{port}: {output:?}"
            );
        }
        assert!(
            self.lab.reaches(Some(nodes[0]), &addresses[1], 9),
            "a node cannot reach a pod on another node"
        );
        let networks =
            self.client.kubectl(&self.lab, &["get", "nodes", "--output=jsonpath={.items[*].spec.podCIDR}"]);
        succeeded(&networks, "10.244.21.0/24").unwrap();
    }

    /// Checks that the cluster accepts CoreDNS and that the scheduler has assigned its two pods to different
    /// nodes. Its image is not available here.
    pub(crate) fn has_dns_on_two_nodes(&self) {
        eventually("CoreDNS is on two nodes", PATIENCE, || {
            let pods = [
                "--namespace=kube-system",
                "get",
                "pods",
                "--selector=k8s-app=kube-dns",
                "--output=jsonpath={.items[*].spec.nodeName}",
            ];
            let output = self.client.kubectl(&self.lab, &pods);
            let names = String::from_utf8_lossy(&output.stdout).into_owned();
            let nodes: BTreeSet<&str> = names.split_whitespace().collect();
            if nodes.len() == 2 && names.split_whitespace().count() == 2 {
                Ok(())
            } else {
                Err(format!("{output:?}"))
            }
        });
        let address = [
            "--namespace=kube-system",
            "get",
            "service,poddisruptionbudget",
            "--output=jsonpath={.items[*].spec}",
        ];
        let output = self.client.kubectl(&self.lab, &address);
        succeeded(&output, "10.96.0.10").and_then(|()| succeeded(&output, "minAvailable")).unwrap();
    }

    /// Checks that the API server accepts flannel's objects and plans a flannel pod on every node. Its
    /// image is not available here.
    pub(crate) fn takes_flannel(&self) {
        let scratch = tempfile::tempdir().unwrap();
        let kiln = |arguments: &[&str]| {
            approve(Command::new(env!("CARGO_BIN_EXE_kiln")).current_dir(scratch.path()).args(arguments))
        };
        kiln(&["init", "--profile", "external-lb"]);
        let file = scratch.path().join("cluster.toml");
        let text =
            fs::read_to_string(&file).unwrap().replacen("[network]", "[network]\nplugin = \"flannel\"", 1);
        fs::write(&file, text).unwrap();
        let objects = scratch.path().join("flannel.yaml");
        fs::write(&objects, kiln(&["render", "m1", "/etc/kubernetes/bootstrap/20-flannel.yaml", "--quiet"]))
            .unwrap();
        let kubectl = |arguments: &[&str]| self.client.kubectl(&self.lab, arguments);
        succeeded(
            &kubectl(&["apply", "--filename", objects.to_str().unwrap()]),
            "daemonset.apps/flannel created",
        )
        .unwrap();
        let wanted = [
            "--namespace=kube-flannel",
            "get",
            "daemonset",
            "flannel",
            "--output=jsonpath={.status.desiredNumberScheduled}",
        ];
        eventually("flannel is scheduled on every node", PATIENCE, || match kubectl(&wanted) {
            output if output.stdout == b"5" => Ok(()),
            output => Err(format!("{output:?}")),
        });
        succeeded(&kubectl(&["delete", "namespace", "kube-flannel", "--wait=false"]), "deleted").unwrap();
    }

    pub(crate) fn ready(&self) -> Result<(), String> {
        self.client.ready(&self.lab, self.endpoint)
    }

    pub(crate) fn kill(&self, node: &str) {
        approve(&mut self.lab.kiln(&["kill", node]));
    }

    pub(crate) fn holder(&self) -> Result<String, String> {
        self.lab.holder()
    }

    pub(crate) fn one_holder(&self) -> String {
        self.lab.one_holder()
    }

    /// Checks that the endpoint accepts writes.
    pub(crate) fn is_writable(&self, name: &str) {
        let create = ["create", "configmap", name];
        eventually("an object is written", FAILOVER, || {
            succeeded(&self.client.kubectl(&self.lab, &create), "created")
        });
    }

    /// Like [`Self::survives_the_holder`], but only in `ci/test all`, because `sister`, the test of another
    /// profile, covers the same failure.
    pub(crate) fn survives_the_holder_as(&self, sister: &str) {
        if std::env::var_os("KILN_TEST_ALL").is_some() {
            self.survives_the_holder();
        } else {
            eprintln!("the loss of the VIP holder is covered by {sister}, and here by `ci/test all`");
        }
    }

    /// Cuts the power of the VIP holder and checks that the VIP moves and that reads and writes continue.
    /// Returns the lost machine.
    pub(crate) fn survives_the_holder(&self) -> String {
        self.is_writable("before");
        let lost = self.one_holder();
        self.kill(&lost);
        let moved = eventually("the VIP answers again", FAILOVER, || self.ready());
        assert_ne!(self.one_holder(), lost);
        eventually("earlier writes are still there", FAILOVER, || {
            succeeded(&self.client.kubectl(&self.lab, &["get", "configmap", "before"]), "before")
        });
        self.is_writable("after");
        eprintln!("{}: the VIP answers after {moved:.1?}", self.client.artifacts.display());
        lost
    }

    /// Checks that no powered machine has a failed unit, and that the lab leaves nothing behind.
    pub(crate) fn ends_well(&self) {
        eventually("no unit has failed", PATIENCE, || {
            let powered = self.lab.status().into_iter().filter(|node| node["running"] == true);
            let bad: Vec<Value> = powered.filter(|node| node["system"] != "running").collect();
            if bad.is_empty() { Ok(()) } else { Err(serde_json::to_string_pretty(&bad).unwrap()) }
        });
        approve(&mut self.lab.kiln(&["down"]));
        self.lab.assert_gone();
    }
}

/// A change that adds the test images (ci/images) to a cluster file without images.
pub(crate) fn with_images() -> Option<(&'static str, &'static str)> {
    let directory = images()?;
    let table = format!("[[images]]\ndirectory = \"{}\"", directory.display());
    Some(("# [[images]]\n# directory = \"images\"", Box::leak(table.into_boxed_str())))
}
