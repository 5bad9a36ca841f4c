//! Watch timeouts, access to the statistics page, process privileges and limits.

use std::ops::RangeInclusive;

use crate::config::{Block, Document, Fleet, Node, Statement, Word};
use crate::config::{inherited, mode, seconds, streams};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::lint::units::setting;

/// Clients ping an idle connection after 30 s (client-go's HTTP/2 health check): shorter timeouts close idle
/// watches.
const PING: f64 = 30.0;

/// Sections that have listening sockets.
const FRONTENDS: &[&str] = &["frontend", "listen"];

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA323", "idle connections are closed before clients send a ping")
        .why(
            "a watch may be idle for minutes, but clients send a ping only after 30 s: a shorter timeout \
            keeps closing idle watches, log streams and exec sessions",
        )
        .fix("set `timeout client 10m`, `timeout server 10m` and `timeout tunnel 24h`")
        .files(|fleet, found| timeouts(fleet, found, 0.0..=PING)),
    Lint::warning("HA337", "idle connections of HTTP/1.1 clients are closed")
        .why(
            "HTTP/2 clients send a ping after 30 s, but HTTP/1.1 clients do not: their watches and log \
            streams are closed whenever they are idle for longer than the timeout",
        )
        .fix("set `timeout client 10m` and `timeout server 10m`")
        .files(|fleet, found| timeouts(fleet, found, PING..=2.0 * PING)),
    Lint::error("HA326", "the statistics page is open to anyone")
        .why(
            "the page shows every server, and with `stats admin` anyone who can reach it can take API \
            servers out of service; a password that is sent in clear text or copied from an article is no \
            protection",
        )
        .fix("bind the page to 127.0.0.1, or use the socket in /run/haproxy")
        .files(open_statistics),
    Lint::warning("HA327", "HAProxy runs as root or without chroot, or its log is lost")
        .why(
            "HAProxy parses untrusted input, so it should be confined; `log 127.0.0.1` needs a syslog \
            daemon that listens on UDP, and most machines no longer run one",
        )
        .fix(
            "add `chroot`, `user` and `group` to `global`, or `User=` to the unit; log with `log stdout \
            format raw local0`",
        )
        .files(careless_process),
    Lint::warning("HA328", "an HTTP-mode option is set in TCP mode")
        .why("HAProxy ignores the option with a warning: the intended log format or header is missing")
        .fix("remove the option; for logging, use `option tcplog`")
        .files(http_options),
    Lint::error("HA329", "HAProxy's open file limit is too low for `maxconn`")
        .why(
            "each connection needs two file descriptors; if the limit is too low, HAProxy does not start, \
            or rejects connections under load",
        )
        .fix("set `LimitNOFILE=` in the HAProxy unit to at least twice `maxconn` plus 32")
        .files(too_few_descriptors),
    Lint::warning("HA335", "nginx balances the API servers behind the VIP")
        .why(
            "nginx has no active health checks and detects a failed server only when a connection to it \
            fails. Connections to a hung API server do not fail, because its kernel still accepts them: \
            clients wait until they time out, and the server keeps receiving its share of new connections; \
            no nginx setting changes that",
        )
        .fix("use HAProxy behind the VIP; nginx is sufficient for a node-local balancer")
        .files(nginx_stream),
];

/// Reports timeouts within a range, in seconds.
fn timeouts<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>, range: RangeInclusive<f64>) {
    // A timeout equal to the ping interval belongs to the shorter range; 0 means no limit.
    let within = |time: &f64| *time > 0.0 && range.contains(time) && (*time != PING || *range.start() < PING);
    for block in fleet.haproxy(&["defaults", "frontend", "backend", "listen"]) {
        // In HTTP mode the section serves a page, unless it only sets defaults that others override.
        if block.statement.name().text != "defaults" && mode(block) != "tcp" {
            continue;
        }
        // In TCP mode the tunnel timeout replaces the client and server timeouts.
        let tunnel = inherited(block, &["timeout", "tunnel"]).is_some();
        let sides = if tunnel { &["tunnel"][..] } else { &["client", "server"] };
        for side in sides {
            let word = block
                .statement
                .last(&["timeout", side])
                .and_then(|statement| statement.words.get(2))
                .copied();
            if let Some(word) = word.filter(|word| seconds(word.text).is_some_and(|time| within(&time))) {
                found.at(block.document, word, format!("`timeout {side} {}` closes idle watches", word.text));
            }
        }
    }
    for block in streams(fleet) {
        // nginx reads a plain number as seconds.
        let time = |word: &Word<'_>| word.text.parse().ok().or_else(|| seconds(word.text));
        if let Some(word) =
            deep(block.statement, "proxy_timeout").filter(|word| time(word).is_some_and(|time| within(&time)))
        {
            found.at(block.document, word, format!("`proxy_timeout {}` closes idle watches", word.text));
        }
    }
}

fn open_statistics<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.haproxy(FRONTENDS) {
        let page =
            block.statement.last(&["stats", "enable"]).or_else(|| block.statement.last(&["stats", "uri"]));
        let open = |bind: &&Statement<'a>| {
            bind.value().is_some_and(|word| !is_loopback(word.text)) && !bind.has("ssl")
        };
        let bind = block
            .statement
            .body
            .iter()
            .find(|statement| statement.is(&["bind"]) && open(statement))
            .map(Statement::name);
        // Before HAProxy 2 the address could follow the name.
        let bind =
            bind.or_else(|| block.statement.words.get(2).copied().filter(|word| !is_loopback(word.text)));
        if let (Some(_), Some(bind)) = (page, bind) {
            let admin = if block.statement.last(&["stats", "admin"]).is_some() {
                " and can disable servers"
            } else {
                ""
            };
            found.at(block.document, bind, format!("anyone who can reach this port sees the page{admin}"));
        }
    }
    for block in fleet.haproxy(&["global"]) {
        for socket in block.statement.all(&["stats", "socket"]).filter_map(|statement| statement.words.get(2))
        {
            let address = socket.text.trim_start_matches("ipv4@").trim_start_matches("ipv6@");
            if address.contains(':') && !is_loopback(address) {
                found.at(block.document, *socket, "anyone who can reach this socket can disable servers");
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
        let unit =
            |section: &Block<'_, 'a>| section.document.path.ends_with("/haproxy.service") || runs(section);
        let confined = fleet
            .on(block.document.machine)
            .units("Service")
            .filter(unit)
            .any(|section| section.statement.setting("User").is_some());
        let confined = confined || is_confined_pod(fleet, block.document);
        if !confined
            && (block.statement.last(&["user"]).is_none() || block.statement.last(&["chroot"]).is_none())
        {
            found.at(
                block.document,
                block.statement.name(),
                "HAProxy keeps root privileges or access to the whole file system",
            );
        }
        let syslog = fleet.on(block.document.machine).has(&["syslog"]);
        let log = block
            .statement
            .all(&["log"])
            .find(|log| log.value().is_some_and(|word| word.text.starts_with("127.")));
        if let Some(log) = log.filter(|_| !syslog) {
            found.at(block.document, log.name(), "nothing on this machine receives this log");
        }
    }
}

/// Checks whether the file is mounted into a pod that does not run as root; such a pod can access only the
/// files that are mounted into it.
fn is_confined_pod(fleet: &Fleet<'_>, configuration: &Document<'_>) -> bool {
    fleet.manifests().filter(|(document, _)| document.machine == configuration.machine).any(|(_, pod)| {
        let mounted = pod
            .find_all("path")
            .into_iter()
            .filter_map(Node::scalar)
            .any(|path| path.text == configuration.path);
        let users = pod.find_all("runAsUser").into_iter().filter_map(Node::scalar).collect::<Vec<_>>();
        mounted && !users.is_empty() && users.iter().all(|user| user.text != "0")
    })
}

fn http_options<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const OPTIONS: [&str; 4] = ["forwardfor", "httplog", "http-server-close", "http-keep-alive"];
    for block in fleet.haproxy(&["frontend", "backend", "listen"]).filter(|block| mode(*block) == "tcp") {
        for name in OPTIONS {
            let own = block.statement.last(&["option", name]);
            // Only sections that accept connections log them; their own log format overrides the default.
            let logs = || {
                let own = [&["option", "tcplog"][..], &["log-format"]]
                    .iter()
                    .any(|format| block.statement.last(format).is_some());
                name == "httplog" && block.statement.name().text != "backend" && !own
            };
            let default = || inherited(block, &["option", name]).filter(|_| name == "forwardfor" || logs());
            if let Some(option) = own.or_else(default) {
                found.at(block.document, option.name(), format!("`option {name}` has no effect in TCP mode"));
            }
        }
    }
}

fn too_few_descriptors<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.haproxy(&["global"]) {
        let Some((most, word)) = block.statement.number("maxconn") else { continue };
        let unit = fleet
            .on(block.document.machine)
            .units("Service")
            .find(|section| section.document.unit() == Some("haproxy"));
        let limit = unit.and_then(|unit| setting(fleet, &unit, "Service", "LimitNOFILE"));
        // HAProxy raises its soft limit up to the hard limit, the second number of `soft:hard`.
        let limit = limit.and_then(|text| text.rsplit(':').next()?.parse::<f64>().ok());
        if let Some(limit) = limit.filter(|limit| *limit < 2.0 * most + 32.0) {
            found.at(
                block.document,
                word,
                format!(
                    "{most} connections need {} file descriptors, but `LimitNOFILE` is {limit}",
                    2.0 * most + 32.0
                ),
            );
        }
    }
}

/// Returns the value of a setting in the block or in a nested block.
fn deep<'a>(statement: &Statement<'a>, name: &str) -> Option<Word<'a>> {
    statement.setting(name).or_else(|| statement.body.iter().find_map(|inner| deep(inner, name)))
}

fn nginx_stream<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in streams(fleet) {
        let carries_vip = fleet
            .keepalived("vrrp_instance")
            .any(|instance| instance.document.machine == block.document.machine);
        if carries_vip {
            found.at(
                block.document,
                block.statement.name(),
                "nginx behind the VIP has no active health checks",
            );
        }
    }
}
