//! Every kind of mistake, with the position and the message that report it.

use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::{Catalog, Document, Profile, parse};
use crate::cluster;
use crate::error::{Error, Report, Source};
use crate::words::Role;

/// A small cluster file without problems, into which tests insert mistakes.
pub(crate) const SAMPLE: &str = r#"profile = "ha"

[cluster]
name = "berlin"
kubernetes = "1.20.2"

[network]
nodes = "10.0.0.0/24"
gateway = "10.0.0.1"
ntp = ["10.0.0.1"]

[endpoint]
vip = "10.0.0.10"
names = ["kubernetes.example.org"]

[[nodes]]
name = "m1"
roles = ["control-plane"]
address = "10.0.0.11"
match = { mac = "52-54-00-AA-00-11" }

[[nodes]]
name = "m2"
roles = ["master"]
address = "10.0.0.12"

[[nodes]]
name = "m3"
roles = ["control-plane"]
address = "10.0.0.13"
"#;

pub(crate) fn read(text: &str) -> Profile {
    parse(Source { path: "cluster.toml".into(), text: text.into() }, &Catalog::load(&[]).unwrap()).unwrap()
}

/// The sample with its first `from` replaced.
pub(crate) fn edited(from: &str, to: &str) -> String {
    assert!(SAMPLE.contains(from), "the sample has no {from:?}");
    SAMPLE.replacen(from, to, 1)
}

/// Every problem of reading and resolving `text` as `line:column text: message (hint)`.
pub(crate) fn problems(text: &str) -> Vec<String> {
    let profile = read(text);
    match cluster::resolve(&profile) {
        Ok(_) => reported(text, &profile.report),
        Err(err) => reported(text, report_of(&err)),
    }
}

pub(crate) fn reported(text: &str, report: &Report) -> Vec<String> {
    let one = |problem: &crate::error::Problem| {
        let hint = problem.hint.as_deref().unwrap_or("no hint");
        let place = problem.span.clone().map_or("-".to_owned(), |span| format!("`{}`", &text[span]));
        format!("{place}: {} ({hint})", problem.message)
    };
    report.problems.iter().map(one).collect()
}

fn report_of(err: &Error) -> &Report {
    err.report().unwrap_or_else(|| panic!("no report: {err}"))
}

#[test]
fn each_mistake_is_told_with_its_place_and_what_to_type_instead() {
    let cases = [
        ("name = \"m2\"", "nmae = \"m2\""),
        ("roles = [\"master\"]", "roles = [\"maser\"]"),
        ("roles = [\"master\"]", "roles = \"master\""),
        ("roles = [\"master\"]", "roles = []"),
        ("kubernetes = \"1.20.2\"", "kubernetes = 1.20"),
        ("kubernetes = \"1.20.2\"", "kubernetes = \"1.20\""),
        ("kubernetes = \"1.20.2\"", "kubernetes = \"1.5.0\""),
        ("vip = \"10.0.0.10\"", "vip = \"10.0.0.300\""),
        ("vip = \"10.0.0.10\"", "vip = 10.0.0.10"),
        ("vip = \"10.0.0.10\"", "vip = \"10.0.0.10"),
        ("vip = \"10.0.0.10\"", "vip = \"10.0.0.12\""),
        ("vip = \"10.0.0.10\"", "vip = \"10.0.0.1\""),
        ("vip = \"10.0.0.10\"", "port = \"8443\""),
        ("vip = \"10.0.0.10\"", "vip = \"10.0.0.10\"\nport = 70000"),
        ("vip = \"10.0.0.10\"", "vip = \"10.0.0.10\"\nbalancer = \"haproxi\""),
        ("vip = \"10.0.0.10\"", "vip = \"10.0.0.10\"\nvip = \"10.0.0.10\""),
        ("nodes = \"10.0.0.0/24\"", "nodes = \"10.0.0.0\""),
        ("nodes = \"10.0.0.0/24\"", "nodes = \"10.1.0.0/24\""),
        ("nodes = \"10.0.0.0/24\"", ""),
        ("nodes = \"10.0.0.0/24\"", "nodes = \"10.0.0.0/24\"\nservices = \"fd00::/112\""),
        ("nodes = \"10.0.0.0/24\"", "nodes = \"10.0.0.0/24\"\nservices = \"10.0.0.0/8\""),
        ("nodes = \"10.0.0.0/24\"", "nodes = \"10.0.0.0/24\"\npods-per-node-prefix = 12"),
        ("nodes = \"10.0.0.0/24\"", "nodes = \"10.0.0.0/24\"\nnode_ports = \"1-2\""),
        ("nodes = \"10.0.0.0/24\"", "nodes = \"10.0.0.0/24\"\ndns = [\"10.0.0.1\", \"x\"]"),
        ("gateway = \"10.0.0.1\"", "gateway = \"10.0.1.1\""),
        ("name = \"m2\"", "name = \"m1\""),
        ("name = \"m2\"", "name = \"M2\""),
        ("address = \"10.0.0.12\"", "address = \"10.0.0.11\""),
        ("address = \"10.0.0.12\"", "address = \"10.0.0.255\""),
        ("address = \"10.0.0.12\"", "address = \"10.0.0.12\"\nextra-addresses = [\"10.0.0.13\"]"),
        ("address = \"10.0.0.12\"", "address = \"10.0.0.12\"\nmatch = { mac = \"52:54:00:aa:00:11\" }"),
        ("address = \"10.0.0.12\"", "address = \"10.0.0.12\"\nmatch = { command-line = \"true\" }"),
        ("address = \"10.0.0.12\"", "address = \"10.0.0.12\"\nlabels = { \"rack/\" = \"r 1\" }"),
        ("address = \"10.0.0.12\"", "address = \"10.0.0.12\"\ntaints = [\"a=b\"]"),
        ("profile = \"ha\"", "profile = \"hs\""),
        ("profile = \"ha\"", ""),
        ("[cluster]", "[clusters]"),
        ("[[nodes]]\nname = \"m1\"", "[nodes]\nname = \"m1\""),
        ("[cluster]", "[[binaries]]\n\n[cluster]"),
        ("[cluster]", "[[binaries]]\ndirectory = \"a\"\narchive = \"https://x\"\n\n[cluster]"),
        ("[cluster]", "[outputs]\nformats = [\"qcow\"]\n\n[cluster]"),
        ("[cluster]", "[overlays.worker]\nremove = [\"kubelt\"]\n\n[cluster]"),
        ("[cluster]", "[overlays.worker]\nadd = [\"kubelet\"]\n\n[cluster]"),
        ("[cluster]", "[base]\nkernel = \"linux\\n\"\nmirror = \"file:/x\"\n\n[cluster]"),
    ];
    let mut seen = String::new();
    for (from, to) in cases {
        let reported = problems(&edited(from, to)).join("\n    ");
        seen.extend([to.replace('\n', " ⏎ ").as_str(), "\n    ", &reported, "\n"]);
    }
    insta::assert_snapshot!(seen, @r#"
    nmae = "m2"
        `nmae`: unknown setting `nmae` in `nodes[1]` (did you mean `name`?)
    roles = ["maser"]
        `"maser"`: `maser` is not a valid value for this setting (did you mean `master`?)
    roles = "master"
        `"master"`: `roles` is a string, but must be a list (write `roles = ["master"]`)
    roles = []
        `[[nodes]]`: `roles` is missing from this table (add `roles = ["control-plane"]`)
    kubernetes = 1.20
        `1.20`: `kubernetes` is a number, but must be a string in quotes (write `kubernetes = "1.20"`)
    kubernetes = "1.20"
        `"1.20"`: `1.20` is not a Kubernetes version (use a value such as `"1.20.2"`)
    kubernetes = "1.5.0"
        `"1.5.0"`: Kubernetes 1.5.0 is not supported (choose a release from 1.6 to 1.36)
    vip = "10.0.0.300"
        `"10.0.0.300"`: `10.0.0.300` is not an IP address (use a value such as `"10.0.0.10"`)
    vip = 10.0.0.10
        `.0.10`: invalid TOML: invalid float, expected nothing (strings need quotes: `vip = "10.0.0.10"`)
    vip = "10.0.0.10
        ``: invalid TOML: invalid basic string, expected `"` (no hint)
    vip = "10.0.0.12"
        `"10.0.0.12"`: `10.0.0.12` is the VIP (the VIP moves between nodes; choose a different address for this node)
    vip = "10.0.0.1"
        `"10.0.0.1"`: the VIP `10.0.0.1` is the gateway's address (choose an unused address)
    port = "8443"
        `[endpoint]`: `vip` is missing from `[endpoint]` (add `vip = "10.0.0.10"`)
        `"8443"`: `port` is a string, but must be a whole number (write `port = 8443`)
    vip = "10.0.0.10" ⏎ port = 70000
        `70000`: `70000` is out of range (use a number from 1 to 65535)
    vip = "10.0.0.10" ⏎ balancer = "haproxi"
        `"haproxi"`: `haproxi` is not a valid value for this setting (did you mean `haproxy`?)
    vip = "10.0.0.10" ⏎ vip = "10.0.0.10"
        `vip`: invalid TOML: duplicate key (keep only one of them)
    nodes = "10.0.0.0"
        `"10.0.0.0"`: `10.0.0.0` is not a network with a prefix length (use a value such as `"10.0.0.0/24"`)
    nodes = "10.1.0.0/24"
        `"10.0.0.1"`: the gateway `10.0.0.1` is outside the node network `10.1.0.0/24`, so no node can reach it (set `gateway` to the router's address in the node network)
        `"10.0.0.11"`: `10.0.0.11` is not a usable address in the node network `10.1.0.0/24` (choose a free address in that network, or correct `network.nodes`)
        `"10.0.0.12"`: `10.0.0.12` is not a usable address in the node network `10.1.0.0/24` (choose a free address in that network, or correct `network.nodes`)
        `"10.0.0.13"`: `10.0.0.13` is not a usable address in the node network `10.1.0.0/24` (choose a free address in that network, or correct `network.nodes`)

        `[network]`: `nodes` is missing from `[network]` (add `nodes = "10.0.0.0/24"`)
    nodes = "10.0.0.0/24" ⏎ services = "fd00::/112"
        `"fd00::/112"`: the service network is IPv6, but the pod network is IPv4 (use the same address family for both networks)
    nodes = "10.0.0.0/24" ⏎ services = "10.0.0.0/8"
        `"10.0.0.0/8"`: `10.0.0.0/8` is larger than kube-apiserver accepts (choose a prefix length from /12 to /28)
    nodes = "10.0.0.0/24" ⏎ pods-per-node-prefix = 12
        `12`: `10.244.0.0/16` can't be divided into /12 networks (choose a prefix length from /16 to /30)
    nodes = "10.0.0.0/24" ⏎ node_ports = "1-2"
        `node_ports`: unknown setting `node_ports` in `network` (did you mean `node-ports`?)
    nodes = "10.0.0.0/24" ⏎ dns = ["10.0.0.1", "x"]
        `"x"`: `x` is not an IP address (use a value such as `"10.0.0.10"`)
    gateway = "10.0.1.1"
        `"10.0.1.1"`: the gateway `10.0.1.1` is outside the node network `10.0.0.0/24`, so no node can reach it (set `gateway` to the router's address in the node network)
    name = "m1"
        `"m1"`: two nodes have the name `m1` (set a different value for each node)
    name = "M2"
        `"M2"`: `M2` is not a valid name (at most 63 lower-case letters, digits and `-`; RFC 1123) (use a value such as `"m1"`)
    address = "10.0.0.11"
        `"10.0.0.11"`: two nodes have the address `10.0.0.11`: `m1` and `m2` (set a different value for each node)
    address = "10.0.0.255"
        `"10.0.0.255"`: `10.0.0.255` is not a usable address in the node network `10.0.0.0/24` (choose a free address in that network, or correct `network.nodes`)
    address = "10.0.0.12" ⏎ extra-addresses = ["10.0.0.13"]
        `"10.0.0.13"`: two nodes have the address `10.0.0.13`: `m2` and `m3` (set a different value for each node)
    address = "10.0.0.12" ⏎ match = { mac = "52:54:00:aa:00:11" }
        `"52:54:00:aa:00:11"`: two nodes have the MAC address `52:54:00:aa:00:11`: `m1` and `m2` (set a different value for each node)
    address = "10.0.0.12" ⏎ match = { command-line = "true" }
        `"true"`: `command-line` is a string, but must be `true` or `false` (write `command-line = true`)
    address = "10.0.0.12" ⏎ labels = { "rack/" = "r 1" }
        `"rack/"`: `rack/` is not a Kubernetes label key (use a value such as `"example.org/rack"`)
    address = "10.0.0.12" ⏎ taints = ["a=b"]
        `"a=b"`: `a=b` is not a Kubernetes taint of the form `key=value:Effect` (use a value such as `"dedicated=db:NoSchedule"`)
    profile = "hs"
        `"hs"`: unknown profile `hs` (run `kiln list profiles` to see the available profiles, or specify your own directory with `--profile-dir`)

        -: the file does not name a profile (begin the file with `profile = "ha"`; available profiles: external-endpoint, external-lb, ha, ha-static-pods, kube-vip, kubeadm, node-local-lb, two-masters)
    [clusters]
        `clusters`: unknown setting `clusters` in this file (did you mean `cluster`?)
    [nodes] ⏎ name = "m1"
        `[nodes]`: `nodes` is a table, but must be a list (write the table's name in double brackets: `[[nodes]]`)
        `nodes`: invalid TOML: duplicate key (keep only one of them)
        `nodes`: invalid TOML: duplicate key (keep only one of them)
    [[binaries]] ⏎  ⏎ [cluster]
        `[[binaries]]`: this source sets neither `archive` nor `directory` (add `directory = "kubernetes"`)
    [[binaries]] ⏎ directory = "a" ⏎ archive = "https://x" ⏎  ⏎ [cluster]
        `[[binaries]]`: this source sets both `archive` and `directory` (use two `[[binaries]]` tables)
    [outputs] ⏎ formats = ["qcow"] ⏎  ⏎ [cluster]
        `"qcow"`: `qcow` is not a valid value for this setting (did you mean `qcow2`?)
    [overlays.worker] ⏎ remove = ["kubelt"] ⏎  ⏎ [cluster]
        `"kubelt"`: the role `worker` has no overlay `kubelt` to remove (did you mean `kubelet`?)
    [overlays.worker] ⏎ add = ["kubelet"] ⏎  ⏎ [cluster]
        `"kubelet"`: the role `worker` already has the overlay `kubelet` (remove it from `add`)
    [base] ⏎ kernel = "linux\n" ⏎ mirror = "file:/x" ⏎  ⏎ [cluster]
        `"linux\n"`: `linux\n` is not a Debian package name (use a value such as `"linux-image-amd64"`)
        `"file:/x"`: `file:/x` is not a URL that begins with `https://` or `http://` (use a value such as `"https://deb.debian.org/debian"`)
    "#);
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = SAMPLE
        .replacen("\"1.20.2\"", "1.20", 1)
        .replacen("\"10.0.0.10\"", "\"10.0.0.300\"", 1)
        .replacen("name = \"m2\"", "nam = \"m2\"", 1)
        .replacen("\"10.0.0.13\"", "\"10.0.9.13\"", 1);
    insta::assert_snapshot!(problems(&text).join("\n"), @r#"
    `1.20`: `kubernetes` is a number, but must be a string in quotes (write `kubernetes = "1.20"`)
    `"10.0.0.300"`: `10.0.0.300` is not an IP address (use a value such as `"10.0.0.10"`)
    `nam`: unknown setting `nam` in `nodes[1]` (did you mean `name`?)
    `"10.0.9.13"`: `10.0.9.13` is not a usable address in the node network `10.0.0.0/24` (choose a free address in that network, or correct `network.nodes`)
    "#);
}

#[test]
fn an_empty_file_says_how_to_begin() {
    insta::assert_snapshot!(problems("").join("\n"), @r#"
    -: the file does not name a profile (begin the file with `profile = "ha"`; available profiles: external-endpoint, external-lb, ha, ha-static-pods, kube-vip, kubeadm, node-local-lb, two-masters)
    "#);
}

#[test]
fn the_sample_and_the_starting_files_have_no_problem() {
    assert_eq!(problems(SAMPLE), [""; 0]);
    let catalog = Catalog::load(&[]).unwrap();
    for name in catalog.names() {
        let text = catalog.get(name).unwrap().unwrap().starting_file;
        assert_eq!(problems(&text), [""; 0], "profile `{name}`");
    }
}

#[test]
fn commented_settings_of_the_starting_files_are_valid_too() {
    let catalog = Catalog::load(&[]).unwrap();
    for name in catalog.names() {
        let text = catalog.get(name).unwrap().unwrap().starting_file;
        for line in text.lines().filter_map(|line| line.strip_prefix("# ")) {
            let looks_like_a_setting = line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
            let key = line.split(" = ").next().unwrap();
            if looks_like_a_setting {
                assert!(
                    super::schema().to_string().contains(&format!("\"{key}\"")),
                    "`{key}` is not a setting"
                );
            }
        }
    }
}

#[test]
fn a_profile_fills_in_what_the_file_leaves_out_and_points_at_the_line_that_names_it() {
    let profile = read(SAMPLE);
    assert_eq!(profile.document.network.services.unwrap().to_string(), "10.96.0.0/12");
    assert_eq!(&SAMPLE[profile.places.span("network.services").unwrap()], "\"ha\"");
    assert_eq!(&SAMPLE[profile.places.span("network.nodes").unwrap()], "\"10.0.0.0/24\"");
}

#[test]
fn a_profile_from_a_directory_takes_the_place_of_the_built_in_one() {
    let site = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        crate::host::fs::write_atomic(&site.path().join("ha").join(name), text.as_bytes(), 0o644).unwrap();
    };
    write("cluster.toml", SAMPLE);
    write(
        "profile.toml",
        "summary = \"ours\"\n[overlays]\nworker = [\"base\"]\n[defaults.network]\nsevices = \
        \"10.0.0.0/16\"\n",
    );
    let catalog = Catalog::load(&[site.path().to_owned()]).unwrap();
    let err = catalog.get("ha").unwrap().unwrap_err();
    assert_eq!(told_messages(&err), ["unknown setting `sevices` in `defaults.network`"]);
    write("profile.toml", "summary = \"ours\"\n");
    let catalog = Catalog::load(&[site.path().to_owned()]).unwrap();
    assert_eq!(catalog.get("ha").unwrap().unwrap().summary, "ours");
}

#[test]
fn a_profile_takes_what_it_leaves_out_from_the_one_that_it_extends() {
    let site = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        crate::host::fs::write_atomic(&site.path().join(name).join("profile.toml"), text.as_bytes(), 0o644)
            .unwrap();
        crate::host::fs::write_atomic(&site.path().join(name).join("cluster.toml"), SAMPLE.as_bytes(), 0o644)
            .unwrap();
    };
    write(
        "ours",
        "extends = \"ha\"\n[overlays]\nworker = [\"base\"]\n[defaults.network]\nservices = \
        \"10.97.0.0/16\"\n",
    );
    write("theirs", "extends = \"ours\"\n[defaults.network]\ndomain = \"theirs.example\"\n");
    write("circle", "extends = \"back\"\n");
    write("back", "extends = \"circle\"\n");
    write("lost", "extends = \"nowhere\"\n");
    let catalog = Catalog::load(&[site.path().to_owned()]).unwrap();
    let text = edited("\"ha\"", "\"theirs\"");
    let profile = parse(Source { path: "cluster.toml".into(), text: text.into() }, &catalog).unwrap();
    let network = &profile.document.network;
    assert_eq!(network.services.unwrap().to_string(), "10.97.0.0/16");
    assert_eq!(
        (network.domain.as_deref(), network.pods.unwrap().to_string().as_str()),
        (Some("theirs.example"), "10.244.0.0/16")
    );
    let overlays = profile.definition.unwrap().overlays;
    assert_eq!((overlays[&Role::Worker].len(), overlays[&Role::Etcd].len()), (1, 5));
    let refused = |name: &str| catalog.get(name).unwrap().unwrap_err().to_string();
    assert_eq!(refused("circle"), "the profile `back` extends `circle`, which in turn extends it");
    assert_eq!(refused("lost"), "the profile `lost` extends `nowhere`, which does not exist");
}

fn told_messages(err: &Error) -> Vec<&str> {
    report_of(err).problems.iter().map(|problem| problem.message.as_str()).collect()
}

/// Checks that every problem is within the text and that nothing panics, whatever a user types.
fn assert_places_are_in(text: &str) {
    let profile = read(text);
    let result = cluster::resolve(&profile);
    let report = result
        .as_ref()
        .err()
        .map_or(&profile.report, |err| err.report().expect("only the user's input can be wrong"));
    for problem in &report.problems {
        if let Some(span) = &problem.span {
            assert!(text.get(span.clone()).is_some(), "{span:?} of {text:?}: {}", problem.message);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_problem_lies_within_any_text(text in any::<String>()) {
        assert_places_are_in(&text);
    }

    #[test]
    fn every_problem_lies_within_a_damaged_file(cuts in prop::collection::vec((any::<prop::sample::Index>(), "\\PC{0,3}"), 1..4)) {
        let mut text: Vec<char> = SAMPLE.chars().collect();
        for (place, insertion) in cuts {
            let at = place.index(text.len());
            text.splice(at..=at, insertion.chars());
        }
        assert_places_are_in(&text.into_iter().collect::<String>());
    }
}

#[test]
fn a_document_of_nothing_is_readable() {
    let empty: Document = toml::from_str("").unwrap();
    assert!(empty.nodes.is_empty());
}
