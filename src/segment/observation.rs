//! Observations of a segment, and the conflicts that they show.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;

use crate::host::link::Mac;
use crate::segment::finding::{About, Finding};
use crate::segment::frame::{Heard, Router};
use crate::segment::question::Question;

/// Everything heard on a segment.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Observation {
    /// MAC addresses that answer for an address, keyed by that address.
    claims: BTreeMap<IpAddr, BTreeSet<Printed>>,
    routers: BTreeSet<Router>,
    /// MAC addresses that send advertisements, keyed by source address.
    #[serde(skip)]
    senders: BTreeMap<IpAddr, BTreeSet<Mac>>,
    /// Addresses of this machine itself.
    own: BTreeSet<IpAddr>,
}

/// An Ethernet address in the usual notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Printed(Mac);

impl std::fmt::Display for Printed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

impl Serialize for Printed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Observation {
    /// Creates an empty observation for a machine with these addresses.
    pub(super) fn of(own: impl IntoIterator<Item = IpAddr>) -> Self {
        Self { own: own.into_iter().collect(), ..Self::default() }
    }

    /// Records one frame.
    pub(super) fn add(&mut self, heard: Heard) {
        match heard {
            Heard::Claim { address, mac } => {
                self.claims.entry(address).or_default().insert(Printed(mac));
            }
            Heard::Router { mac, router } => {
                self.senders.entry(router.from).or_default().insert(mac);
                self.routers.insert(router);
            }
        }
    }

    /// Returns the number of nodes that answered, counting this machine if it is a node.
    pub(crate) fn nodes(&self, question: &Question) -> usize {
        question.nodes.iter().filter(|node| self.claims.contains_key(node) || self.own.contains(node)).count()
    }

    /// Returns all virtual router identifiers that were heard.
    pub(crate) fn identifiers(&self) -> BTreeSet<u8> {
        self.routers.iter().map(|router| router.id).collect()
    }

    /// Returns the conflicts with this cluster's VIP and router identifier.
    pub(crate) fn findings(&self, question: &Question) -> Vec<Finding> {
        self.taken_vip(question).into_iter().chain(self.taken_router(question)).collect()
    }

    /// Reports machines that have the VIP but are not nodes. A node that has the VIP uses a MAC address that
    /// answers for a node, or advertises as one. The virtual MAC addresses of the cluster's own router (RFC
    /// 5798 section 7.3) belong to its nodes, which advertise only to each other: a foreign machine that uses
    /// these addresses is detected by its advertisements.
    fn taken_vip(&self, question: &Question) -> Option<Finding> {
        let mut ours = self.answering(question);
        ours.extend(question.nodes.iter().flat_map(|node| self.senders.get(node).into_iter().flatten()));
        ours.extend(question.virtual_router_id.into_iter().flat_map(virtual_macs));
        let claims =
            self.claims.get(&question.vip).into_iter().flatten().filter(|mac| !ours.contains(&mac.0));
        let mut holders: Vec<String> = claims.map(|mac| format!("{mac} answers for it")).collect();
        let strangers = self.strangers(question).filter(|router| router.addresses.contains(&question.vip));
        holders.extend(
            strangers.map(|router| format!("{} advertises it as virtual router {}", router.from, router.id)),
        );
        if self.own.contains(&question.vip) && !question.nodes.iter().any(|node| self.own.contains(node)) {
            holders.push("this machine has it but is not a node of the cluster".to_owned());
        }
        (!holders.is_empty()).then(|| Finding {
            about: About::Vip,
            message: format!("the VIP `{}` is already in use: {}", question.vip, holders.join(", ")),
            fix: "free the address, or choose another one: set `vip` in `[endpoint]`, then run `kiln pki` \
                and `kiln build`"
                .into(),
        })
    }

    fn taken_router(&self, question: &Question) -> Option<Finding> {
        let id = question.virtual_router_id?;
        let others = self.strangers(question).filter(|router| router.id == id);
        let others: Vec<String> = others
            .map(|router| format!("{} advertises it with priority {}", router.from, router.priority))
            .collect();
        (!others.is_empty()).then(|| Finding {
            about: About::Router,
            message: format!("the virtual router identifier {id} is already in use: {}", others.join(", ")),
            fix: match self.free(id) {
                Some(free) => {
                    format!("choose an identifier that was not heard: `virtual-router-id = {free}`")
                }
                None => "change the other router's identifier: no identifier is free".to_owned(),
            },
        })
    }

    /// Returns virtual routers that are not nodes. An IPv6 router sends from a generated address, so its MAC
    /// address identifies it.
    fn strangers(&self, question: &Question) -> impl Iterator<Item = &Router> {
        let ours = self.answering(question);
        let nodes: BTreeSet<IpAddr> = question.nodes.iter().copied().collect();
        let known = move |router: &&Router| {
            let sender = self.senders.get(&router.from);
            nodes.contains(&router.from)
                || sender.is_some_and(|macs| macs.iter().any(|mac| ours.contains(mac)))
        };
        self.routers.iter().filter(move |router| !known(router))
    }

    /// Returns the MAC addresses that answer for nodes.
    fn answering(&self, question: &Question) -> BTreeSet<Mac> {
        question
            .nodes
            .iter()
            .flat_map(|node| self.claims.get(node).into_iter().flatten())
            .map(|mac| mac.0)
            .collect()
    }

    /// Returns the next identifier that was not heard.
    fn free(&self, id: u8) -> Option<u8> {
        let heard = self.identifiers();
        (id..=u8::MAX).chain(1..id).find(|candidate| *candidate != id && !heard.contains(candidate))
    }
}

/// Returns the MAC addresses that a virtual router may use (RFC 5798 section 7.3), for IPv4 and IPv6.
fn virtual_macs(id: u8) -> [Mac; 2] {
    [[0, 0, 0x5e, 0, 1, id], [0, 0, 0x5e, 0, 2, id]]
}

#[cfg(test)]
mod tests {
    use super::{Observation, Question};
    use crate::segment::frame::{Heard, Router};

    fn question() -> Question {
        Question {
            interface: "lan0".into(),
            vip: "10.0.0.10".parse().unwrap(),
            virtual_router_id: Some(10),
            nodes: ["10.0.0.11", "10.0.0.12"].map(|node| node.parse().unwrap()).to_vec(),
        }
    }

    /// `10.0.0.10=99` is a claim, `10.0.0.77>51` an advertisement of router 51 by a machine whose MAC address
    /// ends in 77, with the addresses after a second `>`; MAC addresses above `v` are virtual ones.
    fn heard(words: &str) -> Observation {
        let mac = |text: &str| match text.strip_prefix('v') {
            Some(id) => [0, 0, 0x5e, 0, 1, id.parse().unwrap()],
            None => [0x52, 0x54, 0, 0, 0, text.parse().unwrap()],
        };
        let mut observation = Observation::of(["192.0.2.1".parse().unwrap()]);
        for word in words.split_whitespace() {
            observation.add(match word.split_once('=') {
                Some((address, end)) => Heard::Claim { address: address.parse().unwrap(), mac: mac(end) },
                None => {
                    let parts: Vec<&str> = word.split('>').collect();
                    let addresses = parts[2..].iter().map(|address| address.parse().unwrap()).collect();
                    let router = Router {
                        id: parts[1].parse().unwrap(),
                        from: parts[0].parse().unwrap(),
                        priority: 100,
                        addresses,
                    };
                    Heard::Router { mac: mac(parts[0].rsplit('.').next().unwrap()), router }
                }
            });
        }
        observation
    }

    #[test]
    fn a_healthy_segment_gives_no_finding() {
        for (what, words) in [
            ("silence", ""),
            ("nodes that have no VIP yet", "10.0.0.11=11 10.0.0.12=12"),
            ("a node that holds the VIP", "10.0.0.11=11 10.0.0.10=11 10.0.0.11>10>10.0.0.10"),
            ("a node that holds it and says nothing", "10.0.0.11=11 10.0.0.10=11"),
            ("a node that advertises and does not answer for itself", "10.0.0.11>10>10.0.0.10 10.0.0.10=11"),
            ("the VIP moves between nodes", "10.0.0.11=11 10.0.0.12=12 10.0.0.10=11 10.0.0.10=12"),
            ("a node with a virtual MAC address", "10.0.0.11=11 10.0.0.10=v10"),
            ("a node with two cards", "10.0.0.11=11 10.0.0.11=21 10.0.0.10=21"),
            ("a router that answers for everybody", "10.0.0.11=1 10.0.0.12=1 10.0.0.10=1"),
            ("another router", "10.0.0.77>51>10.0.0.70 10.0.0.70=77"),
        ] {
            assert_eq!(heard(words).findings(&question()), [], "{what}");
        }
    }

    #[test]
    fn strangers_are_told_with_what_to_change() {
        let reported = |words: &str| {
            let findings = heard(words).findings(&question());
            findings
                .into_iter()
                .map(|finding| format!("{}\n  {}\n", finding.message, finding.fix))
                .collect::<String>()
        };
        let all = [
            "10.0.0.11=11 10.0.0.10=99",
            "10.0.0.11=11 10.0.0.10=11 10.0.0.10=99",
            "10.0.0.10=v51 10.0.0.77>51>10.0.0.10",
            "10.0.0.10=v10 10.0.0.77>10>10.0.0.10",
            "10.0.0.77>10>10.0.0.70 10.0.0.78>11>10.0.0.71",
        ]
        .map(reported)
        .join("--\n");
        insta::assert_snapshot!(all, @r"
        the VIP `10.0.0.10` is already in use: 52:54:00:00:00:63 answers for it
          free the address, or choose another one: set `vip` in `[endpoint]`, then run `kiln pki` and `kiln build`
        --
        the VIP `10.0.0.10` is already in use: 52:54:00:00:00:63 answers for it
          free the address, or choose another one: set `vip` in `[endpoint]`, then run `kiln pki` and `kiln build`
        --
        the VIP `10.0.0.10` is already in use: 00:00:5e:00:01:33 answers for it, 10.0.0.77 advertises it as virtual router 51
          free the address, or choose another one: set `vip` in `[endpoint]`, then run `kiln pki` and `kiln build`
        --
        the VIP `10.0.0.10` is already in use: 10.0.0.77 advertises it as virtual router 10
          free the address, or choose another one: set `vip` in `[endpoint]`, then run `kiln pki` and `kiln build`
        the virtual router identifier 10 is already in use: 10.0.0.77 advertises it with priority 100
          choose an identifier that was not heard: `virtual-router-id = 11`
        --
        the virtual router identifier 10 is already in use: 10.0.0.77 advertises it with priority 100
          choose an identifier that was not heard: `virtual-router-id = 12`
        ");
    }

    #[test]
    fn a_machine_that_is_no_node_must_not_have_the_vip_itself() {
        let vip = question().vip;
        assert_eq!(Observation::of([vip]).findings(&question()).len(), 1);
        assert_eq!(Observation::of([vip, question().nodes[0]]).findings(&question()), []);
    }
}
