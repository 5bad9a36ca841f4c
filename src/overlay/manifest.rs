//! `overlay.toml`: contents and requirements of an overlay. It declares modes, owners and links, because
//! neither archives nor the binary's embedded copy preserve them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Report, Result, Source};
use crate::tree::ImagePath;
use crate::words::Service;

/// Ids that overlays may assign to system users; Debian's dynamic system ids start at 100, and regular user
/// ids at 1000.
const USER_IDS: std::ops::RangeInclusive<u32> = 900..=989;

/// One `overlay.toml`. Unknown keys are errors, so that typos are not ignored.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Manifest {
    /// One-line description for `kiln list overlays`.
    pub(crate) summary: String,
    /// Debian packages to install in the role image.
    #[serde(default)]
    pub(crate) packages: Vec<String>,
    /// Kubernetes programs, installed as `/usr/bin/NAME`.
    #[serde(default)]
    pub(crate) binaries: Vec<String>,
    /// True if the overlay's units run kiln itself. Images always contain kiln; stock systems install it only
    /// if needed.
    #[serde(default)]
    pub(crate) agent: bool,
    /// References of container images that the role image must contain; each may be a template that does not
    /// use `node`.
    #[serde(default)]
    pub(crate) images: Vec<String>,
    /// Overlays that this one requires; they are applied before it.
    #[serde(default)]
    pub(crate) requires: Vec<String>,
    /// Paths of earlier overlays that this one replaces.
    #[serde(default)]
    pub(crate) replaces: BTreeSet<ImagePath>,
    /// Names of certificates, keys and kubeconfigs in the PKI plan.
    #[serde(default)]
    pub(crate) certificates: Vec<String>,
    /// Kernel modules to load at boot.
    #[serde(default)]
    pub(crate) modules: Vec<String>,
    #[serde(default)]
    pub(crate) users: Vec<User>,
    #[serde(default)]
    pub(crate) units: Units,
    /// Ports that the component listens on, for the port and firewall matrix.
    #[serde(default)]
    pub(crate) ports: Vec<Port>,
    /// Attributes of files and certificates; by default they are owned by root with mode 0644, keys with
    /// 0600.
    #[serde(default)]
    pub(crate) files: BTreeMap<ImagePath, Attributes>,
    #[serde(default)]
    pub(crate) directories: BTreeMap<ImagePath, Attributes>,
    /// Symbolic links: path to target.
    #[serde(default)]
    pub(crate) links: BTreeMap<ImagePath, String>,
}

/// A system user and its own group.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct User {
    pub(crate) name: String,
    /// User id, and also the id of the user's own group.
    pub(crate) id: u32,
    #[serde(default = "no_home")]
    pub(crate) home: ImagePath,
    /// Additional groups of the user.
    #[serde(default)]
    pub(crate) groups: Vec<String>,
}

/// Units to start, and units that must never start.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Units {
    /// Units from this overlay; each must have an `[Install]` section.
    #[serde(default)]
    pub(crate) enable: Vec<String>,
    /// Units from packages, keyed by the target that wants them.
    #[serde(default)]
    pub(crate) wanted_by: BTreeMap<String, Vec<String>>,
    /// Units from packages that must never start.
    #[serde(default)]
    pub(crate) mask: Vec<String>,
}

/// A port that a component listens on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Port {
    /// Port number, or the name of a component with a fixed port; 0 for a protocol without ports, or if
    /// `range` is set.
    #[serde(default, deserialize_with = "Service::port_or_name")]
    pub(crate) port: u16,
    /// Port range set in the cluster file, instead of a single port.
    #[serde(default)]
    pub(crate) range: Option<Range>,
    #[serde(default)]
    pub(crate) protocol: Protocol,
    /// Clients that connect to the port: one word or a list.
    #[serde(deserialize_with = "one_or_many")]
    pub(crate) from: Vec<Dialler>,
    pub(crate) what: String,
}

/// Port ranges set in the cluster file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Range {
    /// Service node ports.
    NodePorts,
}

/// Clients that may connect to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Dialler {
    /// The machine itself.
    Loopback,
    /// etcd members.
    Etcd,
    ControlPlane,
    /// Nodes that can hold the VIP.
    Balancers,
    /// Every node of the cluster.
    Nodes,
    Pods,
    /// Any client.
    Clients,
}

impl Dialler {
    /// Returns the word used in `overlay.toml`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Etcd => "etcd",
            Self::ControlPlane => "control-plane",
            Self::Balancers => "balancers",
            Self::Nodes => "nodes",
            Self::Pods => "pods",
            Self::Clients => "clients",
        }
    }
}

/// Transport protocol over IP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    #[default]
    Tcp,
    Udp,
    /// IP protocol 112 (RFC 5798).
    Vrrp,
}

/// Mode and owner of one path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Attributes {
    /// Octal mode in quotes, as in chmod(1): `"0755"`.
    #[serde(default)]
    pub(crate) mode: Option<Mode>,
    #[serde(default = "root")]
    pub(crate) owner: String,
    #[serde(default = "root")]
    pub(crate) group: String,
    /// True if the content is secret: never shown and never in a role image; such a template has access to
    /// the secrets.
    #[serde(default)]
    pub(crate) secret: bool,
}

impl Attributes {
    /// Returns the attributes of a file that `[files]` does not contain.
    pub(crate) fn root() -> Self {
        Self { mode: None, owner: root(), group: root(), secret: false }
    }
}

/// Permission bits with setuid, setgid and sticky.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Mode(pub(crate) u32);

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let octal = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o7777 && text.len() == 4);
        octal.map(Self).ok_or_else(|| format!("`{text}` is not a mode of four octal digits such as \"0755\""))
    }
}

impl Manifest {
    /// Parses an `overlay.toml`.
    ///
    /// # Errors
    ///
    /// An error that lists every problem with its position in `source`.
    pub(crate) fn parse(source: Source) -> Result<Self> {
        let mut report = Report::about(source.clone());
        let manifest: Self = match toml::from_str(&source.text) {
            Ok(manifest) => manifest,
            Err(err) => {
                report.error("", err.span(), err.message());
                return Err(crate::error::Error::from_report(report));
            }
        };
        manifest.check(&source.text, &mut report);
        report.into_result().map(|()| manifest)
    }

    fn check(&self, text: &str, report: &mut Report) {
        for user in &self.users {
            if !USER_IDS.contains(&user.id) {
                let (first, last) = (USER_IDS.start(), USER_IDS.end());
                report.error(
                    "users",
                    place(text, &user.name),
                    format!("the id {} is outside the range {first} to {last}", user.id),
                );
            }
        }
        for (path, _) in self.files.iter().filter(|(path, _)| self.links.contains_key(path)) {
            report.error("links", place(text, path.as_str()), format!("`{path}` is both a file and a link"));
        }
        for unit in
            self.units.enable.iter().chain(self.units.wanted_by.values().flatten()).chain(&self.units.mask)
        {
            if !unit.contains('.') || unit.contains('/') {
                report.error(
                    "units",
                    place(text, unit),
                    format!("`{unit}` is not a unit name such as `etcd.service`"),
                );
            }
        }
    }
}

/// Returns the position of a quoted string in the file.
pub(super) fn place(text: &str, string: &str) -> Option<std::ops::Range<usize>> {
    let quoted = format!("\"{string}\"");
    text.find(&quoted).map(|start| start..start + quoted.len())
}

/// Reads one word or a list of words.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Dialler>, D::Error> {
    struct Words;
    impl<'de> serde::de::Visitor<'de> for Words {
        type Value = Vec<Dialler>;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a word such as \"nodes\", or a list of words")
        }

        fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<Self::Value, E> {
            Dialler::deserialize(serde::de::value::StrDeserializer::new(word)).map(|dialler| vec![dialler])
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut words: A) -> Result<Self::Value, A::Error> {
            std::iter::from_fn(|| words.next_element().transpose()).collect()
        }
    }
    deserializer.deserialize_any(Words)
}

fn root() -> String {
    "root".to_owned()
}

fn no_home() -> ImagePath {
    ImagePath::new("/nonexistent").expect("a literal path")
}

#[cfg(test)]
mod tests {
    use super::{Manifest, Mode};
    use crate::error::Source;

    fn parse(text: &str) -> Result<Manifest, Vec<String>> {
        let source = Source { path: "overlays/x/overlay.toml".into(), text: text.into() };
        Manifest::parse(source).map_err(|err| {
            let report = err.report().expect("a report");
            report.problems.iter().map(|problem| format!("{:?} {}", problem.span, problem.message)).collect()
        })
    }

    #[test]
    fn an_unknown_key_is_an_error_with_its_place() {
        let problems = parse("summary = \"x\"\npackage = []\n").unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].starts_with("Some(14..21) unknown field `package`"), "{problems:?}");
    }

    #[test]
    fn a_mode_is_four_octal_digits_in_quotes() {
        let manifest = parse("summary = \"x\"\n[files.\"/usr/libexec/x\"]\nmode = \"0755\"\n").unwrap();
        assert_eq!(manifest.files.values().next().unwrap().mode, Some(Mode(0o755)));
        for wrong in ["755", "0999", "17777", "rwxr-xr-x"] {
            let problems =
                parse(&format!("summary = \"x\"\n[files.\"/x\"]\nmode = \"{wrong}\"\n")).unwrap_err();
            assert!(problems[0].contains("four octal digits"), "{problems:?}");
        }
    }

    #[test]
    fn a_user_id_outside_the_reserved_range_is_refused() {
        let problems = parse("summary = \"x\"\n[[users]]\nname = \"etcd\"\nid = 0\n").unwrap_err();
        assert_eq!(problems, ["Some(31..37) the id 0 is outside the range 900 to 989"]);
    }
}
