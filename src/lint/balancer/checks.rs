//! Health checks and server lists.

use crate::config::{BACKENDS, api_backends, checking, inherited, of_server, seconds, servers};
use crate::config::{Block, Fleet, Statement};
use crate::lint::Lint;
use crate::lint::found::Found;

/// Longest acceptable interval between health checks, in seconds.
const CHECK_EVERY: f64 = 3.0;

/// `option` keywords that select the kind of health check; the last one wins.
const CHECKS: [&str; 8] = [
    "httpchk",
    "ssl-hello-chk",
    "tcp-check",
    "mysql-check",
    "pgsql-check",
    "ldap-check",
    "smtpchk",
    "redis-check",
];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA320", "a section header contains an address")
        .why("HAProxy 2.0 and later reject `frontend name *:8443` and do not start")
        .fix("move the address to a `bind` line")
        .files(address_of_a_section),
    Lint::error("HA321", "a backend has two kinds of health check")
        .why(
            "the last `option` wins, and the other check's settings are ignored: with `ssl-hello-chk` last, \
            any response to an SSLv3 hello counts as healthy, and `http-check expect` has no effect",
        )
        .fix("keep `option httpchk` with `http-check connect ssl`")
        .files(two_checks),
    Lint::error("HA322", "health checks use plain HTTP on a TLS port")
        .why("the API server responds to plain HTTP with 400, and every server is marked down")
        .fix("add `http-check connect ssl`, or add `check-ssl` to the server lines")
        .files(plain_check),
    Lint::warning("HA324", "a hung API server is detected too late or not at all")
        .why(
            "a check that only connects succeeds as long as the kernel accepts connections, and a check \
            every ten seconds leaves a failed server in service for that long",
        )
        .fix("use `option httpchk` with `/readyz`, and `check inter 1s fall 2`")
        .files(blind_check),
    Lint::warning("HA325", "connections to a dead server stay open")
        .why(
            "a watch on such a connection stays silent until the client gives up; closing the connection \
            makes the client reconnect to a healthy server at once",
        )
        .fix("add `on-marked-down shutdown-sessions` to `default-server`")
        .files(lingering_sessions),
    Lint::warning("HA336", "balancers have different server lists")
        .why(
            "a server missing from one list receives no clients while that balancer holds the VIP, and \
            connections to a server that no longer exists fail",
        )
        .fix("generate all lists from one inventory")
        .files(different_servers),
];

fn address_of_a_section<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.haproxy(&["frontend", "backend", "listen"]) {
        if let Some(word) = block.statement.words.get(2).filter(|word| word.text.contains(':')) {
            found.at(block.document, *word, format!("`{}` belongs in a `bind` line", word.text));
        }
    }
}

fn two_checks<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.haproxy(BACKENDS) {
        let kinds: Vec<&Statement<'a>> = block
            .statement
            .all(&["option"])
            .filter(|option| option.value().is_some_and(|word| CHECKS.contains(&word.text)))
            .collect();
        if let [.., first, last] = kinds.as_slice()
            && first.value() != last.value()
        {
            let name = |statement: &Statement<'a>| statement.value().map_or("", |word| word.text);
            let message = format!("`option {}` overrides `option {}`", name(last), name(first));
            found.at(block.document, last.name(), message);
        }
    }
}

fn plain_check<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in api_backends(fleet).map(checking) {
        let Some(option) = inherited(block, &["option", "httpchk"]) else { continue };
        let connects = block.statement.all(&["http-check", "connect"]).any(|check| check.has("ssl"));
        let speaks =
            |server: &Statement<'a>| ["check-ssl", "ssl"].iter().any(|word| of_server(block, server, word));
        let tls_port = |server: &Statement<'a>| {
            server.words.get(2).is_some_and(|word| word.text.ends_with("443") || word.text.contains('$'))
        };
        if !connects && servers(block).any(|server| tls_port(server) && !speaks(server)) {
            found.at(block.document, option.name(), "this check sends plain HTTP to the API servers");
        }
    }
}

fn blind_check<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for served in api_backends(fleet) {
        let block = checking(served);
        // A TCP check without `expect` only connects.
        let expects = inherited(block, &["tcp-check", "expect"]).is_some();
        let means = |kind: &str| kind != "ssl-hello-chk" && (kind != "tcp-check" || expects);
        let speaks = CHECKS.iter().any(|kind| means(kind) && inherited(block, &["option", kind]).is_some());
        for server in servers(block).filter(|server| of_server(block, server, "check")) {
            let default = inherited(block, &["default-server"]).and_then(|defaults| defaults.option("inter"));
            match server
                .option("inter")
                .or(default)
                .filter(|word| seconds(word.text).is_some_and(|time| time > CHECK_EVERY))
            {
                Some(word) => found.at(
                    block.document,
                    word,
                    format!(
                        "a check interval of {} leaves a failed server in service for too long",
                        word.text
                    ),
                ),
                None if !speaks => {
                    found.at(block.document, server.name(), "this check only opens a connection");
                }
                None => {}
            }
        }
        let is_checked = |server: &Statement<'a>| server.has("track") || of_server(served, server, "check");
        if let Some(server) = servers(served).find(|server| !is_checked(server)) {
            found.at(served.document, server.name(), "this server is never checked");
        }
    }
}

fn lingering_sessions<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in api_backends(fleet) {
        if let Some(server) = servers(block).find(|server| !of_server(block, server, "on-marked-down")) {
            found.at(
                block.document,
                server.name(),
                "connections to this server stay open when it is marked down",
            );
        }
    }
}

fn different_servers<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let mut known: Vec<(Block<'_, 'a>, Vec<&str>)> = Vec::new();
    for block in api_backends(fleet) {
        let mut addresses: Vec<&str> =
            servers(block).filter_map(|server| server.words.get(2)).map(|word| word.text).collect();
        addresses.sort_unstable();
        let same = |other: &&(Block<'_, 'a>, Vec<&str>)| {
            other.0.statement.value().map(|word| word.text) == block.statement.value().map(|word| word.text)
        };
        if let Some((other, theirs)) = known.iter().find(same).filter(|(_, theirs)| *theirs != addresses) {
            let message = format!(
                "the server lists of `{}` differ: {} here, {} on `{}`",
                block.statement.value().map_or("", |word| word.text),
                addresses.len(),
                theirs.len(),
                other.document.machine
            );
            found.at(block.document, block.statement.name(), message);
        }
        known.push((block, addresses));
    }
}
