mod certificates;
mod examples;
pub(crate) mod published;

pub(crate) use examples::example_files;

use super::LINTS;
use crate::cluster;
use crate::error::{Report, Severity};
use crate::overlay::Overlays;
use crate::pipeline;
use crate::profile::tests::{SAMPLE, edited, read, reported};

fn linted(text: &str) -> Report {
    let profile = read(text);
    let cluster = cluster::resolve(&profile).unwrap_or_else(|err| panic!("{err}: {:#?}", err.report()));
    pipeline::linted(&profile, &cluster, &Overlays::load(&[]).unwrap()).unwrap()
}

fn without_node(name: &str) -> String {
    let start = SAMPLE.find(&format!("[[nodes]]\nname = \"{name}\"")).unwrap();
    let end = SAMPLE[start + 1..].find("[[nodes]]").map_or(SAMPLE.len(), |next| start + 1 + next);
    format!("{}{}", &SAMPLE[..start], &SAMPLE[end..])
}

/// A file for each lint that only this lint is about.
fn example(id: &str) -> String {
    match &id[..3] {
        "HA0" => topology_example(id),
        "HA2" => version_example(id),
        _ => balancer_example(id),
    }
}

/// Networks and topology.
fn topology_example(id: &str) -> String {
    let network = |settings: &str| edited("[network]", &format!("[network]\n{settings}"));
    match id {
        "HA002" => network("services = \"10.96.0.9/16\""),
        "HA003" => network("pods = \"10.0.0.0/16\""),
        "HA004" => network("pods-per-node-prefix = 26"),
        "HA005" => network("pods = \"10.244.0.0/23\""),
        "HA006" => network("node-ports = \"1024-65535\""),
        "HA008" => SAMPLE.replace("10.0.0.", "172.38.0."),
        "HA009" => edited("\"10.0.0.10\"", "\"10.0.1.10\""),
        "HA010" | "HA011" => without_node("m3"),
        "HA012" => edited("[\"master\"]", "[\"control-plane\", \"worker\"]"),
        "HA014" => edited("[endpoint]", "[endpoint]\nport = 10250"),
        "HA015" => without_node("m2").replace(
            "name = \"m3\"\nroles = \
            [\"control-plane\"]",
            "name = \"m3\"\nroles = [\"worker\"]",
        ),
        "HA018" => edited("[cluster]", "[overlays.worker]\nadd = [\"haproxi\"]\n[cluster]"),
        "HA021" => format!("{SAMPLE}\n[overlays.control-plane]\nremove = [\"containerd\"]\n"),
        "HA022" => format!("{SAMPLE}\n[etcd]\nfound = \"majority\"\n"),
        "HA020" => format!("{SAMPLE}\n[overlays.control-plane]\nremove = [\"etcd\", \"kube-proxy\"]\n"),
        "HA019" => network("pods = \"192.168.0.0/16\""),
        other => panic!("no example for {other}"),
    }
}

/// Components and versions.
fn version_example(id: &str) -> String {
    match id {
        "HA219" => edited("[cluster]", "[base]\nsuite = \"sid\"\n[cluster]\nruntime = \"containerd\""),
        "HA226" => edited("1.20.2", "1.15.12"),
        "HA227" => edited("1.20.2", "1.36.0"),
        "HA228" => edited("1.20.2", "1.18.20"),
        "HA229" => edited("1.20.2", "1.36.0").replace(
            "[cluster]",
            "[base]\nsuite = \"bookworm\"\n[outputs]\nformats = [\"cloud-init\"]\n[cluster]",
        ),
        "HA230" => edited("1.20.2", "1.12.10").replace("profile = \"ha\"", "profile = \"kubeadm\""),
        "HA231" => edited("1.20.2", "1.24.17").replace("[cluster]", "[cluster]\nruntime = \"docker\""),
        "HA232" => edited(
            "[endpoint]",
            &format!(
                "[endpoint]\nrun = \"static-pod\"\nimages.haproxy = \
                \"docker.io/library/haproxy:3.0@sha256:{:064}\"",
                0
            ),
        )
        .replace("[cluster]", "[cluster]\nruntime = \"docker\""),
        "HA233" => edited("[cluster]", "[base]\nsuite = \"bookworm\"\n[cluster]"),
        "HA234" => edited(
            "[endpoint]",
            "[endpoint]\nrun = \"static-pod\"\nimages.haproxy = \
            \"docker.io/library/haproxy:2.1.4\"",
        ),
        "HA235" => edited("1.20.2", "1.30.4").replace(
            "[cluster]",
            "[base]\nsuite = \"bookworm\"\n[outputs]\nformats = [\"cloud-init\"]\n[cluster]",
        ),
        other => panic!("no example for {other}"),
    }
}

/// Balancers.
fn balancer_example(id: &str) -> String {
    match id {
        "HA311" => edited("[endpoint]", "[endpoint]\nvirtual-router-id = 51"),
        "HA342" => edited("[endpoint]", "[endpoint]\nbalancer = \"keepalived\""),
        "HA343" => edited(
            "vip = \"10.0.0.10\"\nnames = \
            [\"kubernetes.example.org\"]",
            "balancer = \"node-local\"",
        ),
        "HA346" => edited("[endpoint]", "[endpoint]\nbalancer = \"nginx\""),
        other => panic!("no example for {other}"),
    }
}

#[test]
fn what_machines_are_there_for_may_be_replaced_and_not_just_removed() {
    let removed = |profile: &str, change: &str| {
        let text =
            format!("{}\n[overlays.control-plane]\n{change}\n", SAMPLE.replace("profile = \"ha\"", profile));
        linted(&text).problems.iter().filter(|problem| problem.code == Some("HA020")).count()
    };
    for (profile, change, expected) in [
        ("profile = \"ha\"", "remove = [\"kube-scheduler\", \"haproxy\", \"keepalived-service\"]", 2),
        ("profile = \"ha\"", "remove = [\"etcd\"]\nadd = [\"coredns\"]", 0),
        ("profile = \"ha\"", "remove = [\"kubelet\", \"kube-proxy\", \"containerd\"]", 0),
        ("profile = \"kubeadm\"", "remove = [\"kubeadm\"]", 1),
        ("profile = \"ha\"", "remove = [\"base\", \"rbac\"]", 0),
    ] {
        assert_eq!(removed(profile, change), expected, "{profile} {change}");
    }
}

/// API servers of static pods listen on every address, and the balancer on loopback has their port unless
/// configured otherwise.
#[test]
fn a_port_that_nobody_chose_is_not_to_be_left_out() {
    let text = SAMPLE
        .replace("profile = \"ha\"", "profile = \"kubeadm\"")
        .replace("vip = \"10.0.0.10\"", "balancer = \"node-local\"");
    let report = linted(&text);
    let clash: Vec<_> = report.problems.iter().filter(|problem| problem.code == Some("HA014")).collect();
    assert_eq!(clash[0].hint.as_deref(), Some("choose another port: `port = 8443`"), "{clash:?}");
    let report = linted(&text.replace("balancer =", "port = 8443\nbalancer ="));
    let found: Vec<_> = report.problems.iter().filter(|problem| problem.severity > Severity::Info).collect();
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn each_lint_finds_its_example_and_points_at_the_setting() {
    let mut seen = String::new();
    for lint in LINTS.iter().filter(|lint| lint.on_cluster.is_some()) {
        let text = example(lint.id);
        let mut report = linted(&text);
        report.problems.retain(|problem| problem.code == Some(lint.id));
        assert!(!report.problems.is_empty(), "{} finds nothing", lint.id);
        seen.extend([lint.id, " ", &reported(&text, &report).join("\n      "), "\n"]);
    }
    insta::assert_snapshot!(seen, @r#"
    HA002 `"10.96.0.9/16"`: `10.96.0.9/16` has host bits set: the network is `10.96.0.0/16` (use the network address)
    HA003 `"10.0.0.0/16"`: `network.pods` (10.0.0.0/16) overlaps `network.nodes` (10.0.0.0/24) (choose networks that do not overlap)
    HA004 `26`: /26 provides 62 pod addresses per node, but a node runs up to 110 pods (use a shorter prefix: a /24 has 254 addresses)
    HA005 `"10.244.0.0/23"`: `10.244.0.0/23` has /24 subnets for only 2 of 3 nodes (use a larger `network.pods`, or a longer `network.pods-per-node-prefix`)
    HA006 `"1024-65535"`: `1024-65535` includes ports that every node needs: 2379, 2380, 2381, 2382, 2383, 6443, 8405, 8443, 10248, 10249, 10250, 10256, 10257, 10259, 32768 and higher (outgoing connections) (use the default, `30000-32767`)
    HA008 `"172.38.0.10"`: `172.38.0.10` is a public address (check the digits; if the address is intended, accept it with `# kiln: allow HA008 because …`)
          `"172.38.0.11"`: `172.38.0.11` is a public address (check the digits; if the address is intended, accept it with `# kiln: allow HA008 because …`)
          `"172.38.0.12"`: `172.38.0.12` is a public address (check the digits; if the address is intended, accept it with `# kiln: allow HA008 because …`)
          `"172.38.0.13"`: `172.38.0.13` is a public address (check the digits; if the address is intended, accept it with `# kiln: allow HA008 because …`)
    HA009 `"10.0.1.10"`: the VIP `10.0.1.10` is not a usable address in the node network `10.0.0.0/24` (choose an unused address in the node network)
    HA010 `[[nodes]]`: 2 etcd members tolerate 0 failures (use 3 or 5 members)
    HA011 `[[nodes]]`: with two control-plane nodes there is no redundancy during maintenance (add a third control-plane node)
    HA012 `["control-plane", "worker"]`: etcd on `m2` shares its disk with workloads (assign only one of the two roles to the node)
    HA014 `10250`: `haproxy` and `kubelet` both need port 10250 on the same node (omit `port`: nothing else on the machine uses the default)
    HA015 `[[nodes]]`: only one node can hold the VIP (assign the `lb` role to a second node, or add control-plane nodes)
    HA018 `"haproxi"`: there is no overlay named `haproxi`; did you mean `haproxy`? (run `kiln list overlays` to see the available overlays; add a directory of your own with `--overlay-dir`)
    HA019 `"192.168.0.0/16"`: pods receive addresses from 192.168.0.0/16 (use a network such as 10.244.0.0/16)
    HA020 `"etcd"`: without `etcd`, the cluster has no data store (keep the overlay, or `add` one that replaces it)
    HA021 `"containerd"`: `containerd` is not removed: it is required by `kubelet` (also remove the overlays that require it, or do not remove it)
    HA022 `"majority"`: an empty cluster may be bootstrapped while a machine that is off still has all the data (omit `found`; to bootstrap without a missing machine, issue an order: `kiln order --without NAME`)
    HA219 `"1.20.2"`: Kubernetes 1.20.2 is not compatible with containerd 2.1 from `sid` (use Kubernetes 1.23 or later, or `suite = "trixie"`, which has containerd 1.7, or `runtime = "docker"` in `[cluster]`)
    HA226 `"1.15.12"`: Kubernetes 1.15.12 lacks features that kiln otherwise guarantees: notification of balancers before an API server stops (since 1.16) (use Kubernetes 1.16 or later)
    HA227 `"1.36.0"`: Kubernetes 1.36.0 expects something newer than containerd 1.7 from `trixie` (use Kubernetes 1.35 or older)
    HA228 `"1.18.20"`: Kubernetes 1.18.20 is not compatible with cgroup v2 from `trixie` (use Kubernetes 1.19 or later, or `suite = "bookworm"`, which has cgroup v1)
    HA229 `"1.36.0"`: Kubernetes 1.36.0 is not compatible with etcd 3.4 from `bookworm` (use Kubernetes 1.35 or older, or `suite = "sid"`, which has etcd 3.5)
    HA230 `"1.12.10"`: kubeadm 1.12.10 does not support phases (available since 1.13) (use Kubernetes 1.13 or later, or the `ha` profile, which supports every version)
    HA231 `"1.24.17"`: Kubernetes 1.24.17 is not compatible with Docker 26.1 from `trixie` (use Kubernetes 1.23 or older, or `runtime = "containerd"` in `[cluster]`)
    HA232 `"docker.io/library/haproxy:3.0@sha256:0000000000000000000000000000000000000000000000000000000000000000"`: `docker.io/library/haproxy:3.0@sha256:0000000000000000000000000000000000000000000000000000000000000000` contains a digest (name the image by tag only; the lock pins its digest anyway)
    HA233 `"bookworm"`: `raw` can't be built from `bookworm` (use the suite's stock images, with `formats = ["cloud-init"]` in `[outputs]`, or set `suite = "trixie"`)
    HA234 `"docker.io/library/haproxy:2.1.4"`: `docker.io/library/haproxy:2.1.4` is too old: kiln configures haproxy 2.4 or later (use a newer image)
    HA235 `"bookworm"`: neither kubelet 1.30.4 nor containerd 1.6 from `bookworm` protects the pause image (use `suite = "trixie"`, or import the image on each machine with the label `io.cri-containerd.pinned=pinned`)
    HA311 `51`: VRRP router identifier 51 is probably used by another cluster too (omit `virtual-router-id`: the default is the last byte of the VIP)
    HA342 `"keepalived"`: with `keepalived`, the VIP points at a single API server and moves whenever that server stops (use `balancer = "haproxy"`)
    HA343 `[endpoint]`: clients outside the cluster connect only to 10.0.0.11:6443 (set a DNS name that resolves to every control-plane node: `names = ["kubernetes.example.org"]`)
    HA346 `"nginx"`: with `nginx`, clients of a hung API server wait until they time out (use HAProxy, which disconnects clients of a hung server within seconds)
    "#);
}

#[test]
fn the_sample_is_clean() {
    assert_eq!(reported(SAMPLE, &linted(SAMPLE)), [""; 0]);
}

#[test]
fn the_built_in_overlays_are_clean_in_every_version() {
    for minor in 6..=36 {
        let text = SAMPLE.replace("1.20.2", &format!("1.{minor}.2"));
        let mut report = linted(&text);
        // What a suite brings to a version is the cluster file's choice.
        report.problems.retain(|problem| problem.source.is_some());
        assert_eq!(report.problems.iter().map(examples::reported).collect::<Vec<_>>(), [""; 0], "1.{minor}");
    }
}

#[test]
fn other_topologies_are_as_clean() {
    let node = |name: &str, role: &str, last: u8| {
        format!("[[nodes]]\nname = \"{name}\"\nroles = [\"{role}\"]\naddress = \"10.0.0.{last}\"\n")
    };
    let dedicated = [
        ("e1", "etcd", 31),
        ("e2", "etcd", 32),
        ("e3", "etcd", 33),
        ("l1", "lb", 41),
        ("l2", "lb", 42),
        ("w1", "worker", 51),
    ];
    let dedicated: String = dedicated.into_iter().map(|(name, role, last)| node(name, role, last)).collect();
    let sixth = SAMPLE.replace("10.0.0.0/24", "fd00:1::/64").replace("\"10.0.0.", "\"fd00:1::");
    let sixth = sixth.replace(
        "[network]",
        "[network]\npods = \"fd00:2::/48\"\npods-per-node-prefix = 64\nservices = \"fd00:3::/112\"",
    );
    let oldest = |version: &str, runtime: &str| {
        edited("1.20.2", version).replacen(
            "[cluster]",
            &format!(
                "[base]\nsuite = \"bookworm\"\n[outputs]\nformats = [\"cloud-init\"]\n[cluster]\n{runtime}"
            ),
            1,
        )
    };
    let external = edited("vip = \"10.0.0.10\"", "balancer = \"external\"\nport = 6443");
    let cases = [
        ("dedicated members and balancers", format!("{SAMPLE}{dedicated}")),
        ("the API server's own port", edited("[endpoint]", "[endpoint]\nport = 6443")),
        (
            "bookworm",
            edited(
                "[network]",
                "[base]\nsuite = \"bookworm\"\n[outputs]\nformats = [\"cloud-init\"]\n[network]",
            ),
        ),
        ("the oldest with all that kiln promises, on control groups v1", oldest("1.16.15", "")),
        ("the same with Docker", oldest("1.16.15", "runtime = \"docker\"\n")),
        ("IPv6", sixth),
        ("an external balancer", external),
    ];
    for (name, text) in cases {
        assert_eq!(reported(&text, &linted(&text)), [""; 0], "{name}");
    }
}

#[test]
fn versions_before_control_groups_v2_lack_nothing_on_bookworm_but_what_came_later() {
    for minor in 6..=18 {
        let text = edited("1.20.2", &format!("1.{minor}.2")).replacen(
            "[cluster]",
            "[base]\nsuite = \"bookworm\"\n[outputs]\nformats = [\"cloud-init\"]\n[cluster]\nruntime = \
            \"docker\"",
            1,
        );
        let report = linted(&text);
        let codes: Vec<&str> = report.problems.iter().filter_map(|problem| problem.code).collect();
        assert_eq!(
            codes,
            if minor < 16 { vec!["HA226"] } else { vec![] },
            "1.{minor}: {:#?}",
            report.problems
        );
    }
}

#[test]
fn kubelets_that_speak_to_docker_are_told_once_that_they_should_not() {
    let report = linted(&SAMPLE.replace("[cluster]", "[cluster]\nruntime = \"docker\""));
    let codes: Vec<&str> = report.problems.iter().filter_map(|problem| problem.code).collect();
    assert_eq!(codes, ["HA202"], "{:#?}", report.problems);
}

#[test]
fn identifiers_are_unique_sorted_and_explained() {
    assert!(LINTS.is_sorted_by(|first, second| first.id < second.id));
    for lint in LINTS.iter() {
        assert!(lint.id.len() == 5 && lint.id.starts_with("HA"), "{}", lint.id);
        assert!(
            !lint.title.is_empty() && !lint.why.is_empty() && !lint.fix.is_empty(),
            "{} is not explained",
            lint.id
        );
        assert!(
            lint.on_cluster.is_some() || lint.on_files.is_some() || lint.on_segment.is_some(),
            "{} looks at nothing",
            lint.id
        );
        let sentences = [lint.title, lint.why, lint.fix];
        assert!(
            sentences.iter().all(|text| !text.ends_with('.') && !text.contains('\n')),
            "{} ends like a sentence of its own",
            lint.id
        );
    }
}

#[test]
fn a_comment_accepts_a_finding_and_says_why() {
    let text = format!("# kiln: allow HA008 because this is our own range\n{}", example("HA008"));
    let report = linted(&text);
    assert!(report.problems.iter().all(|problem| problem.severity == Severity::Info), "{report:#?}");
    assert_eq!(report.problems[0].hint.as_deref(), Some("accepted because this is our own range"));
}

#[test]
fn a_comment_may_stand_behind_a_value_that_has_its_sign() {
    let value = "match = { serial = \"#1\" } # kiln: allow HA008 because it is ours";
    let report = linted(&example("HA008").replace("match = { mac = \"52-54-00-AA-00-11\" }", value));
    assert_eq!(report.problems[0].hint.as_deref(), Some("accepted because it is ours"), "{report:#?}");
}

#[test]
fn a_comment_without_reason_object_or_effect_is_told() {
    let text = format!(
        "# kiln: allow HA008\n# kiln: allow HA999 because x\n{SAMPLE}# kiln: allow HA311 because x\n"
    );
    let report = linted(&text);
    let severities: Vec<Severity> = report.problems.iter().map(|problem| problem.severity).collect();
    assert_eq!(severities, [Severity::Error, Severity::Error, Severity::Info]);
    insta::assert_snapshot!(reported(&text, &report).join("\n"), @r"
    `# kiln: allow HA008`: `HA008` is accepted without a reason (write `# kiln: allow HA008 because …`)
    `# kiln: allow HA999 because x`: unknown lint `HA999` (write `# kiln: allow HA011 because …`; `kiln list lints` shows the identifiers)
    `# kiln: allow HA311 because x`: there is no finding to accept for `HA311` (the VRRP router identifier is not unique to this cluster) (remove the comment)
    ");
}
