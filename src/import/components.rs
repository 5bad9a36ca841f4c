//! kube-*.service, etcd.service and their environment files: networks, etcd members, and API server
//! addresses.

use crate::config::{Document, Flag, Fleet, Invocation};
use crate::import::balancers::host;
use crate::import::facts::{Facts, Naming, Origin, address};
use crate::import::settings::Setting;
use crate::words::Role;

/// Flags with the same meaning in every program, and the corresponding settings.
const FLAGS: [(&str, Setting); 9] = [
    ("service-cluster-ip-range", Setting::Services),
    ("cluster-cidr", Setting::Pods),
    ("node-cidr-mask-size", Setting::PodsPrefix),
    ("service-node-port-range", Setting::NodePorts),
    ("cluster-domain", Setting::Domain),
    ("cluster-name", Setting::Name),
    ("pod-infra-container-image", Setting::Pause),
    ("proxy-mode", Setting::ProxyMode),
    ("iface", Setting::Interface),
];

/// Flags that name machines: the program, the flag, the machines' role, and true if the flag names the
/// machine that the file is on.
const MACHINES: [(&str, &str, Option<Role>, bool); 12] = [
    ("kube-apiserver", "advertise-address", Some(Role::ControlPlane), true),
    ("kube-apiserver", "bind-address", Some(Role::ControlPlane), true),
    ("kube-apiserver", "etcd-servers", Some(Role::Etcd), false),
    ("etcd", "initial-advertise-peer-urls", Some(Role::Etcd), true),
    ("etcd", "listen-peer-urls", Some(Role::Etcd), true),
    ("etcd", "listen-client-urls", Some(Role::Etcd), true),
    ("etcd", "advertise-client-urls", Some(Role::Etcd), true),
    ("kubelet", "node-ip", None, true),
    ("kubelet", "address", None, true),
    ("kubelet", "hostname-override", None, true),
    ("kube-proxy", "hostname-override", None, true),
    ("kubelet", "api-servers", Some(Role::ControlPlane), false),
];

/// Keys in containerd's configuration that name the pause image, before and since containerd 2.0.
const SANDBOX: [&str; 2] = ["sandbox_image", "sandbox"];

pub(super) fn learn(fleet: &Fleet<'_>, facts: &mut Facts) {
    for (document, setting) in
        fleet.settings("containerd").filter(|(_, setting)| SANDBOX.contains(&setting.key.text))
    {
        facts.say(Setting::Pause, document, setting.value);
    }
    for invocation in &fleet.invocations {
        let document = &fleet.documents[invocation.document];
        for (name, setting) in FLAGS {
            if let Some(flag) = invocation.flag(name) {
                facts.say(setting, &fleet.documents[flag.document], flag.value);
            }
        }
        for (_, name, role, own) in MACHINES.iter().filter(|(program, ..)| *program == invocation.program) {
            if let Some(flag) = invocation.flag(name) {
                machines(document, invocation, flag, *role, *own, facts);
            }
        }
        if let Some(flag) = invocation.flag("initial-cluster") {
            members(document, flag, facts);
        }
        if invocation.program == "flanneld" {
            facts.say_as(Setting::Plugin, "flannel", document, invocation.word);
        }
    }
}

fn machines(
    document: &Document<'_>,
    invocation: &Invocation<'_>,
    flag: &Flag<'_>,
    role: Option<Role>,
    own: bool,
    facts: &mut Facts,
) {
    let alias = invocation.value("name").filter(|_| invocation.program == "etcd");
    let (name, naming) = match host(document).filter(|_| own) {
        Some(name) => (Some(name), Naming::Host),
        None => (alias.filter(|_| own), Naming::Alias),
    };
    for part in flag.value.pieces(|letter| letter == ',') {
        facts.mention(name, address(part.text), role, naming, Origin::of(document, part));
    }
}

/// Reads etcd members from `m1=https://10.0.0.11:2380,…`.
fn members(document: &Document<'_>, flag: &Flag<'_>, facts: &mut Facts) {
    for part in flag.value.pieces(|letter| letter == ',') {
        if let Some((name, url)) = part.split_once('=') {
            facts.mention(
                Some(name.text),
                address(url.text),
                Some(Role::Etcd),
                Naming::Alias,
                Origin::of(document, part),
            );
        }
    }
}
