//! Known mistakes in the files, which the lints must find.

use std::collections::BTreeSet;

use super::{file, imported, machines};
use crate::lint::tests::published::article;

/// Known mistakes in the files: their number, their location, and the lints that find them.
const MISTAKES: &[(u32, &str, &[&str])] = &[
    (1, "000-keepalived", &["HA316"]),
    (2, "000-keepalived", &["HA301", "HA317"]),
    (3, "000-haproxy", &["HA302"]),
    (4, "003", &["HA302"]),
    (4, "004", &["HA302"]),
    (5, "003", &["HA306"]),
    (5, "004", &["HA306"]),
    (6, "000-keepalived", &["HA310"]),
    (7, "000-keepalived", &["HA115"]),
    (7, "003", &["HA115"]),
    (8, "article 4", &["HA311", "HA116"]),
    (9, "000-keepalived", &["HA313"]),
    (9, "003", &["HA313"]),
    (9, "004", &["HA313"]),
    (10, "000-keepalived", &["HA205"]),
    (11, "article 0-keepalived", &["HA206"]),
    (12, "000-keepalived", &["HA101", "HA102"]),
    (13, "000-keepalived", &["HA203"]),
    (13, "article 1", &["HA203"]),
    (14, "000-keepalived", &["HA006"]),
    (15, "000-haproxy", &["HA116", "HA326"]),
    (16, "000-haproxy", &["HA337"]),
    (16, "004", &["HA323"]),
    (17, "000-haproxy", &["HA324"]),
    (18, "004", &["HA321", "HA322"]),
    (19, "article 4", &["HA014"]),
    (20, "004", &["HA330", "HA338"]),
    (21, "004", &["HA339"]),
    (22, "article 1", &["HA002"]),
    (23, "article 1", &["HA019"]),
    (24, "002", &["HA401", "HA404"]),
    (25, "002", &["HA402", "HA403"]),
    (26, "002", &["HA405"]),
    (27, "002", &["HA001"]),
    (28, "article 0-haproxy", &["HA011", "HA012"]),
    (29, "003", &["HA113", "HA221"]),
    (30, "003", &["HA220", "HA331"]),
    (31, "003", &["HA318", "HA341"]),
    (32, "000-keepalived", &["HA209", "HA340"]),
    (33, "000-keepalived", &["HA201", "HA204", "HA207", "HA208", "HA210", "HA214"]),
    (33, "article 1", &["HA201", "HA217"]),
    // The article's own quotation marks, which its page substituted for plain ones.
    (34, "001", &["HA427"]),
];

#[test]
fn every_known_mistake_of_the_files_is_reported_with_its_file_and_line() {
    let mut missed = Vec::new();
    for (number, place, ids) in MISTAKES {
        let mut machines = place.strip_prefix("article ").map_or_else(|| machines(place), article);
        if place.starts_with("article 0") {
            machines.push(file("", "/plan.ini", "[all:vars]\nk8s_version=1.9.6\n"));
        }
        let problems = imported(&machines).report.problems;
        assert!(problems.iter().all(|problem| problem.source.is_some() && problem.span.is_some()), "{place}");
        let found: BTreeSet<&str> = problems.iter().filter_map(|problem| problem.code).collect();
        missed.extend(
            ids.iter().filter(|id| !found.contains(**id)).map(|id| format!("{number} in {place}: {id}")),
        );
    }
    assert_eq!(missed, [""; 0]);
}
