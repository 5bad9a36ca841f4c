//! User-provided add-ons, and strangers on the segment.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::common::approve;
use crate::common::lab::{PATIENCE, eventually, succeeded};
use crate::running::Running;

/// Writes the files of a documentation example: code blocks whose first line is a comment with the path.
fn write_example(document: &str, heading: &str, directory: &Path) {
    let section = document.split_once(heading).unwrap().1.split("\n## ").next().unwrap();
    for block in section.split("\n```").skip(1).step_by(2) {
        let (first, text) = block.split_once('\n').unwrap().1.split_once('\n').unwrap();
        let path = directory.join(first.strip_prefix("# ").unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let before = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, format!("{before}\n{text}\n")).unwrap();
    }
}

impl Running {
    /// Checks the ingress controller in docs/overlays.md: its overlay is rendered into a node's files, and
    /// the bootstrap service applies its objects. Its image is not available here.
    pub(crate) fn takes_the_documented_add_on(&self) {
        let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/overlays.md")).unwrap();
        let scratch = tempfile::tempdir().unwrap();
        let kiln = |arguments: &[&str]| {
            approve(Command::new(env!("CARGO_BIN_EXE_kiln")).current_dir(scratch.path()).args(arguments))
        };
        kiln(&["init", "--profile", "external-lb"]);
        write_example(&document, "## Add-ons", scratch.path());
        kiln(&["check", "--overlay-dir", "overlays"]);
        let images = kiln(&["plan", "--overlay-dir", "overlays", "--json"]);
        assert!(images.contains("ingress-image"), "{images}");
        let file = "/etc/kubernetes/bootstrap/50-ingress.yaml";
        let objects = kiln(&["render", "m1", file, "--overlay-dir", "overlays", "--quiet"]);
        let inside =
            |script: &str| approve(self.lab.kiln(&["exec", "m1", "--"]).args(["sh", "-c", script, &objects]));
        inside(&format!("printf %s \"$0\" > {file} && systemctl restart kiln-bootstrap.service"));
        let pods = ["--namespace=ingress", "get", "pods", "--output=jsonpath={.items[*].spec.nodeName}"];
        eventually("the add-on's pods are on both workers", PATIENCE, || {
            let output = self.client.kubectl(&self.lab, &pods);
            let mut nodes: Vec<String> =
                String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect();
            nodes.sort();
            if nodes == ["w1", "w2"] { Ok(()) } else { Err(format!("{output:?}")) }
        });
        let class = ["get", "ingressclass", "traefik", "--output=jsonpath={.spec.controller}"];
        succeeded(&self.client.kubectl(&self.lab, &class), "traefik.io/ingress-controller").unwrap();
    }

    /// Checks that nodes that may hold the VIP found no stranger on the segment. Then another machine takes
    /// the VIP: a node that checks again reports it, and keepalived continues.
    pub(crate) fn tells_who_else_has_the_vip(&self, nodes: [&str; 2], vip: &str) {
        for node in nodes {
            let state = approve(self.lab.kiln(&["exec", node, "--"]).args([
                "systemctl",
                "show",
                "--property=Result,ExecMainStatus",
                "kiln-segment",
            ]));
            assert_eq!(
                state.trim(),
                "Result=success\nExecMainStatus=0",
                "{node} saw a stranger in a healthy cluster"
            );
        }
        let bridge = |what: &str| {
            let script =
                format!("ip address {what} {vip}/32 dev $(ip -brief link show type bridge | cut -d' ' -f1)");
            approve(self.lab.kiln(&["exec", "--"]).args(["sh", "-c", &script]));
        };
        let holder = self.one_holder();
        let other = nodes.into_iter().find(|node| *node != holder).unwrap();
        bridge("add");
        let looked = self.lab.inside(other, &["systemctl", "restart", "kiln-segment"]);
        bridge("del");
        assert!(!looked.status.success(), "{other} saw no stranger");
        let status = self.lab.inside(other, &["kiln", "agent", "status"]);
        succeeded(&status, &format!("the VIP `{vip}` is already in use")).unwrap();
        succeeded(&self.lab.inside(other, &["systemctl", "is-active", "keepalived"]), "active").unwrap();
        succeeded(&self.lab.inside(other, &["systemctl", "restart", "kiln-segment"]), "").unwrap();
        eventually("the VIP answers", PATIENCE, || self.ready());
    }
}
