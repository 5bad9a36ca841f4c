use super::plan;
use crate::cluster;
use crate::host;
use crate::judge::judge;
use crate::overlay::Overlays;
use crate::profile::tests::{SAMPLE, edited, read};

fn planned(text: &str) -> super::Plan {
    plan(&cluster::resolve(&read(text)).unwrap(), &Overlays::load(&[]).unwrap()).unwrap()
}

#[test]
fn the_sample_tolerates_one_failure_and_fails_over_within_two_seconds() {
    let plan = planned(SAMPLE);
    assert_eq!((plan.quorum.members.len(), plan.quorum.needed, plan.quorum.tolerated), (3, 2, 1));
    assert_eq!(plan.endpoint.failover_seconds, Some(1.2));
    assert_eq!(
        (plan.capacity.nodes, plan.capacity.pods_per_node, plan.capacity.services),
        (256, 254, 1_048_574)
    );
    assert_eq!(plan.images.iter().map(|image| image.name.as_str()).collect::<Vec<_>>(), ["control-plane"]);
}

#[test]
fn every_failure_lasts_as_long_as_the_intervals_in_the_files_say() {
    let reported = |text: &str| {
        let row = |failover: &super::Failover| format!("{:?} {}", failover.seconds, failover.failure);
        planned(text).failovers.iter().map(row).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(reported(SAMPLE));
    let nginx = reported(&edited("vip = \"10.0.0.10\"", "vip = \"10.0.0.10\"\nbalancer = \"nginx\""));
    assert!(
        nginx.contains("[0.0, 0.3] an API server's machine dies") && !nginx.contains("an API server hangs"),
        "{nginx}"
    );
    // nginx checks no health, and does not notice servers that are ready again or their etcd.
    assert!(
        !nginx.contains("the etcd leader hangs") && !nginx.contains("is ready again after all were down"),
        "{nginx}"
    );
    let external = reported(&edited("vip = \"10.0.0.10\"", "balancer = \"external\""));
    assert!(external.starts_with("[1.0, 2.0] the etcd leader dies"), "{external}");
}

#[test]
fn a_key_names_one_failure_of_a_cluster() {
    let nginx = edited("vip = \"10.0.0.10\"", "vip = \"10.0.0.10\"\nbalancer = \"nginx\"");
    for text in [SAMPLE, &nginx] {
        let plan = planned(text);
        let mut keys: Vec<&str> = plan.failovers.iter().map(|failover| failover.key).collect();
        let all = keys.len();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), all, "{keys:?}");
    }
}

#[test]
fn an_interval_of_an_overlay_of_ones_own_counts() {
    let directory = tempfile::tempdir().unwrap();
    let overlay = directory.path().join("keepalived");
    let from = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/overlays/keepalived"));
    let unit = "rootfs/etc/systemd/system/kiln-guard.service";
    for file in [
        "overlay.toml",
        "rootfs/etc/keepalived/keepalived.conf.tera",
        "rootfs/etc/kiln/guard.toml.tera",
        unit,
    ] {
        let text = String::from_utf8(host::fs::read(&from.join(file)).unwrap()).unwrap();
        // A custom check in addition to the guard's file.
        let script = "vrrp_script check {\n    script /bin/true\n    interval 1\n    fall 10\n    weight \
            -60\n}\nvrrp_instance";
        let text = text
            .replace("advert_int 0.2\n", "advert_int 3\n")
            .replace("vrrp_instance", script)
            .replace("fall = 2\n", "fall = 5\n");
        let to = overlay.join(file);
        host::fs::create_directories(to.parent().unwrap()).unwrap();
        host::fs::write_atomic(&to, text.as_bytes(), host::fs::PUBLIC).unwrap();
    }
    let cluster = cluster::resolve(&read(SAMPLE)).unwrap();
    let plan = plan(&cluster, &Overlays::load(&[directory.path().to_owned()]).unwrap()).unwrap();
    assert_eq!(plan.endpoint.failover_seconds, Some(15.2));
    let seconds =
        |failure: &str| plan.failovers.iter().find(|row| row.failure == failure).map(|row| row.seconds);
    assert_eq!(seconds("the service at the VIP fails its check"), Some([9.1, 25.1]));
    assert_eq!(seconds("the service at the VIP dies"), Some([0.8, 1.2]));
}

#[test]
fn machines_are_as_large_as_what_they_run_asks_for() {
    let sizes = |text: &str| {
        let size = |size: &super::Size| {
            format!("{} {} {} {}", size.image, size.cpus, size.memory_gib, size.plus_pods)
        };
        planned(text).sizes.iter().map(size).collect::<Vec<_>>()
    };
    assert_eq!(sizes(SAMPLE), ["control-plane 4 12 true"]);
    let node = |number: usize| {
        format!("\n[[nodes]]\nname = \"w{number}\"\nroles = [\"worker\"]\naddress = \"10.0.0.{number}\"\n")
    };
    let many = format!("{SAMPLE}{}", (100..200).map(node).collect::<String>());
    assert_eq!(sizes(&many), ["control-plane 12 46 false", "worker 4 4 true"]);
    let apart = format!("{SAMPLE}\n[[nodes]]\nname = \"e1\"\nroles = [\"etcd\"]\naddress = \"10.0.0.31\"\n");
    assert_eq!(sizes(&apart), ["control-plane 4 4 true", "etcd 4 8 false"]);
}

#[test]
fn an_external_balancer_moves_no_vip() {
    let plan = planned(&edited("vip = \"10.0.0.10\"", "balancer = \"external\""));
    assert_eq!(
        (plan.endpoint.failover_seconds, plan.endpoint.virtual_router_id, plan.nodes[0].priority),
        (None, None, None)
    );
    assert!(plan.ports.iter().all(|port| port.overlay != "haproxy"));
}

#[test]
fn every_port_says_who_listens_and_who_dials() {
    let plan = planned(SAMPLE);
    assert!(plan.ports.is_sorted_by_key(|port| port.port));
    for port in &plan.ports {
        assert!(!port.from.is_empty() && !port.what.is_empty() && !port.nodes.is_empty(), "{port:?}");
    }
    let endpoint = plan.ports.iter().find(|port| port.port == 8443).unwrap();
    assert_eq!((endpoint.overlay.as_str(), endpoint.nodes.len()), ("haproxy", 3));
}

#[test]
fn the_floors_say_who_dials_whom_for_every_kind_of_balancer() {
    let floors = |text: &str| {
        let floor = |layer: &super::Layer| {
            format!("{} -> {} [{}] {}", layer.dialled, layer.what, layer.nodes.join(" "), layer.note)
        };
        planned(text).topology.iter().map(|layer| floor(layer).trim().to_owned()).collect::<Vec<_>>()
    };
    let api = "port 6443 -> kube-apiserver [m1 m2 m3]";
    let etcd = "port 2379 -> etcd [m1 m2 m3] 2 of 3 must be up";
    let agents = "-> clients, kubelet, kube-proxy [m1 m2 m3]";
    let haproxy = "https://10.0.0.10:8443 -> haproxy [m1 m2 m3] VRRP moves 10.0.0.10 between these machines";
    assert_eq!(floors(SAMPLE), [agents, haproxy, api, etcd]);
    let straight =
        "https://10.0.0.10:6443 -> kube-apiserver [m1 m2 m3] VRRP moves 10.0.0.10 between these machines";
    assert_eq!(
        floors(&edited("vip = \"10.0.0.10\"", "vip = \"10.0.0.10\"\nbalancer = \"keepalived\"")),
        [agents, straight, etcd]
    );
    let found = floors(&edited("vip = \"10.0.0.10\"", "balancer = \"node-local\""));
    assert_eq!([&found[0], &found[2], &found[3]], [agents, api, etcd]);
    assert!(
        found[1].starts_with("https://127.0.0.1:")
            && found[1].ends_with("-> haproxy [m1 m2 m3] each serves only its own machine"),
        "{}",
        found[1]
    );
    let yours = "https://kubernetes.example.org:6443 -> an external balancer []";
    assert_eq!(floors(&edited("vip = \"10.0.0.10\"", "balancer = \"external\"")), [agents, yours, api, etcd]);
}

#[test]
fn a_thousand_machines_are_a_few_names_and_a_number() {
    let names = |count: usize| (0..count).map(|n| format!("w{n}")).collect::<Vec<_>>();
    assert_eq!(super::shortened(&names(8)), names(8));
    assert_eq!(super::shortened(&names(1000)).join(", "), "w0, w1, w2, w3, w4, w5, w6, … 993 more");
}

#[test]
fn the_drawing_is_well_formed_and_names_every_machine() {
    let plan = planned(SAMPLE);
    let svg = super::draw(&plan);
    let Some(mut python) = judge("python3") else { return };
    let script = "import sys, xml.etree.ElementTree as tree; print(\" \
        \".join(tree.fromstring(sys.stdin.read()).itertext()))";
    let output = host::process::run_with_input(python.args(["-c", script]), svg.as_bytes()).unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    for word in ["m1", "m2", "m3", "https://10.0.0.10:8443", "etcd", "2 of 3 must be up"] {
        assert!(words.contains(word), "{word} is not in {words}");
    }
}

/// Every text of a drawing is inside the drawing, and inside a box or clear of all boxes; 9 units per letter,
/// as wide as fonts are.
const LAYOUT: &str = r#"
import sys, xml.etree.ElementTree as tree
root = tree.fromstring(sys.stdin.read())
number = lambda item, name: float(item.get(name, 0))
kind = lambda item: item.tag.split("}")[1]
boxes = [[number(item, name) for name in ("x", "y", "width", "height")] for item in root if kind(item) == "rect"]
for item in (item for item in root if kind(item) == "text"):
    wide = 9 * len("".join(item.itertext()))
    left = number(item, "x") - (wide / 2 if item.get("text-anchor") == "middle" else 0)
    top, right, bottom = number(item, "y") - 14, left + wide, number(item, "y") + 4
    for x, y, width, height in boxes:
        apart = right <= x or left >= x + width or bottom <= y or top >= y + height
        within = left >= x and right <= x + width and top >= y and bottom <= y + height
        background = x == y == 0
        if not within and (background or not apart):
            sys.exit(f"{tree.tostring(item)} is not in {x, y, width, height}")
"#;

#[test]
fn no_text_of_the_drawing_is_hidden_by_a_box_or_leaves_it() {
    let long = "a-machine-with-a-name-that-is-as-long-as-names-may-be-in-berlin";
    let worker = |n: u32| {
        format!("\n[[nodes]]\nname = \"w{n}\"\nroles = [\"worker\"]\naddress = \"10.0.0.{}\"\n", 100 + n)
    };
    let external = edited("vip = \"10.0.0.10\"", "balancer = \"external\"");
    for text in [
        SAMPLE.to_owned(),
        edited("\"m1\"", &format!("\"{long}\"")),
        SAMPLE.to_owned() + &(0..20).map(worker).collect::<String>(),
        external.replace("kubernetes.example.org", &format!("{long}.kubernetes.example.org")),
        external,
    ] {
        let svg = super::draw(&planned(&text));
        let Some(mut python) = judge("python3") else { return };
        let output = host::process::run_with_input(python.args(["-c", LAYOUT]), svg.as_bytes()).unwrap();
        assert!(output.status.success(), "{}\n{svg}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn everything_that_a_machine_starts_has_its_place_in_the_order() {
    // Overlays that only prepare the machine wait for nothing, and nothing waits for them.
    let quiet = [
        "base",
        "image",
        "node-prep",
        "api-policy",
        "service-ports",
        "kubeadm-images",
        "kube-proxy-image",
        "haproxy",
        "keepalived",
        "etcd-packages",
        "pod-routes",
    ];
    for (profile, api_server) in [
        ("ha", "kube-apiserver"),
        ("ha-static-pods", "kube-apiserver"),
        ("kube-vip", "kube-apiserver"),
        ("kubeadm", "kubeadm"),
    ] {
        let plan = planned(&edited("profile = \"ha\"", &format!("profile = \"{profile}\"")));
        let known: Vec<&str> = plan.start_order.iter().map(|start| start.component).collect();
        for overlay in &plan.images[0].overlays {
            assert!(
                known.contains(&overlay.as_str()) || quiet.contains(&overlay.as_str()),
                "{profile}: {overlay}"
            );
        }
        assert!(
            known.iter().position(|name| *name == "etcd") < known.iter().position(|name| *name == api_server),
            "{profile}"
        );
    }
}

#[test]
fn checks_carry_this_clusters_addresses() {
    let plan = planned(SAMPLE);
    let all: Vec<&str> = plan.checks.iter().map(|check| check.command.as_str()).collect();
    assert!(all.contains(&"nc -vz 10.0.0.10 8443"), "{all:#?}");
    assert!(all.iter().any(|command| {
        command.contains("--endpoints=https://10.0.0.11:2379,https://10.0.0.12:2379,https://10.0.0.13:2379")
    }));
    let script: String = all.iter().flat_map(|command| [*command, "\n"]).collect();
    let Some(mut bash) = judge("bash") else { return };
    host::process::run_with_input(bash.arg("-n"), script.as_bytes()).unwrap();
}
