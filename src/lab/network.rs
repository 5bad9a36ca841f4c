//! Lab network: one bridge with this machine's address, and one cable per node. It is configured with lines
//! for `ip -batch` (ip(8)), which can be read and tested, and exists only inside the supervisor's namespaces.

use std::time::Duration;

use serde_json::Value;

use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::host::clock::Stopwatch;
use crate::lab::{Cable, Guest, Lab};

/// Name of the bridge.
const BRIDGE: &str = "kiln0";
/// Time limit for a new port to start passing frames, which normally takes milliseconds.
const PASSING: Duration = Duration::from_secs(2);

/// Creates the bridge.
///
/// # Errors
///
/// [`crate::error::Kind::Tool`], containing the output of ip(8).
pub(super) fn set_up(lab: &Lab) -> Result<()> {
    ip(&bridge(lab)).within(|| "creating the lab's network".into())
}

/// Connects a node to the bridge.
///
/// # Errors
///
/// Same as [`set_up`].
pub(super) fn plug(lab: &Lab, guest: &Guest) -> Result<()> {
    let cable = guest.backend.cable();
    let connected = ip(&connection(lab, guest, cable)).within(|| format!("connecting `{}`", guest.name));
    match cable {
        Cable::Namespace => connected,
        Cable::Tap => {
            connected.map_err(|err| err.hint("allow access to /dev/net/tun: `sudo chmod 666 /dev/net/tun`"))
        }
    }
}

/// Removes a node's cable: the node becomes unreachable at once, even if parts of it still run.
///
/// # Errors
///
/// Same as [`set_up`].
pub(super) fn pull(guest: &Guest) -> Result<()> {
    ip(&format!("link delete {}\n", guest.tap())).within(|| format!("disconnecting `{}`", guest.name))
}

/// Plugs a node's cable in, or unplugs it.
///
/// # Errors
///
/// Same as [`set_up`].
pub(super) fn switch(guest: &Guest, plugged: bool) -> Result<()> {
    let state = if plugged { "up" } else { "down" };
    ip(&format!("link set dev {} {state}\n", guest.tap()))
        .within(|| format!("setting the link state of `{}`", guest.name))
}

/// Removes what is left of a node's network after its processes have exited; otherwise the node's addresses
/// would still respond.
///
/// # Errors
///
/// Same as [`set_up`].
pub(super) fn forget(guest: &Guest) -> Result<()> {
    match guest.backend.cable() {
        Cable::Namespace => ip(&format!("netns delete {}\n", guest.namespace()))
            .within(|| format!("disconnecting `{}`", guest.name)),
        Cable::Tap => Ok(()),
    }
}

/// Inserts the slow segment into a node's cable, between the second interface of [`Guest::slow_bridge`] and
/// [`Guest::slow_port`]. Returns only once frames pass: the kernel takes a moment to notice that a TAP is
/// open.
///
/// # Errors
///
/// Same as [`set_up`].
pub(super) fn lengthen(guest: &Guest) -> Result<()> {
    let doing = || format!("adding a delay to the cable of `{}`", guest.name);
    ip(&lengthening(guest)).within(doing)?;
    let [_, near] = guest.slow_bridge();
    let watch = Stopwatch::start();
    while !(forwards(&near).within(doing)? && forwards(&guest.slow_port()).within(doing)?) {
        if watch.elapsed() >= PASSING {
            return Err(Error::new(
                Kind::Tool,
                format!("the bridge still forwards no frames after {PASSING:?}"),
            ))
            .within(doing);
        }
        host::clock::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Checks whether a bridge forwards frames from this port.
fn forwards(port: &str) -> Result<bool> {
    let output = host::process::run(
        host::process::command("ip").args(["-json", "-details", "link", "show", "dev", port]),
    )?;
    let links: Value =
        serde_json::from_slice(&output.stdout).doing(Kind::Tool, || "parsing `ip` output".into())?;
    Ok(links.pointer("/0/linkinfo/info_slave_data/state").and_then(Value::as_str) == Some("forwarding"))
}

/// Removes the slow segment from a node's cable; the interfaces at its ends disappear when the relay stops.
///
/// # Errors
///
/// Same as [`set_up`].
pub(super) fn shorten(guest: &Guest) -> Result<()> {
    let [bridge, _] = guest.slow_bridge();
    let connect = format!("link set dev {} master {BRIDGE}\n", guest.tap());
    ip(&format!("{connect}link delete {bridge}\n"))
        .within(|| format!("removing the delay from the cable of `{}`", guest.name))
}

/// Removes the slow cable of a node that has stopped.
///
/// # Errors
///
/// Same as [`set_up`].
pub(super) fn remove_slow(guest: &Guest) -> Result<()> {
    let [bridge, _] = guest.slow_bridge();
    ip(&format!("link delete {bridge}\n")).within(|| format!("removing the cable of `{}`", guest.name))
}

/// Returns the commands that insert the slow segment. The node's own end is moved last, so that the old path
/// works until then. ARP is off on the new bridge: Linux responds for all its addresses on all interfaces,
/// and those responses would bypass the delay.
fn lengthening(guest: &Guest) -> String {
    let ([bridge, near], far, own) = (guest.slow_bridge(), guest.slow_port(), guest.tap());
    format!(
        "link add name {bridge} type bridge forward_delay 0 mcast_snooping 0\n\
         link set dev {bridge} arp off addrgenmode none\n\
         link set dev {bridge} up\n\
         link set dev {near} master {bridge}\n\
         link set dev {near} up\n\
         link set dev {far} master {BRIDGE}\n\
         link set dev {far} up\n\
         link set dev {own} master {bridge}\n"
    )
}

fn bridge(lab: &Lab) -> String {
    let address = format!("{}/{}", lab.host_address, lab.network.prefix_len());
    format!(
        "link set dev lo up\n\
         link add name {BRIDGE} address {} type bridge forward_delay 0 mcast_snooping 0\n\
         address add {address} dev {BRIDGE}\n\
         link set dev {BRIDGE} up\n",
        lab.mac()
    )
}

fn connection(lab: &Lab, guest: &Guest, cable: Cable) -> String {
    let (port, namespace, interface, mac) =
        (guest.tap(), guest.namespace(), &lab.interface, guest.mac(&lab.cluster));
    let make = match cable {
        Cable::Namespace => {
            format!(
                "netns add {namespace}\nlink add name {port} type veth peer name {interface} address {mac} \
                netns {namespace}\n"
            )
        }
        Cable::Tap => format!("tuntap add dev {port} mode tap\n"),
    };
    format!("{make}link set dev {port} master {BRIDGE}\nlink set dev {port} up\n")
}

fn ip(batch: &str) -> Result<()> {
    let mut command = host::process::command("ip");
    host::process::run_with_input(command.args(["-batch", "-"]), batch.as_bytes()).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::{bridge, connection, lengthening};
    use crate::lab::Cable;
    use crate::lab::spec::tests::sample;

    #[test]
    fn each_node_gets_a_cable_that_ends_under_the_name_its_configuration_expects() {
        let lab = sample();
        let guest = &lab.guests[1];
        let lines = [
            bridge(&lab),
            connection(&lab, guest, Cable::Namespace),
            connection(&lab, guest, Cable::Tap),
            lengthening(guest),
        ]
        .join("--\n");
        insta::assert_snapshot!(lines, @r"
        link set dev lo up
        link add name kiln0 address 52:54:51:0f:ff:bb type bridge forward_delay 0 mcast_snooping 0
        address add 10.0.0.254/24 dev kiln0
        link set dev kiln0 up
        --
        netns add m2
        link add name kiln-n1 type veth peer name lan0 address 52:54:fa:b2:d5:a3 netns m2
        link set dev kiln-n1 master kiln0
        link set dev kiln-n1 up
        --
        tuntap add dev kiln-n1 mode tap
        link set dev kiln-n1 master kiln0
        link set dev kiln-n1 up
        --
        link add name kiln-b1 type bridge forward_delay 0 mcast_snooping 0
        link set dev kiln-b1 arp off addrgenmode none
        link set dev kiln-b1 up
        link set dev kiln-t1 master kiln-b1
        link set dev kiln-t1 up
        link set dev kiln-s1 master kiln0
        link set dev kiln-s1 up
        link set dev kiln-n1 master kiln-b1
        ");
    }
}
