//! `kiln plan`: shows what would be built and what each machine receives.

use std::path::PathBuf;

use crate::cli::picture::picture;
use crate::cli::table::{columns, paragraph};
use crate::cli::{Ui, input};
use crate::cluster::MatchRule;
use crate::error::Result;
use crate::host;
use crate::overlay::Protocol;
use crate::plan::{
    self, Check, EndpointPlan, Failover, ImagePlan, NodePlan, Plan, PortUse, Size, Start, shortened,
};
use crate::words::Placement;

/// Show what would be built and what each machine receives: addresses, overlays, certificates, ports, quorum
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Write a drawing of the topology to this file instead; `-` means stdout
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  kiln plan
  kiln plan --svg cluster.svg
  kiln plan --json | jq '.ports[] | select(.from != \"loopback\")'";

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    let site = input::site(ui)?;
    let plan = plan::plan(&site.cluster, &site.overlays)?;
    match &args.svg {
        None => ui.show(&plan, text),
        Some(path) if path.as_os_str() == "-" => ui.print(plan::draw(&plan)),
        Some(path) => host::fs::write_atomic(path, plan::draw(&plan).as_bytes(), host::fs::PUBLIC),
    }
}

fn text(plan: &Plan) -> String {
    let images: String = plan.images.iter().map(image).collect();
    let sections = [
        ("TOPOLOGY", picture(&plan.topology)),
        ("NODES", nodes(&plan.nodes)),
        ("MACHINES (minimum sizes)", sizes(&plan.sizes)),
        ("FAILOVER TIMES (computed from the rendered configuration)", failovers(&plan.failovers)),
        ("PORTS", ports(&plan.ports)),
        ("STARTUP DEPENDENCIES (power machines on in any order)", order(&plan.start_order)),
        ("CHECKS", checks(&plan.checks)),
    ];
    let sections: String = sections.map(|(title, body)| format!("\n{title}\n{body}")).concat();
    format!("{}\n{images}{sections}", summary(plan))
}

fn order(order: &[Start]) -> String {
    let row = |start: &Start| {
        [start.component.to_owned(), start.waits_for.to_owned(), shortened(&start.nodes).join(", ")]
    };
    columns(&order.iter().map(row).collect::<Vec<_>>())
}

fn checks(checks: &[Check]) -> String {
    let check = |check: &Check| {
        let place = if check.on.is_empty() {
            "on this machine".to_owned()
        } else {
            format!("on {}", shortened(&check.on).join(", "))
        };
        format!("  # {} ({place})\n  {}\n", check.shows, check.command)
    };
    checks.iter().map(check).collect()
}

fn summary(plan: &Plan) -> String {
    let quorum = &plan.quorum;
    let capacity = &plan.capacity;
    columns(&[
        row("cluster", format!("{}, Kubernetes {}, profile {}", plan.cluster, plan.kubernetes, plan.profile)),
        row("endpoint", endpoint(&plan.endpoint)),
        row("failover", failover(&plan.endpoint)),
        row(
            "quorum",
            format!(
                "{} etcd members, {} must be up, {} may fail",
                quorum.members.len(),
                quorum.needed,
                quorum.tolerated
            ),
        ),
        row(
            "capacity",
            format!(
                "{} nodes, {} pod addresses per node, {} services, {} node ports{}",
                capacity.nodes,
                capacity.pods_per_node,
                capacity.services,
                capacity.node_ports,
                if capacity.untested { "; Kubernetes is tested with up to 5000 nodes" } else { "" }
            ),
        ),
        row("time", time(&plan.time_servers)),
        row("outputs", plan.outputs.iter().map(|output| output.name).collect::<Vec<_>>().join(", ")),
    ])
}

fn row(name: &str, value: String) -> [String; 2] {
    [name.to_owned(), value]
}

fn time(servers: &[String]) -> String {
    match servers {
        [] => "synchronized between the machines; set `ntp` in `[network]` to use time servers".to_owned(),
        servers => format!("from {}", servers.join(", ")),
    }
}

fn endpoint(endpoint: &EndpointPlan) -> String {
    let dialled =
        |name: &str| endpoint.authority.strip_prefix(name).is_some_and(|rest| rest.starts_with(':'));
    let others: Vec<&str> = endpoint.names.iter().map(String::as_str).filter(|name| !dialled(name)).collect();
    let names = if others.is_empty() { String::new() } else { format!(", also {}", others.join(", ")) };
    let behind = match (endpoint.balancer.place, endpoint.virtual_router_id) {
        (Placement::Elsewhere, _) => " (your own balancer)".to_owned(),
        (_, Some(id)) => format!(" ({}, VRRP router {id})", endpoint.balancer.name),
        (_, None) => format!(" ({})", endpoint.balancer.name),
    };
    format!("https://{}{behind}{names}", endpoint.authority)
}

fn failover(endpoint: &EndpointPlan) -> String {
    match (endpoint.balancer.place, endpoint.failover_seconds) {
        (_, Some(seconds)) => format!("within {seconds} s after the VIP holder fails"),
        (Placement::Elsewhere, None) => "depends on your balancer".to_owned(),
        (Placement::EveryNode, None) => {
            "none needed: every machine switches to another API server on its own".to_owned()
        }
        (Placement::ControlPlane | Placement::Front, None) => {
            "none: only one machine can hold the VIP".to_owned()
        }
    }
}

fn sizes(sizes: &[Size]) -> String {
    let row = |size: &Size| {
        let pods = if size.plus_pods { "plus its pods' requests" } else { "" };
        [
            size.image.clone(),
            format!("{} processors", size.cpus),
            format!("{} GiB of memory", size.memory_gib),
            pods.to_owned(),
        ]
    };
    columns(&sizes.iter().map(row).collect::<Vec<_>>())
}

fn failovers(failovers: &[Failover]) -> String {
    let row = |failover: &Failover| {
        let [least, most] = failover.seconds;
        [failover.failure.to_owned(), format!("{least} to {most} s"), failover.until.to_owned()]
    };
    columns(&failovers.iter().map(row).collect::<Vec<_>>())
}

fn image(image: &ImagePlan) -> String {
    let list = |name: &str, values: &[String]| format!("  {name}\n{}", paragraph(4, values));
    let lists = [
        ("overlays", &image.overlays),
        ("programs", &image.binaries),
        ("container images", &image.container_images),
        ("packages", &image.packages),
        ("units", &image.units),
    ];
    let lists: String = lists
        .into_iter()
        .filter(|(_, values)| !values.is_empty())
        .map(|(name, values)| list(name, values))
        .collect();
    format!("IMAGE {} for {}\n{lists}", image.name, shortened(&image.nodes).join(", "))
}

fn nodes(nodes: &[NodePlan]) -> String {
    let header = ["NAME", "ADDRESS", "IMAGE", "PRIORITY", "RECOGNIZED BY", "CERTIFICATES"].map(str::to_owned);
    let rows = nodes.iter().map(|node| {
        [
            node.name.clone(),
            node.address.to_string(),
            node.image.clone(),
            node.priority.map_or("-".to_owned(), |priority| priority.to_string()),
            matches(&node.matches),
            format!("{}", node.certificates.len()),
        ]
    });
    columns(&std::iter::once(header).chain(rows).collect::<Vec<_>>())
}

fn matches(rules: &[MatchRule]) -> String {
    let one = |rule: &MatchRule| match rule {
        MatchRule::KernelCommandLine(name) => format!("kiln.node={name}"),
        MatchRule::Serial(serial) => format!("serial {serial}"),
        MatchRule::Uuid(uuid) => format!("UUID {uuid}"),
        MatchRule::Mac(mac) => format!("MAC {mac}"),
    };
    if rules.is_empty() { "seed".to_owned() } else { rules.iter().map(one).collect::<Vec<_>>().join(" or ") }
}

fn ports(ports: &[PortUse]) -> String {
    let header = ["PORT", "FROM", "WHAT", "ON"].map(str::to_owned);
    let rows = ports.iter().map(|port| {
        let number = if port.last == port.port {
            port.port.to_string()
        } else {
            format!("{}-{}", port.port, port.last)
        };
        let number = match port.protocol {
            Protocol::Tcp => format!("{number}/tcp"),
            Protocol::Udp => format!("{number}/udp"),
            Protocol::Vrrp => "VRRP".to_owned(),
        };
        [number, port.from.clone(), port.what.clone(), shortened(&port.nodes).join(", ")]
    });
    columns(&std::iter::once(header).chain(rows).collect::<Vec<_>>())
}
