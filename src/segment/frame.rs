//! Frames: address probes to send, and parsing of received frames.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use etherparse::icmpv6::{Icmpv6PayloadSlice, NdpOptionSlice, NdpOptionType, NeighborSolicitationPayload};
use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, Icmpv6Type, IpNumber, LinkSlice, NetSlice,
    PacketBuilder,
};
use etherparse::{SlicedPacket, TransportSlice};
use serde::Serialize;

use crate::host::link::Mac;

/// IP protocol number of VRRP, and the hop limit that only a machine on the same segment can have sent (RFC
/// 5798 section 5.1.1.3).
const VRRP: IpNumber = IpNumber::VRRP;
const SAME_SEGMENT: u8 = 255;
const NOBODY: Mac = [0; 6];

/// Content of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The machine with `mac` has the address.
    Claim { address: IpAddr, mac: Mac },
    /// A virtual router runs on the machine with `mac`.
    Router { mac: Mac, router: Router },
}

/// Advertisement of a virtual router.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Router {
    pub(crate) id: u8,
    pub(crate) from: IpAddr,
    pub(crate) priority: u8,
    pub(crate) addresses: Vec<IpAddr>,
}

/// Returns the EtherTypes to listen for, which are used by probes and advertisements.
pub(super) fn types(vip: IpAddr) -> &'static [u16] {
    match vip {
        IpAddr::V4(_) => &[EtherType::ARP.0, EtherType::IPV4.0],
        IpAddr::V6(_) => &[EtherType::IPV6.0],
    }
}

/// Returns the VRRP multicast group.
pub(super) fn group(vip: IpAddr) -> IpAddr {
    match vip {
        IpAddr::V4(_) => Ipv4Addr::new(224, 0, 0, 18).into(),
        IpAddr::V6(_) => Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into(),
    }
}

/// Returns a probe for `address` whose source address is not in use, so that caches learn nothing relevant
/// and no machine gives up its address.
pub(super) fn probe(mac: Mac, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp_probe(mac, address),
        IpAddr::V6(address) => neighbour_solicitation(mac, address),
    }
}

/// Builds an ARP probe (RFC 5227 section 2.1.1).
fn arp_probe(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    let (ethernet, unspecified) = (ArpHardwareId::ETHERNET, Ipv4Addr::UNSPECIFIED.octets());
    let packet = ArpPacket::new(
        ethernet,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &mac,
        &unspecified,
        &NOBODY,
        &address.octets(),
    );
    let mut frame = Vec::new();
    let builder =
        PacketBuilder::ethernet2(mac, [0xff; 6]).arp(packet.expect("the addresses have valid lengths"));
    builder.write(&mut frame).expect("writing to memory does not fail");
    frame
}

/// Builds a neighbour solicitation (RFC 4861 section 4.3) to the multicast group of RFC 4291 section 2.7.1,
/// mapped to Ethernet by RFC 2464 section 7. A solicitation without a sender address would announce that the
/// sender is about to use the address itself (RFC 4862 section 5.4.3): another machine about to use it, such
/// as a node that boots at the same time, would give it up permanently.
fn neighbour_solicitation(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    let [.., x, y, z] = address.octets();
    let mut group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets();
    group[13..].copy_from_slice(&[x, y, z]);
    let mut frame = Vec::new();
    let builder = PacketBuilder::ethernet2(mac, [0x33, 0x33, 0xff, x, y, z]).ipv6(
        link_local(mac).octets(),
        group,
        SAME_SEGMENT,
    );
    let target = NeighborSolicitationPayload { target_address: address }.to_bytes();
    // With this option, the responding machine need not resolve the sender, whose kernel may not know the
    // source address. The length is one unit of 8 bytes.
    let payload = [&target[..], &[NdpOptionType::SOURCE_LINK_LAYER_ADDRESS.0, 1], &mac].concat();
    builder
        .icmpv6(Icmpv6Type::NeighborSolicitation)
        .write(&mut frame, &payload)
        .expect("writing to memory does not fail");
    frame
}

/// Returns the link-local address derived from a MAC address, which no other machine has (RFC 4291, appendix
/// A).
fn link_local([a, b, c, d, e, f]: Mac) -> Ipv6Addr {
    let [high, low] = [[a ^ 2, b, c, 0xff], [0xfe, d, e, f]].map(u32::from_be_bytes);
    Ipv6Addr::from((0xfe80 << 112) | u128::from(high) << 32 | u128::from(low))
}

/// Parses a frame; most contain nothing relevant.
pub(super) fn read(frame: &[u8]) -> Option<Heard> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let Some(LinkSlice::Ethernet2(ethernet)) = &packet.link else { return None };
    let mac = ethernet.source();
    match packet.net? {
        NetSlice::Arp(packet) => arp_claim(&packet.to_packet()),
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            let here = ip.payload_ip_number() == VRRP && header.ttl() == SAME_SEGMENT;
            let router =
                here.then(|| advertisement(header.source_addr().into(), ip.payload().payload)).flatten()?;
            Some(Heard::Router { mac, router })
        }
        NetSlice::Ipv6(ip) if ip.header().hop_limit() == SAME_SEGMENT => match packet.transport {
            Some(TransportSlice::Icmpv6(message)) => neighbour_claim(mac, message.payload_slice().ok()?),
            _ if ip.payload().ip_number == VRRP => {
                let router = advertisement(ip.header().source_addr().into(), ip.payload().payload)?;
                Some(Heard::Router { mac, router })
            }
            _ => None,
        },
        NetSlice::Ipv6(_) => None,
    }
}

/// Returns the sender's own address from an ARP packet of any kind; a probe contains none.
fn arp_claim(packet: &ArpPacket) -> Option<Heard> {
    let packet = packet.try_eth_ipv4().ok()?;
    let address = packet.sender_ipv4_addr();
    (!address.is_unspecified()).then_some(Heard::Claim { address: address.into(), mac: packet.sender_mac })
}

fn neighbour_claim(sender: Mac, payload: Icmpv6PayloadSlice<'_>) -> Option<Heard> {
    let Icmpv6PayloadSlice::NeighborAdvertisement(advertisement) = payload else { return None };
    let target = advertisement.options_iterator().flatten().find_map(|option| match option {
        NdpOptionSlice::TargetLinkLayerAddress(option) => Mac::try_from(option.link_layer_address()).ok(),
        _ => None,
    });
    Some(Heard::Claim { address: advertisement.target_address().into(), mac: target.unwrap_or(sender) })
}

/// Parses an advertisement of RFC 3768 section 5.1 (version 2) or RFC 5798 section 5.1 (version 3): eight
/// bytes, with the same layout of the fields read here, then addresses.
pub(super) fn advertisement(from: IpAddr, payload: &[u8]) -> Option<Router> {
    let ([kind, id, priority, count, ..], rest) = payload.split_first_chunk::<8>()?;
    if !matches!(kind, 0x21 | 0x31) {
        return None;
    }
    let length = if from.is_ipv4() { 4 } else { 16 };
    let addresses = rest.chunks_exact(length).take(usize::from(*count)).filter_map(address).collect();
    Some(Router { id: *id, from, priority: *priority, addresses })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let fourth = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    fourth.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use std::net::IpAddr;

    use etherparse::{IpNumber, PacketBuilder};

    use super::{Heard, Router, probe, read};

    const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0x77];

    fn hexadecimal(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        let digits: Vec<char> = hexadecimal.chars().filter(|letter| !letter.is_whitespace()).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
            .collect()
    }

    /// An advertisement as keepalived sends it, with a hop limit.
    fn advertised(kind: u8, from: &str, hops: u8, address: &str) -> Vec<u8> {
        let octets = |text: &str| match text.parse().unwrap() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let payload = [&[kind, 51, 100, 1, 0, 1, 0, 0][..], &octets(address)].concat();
        let builder = PacketBuilder::ethernet2(MAC, [1, 0, 0x5e, 0, 0, 0x12]);
        let mut frame = Vec::new();
        match from.parse().unwrap() {
            IpAddr::V4(from) => {
                builder
                    .ipv4(from.octets(), [224, 0, 0, 18], hops)
                    .write(&mut frame, IpNumber::VRRP, &payload)
                    .unwrap();
            }
            IpAddr::V6(from) => {
                builder
                    .ipv6(from.octets(), [0xff; 16], hops)
                    .write(&mut frame, IpNumber::VRRP, &payload)
                    .unwrap();
            }
        }
        frame
    }

    #[test]
    fn probes_are_those_of_the_standards() {
        let fourth = hexadecimal(&probe(MAC, "10.0.0.10".parse().unwrap()));
        assert_eq!(
            fourth,
            "ffffffffffff52540000007708060001080006040001525400000077000000000000000000000a00000a"
        );
        let sixth = hexadecimal(&probe(MAC, "fd00::a:b0c".parse().unwrap()));
        let (ethernet, ip) = ("3333ff0a0b0c52540000007786dd", "6000000000203aff");
        let addresses = "fe80000000000000505400fffe000077ff0200000000000000000001ff0a0b0c";
        // The checksum is the kernel's affair: it answers only to a right one, which the tests with
        // namespaces prove.
        assert!(sixth.starts_with(&format!("{ethernet}{ip}{addresses}8700")), "{sixth}");
        assert!(sixth.ends_with("00000000fd0000000000000000000000000a0b0c0101525400000077"), "{sixth}");
    }

    #[test]
    fn answers_say_who_has_an_address() {
        // An answer to a probe, padded to the shortest frame; an answer to every machine, without a request.
        let arp = bytes(
            "52540000007752540000009908060001080006040002 525400000099 0a00000a 525400000077 00000000 \
            000000000000000000000000000000000000",
        );
        let claim = |address: &str| Heard::Claim {
            address: address.parse().unwrap(),
            mac: [0x52, 0x54, 0, 0, 0, 0x99],
        };
        assert_eq!(read(&arp), Some(claim("10.0.0.10")));
        let neighbour = bytes(
            "333300000001 525400000099 86dd 60000000 0020 3a ff fd00000000000000000000000000000a \
            ff020000000000000000000000000001
             88 00 0000 20000000 \
            fd00000000000000000000000000000a 02 01 525400000099",
        );
        assert_eq!(read(&neighbour), Some(claim("fd00::a")));
    }

    #[test]
    fn a_probe_of_somebody_else_claims_nothing() {
        assert_eq!(read(&probe(MAC, "10.0.0.10".parse().unwrap())), None);
        assert_eq!(read(&probe(MAC, "fd00::a".parse().unwrap())), None);
    }

    #[test]
    fn advertisements_of_every_version_are_read_unless_they_crossed_a_router() {
        for (kind, from, address) in [
            (0x21, "10.0.0.77", "10.0.0.10"),
            (0x31, "10.0.0.77", "10.0.0.10"),
            (0x31, "fe80::77", "fd00::a"),
        ] {
            let router = Router {
                id: 51,
                from: from.parse().unwrap(),
                priority: 100,
                addresses: vec![address.parse().unwrap()],
            };
            assert_eq!(
                read(&advertised(kind, from, 255, address)),
                Some(Heard::Router { mac: MAC, router }),
                "{kind:x} {from}"
            );
            assert_eq!(read(&advertised(kind, from, 254, address)), None, "{kind:x} {from}");
        }
        assert_eq!(read(&advertised(0x41, "10.0.0.77", 255, "10.0.0.10")), None, "no version that exists");
    }

    #[test]
    fn no_frame_that_is_cut_anywhere_is_a_reason_to_stop() {
        let whole = advertised(0x31, "10.0.0.77", 255, "10.0.0.10");
        for end in 0..whole.len() {
            assert_eq!(read(&whole[..end]), None, "{end}");
        }
    }
}
