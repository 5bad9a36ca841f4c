//! Lints for VRRP: which machine holds the VIP, and failover.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{Block, Fleet, Statement, Word};
use crate::lint::Lint;
use crate::lint::found::Found;
use crate::lint::vocabulary::address;

/// Router names from published configurations.
const EXAMPLE_ROUTERS: [&str; 5] = ["LVS_DEVEL", "LVS_MASTER", "LVS_BACKUP", "LVS_MAIN", "k8s-master-dr"];

pub(super) static ROWS: &[Lint] = &[
    Lint::warning("HA115", "the VRRP password is longer than eight characters")
        .why(
            "keepalived ignores everything after the eighth character, so passwords that differ only after \
            it are equal; passwords are sent in clear text anyway",
        )
        .fix("omit `authentication` and list the peers in `unicast_peer`, or use at most eight characters")
        .files(long_password),
    Lint::error("HA304", "a failed check does not change which machine has the highest priority")
        .why(
            "the weight is added to the priority: unless it exceeds the difference between the machines' \
            priorities, the failed machine still wins or ties, and the VIP stays where nothing responds",
        )
        .fix(
            "omit `weight`: a failed check then puts the instance in the FAULT state, and the VIP moves at \
            once",
        )
        .files(weak_weight),
    Lint::error("HA305", "`weight` has no effect together with `nopreempt`")
        .why(
            "the weight gives another machine the higher priority, but `nopreempt` keeps that machine from \
            taking the VIP: the VIP never moves",
        )
        .fix("omit `weight` and keep `nopreempt`")
        .files(weight_without_preemption),
    Lint::warning("HA309", "`router_id` does not identify the machine")
        .why(
            "`router_id` names the machine in logs, SNMP traps and mail; a name that is shared or copied \
            from an example does not identify a machine",
        )
        .fix("set `router_id` to the node name")
        .files(same_router),
    Lint::warning("HA310", "a machine takes the VIP back when it recovers")
        .why(
            "with `state MASTER` and preemption, every failure interrupts clients twice: when the machine \
            fails, and when it recovers",
        )
        .fix("set `state BACKUP` and `nopreempt` on every machine")
        .files(preempts),
    Lint::warning("HA312", "the VIP is configured with the prefix length of its network")
        .why(
            "the prefix length adds a second route to the network, and the kernel may choose the VIP as the \
            source address of the node's own connections, which etcd peers then reject",
        )
        .fix("set the prefix length of the VIP to /32, or to /128 for IPv6")
        .files(wide_vip),
    Lint::warning("HA313", "VRRP uses multicast")
        .why(
            "clouds, many virtual switches and default firewalls silently drop packets to 224.0.0.18: every \
            machine then holds the VIP at the same time",
        )
        .fix("list the other machines in `unicast_peer`, and set `unicast_src_ip` to this machine's address")
        .files(multicast),
    Lint::warning("HA340", "keepalived sends mail through a server that does not exist")
        .why(
            "examples set `smtp_server` to 127.0.0.1; without a mail server there, every state change waits \
            for a connection, and no mail is sent",
        )
        .fix("remove `notification_email` and `smtp_server`, and monitor keepalived's log or metrics instead")
        .files(mail_to_nobody),
    Lint::warning("HA347", "VRRP version 2 does not support fractional intervals")
        .why(
            "VRRP version 2 packets carry the interval in whole seconds (RFC 3768 section 5.3.7), so \
            keepalived uses an interval other than the configured one",
        )
        .fix(
            "set `version 3` in the instance, on every machine at once, or use a whole number for \
            `advert_int`",
        )
        .files(fraction_of_version_2),
    Lint::error("HA314", "machines disagree about VRRP peers or settings")
        .why(
            "a machine missing from the peer list receives no advertisements and takes the VIP too; with \
            different intervals or versions, each side drops the other's packets",
        )
        .fix(
            "generate the configuration from one inventory, with every other machine as a peer and the same \
            `advert_int` and `vrrp_version` on every machine",
        )
        .files(disagreement),
];

fn instances<'f, 'a>(fleet: &'f Fleet<'a>) -> impl Iterator<Item = Block<'f, 'a>> {
    fleet.keepalived("vrrp_instance")
}

/// Returns the instances on all machines, grouped by virtual router.
fn routers<'f, 'a>(fleet: &'f Fleet<'a>) -> Vec<Vec<Block<'f, 'a>>> {
    let mut routers: BTreeMap<&str, Vec<Block<'f, 'a>>> = BTreeMap::new();
    for block in instances(fleet) {
        routers
            .entry(block.statement.setting("virtual_router_id").map_or("", |word| word.text))
            .or_default()
            .push(block);
    }
    routers.into_values().collect()
}

fn long_password<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in instances(fleet) {
        let password =
            block.statement.last(&["authentication"]).and_then(|statement| statement.setting("auth_pass"));
        if let Some(word) =
            password.filter(|word| word.text.len() > 8 && !word.text.starts_with(['$', '{', '#', '<']))
        {
            found.at(
                block.document,
                word,
                format!("keepalived uses only the first 8 of these {} characters", word.text.chars().count()),
            );
        }
    }
}

/// Instance statements that list what is tracked, and the blocks that define the weights.
const TRACKED: [(&str, &str); 4] = [
    ("track_script", "vrrp_script"),
    ("track_process", "vrrp_track_process"),
    ("track_file", "track_file"),
    // Until keepalived 2.1.
    ("track_file", "vrrp_track_file"),
];

/// Returns the weights that tracked scripts, processes and files add to an instance's priority.
fn weights<'f, 'a>(fleet: &'f Fleet<'a>, instance: Block<'f, 'a>) -> Vec<(Block<'f, 'a>, f64, Word<'a>)> {
    let mut found = Vec::new();
    for (list, kind) in TRACKED {
        for tracked in instance.statement.all(&[list]).flat_map(|statement| &statement.body) {
            let own = tracked.option("weight").map(|word| (instance, word));
            let same = |block: &Block<'f, 'a>| {
                block.statement.value().map(|word| word.text) == Some(tracked.name().text)
            };
            let named = fleet.on(instance.document.machine).keepalived(kind).find(same);
            let named = named.and_then(|block| Some((block, block.statement.setting("weight")?)));
            if let Some((block, word)) = own.or(named) {
                found.extend(
                    word.text
                        .parse()
                        .ok()
                        .filter(|weight| *weight != 0.0)
                        .map(|weight| (block, weight, word)),
                );
            }
        }
    }
    found
}

fn weak_weight<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for router in routers(fleet) {
        let priorities: Vec<f64> = router
            .iter()
            .filter_map(|block| block.statement.number("priority"))
            .map(|(number, _)| number)
            .collect();
        let most = priorities.iter().copied().fold(f64::MIN, f64::max);
        let least = priorities.iter().copied().fold(f64::MAX, f64::min);
        for (block, weight, word) in router.iter().flat_map(|instance| weights(fleet, *instance)) {
            let spread = most - least;
            if priorities.len() > 1 && weight.abs() <= spread {
                found.at(
                    block.document,
                    word,
                    format!("weight {weight} does not exceed the gap between priorities {least} and {most}"),
                );
            }
        }
    }
}

fn weight_without_preemption<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for instance in instances(fleet).filter(|block| block.statement.last(&["nopreempt"]).is_some()) {
        for (block, weight, word) in weights(fleet, instance) {
            found.at(
                block.document,
                word,
                format!(
                    "weight {weight} has no effect: `nopreempt` keeps other machines from taking the VIP"
                ),
            );
        }
    }
}

fn same_router<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    let routers: Vec<(Block<'_, 'a>, Word<'a>)> = fleet
        .keepalived("global_defs")
        .filter_map(|block| Some((block, block.statement.setting("router_id")?)))
        .collect();
    for (block, word) in &routers {
        let shared = routers
            .iter()
            .any(|(other, name)| other.document.machine != block.document.machine && name.text == word.text);
        if shared || EXAMPLE_ROUTERS.contains(&word.text) {
            found.at(
                block.document,
                *word,
                format!("`router_id {}` does not identify this machine", word.text),
            );
        }
    }
}

fn preempts<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in instances(fleet) {
        let Some(word) = block.statement.setting("state").filter(|word| word.text == "MASTER") else {
            continue;
        };
        let message = match block.statement.last(&["nopreempt"]) {
            Some(_) => {
                "keepalived ignores `nopreempt` with `state MASTER`: this machine takes the VIP back as \
                soon as it recovers"
            }
            None => "this machine takes the VIP back as soon as it recovers",
        };
        found.at(block.document, word, message);
    }
}

/// Returns the lines of an instance's `virtual_ipaddress` blocks.
fn addresses<'s, 'a>(instance: &'s Statement<'a>) -> impl Iterator<Item = &'s Statement<'a>> {
    instance.all(&["virtual_ipaddress"]).flat_map(|statement| &statement.body)
}

fn wide_vip<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in instances(fleet) {
        for word in addresses(block.statement).map(Statement::name) {
            if word.text.split_once('/').is_some_and(|(_, prefix)| prefix != "32" && prefix != "128") {
                found.at(block.document, word, format!("`{}` adds a second route to its network", word.text));
            }
        }
    }
}

fn multicast<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in instances(fleet).filter(|block| block.statement.last(&["unicast_peer"]).is_none()) {
        found.at(
            block.document,
            block.statement.name(),
            "without `unicast_peer`, the machines use multicast",
        );
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
                found.at(
                    other.document,
                    word,
                    format!("`{name}` differs from the value on `{}`", router[0].document.machine),
                );
            }
        }
    }
}

fn fraction_of_version_2<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in instances(fleet).filter(|block| effective(fleet, block, "version") < 3.0) {
        if let Some((interval, word)) =
            block.statement.number("advert_int").filter(|(interval, _)| interval.fract() > 0.0)
        {
            found.at(
                block.document,
                word,
                format!("VRRP version 2 can't represent an interval of {interval} s"),
            );
        }
    }
}

/// Returns the effective value of an instance's setting: the instance's own value, the global value, or
/// keepalived's default.
fn effective(fleet: &Fleet<'_>, block: &Block<'_, '_>, name: &str) -> f64 {
    let own = block.statement.number(name).map(|(number, _)| number);
    let global = || {
        let mut definitions = fleet.on(block.document.machine).keepalived("global_defs");
        definitions.find_map(|global| global.statement.number("vrrp_version")).map(|(number, _)| number)
    };
    let default = if name == "version" { global().unwrap_or(2.0) } else { 1.0 };
    own.unwrap_or(default)
}

/// Compares an instance's peer list with the source addresses of the other instances.
fn peers<'a>(block: Block<'_, 'a>, router: &[Block<'_, 'a>], found: &mut Found<'a>) {
    let Some(list) = block.statement.last(&["unicast_peer"]) else { return };
    let own = block.statement.setting("unicast_src_ip").map_or("", |word| word.text);
    let named: Vec<Word<'a>> =
        list.words[1..].iter().copied().chain(list.body.iter().map(Statement::name)).collect();
    if let Some(word) = named.iter().find(|word| word.text == own) {
        found.at(
            block.document,
            *word,
            format!("the peer list contains `{own}`, this machine's own address"),
        );
    }
    for other in router.iter().filter(|other| other.document.machine != block.document.machine) {
        let source = other.statement.setting("unicast_src_ip").map_or("", |word| word.text);
        if !source.is_empty() && !named.iter().any(|word| word.text == source) {
            found.at(block.document, list.name(), format!("`{source}` is missing from the peer list"));
        }
    }
}

/// Reports virtual router identifiers that are invalid, copied from examples, or shared by instances or
/// clusters (HA311).
pub(super) fn router_id<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in instances(fleet) {
        let Some((id, word)) = block.statement.number("virtual_router_id") else { continue };
        let twin = |other: &Block<'_, 'a>| {
            !std::ptr::eq(other.statement, block.statement)
                && other.statement.setting("virtual_router_id").map(|word| word.text) == Some(word.text)
                && other.statement.setting("interface").map(|word| word.text)
                    == block.statement.setting("interface").map(|word| word.text)
                && family(other.statement) == family(block.statement)
        };
        // The same identifier without a common address indicates two clusters.
        let vips = |statement: &Statement<'a>| {
            addresses(statement).filter_map(|line| address(line.name())).collect::<BTreeSet<_>>()
        };
        let own = vips(block.statement);
        let stranger = instances(fleet).find(|other| {
            let theirs = vips(other.statement);
            let same = other.statement.setting("virtual_router_id").map(|word| word.text) == Some(word.text);
            let apart = !own.is_empty() && !theirs.is_empty() && own.is_disjoint(&theirs);
            other.document.machine != block.document.machine
                && same
                && apart
                && family(other.statement) == family(block.statement)
        });
        if !(1.0..=255.0).contains(&id) {
            found.at(
                block.document,
                word,
                format!("{id} is not a valid VRRP router identifier: the range is 1 to 255"),
            );
        } else if word.text == "51" {
            found.at(
                block.document,
                word,
                "VRRP router identifier 51 is probably used by another cluster too",
            );
        } else if fleet.on(block.document.machine).keepalived("vrrp_instance").any(|other| twin(&other)) {
            found.at(block.document, word, format!("two instances on this machine use the identifier {id}"));
        } else if let Some(other) = stranger {
            found.at(
                block.document,
                word,
                format!("`{}` uses the identifier {id} for a different VIP", other.document.machine),
            );
        }
    }
}

/// Checks whether an instance's addresses are IPv6; IPv4 and IPv6 identifiers are independent.
fn family(instance: &Statement<'_>) -> bool {
    addresses(instance).any(|line| line.name().text.contains("::"))
}

fn mail_to_nobody<'a>(fleet: &Fleet<'a>, found: &mut Found<'a>) {
    for block in fleet.keepalived("global_defs") {
        let mta = fleet.on(block.document.machine).has(&["postfix", "exim", "sendmail"]);
        if let Some(word) =
            block.statement.setting("smtp_server").filter(|word| word.text.starts_with("127.") && !mta)
        {
            found.at(block.document, word, "this machine's files do not configure a mail server");
        }
    }
}
