//! Who runs what: quorum, single points of failure, components that fight for a port.

pub(in crate::lint) mod files;
mod removed;

use std::collections::BTreeSet;

use crate::error::counted;
use crate::lint::Lint;
use crate::lint::keepalived::router_id;
use crate::lint::listen::port_clash;
use crate::lint::node::clock;
use crate::lint::subject::{Findings, Subject};
use crate::profile::closest;
use crate::words::{Founders, Mover, Role};

const API_SERVER: &str = "kube-apiserver";
/// What every keepalived example uses.
const EXAMPLE_ROUTER_ID: u8 = 51;

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA010", "the number of etcd members gives no fault tolerance")
        .why("etcd needs more than half of its members: two tolerate no failure, four no more than three; an even number only adds a machine that can fail")
        .fix("use 3 members, or 5")
        .files(files::quorum)
        .cluster(|subject, findings| {
            let members = subject.cluster.etcd_members().len();
            let masters = subject.cluster.with_role(Role::ControlPlane).count();
            if masters >= 2 && (members < 3 || members.is_multiple_of(2)) {
                let tolerated = members.saturating_sub(1) / 2;
                let tolerate = if members == 1 { "tolerates" } else { "tolerate" };
                findings.at("nodes", format!("{} {tolerate} {}", counted(members, "etcd member"), counted(tolerated, "failure")));
            }
        }),
    Lint::warning("HA011", "there are two control-plane nodes")
        .why("while one of two is being serviced, the other is a single point of failure; a third costs one machine and holds the third etcd member too")
        .fix("add a third control-plane node")
        .files(files::two_masters)
        .cluster(|subject, findings| {
            if subject.cluster.with_role(Role::ControlPlane).count() == 2 {
                findings.at("nodes", "two control-plane nodes leave no room for maintenance");
            }
        }),
    Lint::warning("HA012", "etcd shares a machine with workloads")
        .why("etcd acknowledges a write when the disk has it; workloads that keep the disk busy make it miss heartbeats, and the cluster loses its leader under load")
        .fix("give the node either role")
        .files(files::etcd_beside)
        .cluster(|subject, findings| {
            let members: BTreeSet<&str> = subject.cluster.etcd_members().iter().map(|node| node.name.as_str()).collect();
            for (index, node) in subject.cluster.nodes.iter().enumerate() {
                if node.roles.contains(&Role::Worker) && members.contains(node.name.as_str()) {
                    findings.at(format!("nodes[{index}].roles"), format!("on `{}` etcd shares the disk with workloads", node.name));
                }
            }
        }),
    Lint::error("HA013", "a VIP stands before etcd")
        .why("etcd's clients balance and fail over by themselves among all members; behind a VIP they see one, and lose their watches each time it moves")
        .fix("list every member")
        .files(files::vip_before_etcd),
    Lint::error("HA014", "the balancer's port belongs to another component of the same node")
        .why("two programs can't listen on one port: whichever starts second fails, again and again")
        .fix("leave `port` out: the default is one that nothing else of the machine has")
        .files(port_clash)
        .cluster(endpoint_port),
    Lint::warning("HA015", "one machine carries the VIP alone")
        .why("when it dies, the API is gone, however many API servers live")
        .fix("give a second node the role `lb`, or the cluster more control-plane nodes")
        .cluster(|subject, findings| {
        if subject.cluster.vip_carriers().len() == 1 {
            findings.at("nodes", "one node carries the VIP alone");
        }
    }),
    Lint::error("HA018", "a role has an overlay that does not exist")
        .why("its files could not be rendered")
        .fix("`kiln list overlays` shows those that exist; `--overlay-dir` names a directory of yours")
        .cluster(unknown_overlay),
    Lint::error("HA020", "a role lacks what its machines are there for")
        .why("the machines boot, and what was taken away is missing: the cluster never comes up, or the endpoint leads nowhere")
        .fix("leave it in, or `add` an overlay that does its work")
        .cluster(removed::missing_component),
    Lint::warning("HA021", "a removed overlay stays")
        .why("other overlays of the machines require it and bring it back: the cluster file says one thing, and the machines get another")
        .fix("remove those that require it too, or leave this one in")
        .cluster(removed::no_removal),
    Lint::warning("HA022", "a majority may found etcd without the rest")
        .why("two machines that lost their disks see the same as at a first boot: with the third one off they found an empty cluster behind the same VIP, while its data lie intact")
        .fix("leave `found` out, and answer a machine that is missing by an order: `kiln order --without NAME`")
        .cluster(|subject, findings| {
            if subject.cluster.founders == Founders::Majority {
                findings.at("etcd.found", "an empty cluster may begin while a machine that is off has all the data");
            }
        }),
    Lint::error("HA311", "the VRRP router identifier is not this cluster's alone")
        .why("two clusters with one identifier in one segment fight for mastership, and both lose their VIP now and then; 51 stands in most published configurations")
        .fix("leave `virtual-router-id` out: it is then the last byte of the VIP")
        .files(router_id)
        .cluster(|subject, findings| {
        let endpoint = &subject.cluster.endpoint;
        if endpoint.balancer.mover == Mover::Keepalived && endpoint.virtual_router_id == EXAMPLE_ROUTER_ID {
            findings.at(
                "endpoint.virtual-router-id",
                format!("VRRP router identifier {EXAMPLE_ROUTER_ID} is probably used by somebody else too"),
            );
        }
    }),
    Lint::error("HA405", "nothing keeps the clock")
        .why("a clock that is set once drifts: certificates are then not valid yet or not any more, and etcd's leases expire")
        .fix("keep it with chrony; without time servers, `local stratum 10 orphan` lets machines keep time among themselves")
        .files(clock),
];

/// The balancer's port against those that the other overlays of its nodes declare. The API server's is no conflict: it
/// listens on the node's own address, and the balancer then on the VIP and on loopback.
fn endpoint_port(subject: &Subject<'_>, findings: &mut Findings) {
    let (cluster, port) = (subject.cluster, subject.cluster.endpoint.port);
    let Some(proxy) = cluster.endpoint.balancer.proxy else { return };
    let beside = cluster.nodes.iter().map(|node| subject.names(&node.roles)).filter(|names| names.iter().any(|name| *name == proxy));
    let neighbours: BTreeSet<&String> = beside.flatten().filter(|name| ![proxy, API_SERVER].contains(&name.as_str())).collect();
    for name in neighbours {
        let declared = subject.overlays.get(name).map(|overlay| overlay.manifest.ports.as_slice()).unwrap_or_default();
        if declared.iter().any(|other| other.port == port) {
            let message = format!("`{proxy}` and `{name}` both need port {port} of the same node");
            match subject.profile.document.endpoint.port {
                Some(_) => findings.at("endpoint.port", message),
                None => findings.with_fix("endpoint.port", message, "choose another one: `port = 8443`"),
            }
        }
    }
}

fn unknown_overlay(subject: &Subject<'_>, findings: &mut Findings) {
    let known: Vec<&str> = subject.overlays.iter().map(|overlay| overlay.name.as_str()).collect();
    let mut told = BTreeSet::new();
    for (role, names) in &subject.cluster.overlays {
        let added = &subject.profile.document.overlays.of(*role).add;
        for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
            let path = match added.iter().position(|added| added == name) {
                Some(index) => format!("overlays.{}.add[{index}]", role.name()),
                None => "profile".to_owned(),
            };
            if told.insert(name) {
                let meant = closest(name, known.iter().copied()).map(|other| format!("; did you mean `{other}`?")).unwrap_or_default();
                findings.at(path, format!("there is no overlay named `{name}`{meant}"));
            }
        }
    }
}
