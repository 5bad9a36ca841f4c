//! Writing of the cluster file: each setting with the line that it comes from, and missing settings as
//! comments.

use std::fmt::Write as _;

use crate::import::facts::{Fact, Facts, Naming, Origin, is_placeholder};
use crate::import::nodes::{self, Node};
use crate::import::settings::{ROWS, Row, Setting, Shape};
use crate::words::Role;

/// Maximum number of positions that a comment lists.
const PLACES: usize = 4;

const HEAD: &str = "# A comment above each setting names the file and line that it comes from. Settings \
    that are not in any file are commented out:
# decide on their values, then run `kiln check`.
#
#   kiln \
    check    report all problems in this file        kiln plan     show what each machine receives

";

const MACHINES: &str = "
# The machines. Each recognizes itself by a rule in `match`: serial, uuid or mac. \
    Without rules, a machine becomes
# the node whose seed it has.
";

/// Writes the cluster file for `facts`; `name` is the cluster's name if no file contains one.
pub(super) fn cluster_file(facts: &Facts, nodes: &[Node], profile: &str, name: &str) -> String {
    let mut text = format!("{HEAD}profile = {}\n", quoted(profile));
    let mut table = "";
    for row in ROWS {
        if row.table != table {
            table = row.table;
            let _ = writeln!(text, "\n[{table}]");
        }
        match row.setting {
            Setting::Nodes => network(&mut text, row, facts, nodes),
            Setting::Name if facts.value(Setting::Name).is_none() => {
                let _ = writeln!(text, "# No file contains a cluster name.\nname = {}", quoted(name));
            }
            _ => setting(&mut text, row, facts),
        }
    }
    text.push_str(MACHINES);
    nodes.iter().for_each(|one| node(&mut text, one, nodes));
    if nodes.is_empty() {
        text.push_str(
            "# No file mentions a machine.\n# [[nodes]]\n# name = \"m1\"\n# roles = [\"control-plane\"]\n# \
            address = \"10.0.0.11\"\n",
        );
    }
    text
}

fn setting(text: &mut String, row: &Row, facts: &Facts) {
    let found: Vec<&Fact> = facts.of(row.setting).collect();
    let Some(first) = found.first() else { return missing(text, row, facts) };
    match row.shape {
        Shape::List => {
            let mut values: Vec<String> = Vec::new();
            for value in found.iter().map(|fact| quoted(&fact.value)) {
                if !values.contains(&value) {
                    values.push(value);
                }
            }
            comment(text, &format!("From {}", places(found.iter().map(|fact| &fact.origin))));
            let _ = writeln!(text, "{} = [{}]", row.key, values.join(", "));
        }
        shape => {
            let same = found.iter().filter(|fact| fact.value == first.value);
            comment(text, &format!("From {}", places(same.map(|fact| &fact.origin))));
            for other in found.iter().filter(|fact| fact.value != first.value).take(PLACES) {
                comment(text, &format!("CONFLICT: {} says {}", other.origin, other.value));
            }
            unclear(text, row, facts);
            let value = if shape == Shape::Text { quoted(&first.value) } else { first.value.clone() };
            let _ = writeln!(text, "{} = {value}", row.key);
        }
    }
}

/// Writes a setting that is not in any file, as a comment.
fn missing(text: &mut String, row: &Row, facts: &Facts) {
    unclear(text, row, facts);
    comment(text, &format!("Not in any file: {}.", row.otherwise));
    let _ = writeln!(text, "# {} = {}", row.key, row.example);
}

/// Writes the values found in files that are not valid for a setting.
fn unclear(text: &mut String, row: &Row, facts: &Facts) {
    for fact in facts.unclear.iter().filter(|fact| fact.setting == row.setting).take(PLACES) {
        let said =
            if is_placeholder(&fact.value) { "has only a placeholder" } else { "has an unsupported value" };
        comment(text, &format!("{} {said}: {}", fact.origin, fact.value));
    }
}

fn network(text: &mut String, row: &Row, facts: &Facts, nodes: &[Node]) {
    match nodes::network(facts, nodes) {
        Some((_, false)) => setting(text, row, facts),
        Some((network, true)) => {
            comment(
                text,
                "No file contains the prefix length; this network of the usual size contains the VIP and all \
                addresses below. Correct it if needed.",
            );
            let _ = writeln!(text, "{} = {}", row.key, quoted(&network.to_string()));
        }
        None => missing(text, row, facts),
    }
    let _ = writeln!(text, "# Not in any file: the nodes' default gateway.\n# gateway = \"10.0.0.1\"");
}

fn node(text: &mut String, node: &Node, others: &[Node]) {
    let _ = writeln!(text);
    comment(text, &format!("From {}", places(node.origins.iter())));
    let name = node.name.as_deref().unwrap_or_default();
    let roles: Vec<String> = node.roles.iter().map(|role: &Role| quoted(role.name())).collect();
    let whole = node.address.is_some() && !roles.is_empty();
    if node.guessed {
        comment(text, "The role was inferred from the name.");
    }
    if let Some((priority, origin)) = node.priority.as_ref().filter(|(_, origin)| !origin.span.is_empty()) {
        comment(
            text,
            &format!(
                "keepalived's priority is {priority} ({origin}); kiln assigns priorities in the order of \
                this file."
            ),
        );
    }
    if node.address.is_none() {
        comment(text, &format!("No file contains this machine's address{}.", nameless(others)));
    }
    if roles.is_empty() {
        comment(text, "No file indicates this machine's role.");
    }
    let mark = if whole { "" } else { "# " };
    let roles = if roles.is_empty() { quoted("worker") } else { roles.join(", ") };
    let address = node.address.map_or("10.0.0.11".to_owned(), |address| address.to_string());
    let _ = writeln!(
        text,
        "{mark}[[nodes]]\n{mark}name = {}\n{mark}roles = [{roles}]\n{mark}address = {}",
        quoted(name),
        quoted(&address)
    );
}

/// Lists addresses that no file assigns to a named machine; one of them may belong to a machine whose address
/// is missing.
fn nameless(nodes: &[Node]) -> String {
    let nameless = nodes.iter().filter(|node| node.naming != Naming::Host).filter_map(|node| node.address);
    let all: Vec<String> = nameless.take(PLACES).map(|address| address.to_string()).collect();
    if all.is_empty() {
        String::new()
    } else {
        format!("; addresses without a machine name: {}", all.join(", "))
    }
}

/// Lists the lines of origins, each once: the first few, and the number of the others.
fn places<'o>(origins: impl Iterator<Item = &'o Origin>) -> String {
    let mut lines: Vec<&Origin> = Vec::new();
    let mut more = 0;
    for origin in origins {
        match lines.iter().any(|other| other.is_beside(origin)) {
            true => {}
            false if lines.len() < PLACES => lines.push(origin),
            false => more += 1,
        }
    }
    let mut text = lines.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if more > 0 {
        let _ = write!(text, " and {more} more");
    }
    text
}

/// Writes a comment that can't end early, whatever a file's path contains.
fn comment(text: &mut String, said: &str) {
    let clean: String = said.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let _ = writeln!(text, "# {clean}");
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.escape_default())
}
