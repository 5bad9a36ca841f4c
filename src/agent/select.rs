//! Selection of this machine's seed from those found: exactly one, or an error with the reason.

use std::collections::BTreeMap;

use crate::agent::machine::Machine;
use crate::cluster::MatchRule;
use crate::digest::Digest;
use crate::error::{Error, Kind, Result};
use crate::seed::Identity;

/// A seed that was found, without its files.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    /// Display name of its carrier.
    pub(crate) place: String,
    pub(crate) digest: Digest,
    pub(crate) identity: Identity,
    /// True if the seed contains an order.
    pub(crate) ordered: bool,
}

/// Result of comparing a seed with a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// A rule or the kernel command line matches.
    Own,
    /// The seed contains no match rules, so it is valid for any machine that carries it.
    Open,
    /// Failed comparisons, as text.
    Foreign(Vec<String>),
}

/// Returns the index of this machine's seed in `carried`. The same seed found in two places counts once, and
/// a node's seed with an order takes precedence over its ordinary seed: a USB stick with an order must work
/// even if the disk has a seed.
///
/// # Errors
///
/// [`Kind::Input`] if no seed, or more than one, belongs to this machine; the message lists every seed with
/// its comparisons.
pub(crate) fn select(carried: &[Candidate], machine: &Machine) -> Result<usize> {
    let mut distinct: BTreeMap<Digest, (usize, Verdict)> = BTreeMap::new();
    let name =
        |candidate: &Candidate| (candidate.identity.cluster_id.clone(), candidate.identity.node.clone());
    let ordered: Vec<_> = carried.iter().filter(|candidate| candidate.ordered).map(name).collect();
    let is_outdone = |candidate: &Candidate| !candidate.ordered && ordered.contains(&name(candidate));
    for (index, candidate) in carried.iter().enumerate().filter(|(_, candidate)| !is_outdone(candidate)) {
        distinct.entry(candidate.digest).or_insert_with(|| (index, compare(&candidate.identity, machine)));
    }
    let own: Vec<usize> =
        distinct.values().filter(|(_, verdict)| *verdict == Verdict::Own).map(|(index, _)| *index).collect();
    let only_one = distinct.len() == 1;
    match (&own[..], distinct.values().next()) {
        ([index], _) => Ok(*index),
        ([], Some((index, Verdict::Open))) if only_one => Ok(*index),
        ([], _) if only_one => Err(refusal("the seed found belongs to another machine", carried, machine)),
        ([], _) => {
            Err(refusal("can't determine which of the seeds found belongs to this machine", carried, machine)
                .hint("boot with `kiln.node=NAME`, or add match rules to each node in the cluster file"))
        }
        _ => Err(refusal("more than one of the seeds found belongs to this machine", carried, machine)
            .hint("detach all but one")),
    }
}

/// Rejects a seed that would apply the configuration of another cluster or node to this machine's state.
///
/// # Errors
///
/// [`Kind::Input`], whose hint names the kernel parameter that allows it.
pub(crate) fn guard(chosen: &Identity, stored: Option<&Identity>, machine: &Machine) -> Result<()> {
    let Some(stored) = stored else { return Ok(()) };
    let names = |identity: &Identity| {
        format!("node `{}` in cluster `{}` ({})", identity.node, identity.cluster, identity.cluster_id)
    };
    let same = (&stored.cluster_id, &stored.node) == (&chosen.cluster_id, &chosen.node);
    let adopted =
        machine.adopt.as_ref().is_some_and(|name| *name == chosen.cluster || *name == chosen.cluster_id);
    if same || adopted {
        return Ok(());
    }
    Err(Error::new(
        Kind::Input,
        format!("this machine's state belongs to {}, but the seed is for {}", names(stored), names(chosen)),
    )
    .hint(format!(
        "to reassign this machine, boot once with `kiln.adopt={}`; the machine keeps its state",
        chosen.cluster
    )))
}

fn compare(identity: &Identity, machine: &Machine) -> Verdict {
    if let Some(node) = &machine.node {
        let named = |rule: &MatchRule| matches!(rule, MatchRule::KernelCommandLine(name) if name == node);
        let own = *node == identity.node || identity.matches.iter().any(named);
        let compared = || {
            format!("the kernel command line has `kiln.node={node}`, but the seed is for `{}`", identity.node)
        };
        return if own { Verdict::Own } else { Verdict::Foreign(vec![compared()]) };
    }
    if identity.matches.is_empty() {
        return Verdict::Open;
    }
    let differences: Option<Vec<String>> =
        identity.matches.iter().map(|rule| difference(rule, machine)).collect();
    differences.map_or(Verdict::Own, Verdict::Foreign)
}

/// Returns why a rule does not match; `None` if it does.
fn difference(rule: &MatchRule, machine: &Machine) -> Option<String> {
    let show =
        |value: &Option<String>| value.as_ref().map_or("none".to_owned(), |value| format!("`{value}`"));
    let compare = |what: &str, wanted: &str, actual: &Option<String>| {
        let equal = actual.as_deref().is_some_and(|actual| actual.eq_ignore_ascii_case(wanted));
        (!equal).then(|| format!("{what}: seed requires `{wanted}`, machine has {}", show(actual)))
    };
    match rule {
        MatchRule::KernelCommandLine(name) => compare("kiln.node", name, &machine.node),
        MatchRule::Serial(serial) => compare("serial number", serial, &machine.serial),
        MatchRule::Uuid(uuid) => compare("UUID", uuid, &machine.uuid),
        MatchRule::Mac(mac) => {
            let there = machine.macs.contains(&mac.to_lowercase());
            let macs = machine.macs.iter().map(|mac| format!("`{mac}`")).collect::<Vec<_>>().join(" ");
            (!there).then(|| {
                format!(
                    "MAC address: seed requires `{mac}`, machine has {}",
                    if macs.is_empty() { "none" } else { &macs }
                )
            })
        }
    }
}

fn refusal(what: &str, carried: &[Candidate], machine: &Machine) -> Error {
    let seeds: Vec<String> = carried.iter().map(|candidate| describe(candidate, machine)).collect();
    Error::new(Kind::Input, format!("{what}:\n  {}", seeds.join("\n  ")))
}

fn describe(candidate: &Candidate, machine: &Machine) -> String {
    let Candidate { place, identity, digest, .. } = candidate;
    let verdict = match compare(identity, machine) {
        Verdict::Own => "belongs to this machine".to_owned(),
        Verdict::Open => "contains no match rules".to_owned(),
        Verdict::Foreign(differences) => differences.join("; "),
    };
    format!(
        "{place}: node `{}` in cluster `{}`, seed {}: {verdict}",
        identity.node,
        identity.cluster,
        digest.short()
    )
}

#[cfg(test)]
mod tests {
    use super::{Candidate, guard, select};
    use crate::agent::machine::Machine;
    use crate::cluster::MatchRule::{self, KernelCommandLine, Mac, Serial, Uuid};
    use crate::digest::Digest;
    use crate::seed;

    fn candidate(place: &str, node: &str, matches: &[MatchRule]) -> Candidate {
        let identity = seed::tests::sample(node, matches.to_vec()).identity;
        let digest = Digest::of(format!("{node} {matches:?}").as_bytes());
        Candidate { place: place.into(), digest, identity, ordered: false }
    }

    fn ordered(place: &str, node: &str, order: &str) -> Candidate {
        Candidate { digest: Digest::of(order.as_bytes()), ordered: true, ..candidate(place, node, &[]) }
    }

    fn machine() -> Machine {
        Machine {
            serial: Some("S-1".into()),
            uuid: Some("4c4c4544".into()),
            macs: ["52:54:00:00:00:01".to_owned()].into(),
            ..Machine::default()
        }
    }

    fn named(node: &str) -> Machine {
        Machine { node: Some(node.into()), ..machine() }
    }

    #[test]
    fn exactly_one_seed_is_chosen() {
        let rule = |serial: &str| vec![Serial(serial.into())];
        let table: [(&str, Machine, Vec<Candidate>, usize); 9] = [
            ("one seed without rules", machine(), vec![candidate("a", "m1", &[])], 0),
            ("its serial number", machine(), vec![candidate("a", "m1", &rule("S-1"))], 0),
            ("its UUID in upper case", machine(), vec![candidate("a", "m1", &[Uuid("4C4C4544".into())])], 0),
            (
                "any rule of several",
                machine(),
                vec![candidate("a", "m1", &[Serial("S-9".into()), Mac("52:54:00:00:00:01".into())])],
                0,
            ),
            (
                "the second of two",
                machine(),
                vec![candidate("a", "m1", &rule("S-9")), candidate("b", "m2", &rule("S-1"))],
                1,
            ),
            (
                "a rule beats a seed without rules",
                machine(),
                vec![candidate("a", "m1", &[]), candidate("b", "m2", &rule("S-1"))],
                1,
            ),
            (
                "the command line names a node",
                named("m2"),
                vec![candidate("a", "m1", &[]), candidate("b", "m2", &[])],
                1,
            ),
            (
                "a rule on the command line",
                named("blue"),
                vec![candidate("a", "m1", &[KernelCommandLine("blue".into())])],
                0,
            ),
            (
                "one seed in two places",
                machine(),
                vec![candidate("a", "m1", &[]), candidate("b", "m1", &[])],
                0,
            ),
        ];
        for (what, machine, carried, expected) in table {
            assert_eq!(select(&carried, &machine).unwrap(), expected, "{what}");
        }
    }

    #[test]
    fn an_order_comes_before_the_usual_seed_of_the_same_node() {
        let (disk, other) = (candidate("disk", "m1", &[]), candidate("disk", "m2", &[]));
        assert_eq!(select(&[disk.clone(), ordered("stick", "m1", "without m3")], &machine()).unwrap(), 1);
        assert_eq!(select(&[ordered("stick", "m1", "without m3"), disk.clone()], &machine()).unwrap(), 0);
        // A stick of another machine, or two orders: only a person knows.
        select(&[other, ordered("stick", "m1", "without m3")], &machine()).unwrap_err();
        select(&[disk, ordered("a", "m1", "without m3"), ordered("b", "m1", "without m2")], &machine())
            .unwrap_err();
    }

    #[test]
    fn a_wrong_or_ambiguous_seed_is_refused_with_what_was_compared() {
        let wrong =
            vec![candidate("/dev/vda4", "m1", &[Serial("S-9".into()), Mac("52:54:00:00:00:09".into())])];
        let two = vec![candidate("/dev/vda4", "m1", &[]), candidate("/dev/vdb", "m2", &[])];
        let both = vec![
            candidate("/dev/vda4", "m1", &[Serial("S-1".into())]),
            candidate("/dev/vdb", "m2", &[Serial("S-1".into())]),
        ];
        let shown = [(&wrong, machine()), (&wrong, named("m2")), (&two, machine()), (&both, machine())]
            .map(|(carried, machine)| select(carried, &machine).unwrap_err().to_string())
            .join("\n");
        insta::assert_snapshot!(shown, @r"
        the seed found belongs to another machine:
          /dev/vda4: node `m1` in cluster `ha`, seed fb909ae9d6d4: serial number: seed requires `S-9`, machine has `S-1`; MAC address: seed requires `52:54:00:00:00:09`, machine has `52:54:00:00:00:01`
        the seed found belongs to another machine:
          /dev/vda4: node `m1` in cluster `ha`, seed fb909ae9d6d4: the kernel command line has `kiln.node=m2`, but the seed is for `m1`
        can't determine which of the seeds found belongs to this machine:
          /dev/vda4: node `m1` in cluster `ha`, seed 176cb3c6cb6d: contains no match rules
          /dev/vdb: node `m2` in cluster `ha`, seed 7f824aa39d32: contains no match rules
        more than one of the seeds found belongs to this machine:
          /dev/vda4: node `m1` in cluster `ha`, seed 799f75a9a7e1: belongs to this machine
          /dev/vdb: node `m2` in cluster `ha`, seed 79b49a13ed13: belongs to this machine
        ");
    }

    #[test]
    fn a_machine_with_state_takes_no_other_nodes_seed_unless_told() {
        let stored = seed::tests::sample("m1", Vec::new()).identity;
        let mut foreign = stored.clone();
        foreign.cluster = "blue".into();
        foreign.cluster_id = "c2".into();
        let adopt = |name: &str| Machine { adopt: Some(name.into()), ..machine() };
        guard(&stored, None, &machine()).unwrap();
        guard(&stored, Some(&stored), &machine()).unwrap();
        guard(&foreign, Some(&stored), &adopt("blue")).unwrap();
        guard(&foreign, Some(&stored), &adopt("c2")).unwrap();
        guard(&foreign, Some(&stored), &adopt("ha")).unwrap_err();
        let err = guard(&foreign, Some(&stored), &machine()).unwrap_err();
        assert_eq!(
            err.to_string(),
            "this machine's state belongs to node `m1` in cluster `ha` (c1), but the seed is for node `m1` \
            in cluster `blue` (c2)"
        );
        let other_node = seed::tests::sample("m2", Vec::new()).identity;
        guard(&other_node, Some(&stored), &machine()).unwrap_err();
    }
}
