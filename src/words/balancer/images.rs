//! Minimum image versions of balancers that run as pods.

/// Programs, with the first version that accepts the overlays' configuration.
const OLDEST: [(&str, [u32; 2]); 4] =
    [("haproxy", [2, 4]), ("keepalived", [2, 2]), ("nginx", [1, 20]), ("kube-vip", [0, 4])];

/// Returns the minimum version of the program, if the image's tag shows that it is older.
pub(crate) fn too_old(program: &str, image: &str) -> Option<String> {
    let (_, oldest) = OLDEST.iter().find(|(name, _)| *name == program)?;
    let tag = image.split('@').next()?.rsplit('/').next()?.split_once(':')?.1.trim_start_matches('v');
    let mut numbers = tag.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = [numbers.next()?, numbers.next().unwrap_or(u32::MAX)];
    (version < *oldest).then(|| format!("{}.{}", oldest[0], oldest[1]))
}

#[cfg(test)]
mod tests {
    use super::too_old;

    #[test]
    fn a_tag_tells_whether_an_image_is_too_old_or_tells_nothing() {
        for (program, image, least) in [
            ("haproxy", "docker.io/library/haproxy:2.1.4", Some("2.4")),
            ("haproxy", "haproxy:2.3-alpine@sha256:00", Some("2.4")),
            ("haproxy", "registry.example.org:5000/haproxy:2.4", None),
            ("haproxy", "registry.example.org:5000/haproxy", None),
            ("haproxy", "haproxy:3", None),
            ("haproxy", "haproxy:lts", None),
            ("keepalived", "osixia/keepalived:2.0.17", Some("2.2")),
            ("kube-vip", "ghcr.io/kube-vip/kube-vip:v0.3.9", Some("0.4")),
            ("kube-vip", "ghcr.io/kube-vip/kube-vip:v1.0.0", None),
        ] {
            assert_eq!(too_old(program, image).as_deref(), least, "{image}");
        }
    }
}
