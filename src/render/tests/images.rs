//! Container images of machines: the version's images, the images of a mirror registry, or the images in the
//! cluster file.

use super::{rendered_with, resolved, text, vault};
use crate::overlay::Overlays;
use crate::profile::tests::problems;
use crate::render;

const HA: &str = include_str!("../../../profiles/ha/cluster.toml");
const KUBEADM: &str = include_str!("../../../profiles/kubeadm/cluster.toml");
const OWN: &str = "[cluster.images]
pause = \"registry.example.org/base/pause:1\"
coredns = \"registry.example.org/base/coredns:2\"
flannel = \"registry.example.org/base/flannel:3\"
flannel-cni-plugin = \"registry.example.org/base/plugin:4\"
";

fn with_addons(version: &str, images: &str) -> String {
    let text = HA.replace("1.20.2", version).replace("[network]", "[network]\nplugin = \"flannel\"");
    format!(
        "{text}\n{images}\n[overlays.control-plane]\nadd = [\"coredns\", \"coredns-image\", \
        \"flannel-images\"]\n"
    )
}

#[test]
fn images_of_the_cluster_file_are_used_and_held_wherever_the_versions_would_be() {
    let cluster = resolved(&with_addons("1.20.2", OWN));
    let held = render::requirements(&cluster, "control-plane", &Overlays::load(&[]).unwrap()).unwrap().images;
    let own = ["coredns:2", "flannel:3", "pause:1", "plugin:4"]
        .map(|name| format!("registry.example.org/base/{name}"));
    assert_eq!(held.into_keys().collect::<Vec<_>>(), own);
    let (_, tree) = rendered_with(&cluster, &vault(&cluster)).swap_remove(0);
    for (path, line) in [
        ("/etc/containerd/config.toml", "sandbox_image = \"registry.example.org/base/pause:1\""),
        ("/etc/kubernetes/bootstrap/20-coredns.yaml", "image: registry.example.org/base/coredns:2"),
        ("/etc/kubernetes/bootstrap/20-flannel.yaml", "image: registry.example.org/base/flannel:3"),
        ("/etc/kubernetes/bootstrap/20-flannel.yaml", "image: registry.example.org/base/plugin:4"),
    ] {
        assert!(text(&tree, path).contains(line), "{path} has no {line:?}");
    }
    for (path, entry) in tree.iter().filter(|(_, entry)| !entry.secret && &*entry.origin != "pki") {
        if let crate::tree::EntryKind::File(content) = &entry.kind {
            let text = String::from_utf8(content.read().unwrap()).unwrap();
            assert!(
                !["k8s.gcr.io", "ghcr.io/flannel"].iter().any(|registry| text.contains(registry)),
                "{path}:\n{text}"
            );
        }
    }
}

/// Only the project's own registry has a directory for CoreDNS (kubeadm's `GetDNSImage`).
#[test]
fn a_registry_that_stands_in_has_corednss_image_where_kubeadm_looks_for_it() {
    let mirror = "image-repository = \"registry.example.org/kubernetes\"\n[network]";
    for (version, project, stand_in) in [
        ("1.20.2", "k8s.gcr.io/coredns:1.7.0", "registry.example.org/kubernetes/coredns:1.7.0"),
        ("1.21.0", "k8s.gcr.io/coredns/coredns:v1.8.0", "registry.example.org/kubernetes/coredns:v1.8.0"),
    ] {
        for (text, expected) in [(HA.to_owned(), project), (HA.replace("[network]", mirror), stand_in)] {
            let text = format!(
                "{}\n[overlays.control-plane]\nadd = [\"coredns\"]\n",
                text.replace("1.20.2", version)
            );
            let manifest =
                super::text(&super::first(&resolved(&text)), "/etc/kubernetes/bootstrap/20-coredns.yaml");
            assert!(manifest.contains(&format!("image: {expected}\n")), "{expected}: {manifest}");
        }
    }
}

#[test]
fn kubeadm_is_given_a_name_of_corednss_image_that_it_can_make() {
    let wrong = format!("{KUBEADM}\n[cluster.images]\ncoredns = \"registry.example.org/dns:1\"\n");
    assert_eq!(
        problems(&wrong),
        ["`\"registry.example.org/dns:1\"`: kubeadm can't use `registry.example.org/dns:1`: it requires \
             an image name that ends in `/coredns` \
          (use a reference such as `\"registry.example.org/kubernetes/coredns:v1.13.1\"`)"]
    );
    assert_eq!(problems(&wrong.replace("profile = \"kubeadm\"", "profile = \"ha\"")), [""; 0]);
}
