//! String formats, one row each. The schema names the row in `format`, the checker applies it, and editors
//! use its pattern.
//!
//! Every string in a cluster file has a row, so that none can bring a line break, a quote or a `$` into a
//! configuration file.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::words::{BgpPeer, EtcdVersion, KubernetesVersion, PortRange};

/// One string format.
#[derive(Debug)]
pub(crate) struct Format {
    pub(crate) name: &'static str,
    /// Description, with its article.
    pub(crate) what: &'static str,
    pub(crate) example: &'static str,
    /// Pattern for editors, in ECMA 262 syntax; may match more than `accepts` does.
    pub(crate) pattern: &'static str,
    pub(crate) accepts: fn(&str) -> bool,
}

/// Every format, sorted by name.
pub(crate) const FORMATS: &[Format] = &[
    Format {
        name: "address",
        what: "an IP address",
        example: "10.0.0.10",
        pattern: "^[0-9A-Fa-f.:]+$",
        accepts: |text| text.parse::<IpAddr>().is_ok(),
    },
    Format {
        name: "bgp-peer",
        what: "a router address with an autonomous system number",
        example: "10.0.0.1:64512",
        pattern: "^([0-9.]+|\\[[0-9A-Fa-f.:]+\\]):[0-9]+$",
        accepts: |text| text.parse::<BgpPeer>().is_ok(),
    },
    Format {
        name: "domain",
        what: "a DNS name",
        example: "cluster.local",
        pattern: "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        accepts: |text| text.len() <= 253 && text.split('.').all(label),
    },
    Format {
        name: "etcd-version",
        what: "an etcd version",
        example: "3.5.21",
        pattern: "^3\\.[0-9]+\\.[0-9]+$",
        accepts: |text| text.parse::<EtcdVersion>().is_ok(),
    },
    Format {
        name: "host",
        what: "an IP address or a DNS name",
        example: "pool.ntp.org",
        pattern: "^[-0-9A-Za-z.:]+$",
        accepts: |text| text.parse::<IpAddr>().is_ok() || text.len() <= 253 && text.split('.').all(label),
    },
    Format {
        name: "image",
        what: "a full container image reference (registry, name, and tag or digest)",
        example: "docker.io/library/haproxy:3.0",
        pattern: "^[-._0-9A-Za-z:]+(/[-._0-9a-z]+)+(:[-._0-9A-Za-z]+)?(@sha256:[0-9a-f]{64})?$",
        accepts: image,
    },
    Format {
        name: "image-repository",
        what: "a registry with an optional path",
        example: "registry.example.org/kubernetes",
        pattern: "^[a-z0-9][-.a-z0-9]*(:[0-9]+)?(/[a-z0-9][-._a-z0-9]*)*$",
        accepts: repository,
    },
    Format {
        name: "interface",
        what: "a network interface name (at most 15 letters, digits, `-` and `_`; the first must be a \
            letter)",
        example: "lan0",
        pattern: "^[A-Za-z][-_0-9A-Za-z]{0,14}$",
        accepts: |text| {
            text.len() <= 15 && text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(word)
        },
    },
    Format {
        name: "kubernetes-version",
        what: "a Kubernetes version",
        example: "1.20.2",
        pattern: "^v?1\\.[0-9]+\\.[0-9]+$",
        accepts: |text| text.parse::<KubernetesVersion>().is_ok(),
    },
    Format {
        name: "label",
        what: "a valid name (at most 63 lower-case letters, digits and `-`; RFC 1123)",
        example: "m1",
        pattern: "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        accepts: label,
    },
    Format {
        name: "label-key",
        what: "a Kubernetes label key",
        example: "example.org/rack",
        pattern: "^[-._/0-9A-Za-z]{1,317}$",
        accepts: label_key,
    },
    Format {
        name: "label-value",
        what: "a Kubernetes label value (at most 63 letters, digits, `-`, `_` and `.`, or empty)",
        example: "r12",
        pattern: "^[-._0-9A-Za-z]{0,63}$",
        accepts: |text| text.is_empty() || label_value(text),
    },
    Format {
        name: "mac",
        what: "a MAC address",
        example: "52:54:00:12:34:56",
        pattern: "^([0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}$",
        accepts: mac,
    },
    Format {
        name: "machine-uuid",
        what: "a UUID",
        example: "4c4c4544-0042-3510-8052-b4c04f4d3332",
        pattern: "^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$",
        accepts: uuid,
    },
    Format {
        name: "network",
        what: "a network with a prefix length",
        example: "10.0.0.0/24",
        pattern: "^[0-9A-Fa-f.:]+/[0-9]{1,3}$",
        accepts: |text| text.parse::<IpNet>().is_ok(),
    },
    Format {
        name: "overlay",
        what: "an overlay name",
        example: "haproxy",
        pattern: "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        accepts: label,
    },
    Format {
        name: "package",
        what: "a Debian package name",
        example: "linux-image-amd64",
        pattern: "^[a-z0-9][-+.a-z0-9]+$",
        accepts: |text| {
            text.len() > 1
                && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-+.".contains(c))
        },
    },
    Format {
        name: "path",
        what: "a path without control characters",
        example: "vault",
        pattern: "^[^\\u0000-\\u001f]+$",
        accepts: |text| !text.is_empty() && !text.chars().any(char::is_control),
    },
    Format {
        name: "place",
        what: "a path without control characters, or a URL that begins with `https://` or `http://`",
        example: "images/haproxy.tar",
        pattern: "^[^\\u0000-\\u001f]+$",
        accepts: |text| {
            if text.contains("://") {
                url(text)
            } else {
                !text.is_empty() && !text.chars().any(char::is_control)
            }
        },
    },
    Format {
        name: "port-range",
        what: "a port range",
        example: "30000-32767",
        pattern: "^[0-9]{1,5}-[0-9]{1,5}$",
        accepts: |text| text.parse::<PortRange>().is_ok(),
    },
    Format {
        name: "serial",
        what: "a serial number that contains only printable characters",
        example: "VMware-42 1f",
        pattern: "^[ -~]{1,64}$",
        accepts: |text| {
            (1..=64).contains(&text.len()) && text.chars().all(|c| c == ' ' || c.is_ascii_graphic())
        },
    },
    Format {
        name: "sha256",
        what: "a SHA-256 digest (64 lower-case hexadecimal digits)",
        example: "2a9d8a9e5a3f8a52e0a4f1f1a6e5e9b0f8a1d2c3b4a5968778695a4b3c2d1e0f",
        pattern: "^[0-9a-f]{64}$",
        accepts: |text| hexadecimal(text, 64) && !text.contains(|c: char| c.is_ascii_uppercase()),
    },
    Format {
        name: "suite",
        what: "a Debian suite name",
        example: "trixie",
        pattern: "^[a-z][-a-z0-9]*$",
        accepts: |text| text.starts_with(|c: char| c.is_ascii_lowercase()) && label(text),
    },
    Format {
        name: "taint",
        what: "a Kubernetes taint of the form `key=value:Effect`",
        example: "dedicated=db:NoSchedule",
        pattern: "^[-._/0-9A-Za-z]+(=[-._0-9A-Za-z]*)?:(NoSchedule|PreferNoSchedule|NoExecute)$",
        accepts: taint,
    },
    Format {
        name: "url",
        what: "a URL that begins with `https://` or `http://`",
        example: "https://deb.debian.org/debian",
        pattern: "^https?://[!-~]+$",
        accepts: url,
    },
];

/// Returns the row named `name`.
pub(crate) fn find(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

/// Checks for a label (RFC 1123 section 2.1), in lower case as Kubernetes requires.
fn label(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(inside)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

fn word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

fn hexadecimal(text: &str, length: usize) -> bool {
    text.len() == length && text.chars().all(|c| c.is_ascii_hexdigit())
}

/// <https://pkg.go.dev/github.com/distribution/reference>
fn image(text: &str) -> bool {
    let (name, digest) = text.split_once('@').map_or((text, None), |(name, digest)| (name, Some(digest)));
    let sound = digest
        .is_none_or(|digest| digest.strip_prefix("sha256:").is_some_and(|digits| hexadecimal(digits, 64)));
    let Some((registry, rest)) = name.split_once('/') else { return false };
    let (path, tag) = rest.split_once(':').map_or((rest, None), |(path, tag)| (path, Some(tag)));
    let plain = |text: &str| !text.is_empty() && text.chars().all(|c| word(c) || c == '.');
    let lower = |part: &str| plain(part) && !part.chars().any(|c| c.is_ascii_uppercase());
    let full = registry == "localhost" || registry.contains(['.', ':']);
    let registry = registry.split(':').all(plain);
    sound
        && full
        && registry
        && path.split('/').all(lower)
        && tag.is_none_or(plain)
        && (tag.is_some() || digest.is_some())
}

fn mac(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '-']).collect();
    parts.len() == 6 && parts.iter().all(|part| hexadecimal(part, 2))
}

fn uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.len() == 5 && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, length)| hexadecimal(part, length))
}

/// Checks for a host with an optional port, then names separated by slashes
/// (<https://github.com/distribution/reference/blob/main/reference.go>).
fn repository(text: &str) -> bool {
    let mut parts = text.split('/');
    let (host, port) =
        parts.next().map(|host| host.split_once(':').unwrap_or((host, "443"))).unwrap_or_default();
    let name = |part: &str| {
        let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-._".contains(c);
        part.chars().all(inside)
            && part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    host.split('.').all(label) && port.parse::<u16>().is_ok() && parts.all(name)
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>
fn label_key(text: &str) -> bool {
    let (prefix, name) = text.split_once('/').unwrap_or(("x", text));
    prefix.len() <= 253 && prefix.split('.').all(label) && label_value(name)
}

fn label_value(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(|c| word(c) || c == '.')
        && ends(text.chars().next())
        && ends(text.chars().last())
}

fn taint(text: &str) -> bool {
    let Some((rest, effect)) = text.rsplit_once(':') else { return false };
    let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
    ["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect)
        && label_key(key)
        && (value.is_empty() || label_value(value))
}

fn url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic() && !"\"'\\`$<>".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::FORMATS;

    #[test]
    fn every_format_accepts_its_example_and_no_line_break_quote_or_emptiness() {
        for format in FORMATS {
            assert!((format.accepts)(format.example), "{} refuses its example", format.name);
            for hostile in ["", "a\nb", "a\rb", "\u{0}", "\u{1b}[2J"] {
                // Labels such as `node-role.kubernetes.io/infra=` have no value.
                let empty_label = format.name == "label-value" && hostile.is_empty();
                assert_eq!((format.accepts)(hostile), empty_label, "{} and {hostile:?}", format.name);
            }
        }
    }

    #[test]
    fn formats_are_sorted_and_unique() {
        assert!(FORMATS.is_sorted_by(|first, second| first.name < second.name));
    }

    #[test]
    fn formats_refuse_what_looks_right() {
        let wrong = [
            ("address", "10.0.0.300"),
            ("address", "10.0.0.1/24"),
            ("domain", "Cluster.local"),
            ("domain", "a..b"),
            ("host", "time server"),
            ("image-repository", "https://registry.example.org"),
            ("image-repository", "registry.example.org/"),
            ("image-repository", "registry.example.org/kube:v1"),
            ("interface", "averyveryverylongname"),
            ("interface", "0lan"),
            ("kubernetes-version", "1.20"),
            ("label", "M1"),
            ("label", "-m1"),
            ("label-key", "example.org/"),
            ("mac", "52:54:00:12:34"),
            ("machine-uuid", "4c4c4544"),
            ("network", "10.0.0.0"),
            ("network", "10.0.0.0/33"),
            ("package", "Linux"),
            ("port-range", "32767-30000"),
            ("port-range", "30000"),
            ("taint", "dedicated=db"),
            ("taint", "dedicated=db:Never"),
            ("url", "ftp://x"),
            ("url", "https://x/$(id)"),
        ];
        for (name, text) in wrong {
            assert!(!(super::find(name).unwrap().accepts)(text), "{name} accepts {text:?}");
        }
    }
}
