//! A small cluster file, the problems in it, and what profiles add.

mod mistakes;

use proptest::prelude::{ProptestConfig, any, prop, proptest};

use super::{Catalog, Document, Profile, parse};
use crate::cluster;
use crate::error::{Error, Report, Source};
use crate::words::Role;

/// A small cluster file without problems, into which tests insert mistakes.
pub(crate) const SAMPLE: &str = r#"profile = "ha"

[cluster]
name = "berlin"
kubernetes = "1.20.2"

[network]
nodes = "10.0.0.0/24"
gateway = "10.0.0.1"
ntp = ["10.0.0.1"]

[endpoint]
vip = "10.0.0.10"
names = ["kubernetes.example.org"]

[[nodes]]
name = "m1"
roles = ["control-plane"]
address = "10.0.0.11"
match = { mac = "52-54-00-AA-00-11" }

[[nodes]]
name = "m2"
roles = ["master"]
address = "10.0.0.12"

[[nodes]]
name = "m3"
roles = ["control-plane"]
address = "10.0.0.13"
"#;

pub(crate) fn read(text: &str) -> Profile {
    parse(Source { path: "cluster.toml".into(), text: text.into() }, &Catalog::load(&[]).unwrap()).unwrap()
}

/// The sample with its first `from` replaced.
pub(crate) fn edited(from: &str, to: &str) -> String {
    assert!(SAMPLE.contains(from), "the sample has no {from:?}");
    SAMPLE.replacen(from, to, 1)
}

/// Every problem of reading and resolving `text` as `line:column text: message (hint)`.
pub(crate) fn problems(text: &str) -> Vec<String> {
    let profile = read(text);
    match cluster::resolve(&profile) {
        Ok(_) => reported(text, &profile.report),
        Err(err) => reported(text, report_of(&err)),
    }
}

pub(crate) fn reported(text: &str, report: &Report) -> Vec<String> {
    let one = |problem: &crate::error::Problem| {
        let hint = problem.hint.as_deref().unwrap_or("no hint");
        let place = problem.span.clone().map_or("-".to_owned(), |span| format!("`{}`", &text[span]));
        format!("{place}: {} ({hint})", problem.message)
    };
    report.problems.iter().map(one).collect()
}

fn report_of(err: &Error) -> &Report {
    err.report().unwrap_or_else(|| panic!("no report: {err}"))
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let text = SAMPLE
        .replacen("\"1.20.2\"", "1.20", 1)
        .replacen("\"10.0.0.10\"", "\"10.0.0.300\"", 1)
        .replacen("name = \"m2\"", "nam = \"m2\"", 1)
        .replacen("\"10.0.0.13\"", "\"10.0.9.13\"", 1);
    insta::assert_snapshot!(problems(&text).join("\n"), @r#"
    `1.20`: `kubernetes` is a number, but must be a string in quotes (write `kubernetes = "1.20"`)
    `"10.0.0.300"`: `10.0.0.300` is not an IP address (use a value such as `"10.0.0.10"`)
    `nam`: unknown setting `nam` in `nodes[1]` (did you mean `name`?)
    `"10.0.9.13"`: `10.0.9.13` is not a usable address in the node network `10.0.0.0/24` (choose a free address in that network, or correct `network.nodes`)
    "#);
}

#[test]
fn an_empty_file_says_how_to_begin() {
    insta::assert_snapshot!(problems("").join("\n"), @r#"
    -: the file does not name a profile (begin the file with `profile = "ha"`; available profiles: external-endpoint, external-lb, ha, ha-static-pods, kube-vip, kubeadm, node-local-lb, two-masters)
    "#);
}

#[test]
fn the_sample_and_the_starting_files_have_no_problem() {
    assert_eq!(problems(SAMPLE), [""; 0]);
    let catalog = Catalog::load(&[]).unwrap();
    for name in catalog.names() {
        let text = catalog.get(name).unwrap().unwrap().starting_file;
        assert_eq!(problems(&text), [""; 0], "profile `{name}`");
    }
}

#[test]
fn commented_settings_of_the_starting_files_are_valid_too() {
    let catalog = Catalog::load(&[]).unwrap();
    for name in catalog.names() {
        let text = catalog.get(name).unwrap().unwrap().starting_file;
        for line in text.lines().filter_map(|line| line.strip_prefix("# ")) {
            let looks_like_a_setting = line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
            let key = line.split(" = ").next().unwrap();
            if looks_like_a_setting {
                assert!(
                    super::schema().to_string().contains(&format!("\"{key}\"")),
                    "`{key}` is not a setting"
                );
            }
        }
    }
}

#[test]
fn a_profile_fills_in_what_the_file_leaves_out_and_points_at_the_line_that_names_it() {
    let profile = read(SAMPLE);
    assert_eq!(profile.document.network.services.unwrap().to_string(), "10.96.0.0/12");
    assert_eq!(&SAMPLE[profile.places.span("network.services").unwrap()], "\"ha\"");
    assert_eq!(&SAMPLE[profile.places.span("network.nodes").unwrap()], "\"10.0.0.0/24\"");
}

#[test]
fn a_profile_from_a_directory_takes_the_place_of_the_built_in_one() {
    let site = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        crate::host::fs::write_atomic(&site.path().join("ha").join(name), text.as_bytes(), 0o644).unwrap();
    };
    write("cluster.toml", SAMPLE);
    write(
        "profile.toml",
        "summary = \"ours\"\n[overlays]\nworker = [\"base\"]\n[defaults.network]\nsevices = \
        \"10.0.0.0/16\"\n",
    );
    let catalog = Catalog::load(&[site.path().to_owned()]).unwrap();
    let err = catalog.get("ha").unwrap().unwrap_err();
    assert_eq!(told_messages(&err), ["unknown setting `sevices` in `defaults.network`"]);
    write("profile.toml", "summary = \"ours\"\n");
    let catalog = Catalog::load(&[site.path().to_owned()]).unwrap();
    assert_eq!(catalog.get("ha").unwrap().unwrap().summary, "ours");
}

#[test]
fn a_profile_takes_what_it_leaves_out_from_the_one_that_it_extends() {
    let site = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        crate::host::fs::write_atomic(&site.path().join(name).join("profile.toml"), text.as_bytes(), 0o644)
            .unwrap();
        crate::host::fs::write_atomic(&site.path().join(name).join("cluster.toml"), SAMPLE.as_bytes(), 0o644)
            .unwrap();
    };
    write(
        "ours",
        "extends = \"ha\"\n[overlays]\nworker = [\"base\"]\n[defaults.network]\nservices = \
        \"10.97.0.0/16\"\n",
    );
    write("theirs", "extends = \"ours\"\n[defaults.network]\ndomain = \"theirs.example\"\n");
    write("circle", "extends = \"back\"\n");
    write("back", "extends = \"circle\"\n");
    write("lost", "extends = \"nowhere\"\n");
    let catalog = Catalog::load(&[site.path().to_owned()]).unwrap();
    let text = edited("\"ha\"", "\"theirs\"");
    let profile = parse(Source { path: "cluster.toml".into(), text: text.into() }, &catalog).unwrap();
    let network = &profile.document.network;
    assert_eq!(network.services.unwrap().to_string(), "10.97.0.0/16");
    assert_eq!(
        (network.domain.as_deref(), network.pods.unwrap().to_string().as_str()),
        (Some("theirs.example"), "10.244.0.0/16")
    );
    let overlays = profile.definition.unwrap().overlays;
    assert_eq!((overlays[&Role::Worker].len(), overlays[&Role::Etcd].len()), (1, 5));
    let refused = |name: &str| catalog.get(name).unwrap().unwrap_err().to_string();
    assert_eq!(refused("circle"), "the profile `back` extends `circle`, which in turn extends it");
    assert_eq!(refused("lost"), "the profile `lost` extends `nowhere`, which does not exist");
}

fn told_messages(err: &Error) -> Vec<&str> {
    report_of(err).problems.iter().map(|problem| problem.message.as_str()).collect()
}

/// Checks that every problem is within the text and that nothing panics, whatever a user types.
fn assert_places_are_in(text: &str) {
    let profile = read(text);
    let result = cluster::resolve(&profile);
    let report = result
        .as_ref()
        .err()
        .map_or(&profile.report, |err| err.report().expect("only the user's input can be wrong"));
    for problem in &report.problems {
        if let Some(span) = &problem.span {
            assert!(text.get(span.clone()).is_some(), "{span:?} of {text:?}: {}", problem.message);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_problem_lies_within_any_text(text in any::<String>()) {
        assert_places_are_in(&text);
    }

    #[test]
    fn every_problem_lies_within_a_damaged_file(cuts in prop::collection::vec((any::<prop::sample::Index>(), "\\PC{0,3}"), 1..4)) {
        let mut text: Vec<char> = SAMPLE.chars().collect();
        for (place, insertion) in cuts {
            let at = place.index(text.len());
            text.splice(at..=at, insertion.chars());
        }
        assert_places_are_in(&text.into_iter().collect::<String>());
    }
}

#[test]
fn a_document_of_nothing_is_readable() {
    let empty: Document = toml::from_str("").unwrap();
    assert!(empty.nodes.is_empty());
}
