//! Closes connections between members that have gone silent, so that etcd reconnects.
//!
//! A member reads another member's messages from connections that it opened itself; each carries a heartbeat
//! every 1.7 s. Up to 3.4, etcd closed a connection after five seconds of silence. Since 3.5 it does not:
//! `NewTransport` in etcd's client/pkg/transport sets `DialContext`, and net/http then ignores the `Dial`
//! function with the time limit that `NewTimeoutTransport` sets. Data from the other side waits in that
//! side's kernel, whose pauses between retransmissions grow to the length of the outage, up to two minutes.
//! So a member that was isolated for a minute appears healthy to every client, but takes no part in elections
//! for up to another minute.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::settings::Settings;
use crate::error::{Doing, Kind, Result};
use crate::host::clock::Stopwatch;
use crate::host::{self, signal};

/// Interval between checks.
const PAUSE: Duration = Duration::from_secs(2);
/// Maximum silence in milliseconds: etcd's own limit (`ConnReadTimeout` in rafthttp: 5 s), plus a margin.
const SILENT: u64 = 6_000;
/// Minimum time in milliseconds from a stream's request to its latest heartbeat.
const HEARTBEAT: u64 = 1_000;
/// Maximum silence in milliseconds if nothing arrived after the response to a request: the connection waits
/// for the next request. A stream that was interrupted before its first heartbeat looks the same.
const IDLE: u64 = 60_000;
/// Maximum number of bytes sent on a connection that is only read from: a handshake and a request. A
/// connection that has sent more carries messages itself, such as a snapshot, and may wait a long time for
/// the answer.
const READER: u64 = 64 << 10;

/// Pause between two journal lines about a member; if the member hangs, new connections to it go silent every
/// few seconds.
const AGAIN: Duration = Duration::from_secs(600);

/// Closes silent connections to other members until the process is asked to exit. An error is reported once,
/// and the check is retried.
///
/// # Errors
///
/// [`Kind::Input`] if a member's URL does not contain an address and a port.
pub(crate) fn streams(settings: &Settings, journal: &dyn Fn(&str)) -> Result<()> {
    let others = settings.members.iter().filter(|member| member.name != settings.name);
    let peers = others.map(|member| address(&member.peer_url)).collect::<Result<Vec<_>>>()?;
    let (mut failed, mut said) = (String::new(), BTreeMap::new());
    while !signal::interrupted() {
        let now = look(&peers, &mut said, journal).err().map(|err| err.to_string()).unwrap_or_default();
        if now != failed && !now.is_empty() {
            journal(&now);
        }
        failed = now;
        host::clock::sleep(PAUSE);
    }
    Ok(())
}

fn address(url: &str) -> Result<SocketAddr> {
    url.trim_start_matches("https://").parse().doing(Kind::Input, || format!("parsing the URL `{url}`"))
}

fn look(
    peers: &[SocketAddr],
    said: &mut BTreeMap<SocketAddr, Stopwatch>,
    journal: &dyn Fn(&str),
) -> Result<()> {
    if peers.is_empty() {
        return Ok(());
    }
    let ss = |option: &str| {
        let mut command = host::process::command("ss");
        command.args(["--no-header", "--tcp", "--numeric", option]);
        command
    };
    let to_peers = peers.iter().map(|peer| format!("dst {peer}")).collect::<Vec<_>>().join(" or ");
    let listed = host::process::run(
        ss("--info").args(["--oneline", "state", "established"]).args(to_peers.split(' ')),
    )?;
    for Silent { local, peer, silent, is_stream } in silent(&String::from_utf8_lossy(&listed.stdout)) {
        if is_stream && said.get(&peer).is_none_or(|last| last.elapsed() >= AGAIN) {
            let seconds = silent / 1000;
            journal(&format!(
                "{} has sent nothing for {seconds} s: closing silent connections to it, so that etcd opens \
                new ones",
                peer.ip()
            ));
            said.insert(peer, Stopwatch::start());
        }
        host::process::run(ss("--kill").args(["src", &local.to_string(), "dst", &peer.to_string()]))?;
    }
    Ok(())
}

/// A connection on which the other side has sent nothing for too long.
#[derive(Debug, PartialEq, Eq)]
struct Silent {
    local: SocketAddr,
    peer: SocketAddr,
    /// Milliseconds without data from the other side.
    silent: u64,
    /// True if heartbeats arrived earlier.
    is_stream: bool,
}

/// Finds silent connections in the output of ss(8): queues, both addresses, then `name:value` pairs from
/// tcp_info, without zero values.
fn silent(list: &str) -> Vec<Silent> {
    let one = |line: &str| {
        let mut words = line.split_whitespace();
        // Data that arrived but was not read shows that the local etcd hangs, and says nothing about the
        // other member.
        let is_read = words.next()? == "0";
        words.next()?;
        let (local, peer) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let values: Vec<&str> = words.collect();
        let value = |name: &str| {
            values.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix(':')?.parse::<u64>().ok())
        };
        let [silent, idle] = ["lastrcv", "lastsnd"].map(|name| value(name).unwrap_or_default());
        // A connection that does not show how much it sent is left alone.
        let is_reader = value("bytes_sent")? < READER && idle >= SILENT;
        let is_stream = idle >= silent + HEARTBEAT;
        let is_silent = silent >= if is_stream { SILENT } else { IDLE };
        (is_read && is_reader && is_silent).then_some(Silent { local, peer, silent, is_stream })
    };
    list.lines().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::{Silent, silent};

    #[test]
    fn readers_that_heard_nothing_are_found_and_senders_are_left_alone() {
        let list = "0 0 10.0.0.12:56964 10.0.0.11:2380 cubic wscale:7,7 rto:204 bytes_sent:2311 \
            bytes_received:91311 lastsnd:61212 lastrcv:48004 lastack:901
0 0 10.0.0.12:56966 10.0.0.11:2380 \
            cubic wscale:7,7 rto:204 bytes_sent:2311 bytes_received:91311 lastsnd:61212 lastrcv:1604 \
            lastack:1604
0 0 10.0.0.12:56968 10.0.0.11:2380 cubic wscale:7,7 rto:204 bytes_sent:2311 \
            bytes_received:91311 lastsnd:61212
0 0 10.0.0.12:56970 10.0.0.11:2380 cubic wscale:7,7 rto:204 \
            bytes_sent:73400320 bytes_received:4100 lastsnd:9100 lastrcv:70100
0 40960 10.0.0.12:56972 \
            10.0.0.11:2380 cubic wscale:7,7 rto:204 bytes_sent:2300 bytes_received:4100 lastsnd:4 \
            lastrcv:70100
0 0 10.0.0.12:56976 10.0.0.11:2380 cubic lastsnd:61212 lastrcv:48004
0 0 \
            [fd00::12]:56978 [fd00::11]:2380 cubic bytes_sent:2311 lastsnd:61212 lastrcv:6000
4096 0 \
            10.0.0.12:56980 10.0.0.11:2380 cubic bytes_sent:2311 bytes_received:91311 lastsnd:61212 \
            lastrcv:48004
0 0 10.0.0.12:56982 10.0.0.11:2380 cubic bytes_sent:2311 bytes_received:4100 \
            lastsnd:40008 lastrcv:40004
0 0 10.0.0.12:56984 10.0.0.11:2380 cubic bytes_sent:2311 \
            bytes_received:4100 lastsnd:60008 lastrcv:60004
";
        let expected = |port: u16, silent, is_stream| Silent {
            local: format!("10.0.0.12:{port}").parse().unwrap(),
            peer: "10.0.0.11:2380".parse().unwrap(),
            silent,
            is_stream,
        };
        let ipv6 = Silent {
            local: "[fd00::12]:56978".parse().unwrap(),
            peer: "[fd00::11]:2380".parse().unwrap(),
            ..expected(0, 6_000, true)
        };
        assert_eq!(silent(list), [expected(56964, 48_004, true), ipv6, expected(56984, 60_004, false)]);
    }
}
