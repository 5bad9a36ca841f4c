//! All combinations of balancers: every kind, run in both ways, on both kinds of machines. A cell is a
//! cluster that renders and whose configuration the balancers accept, or a rejection with the reason.

use super::golden::{golden, texts};
use super::variants::{judge_balancers, of_balancer};
use super::{rendered_with, text, vault};
use crate::cluster::{self, Cluster};
use crate::error::Severity;
use crate::overlay::Overlays;
use crate::pipeline;
use crate::profile::tests::{problems, read};
use crate::tree::{EntryKind, Tree};
use crate::words::{BALANCERS, Run};

/// Placements of balancers, as machines in addition to the control plane and a worker.
const PLACEMENTS: [(&str, &[&str]); 4] = [
    ("masters", &[]),
    ("lb", &["roles = [\"lb\"]"; 2]),
    ("lb, worker", &["roles = [\"lb\", \"worker\"]"; 2]),
    ("one lb, worker", &["roles = [\"lb\", \"worker\"]"]),
];

/// One address family: the prefix before a machine's number, and the networks of a cluster.
struct Family {
    prefix: &'static str,
    /// Address outside every network, for a VIP that is local to every machine.
    private: &'static str,
    networks: &'static str,
}

const IPV4: Family =
    Family { prefix: "10.0.0.", private: "169.254.64.43", networks: "nodes = \"10.0.0.0/24\"" };
const IPV6: Family = Family {
    prefix: "fd00:1::",
    private: "fd00:9::43",
    networks: "nodes = \"fd00:1::/64\"\npods = \"fd00:2::/48\"\npods-per-node-prefix = 64\nservices = \
        \"fd00:3::/112\"",
};

impl Family {
    fn cluster_file(&self, endpoint: &str, extra: &[&str]) -> String {
        let node = |(name, roles, number): (String, &str, usize)| {
            format!("[[nodes]]\nname = \"{name}\"\n{roles}\naddress = \"{}{number}\"\n", self.prefix)
        };
        let masters = (1..=3).map(|number| (format!("m{number}"), "roles = [\"master\"]", 10 + number));
        let others =
            extra.iter().enumerate().map(|(index, roles)| (format!("l{}", index + 1), *roles, 31 + index));
        let nodes: String =
            masters.chain([("w1".to_owned(), "roles = [\"worker\"]", 21)]).chain(others).map(node).collect();
        let cluster = "profile = \"ha\"\n[cluster]\nname = \"axis\"\nkubernetes = \"1.20.2\"\n";
        let names = "names = [\"kubernetes.example.org\"]";
        format!(
            "{cluster}[network]\nntp = [\"pool.ntp.org\"]\n{}\n[endpoint]\n{names}\n{endpoint}\n{nodes}",
            self.networks
        )
    }
}

/// Returns the balancer's files on a machine, below `/etc`.
fn files(cluster: &Cluster, tree: &Tree) -> Vec<String> {
    let overlays = cluster.endpoint.balancer.overlays(cluster.endpoint.run);
    let ours =
        tree.iter().filter(|(path, entry)| overlays.contains(&&*entry.origin) && path.is_under("/etc"));
    ours.filter(|(_, entry)| matches!(entry.kind, EntryKind::File(_)))
        .map(|(path, _)| path.as_str()["/etc/".len()..].to_owned())
        .collect()
}

/// Result of a cluster file.
enum Cell {
    Refused(String),
    Cluster(Box<Accepted>),
}

/// A cluster that renders and whose configuration the balancers accept.
struct Accepted {
    cluster: Cluster,
    /// Codes of the problems that `kiln check` reports.
    reported: Vec<&'static str>,
    /// Tree of the first node that runs the balancer.
    balancing: Option<Tree>,
}

impl Cell {
    fn of(text: &str) -> Self {
        let profile = read(text);
        let Ok(cluster) = cluster::resolve(&profile) else { return Self::Refused(refusal(text)) };
        let mut balancing: Option<Tree> = None;
        for (node, tree) in rendered_with(&cluster, &vault(&cluster)) {
            let has_files = !files(&cluster, &tree).is_empty();
            assert_eq!(
                has_files,
                cluster.balancing().iter().any(|other| other.name == node.name),
                "{}",
                node.name
            );
            if let Some(first) = balancing.as_ref().filter(|_| has_files) {
                assert_eq!(files(&cluster, first), files(&cluster, &tree), "{}", node.name);
            } else if has_files {
                judge_balancers(&cluster, &node, &tree);
            }
            balancing = balancing.or(has_files.then_some(tree));
        }
        let reported = pipeline::linted(&profile, &cluster, &Overlays::load(&[]).unwrap()).unwrap();
        let reported = reported
            .problems
            .iter()
            .filter(|problem| problem.severity > Severity::Info)
            .map(|problem| problem.code.unwrap())
            .collect();
        Self::Cluster(Box::new(Accepted { cluster, reported, balancing }))
    }

    fn show(&self, accepted: impl Fn(&Accepted) -> String) -> String {
        match self {
            Self::Refused(reasons) => reasons.clone(),
            Self::Cluster(cluster) => accepted(cluster),
        }
    }
}

impl Accepted {
    /// Returns the balancer's nodes, the addresses that clients connect to, the balancer's files, and the
    /// reported problems.
    fn summary(&self) -> String {
        let cluster = &self.cluster;
        let nodes: Vec<&str> = cluster.balancing().iter().map(|node| node.name.as_str()).collect();
        let (agents, clients) = (cluster.agent_authority(), cluster.endpoint_authority());
        let dialled = if agents == clients { agents } else { format!("{agents}, from outside {clients}") };
        let files = self.balancing.as_ref().map(|tree| files(cluster, tree).join(" ")).unwrap_or_default();
        let reported =
            self.reported.iter().fold(String::new(), |reported, code| format!("{reported}; {code}"));
        format!("[{}] {dialled}: {files}{reported}", nodes.join(" "))
    }

    /// Returns the lines of the balancer's files that contain addresses, below the files' paths.
    fn addresses(&self) -> String {
        let Some(tree) = &self.balancing else { return "nothing of ours".to_owned() };
        let text = texts(&of_balancer(&self.cluster, tree));
        let wanted = |line: &&str| line.starts_with("=== ") || line.contains("fd00:") || line.contains("::1");
        let lines: Vec<&str> = text.lines().filter(wanted).collect();
        // A path is shown only with lines below it.
        let below = |index: usize| lines.get(index + 1).is_some_and(|next| !next.starts_with("=== "));
        let shown =
            lines.iter().enumerate().filter(|(index, line)| !line.starts_with("=== ") || below(*index));
        shown.map(|(_, line)| line.trim()).collect::<Vec<_>>().join("\n    ")
    }
}

/// Returns every reason once, regardless of how many machines it is reported for.
fn refusal(text: &str) -> String {
    let mut reported = problems(text);
    reported.dedup();
    reported.join("\n    ")
}

/// Returns every cell, each with its name.
fn cells(family: &Family) -> Vec<(String, Cell)> {
    let mut cells = Vec::new();
    for kind in BALANCERS {
        for run in [Run::Service, Run::StaticPod] {
            for (placement, extra) in PLACEMENTS {
                let vip = match (kind.moves_vip(), kind.private_vip) {
                    (true, _) => format!("vip = \"{}10\"", family.prefix),
                    (_, true) => format!("vip = \"{}\"", family.private),
                    _ => String::new(),
                };
                let endpoint = format!("{vip}\nbalancer = \"{}\"\nrun = \"{}\"", kind.name, run.name());
                let name = format!("{} × {} × {placement}", kind.name, run.name());
                cells.push((name, Cell::of(&family.cluster_file(&endpoint, extra))));
            }
        }
    }
    cells
}

fn table(cells: &[(String, Cell)], accepted: impl Fn(&Accepted) -> String) -> String {
    cells.iter().map(|(name, cell)| format!("{name}\n    {}\n", cell.show(&accepted))).collect()
}

#[test]
fn every_cell_of_the_axis_is_a_cluster_or_a_refusal_with_its_reason_in_both_families() {
    let fourth = table(&cells(&IPV4), Accepted::summary);
    golden("axis", "balancers", &fourth);
    let sixth = cells(&IPV6);
    let shown = table(&sixth, Accepted::summary)
        .replace("[::1]", "127.0.0.1")
        .replace("[fd00:1::10]", "10.0.0.10")
        .replace("[fd00:9::43]", "169.254.64.43");
    assert_eq!(shown, fourth);
    let accepted: Vec<_> = sixth.into_iter().filter(|(_, cell)| matches!(cell, Cell::Cluster(_))).collect();
    golden("axis", "ipv6", &table(&accepted, Accepted::addresses));
}

#[test]
fn kube_vip_tells_routers_of_both_families() {
    let settings = "balancer = \"kube-vip\"\nvip = \"fd00:9::10\"\n\
        bgp = { local-as = 64512, peers = [\"[fd00:1::1]:64513\", \"10.0.0.1:64514\"], multihop = true }";
    let Cell::Cluster(accepted) = Cell::of(&IPV6.cluster_file(settings, &[])) else { panic!("refused") };
    let manifest = text(&accepted.balancing.unwrap(), "/etc/kubernetes/manifests/kube-vip.yaml");
    let lines: Vec<&str> = manifest.lines().map(str::trim).collect();
    let variables = lines
        .windows(2)
        .filter_map(|pair| Some((pair[0].strip_prefix("- name: ")?, pair[1].strip_prefix("value: ")?)));
    let shown: Vec<_> = variables
        .filter(|(name, _)| ["address", "vip_subnet"].contains(name) || name.starts_with("bgp"))
        .collect();
    assert_eq!(
        shown,
        [
            ("address", "\"fd00:9::10\""),
            ("vip_subnet", "\"128\""),
            ("bgp_enable", "\"true\""),
            // Four bytes in every family, RFC 6286.
            ("bgp_routerid", "\"0.0.0.17\""),
            ("bgp_as", "\"64512\""),
            ("bgp_peers", "\"[fd00:1::1]:64513::true,10.0.0.1:64514::true\""),
        ]
    );
}
