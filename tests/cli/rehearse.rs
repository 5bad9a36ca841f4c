//! `kiln lab rehearse` refuses unknown arguments before any machine boots.

use super::kiln;

#[test]
fn an_unknown_case_is_answered_with_the_names_there_are() {
    let seen = kiln(&["lab", "rehearse", "out/ha", "--case", "fire"]);
    assert!(seen.starts_with("exit code: 2\n"), "{seen}");
    assert!(
        seen.contains("no case named `fire`")
            && seen.contains("available cases: api-server-killed, api-server-restarted, "),
        "{seen}"
    );
}

#[test]
fn a_report_is_html_json_or_markdown() {
    insta::assert_snapshot!(kiln(&["lab", "rehearse", "out/ha", "--report", "rehearsal.pdf"]), @r"
    exit code: 2
    --- stdout
    --- stderr
    error: unknown report format: `rehearsal.pdf`

    hint: use one of the extensions html, json, md
    ");
}
