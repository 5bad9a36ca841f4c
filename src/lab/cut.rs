//! Cables that drop frames: nftables rules on the lab's bridge, rewritten as a whole on every change, so that
//! no rules are left for a repaired node (nft(8), family `bridge`).

use std::fmt::{self, Write as _};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result, Within};
use crate::host;
use crate::lab::{Guest, Lab};

/// Direction of frames, as seen from the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Direction {
    /// To the node
    In,
    /// From the node
    Out,
}

/// Protocol of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    Tcp,
    Udp,
    Icmp,
    Vrrp,
    Arp,
}

/// Frames that a node's cable drops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Cut {
    /// Only frames between the node and this other node.
    pub(crate) from: Option<String>,
    /// Both directions unless set.
    pub(crate) direction: Option<Direction>,
    pub(crate) protocol: Option<Protocol>,
    /// Port at either end.
    pub(crate) port: Option<u16>,
    /// Percentage of frames to drop.
    pub(crate) loss: u8,
}

impl Cut {
    /// Returns a cut that drops all frames in both directions.
    pub(crate) fn whole() -> Self {
        Self { from: None, direction: None, protocol: None, port: None, loss: 100 }
    }

    /// Rejects a cut that no frame can match.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] for a port with a protocol that has no ports.
    pub(super) fn check(&self) -> Result<()> {
        if self.port.is_some() && !matches!(self.protocol, Some(Protocol::Tcp | Protocol::Udp)) {
            return Err(Error::new(Kind::Input, "only tcp and udp have ports")
                .hint("for example `--protocol tcp --port 6443`"));
        }
        Ok(())
    }

    /// Returns nftables matches for the frames, one string per alternative.
    fn kinds(&self) -> Vec<String> {
        let word = match self.protocol {
            Some(Protocol::Tcp) => "tcp",
            Some(Protocol::Udp) => "udp",
            Some(Protocol::Icmp) => return vec!["meta l4proto { icmp, ipv6-icmp } ".into()],
            // By number, since /etc/protocols may be missing.
            Some(Protocol::Vrrp) => return vec!["meta l4proto 112 ".into()],
            Some(Protocol::Arp) => return vec!["ether type arp ".into()],
            None => return vec![String::new()],
        };
        match self.port {
            Some(port) => ["dport", "sport"].map(|end| format!("{word} {end} {port} ")).into(),
            None => vec![format!("meta l4proto {word} ")],
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = vec![match (&self.protocol, self.port) {
            (Some(protocol), Some(port)) => format!("{}/{port}", word(protocol)),
            (Some(protocol), None) => word(protocol),
            (None, _) => "everything".to_owned(),
        }];
        words.extend(self.from.as_ref().map(|other| format!("with {other}")));
        words.extend(self.direction.as_ref().map(word));
        words.extend((self.loss < 100).then(|| format!("{} %", self.loss)));
        f.write_str(&words.join(" "))
    }
}

/// Returns the command-line spelling of a value.
pub(super) fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().expect("no value is hidden").get_name().to_owned()
}

/// Makes the bridge drop the frames in these cuts, and no others.
///
/// # Errors
///
/// [`Kind::Tool`] if nft(8) is not installed on this machine, or does not keep the rules.
pub(super) fn apply(lab: &Lab, cuts: &[(&Guest, &Cut)]) -> Result<()> {
    let nft = host::process::find("nft").ok_or_else(|| {
        Error::new(Kind::Tool, "dropping frames requires `nft`")
            .hint("install it: `apt install nftables` or `dnf install nftables`")
    })?;
    let text = table(lab, cuts);
    let run = |input: &str| {
        host::process::run_with_input(host::process::command(&nft).args(["--file", "-"]), input.as_bytes())
    };
    run(&text).within(|| "applying the rules that drop frames".into())?;
    let listed = run("list table bridge kiln\n")?;
    let (wanted, found) = (count(&text), count(&String::from_utf8_lossy(&listed.stdout)));
    if wanted == found {
        Ok(())
    } else {
        Err(Error::new(Kind::Tool, format!("`nft` kept {found} of {wanted} rules")))
    }
}

fn count(text: &str) -> usize {
    text.matches(" drop comment ").count()
}

/// Returns the whole table, which replaces the previous one.
fn table(lab: &Lab, cuts: &[(&Guest, &Cut)]) -> String {
    let mut text = "add table bridge kiln\ndelete table bridge kiln\ntable bridge kiln {\n".to_owned();
    for hook in ["forward", "input", "output"] {
        let _ = writeln!(text, "  chain {hook} {{\n    type filter hook {hook} priority 0; policy accept;");
        for (guest, cut) in cuts {
            rules(&mut text, lab, guest, cut, hook);
        }
        text.push_str("  }\n");
    }
    text + "}\n"
}

/// Appends the rules for a cut. Frames between nodes are forwarded; frames between a node and this machine
/// are input or output.
fn rules(text: &mut String, lab: &Lab, guest: &Guest, cut: &Cut, hook: &str) {
    let other = cut.from.as_ref().and_then(|name| lab.guest(name).ok());
    for direction in [Direction::In, Direction::Out] {
        let (near, far, outside) = match direction {
            Direction::In => ("oifname", "iifname", "input"),
            Direction::Out => ("iifname", "oifname", "output"),
        };
        let is_wanted = cut.direction.is_none_or(|wanted| wanted == direction);
        if !is_wanted || hook == outside || (other.is_some() && hook != "forward") {
            continue;
        }
        // Between two nodes, match the ports of both on the lab's bridge; otherwise match the node's own end
        // of a cable that may be slow.
        let far = other.map(|other| format!("{far} {} ", ports(other))).unwrap_or_default();
        let own = if other.is_some() { ports(guest) } else { format!("\"{}\"", guest.tap()) };
        let loss =
            if cut.loss < 100 { format!("numgen random mod 100 < {} ", cut.loss) } else { String::new() };
        for kind in cut.kinds() {
            let _ =
                writeln!(text, "    {near} {own} {far}{kind}{loss}counter drop comment \"{}\"", guest.name);
        }
    }
}

/// Returns the possible names of a node's port on the lab's bridge.
fn ports(guest: &Guest) -> String {
    format!("{{ \"{}\", \"{}\" }}", guest.tap(), guest.slow_port())
}

#[cfg(test)]
mod tests {
    use super::{Cut, Direction, Protocol, table};
    use crate::lab::spec::tests::sample;

    fn rules(cut: &Cut) -> String {
        let lab = sample();
        let text = table(&lab, &[(&lab.guests[1], cut)]);
        let kept = |line: &&str| line.contains("chain") || line.contains("drop");
        text.lines().filter(kept).map(|line| format!("{}\n", line.trim())).collect()
    }

    #[test]
    fn a_cut_cable_carries_nothing_to_other_nodes_and_to_this_machine() {
        insta::assert_snapshot!(rules(&Cut::whole()), @r#"
        chain forward {
        oifname "kiln-n1" counter drop comment "m2"
        iifname "kiln-n1" counter drop comment "m2"
        chain input {
        iifname "kiln-n1" counter drop comment "m2"
        chain output {
        oifname "kiln-n1" counter drop comment "m2"
        "#);
    }

    #[test]
    fn a_port_is_cut_at_either_end_and_one_way_only_if_asked() {
        let cut = Cut {
            direction: Some(Direction::In),
            protocol: Some(Protocol::Tcp),
            port: Some(6443),
            ..Cut::whole()
        };
        insta::assert_snapshot!(rules(&cut), @r#"
        chain forward {
        oifname "kiln-n1" tcp dport 6443 counter drop comment "m2"
        oifname "kiln-n1" tcp sport 6443 counter drop comment "m2"
        chain input {
        chain output {
        oifname "kiln-n1" tcp dport 6443 counter drop comment "m2"
        oifname "kiln-n1" tcp sport 6443 counter drop comment "m2"
        "#);
        assert_eq!(cut.to_string(), "tcp/6443 in");
    }

    #[test]
    fn what_is_lost_between_two_nodes_is_a_share_of_what_is_forwarded() {
        let cut = Cut { from: Some("m1".into()), protocol: Some(Protocol::Vrrp), loss: 5, ..Cut::whole() };
        insta::assert_snapshot!(rules(&cut), @r#"
        chain forward {
        oifname { "kiln-n1", "kiln-s1" } iifname { "kiln-n0", "kiln-s0" } meta l4proto 112 numgen random mod 100 < 5 counter drop comment "m2"
        iifname { "kiln-n1", "kiln-s1" } oifname { "kiln-n0", "kiln-s0" } meta l4proto 112 numgen random mod 100 < 5 counter drop comment "m2"
        chain input {
        chain output {
        "#);
        assert_eq!(cut.to_string(), "vrrp with m1 5 %");
    }

    #[test]
    fn each_change_replaces_the_whole_table_so_that_a_mended_node_has_no_rule() {
        let text = table(&sample(), &[]);
        assert!(text.starts_with("add table bridge kiln\ndelete table bridge kiln\n"), "{text}");
        assert!(!text.contains("drop"), "{text}");
    }

    #[test]
    fn only_what_has_ports_is_cut_by_port() {
        let vrrp = Cut { protocol: Some(Protocol::Vrrp), port: Some(6443), ..Cut::whole() };
        assert_eq!(vrrp.check().unwrap_err().to_string(), "only tcp and udp have ports");
        assert!(Cut { port: Some(6443), ..Cut::whole() }.check().is_err());
    }
}
