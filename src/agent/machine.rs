//! Facts about a machine that is not configured yet: kernel command line, SMBIOS, interfaces.

use std::collections::BTreeSet;
use std::path::Path;

use crate::host;

/// Values that match rules are compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Value of `kiln.node=` on the kernel command line.
    pub(crate) node: Option<String>,
    /// Value of `kiln.adopt=`: the name or identifier of the cluster that is allowed to take over this
    /// machine's state.
    pub(crate) adopt: Option<String>,
    /// SMBIOS system serial number.
    pub(crate) serial: Option<String>,
    /// SMBIOS system UUID, in lower case.
    pub(crate) uuid: Option<String>,
    /// MAC addresses of all interfaces, in lower case.
    pub(crate) macs: BTreeSet<String>,
}

impl Machine {
    /// Reads the machine's values. `command_line` is the kernel command line or, in a container, the one from
    /// its manager.
    pub(crate) fn ask(sys: &Path, command_line: &str) -> Self {
        let smbios = |name: &str| text(&sys.join("class/dmi/id").join(name));
        let interfaces = host::fs::list(&sys.join("class/net")).unwrap_or_default();
        let macs = interfaces
            .iter()
            .filter_map(|interface| text(&interface.join("address")))
            .map(|mac| mac.to_lowercase());
        Self {
            node: parameter(command_line, "kiln.node"),
            adopt: parameter(command_line, "kiln.adopt"),
            serial: smbios("product_serial"),
            uuid: smbios("product_uuid").map(|uuid| uuid.to_lowercase()),
            macs: macs.filter(|mac| mac.chars().any(|digit| !matches!(digit, '0' | ':'))).collect(),
        }
    }
}

/// Returns the last value of `name=` on a kernel command line; quotes are handled as in
/// kernel-command-line(7).
pub(super) fn parameter(command_line: &str, name: &str) -> Option<String> {
    let value = |word: &str| {
        word.strip_prefix(name)?.strip_prefix('=').map(|value| value.trim_matches('"').to_owned())
    };
    command_line.split_whitespace().filter_map(value).next_back().filter(|value| !value.is_empty())
}

fn text(path: &Path) -> Option<String> {
    let text = host::fs::read_to_string(path).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::{Machine, parameter};
    use crate::host::fs::{PUBLIC, write_atomic};

    #[test]
    fn the_last_value_on_the_command_line_counts() {
        for (line, expected) in [
            ("quiet kiln.node=m1 ro", Some("m1")),
            ("kiln.node=m1 kiln.node=m2", Some("m2")),
            ("kiln.node=\"m1\"", Some("m1")),
            ("kiln.nodes=m1 xkiln.node=m2", None),
            ("kiln.node=", None),
            ("", None),
        ] {
            assert_eq!(parameter(line, "kiln.node").as_deref(), expected, "{line:?}");
        }
    }

    #[test]
    fn a_machine_tells_its_serial_uuid_and_addresses_in_lower_case() {
        let sys = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("class/dmi/id/product_serial", "S-42\n"),
            ("class/dmi/id/product_uuid", "4C4C4544-0000-1010-8020-B04F00000001\n"),
            ("class/net/eth0/address", "52:54:00:AB:CD:EF\n"),
            ("class/net/lo/address", "00:00:00:00:00:00\n"),
        ] {
            write_atomic(&sys.path().join(path), text.as_bytes(), PUBLIC).unwrap();
        }
        let machine = Machine::ask(sys.path(), "kiln.adopt=ha");
        assert_eq!(machine.serial.as_deref(), Some("S-42"));
        assert_eq!(machine.uuid.as_deref(), Some("4c4c4544-0000-1010-8020-b04f00000001"));
        assert_eq!(machine.macs.into_iter().collect::<Vec<_>>(), ["52:54:00:ab:cd:ef"]);
        assert_eq!((machine.node, machine.adopt.as_deref()), (None, Some("ha")));
    }
}
