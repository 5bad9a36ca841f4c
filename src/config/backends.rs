//! HAProxy and nginx sections that forward to API servers, with their inherited settings.

use super::{Block, Content, Fleet, Statement, Word};
use crate::words::Service;

/// Section types that contain servers.
pub(crate) const BACKENDS: &[&str] = &["backend", "listen"];

/// Returns an option of a section, or of the `defaults` section in the same file.
pub(crate) fn inherited<'f, 'a>(block: Block<'f, 'a>, words: &[&str]) -> Option<&'f Statement<'a>> {
    let of = |section: &'f Statement<'a>| section.body.iter().rev().find(|statement| statement.is(words));
    let sections = block.document.content.haproxy().map(Vec::as_slice).unwrap_or_default();
    of(block.statement)
        .or_else(|| sections.iter().rev().filter(|section| section.is(&["defaults"])).find_map(of))
}

pub(crate) fn mode<'a>(block: Block<'_, 'a>) -> &'a str {
    inherited(block, &["mode"]).and_then(Statement::value).map_or("tcp", |word| word.text)
}

/// Returns the backends whose servers appear to be API servers: backends in TCP mode, without ingress ports,
/// that are not used only to check the servers of other backends.
pub(crate) fn api_backends<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = Block<'f, 'a>> {
    let leads_to_some =
        |block: &Block<'f, 'a>| mode(*block) == "tcp" && servers(*block).any(|server| !is_ingress(server));
    fleet.haproxy(BACKENDS).filter(leads_to_some).filter(|block| !only_checks(*block))
}

/// Checks whether servers in other sections track the servers of this section while no clients are forwarded
/// to this section.
fn only_checks(block: Block<'_, '_>) -> bool {
    let Some(name) = block.statement.value().filter(|_| block.statement.name().text == "backend") else {
        return false;
    };
    let (mut is_followed, mut is_used) = (false, false);
    for other in sections(block, &["frontend", "backend", "listen"]) {
        is_followed |=
            servers(other).any(|server| followed(server).is_some_and(|section| section == name.text));
        let uses =
            |statement: &Statement<'_>| statement.is(&["default_backend"]) || statement.is(&["use_backend"]);
        is_used |= other
            .statement
            .body
            .iter()
            .filter(|statement| uses(statement))
            .any(|statement| statement.has(name.text));
    }
    is_followed && !is_used
}

/// Returns the section whose checks apply to the servers of this section: another section if they `track` its
/// servers.
pub(crate) fn checking<'f, 'a>(block: Block<'f, 'a>) -> Block<'f, 'a> {
    let followed = servers(block).find_map(followed);
    let is_it =
        |other: &Block<'f, 'a>| other.statement.value().is_some_and(|name| Some(name.text) == followed);
    sections(block, BACKENDS).find(is_it).unwrap_or(block)
}

/// Returns the section named by `track` on a server line.
fn followed<'a>(server: &Statement<'a>) -> Option<&'a str> {
    server.option("track")?.text.split_once('/').map(|(section, _)| section)
}

/// Returns the sections with these names in the same file.
fn sections<'f, 'a>(block: Block<'f, 'a>, names: &'static [&str]) -> impl Iterator<Item = Block<'f, 'a>> {
    let all = block.document.content.haproxy().into_iter().flatten();
    all.filter(|statement| names.contains(&statement.name().text))
        .map(move |statement| Block { statement, ..block })
}

/// Checks whether a server uses port 80 or a node port.
fn is_ingress(server: &Statement<'_>) -> bool {
    port(server).is_some_and(|port| port == 80 || (30000..=32767).contains(&port))
}

pub(crate) fn servers<'f, 'a>(block: Block<'f, 'a>) -> impl Iterator<Item = &'f Statement<'a>> {
    block
        .statement
        .body
        .iter()
        .filter(|statement| statement.is(&["server"]) || statement.is(&["server-template"]))
}

/// Checks for a word on a server line or in `default-server`.
pub(crate) fn of_server(block: Block<'_, '_>, server: &Statement<'_>, word: &str) -> bool {
    server.has(word) || inherited(block, &["default-server"]).is_some_and(|defaults| defaults.has(word))
}

/// Returns the port on an HAProxy server line.
pub(crate) fn port(server: &Statement<'_>) -> Option<u16> {
    server.words.get(2).and_then(port_of)
}

fn port_of(address: &Word<'_>) -> Option<u16> {
    address.text.rsplit_once(':')?.1.parse().ok()
}

/// Returns the nginx `stream` blocks whose upstreams are API servers.
pub(crate) fn streams<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = Block<'f, 'a>> {
    let api = |statement: &Statement<'a>| {
        statement.all(&["upstream"]).any(|upstream| {
            upstream.all(&["server"]).any(|server| {
                server.value().and_then(|word| port_of(&word)) == Some(Service::ApiServer.port())
            })
        })
    };
    fleet
        .blocks(Content::nginx)
        .filter(move |block| block.statement.name().text == "stream" && api(block.statement))
}

/// Parses an HAProxy or nginx time; a plain number means milliseconds, as in HAProxy.
pub(crate) fn seconds(text: &str) -> Option<f64> {
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
