//! Every other profile on this machine: its cluster comes up by itself and survives what the profile says that it survives.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::print_stderr, reason = "tests look at the world as users do")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};

use common::lab::{Client, FAILOVER, Lab, PATIENCE, etcd_is_healthy, eventually, succeeded};
use common::{Variant, approve, built, images, judge};
use serde_json::Value;

const RAW: (&str, &str) = ("# [outputs]\n# formats = [\"raw\", \"qcow2\"]", "[outputs]\nformats = [\"raw\"]");
const MASTERS: [&str; 3] = ["10.0.0.11", "10.0.0.12", "10.0.0.13"];

/// A cluster in the lab, up and asked for its health.
struct Running {
    lab: Lab,
    client: Client,
    /// What clients dial.
    endpoint: &'static str,
    _scratch: tempfile::TempDir,
}

/// What a variant must become.
struct Expected {
    endpoint: &'static str,
    /// A member of etcd, and the addresses of all.
    member: &'static str,
    members: [&'static str; 3],
    /// How many machines have a kubelet.
    kubelets: usize,
}

impl Running {
    /// Boots a variant, all machines at once and nobody logged in. `before` runs when the network is there.
    fn new<T>(variant: &Variant, expected: &Expected, before: impl FnOnce(&Lab) -> T) -> Option<(Self, T)> {
        let (lab, site) = (Lab::new()?, built(variant)?);
        let scratch = tempfile::tempdir().unwrap();
        let client = Client::new(&site, scratch.path())?;
        lab.up(&client.artifacts);
        let made = before(&lab);
        let running = Self { lab, client, endpoint: expected.endpoint, _scratch: scratch };
        eventually("etcd is healthy", PATIENCE, || etcd_is_healthy(&running.lab, &expected.members, expected.member));
        eventually("the endpoint answers", PATIENCE, || running.ready());
        eventually("every node is ready, network included", PATIENCE, || {
            let ready = "--output=jsonpath={.items[*].status.conditions[?(@.type==\"Ready\")].status}";
            let nodes = running.client.kubectl(&running.lab, &["get", "nodes", ready]);
            let count = String::from_utf8_lossy(&nodes.stdout).split_whitespace().filter(|status| *status == "True").count();
            if count == expected.kubelets { Ok(()) } else { Err(format!("{count} of {}: {nodes:?}", expected.kubelets)) }
        });
        running.is_closed_to_strangers();
        Some((running, made))
    }

    /// Who is no machine of the cluster reaches API servers and the endpoint, and neither etcd nor kubelets.
    fn is_closed_to_strangers(&self) {
        let (host, port) = self.endpoint.split_once(':').unwrap();
        for (address, port, expected) in [
            (host, port.parse().unwrap(), true),
            (MASTERS[0], 6443, true),
            (MASTERS[0], 10256, true),
            (MASTERS[0], 30000, true),
            (MASTERS[0], 10250, false),
            (MASTERS[0], 2379, false),
            (MASTERS[0], 2380, false),
            (MASTERS[0], 9, false),
        ] {
            assert_eq!(self.lab.reaches(None, address, port), expected, "{address}:{port}");
        }
    }

    /// Does for a network namespace on `node` what a container runtime does for a pod, and returns the pod's address.
    fn pod_on(&self, node: &str) -> String {
        let list = approve(self.lab.kiln(&["exec", node, "--"]).args(["cat", "/etc/cni/net.d/10-kiln.conflist"]));
        let list: Value = serde_json::from_str(&list).unwrap();
        let mut plugin = list["plugins"][0].clone();
        plugin["cniVersion"] = list["cniVersion"].clone();
        plugin["name"] = list["name"].clone();
        let script = "ip netns add probe && export CNI_COMMAND=ADD CNI_CONTAINERID=probe CNI_NETNS=/run/netns/probe CNI_IFNAME=eth0 \
                      CNI_PATH=/opt/cni/bin && echo \"$0\" | /opt/cni/bin/bridge";
        let result = approve(self.lab.kiln(&["exec", node, "--"]).args(["sh", "-c", script, &plugin.to_string()]));
        let result: Value = serde_json::from_str(&result).unwrap();
        result["ips"][0]["address"].as_str().unwrap().split('/').next().unwrap().to_owned()
    }

    /// Pods of different nodes reach each other, API servers, kubelets and machines that know nothing of pods; and not etcd.
    fn pods_reach_what_they_should(&self, nodes: [&str; 2]) {
        let addresses = nodes.map(|node| self.pod_on(node));
        let gateway = "10.0.0.1";
        for (address, port, expected) in
            [(&*addresses[1], 9, true), (MASTERS[0], 6443, true), (MASTERS[1], 10250, true), (gateway, 9, true), (MASTERS[0], 2379, false)]
        {
            let script = format!("ip netns exec probe timeout 3 bash -c ': </dev/tcp/{address}/{port}'");
            let output = self.lab.inside(nodes[0], &["sh", "-c", &script]);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.success() || said.contains("refused"), expected, "{address}:{port}: {output:?}");
        }
        assert!(self.lab.reaches(Some(nodes[0]), &addresses[1], 9), "a node reaches pods of another");
        let networks = self.client.kubectl(&self.lab, &["get", "nodes", "--output=jsonpath={.items[*].spec.podCIDR}"]);
        succeeded(&networks, "10.244.21.0/24").unwrap();
    }

    /// The cluster took CoreDNS, and the scheduler has put its two pods on different nodes; nobody here has its image.
    fn has_dns_on_two_nodes(&self) {
        eventually("CoreDNS is on two nodes", PATIENCE, || {
            let pods =
                ["--namespace=kube-system", "get", "pods", "--selector=k8s-app=kube-dns", "--output=jsonpath={.items[*].spec.nodeName}"];
            let output = self.client.kubectl(&self.lab, &pods);
            let names = String::from_utf8_lossy(&output.stdout).into_owned();
            let nodes: BTreeSet<&str> = names.split_whitespace().collect();
            if nodes.len() == 2 && names.split_whitespace().count() == 2 { Ok(()) } else { Err(format!("{output:?}")) }
        });
        let address = ["--namespace=kube-system", "get", "service,poddisruptionbudget", "--output=jsonpath={.items[*].spec}"];
        let output = self.client.kubectl(&self.lab, &address);
        succeeded(&output, "10.96.0.10").and_then(|()| succeeded(&output, "minAvailable")).unwrap();
    }

    /// The API server takes flannel's objects and wants a pod of it on every node. Nobody here has its image.
    fn takes_flannel(&self) {
        let scratch = tempfile::tempdir().unwrap();
        let kiln = |arguments: &[&str]| approve(Command::new(env!("CARGO_BIN_EXE_kiln")).current_dir(scratch.path()).args(arguments));
        kiln(&["init", "--profile", "external-lb"]);
        let file = scratch.path().join("cluster.toml");
        let text = fs::read_to_string(&file).unwrap().replacen("[network]", "[network]\nplugin = \"flannel\"", 1);
        fs::write(&file, text).unwrap();
        let objects = scratch.path().join("flannel.yaml");
        fs::write(&objects, kiln(&["render", "m1", "/etc/kubernetes/bootstrap/20-flannel.yaml", "--quiet"])).unwrap();
        let kubectl = |arguments: &[&str]| self.client.kubectl(&self.lab, arguments);
        succeeded(&kubectl(&["apply", "--filename", objects.to_str().unwrap()]), "daemonset.apps/flannel created").unwrap();
        let wanted = ["--namespace=kube-flannel", "get", "daemonset", "flannel", "--output=jsonpath={.status.desiredNumberScheduled}"];
        eventually("flannel is wanted on every node", PATIENCE, || match kubectl(&wanted) {
            output if output.stdout == b"5" => Ok(()),
            output => Err(format!("{output:?}")),
        });
        succeeded(&kubectl(&["delete", "namespace", "kube-flannel", "--wait=false"]), "deleted").unwrap();
    }

    fn ready(&self) -> Result<(), String> {
        self.client.ready(&self.lab, self.endpoint)
    }

    fn kill(&self, node: &str) {
        approve(&mut self.lab.kiln(&["kill", node]));
    }

    fn holder(&self) -> Result<String, String> {
        match &self.lab.holders()[..] {
            [holder] => Ok(holder.clone()),
            holders => Err(format!("{holders:?} hold the VIP")),
        }
    }

    /// Writes through the endpoint.
    fn is_writable(&self, name: &str) {
        let create = ["create", "configmap", name];
        eventually("an object is written", FAILOVER, || succeeded(&self.client.kubectl(&self.lab, &create), "created"));
    }

    /// Cuts the power of the machine that holds the VIP: another one has it, and everything goes on. Returns the dead machine.
    fn survives_the_holder(&self) -> String {
        self.is_writable("before");
        let lost = self.holder().unwrap();
        self.kill(&lost);
        let moved = eventually("the VIP answers again", FAILOVER, || self.ready());
        assert_ne!(self.holder().unwrap(), lost);
        eventually("what was written is there", FAILOVER, || {
            succeeded(&self.client.kubectl(&self.lab, &["get", "configmap", "before"]), "before")
        });
        self.is_writable("after");
        eprintln!("{}: the VIP answers after {moved:.1?}", self.client.artifacts.display());
        lost
    }

    /// Every machine with power has started all that it should; then nothing of the lab is left.
    fn ends_well(&self) {
        eventually("no unit has failed", PATIENCE, || {
            let powered = self.lab.status().into_iter().filter(|node| node["running"] == true);
            let bad: Vec<Value> = powered.filter(|node| node["system"] != "running").collect();
            if bad.is_empty() { Ok(()) } else { Err(serde_json::to_string_pretty(&bad).unwrap()) }
        });
        approve(&mut self.lab.kiln(&["down"]));
        self.lab.assert_gone();
    }
}

#[test]
fn external_lb_survives_a_balancer_and_a_control_plane_node() {
    const DNS: (&str, &str) = ("[endpoint]", "[overlays.control-plane]\nadd = [\"coredns\"]\n\n[endpoint]");
    let variant = Variant { name: "external-lb", profile: "external-lb", changes: &[RAW, DNS] };
    let expected = Expected { endpoint: "10.0.0.10:6443", member: "m1", members: MASTERS, kubelets: 5 };
    let Some((running, ())) = Running::new(&variant, &expected, |_| ()) else { return };
    running.pods_reach_what_they_should(["w1", "w2"]);
    running.has_dns_on_two_nodes();
    running.takes_flannel();
    for (from, port, expected) in [("m2", 2379, true), ("w1", 2379, false), ("l1", 2380, false), ("w1", 10250, true), ("w1", 10257, false)]
    {
        assert_eq!(running.lab.reaches(Some(from), MASTERS[0], port), expected, "{from} to {port}");
    }
    assert!(running.survives_the_holder().starts_with('l'), "a balancer holds the VIP");
    running.kill("m1");
    running.is_writable("without-m1");
    running.ends_well();
}

#[test]
fn nginx_balances_on_machines_of_its_own_before_a_control_plane_whose_etcd_is_elsewhere() {
    const ETCD: (&str, &str) = (
        "# Keys and certificates;",
        "[[nodes]]\nname = \"e1\"\nroles = [\"etcd\"]\naddress = \"10.0.0.31\"\n\n[[nodes]]\nname = \"e2\"\nroles = [\"etcd\"]\naddress = \"10.0.0.32\"\n\n\
         [[nodes]]\nname = \"e3\"\nroles = [\"etcd\"]\naddress = \"10.0.0.33\"\n\n# Keys and certificates;",
    );
    const NGINX: (&str, &str) = ("# balancer = \"haproxy\"", "balancer = \"nginx\"");
    let variant = Variant { name: "external-lb-apart", profile: "external-lb", changes: &[RAW, ETCD, NGINX] };
    let members = ["10.0.0.31", "10.0.0.32", "10.0.0.33"];
    let expected = Expected { endpoint: "10.0.0.10:6443", member: "e2", members, kubelets: 5 };
    let Some((running, ())) = Running::new(&variant, &expected, |_| ()) else { return };
    assert!(running.survives_the_holder().starts_with('l'), "a balancer holds the VIP");
    running.kill("e1");
    running.is_writable("without-e1");
    running.ends_well();
}

#[test]
fn nginx_carries_the_vip_as_haproxy_does() {
    let variant = Variant { name: "ha-nginx", profile: "ha", changes: &[RAW, ("vip = ", "balancer = \"nginx\"\nvip = ")] };
    let expected = Expected { endpoint: "10.0.0.10:8443", member: "m1", members: MASTERS, kubelets: 3 };
    let Some((running, ())) = Running::new(&variant, &expected, |_| ()) else { return };
    let holder = running.holder().unwrap();
    approve(running.lab.kiln(&["exec", &holder, "--"]).args(["systemctl", "stop", "nginx.service"]));
    eventually("the VIP has left the node without nginx", FAILOVER, || match running.holder() {
        Ok(now) if now != holder => running.ready(),
        other => Err(format!("{other:?}")),
    });
    approve(running.lab.kiln(&["exec", &holder, "--"]).args(["systemctl", "start", "nginx.service"]));
    running.survives_the_holder();
    running.ends_well();
}

#[test]
fn two_masters_survive_one_of_them_and_an_api_server_that_stops() {
    let variant = Variant { name: "two-masters", profile: "two-masters", changes: &[RAW] };
    let expected = Expected { endpoint: "10.0.0.10:6443", member: "m1", members: ["10.0.0.11", "10.0.0.12", "10.0.0.21"], kubelets: 4 };
    let Some((running, ())) = Running::new(&variant, &expected, |_| ()) else { return };
    let lost = running.survives_the_holder();
    approve(&mut running.lab.kiln(&["start", &lost]));
    let local = format!("{}:6443", running.lab.address(&lost));
    eventually("the node that was lost serves again", PATIENCE, || running.client.ready(&running.lab, &local));

    let holder = running.holder().unwrap();
    let stop = ["systemctl", "stop", "--no-block", "kube-apiserver.service"];
    approve(running.lab.kiln(&["exec", &holder, "--"]).args(stop));
    eventually("the VIP is where an API server is ready", FAILOVER, || match running.holder() {
        Ok(now) if now == lost => running.ready(),
        other => Err(format!("{other:?}")),
    });
    running.is_writable("by-the-other");
    approve(running.lab.kiln(&["exec", &holder, "--"]).args(["systemctl", "start", "kube-apiserver.service"]));
    running.ends_well();
}

#[test]
fn haproxy_on_two_masters_hides_an_api_server_that_stops() {
    const HAPROXY: (&str, &str) = ("# balancer = \"keepalived\"", "balancer = \"haproxy\"");
    let variant = Variant { name: "two-masters-haproxy", profile: "two-masters", changes: &[RAW, HAPROXY] };
    let members = ["10.0.0.11", "10.0.0.12", "10.0.0.21"];
    let expected = Expected { endpoint: "10.0.0.10:8443", member: "m1", members, kubelets: 4 };
    let Some((running, ())) = Running::new(&variant, &expected, |_| ()) else { return };
    let holder = running.holder().unwrap();
    approve(running.lab.kiln(&["exec", &holder, "--"]).args(["systemctl", "stop", "--no-block", "kube-apiserver.service"]));
    eventually("the other API server answers", FAILOVER, || running.ready());
    running.is_writable("by-the-other");
    assert_eq!(running.holder().unwrap(), holder, "the VIP stays where HAProxy works");
    approve(running.lab.kiln(&["exec", &holder, "--"]).args(["systemctl", "start", "kube-apiserver.service"]));
    let local = format!("{}:6443", running.lab.address(&holder));
    eventually("the API server is back", PATIENCE, || running.client.ready(&running.lab, &local));
    running.survives_the_holder();
    running.ends_well();
}

#[test]
fn kubelets_that_balance_for_themselves_do_not_notice_the_loss_of_an_api_server() {
    kubelets_lose_an_api_server(&Variant { name: "node-local-lb", profile: "node-local-lb", changes: &[RAW] });
}

#[test]
fn nginx_on_every_machine_does_as_well() {
    const NGINX: (&str, &str) = ("# balancer = \"node-local\"", "balancer = \"node-local-nginx\"");
    kubelets_lose_an_api_server(&Variant { name: "node-local-lb-nginx", profile: "node-local-lb", changes: &[RAW, NGINX] });
}

/// Every kubelet goes on renewing its lease while `m1` has no power.
fn kubelets_lose_an_api_server(variant: &Variant) {
    let expected = Expected { endpoint: "10.0.0.12:6443", member: "m1", members: MASTERS, kubelets: 5 };
    let Some((running, ())) = Running::new(variant, &expected, |_| ()) else { return };
    // Clients outside have no balancer: they name the server that they want.
    let server = format!("--server=https://{}", running.endpoint);
    let format = "--output=jsonpath={range .items[*]}{.metadata.name}={.spec.renewTime} {end}";
    let renewals = || {
        let output = running.client.kubectl(&running.lab, &["--namespace=kube-node-lease", "get", "leases", format, &server]);
        let text = succeeded(&output, "w2=").map(|()| String::from_utf8(output.stdout).unwrap())?;
        Ok::<BTreeSet<String>, String>(text.split_whitespace().filter(|word| !word.starts_with("m1=")).map(str::to_owned).collect())
    };
    running.kill("m1");
    let mut last = BTreeSet::new();
    eventually("leases can be read", FAILOVER, || renewals().map(|now| last = now));
    for renewal in ["first", "second"] {
        eventually(&format!("every kubelet renews its lease, the {renewal} time after the loss of m1"), FAILOVER, || {
            let now = renewals()?;
            if !now.is_disjoint(&last) {
                return Err(format!("{now:?}\nwere {last:?}"));
            }
            last = now;
            Ok(())
        });
    }
    running.ends_well();
}

/// kube-vip itself is in no distribution: its pod and its objects are judged by the API server that there is.
fn kube_vips_files_are_what_an_api_server_takes(running: &Running) {
    let scratch = tempfile::tempdir().unwrap();
    let kiln = |arguments: &[&str]| {
        let mut kiln = Command::new(env!("CARGO_BIN_EXE_kiln"));
        kiln.current_dir(scratch.path()).args(arguments);
        kiln.output().unwrap()
    };
    assert!(kiln(&["init", "--profile", "kube-vip"]).status.success());
    let bgp = "[endpoint.bgp]\nlocal-as = 64512\npeers = [\"10.0.0.1:64513\"]\n";
    let rendered = |path: &str| {
        let output = kiln(&["render", "m1", path]);
        assert!(output.status.success(), "{output:?}");
        fs::write(scratch.path().join("file.yaml"), output.stdout).unwrap();
        scratch.path().join("file.yaml").to_str().unwrap().to_owned()
    };
    for change in ["", bgp] {
        let file = scratch.path().join("cluster.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{text}\n{change}")).unwrap();
        for (path, mode) in [
            ("/etc/kubernetes/manifests/kube-vip.yaml", "--dry-run=client"),
            ("/etc/kubernetes/bootstrap/20-kube-vip.yaml", "--dry-run=server"),
        ] {
            let file = rendered(path);
            let create = ["create", "--validate=true", mode, "--filename", &file];
            succeeded(&running.client.kubectl(&running.lab, &create), "created").unwrap();
        }
    }
}

#[test]
fn static_pods_carry_the_vip_as_services_do() {
    let Some(images) = with_images() else { return };
    let variant = Variant { name: "ha-static-pods", profile: "ha-static-pods", changes: Box::leak(Box::new([RAW, images])) };
    let expected = Expected { endpoint: "10.0.0.10:8443", member: "m1", members: MASTERS, kubelets: 3 };
    let Some((running, ())) = Running::new(&variant, &expected, |_| ()) else { return };
    let holder = running.holder().unwrap();
    let inside = |program: &[&str]| running.lab.inside(&holder, program);
    for program in ["haproxy", "keepalived"] {
        let found = inside(&["which", program]);
        assert!(!found.status.success(), "{program} is a program of the machine: {found:?}");
        let format = "--output=jsonpath={.status.containerStatuses[0].ready} {.status.hostIP}";
        let pod = format!("{program}-{holder}");
        let expected = format!("true {}", running.lab.address(&holder));
        eventually(&format!("{pod} is known to be ready"), PATIENCE, || {
            succeeded(&running.client.kubectl(&running.lab, &["--namespace=kube-system", "get", "pod", &pod, format]), &expected)
        });
    }
    let pinned = inside(&["ctr", "--namespace", "k8s.io", "images", "ls", "labels.\"io.cri-containerd.pinned\"==pinned"]);
    for image in ["k8s.gcr.io/pause:3.2", "docker.io/library/haproxy:3.0", "localhost/keepalived:2.3"] {
        succeeded(&pinned, image).unwrap();
    }

    kube_vips_files_are_what_an_api_server_takes(&running);

    // Where the balancer's pod is gone, the VIP does not stay.
    let manifest = "/etc/kubernetes/manifests/haproxy.yaml";
    succeeded(&inside(&["mv", manifest, "/run/haproxy.yaml"]), "").unwrap();
    eventually("the VIP has left the node without HAProxy", FAILOVER, || match running.holder() {
        Ok(now) if now != holder => running.ready(),
        other => Err(format!("{other:?}")),
    });
    succeeded(&inside(&["cp", "/run/haproxy.yaml", manifest]), "").unwrap();
    eventually("HAProxy is back", FAILOVER, || succeeded(&inside(&["/usr/libexec/kiln/check-balancer"]), ""));

    // A machine that returns imports nothing twice.
    let lost = running.survives_the_holder();
    approve(&mut running.lab.kiln(&["start", &lost]));
    let log = ["journalctl", "--unit=preload-images.service", "--output=cat", "--no-pager"];
    eventually("the images are there still", PATIENCE, || {
        let log = running.lab.inside(&lost, &log);
        let text = String::from_utf8_lossy(&log.stdout).into_owned();
        // A container's boots all have the machine's identifier.
        let [_, first, second] = &text.split("Starting ").collect::<Vec<_>>()[..] else { return Err(text) };
        let done = |boot: &str| boot.contains("Finished").then(|| boot.contains("importing"));
        if (done(first), done(second)) == (Some(true), Some(false)) { Ok(()) } else { Err(text) }
    });
    running.ends_well();
}

/// A balancer as somebody else would run it; it ends when its standard input does.
struct Theirs {
    process: Child,
    _directory: tempfile::TempDir,
}

impl Theirs {
    /// HAProxy on the host side of the lab's network, at an address that is no node's.
    fn new(lab: &Lab) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let servers: String = MASTERS.iter().map(|address| format!("  server {address} {address}:6443 check inter 1s\n")).collect();
        let file = directory.path().join("haproxy.cfg");
        let text = format!(
            "defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 10m\n  timeout server 10m\n  option redispatch\n\
             listen api\n  bind 10.0.0.10:6443\n{servers}"
        );
        fs::write(&file, text).unwrap();
        let script = "bridge=$(ip -brief link show type bridge | cut -d' ' -f1) && ip address add 10.0.0.10/32 dev $bridge && \
                      { haproxy -db -f \"$0\" & } && cat && kill $!";
        let mut command = lab.kiln(&["exec", "--", "sh", "-c", script]);
        let process = command.arg(&file).stdin(Stdio::piped()).spawn().unwrap();
        Self { process, _directory: directory }
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

#[test]
fn external_endpoint_works_behind_a_balancer_of_somebody_else() {
    const BY_ADDRESS: (&str, &str) = ("names = [\"kubernetes.example.org\"]", "vip = \"10.0.0.10\"");
    let Some(_) = judge("haproxy") else { return };
    let variant = Variant { name: "external-endpoint", profile: "external-endpoint", changes: &[RAW, BY_ADDRESS] };
    let expected = Expected { endpoint: "10.0.0.10:6443", member: "m1", members: MASTERS, kubelets: 4 };
    let Some((running, theirs)) = Running::new(&variant, &expected, Theirs::new) else { return };
    running.is_writable("before");
    running.kill("m1");
    eventually("the endpoint answers again", FAILOVER, || running.ready());
    running.is_writable("after");
    drop(theirs);
    running.ends_well();
}

/// Where the images of the tests are (ci/images), as a change of a cluster file that names none.
fn with_images() -> Option<(&'static str, &'static str)> {
    let directory = images()?;
    let table = format!("[[images]]\ndirectory = \"{}\"", directory.display());
    Some(("# [[images]]\n# directory = \"images\"", Box::leak(table.into_boxed_str())))
}

/// The worker of the starting file: the control plane is busy enough.
const WITHOUT_WORKER: (&str, &str) = ("[[nodes]]\nname = \"w1\"\nroles = [\"worker\"]\naddress = \"10.0.0.21\"\n", "");

impl Running {
    /// Every pod of the control plane, and kube-proxy, runs on each of `nodes` and is ready.
    fn pods_are_ready(&self, nodes: &[&str]) -> Result<(), String> {
        let row = "{.metadata.labels.component}{.metadata.labels.k8s-app} {.spec.nodeName} {.status.containerStatuses[*].ready}";
        let format = format!("--output=jsonpath={{range .items[*]}}{row}{{\"\\n\"}}{{end}}");
        let output = self.client.kubectl(&self.lab, &["--namespace=kube-system", "get", "pods", &format]);
        let seen = String::from_utf8_lossy(&output.stdout).into_owned();
        let wanted = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"];
        let wanted = wanted.iter().flat_map(|pod| nodes.iter().map(move |node| format!("{pod} {node} true")));
        let missing: Vec<String> = wanted.filter(|row| !seen.lines().any(|line| line == row)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} are not in\n{seen}")) }
    }

    /// The node has recorded the cluster or joined it: what tries to has succeeded.
    fn has_joined(&self, node: &str) -> Result<(), String> {
        let show =
            ["systemctl", "show", "--property=Result,ActiveState,ExecMainStatus,ExecMainStartTimestampMonotonic", "kiln-kubeadm-join"];
        let said = String::from_utf8_lossy(&self.lab.inside(node, &show).stdout).into_owned();
        let over = ["Result=success", "ActiveState=inactive", "ExecMainStatus=0"].iter().all(|line| said.contains(line));
        if over && !said.contains("Monotonic=0\n") { Ok(()) } else { Err(format!("{node}: {said}")) }
    }
}

#[test]
fn kubeadm_forms_a_control_plane_that_survives_the_holder_and_takes_it_back() {
    let Some(images) = with_images() else { return };
    let variant = Variant { name: "kubeadm", profile: "kubeadm", changes: Box::leak(Box::new([RAW, images, WITHOUT_WORKER])) };
    let expected = Expected { endpoint: "10.0.0.10:8443", member: "m1", members: MASTERS, kubelets: 3 };
    let Some((running, ())) = Running::new(&variant, &expected, |_| ()) else { return };
    let nodes = ["m1", "m2", "m3"];
    eventually("every node has joined", PATIENCE, || nodes.iter().try_for_each(|node| running.has_joined(node)));
    eventually("every pod runs", PATIENCE, || running.pods_are_ready(&nodes));
    let recorded =
        running.client.kubectl(&running.lab, &["--namespace=kube-system", "get", "configmap", "kubeadm-config", "--output=yaml"]);
    succeeded(&recorded, "controlPlaneEndpoint: 10.0.0.10:8443").unwrap();

    let lost = running.survives_the_holder();
    approve(&mut running.lab.kiln(&["start", &lost]));
    let local = format!("{}:6443", running.lab.address(&lost));
    eventually("the node that was lost serves again", PATIENCE, || running.client.ready(&running.lab, &local));
    eventually("it has joined the cluster that lives", PATIENCE, || running.has_joined(&lost));
    let journal = running.lab.inside(&lost, &["journalctl", "--boot", "--unit=kiln-kubeadm-join", "--output=cat"]);
    succeeded(&journal, "joining the cluster of 1.20.2").unwrap();
    eventually("every pod runs again", PATIENCE, || running.pods_are_ready(&nodes));

    // A power cut, after which the node that comes first in the cluster file stays away.
    nodes.iter().for_each(|node| running.kill(node));
    let others = ["m2", "m3"];
    others.iter().for_each(|node| _ = approve(&mut running.lab.kiln(&["start", node])));
    eventually("two nodes are enough to start from", PATIENCE, || running.ready());
    eventually("they have joined what is on record", PATIENCE, || others.iter().try_for_each(|node| running.has_joined(node)));
    eventually("what was written before is there", FAILOVER, || {
        succeeded(&running.client.kubectl(&running.lab, &["get", "configmap", "before"]), "before")
    });
    running.ends_well();
}
