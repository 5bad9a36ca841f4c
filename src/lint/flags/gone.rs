//! Flags by version: when each was deprecated, when it went, what takes its place.

use super::known;
use crate::config::{Flag, Fleet, Invocation};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::profile::slip;

/// A flag that some version no longer takes.
struct Row {
    program: &'static str,
    /// One that ends with a dash is every flag that begins so.
    flag: &'static str,
    /// The only value that is meant, where others stay.
    value: Option<&'static str>,
    /// First minor version in which it is deprecated.
    deprecated: u32,
    /// First minor version that refuses it, or [`NEVER`].
    gone: u32,
    instead: &'static str,
}

const NEVER: u32 = u32::MAX;
/// Every component of Kubernetes.
const EVERY: &str = "";

const fn row(program: &'static str, flag: &'static str, deprecated: u32, gone: u32, instead: &'static str) -> Row {
    Row { program, flag, value: None, deprecated, gone, instead }
}

impl Row {
    /// Means one value of the flag.
    const fn only(mut self, value: &'static str) -> Self {
        self.value = Some(value);
        self
    }
}

/// Release notes of Kubernetes 1.6 to 1.36; for etcd, the minor versions of etcd 3.
static TABLE: &[Row] = &[
    row("kube-apiserver", "admission-control", 10, NEVER, "--enable-admission-plugins"),
    row("kube-apiserver", "insecure-bind-address", 10, 24, "nothing"),
    row("kube-apiserver", "insecure-port", 10, 24, "nothing"),
    row("kube-apiserver", "address", 10, 24, "--bind-address"),
    row("kube-apiserver", "port", 10, 24, "--secure-port"),
    row("kube-apiserver", "kubelet-https", 19, 22, "nothing"),
    row("kube-apiserver", "kubelet-port", 6, NEVER, "nothing"),
    row("kube-apiserver", "kubelet-read-only-port", 6, NEVER, "nothing"),
    row("kube-apiserver", "enable-swagger-ui", 14, 24, "nothing"),
    row("kube-apiserver", "apiserver-count", 24, NEVER, "--endpoint-reconciler-type=lease"),
    row("kube-apiserver", "basic-auth-file", 16, 19, "certificates"),
    row("kube-apiserver", "experimental-bootstrap-token-auth", 8, 9, "--enable-bootstrap-token-auth"),
    row("kube-apiserver", "service-account-api-audiences", 13, 25, "--api-audiences"),
    row("kube-apiserver", "etcd-quorum-read", 9, 13, "nothing"),
    row("kube-apiserver", "experimental-encryption-provider-config", 13, 24, "--encryption-provider-config"),
    row("kube-apiserver", "repair-malformed-updates", 14, 14, "nothing"),
    row("kube-apiserver", "tls-ca-file", 11, 11, "nothing"),
    row("kube-apiserver", "public-address-override", 10, 10, "--bind-address"),
    row("kube-apiserver", "target-ram-mb", 19, 24, "nothing"),
    row("kube-apiserver", "deserialization-cache-size", 13, 24, "nothing"),
    row("kube-apiserver", "ssh-user", 9, 22, "nothing"),
    row("kube-apiserver", "ssh-keyfile", 9, 22, "nothing"),
    row("kube-apiserver", "cloud-provider", 29, 33, "a cloud controller manager"),
    row("kube-apiserver", "cloud-config", 29, 33, "a cloud controller manager"),
    row("kube-apiserver", "master-service-namespace", 26, 27, "nothing"),
    row("kube-apiserver", "enable-logs-handler", 15, NEVER, "nothing"),
    row("kube-apiserver", "storage-backend", 9, 13, "--storage-backend=etcd3").only("etcd2"),
    row("kube-apiserver", "endpoint-reconciler-type", 24, NEVER, "--endpoint-reconciler-type=lease").only("master-count"),
    row("kube-controller-manager", "leader-elect-resource-lock", 20, 24, "--leader-elect-resource-lock=leases").only("endpoints"),
    row("kube-controller-manager", "leader-elect-resource-lock", 20, 24, "--leader-elect-resource-lock=leases").only("configmaps"),
    row("kube-controller-manager", "leader-elect-resource-lock", 24, 32, "--leader-elect-resource-lock=leases").only("endpointsleases"),
    row("kube-scheduler", "leader-elect-resource-lock", 20, 24, "--leader-elect-resource-lock=leases").only("endpoints"),
    row("kube-scheduler", "leader-elect-resource-lock", 20, 24, "--leader-elect-resource-lock=leases").only("configmaps"),
    row("kube-scheduler", "leader-elect-resource-lock", 24, 32, "--leader-elect-resource-lock=leases").only("endpointsleases"),
    row("kube-controller-manager", "address", 12, 24, "--bind-address"),
    row("kube-controller-manager", "port", 12, 24, "--secure-port"),
    row("kube-controller-manager", "experimental-cluster-signing-duration", 19, 25, "--cluster-signing-duration"),
    row("kube-controller-manager", "horizontal-pod-autoscaler-use-rest-clients", 12, 22, "nothing"),
    row("kube-controller-manager", "pod-eviction-timeout", 26, 27, "tolerations of the API server"),
    row("kube-controller-manager", "enable-taint-manager", 25, 27, "nothing"),
    row("kube-controller-manager", "register-retry-count", 25, 25, "nothing"),
    row("kube-controller-manager", "deleting-pods-qps", 25, 25, "nothing"),
    row("kube-controller-manager", "deleting-pods-burst", 25, 25, "nothing"),
    row("kube-controller-manager", "volume-host-cidr-denylist", 28, 31, "nothing"),
    row("kube-scheduler", "address", 13, 24, "--bind-address"),
    row("kube-scheduler", "port", 13, 24, "--secure-port"),
    row("kube-scheduler", "policy-config-file", 19, 23, "--config"),
    row("kube-scheduler", "algorithm-provider", 19, 22, "--config"),
    row("kubelet", "api-servers", 6, 8, "--kubeconfig"),
    row("kubelet", "require-kubeconfig", 8, 10, "nothing"),
    row("kubelet", "cadvisor-port", 10, 12, "nothing"),
    row("kubelet", "experimental-fail-swap-on", 8, 14, "--fail-swap-on"),
    row("kubelet", "allow-privileged", 11, 15, "nothing"),
    row("kubelet", "network-plugin", 20, 24, "the runtime's own CNI settings"),
    row("kubelet", "cni-conf-dir", 20, 24, "the runtime's own CNI settings"),
    row("kubelet", "cni-bin-dir", 20, 24, "the runtime's own CNI settings"),
    row("kubelet", "cni-cache-dir", 20, 24, "the runtime's own CNI settings"),
    row("kubelet", "network-plugin-mtu", 20, 24, "the runtime's own CNI settings"),
    row("kubelet", "experimental-bootstrap-kubeconfig", 6, NEVER, "--bootstrap-kubeconfig"),
    row("kubelet", "docker-endpoint", 20, 24, "--container-runtime-endpoint"),
    row("kubelet", "image-pull-progress-deadline", 20, 24, "nothing"),
    row("kubelet", "dynamic-config-dir", 22, 24, "--config"),
    row("kubelet", "container-runtime", 24, 27, "nothing"),
    row("kubelet", "keep-terminated-pod-volumes", 31, 31, "nothing"),
    row("kubelet", "register-schedulable", 23, 34, "`registerWithTaints`"),
    row("kubelet", "cloud-config", 29, 34, "nothing"),
    // Deprecated in 1.24, yet up to 1.34 what tells the garbage collector which image to keep.
    row("kubelet", "pod-infra-container-image", 35, 35, "the runtime's sandbox image"),
    row("kube-proxy", "resource-container", 16, 16, "nothing"),
    row("kube-proxy", "conntrack-max", 15, 15, "--conntrack-max-per-core"),
    row("kube-proxy", "cleanup-iptables", 15, 15, "--cleanup"),
    row("kube-proxy", "proxy-mode", 23, 26, "--proxy-mode=iptables").only("userspace"),
    row("kubeadm", "experimental-control-plane", 15, 16, "--control-plane"),
    row("kubeadm", "experimental-upload-certs", 15, 16, "--upload-certs"),
    row("etcd", "log-package-levels", 4, 5, "--log-level"),
    row("etcd", "debug", 4, 5, "--log-level=debug"),
    row("etcd", "enable-v2", 5, 6, "nothing"),
    row("etcd", "experimental-enable-v2v3", 5, 6, "nothing"),
    row("etcd", "log-output", 4, 5, "--log-outputs"),
    row("etcd", "logger", 4, 5, "--logger=zap").only("capnslog"),
    row("etcd", "proxy", 5, 6, "nothing"),
    row("etcd", "proxy-", 5, 6, "nothing"),
    row("etcd", "experimental-initial-corrupt-check", 6, 7, "--feature-gates=InitialCorruptCheck=true"),
    row("etcd", "experimental-watch-progress-notify-interval", 6, 7, "--watch-progress-notify-interval"),
    row("etcd", "experimental-peer-skip-client-san-verification", 6, 7, "--peer-skip-client-san-verification"),
    row("etcd", "experimental-", 6, 7, "the flag without `experimental-`, or a feature gate"),
    row("etcd", "discovery", 6, 7, "--discovery-endpoints"),
    row(EVERY, "add-dir-header", 23, 26, "nothing"),
    row(EVERY, "logtostderr", 23, 26, "nothing: the journal has what stderr gets"),
    row(EVERY, "alsologtostderr", 23, 26, "nothing: the journal has what stderr gets"),
    row(EVERY, "stderrthreshold", 23, 26, "nothing"),
    row(EVERY, "log-dir", 23, 26, "nothing: the journal has what stderr gets"),
    row(EVERY, "log-file", 23, 26, "nothing: the journal has what stderr gets"),
    row(EVERY, "log-file-max-size", 23, 26, "nothing"),
    row(EVERY, "log-backtrace-at", 23, 26, "nothing"),
    row(EVERY, "skip-headers", 23, 26, "nothing"),
    row(EVERY, "skip-log-headers", 23, 26, "nothing"),
    row(EVERY, "one-output", 23, 26, "nothing"),
];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA201", "a flag is gone in this version")
        .why("a component that does not know a flag prints its help and exits; systemd starts it again and again")
        .fix("remove the flag, or write what takes its place")
        .files(|fleet, found| gone(fleet, found, &["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"])),
    Lint::warning("HA202", "a flag is deprecated")
        .why("the component takes it for now and says so in its log; a later version will not start with it")
        .fix("write what takes its place")
        .files(deprecated),
    Lint::error("HA212", "a flag is misspelt")
        .why("a component that does not know a flag prints its help and exits")
        .fix("correct the spelling")
        .files(misspelt),
    Lint::error("HA217", "the kubelet does not start with a flag of an older version")
        .why("a kubelet that does not know a flag exits, and with it goes every pod of the node, static ones first")
        .fix("remove the flag, or write what takes its place")
        .files(|fleet, found| gone(fleet, found, &["kubelet"])),
    Lint::error("HA224", "etcd or its tools do not take this in that version")
        .why("etcd 3.6 has no v2 API and etcdctl no restore, 3.7 no experimental flags: a member that does not start costs the cluster a member of its quorum")
        .fix("remove the flag, or write what takes its place; `etcdutl snapshot restore` restores")
        .files(etcd),
];

impl Row {
    fn is_about(&self, program: &str, flag: &Flag<'_>) -> bool {
        let of_all = self.program == EVERY && program.starts_with("kube") && program != "kubeadm";
        let named = if self.flag.ends_with('-') { flag.name.starts_with(self.flag) } else { self.flag == flag.name };
        named && (self.program == program || of_all) && self.value.is_none_or(|value| value == flag.value.text)
    }

    /// The flag as it was given, with its value where that is the matter.
    fn shown(&self, flag: &Flag<'_>) -> String {
        self.value.map_or_else(|| format!("--{}", flag.name), |value| format!("--{}={value}", flag.name))
    }

    fn instead(&self) -> String {
        if self.instead.starts_with("nothing") { "nothing takes its place".to_owned() } else { format!("use {}", self.instead) }
    }
}

/// The minor version that a program's flags are judged by, and how to write it.
fn version(fleet: &Fleet<'_>, program: &str) -> (u32, u32) {
    if program == "etcd" { (3, fleet.target.etcd) } else { (1, fleet.target.kubernetes) }
}

/// Every flag that the table knows, with its row.
fn flags<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = (&'f Invocation<'a>, &'f Flag<'a>, &'static Row)> {
    fleet.invocations.iter().flat_map(|invocation| {
        invocation
            .flags
            .iter()
            .filter_map(move |flag| Some((invocation, flag, TABLE.iter().find(|row| row.is_about(invocation.program, flag))?)))
    })
}

fn gone<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>, programs: &[&str]) {
    for (invocation, flag, row) in flags(fleet).filter(|(invocation, ..)| programs.contains(&invocation.program)) {
        let (major, minor) = version(fleet, invocation.program);
        if minor >= row.gone {
            let message = format!(
                "{} {major}.{minor} does not start with {}, which went in {major}.{}",
                invocation.program,
                row.shown(flag),
                row.gone
            );
            found.flag(flag, fleet, format!("{message}: {}", row.instead()));
        }
    }
}

/// What a kubelet is told only because it speaks to Docker: the flag that says so is told in the name of all.
const DOCKER: &str = "docker-endpoint";
const BECAUSE_OF_DOCKER: [&str; 3] = ["network-plugin", "cni-conf-dir", "cni-bin-dir"];

fn deprecated<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (invocation, flag, row) in flags(fleet) {
        let (major, minor) = version(fleet, invocation.program);
        // Port 0 closes what the version would open.
        let closes = flag.value.text == "0";
        let follows = BECAUSE_OF_DOCKER.contains(&row.flag) && invocation.flag(DOCKER).is_some();
        if (row.deprecated..row.gone).contains(&minor) && !closes && !follows {
            found.flag(flag, fleet, format!("{} is deprecated since {major}.{}: {}", row.shown(flag), row.deprecated, row.instead()));
        }
    }
}

fn etcd<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    gone(fleet, found, &["etcd"]);
    if fleet.target.etcd < 6 {
        return;
    }
    for (document, command) in fleet.commands() {
        if command.runs(&["etcdctl", "snapshot", "restore"]) {
            found.at(document, command.name(), "etcdctl 3.6 restores nothing: use etcdutl");
        } else if command.runs(&["etcdctl", "snapshot", "status"]) {
            found.at(document, command.name(), "etcdctl 3.6 tells nothing of snapshots: use etcdutl");
        }
    }
}

fn misspelt<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for invocation in &fleet.invocations {
        let names =
            || known::flags(invocation.program).chain(TABLE.iter().filter(|row| row.program == invocation.program).map(|row| row.flag));
        for flag in invocation.flags.iter().filter(|flag| flag.name.len() > 5 && !names().any(|name| name == flag.name)) {
            if let Some(name) = slip(&flag.name, names()) {
                found.flag(flag, fleet, format!("{} has no flag --{}; did you mean --{name}?", invocation.program, flag.name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NEVER, TABLE};

    #[test]
    fn what_kiln_renders_by_version_goes_when_this_table_says_so() {
        let mut disagree = Vec::new();
        for rendered in crate::render::flag_table() {
            let row = TABLE.iter().find(|row| row.program == rendered.program && row.flag == rendered.flag && row.value.is_none());
            let gone = row.map(|row| row.gone).filter(|gone| *gone != NEVER);
            if rendered.removed != gone {
                disagree.push(format!("{} --{}: {:?} is rendered, {gone:?} is here", rendered.program, rendered.flag, rendered.removed));
            }
        }
        assert!(disagree.is_empty(), "{}", disagree.join("\n"));
    }

    #[test]
    fn a_flag_is_deprecated_before_it_goes_and_stands_in_the_table_once() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(row.deprecated <= row.gone && (row.gone == NEVER || row.gone < 40), "{} {}", row.program, row.flag);
            assert!(
                !TABLE[..index].iter().any(|other| (other.program, other.flag, other.value) == (row.program, row.flag, row.value)),
                "{} {}",
                row.program,
                row.flag
            );
        }
    }
}
