//! What keepalived runs to decide whether a machine may hold the VIP.

use crate::config::streams;
use crate::config::{Block, Command, Document, Fleet, Statement, Word, commands_of};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::lint::listen::has_port;

/// The longest time in which a dead balancer may go unnoticed, in seconds.
const DETECTION: f64 = 10.0;

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA301", "a check script stops its own VRRP daemon")
        .why("nothing starts it again: after the first failure the machine never takes the VIP back, and when the second machine fails too the address is gone for good, healthy servers or not")
        .fix("let the script exit with 1; keepalived gives the VIP up by itself and takes part again when the check succeeds")
        .files(stops_its_daemon),
    Lint::error("HA302", "a check takes any HTTP answer for health")
        .why("curl without `-f` exits with 0 on 401, 403 and 500 alike, and printing the status does not change that: a server that answers nothing but errors keeps the VIP")
        .fix("use `curl -fsS --max-time 1`")
        .files(any_answer),
    Lint::error("HA303", "a check may hang as long as the server does")
        .why("a server that accepts connections and says nothing is the commonest way to be down; a check without a limit, or with one beyond `interval` times `fall`, waits for it")
        .fix("add `--max-time 1` to curl, and `timeout 2` to the `vrrp_script`")
        .files(may_hang),
    Lint::warning("HA306", "a failure is noticed late")
        .why("keepalived acts after `fall` failures that are `interval` apart; until then clients dial a VIP that answers nothing")
        .fix("use `interval 1` and `fall 2`")
        .files(late),
    Lint::warning("HA307", "the check asks the API server, not the balancer")
        .why("the balancer routes around a dead API server by itself, so moving the VIP for it is one more interruption; and when etcd loses its quorum every API server fails at once, and the VIP is withdrawn everywhere")
        .fix("check the balancer of the same machine, such as `http://127.0.0.1:8405/healthz`")
        .files(asks_the_api_server),
    Lint::warning("HA308", "keepalived runs scripts without script security")
        .why("scripts run as root even when others may write them; `keepalived -t` refuses that with exit code 6")
        .fix("add `enable_script_security` and `script_user` to `global_defs`")
        .files(no_script_security),
    Lint::error("HA318", "a script is written by a here-document that the shell expands")
        .why("without quotes around the delimiter `$*` and `${VIP}` are replaced when the file is written, mostly by nothing: the script that checks is another than the one that was read")
        .fix("write `<<'EOF'`")
        .files(expanded),
    Lint::warning("HA341", "another file is made executable than the one that was written")
        .why("the script is written to an absolute path and `chmod` names a relative one: run from another directory it fails, and keepalived does not run the check")
        .fix("give `chmod` the same path")
        .files(chmod_elsewhere),
    Lint::warning("HA319", "an address is looked for by its beginning")
        .why("`grep 10.0.0.1` also finds 10.0.0.10, and a dot is any letter: the script takes another machine's address for its own VIP")
        .fix("use `grep -Fw`, or `ip -j addr show to ADDRESS`")
        .files(beginning_of_an_address),
];

/// The commands that a check consists of, with the document that holds them and the `vrrp_script` that runs them, if one is known.
struct Check<'f, 'a> {
    document: &'f Document<'a>,
    commands: Vec<Command<'a>>,
    script: Option<Block<'f, 'a>>,
}

/// Scripts that `vrrp_script` names, the commands that stand there, and every script beside keepalived's configuration.
fn checks<'f, 'a>(fleet: &'f Fleet<'a>) -> Vec<Check<'f, 'a>> {
    let mut found = Vec::new();
    for block in fleet.keepalived("vrrp_script") {
        let Some(word) = block.statement.setting("script") else { continue };
        if word.text.contains(char::is_whitespace) {
            found.push(Check { document: block.document, commands: commands_of(word), script: Some(block) });
        }
    }
    for (document, script) in fleet.scripts() {
        let runs = |block: &Block<'_, '_>| {
            let path = block.statement.setting("script").map_or("", |word| word.text);
            path.split_whitespace().any(|word| word == document.path)
        };
        let script_of = fleet.on(document.machine).keepalived("vrrp_script").find(runs);
        if script_of.is_some() || document.path.contains("/keepalived/") {
            found.push(Check { document, commands: script.commands.clone(), script: script_of });
        }
    }
    found
}

fn each_command<'f, 'a>(fleet: &'f Fleet<'a>, mut see: impl FnMut(&Check<'f, 'a>, &Command<'a>)) {
    for check in checks(fleet) {
        check.commands.iter().for_each(|command| see(&check, command));
    }
}

fn stops_its_daemon<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const VERBS: [&str; 4] = ["stop", "restart", "kill", "disable"];
    let is_daemon = |word: &Word<'_>| word.text.trim_end_matches(".service").rsplit('/').next() == Some("keepalived");
    each_command(fleet, |check, command| {
        let names = command.words.iter().any(is_daemon);
        let verb = command.words.iter().any(|word| VERBS.contains(&word.text));
        let controls = ["systemctl", "service", "keepalived"].iter().any(|program| command.runs(&[program])) && verb;
        // Signal 0 only asks whether it lives.
        let kills =
            ["killall", "pkill"].iter().any(|program| command.runs(&[program])) && !command.words.iter().any(|word| word.text == "-0");
        if names && (controls || kills) {
            found.at(check.document, command.name(), "the check stops keepalived, and nothing starts it again");
        }
    });
}

fn any_answer<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    each_command(fleet, |check, command| {
        // A script may compare the status itself.
        let prints = command.words.iter().any(|word| word.text.contains("http_code"));
        let compares = prints && is_read(check.document.text.text, check.document.text.at, command);
        let fails = command.has('f', "--fail") || command.has('f', "--fail-with-body") || in_its_file(fleet, check, command, "fail");
        if command.runs(&["curl"]) && !fails && !compares {
            found.at(check.document, command.name(), "curl without `-f` succeeds whatever the server answers");
        }
    });
}

/// Whether something reads what a command prints: `$(…)`, backticks, a pipe.
fn is_read(text: &str, start: usize, command: &Command<'_>) -> bool {
    let first = command.wrapper.first().copied().unwrap_or(command.name());
    let end = command.words.last().map_or(first.span().end, |word| word.span().end);
    let before = text.get(..first.at.saturating_sub(start)).unwrap_or_default().trim_end_matches([' ', '"', '\'']);
    let after = text.get(end.saturating_sub(start)..).unwrap_or_default().trim_start_matches(['"', '\'', ' ', '\\', '\n']);
    // What is discarded on the way, such as `2>/dev/null`, stands between the words and the pipe.
    let after = after.split_once("/dev/null").map_or(after, |(discarded, rest)| if discarded.contains(['\n', ';']) { after } else { rest });
    let after = after.trim_start();
    before.ends_with("$(") || before.ends_with('`') || after.starts_with('|') && !after.starts_with("||")
}

fn may_hang<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    each_command(fleet, |check, command| {
        if !command.runs(&["curl"]) {
            return;
        }
        let limit = limit(command);
        let script = check.script.map(|block| block.statement);
        let own = script.and_then(|script| script.number("timeout")).map(|(seconds, _)| seconds);
        let stopped = script.is_some_and(|script| script.setting("timeout").is_some())
            || command.wrapper.iter().any(|word| word.text.rsplit('/').next() == Some("timeout"))
            || in_its_file(fleet, check, command, "max-time");
        let patience = script.map(patience);
        match (limit.and_then(|word| word.text.parse::<f64>().ok()), patience) {
            (Some(limit), Some(patience)) if limit >= patience => {
                let message = format!("curl waits {limit} s, and the check should have failed after {patience} s");
                found.at(check.document, command.name(), message);
            }
            _ if limit.is_none() && own.is_some_and(|own| own > DETECTION) => {
                found.at(
                    check.document,
                    command.name(),
                    "curl waits for a server that does not answer until `timeout` of its `vrrp_script`",
                );
            }
            (None, _) if limit.is_none() && !stopped => {
                found.at(check.document, command.name(), "curl waits without a limit for a server that does not answer");
            }
            _ => {}
        }
    });
}

/// The seconds after which curl gives up, in any of its spellings: `--max-time 1`, `-m 1`, `-fsm1`.
fn limit<'a>(command: &Command<'a>) -> Option<Word<'a>> {
    let short = |word: &Word<'a>| {
        let at = word.text.strip_prefix('-').filter(|letters| !letters.starts_with('-'))?.find('m')? + 2;
        let letters = word.text[1..at].chars().all(|letter| letter.is_ascii_alphabetic());
        Some(word.from(at)).filter(|rest| letters && rest.text.chars().all(|letter| letter.is_ascii_digit() || letter == '.'))
    };
    let together = || {
        command.words.iter().enumerate().find_map(|(index, word)| {
            let rest = short(word)?;
            if rest.text.is_empty() { command.words.get(index + 1).copied() } else { Some(rest) }
        })
    };
    command.value("--max-time").or_else(together)
}

/// Whether the file that curl reads its options from has this one; what is not among the machine's files is taken for right.
fn in_its_file(fleet: &Fleet<'_>, check: &Check<'_, '_>, command: &Command<'_>, option: &str) -> bool {
    let Some(path) = command.value("--config").or_else(|| command.value("-K")) else { return false };
    let file = fleet.on(check.document.machine).documents().find(|document| document.path == path.text);
    file.is_none_or(|file| file.text.lines().any(|line| line.text.trim().trim_start_matches('-').starts_with(option)))
}

/// How long a `vrrp_script` fails before keepalived acts, in seconds.
fn patience(script: &Statement<'_>) -> f64 {
    let number = |name| script.number(name).map_or(1.0, |(number, _)| number);
    number("interval") * number("fall")
}

fn late<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.keepalived("vrrp_script") {
        let patience = patience(block.statement);
        let word = block.statement.setting("fall").unwrap_or(block.statement.name());
        if patience > DETECTION {
            found.at(block.document, word, format!("a failure is noticed after up to {patience} s"));
        }
    }
}

fn asks_the_api_server<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const BY_NAME: [&str; 6] = ["systemctl", "service", "pgrep", "pidof", "killall", "pkill"];
    each_command(fleet, |check, command| {
        let machine = check.document.machine;
        let balancer = fleet.on(machine).documents().any(|document| document.content.haproxy().is_some())
            || streams(fleet).any(|block| block.document.machine == machine);
        // On a machine of balancers, which has no API server, the port is the balancer's.
        let control_plane =
            fleet.on(machine).has(&["/manifests/"]) || fleet.programs("kube-apiserver").any(|server| server.machine == machine);
        let port = control_plane || !has_port(fleet, machine, "6443");
        let dials = |word: &Word<'_>| match command.name().text.rsplit('/').next() {
            Some("curl" | "wget") => word.text.contains(":6443"),
            Some("nc" | "ncat") => word.text == "6443",
            _ => false,
        };
        let dialled = command.words.iter().find(|word| port && dials(word));
        let asked = BY_NAME.iter().any(|program| command.runs(&[program]));
        let named = command.words.iter().find(|word| asked && word.text.starts_with("kube-apiserver"));
        if let Some(word) = dialled.or(named).filter(|_| balancer) {
            found.at(check.document, *word, "the check asks the API server, though a balancer stands before it");
        }
    });
}

fn no_script_security<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.keepalived("vrrp_script") {
        let global =
            |name: &str| fleet.on(block.document.machine).keepalived("global_defs").any(|global| global.statement.last(&[name]).is_some());
        let user = block.statement.last(&["user"]).is_some() || global("script_user");
        if !global("enable_script_security") || !user {
            found.at(block.document, block.statement.name(), "the script runs without `enable_script_security` and `script_user`");
        }
    }
}

fn expanded<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, script) in fleet.scripts() {
        let assigned = |name: &str| {
            script
                .commands
                .iter()
                .flat_map(|command| &command.words)
                .any(|word| word.split_once('=').is_some_and(|(left, _)| left.text == name))
        };
        for here in script.documents.iter().filter(|here| !here.quoted && here.body.text.trim_start().starts_with("#!")) {
            if let Some(word) = variables(here.body).find(|word| !assigned(word.text.trim_matches(['$', '{', '}']))) {
                found.at(document, word, format!("`{}` is expanded while the script is written", word.text));
            }
        }
    }
}

/// What a shell replaces in a here-document: `$name`, `${name}`, `$*`, `$(`; not what a backslash protects.
fn variables(body: Word<'_>) -> impl Iterator<Item = Word<'_>> {
    body.text.match_indices('$').filter(|(at, _)| !body.text[..*at].ends_with('\\')).filter_map(move |(at, _)| {
        let rest = &body.text[at + 1..];
        let name = |text: &str| text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_alphanumeric() || letter == '_').len();
        let length = match rest.chars().next()? {
            '{' => rest.find('}')? + 1,
            '*' | '@' | '#' | '?' | '(' => 1,
            _ => name(rest),
        };
        (length > 0).then(|| body.part(at..at + 1 + length))
    })
}

fn beginning_of_an_address<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    // What follows the address ends it: `inet ${VIP}/32`.
    let ends = |text: &str| {
        ["/", "\\b", "\\>", " "].iter().any(|end| text.contains(&format!("VIP}}{end}")) || text.contains(&format!("VIP{end}")))
    };
    each_command(fleet, |check, command| {
        let address = |word: &&Word<'_>| word.text.contains("VIP") && !ends(word.text) || word.text.parse::<std::net::Ipv4Addr>().is_ok();
        let greps = ["grep", "egrep", "fgrep"].iter().any(|program| command.runs(&[program]));
        let whole = command.has('w', "--word-regexp") || command.has('x', "--line-regexp");
        if let Some(word) = command.words.iter().find(address).filter(|_| greps && !whole) {
            found.at(check.document, *word, format!("`{}` is looked for by its beginning", word.text));
        }
    });
}

fn chmod_elsewhere<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, script) in fleet.scripts() {
        for command in script.commands.iter().filter(|command| command.runs(&["chmod"])) {
            let Some(word) = command.words.last().filter(|word| !word.text.contains('/')) else { continue };
            let writes = |target: &Word<'_>| target.text.starts_with('/') && target.text.rsplit('/').next() == Some(word.text);
            let target = script.documents.iter().filter_map(|here| here.target).find(writes);
            if let Some(target) = target {
                found.at(document, *word, format!("the script is `{}`", target.text));
            }
        }
    }
}
