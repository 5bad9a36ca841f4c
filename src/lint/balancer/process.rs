//! Timeouts that watches survive, a page that nobody else sees, a process that may do what it has to.

use std::ops::RangeInclusive;

use crate::config::{Block, Document, Fleet, Node, Statement, Word};
use crate::config::{inherited, mode, seconds, streams};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::lint::units::setting;

/// Clients ping an idle connection after 30 s (client-go's HTTP/2 health check): shorter timeouts cut watches.
const PING: f64 = 30.0;

/// Sections that have listening sockets.
const FRONTENDS: &[&str] = &["frontend", "listen"];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA323", "idle connections are cut before clients ping")
        .why("a watch may say nothing for minutes, and clients ping after 30 s: a shorter timeout ends every idle watch, log and exec again and again")
        .fix("use `timeout client 10m` and `timeout server 10m`, and `timeout tunnel 24h`")
        .files(|fleet, found| timeouts(fleet, found, 0.0..=PING)),
    Lint::warning("HA337", "idle connections of HTTP/1.1 clients are cut")
        .why("clients that speak HTTP/2 ping after 30 s, others do not: their watches and logs end each time the timeout passes in silence")
        .fix("use `timeout client 10m` and `timeout server 10m`")
        .files(|fleet, found| timeouts(fleet, found, PING..=2.0 * PING)),
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
        .why("it has no health checks of its own and learns from connections that fail. Those to a hung API server do not fail, since its kernel accepts them: clients of that server wait until they give up, and it gets its share of new connections; no setting of nginx changes that")
        .fix("use HAProxy for the VIP; nginx will do on a node for itself")
        .files(nginx_stream),
];

/// Tells timeouts within a range of seconds.
fn timeouts<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>, range: RangeInclusive<f64>) {
    // What is exactly as long as the ping belongs to the shorter range; nothing at all is no limit.
    let within = |time: &f64| *time > 0.0 && range.contains(time) && (*time != PING || *range.start() < PING);
    for block in fleet.haproxy(&["defaults", "frontend", "backend", "listen"]) {
        // In HTTP mode the section serves a page, unless it only gives defaults that others override.
        if block.statement.name().text != "defaults" && mode(block) != "tcp" {
            continue;
        }
        // In TCP mode that of tunnels takes the place of both sides'.
        let tunnel = inherited(block, &["timeout", "tunnel"]).is_some();
        let sides = if tunnel { &["tunnel"][..] } else { &["client", "server"] };
        for side in sides {
            let word = block.statement.last(&["timeout", side]).and_then(|statement| statement.words.get(2)).copied();
            if let Some(word) = word.filter(|word| seconds(word.text).is_some_and(|time| within(&time))) {
                found.at(block.document, word, format!("`timeout {side} {}` cuts idle watches", word.text));
            }
        }
    }
    for block in streams(fleet) {
        // A number alone is seconds to nginx.
        let time = |word: &Word<'_>| word.text.parse().ok().or_else(|| seconds(word.text));
        if let Some(word) = deep(block.statement, "proxy_timeout").filter(|word| time(word).is_some_and(|time| within(&time))) {
            found.at(block.document, word, format!("`proxy_timeout {}` cuts idle watches", word.text));
        }
    }
}

fn open_statistics<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.haproxy(FRONTENDS) {
        let page = block.statement.last(&["stats", "enable"]).or_else(|| block.statement.last(&["stats", "uri"]));
        let open = |bind: &&Statement<'a>| bind.value().is_some_and(|word| !is_loopback(word.text)) && !bind.has("ssl");
        let bind = block.statement.body.iter().find(|statement| statement.is(&["bind"]) && open(statement)).map(Statement::name);
        // Before HAProxy 2 the address could stand behind the name.
        let bind = bind.or_else(|| block.statement.words.get(2).copied().filter(|word| !is_loopback(word.text)));
        if let (Some(_), Some(bind)) = (page, bind) {
            let admin = if block.statement.last(&["stats", "admin"]).is_some() { ", and may disable servers" } else { "" };
            found.at(block.document, bind, format!("whoever reaches this port sees the page{admin}"));
        }
    }
    for block in fleet.haproxy(&["global"]) {
        for socket in block.statement.all(&["stats", "socket"]).filter_map(|statement| statement.words.get(2)) {
            let address = socket.text.trim_start_matches("ipv4@").trim_start_matches("ipv6@");
            if address.contains(':') && !is_loopback(address) {
                found.at(block.document, *socket, "whoever reaches this socket may disable servers");
            }
        }
    }
}

fn is_loopback(address: &str) -> bool {
    ["127.", "localhost:", "[::1]", "::1:", "/", "unix@"].iter().any(|start| address.starts_with(start))
}

fn careless_process<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.haproxy(&["global"]) {
        let runs = |section: &Block<'_, 'a>| {
            let command = section.statement.last(&["ExecStart"]);
            command.is_some_and(|command| command.words.iter().any(|word| word.text == block.document.path))
        };
        let unit = |section: &Block<'_, 'a>| section.document.path.ends_with("/haproxy.service") || runs(section);
        let confined =
            fleet.on(block.document.machine).units("Service").filter(unit).any(|section| section.statement.setting("User").is_some());
        let confined = confined || is_confined_pod(fleet, block.document);
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

/// Whether the file is mounted into a pod that runs as another user than root: it sees no other file either.
fn is_confined_pod(fleet: &Fleet<'_>, configuration: &Document<'_>) -> bool {
    fleet.manifests().filter(|(document, _)| document.machine == configuration.machine).any(|(_, pod)| {
        let mounted = pod.find_all("path").into_iter().filter_map(Node::scalar).any(|path| path.text == configuration.path);
        let users = pod.find_all("runAsUser").into_iter().filter_map(Node::scalar).collect::<Vec<_>>();
        mounted && !users.is_empty() && users.iter().all(|user| user.text != "0")
    })
}

fn http_options<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const OPTIONS: [&str; 4] = ["forwardfor", "httplog", "http-server-close", "http-keep-alive"];
    for block in fleet.haproxy(&["frontend", "backend", "listen"]).filter(|block| mode(*block) == "tcp") {
        for name in OPTIONS {
            let own = block.statement.last(&["option", name]);
            // Only what takes connections logs them, and its own log format overrides that of the defaults.
            let logs = || {
                let own = [&["option", "tcplog"][..], &["log-format"]].iter().any(|format| block.statement.last(format).is_some());
                name == "httplog" && block.statement.name().text != "backend" && !own
            };
            let default = || inherited(block, &["option", name]).filter(|_| name == "forwardfor" || logs());
            if let Some(option) = own.or_else(default) {
                found.at(block.document, option.name(), format!("`option {name}` does nothing in TCP mode"));
            }
        }
    }
}

fn too_few_descriptors<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.haproxy(&["global"]) {
        let Some((most, word)) = block.statement.number("maxconn") else { continue };
        let unit = fleet.on(block.document.machine).units("Service").find(|section| section.document.unit() == Some("haproxy"));
        let limit = unit.and_then(|unit| setting(fleet, &unit, "Service", "LimitNOFILE"));
        // The program raises its limit as far as it may: `soft:hard`.
        let limit = limit.and_then(|text| text.rsplit(':').next()?.parse::<f64>().ok());
        if let Some(limit) = limit.filter(|limit| *limit < 2.0 * most + 32.0) {
            found.at(
                block.document,
                word,
                format!("{most} connections need {} descriptors, and LimitNOFILE is {limit}", 2.0 * most + 32.0),
            );
        }
    }
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
