//! Every kind of mistake, with the position and the message that report it.

use super::{edited, problems};

/// The first text of each row is replaced by the second in the sample.
type Mistakes = &'static [(&'static str, &'static str)];

const CLUSTER: Mistakes = &[
    ("name = \"m2\"", "nmae = \"m2\""),
    ("roles = [\"master\"]", "roles = [\"maser\"]"),
    ("roles = [\"master\"]", "roles = \"master\""),
    ("roles = [\"master\"]", "roles = []"),
    ("kubernetes = \"1.20.2\"", "kubernetes = 1.20"),
    ("kubernetes = \"1.20.2\"", "kubernetes = \"1.20\""),
    ("kubernetes = \"1.20.2\"", "kubernetes = \"1.5.0\""),
];

const ENDPOINT: Mistakes = &[
    ("vip = \"10.0.0.10\"", "vip = \"10.0.0.300\""),
    ("vip = \"10.0.0.10\"", "vip = 10.0.0.10"),
    ("vip = \"10.0.0.10\"", "vip = \"10.0.0.10"),
    ("vip = \"10.0.0.10\"", "vip = \"10.0.0.12\""),
    ("vip = \"10.0.0.10\"", "vip = \"10.0.0.1\""),
    ("vip = \"10.0.0.10\"", "port = \"8443\""),
    ("vip = \"10.0.0.10\"", "vip = \"10.0.0.10\"\nport = 70000"),
    ("vip = \"10.0.0.10\"", "vip = \"10.0.0.10\"\nbalancer = \"haproxi\""),
    ("vip = \"10.0.0.10\"", "vip = \"10.0.0.10\"\nvip = \"10.0.0.10\""),
];

const NETWORK: Mistakes = &[
    ("nodes = \"10.0.0.0/24\"", "nodes = \"10.0.0.0\""),
    ("nodes = \"10.0.0.0/24\"", "nodes = \"10.1.0.0/24\""),
    ("nodes = \"10.0.0.0/24\"", ""),
    ("nodes = \"10.0.0.0/24\"", "nodes = \"10.0.0.0/24\"\nservices = \"fd00::/112\""),
    ("nodes = \"10.0.0.0/24\"", "nodes = \"10.0.0.0/24\"\nservices = \"10.0.0.0/8\""),
    ("nodes = \"10.0.0.0/24\"", "nodes = \"10.0.0.0/24\"\npods-per-node-prefix = 12"),
    ("nodes = \"10.0.0.0/24\"", "nodes = \"10.0.0.0/24\"\nnode_ports = \"1-2\""),
    ("nodes = \"10.0.0.0/24\"", "nodes = \"10.0.0.0/24\"\ndns = [\"10.0.0.1\", \"x\"]"),
    ("gateway = \"10.0.0.1\"", "gateway = \"10.0.1.1\""),
];

const NODES: Mistakes = &[
    ("name = \"m2\"", "name = \"m1\""),
    ("name = \"m2\"", "name = \"M2\""),
    ("address = \"10.0.0.12\"", "address = \"10.0.0.11\""),
    ("address = \"10.0.0.12\"", "address = \"10.0.0.255\""),
    ("address = \"10.0.0.12\"", "address = \"10.0.0.12\"\nextra-addresses = [\"10.0.0.13\"]"),
    ("address = \"10.0.0.12\"", "address = \"10.0.0.12\"\nmatch = { mac = \"52:54:00:aa:00:11\" }"),
    ("address = \"10.0.0.12\"", "address = \"10.0.0.12\"\nmatch = { command-line = \"true\" }"),
    ("address = \"10.0.0.12\"", "address = \"10.0.0.12\"\nlabels = { \"rack/\" = \"r 1\" }"),
    ("address = \"10.0.0.12\"", "address = \"10.0.0.12\"\ntaints = [\"a=b\"]"),
];

const TABLES: Mistakes = &[
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

#[test]
fn each_mistake_is_told_with_its_place_and_what_to_type_instead() {
    check_cluster();
    check_endpoint();
    check_network();
    check_nodes();
    check_tables();
}

/// Returns each mistake, followed by the problems that report it.
fn reported(mistakes: Mistakes) -> String {
    let mut seen = String::new();
    for (from, to) in mistakes {
        let reported = problems(&edited(from, to)).join("\n    ");
        seen.extend([to.replace('\n', " ⏎ ").as_str(), "\n    ", &reported, "\n"]);
    }
    seen
}

fn check_cluster() {
    insta::assert_snapshot!(reported(CLUSTER), @r#"
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
    "#);
}

fn check_endpoint() {
    insta::assert_snapshot!(reported(ENDPOINT), @r#"
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
    "#);
}

fn check_network() {
    insta::assert_snapshot!(reported(NETWORK), @r#"
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
    "#);
}

fn check_nodes() {
    insta::assert_snapshot!(reported(NODES), @r#"
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
    "#);
}

fn check_tables() {
    insta::assert_snapshot!(reported(TABLES), @r#"
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
