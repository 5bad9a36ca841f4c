//! keepalived.conf, haproxy.cfg and nginx.conf: the VIP and its VRRP identifier, the port that clients
//! connect to, and the API servers behind them.

use crate::config::{Block, Content, Document, Fleet, Statement, Word};
use crate::import::facts::{Facts, Naming, Origin, address, port};
use crate::import::settings::Setting;
use crate::words::Role;

pub(super) fn learn(fleet: &Fleet<'_>, facts: &mut Facts) {
    haproxy(fleet, facts);
    nginx(fleet, facts);
    fleet.keepalived("vrrp_instance").for_each(|block| keepalived(block, facts));
}

fn keepalived(block: Block<'_, '_>, facts: &mut Facts) {
    let (document, instance) = (block.document, block.statement);
    if let Some(word) = instance.setting("virtual_router_id") {
        facts.say(Setting::RouterId, document, word);
    }
    for word in instance.all(&["virtual_ipaddress"]).flat_map(|list| &list.body).map(Statement::name) {
        facts.say(Setting::Vip, document, word);
        let single = word.text.ends_with("/32") || word.text.ends_with("/128");
        if word.text.contains('/') && !single {
            facts.say(Setting::Nodes, document, word);
        }
    }
    if let Some(word) = instance.setting("interface") {
        facts.say(Setting::Interface, document, word);
    }
    if let Some(word) = instance.setting("unicast_src_ip") {
        facts.mention(host(document), address(word.text), None, Naming::Host, Origin::of(document, word));
    }
    for word in instance.all(&["unicast_peer"]).flat_map(|list| &list.body).map(Statement::name) {
        facts.mention(None, address(word.text), None, Naming::Alias, Origin::of(document, word));
    }
    if !facts.of(Setting::Balancer).any(|_| true) {
        facts.say_as(Setting::Balancer, "keepalived", document, instance.name());
    }
}

/// Returns the name of the machine that a document is on, if the directory layout names a machine.
pub(super) fn host<'a>(document: &Document<'a>) -> Option<&'a str> {
    Some(document.machine).filter(|name| !name.is_empty())
}

fn haproxy(fleet: &Fleet<'_>, facts: &mut Facts) {
    for Block { document, statement } in fleet.haproxy(&["backend", "listen"]) {
        let servers =
            statement.all(&["server"]).filter_map(|server| Some((server.value()?, *server.words.get(2)?)));
        for (name, server) in servers {
            balanced(document, name.text, server, facts);
        }
    }
    for Block { document, statement } in
        fleet.haproxy(&["frontend", "listen"]).filter(|block| is_for_servers(block))
    {
        let binds = statement.all(&["bind"]).filter_map(Statement::value);
        // HAProxy before 1.5 accepted the address next to the section's name.
        for bind in binds.chain(statement.words.get(2).copied()) {
            listens("haproxy", document, bind, facts);
        }
    }
}

/// Checks whether a section forwards connections; a section that shows statistics does not.
fn is_for_servers(block: &Block<'_, '_>) -> bool {
    block
        .statement
        .body
        .iter()
        .any(|line| ["default_backend", "use_backend", "server"].contains(&line.name().text))
}

fn nginx(fleet: &Fleet<'_>, facts: &mut Facts) {
    for Block { document, statement } in fleet.blocks(Content::nginx) {
        let own = std::slice::from_ref(statement);
        let sections = if statement.is(&["stream"]) { statement.body.as_slice() } else { own };
        for server in sections
            .iter()
            .filter(|section| section.is(&["upstream"]))
            .flat_map(|section| section.all(&["server"]))
        {
            if let Some(word) = server.value() {
                balanced(document, "", word, facts);
            }
        }
        for server in sections
            .iter()
            .filter(|section| section.is(&["server"]) && section.setting("proxy_pass").is_some())
        {
            if let Some(word) = server.setting("listen") {
                listens("nginx", document, word, facts);
            }
        }
    }
}

fn balanced(document: &Document<'_>, name: &str, server: Word<'_>, facts: &mut Facts) {
    // A template expression does not name a machine.
    if [name, server.text].iter().any(|text| text.contains(['{', '}'])) {
        return;
    }
    let origin = Origin::of(document, server);
    match address(server.text) {
        Some(address) => {
            facts.mention(Some(name), Some(address), Some(Role::ControlPlane), Naming::Alias, origin);
        }
        None => {
            facts.mention(
                server.text.split(':').next(),
                None,
                Some(Role::ControlPlane),
                Naming::Host,
                origin,
            );
        }
    }
}

fn listens(balancer: &str, document: &Document<'_>, word: Word<'_>, facts: &mut Facts) {
    facts.say_as(Setting::Balancer, balancer, document, word);
    facts.say_as(Setting::Port, port(word.text).unwrap_or(word.text), document, word);
}
