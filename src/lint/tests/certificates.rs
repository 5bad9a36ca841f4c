//! Examples with certificates, which are made here: text would expire.

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};

use super::examples::{Example, machines};
use crate::lint::Target;

/// 2026-01-01.
const NOW: u64 = 1_767_225_600;

/// What differs between certificates: `O/CN`, names, uses (`s`erver, `c`lient, `a`uthority), last year of
/// validity.
fn certificate(subject: &str, names: &[&str], uses: &str, until: i32) -> String {
    let mut params =
        CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    let (organization, name) = subject.split_once('/').unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    if !organization.is_empty() {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    let all = [('s', ExtendedKeyUsagePurpose::ServerAuth), ('c', ExtendedKeyUsagePurpose::ClientAuth)];
    params.extended_key_usages =
        all.into_iter().filter(|(letter, _)| uses.contains(*letter)).map(|(_, usage)| usage).collect();
    if uses.contains('a') {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 15);
    params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem()
}

fn kubeconfig(pem: &str) -> String {
    let data = base64::engine::general_purpose::STANDARD.encode(pem);
    format!("apiVersion: v1\nusers:\n- name: default\n  user:\n    client-certificate-data: {data}\n")
}

const ETCD: &str = "== m1:/etc/systemd/system/etcd.service\n[Service]\nExecStart=/usr/bin/etcd \
    --peer-cert-file=/e/peer.crt --initial-advertise-peer-urls=https://10.0.0.11:2380\n";
const SERVER: &str = "== m1:/etc/systemd/system/kube-apiserver.service\n[Service]\n\
    ExecStart=/usr/bin/kube-apiserver --tls-cert-file=/k/server.crt \
    --kubelet-client-certificate=/k/client.crt --service-cluster-ip-range=10.96.0.0/12\n";
const KUBELET: &str = "== w1:/etc/systemd/system/kubelet.service\n[Service]\nExecStart=/usr/bin/kubelet \
    --hostname-override=w1\n";
const VIP: &str =
    "== m1:/etc/keepalived/keepalived.conf\nvrrp_instance A {\n virtual_ipaddress { 10.0.0.10 }\n}\n";
const BINDING: &str = "== m1:/etc/kubernetes/rbac.yaml\nkind: ClusterRoleBinding\nsubjects:\n- kind: User\n  \
    name: kube-apiserver-kubelet-client\n";

/// A certificate of an etcd member for its peers.
fn peer(names: &[&str], uses: &str) -> String {
    format!("{ETCD}== m1:/e/peer.crt\n{}", certificate("/m1", names, uses, 2030))
}

/// A kubelet's kubeconfig.
fn node(subject: &str) -> String {
    let kubeconfig = kubeconfig(&certificate(subject, &[], "c", 2030));
    format!("{KUBELET}== w1:/etc/kubernetes/kubelet.conf\n{kubeconfig}")
}

/// A certificate by itself.
fn file(subject: &str, names: &[&str], uses: &str, until: i32) -> String {
    format!("== m1:/k/a.crt\n{}", certificate(subject, names, uses, until))
}

/// An API server's certificate for kubelets.
fn client(subject: &str) -> String {
    format!("{SERVER}== m1:/k/client.crt\n{}", certificate(subject, &[], "c", 2030))
}

/// An API server's certificate for clients, behind a VIP.
fn served(names: &[&str]) -> String {
    format!("{VIP}{SERVER}== m1:/k/server.crt\n{}", certificate("/kube-apiserver", names, "s", 2030))
}

/// An administrator's kubeconfig that contains the certificate.
fn admin(subject: &str) -> String {
    format!("== m1:/etc/kubernetes/admin.conf\n{}", kubeconfig(&certificate(subject, &[], "c", 2030)))
}

/// An administrator's kubeconfig that names the certificate's file.
fn named(subject: &str) -> String {
    let kubeconfig =
        "apiVersion: v1\nusers:\n- name: default\n  user:\n    client-certificate: /k/admin.crt\n";
    format!(
        "== m1:/etc/kubernetes/admin.conf\n{kubeconfig}== m1:/k/admin.crt\n{}",
        certificate(subject, &[], "c", 2030)
    )
}

pub(super) fn examples() -> Vec<Example> {
    let service = ["10.96.0.1", "10.0.0.10", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let rows = [
        ("HA001", true, served(&service[2..])),
        ("HA001", false, served(&service)),
        ("HA104", true, peer(&["10.0.0.11"], "s")),
        ("HA104", true, peer(&["10.0.0.11"], "c")),
        ("HA104", false, peer(&["10.0.0.11"], "sc")),
        ("HA105", true, peer(&["127.0.0.1"], "sc")),
        ("HA105", false, peer(&["10.0.0.11", "127.0.0.1"], "sc")),
        ("HA108", true, file("/leaf", &["a"], "s", 2026)),
        ("HA108", true, file("/authority", &[], "a", 2026)),
        (
            "HA108",
            false,
            file("/leaf", &["a"], "s", 2027) + &file("/authority", &[], "a", 2028).replace("a.crt", "ca.crt"),
        ),
        ("HA109", true, node("system:nodes/system:node:W1")),
        ("HA109", true, node("/system:node:w1")),
        ("HA109", true, node("system:nodes/system:node:w2")),
        ("HA109", false, node("system:nodes/system:node:w1")),
        ("HA110", true, admin("system:masters/kubernetes-super-admin")),
        ("HA110", true, named("system:masters/kubernetes-super-admin")),
        ("HA110", false, named("kubeadm:cluster-admins/kubernetes-admin")),
        ("HA110", false, admin("kubeadm:cluster-admins/kubernetes-admin")),
        ("HA111", true, served(&service[1..])),
        ("HA111", false, served(&service)),
        ("HA112", true, file("/api.example.org", &[], "s", 2030)),
        ("HA112", false, file("/api.example.org", &["api.example.org"], "s", 2030)),
        ("HA119", true, client("/kube-apiserver-kubelet-client")),
        ("HA119", false, client("system:masters/kube-apiserver-kubelet-client")),
        ("HA119", false, client("kubeadm:cluster-admins/kube-apiserver-kubelet-client")),
        ("HA119", false, client("/kube-apiserver-kubelet-client") + BINDING),
    ];
    let target = Target { kubernetes: 30, etcd: 5, now: NOW };
    rows.into_iter()
        .map(|(id, bad, text)| Example { id: id.to_owned(), bad, target, machines: machines(&text) })
        .collect()
}
