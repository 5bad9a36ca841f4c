//! A load balancer on every machine, without a VIP.

use std::collections::BTreeSet;

use crate::common::Variant;
use crate::common::lab::{FAILOVER, eventually, succeeded};
use crate::running::{Expected, MASTERS, RAW, Running, with_images};

#[test]
fn kubelets_that_balance_for_themselves_do_not_notice_the_loss_of_an_api_server() {
    kubelets_lose_an_api_server(&Variant {
        name: "node-local-lb",
        profile: "node-local-lb",
        changes: &[RAW],
    });
}

#[test]
fn nginx_as_a_static_pod_of_every_machine_does_as_well() {
    const NGINX: (&str, &str) =
        ("# balancer = \"node-local\"", "balancer = \"node-local-nginx\"\nrun = \"static-pod\"");
    let Some((_, images)) = with_images() else { return };
    // The profile's cluster file names no images because its load balancers are services.
    let images: &'static str = Box::leak(format!("{images}\n\n# raw and qcow2").into_boxed_str());
    let changes = Box::leak(Box::new([RAW, NGINX, ("# raw and qcow2", images)]));
    kubelets_lose_an_api_server(&Variant { name: "node-local-lb-nginx", profile: "node-local-lb", changes });
}

/// Checks that every kubelet continues to renew its lease while `m1` has no power.
fn kubelets_lose_an_api_server(variant: &Variant) {
    let expected = Expected { endpoint: "10.0.0.12:6443", member: "m1", members: MASTERS, kubelets: 5 };
    let Some((running, ())) = Running::new(variant, &expected, |_| ()) else { return };
    // Clients outside the cluster have no load balancer and select a server themselves.
    let server = format!("--server=https://{}", running.endpoint);
    let format = "--output=jsonpath={range .items[*]}{.metadata.name}={.spec.renewTime} {end}";
    let renewals = || {
        let output = running
            .client
            .kubectl(&running.lab, &["--namespace=kube-node-lease", "get", "leases", format, &server]);
        let text = succeeded(&output, "w2=").map(|()| String::from_utf8(output.stdout).unwrap())?;
        Ok::<BTreeSet<String>, String>(
            text.split_whitespace().filter(|word| !word.starts_with("m1=")).map(str::to_owned).collect(),
        )
    };
    running.kill("m1");
    let mut last = BTreeSet::new();
    eventually("leases can be read", FAILOVER, || renewals().map(|now| last = now));
    for renewal in ["first", "second"] {
        eventually(
            &format!("every kubelet renews its lease for the {renewal} time after the loss of m1"),
            FAILOVER,
            || {
                let now = renewals()?;
                if !now.is_disjoint(&last) {
                    return Err(format!("{now:?}\nwere {last:?}"));
                }
                last = now;
                Ok(())
            },
        );
    }
    running.ends_well();
}
