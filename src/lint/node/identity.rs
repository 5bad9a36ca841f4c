//! Machine names, machine identities and name resolution.

use std::collections::BTreeSet;

use crate::config::{Block, Command, Content, Document, Fleet, Word};
use crate::lint::Lint;
use crate::lint::found::Found;

pub(super) static ROWS: &[Lint] = &[
    Lint::warning("HA407", "machines have different entries in /etc/hosts")
        .why(
            "where names are resolved through /etc/hosts, a machine that lacks an entry can't find the API \
            server, etcd member or VIP with that name",
        )
        .fix("use the same entries on every machine, including those for the balancers and the VIP")
        .files(different_hosts),
    Lint::error("HA408", "a host name is not a valid node name, or two machines share it")
        .why(
            "Kubernetes accepts only lower-case letters, digits, `-` and `.` (RFC 1123) and identifies a \
            node by its name: two machines with the same name overwrite each other's node object",
        )
        .fix("choose a unique name for each machine, and use the same name in its certificates")
        .files(host_names),
    Lint::error("HA416", "machines share an identity that must be unique")
        .why(
            "machines with the same machine-id receive the same DHCP address and the same network \
            identifiers; machines with the same SSH host key can impersonate each other",
        )
        .fix("leave /etc/machine-id empty and omit the host keys: both are generated on first boot")
        .files(shared_identity),
    Lint::warning("HA417", "pods use a DNS resolver on their own loopback address")
        .why(
            "the kubelet passes the machine's resolv.conf to pods; 127.0.0.53 in that file points CoreDNS \
            at itself, and CoreDNS exits when it detects the loop",
        )
        .fix("set `resolvConf: /run/systemd/resolve/resolv.conf`")
        .files(stub_resolver),
];

/// Returns the names in a machine's /etc/hosts; with `own`, also the machine's own names.
fn names<'a>(document: &Document<'a>, own: bool) -> BTreeSet<&'a str> {
    // The IPv6 groups that some distributions list belong to no machine.
    let is_group =
        |address: &str| address == "::1" || address.starts_with("ff0") || address.starts_with("fe00::");
    let lines = document.content.lines().into_iter().flatten();
    let lines =
        lines.filter(|line| (own || !line.name().text.starts_with("127.")) && !is_group(line.name().text));
    lines
        .flat_map(|line| {
            line.words[1..].iter().take_while(|word| !word.text.starts_with('#')).map(|word| word.text)
        })
        .collect()
}

fn different_hosts<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let hosts: Vec<&Document<'a>> =
        fleet.documents.iter().filter(|document| document.path == "/etc/hosts").collect();
    let all: BTreeSet<&str> = hosts.iter().flat_map(|document| names(document, false)).collect();
    for document in &hosts {
        let own = names(document, true);
        let missing: Vec<&str> = all.iter().filter(|name| !own.contains(**name)).copied().collect();
        if !missing.is_empty() {
            found.about(document, format!("`{}` has no entry for {}", document.machine, missing.join(", ")));
        }
    }
}

fn host_names<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let of_files = fleet
        .documents
        .iter()
        .filter(|document| document.path == "/etc/hostname")
        .map(|document| (document, document.text.trim()));
    let named = |command: &Command<'_>| {
        ["set-hostname", "hostname"]
            .iter()
            .any(|verb| command.words.len() > 2 && command.runs(&["hostnamectl", verb]))
    };
    let of_commands = fleet.commands().filter(|(_, command)| named(command));
    let of_commands = of_commands.filter_map(|(document, command)| Some((document, *command.words.last()?)));
    let all: Vec<(&Document<'a>, Word<'a>)> =
        of_files.chain(of_commands).filter(|(_, word)| !word.text.contains('$')).collect();
    for (index, (document, word)) in all.iter().enumerate() {
        let allowed =
            |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-.".contains(letter);
        let other = all[..index]
            .iter()
            .find(|(other, name)| other.machine != document.machine && name.text == word.text);
        if word.text.is_empty()
            || word.text.len() > 63
            || !word.text.chars().all(allowed)
            || word.text.starts_with(['-', '.'])
            || word.text.ends_with(['-', '.'])
        {
            found.at(document, *word, format!("`{}` is not a valid node name", word.text));
        } else if let Some((other, _)) = other {
            found.at(
                document,
                *word,
                format!("`{}` is also the host name of `{}`", word.text, other.machine),
            );
        }
    }
}

fn shared_identity<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let identities: Vec<&Document<'a>> =
        fleet.documents.iter().filter(|document| document.path == "/etc/machine-id").collect();
    for (index, document) in identities.iter().enumerate() {
        let id = document.text.text.trim();
        let other = identities[..index]
            .iter()
            .find(|other| other.machine != document.machine && other.text.text.trim() == id);
        if let Some(other) = other.filter(|_| id.len() == 32) {
            found.about(
                document,
                format!("`{}` has the same machine-id as `{}`", document.machine, other.machine),
            );
        }
    }
    let is_key = |document: &&Document<'a>| {
        document.path.starts_with("/etc/ssh/ssh_host_") && document.path.ends_with("_key")
    };
    let keys: Vec<&Document<'a>> = fleet.documents.iter().filter(is_key).collect();
    for document in &keys {
        let shared = keys
            .iter()
            .any(|other| other.machine != document.machine && other.text.text == document.text.text);
        // Files next to the machine directories apply to every machine.
        if shared || document.machine.is_empty() && fleet.machines().count() > 1 {
            found.about(document, "every machine with this file has the same SSH host key");
        }
    }
}

fn stub_resolver<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for (document, node) in fleet.of_kind("KubeletConfiguration") {
        let path = node.text("resolvConf").map_or("/etc/resolv.conf", |word| word.text);
        let stub = |block: &Block<'_, 'a>| block.document.path == path && block.statement.is(&["nameserver"]);
        let server = fleet
            .on(document.machine)
            .blocks(Content::lines)
            .filter(stub)
            .find(|block| block.statement.value().is_some_and(|word| word.text.starts_with("127.")));
        if path.ends_with("stub-resolv.conf") || server.is_some() {
            found.at(
                document,
                node.text("resolvConf").unwrap_or(node.word),
                format!("`{path}` points pods at their own loopback address"),
            );
        }
    }
    for flag in fleet.programs("kubelet").filter_map(|kubelet| kubelet.flag("resolv-conf")) {
        if flag.value.text.ends_with("stub-resolv.conf") {
            found.flag(
                flag,
                fleet,
                format!("`{}` points pods at their own loopback address", flag.value.text),
            );
        }
    }
}
