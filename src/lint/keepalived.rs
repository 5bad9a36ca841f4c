//! VRRP: who holds the VIP, and whether it moves when it should.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Block, Fleet, Statement, Word};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::lint::vocabulary::address;

/// Names that published configurations give to every router.
const EXAMPLE_ROUTERS: [&str; 5] = ["LVS_DEVEL", "LVS_MASTER", "LVS_BACKUP", "LVS_MAIN", "k8s-master-dr"];

pub(super) static ROWS: &[Lint] = &[
    Lint::warning("HA115", "the VRRP password is longer than eight letters")
        .why("keepalived reads the first eight and drops the rest, so that two passwords that differ later are one; it travels in clear text anyway")
        .fix("leave `authentication` out and name the peers with `unicast_peer`, or use eight letters")
        .files(long_password),
    Lint::error("HA304", "a failed check does not change who has the highest priority")
        .why("a weight is added to the priority: as long as it is no larger than the distance between the machines, the one that failed still wins, or ties, and the VIP stays where nothing answers")
        .fix("leave `weight` out: a failed check then means FAULT, and the VIP leaves at once")
        .files(weak_weight),
    Lint::error("HA305", "a weight and `nopreempt` keep each other from working")
        .why("the weight makes another machine's priority higher, and `nopreempt` forbids that machine to take the VIP for that reason: it never moves")
        .fix("leave `weight` out and keep `nopreempt`")
        .files(weight_without_preemption),
    Lint::warning("HA309", "routers have the same name")
        .why("`router_id` is how logs, traps and mails say which machine speaks; the name of an example says nothing")
        .fix("use the node's name")
        .files(same_router),
    Lint::warning("HA310", "a machine takes the VIP back when it returns")
        .why("with `state MASTER` and preemption every failure interrupts clients twice: when the machine dies, and when it comes back")
        .fix("write `state BACKUP` and `nopreempt` on every machine")
        .files(preempts),
    Lint::warning("HA312", "the VIP has the prefix of its network")
        .why("it adds a second route to the network, and the kernel may choose the VIP as source of the node's own connections, which etcd's peers then refuse")
        .fix("write the VIP with /32, or /128")
        .files(wide_vip),
    Lint::warning("HA313", "VRRP speaks by multicast")
        .why("clouds, many virtual switches and default firewalls drop 224.0.0.18 without a word: every machine then holds the VIP at once")
        .fix("name the other machines in `unicast_peer`, and this one in `unicast_src_ip`")
        .files(multicast),
    Lint::warning("HA340", "keepalived sends mail to a server that is not there")
        .why("examples name an SMTP server on 127.0.0.1; without one every change of state waits for it, and nobody is told")
        .fix("remove `notification_email` and `smtp_server`; watch keepalived's log or its metrics")
        .files(mail_to_nobody),
    Lint::warning("HA347", "version 2 of VRRP has no intervals below a second")
        .why("its packets have the interval in whole seconds (RFC 3768 section 5.3.7): keepalived takes another one than the file says")
        .fix("write `version 3` in the instance, on every machine at once, or a whole `advert_int`")
        .files(fraction_of_version_2),
    Lint::error("HA314", "machines disagree about who takes part")
        .why("a machine that is missing among the peers never hears of the VIP's holder and takes it too; different intervals or versions make each side drop what the other says")
        .fix("make the lists from one inventory: every other machine, the same `advert_int`, the same `vrrp_version`")
        .files(disagreement),
];

fn instances<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = Block<'f, 'a>> {
    fleet.keepalived("vrrp_instance")
}

/// Instances of one virtual router, on all machines.
fn routers<'f, 'a>(fleet: &'f Fleet<'a>) -> Vec<Vec<Block<'f, 'a>>> {
    let mut routers: BTreeMap<&str, Vec<Block<'f, 'a>>> = BTreeMap::new();
    for block in instances(fleet) {
        routers.entry(block.statement.setting("virtual_router_id").map_or("", |word| word.text)).or_default().push(block);
    }
    routers.into_values().collect()
}

fn long_password<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in instances(fleet) {
        let password = block.statement.last(&["authentication"]).and_then(|statement| statement.setting("auth_pass"));
        if let Some(word) = password.filter(|word| word.text.len() > 8 && !word.text.starts_with(['$', '{', '#', '<'])) {
            found.at(block.document, word, format!("keepalived reads 8 letters of these {}", word.text.chars().count()));
        }
    }
}

/// Blocks that an instance tracks, and where their weights stand.
const TRACKED: [(&str, &str); 4] = [
    ("track_script", "vrrp_script"),
    ("track_process", "vrrp_track_process"),
    ("track_file", "track_file"),
    // Until 2.1.
    ("track_file", "vrrp_track_file"),
];

/// The weights by which the scripts and processes that an instance tracks change its priority.
fn weights<'f, 'a>(fleet: &'f Fleet<'a>, instance: Block<'f, 'a>) -> Vec<(Block<'f, 'a>, f64, Word<'a>)> {
    let mut found = Vec::new();
    for (list, kind) in TRACKED {
        for tracked in instance.statement.all(&[list]).flat_map(|statement| &statement.body) {
            let own = tracked.option("weight").map(|word| (instance, word));
            let same = |block: &Block<'f, 'a>| block.statement.value().map(|word| word.text) == Some(tracked.name().text);
            let named = fleet.on(instance.document.machine).keepalived(kind).find(same);
            let named = named.and_then(|block| Some((block, block.statement.setting("weight")?)));
            if let Some((block, word)) = own.or(named) {
                found.extend(word.text.parse().ok().filter(|weight| *weight != 0.0).map(|weight| (block, weight, word)));
            }
        }
    }
    found
}

fn weak_weight<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for router in routers(fleet) {
        let priorities: Vec<f64> = router.iter().filter_map(|block| block.statement.number("priority")).map(|(number, _)| number).collect();
        let most = priorities.iter().copied().fold(f64::MIN, f64::max);
        let least = priorities.iter().copied().fold(f64::MAX, f64::min);
        for (block, weight, word) in router.iter().flat_map(|instance| weights(fleet, *instance)) {
            let spread = most - least;
            if priorities.len() > 1 && weight.abs() <= spread {
                found.at(block.document, word, format!("weight {weight} does not overcome priorities from {least} to {most}"));
            }
        }
    }
}

fn weight_without_preemption<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for instance in instances(fleet).filter(|block| block.statement.last(&["nopreempt"]).is_some()) {
        for (block, weight, word) in weights(fleet, instance) {
            found.at(block.document, word, format!("weight {weight} has no effect: no other machine may take the VIP"));
        }
    }
}

fn same_router<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let routers: Vec<(Block<'_, 'a>, Word<'a>)> =
        fleet.keepalived("global_defs").filter_map(|block| Some((block, block.statement.setting("router_id")?))).collect();
    for (block, word) in &routers {
        let shared = routers.iter().any(|(other, name)| other.document.machine != block.document.machine && name.text == word.text);
        if shared || EXAMPLE_ROUTERS.contains(&word.text) {
            found.at(block.document, *word, format!("`router_id {}` names no machine", word.text));
        }
    }
}

fn preempts<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in instances(fleet) {
        let Some(word) = block.statement.setting("state").filter(|word| word.text == "MASTER") else { continue };
        let message = match block.statement.last(&["nopreempt"]) {
            Some(_) => "keepalived drops `nopreempt` with `state MASTER`: this machine takes the VIP back as soon as it returns",
            None => "this machine takes the VIP back as soon as it returns",
        };
        found.at(block.document, word, message);
    }
}

/// Lines of `virtual_ipaddress`.
fn addresses<'s, 'a>(instance: &'s Statement<'a>) -> impl Iterator<Item = &'s Statement<'a>> {
    instance.all(&["virtual_ipaddress"]).flat_map(|statement| &statement.body)
}

fn wide_vip<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in instances(fleet) {
        for word in addresses(block.statement).map(Statement::name) {
            if word.text.split_once('/').is_some_and(|(_, prefix)| prefix != "32" && prefix != "128") {
                found.at(block.document, word, format!("`{}` makes a second route to its network", word.text));
            }
        }
    }
}

fn multicast<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in instances(fleet).filter(|block| block.statement.last(&["unicast_peer"]).is_none()) {
        found.at(block.document, block.statement.name(), "no `unicast_peer`: the machines find each other by multicast");
    }
}

fn disagreement<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for router in routers(fleet) {
        for block in &router {
            peers(*block, &router, found);
        }
        for name in ["advert_int", "version"] {
            let value = |block: &Block<'_, '_>| effective(fleet, block, name);
            if let Some(other) = router.iter().find(|block| value(block) != value(&router[0])) {
                let word = other.statement.setting(name).unwrap_or(other.statement.name());
                found.at(other.document, word, format!("`{name}` differs from that of `{}`", router[0].document.machine));
            }
        }
    }
}

fn fraction_of_version_2<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in instances(fleet).filter(|block| effective(fleet, block, "version") < 3.0) {
        if let Some((interval, word)) = block.statement.number("advert_int").filter(|(interval, _)| interval.fract() > 0.0) {
            found.at(block.document, word, format!("version 2 of VRRP can't say {interval} s"));
        }
    }
}

/// What an instance has of a setting, as it says, or as keepalived takes it when it does not.
fn effective(fleet: &Fleet<'_>, block: &Block<'_, '_>, name: &str) -> f64 {
    let own = block.statement.number(name).map(|(number, _)| number);
    let global = || {
        let mut definitions = fleet.on(block.document.machine).keepalived("global_defs");
        definitions.find_map(|global| global.statement.number("vrrp_version")).map(|(number, _)| number)
    };
    let default = if name == "version" { global().unwrap_or(2.0) } else { 1.0 };
    own.unwrap_or(default)
}

/// An instance's peers against the addresses that the others speak from.
fn peers<'a>(block: Block<'_, 'a>, router: &[Block<'_, 'a>], found: &mut Found<'a>) {
    let Some(list) = block.statement.last(&["unicast_peer"]) else { return };
    let own = block.statement.setting("unicast_src_ip").map_or("", |word| word.text);
    let named: Vec<Word<'a>> = list.words[1..].iter().copied().chain(list.body.iter().map(Statement::name)).collect();
    if let Some(word) = named.iter().find(|word| word.text == own) {
        found.at(block.document, *word, format!("`{own}` is this machine itself"));
    }
    for other in router.iter().filter(|other| other.document.machine != block.document.machine) {
        let source = other.statement.setting("unicast_src_ip").map_or("", |word| word.text);
        if !source.is_empty() && !named.iter().any(|word| word.text == source) {
            found.at(block.document, list.name(), format!("`{source}` is missing among the peers"));
        }
    }
}

/// Identifiers that are none, that every example has, or that two instances of a machine share, for HA311.
pub(super) fn router_id<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in instances(fleet) {
        let Some((id, word)) = block.statement.number("virtual_router_id") else { continue };
        let twin = |other: &Block<'_, 'a>| {
            !std::ptr::eq(other.statement, block.statement)
                && other.statement.setting("virtual_router_id").map(|word| word.text) == Some(word.text)
                && other.statement.setting("interface").map(|word| word.text) == block.statement.setting("interface").map(|word| word.text)
                && family(other.statement) == family(block.statement)
        };
        // One identifier and no address in common: two clusters.
        let vips = |statement: &Statement<'a>| addresses(statement).filter_map(|line| address(line.name())).collect::<BTreeSet<_>>();
        let own = vips(block.statement);
        let stranger = instances(fleet).find(|other| {
            let theirs = vips(other.statement);
            let same = other.statement.setting("virtual_router_id").map(|word| word.text) == Some(word.text);
            let apart = !own.is_empty() && !theirs.is_empty() && own.is_disjoint(&theirs);
            other.document.machine != block.document.machine && same && apart && family(other.statement) == family(block.statement)
        });
        if !(1.0..=255.0).contains(&id) {
            found.at(block.document, word, format!("{id} is no VRRP router identifier: they go from 1 to 255"));
        } else if word.text == "51" {
            found.at(block.document, word, "VRRP router identifier 51 is probably used by somebody else too");
        } else if fleet.on(block.document.machine).keepalived("vrrp_instance").any(|other| twin(&other)) {
            found.at(block.document, word, format!("two instances of this machine have the identifier {id}"));
        } else if let Some(other) = stranger {
            found.at(block.document, word, format!("`{}` has another VIP with the identifier {id}", other.document.machine));
        }
    }
}

/// Whether an instance's addresses are of IPv6, whose identifiers are others than those of IPv4.
fn family(instance: &Statement<'_>) -> bool {
    addresses(instance).any(|line| line.name().text.contains("::"))
}

fn mail_to_nobody<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.keepalived("global_defs") {
        let mta = fleet.on(block.document.machine).has(&["postfix", "exim", "sendmail"]);
        if let Some(word) = block.statement.setting("smtp_server").filter(|word| word.text.starts_with("127.") && !mta) {
            found.at(block.document, word, "no mail server on this machine is among its files");
        }
    }
}
