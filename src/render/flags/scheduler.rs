//! kube-scheduler flags, used instead of a file: from 1.19 to 1.22 a file can't close the port without TLS.

use super::{Flag, computed, text};
use crate::words::Service;

pub(super) static FLAGS: &[Flag] = &[
    text("bind-address", "127.0.0.1").since(13),
    computed("secure-port", |_| Service::Scheduler.port().to_string()).since(13),
    // No TLS port before 1.13: metrics and health without TLS, on loopback.
    text("address", "127.0.0.1").before(13),
    text("port", "0").since(13).before(23),
    text("tls-cert-file", "/etc/kubernetes/pki/scheduler-server.crt").since(13),
    text("tls-private-key-file", "/etc/kubernetes/pki/scheduler-server.key").since(13),
    text("tls-min-version", "VersionTLS12").since(13),
    text("kubeconfig", "/etc/kubernetes/scheduler.conf"),
    text("authentication-kubeconfig", "/etc/kubernetes/scheduler.conf").since(13),
    text("authorization-kubeconfig", "/etc/kubernetes/scheduler.conf").since(13),
    text("client-ca-file", "/etc/kubernetes/pki/ca.crt").since(13),
    text("requestheader-client-ca-file", "/etc/kubernetes/pki/front-proxy-ca.crt").since(13),
    text("leader-elect", "true"),
    text("leader-elect-resource-lock", "leases").since(14),
    // As for the controller manager.
    text("leader-elect-lease-duration", "6s"),
    text("leader-elect-renew-deadline", "4s"),
    text("leader-elect-retry-period", "1s"),
    text("profiling", "false"),
    text("v", "2"),
];
