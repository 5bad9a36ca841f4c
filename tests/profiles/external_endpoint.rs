//! A load balancer outside kiln's control.

use std::fs;
use std::process::{Child, Stdio};

use crate::common::lab::{FAILOVER, Lab, eventually};
use crate::common::{Variant, judge};
use crate::running::{Expected, MASTERS, RAW, Running};

/// A load balancer as a third party would run it. It ends at the end of its standard input.
struct Theirs {
    process: Child,
    _directory: tempfile::TempDir,
}

impl Theirs {
    /// Starts HAProxy on the host side of the lab's network, at an address that belongs to no node.
    fn new(lab: &Lab) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let servers: String = MASTERS
            .iter()
            .map(|address| format!("  server {address} {address}:6443 check inter 1s\n"))
            .collect();
        let file = directory.path().join("haproxy.cfg");
        let text = format!(
            "defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 10m\n  timeout server 10m\n  \
             option redispatch\n\
             listen api\n  bind 10.0.0.10:6443\n{servers}"
        );
        fs::write(&file, text).unwrap();
        let script = "bridge=$(ip -brief link show type bridge | cut -d' ' -f1) && ip address add \
            10.0.0.10/32 dev $bridge && { haproxy -db -f \"$0\" & } && cat && kill $!";
        let mut command = lab.kiln(&["exec", "--", "sh", "-c", script]);
        let process = command.arg(&file).stdin(Stdio::piped()).spawn().unwrap();
        Self { process, _directory: directory }
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

#[test]
fn external_endpoint_works_behind_a_balancer_of_somebody_else() {
    const BY_ADDRESS: (&str, &str) = ("names = [\"kubernetes.example.org\"]", "vip = \"10.0.0.10\"");
    let Some(_) = judge("haproxy") else { return };
    let variant =
        Variant { name: "external-endpoint", profile: "external-endpoint", changes: &[RAW, BY_ADDRESS] };
    let expected = Expected { endpoint: "10.0.0.10:6443", member: "m1", members: MASTERS, kubelets: 4 };
    let Some((running, theirs)) = Running::new(&variant, &expected, Theirs::new) else { return };
    running.is_writable("before");
    running.kill("m1");
    eventually("the endpoint answers again", FAILOVER, || running.ready());
    running.is_writable("after");
    drop(theirs);
    running.ends_well();
}
