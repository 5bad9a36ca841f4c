//! HAProxy and nginx before the API servers: health checks that see, timeouts that watches survive.

use std::ops::RangeInclusive;

use crate::lint::Lint;
use crate::lint::files::{Block, Content, Fleet, Found, Statement, Word};

/// Clients ping an idle connection after 30 s (client-go's HTTP/2 health check): shorter timeouts cut watches.
const PING: f64 = 30.0;
/// The longest distance between health checks, in seconds.
const CHECK_EVERY: f64 = 3.0;
/// `option` words that choose the kind of health check; of several the last one counts.
const CHECKS: [&str; 8] = ["httpchk", "ssl-hello-chk", "tcp-check", "mysql-check", "pgsql-check", "ldap-check", "smtpchk", "redis-check"];
/// Sections that have listening sockets.
const FRONTENDS: &[&str] = &["frontend", "listen"];
/// Sections that have servers.
const BACKENDS: &[&str] = &["backend", "listen"];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA320", "an address stands on the line of the frontend")
        .why("HAProxy 2.0 and newer refuse `frontend name *:8443` and do not start")
        .fix("write `bind` on a line of its own")
        .files(address_of_a_section),
    Lint::error("HA321", "a backend has two kinds of health check")
        .why("the last `option` wins and the other's settings do nothing: after `ssl-hello-chk` any answer to an SSLv3 greeting is health, and `http-check expect` is dead text")
        .fix("keep `option httpchk` with `http-check connect ssl`")
        .files(two_checks),
    Lint::error("HA322", "health checks speak plain HTTP to a port that speaks TLS")
        .why("the API server answers 400 to plain HTTP, and every server is marked down")
        .fix("add `http-check connect ssl`, or `check-ssl` to the servers")
        .files(plain_check),
    Lint::error("HA323", "idle connections are cut before clients ping")
        .why("a watch may say nothing for minutes, and clients ping after 30 s: a shorter timeout ends every idle watch, log and exec again and again")
        .fix("use `timeout client 10m` and `timeout server 10m`, and `timeout tunnel 24h`")
        .files(|fleet, found| timeouts(fleet, found, 0.0..=PING)),
    Lint::warning("HA337", "idle connections of HTTP/1.1 clients are cut")
        .why("clients that speak HTTP/2 ping after 30 s, others do not: their watches and logs end each time the timeout passes in silence")
        .fix("use `timeout client 10m` and `timeout server 10m`")
        .files(|fleet, found| timeouts(fleet, found, PING..=2.0 * PING)),
    Lint::warning("HA324", "a hung API server is not noticed")
        .why("a check that only connects succeeds as long as the kernel accepts; and one that comes every ten seconds leaves clients with a dead server for as long")
        .fix("use `option httpchk` with `/readyz`, and `check inter 1s fall 2`")
        .files(blind_check),
    Lint::warning("HA325", "connections to a dead server stay open")
        .why("a watch over such a connection stays silent until the client gives up; closing it makes the client turn to a living server at once")
        .fix("add `on-marked-down shutdown-sessions` to `default-server`")
        .files(lingering_sessions),
    Lint::error("HA326", "anybody may reach the statistics page")
        .why("the page shows every server, and with `stats admin` whoever reaches it takes API servers out of service; a password that is sent in clear text, or that stands in an article, keeps nobody out")
        .fix("bind it to 127.0.0.1, or use the socket in /run/haproxy")
        .files(open_statistics),
    Lint::warning("HA327", "HAProxy runs as root in the whole file system, or its log goes nowhere")
        .why("it parses what anybody sends; and `log 127.0.0.1` is heard only by a syslog daemon that listens on UDP, which most machines no longer run")
        .fix("add `chroot`, `user` and `group` to `global`, or `User=` to its unit; use `log stdout format raw local0`")
        .files(careless_process),
    Lint::warning("HA328", "an option of HTTP mode stands where connections are TCP")
        .why("HAProxy ignores it with a warning: the log format or the header that somebody counts on is not there")
        .fix("remove it; use `option tcplog`")
        .files(http_options),
    Lint::error("HA329", "HAProxy may not open as many files as it wants to")
        .why("each connection needs two file descriptors; with a lower limit it refuses to start, or refuses connections when many come")
        .fix("set `LimitNOFILE=` in its unit to at least twice `maxconn` plus 32")
        .files(too_few_descriptors),
    Lint::warning("HA335", "nginx balances the API servers")
        .why("without health checks of its own it learns from clients that a server is down: a hung one keeps getting connections every `fail_timeout`")
        .fix("use HAProxy for the VIP; nginx will do on a node for itself")
        .files(nginx_stream),
    Lint::warning("HA336", "balancers know different servers")
        .why("a server that one balancer lacks gets no clients when the VIP is there; one that is gone gets connections that fail")
        .fix("make the lists from one inventory")
        .files(different_servers),
];

fn address_of_a_section<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.haproxy(&["frontend", "backend", "listen"]) {
        if let Some(word) = block.statement.words.get(2).filter(|word| word.text.contains(':')) {
            found.at(block.document, *word, format!("`{}` belongs into a `bind` line", word.text));
        }
    }
}

/// The option of a section, or of the defaults of the same file.
fn inherited<'f, 'a>(block: Block<'f, 'a>, words: &[&str]) -> Option<&'f Statement<'a>> {
    let of = |section: &'f Statement<'a>| section.body.iter().rev().find(|statement| statement.is(words));
    let sections = block.document.content.haproxy().map(Vec::as_slice).unwrap_or_default();
    of(block.statement).or_else(|| sections.iter().rev().filter(|section| section.is(&["defaults"])).find_map(of))
}

fn mode<'a>(block: Block<'_, 'a>) -> &'a str {
    inherited(block, &["mode"]).and_then(Statement::value).map_or("tcp", |word| word.text)
}

/// Backends whose servers are API servers, as far as a file can say: TCP mode, and checked.
fn api_backends<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = Block<'f, 'a>> {
    fleet.haproxy(BACKENDS).filter(|block| mode(*block) == "tcp" && servers(*block).next().is_some())
}

fn servers<'f, 'a>(block: Block<'f, 'a>) -> impl Iterator<Item = &'f Statement<'a>> {
    block.statement.body.iter().filter(|statement| statement.is(&["server"]) || statement.is(&["server-template"]))
}

/// A word of a server line, or of `default-server`.
fn of_server(block: Block<'_, '_>, server: &Statement<'_>, word: &str) -> bool {
    server.has(word) || inherited(block, &["default-server"]).is_some_and(|defaults| defaults.has(word))
}

fn two_checks<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.haproxy(BACKENDS) {
        let kinds: Vec<&Statement<'a>> =
            block.statement.all(&["option"]).filter(|option| option.value().is_some_and(|word| CHECKS.contains(&word.text))).collect();
        if let [.., first, last] = kinds.as_slice()
            && first.value() != last.value()
        {
            let name = |statement: &Statement<'a>| statement.value().map_or("", |word| word.text);
            let message = format!("`option {}` takes the place of `option {}`", name(last), name(first));
            found.at(block.document, last.name(), message);
        }
    }
}

fn plain_check<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in api_backends(fleet) {
        let Some(option) = inherited(block, &["option", "httpchk"]) else { continue };
        let connects = block.statement.all(&["http-check", "connect"]).any(|check| check.has("ssl"));
        let speaks = |server: &Statement<'a>| ["check-ssl", "ssl"].iter().any(|word| of_server(block, server, word));
        let tls_port =
            |server: &Statement<'a>| server.words.get(2).is_some_and(|word| word.text.ends_with("443") || word.text.contains('$'));
        if !connects && servers(block).any(|server| tls_port(server) && !speaks(server)) {
            found.at(block.document, option.name(), "the check speaks plain HTTP to API servers");
        }
    }
}

/// Tells timeouts within a range of seconds.
fn timeouts<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>, range: RangeInclusive<f64>) {
    // What is exactly as long as the ping belongs to the shorter range.
    let within = |word: &Word<'_>| seconds(word.text).is_some_and(|time| range.contains(&time) && (time != PING || *range.start() < PING));
    for block in fleet.haproxy(&["defaults", "frontend", "backend", "listen"]) {
        // In HTTP mode the section serves a page, unless it only gives defaults that others override.
        if block.statement.name().text != "defaults" && mode(block) != "tcp" {
            continue;
        }
        for side in ["client", "server", "tunnel"] {
            let word = block.statement.last(&["timeout", side]).and_then(|statement| statement.words.get(2)).copied();
            if let Some(word) = word.filter(within) {
                found.at(block.document, word, format!("`timeout {side} {}` cuts idle watches", word.text));
            }
        }
    }
    for block in streams(fleet) {
        if let Some(word) = deep(block.statement, "proxy_timeout").filter(within) {
            found.at(block.document, word, format!("`proxy_timeout {}` cuts idle watches", word.text));
        }
    }
}

/// A time as HAProxy and nginx write it; a number alone is milliseconds in HAProxy, and nobody writes one for seconds here.
fn seconds(text: &str) -> Option<f64> {
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let number: f64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "us" => 0.000_001,
        "" | "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return None,
    };
    Some(number * unit)
}

fn blind_check<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in api_backends(fleet) {
        let speaks = CHECKS.iter().any(|kind| *kind != "ssl-hello-chk" && inherited(block, &["option", kind]).is_some());
        for server in servers(block).filter(|server| of_server(block, server, "check")) {
            let default = inherited(block, &["default-server"]).and_then(|defaults| defaults.option("inter"));
            match server.option("inter").or(default).filter(|word| seconds(word.text).is_some_and(|time| time > CHECK_EVERY)) {
                Some(word) => found.at(block.document, word, format!("a check every {} leaves a dead server in service", word.text)),
                None if !speaks => found.at(block.document, server.name(), "the check only connects"),
                None => {}
            }
        }
        if let Some(server) = servers(block).find(|server| !of_server(block, server, "check")) {
            found.at(block.document, server.name(), "the server is never checked");
        }
    }
}

fn lingering_sessions<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in api_backends(fleet) {
        if let Some(server) = servers(block).find(|server| !of_server(block, server, "on-marked-down")) {
            found.at(block.document, server.name(), "connections to this server stay open when it is down");
        }
    }
}

fn open_statistics<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.haproxy(FRONTENDS) {
        let page = block.statement.last(&["stats", "enable"]).or_else(|| block.statement.last(&["stats", "uri"]));
        let open = |bind: &&Statement<'a>| bind.value().is_some_and(|word| !is_loopback(word.text)) && !bind.has("ssl");
        let bind = block.statement.body.iter().find(|statement| statement.is(&["bind"]) && open(statement));
        if let (Some(_), Some(bind)) = (page, bind) {
            let admin = if block.statement.last(&["stats", "admin"]).is_some() { ", and may disable servers" } else { "" };
            found.at(block.document, bind.name(), format!("whoever reaches this port sees the page{admin}"));
        }
    }
}

fn is_loopback(address: &str) -> bool {
    ["127.", "localhost:", "[::1]", "::1:", "/", "unix@"].iter().any(|start| address.starts_with(start))
}

fn careless_process<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.haproxy(&["global"]) {
        let unit = |section: &Block<'_, 'a>| section.document.path.ends_with("/haproxy.service");
        let confined =
            fleet.on(block.document.machine).units("Service").filter(unit).any(|section| section.statement.setting("User").is_some());
        if !confined && (block.statement.last(&["user"]).is_none() || block.statement.last(&["chroot"]).is_none()) {
            found.at(block.document, block.statement.name(), "HAProxy keeps root's rights, or the whole file system");
        }
        let syslog = fleet.on(block.document.machine).has(&["syslog"]);
        let log = block.statement.all(&["log"]).find(|log| log.value().is_some_and(|word| word.text.starts_with("127.")));
        if let Some(log) = log.filter(|_| !syslog) {
            found.at(block.document, log.name(), "nothing on this machine listens for this log");
        }
    }
}

fn http_options<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const OPTIONS: [&str; 4] = ["forwardfor", "httplog", "http-server-close", "http-keep-alive"];
    for block in fleet.haproxy(&["frontend", "backend", "listen"]).filter(|block| mode(*block) == "tcp") {
        for name in OPTIONS {
            let own = block.statement.last(&["option", name]);
            // A frontend that chose its own log format has overridden that of the defaults.
            let default = || inherited(block, &["option", name]).filter(|_| name == "forwardfor");
            if let Some(option) = own.or_else(default) {
                found.at(block.document, option.name(), format!("`option {name}` does nothing in TCP mode"));
            }
        }
    }
}

fn too_few_descriptors<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.haproxy(&["global"]) {
        let Some((most, word)) = block.statement.number("maxconn") else { continue };
        let unit = |section: &Block<'_, 'a>| section.document.path.ends_with("/haproxy.service");
        let limit =
            fleet.on(block.document.machine).units("Service").filter(unit).find_map(|section| section.statement.setting("LimitNOFILE"));
        let limit = limit.and_then(|word| word.text.split(':').next()?.parse::<f64>().ok());
        if let Some(limit) = limit.filter(|limit| *limit < 2.0 * most + 32.0) {
            found.at(
                block.document,
                word,
                format!("{most} connections need {} descriptors, and LimitNOFILE is {limit}", 2.0 * most + 32.0),
            );
        }
    }
}

/// `stream` blocks of nginx whose upstreams are API servers.
fn streams<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = Block<'f, 'a>> {
    let api = |statement: &Statement<'a>| {
        statement
            .all(&["upstream"])
            .any(|upstream| upstream.all(&["server"]).any(|server| server.value().is_some_and(|word| word.text.ends_with(":6443"))))
    };
    fleet.blocks(Content::nginx).filter(move |block| block.statement.name().text == "stream" && api(block.statement))
}

/// The value of a setting, in the block or in one of its blocks.
fn deep<'a>(statement: &Statement<'a>, name: &str) -> Option<Word<'a>> {
    statement.setting(name).or_else(|| statement.body.iter().find_map(|inner| deep(inner, name)))
}

fn nginx_stream<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in streams(fleet) {
        let carries_vip = fleet.keepalived("vrrp_instance").any(|instance| instance.document.machine == block.document.machine);
        if carries_vip {
            found.at(block.document, block.statement.name(), "nginx behind the VIP has no health checks of its own");
        }
    }
}

fn different_servers<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let mut known: Vec<(Block<'_, 'a>, Vec<&str>)> = Vec::new();
    for block in api_backends(fleet) {
        let mut addresses: Vec<&str> = servers(block).filter_map(|server| server.words.get(2)).map(|word| word.text).collect();
        addresses.sort_unstable();
        let same = |other: &&(Block<'_, 'a>, Vec<&str>)| {
            other.0.statement.value().map(|word| word.text) == block.statement.value().map(|word| word.text)
        };
        if let Some((other, theirs)) = known.iter().find(same).filter(|(_, theirs)| *theirs != addresses) {
            let message = format!(
                "`{}` has {} servers here and {} on `{}`",
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
