//! kube-proxy: a file overrides nearly every flag.

use super::{Flag, text};

pub(super) static FLAGS: &[Flag] = &[text("config", "/etc/kubernetes/kube-proxy.yaml").since(9), text("v", "2")];
