//! Errors reported to authors of overlays.

use std::path::Path;

use super::{cluster, vault};
use crate::cluster::Cluster;
use crate::error::Error;
use crate::host;
use crate::overlay::Overlays;
use crate::render;

/// Renders the first node with one more overlay, `site`, made of `files`. `kiln check` reports the same
/// errors before a vault exists.
fn with_site(files: &[(&str, &str)]) -> Result<crate::tree::Tree, Error> {
    let directory = tempfile::tempdir().unwrap();
    for (path, text) in files {
        host::fs::write_atomic(&directory.path().join("site").join(path), text.as_bytes(), 0o644).unwrap();
    }
    let mut cluster = cluster();
    cluster.overlays.values_mut().for_each(|names| names.push("site".into()));
    rendered(&cluster, &Overlays::load(&[directory.path().to_owned()]).unwrap())
}

fn rendered(cluster: &Cluster, overlays: &Overlays) -> Result<crate::tree::Tree, Error> {
    let tree = render::node(cluster, &cluster.nodes[0], &vault(cluster), overlays);
    let texts = render::texts(cluster, &cluster.nodes[0], overlays);
    if let (Err(late), Err(early)) = (&tree, &texts) {
        assert_eq!(late.to_string(), early.to_string());
    }
    texts.and(tree)
}

/// Every problem as `file name:byte range: message`, or the error and its hints.
fn reported(err: &Error) -> String {
    let Some(report) = err.report() else { return format!("{err}\n{}\n", err.hints().join("\n")) };
    let file = report
        .source
        .as_ref()
        .and_then(|source| source.path.file_name())
        .unwrap_or_default()
        .to_string_lossy();
    let problems = report.problems.iter().map(|problem| {
        format!("{file}:{:?}: {}\n", problem.span.clone().unwrap_or_default(), problem.message)
    });
    problems.collect()
}

const MANIFEST: (&str, &str) = ("overlay.toml", "summary = \"ours\"\n");

#[test]
fn an_undefined_variable_is_told_with_its_place() {
    let err =
        with_site(&[MANIFEST, ("rootfs/etc/motd.tera", "{{ node.name }}\n{{ node.nmae }}\n")]).unwrap_err();
    assert!(err.to_string().contains("of overlay `site`"), "{err}");
    insta::assert_snapshot!(reported(&err), @"motd.tera:24..28: Field `nmae` is not defined. Available \
        fields: address, extra_addresses, labels, matches, name, priority, roles, taints");
}

#[test]
fn a_template_that_does_not_parse_is_told_with_its_place() {
    let err = with_site(&[MANIFEST, ("rootfs/etc/motd.tera", "{% if node.name }\n")]).unwrap_err();
    assert!(reported(&err).starts_with("motd.tera:"), "{}", reported(&err));
}

#[test]
fn only_a_file_declared_secret_sees_the_secrets() {
    let file = ("rootfs/etc/key.tera", "{{ secrets.encryption_key }}\n");
    let err = with_site(&[MANIFEST, file]).unwrap_err();
    assert!(reported(&err).contains("`secrets` is not defined"), "{}", reported(&err));
    let tree =
        with_site(&[("overlay.toml", "summary = \"ours\"\n[files.\"/etc/key\"]\nsecret = true\n"), file])
            .unwrap();
    let line = tree.dump().lines().find(|line| line.contains("/etc/key")).unwrap().to_owned();
    assert_eq!(line, "0600 secret               - /etc/key [site]");
}

#[test]
fn a_path_of_two_overlays_names_both_until_it_is_declared() {
    let file = ("rootfs/etc/hostname", "ours\n");
    let err = with_site(&[MANIFEST, file]).unwrap_err();
    insta::assert_snapshot!(reported(&err), @r"
    `/etc/hostname` is provided by both `base` and `site`
    if `site` should win, add `/etc/hostname` to `replaces` in its overlay.toml
    ");
    let tree =
        with_site(&[("overlay.toml", "summary = \"ours\"\nreplaces = [\"/etc/hostname\"]\n"), file]).unwrap();
    assert_eq!(super::text(&tree, "/etc/hostname"), "ours\n");
}

#[test]
fn a_certificate_of_two_overlays_has_one_owner() {
    let (mut cluster, overlays) = (cluster(), Overlays::load(&[]).unwrap());
    cluster.overlays.values_mut().for_each(|names| names.push("nginx-service".into()));
    let err = rendered(&cluster, &overlays).unwrap_err();
    insta::assert_snapshot!(reported(&err), @r"
    `haproxy` and `nginx` declare `/etc/kubernetes/pki/lb-healthcheck.pem` differently
    remove one of the two overlays: they set different owners or modes
    ");
}

#[test]
fn a_certificate_that_is_not_for_a_node_is_refused_before_there_is_a_vault() {
    let err =
        with_site(&[("overlay.toml", "summary = \"ours\"\ncertificates = [\"kube-vip\"]\n")]).unwrap_err();
    insta::assert_snapshot!(reported(&err), @r"
    rendering `m1`: `kube-vip` is not available on node `m1`: it is only for control-plane nodes that run kube-vip
    the overlay `site` needs this certificate: remove the overlay from the node's roles
    ");
}

#[test]
fn a_file_that_renders_to_nothing_is_no_file() {
    let tree =
        with_site(&[MANIFEST, ("rootfs/etc/motd.tera", "{% if not node.name %}hello{% endif %}\n")]).unwrap();
    assert!(!tree.dump().contains("/etc/motd"));
}

#[test]
fn an_owner_that_nobody_declares_is_refused() {
    let manifest = ("overlay.toml", "summary = \"ours\"\n[files.\"/etc/motd\"]\nowner = \"nginx\"\n");
    let err = with_site(&[manifest, ("rootfs/etc/motd", "x\n")]).unwrap_err();
    insta::assert_snapshot!(reported(&err), @r"
    rendering `m1`: no overlay of this node declares the user `nginx`
    add the user under `[[users]]` in overlay.toml
    ");
}

#[test]
fn a_unit_that_cannot_be_enabled_is_refused() {
    let manifest = ("overlay.toml", "summary = \"ours\"\n[units]\nenable = [\"site.service\"]\n");
    let err = with_site(&[manifest]).unwrap_err();
    assert_eq!(err.to_string(), "overlay `site` enables `site.service` but does not contain it");
    let err = with_site(&[
        manifest,
        ("rootfs/etc/systemd/system/site.service", "[Service]\nExecStart=/bin/true\n"),
    ])
    .unwrap_err();
    assert_eq!(
        err.to_string(),
        "`/etc/systemd/system/site.service` of overlay `site` contains no `[Install]` section"
    );
}

#[test]
fn a_link_on_disk_is_refused_because_archives_would_lose_it() {
    let directory = tempfile::tempdir().unwrap();
    let site = directory.path().join("site");
    host::fs::write_atomic(&site.join("overlay.toml"), b"summary = \"ours\"\n", 0o644).unwrap();
    host::fs::create_directories(&site.join("rootfs/etc")).unwrap();
    std::os::unix::fs::symlink(Path::new("/etc/shadow"), site.join("rootfs/etc/stolen")).unwrap();
    let err = Overlays::load(&[directory.path().to_owned()]).unwrap_err();
    assert_eq!(err.hints(), ["declare links under `[links]` in overlay.toml"]);
}

#[test]
fn the_manual_names_every_variable() {
    let cluster = cluster();
    let context = render::context::NodeContext {
        cluster: &cluster,
        node: &cluster.nodes[0],
        overlays: &[],
        cluster_id: "id",
    };
    let context = serde_json::to_value(context.variables()).unwrap();
    let manual = include_str!("../../../docs/overlays.md");
    for name in context["computed"].as_object().unwrap().keys() {
        assert!(manual.contains(&format!("`computed.{name}")), "docs/overlays.md lacks `computed.{name}`");
    }
}
