use std::path::Path;

use super::resolve;
use crate::cluster::{Cluster, MatchRule};
use crate::profile::tests::{SAMPLE, edited, problems, read};
use crate::words::{BALANCERS, BinarySource, Role, Run};

fn cluster(text: &str) -> Cluster {
    resolve(&read(text)).unwrap_or_else(|err| panic!("{err}: {:#?}", err.report()))
}

#[test]
fn the_sample_becomes_three_masters_with_descending_priorities() {
    let cluster = cluster(SAMPLE);
    let nodes: Vec<_> =
        cluster.nodes.iter().map(|node| (node.name.as_str(), node.image(), node.priority)).collect();
    let control_plane = || "control-plane".to_owned();
    assert_eq!(
        nodes,
        [("m1", control_plane(), 254), ("m2", control_plane(), 253), ("m3", control_plane(), 252)]
    );
    assert_eq!(cluster.endpoint_authority(), "10.0.0.10:8443");
    assert_eq!(cluster.endpoint.virtual_router_id, 10);
    assert_eq!(cluster.nodes[0].matches, [MatchRule::Mac("52:54:00:aa:00:11".into())]);
    assert_eq!(cluster.first_service_address().to_string(), "10.96.0.1");
    assert_eq!(cluster.overlays[&Role::ControlPlane].first().unwrap(), "base");
    assert_eq!(cluster.outputs.iter().map(|output| output.name).collect::<Vec<_>>(), ["raw", "qcow2"]);
}

#[test]
fn paths_are_relative_to_the_cluster_file_and_the_lock_lies_beside_it() {
    let text =
        edited("[cluster]", "[vault]\npath = \"keys\"\n[[binaries]]\ndirectory = \"/srv/k8s\"\n[cluster]");
    let mut profile = read(&text);
    profile.source.path = "site/berlin.toml".into();
    let cluster = resolve(&profile).unwrap();
    assert_eq!(
        (cluster.vault.as_path(), cluster.lock.as_path()),
        (Path::new("site/keys"), Path::new("site/berlin.lock"))
    );
    assert_eq!(cluster.binaries, [BinarySource::Directory { path: "/srv/k8s".into() }]);
}

#[test]
fn every_cluster_file_has_a_lock_of_its_own() {
    for (file, lock) in [
        ("cluster.toml", "kiln.lock"),
        ("site/cluster.toml", "site/kiln.lock"),
        ("munich.v2.toml", "munich.v2.lock"),
    ] {
        let mut profile = read(SAMPLE);
        profile.source.path = file.into();
        assert_eq!(resolve(&profile).unwrap().lock, Path::new(lock), "{file}");
    }
}

#[test]
fn an_archive_names_the_version() {
    let url = "https://dl.k8s.io/v1.20.2/kubernetes-server-linux-amd64.tar.gz".to_owned();
    assert_eq!(cluster(SAMPLE).binaries, [BinarySource::Archive { url, sha256: None }]);
}

#[test]
fn pods_and_routers_are_refused_where_they_make_no_sense_with_the_reason() {
    const LB: &str = "\n[[nodes]]\nname = \"l1\"\nroles = [\"lb\"]\naddress = \"10.0.0.31\"\n";
    let reported = |settings: &str, nodes: &str| {
        problems(&format!("{}{nodes}", edited("vip = \"10.0.0.10\"", settings))).join("; ")
    };
    let with_vip = |settings: &str| format!("vip = \"10.0.0.10\"\n{settings}");
    let pods = "run = \"static-pod\"";
    let mut seen = String::new();
    for (settings, nodes) in [
        (with_vip(pods), LB),
        (with_vip(&format!("port = 443\n{pods}")), ""),
        (format!("balancer = \"external\"\n{pods}"), ""),
        (with_vip("balancer = \"kube-vip\"\nrun = \"service\""), ""),
        (with_vip("bgp = { local-as = 64512, peers = [\"10.0.0.1:64512\"] }"), ""),
        (with_vip("balancer = \"kube-vip\"\nbgp = { local-as = 64512 }"), ""),
        (with_vip("balancer = \"kube-vip\"\nbgp = { local-as = 64512, peers = [\"10.0.0.1\"] }"), ""),
    ] {
        seen.extend([&settings.replace('\n', " ⏎ "), "\n    ", &reported(&settings, nodes), "\n"]);
    }
    insta::assert_snapshot!(seen, @r#"
    vip = "10.0.0.10" ⏎ run = "static-pod"
        `["lb"]`: a machine with only the role `lb` has no kubelet to start static pods (add the role `worker`, or set `run = "service"` in `[endpoint]`)
    vip = "10.0.0.10" ⏎ port = 443 ⏎ run = "static-pod"
        `443`: a static pod runs without privileges and can't listen on port 443 (choose port 1024 or higher, or set `run = "service"`)
    balancer = "external" ⏎ run = "static-pod"
        `"static-pod"`: the balancer `external` can't run as `static-pod`: it runs outside the cluster (set `run = "service"`, or choose a different `balancer`)
    vip = "10.0.0.10" ⏎ balancer = "kube-vip" ⏎ run = "service"
        `"service"`: the balancer `kube-vip` can't run as `service`: it is available only as a container image (set `run = "static-pod"`, or choose a different `balancer`)
    vip = "10.0.0.10" ⏎ bgp = { local-as = 64512, peers = ["10.0.0.1:64512"] }
        `{ local-as = 64512, peers = ["10.0.0.1:64512"] }`: the balancer `haproxy` does not support BGP (remove the table, or set `balancer = "kube-vip"`)
    vip = "10.0.0.10" ⏎ balancer = "kube-vip" ⏎ bgp = { local-as = 64512 }
        `{ local-as = 64512 }`: `peers` is missing from `[endpoint.bgp]` (add `peers = ["10.0.0.1:64512"]`)
    vip = "10.0.0.10" ⏎ balancer = "kube-vip" ⏎ bgp = { local-as = 64512, peers = ["10.0.0.1"] }
        `"10.0.0.1"`: `10.0.0.1` is not a router address with an autonomous system number (use a value such as `"10.0.0.1:64512"`)
    "#);
    let old =
        edited("vip = \"10.0.0.10\"", &with_vip("balancer = \"kube-vip\"")).replace("1.20.2", "1.13.12");
    assert_eq!(
        problems(&old),
        ["`\"kube-vip\"`: `kube-vip` needs leases, which Kubernetes 1.13.12 does not support (use \
             Kubernetes 1.14 or later, or set `balancer = \"keepalived\"`)"]
    );
}

#[test]
fn the_vip_is_of_the_family_of_the_nodes() {
    let reported = problems(&edited(
        "vip = \"10.0.0.10\"",
        "vip = \"fd00::10\"\nbalancer = \"kube-vip\"\nbgp = { local-as = 64512, peers = \
        [\"10.0.0.1:64512\"] }",
    ));
    let expected = "`\"fd00::10\"`: the VIP `fd00::10` and the node network `10.0.0.0/24` are in different \
        address families (choose an address in the nodes' address family)";
    assert_eq!(reported, [expected]);
}

#[test]
fn a_balancer_runs_as_services_unless_it_can_only_be_a_pod() {
    let run = |settings: &str| {
        cluster(&edited("vip = \"10.0.0.10\"", &format!("vip = \"10.0.0.10\"\n{settings}"))).endpoint.run
    };
    assert_eq!([run(""), run("balancer = \"kube-vip\"")], [Run::Service, Run::StaticPod]);
    let overlays = &cluster(&edited("vip = \"10.0.0.10\"", "vip = \"10.0.0.10\"\nrun = \"static-pod\""))
        .overlays[&Role::ControlPlane];
    let wanted = ["haproxy", "haproxy-pod", "keepalived", "keepalived-pod"];
    assert!(overlays.windows(wanted.len()).any(|some| some == wanted), "{overlays:?}");
}

#[test]
fn what_a_router_translates_is_no_address_of_the_cluster() {
    let reported = |addresses: &str| {
        problems(&edited("[endpoint]", &format!("[endpoint]\nexternal-addresses = [{addresses}]")))
    };
    assert_eq!(reported("\"203.0.113.10\", \"2001:db8::10\""), [""; 0]);
    let hint = "(set the address that external clients connect to; list a machine's additional addresses in \
        `extra-addresses`)";
    let inside = |address: &str, network: &str| {
        format!("`\"{address}\"`: `{address}` is inside {network}, so no router translates it {hint}")
    };
    assert_eq!(reported("\"203.0.113.10\", \"10.0.0.10\""), [inside("10.0.0.10", "`nodes` = `10.0.0.0/24`")]);
}

#[test]
fn a_dedicated_member_takes_etcd_from_the_control_plane() {
    let cluster = cluster(&format!(
        "{SAMPLE}\n[[nodes]]\nname = \"e1\"\nroles = [\"etcd\"]\naddress = \"10.0.0.21\"\n"
    ));
    assert!(!cluster.overlays[&Role::ControlPlane].contains(&"etcd".into()));
    assert!(cluster.overlays[&Role::Etcd].contains(&"etcd".into()));
    assert_eq!(cluster.nodes[3].priority, 1);
}

#[test]
fn an_external_endpoint_needs_no_vip_and_dials_the_api_server() {
    let cluster = cluster(&edited("vip = \"10.0.0.10\"", "balancer = \"external\""));
    assert_eq!(cluster.endpoint.vip, None);
    assert_eq!(cluster.endpoint_authority(), "kubernetes.example.org:6443");
}

#[test]
fn overlays_are_added_last_and_removed_by_name() {
    let change = "[overlays.control-plane]\nadd = [\"site\"]\nremove = [\"kube-proxy\"]\n[cluster]";
    let overlays = &cluster(&edited("[cluster]", change)).overlays[&Role::ControlPlane];
    assert_eq!(overlays.last().unwrap(), "site");
    assert!(!overlays.contains(&"kube-proxy".into()));
}

#[test]
fn a_balancer_on_machines_of_its_own_needs_no_port_of_its_own() {
    let cluster =
        cluster(&format!("{SAMPLE}\n[[nodes]]\nname = \"l1\"\nroles = [\"lb\"]\naddress = \"10.0.0.31\"\n"));
    assert_eq!(cluster.endpoint_authority(), "10.0.0.10:6443");
    assert_eq!(
        cluster.balancing().iter().map(|node| (node.name.as_str(), node.priority)).collect::<Vec<_>>(),
        [("l1", 254)]
    );
    assert_eq!(
        cluster.overlays[&Role::Lb][4..],
        ["haproxy", "haproxy-service", "keepalived", "keepalived-service"]
    );
    assert!(!cluster.overlays[&Role::ControlPlane].contains(&"haproxy".into()));
}

#[test]
fn a_role_that_the_balancer_has_no_use_for_is_refused_with_the_reason() {
    let text = edited("vip = \"10.0.0.10\"", "balancer = \"external\"").replacen(
        "[\"master\"]",
        "[\"master\", \"lb\"]",
        1,
    );
    let reported = "`[\"master\", \"lb\"]`: the balancer `external` does not use the role `lb`: it runs \
        outside the cluster (remove the role, or choose a different `balancer` in `[endpoint]`)";
    assert_eq!(problems(&text), [reported]);
}

#[test]
fn a_vip_straight_at_the_api_servers_has_their_port_and_no_machines_of_its_own() {
    let direct =
        |settings: &str| edited("[endpoint]", &format!("[endpoint]\nbalancer = \"keepalived\"\n{settings}"));
    assert_eq!(cluster(&direct("")).endpoint_authority(), "10.0.0.10:6443");
    let lb = "[[nodes]]\nname = \"l1\"\nroles = [\"lb\"]\naddress = \"10.0.0.31\"\n";
    insta::assert_snapshot!(problems(&format!("{}\n{lb}", direct("port = 8443"))).join("\n"), @r#"
    `8443`: nothing listens on port 8443 of the VIP: the balancer `keepalived` does not forward connections (remove `port`: the API servers listen on port 6443)
    `["lb"]`: the balancer `keepalived` does not use the role `lb`: the VIP points directly at an API server, and `lb` machines do not run one (remove the role, or choose a different `balancer` in `[endpoint]`)
    "#);
}

#[test]
fn where_every_machine_balances_agents_dial_loopback_and_clients_an_api_server() {
    let local = |settings: &str| {
        edited(
            "[endpoint]\nvip = \"10.0.0.10\"",
            &format!("[endpoint]\nbalancer = \"node-local\"\n{settings}"),
        )
    };
    let with_worker = format!(
        "{}\n[[nodes]]\nname = \"w1\"\nroles = [\"worker\"]\naddress = \"10.0.0.21\"\n",
        local("port = 7445")
    );
    let cluster = cluster(&with_worker);
    assert_eq!(
        (cluster.agent_authority().as_str(), cluster.endpoint_authority().as_str()),
        ("127.0.0.1:7445", "kubernetes.example.org:6443")
    );
    assert!(cluster.nodes.iter().all(|node| cluster.forwards(node) && !cluster.carries_vip(node)));
    assert!(
        [Role::ControlPlane, Role::Worker]
            .iter()
            .all(|role| cluster.overlays[role].contains(&"haproxy".into()))
    );
    insta::assert_snapshot!(problems(&local("vip = \"10.0.0.10\"")).join("\n"), @r#"`"10.0.0.10"`: no machine would hold the VIP: with `node-local`, every machine uses its own balancer on loopback (remove `vip`; external clients reach the API servers through `names`)"#);
}

#[test]
fn an_address_that_every_machine_has_for_itself_is_in_no_network_of_all() {
    let ipvs = |vip: &str| {
        edited("vip = \"10.0.0.10\"", &format!("vip = \"{vip}\"\nbalancer = \"node-local-ipvs\""))
    };
    assert_eq!(problems(&ipvs("169.254.64.43")), [""; 0]);
    insta::assert_snapshot!(problems(&ipvs("10.0.0.10")).join("\n"), @r#"`"10.0.0.10"`: the VIP `10.0.0.10` is local to every machine, but it is inside `nodes` = `10.0.0.0/24` (choose an unused address, such as "169.254.64.43")"#);
}

#[test]
fn every_kind_of_balancer_runs_where_it_makes_sense_and_nowhere_else() {
    let lb = "\n[[nodes]]\nname = \"l1\"\nroles = [\"lb\"]\naddress = \"10.0.0.31\"\n[[nodes]]\nname = \
        \"w1\"\nroles = [\"worker\"]\naddress = \"10.0.0.21\"\n";
    let mut seen = String::new();
    for kind in BALANCERS {
        let vip = match (kind.moves_vip(), kind.private_vip) {
            (false, false) => "",
            (true, _) => "vip = \"10.0.0.10\"",
            (_, true) => "vip = \"169.254.64.43\"",
        };
        let text = edited("vip = \"10.0.0.10\"", &format!("{vip}\nbalancer = \"{}\"", kind.name));
        for text in [text.clone(), format!("{text}{lb}")] {
            let what = match resolve(&read(&text)) {
                Ok(cluster) => {
                    let names: Vec<&str> =
                        cluster.balancing().iter().map(|node| node.name.as_str()).collect();
                    format!(
                        "agents dial {}, clients {}; on [{}]",
                        cluster.agent_authority(),
                        cluster.endpoint_authority(),
                        names.join(" ")
                    )
                }
                Err(_) => problems(&text).join("; "),
            };
            seen.extend([kind.name, ": ", &what, "\n"]);
        }
    }
    insta::assert_snapshot!(seen, @r#"
    haproxy: agents dial 10.0.0.10:8443, clients 10.0.0.10:8443; on [m1 m2 m3]
    haproxy: agents dial 10.0.0.10:6443, clients 10.0.0.10:6443; on [l1]
    nginx: agents dial 10.0.0.10:8443, clients 10.0.0.10:8443; on [m1 m2 m3]
    nginx: agents dial 10.0.0.10:6443, clients 10.0.0.10:6443; on [l1]
    keepalived: agents dial 10.0.0.10:6443, clients 10.0.0.10:6443; on [m1 m2 m3]
    keepalived: `["lb"]`: the balancer `keepalived` does not use the role `lb`: the VIP points directly at an API server, and `lb` machines do not run one (remove the role, or choose a different `balancer` in `[endpoint]`)
    kube-vip: agents dial 10.0.0.10:6443, clients 10.0.0.10:6443; on [m1 m2 m3]
    kube-vip: `["lb"]`: the balancer `kube-vip` does not use the role `lb`: the VIP points directly at an API server, and `lb` machines do not run one (remove the role, or choose a different `balancer` in `[endpoint]`)
    node-local: agents dial 127.0.0.1:6443, clients kubernetes.example.org:6443; on [m1 m2 m3]
    node-local: `["lb"]`: the balancer `node-local` does not use the role `lb`: every machine runs its own balancer (remove the role, or choose a different `balancer` in `[endpoint]`)
    node-local-nginx: agents dial 127.0.0.1:6443, clients kubernetes.example.org:6443; on [m1 m2 m3]
    node-local-nginx: `["lb"]`: the balancer `node-local-nginx` does not use the role `lb`: every machine runs its own balancer (remove the role, or choose a different `balancer` in `[endpoint]`)
    node-local-ipvs: agents dial 169.254.64.43:6443, clients kubernetes.example.org:6443; on [m1 m2 m3]
    node-local-ipvs: `["lb"]`: the balancer `node-local-ipvs` does not use the role `lb`: every machine runs its own balancer (remove the role, or choose a different `balancer` in `[endpoint]`)
    external: agents dial kubernetes.example.org:6443, clients kubernetes.example.org:6443; on []
    external: `["lb"]`: the balancer `external` does not use the role `lb`: it runs outside the cluster (remove the role, or choose a different `balancer` in `[endpoint]`)
    "#);
}
