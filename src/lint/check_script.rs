//! Lints for keepalived check scripts, which decide whether a machine is allowed to hold the VIP.

use crate::config::streams;
use crate::config::{Block, Command, Document, Fleet, Statement, Word, commands_of};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::lint::listen::has_port;

/// Maximum time to detect a balancer failure, in seconds.
const DETECTION: f64 = 10.0;

pub(super) static ROWS: &[Lint] = &[
    Lint::error("HA301", "a check script stops keepalived")
        .why(
            "nothing restarts keepalived: after the first failure the machine never takes the VIP again, and \
            after a failure on the second machine no machine holds the VIP, even if all servers are healthy",
        )
        .fix(
            "exit with 1 instead: keepalived then releases the VIP itself, and rejoins when the check \
            succeeds",
        )
        .files(stops_its_daemon),
    Lint::error("HA302", "a check treats any HTTP response as healthy")
        .why(
            "without `-f`, curl exits with 0 even on 401, 403 and 500, and printing the status does not \
            change that: a server that returns only errors keeps the VIP",
        )
        .fix("use `curl -fsS --max-time 1`")
        .files(any_answer),
    Lint::error("HA303", "a check may hang as long as the server does")
        .why(
            "the most common failure is a server that accepts connections but does not respond; a check \
            without a timeout, or with a timeout of at least `interval` times `fall`, hangs along with the \
            server",
        )
        .fix("add `--max-time 1` to curl, and `timeout 2` to the `vrrp_script`")
        .files(may_hang),
    Lint::warning("HA306", "keepalived detects failures late")
        .why(
            "keepalived acts only after `fall` failed checks, one per `interval`; until then clients \
            connect to a VIP that does not respond",
        )
        .fix("use `interval 1` and `fall 2`")
        .files(late),
    Lint::warning("HA307", "the check queries the API server instead of the balancer")
        .why(
            "the balancer already bypasses a failed API server, so moving the VIP only adds an interruption; \
            and when etcd loses quorum, every API server fails at once and every machine releases the VIP",
        )
        .fix("check the balancer on the same machine, for example at `http://127.0.0.1:8405/healthz`")
        .files(asks_the_api_server),
    Lint::warning("HA308", "keepalived runs scripts without script security")
        .why(
            "scripts run as root even if other users can modify them; `keepalived -t` rejects this with \
            exit code 6",
        )
        .fix("add `enable_script_security` and `script_user` to `global_defs`")
        .files(no_script_security),
    Lint::error("HA318", "a script is written by an unquoted here-document, which the shell expands")
        .why(
            "if the delimiter is not quoted, the shell expands `$*` and `${VIP}` when it writes the file, \
            usually to nothing: the script that runs differs from its source",
        )
        .fix("quote the delimiter: `<<'EOF'`")
        .files(expanded),
    Lint::warning("HA341", "`chmod` is applied to a file other than the script")
        .why(
            "the script is written to an absolute path, but `chmod` uses a relative one: when run from \
            another directory, `chmod` fails, and keepalived does not run the check",
        )
        .fix("use the same absolute path for `chmod`")
        .files(chmod_elsewhere),
    Lint::warning("HA319", "an address pattern also matches other addresses")
        .why(
            "`grep 10.0.0.1` also matches 10.0.0.10, and a dot matches any character: the script may mistake \
            another machine's address for its own VIP",
        )
        .fix("use `grep -Fw`, or `ip -j addr show to ADDRESS`")
        .files(beginning_of_an_address),
];

/// A check's commands, with their document and the `vrrp_script` that runs them, if known.
struct Check<'f, 'a> {
    document: &'f Document<'a>,
    commands: Vec<Command<'a>>,
    script: Option<Block<'f, 'a>>,
}

/// Returns all checks: commands in a `vrrp_script`, scripts that it runs, and scripts in keepalived's
/// directories.
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
    let is_daemon =
        |word: &Word<'_>| word.text.trim_end_matches(".service").rsplit('/').next() == Some("keepalived");
    each_command(fleet, |check, command| {
        let names = command.words.iter().any(is_daemon);
        let verb = command.words.iter().any(|word| VERBS.contains(&word.text));
        let controls =
            ["systemctl", "service", "keepalived"].iter().any(|program| command.runs(&[program])) && verb;
        // Signal 0 only checks whether the process is running.
        let kills = ["killall", "pkill"].iter().any(|program| command.runs(&[program]))
            && !command.words.iter().any(|word| word.text == "-0");
        if names && (controls || kills) {
            found.at(check.document, command.name(), "the check stops keepalived, but nothing restarts it");
        }
    });
}

fn any_answer<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    each_command(fleet, |check, command| {
        // A script may compare the status code itself.
        let prints = command.words.iter().any(|word| word.text.contains("http_code"));
        let compares = prints && is_read(check.document.text.text, check.document.text.at, command);
        let fails = command.has('f', "--fail")
            || command.has('f', "--fail-with-body")
            || in_its_file(fleet, check, command, "fail");
        if command.runs(&["curl"]) && !fails && !compares {
            found.at(
                check.document,
                command.name(),
                "curl without `-f` succeeds whatever status the server returns",
            );
        }
    });
}

/// Checks whether a command's output is captured (with `$(…)` or backticks) or piped.
fn is_read(text: &str, start: usize, command: &Command<'_>) -> bool {
    let first = command.wrapper.first().copied().unwrap_or(command.name());
    let end = command.words.last().map_or(first.span().end, |word| word.span().end);
    let before =
        text.get(..first.at.saturating_sub(start)).unwrap_or_default().trim_end_matches([' ', '"', '\'']);
    let after = text
        .get(end.saturating_sub(start)..)
        .unwrap_or_default()
        .trim_start_matches(['"', '\'', ' ', '\\', '\n']);
    // Redirections such as `2>/dev/null` may precede the pipe.
    let after = after
        .split_once("/dev/null")
        .map_or(after, |(discarded, rest)| if discarded.contains(['\n', ';']) { after } else { rest });
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
                let message =
                    format!("curl waits up to {limit} s, but the check should fail after {patience} s");
                found.at(check.document, command.name(), message);
            }
            _ if limit.is_none() && own.is_some_and(|own| own > DETECTION) => {
                found.at(
                    check.document,
                    command.name(),
                    "curl waits for an unresponsive server until the `vrrp_script` `timeout` expires",
                );
            }
            (None, _) if limit.is_none() && !stopped => {
                found.at(
                    check.document,
                    command.name(),
                    "curl has no timeout and waits for an unresponsive server indefinitely",
                );
            }
            _ => {}
        }
    });
}

/// Returns curl's timeout in seconds, in any of its forms: `--max-time 1`, `-m 1`, `-fsm1`.
fn limit<'a>(command: &Command<'a>) -> Option<Word<'a>> {
    let short = |word: &Word<'a>| {
        let at = word.text.strip_prefix('-').filter(|letters| !letters.starts_with('-'))?.find('m')? + 2;
        let letters = word.text[1..at].chars().all(|letter| letter.is_ascii_alphabetic());
        Some(word.from(at)).filter(|rest| {
            letters && rest.text.chars().all(|letter| letter.is_ascii_digit() || letter == '.')
        })
    };
    let together = || {
        command.words.iter().enumerate().find_map(|(index, word)| {
            let rest = short(word)?;
            if rest.text.is_empty() { command.words.get(index + 1).copied() } else { Some(rest) }
        })
    };
    command.value("--max-time").or_else(together)
}

/// Checks whether curl's config file sets this option; assumes that it does if the machine's files do not
/// include it.
fn in_its_file(fleet: &Fleet<'_>, check: &Check<'_, '_>, command: &Command<'_>, option: &str) -> bool {
    let Some(path) = command.value("--config").or_else(|| command.value("-K")) else { return false };
    let file = fleet.on(check.document.machine).documents().find(|document| document.path == path.text);
    file.is_none_or(|file| {
        file.text.lines().any(|line| line.text.trim().trim_start_matches('-').starts_with(option))
    })
}

/// Returns how long a `vrrp_script` must fail before keepalived acts, in seconds.
fn patience(script: &Statement<'_>) -> f64 {
    let number = |name| script.number(name).map_or(1.0, |(number, _)| number);
    number("interval") * number("fall")
}

fn late<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.keepalived("vrrp_script") {
        let patience = patience(block.statement);
        let word = block.statement.setting("fall").unwrap_or(block.statement.name());
        if patience > DETECTION {
            found.at(block.document, word, format!("a failure may go undetected for up to {patience} s"));
        }
    }
}

fn asks_the_api_server<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    const BY_NAME: [&str; 6] = ["systemctl", "service", "pgrep", "pidof", "killall", "pkill"];
    each_command(fleet, |check, command| {
        let machine = check.document.machine;
        let balancer = fleet.on(machine).documents().any(|document| document.content.haproxy().is_some())
            || streams(fleet).any(|block| block.document.machine == machine);
        // On a dedicated balancer, which has no API server, the port belongs to the balancer.
        let control_plane = fleet.on(machine).has(&["/manifests/"])
            || fleet.programs("kube-apiserver").any(|server| server.machine == machine);
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
            found.at(
                check.document,
                *word,
                "the check queries the API server instead of the balancer in front of it",
            );
        }
    });
}

fn no_script_security<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.keepalived("vrrp_script") {
        let global = |name: &str| {
            fleet
                .on(block.document.machine)
                .keepalived("global_defs")
                .any(|global| global.statement.last(&[name]).is_some())
        };
        let user = block.statement.last(&["user"]).is_some() || global("script_user");
        if !global("enable_script_security") || !user {
            found.at(
                block.document,
                block.statement.name(),
                "`enable_script_security` or `script_user` is not set for this script",
            );
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
        for here in script
            .documents
            .iter()
            .filter(|here| !here.quoted && here.body.text.trim_start().starts_with("#!"))
        {
            if let Some(word) =
                variables(here.body).find(|word| !assigned(word.text.trim_matches(['$', '{', '}'])))
            {
                found.at(
                    document,
                    word,
                    format!("the shell expands `{}` when it writes the script", word.text),
                );
            }
        }
    }
}

/// Returns the expansions in a here-document that no backslash escapes: `$name`, `${name}`, `$*`, `$(`.
fn variables(body: Word<'_>) -> impl Iterator<Item = Word<'_>> {
    body.text.match_indices('$').filter(|(at, _)| !body.text[..*at].ends_with('\\')).filter_map(
        move |(at, _)| {
            let rest = &body.text[at + 1..];
            let name = |text: &str| {
                text.len()
                    - text
                        .trim_start_matches(|letter: char| letter.is_ascii_alphanumeric() || letter == '_')
                        .len()
            };
            let length = match rest.chars().next()? {
                '{' => rest.find('}')? + 1,
                '*' | '@' | '#' | '?' | '(' => 1,
                _ => name(rest),
            };
            (length > 0).then(|| body.part(at..at + 1 + length))
        },
    )
}

fn beginning_of_an_address<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    // Text after the address delimits it: `inet ${VIP}/32`.
    let ends = |text: &str| {
        ["/", "\\b", "\\>", " "]
            .iter()
            .any(|end| text.contains(&format!("VIP}}{end}")) || text.contains(&format!("VIP{end}")))
    };
    each_command(fleet, |check, command| {
        let address = |word: &&Word<'_>| {
            word.text.contains("VIP") && !ends(word.text) || word.text.parse::<std::net::Ipv4Addr>().is_ok()
        };
        let greps = ["grep", "egrep", "fgrep"].iter().any(|program| command.runs(&[program]));
        let whole = command.has('w', "--word-regexp") || command.has('x', "--line-regexp");
        if let Some(word) = command.words.iter().find(address).filter(|_| greps && !whole) {
            found.at(check.document, *word, format!("`{}` also matches longer addresses", word.text));
        }
    });
}

fn chmod_elsewhere<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, script) in fleet.scripts() {
        for command in script.commands.iter().filter(|command| command.runs(&["chmod"])) {
            let Some(word) = command.words.last().filter(|word| !word.text.contains('/')) else { continue };
            let writes = |target: &Word<'_>| {
                target.text.starts_with('/') && target.text.rsplit('/').next() == Some(word.text)
            };
            let target = script.documents.iter().filter_map(|here| here.target).find(writes);
            if let Some(target) = target {
                found.at(document, *word, format!("the script is written to `{}`", target.text));
            }
        }
    }
}
