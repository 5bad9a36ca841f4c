//! Addresses and ports that a machine's balancer listens on, and conflicts with other programs.

use crate::config::streams;
use crate::config::{Block, Document, Fleet, Statement, Word};
use crate::lint::found::Found;
use crate::lint::vocabulary::{host, own_vips};

/// An address that a balancer listens on.
struct Listener<'f, 'a> {
    document: &'f Document<'a>,
    word: Word<'a>,
    address: &'a str,
    port: &'a str,
    /// True if the balancer may bind to an address that the machine does not have.
    transparent: bool,
}

/// Returns the listeners in HAProxy's `bind` lines, each of which may list several, and in nginx's streams.
fn listeners<'f, 'a>(fleet: &'f Fleet<'a>) -> Vec<Listener<'f, 'a>> {
    let of = |document: &'f Document<'a>, line: &'f Statement<'a>| {
        let words =
            line.value().into_iter().flat_map(|list| list.pieces(|letter| letter == ',').collect::<Vec<_>>());
        words
            .filter_map(|word| {
                let (address, port) = word.text.rsplit_once(':').unwrap_or(("", word.text));
                let listens = !port.is_empty() && port.chars().all(|letter| letter.is_ascii_digit());
                listens.then(|| Listener {
                    document,
                    word,
                    address,
                    port,
                    transparent: line.has("transparent"),
                })
            })
            .collect::<Vec<_>>()
    };
    let blocks: Vec<Block<'f, 'a>> = fleet.haproxy(&["frontend", "listen"]).collect();
    let mut found: Vec<Listener<'f, 'a>> = blocks
        .iter()
        .flat_map(|block| {
            block.statement.all(&["bind"]).flat_map(|line| of(block.document, line)).collect::<Vec<_>>()
        })
        .collect();
    for block in streams(fleet) {
        let servers = block.statement.body.iter().filter(|statement| statement.is(&["server"]));
        found.extend(
            servers
                .flat_map(|server| &server.body)
                .filter(|line| line.is(&["listen"]))
                .flat_map(|line| of(block.document, line)),
        );
    }
    found
}

/// Checks whether the machine's balancer listens on a port.
pub(super) fn has_port(fleet: &Fleet<'_>, machine: &str, port: &str) -> bool {
    listeners(fleet).iter().any(|listener| listener.document.machine == machine && listener.port == port)
}

fn is_wildcard(address: &str) -> bool {
    ["", "*", "0.0.0.0", "::", "[::]"].contains(&address)
}

pub(super) fn port_clash<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for Listener { document, word, address, port, .. } in listeners(fleet) {
        let machine = document.machine;
        let server = fleet.programs("kube-apiserver").find(|server| server.machine == machine);
        let taken = server.is_some_and(|server| {
            let everywhere =
                server.value("bind-address").is_none_or(|address| ["0.0.0.0", "::"].contains(&address));
            server.value("secure-port").unwrap_or("6443") == port && (everywhere || is_wildcard(address))
        });
        // A balancer in a static pod runs next to an API server.
        let pod = fleet.on(machine).has(&["/manifests/"]);
        let mut servers = fleet.on(machine).haproxy(&["backend", "listen"]);
        let forwards = servers.any(|other| {
            other.statement.all(&["server"]).any(|server| {
                server.words.get(2).is_some_and(|word| word.text.ends_with(&format!(":{port}")))
            })
        });
        if taken || (pod && forwards && is_wildcard(address)) {
            found.at(document, word, format!("the API server on `{machine}` also needs port {port}"));
        }
    }
}

pub(super) fn nonlocal_bind<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for listener in listeners(fleet).into_iter().filter(|listener| !listener.transparent) {
        let machine = listener.document.machine;
        let vip = fleet
            .on(machine)
            .keepalived("vrrp_instance")
            .flat_map(own_vips)
            .any(|vip| vip.is_some() && vip == host(listener.word.text));
        if vip && !allows_nonlocal(fleet, machine) {
            found.at(
                listener.document,
                listener.word,
                "the balancer fails to start on machines that do not hold the VIP",
            );
        }
    }
}

/// Checks whether sysctl.d or a command lets programs bind to addresses that the machine does not have.
fn allows_nonlocal(fleet: &Fleet<'_>, machine: &str) -> bool {
    let set = fleet
        .on(machine)
        .settings("sysctl")
        .any(|(_, setting)| setting.key.text.ends_with("ip_nonlocal_bind") && setting.value.text == "1");
    let mut commands =
        fleet.commands().filter(|(document, _)| document.machine == machine).map(|(_, command)| command);
    set || commands.any(|command| {
        let written = command.output.is_some_and(|path| path.text.ends_with("ip_nonlocal_bind"))
            && command.runs(&["echo", "1"]);
        written
            || command.runs(&["sysctl"])
                && command.words.iter().any(|word| word.text.ends_with("ip_nonlocal_bind=1"))
    })
}
