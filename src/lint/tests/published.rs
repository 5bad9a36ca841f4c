//! Configurations that articles print, read as they are: every mistake that is known to be in them is found,
//! and in right ones none.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::examples::{machines, reported};
use crate::lint::{Machine, Target, check_files};

/// An article's name, its files, and the minor versions of Kubernetes and etcd that it was written for.
const ARTICLES: [(&str, &str, u32, u32); 6] = [
    ("0-keepalived", include_str!("published/0-keepalived.txt"), 9, 1),
    ("0-haproxy", include_str!("published/0-haproxy.txt"), 9, 1),
    ("1", include_str!("published/1.txt"), 6, 1),
    ("2", include_str!("published/2.txt"), 20, 4),
    ("3", include_str!("published/3.txt"), 18, 4),
    ("4", include_str!("published/4.txt"), 18, 4),
];
/// What somebody would move to today.
const TODAY: (u32, u32) = (36, 6);

/// The known mistakes: what is wrong, the articles that have it, and the lint that finds it.
const MISTAKES: &[(&str, &[&str], &str)] = &[
    ("`Require=` is no key of systemd", &["0-keepalived", "0-haproxy"], "HA316"),
    ("the check stops keepalived", &["0-keepalived"], "HA301"),
    ("nothing starts keepalived again", &["0-keepalived"], "HA317"),
    ("curl without -f, inline", &["0-haproxy"], "HA302"),
    ("curl without -f, in a script", &["3", "4"], "HA302"),
    ("thirty seconds until a failure is noticed", &["3", "4"], "HA306"),
    ("preemption means a second outage", &["0-keepalived", "0-haproxy", "3", "4"], "HA310"),
    ("a password longer than eight letters", &["0-keepalived", "3"], "HA115"),
    ("a password of an article", &["0-keepalived", "3", "4"], "HA116"),
    ("the identifier of every example", &["4"], "HA311"),
    ("multicast", &["0-keepalived", "0-haproxy", "3", "4"], "HA313"),
    ("0.0.0.0 is advertised", &["0-keepalived"], "HA205"),
    ("three API servers are counted and two are there", &["0-keepalived"], "HA206"),
    ("the authority's key signs service-account tokens", &["0-keepalived", "0-haproxy"], "HA102"),
    ("one authority for etcd and Kubernetes", &["0-keepalived", "0-haproxy"], "HA101"),
    ("the insecure port", &["0-keepalived", "1"], "HA203"),
    ("node ports from 1024 on", &["0-keepalived", "0-haproxy"], "HA006"),
    ("statistics for everybody", &["0-haproxy"], "HA326"),
    ("admin:admin", &["0-haproxy"], "HA116"),
    ("a minute without a word closes connections", &["0-haproxy"], "HA337"),
    ("twenty seconds without a word close connections", &["4"], "HA323"),
    ("a check that only connects", &["0-haproxy"], "HA324"),
    ("two kinds of check", &["4"], "HA321"),
    ("the check speaks plain HTTP", &["4"], "HA322"),
    ("the balancer takes the API server's port", &["4"], "HA014"),
    ("a missing configuration is created empty", &["4"], "HA330"),
    ("the balancer's probe asks the API server", &["4"], "HA338"),
    ("the image may have no curl", &["4"], "HA339"),
    ("a network with host bits", &["1"], "HA002"),
    ("62 addresses for 110 pods", &["1"], "HA004"),
    ("pods receive addresses of local networks", &["1"], "HA019"),
    ("bridge settings without the module", &["2"], "HA401"),
    ("IPv6 is switched off", &["2"], "HA404"),
    ("the firewall is switched off", &["2"], "HA402"),
    ("SELinux is switched off", &["2"], "HA403"),
    ("the clock is set once", &["2"], "HA405"),
    ("the second master gets the first one's certificate", &["2"], "HA001"),
    ("private keys are copied between machines", &["0-keepalived", "2"], "HA106"),
    ("an administrator's credentials are copied", &["2"], "HA107"),
    ("two API servers", &["0-haproxy"], "HA011"),
    ("members of etcd on workers", &["0-haproxy"], "HA012"),
    ("an old version of kubeadm's configuration", &["3"], "HA221"),
    ("a token that never expires", &["3"], "HA113"),
    ("IPVS", &["3"], "HA220"),
    ("an image of kube-vip that nobody mends", &["3"], "HA331"),
    ("two VIPs", &["3"], "HA007"),
    ("a public VIP", &["3"], "HA008"),
    ("chmod of another path", &["3"], "HA341"),
    ("a here-document that is expanded", &["3"], "HA318"),
    ("an audit log without a policy", &["0-keepalived", "0-haproxy"], "HA209"),
    ("mail to a server that is not there", &["0-keepalived", "0-haproxy"], "HA340"),
    ("flags that are gone", &["0-keepalived", "0-haproxy", "1"], "HA201"),
    ("flags of the kubelet that are gone", &["1"], "HA217"),
    ("a misspelt flag", &["1"], "HA212"),
    ("no issuer of service-account tokens", &["0-keepalived", "0-haproxy"], "HA204"),
    ("no aggregation layer", &["0-keepalived", "0-haproxy"], "HA210"),
    ("no NodeRestriction", &["0-keepalived", "0-haproxy"], "HA207"),
    ("no certificate for kubelets", &["0-keepalived", "0-haproxy"], "HA208"),
    ("flannel reads etcd's old API", &["1"], "HA225"),
    ("a registry without TLS", &["1"], "HA425"),
    ("an address for the frontend", &["0-haproxy"], "HA320"),
];

/// The files of an article, with the placeholders filled in as it says.
pub(crate) fn article(name: &str) -> Vec<Machine> {
    machines(ARTICLES.iter().find(|(article, ..)| *article == name).unwrap().1)
}

/// Everything that is found in an article's files, for the version that it was written for and for today's.
fn findings(text: &str, minor: u32, etcd: u32) -> BTreeSet<String> {
    let machines = machines(text);
    let targets = [(minor, etcd), TODAY].map(|(kubernetes, etcd)| Target { kubernetes, etcd, now: 0 });
    let problems = targets.into_iter().flat_map(|target| check_files(&machines, target));
    problems.map(|problem| format!("{} {}", problem.code.unwrap_or_default(), reported(&problem))).collect()
}

#[test]
fn what_articles_print_is_read_and_every_known_mistake_is_found() {
    let mut seen = String::new();
    let mut missed = Vec::new();
    for (name, text, minor, etcd) in ARTICLES {
        let found = findings(text, minor, etcd);
        writeln!(seen, "\n=== {name}").unwrap();
        found.iter().for_each(|finding| writeln!(seen, "{finding}").unwrap());
        for (what, _, id) in MISTAKES.iter().filter(|(_, articles, _)| articles.contains(&name)) {
            if !found.iter().any(|finding| finding.starts_with(id)) {
                missed.push(format!("{id} does not find in article {name}: {what}"));
            }
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
    insta::assert_snapshot!(seen);
}

#[test]
fn a_whole_machine_as_it_should_be_has_no_finding() {
    let machines_of = [
        (include_str!("published/right-1.20.2.txt"), 20, 4),
        (include_str!("published/right-1.36.txt"), 36, 6),
    ];
    for (text, kubernetes, etcd) in machines_of {
        let problems = check_files(&machines(text), Target { kubernetes, etcd, now: 0 });
        assert_eq!(problems.iter().map(reported).collect::<Vec<_>>(), [""; 0], "1.{kubernetes}");
    }
}
