//! YAML emitter: block style, one key per line; strings that could be read as another type are double-quoted.
//!
//! Output is generated from a value, never pasted together from text, so no value can escape its position.
//! This module does not read YAML.

use serde::Serialize;
use serde_json::Value;

use crate::error::{Doing, Kind, Result};

/// Emits `value` as one YAML 1.2 document.
///
/// # Errors
///
/// [`Kind::Internal`] if the value contains a map whose keys are not strings.
pub(crate) fn to_string(value: &impl Serialize) -> Result<String> {
    let value = serde_json::to_value(value).doing(Kind::Internal, || "emitting YAML".into())?;
    let mut out = String::new();
    match &value {
        Value::Object(_) | Value::Array(_) if !is_empty(&value) => block(&value, 0, &mut out),
        scalar => line(&inline(scalar), &mut out),
    }
    Ok(out)
}

/// Writes a non-empty map or list; the cursor is already where its first line begins.
fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) => {
            for (index, (key, value)) in map.iter().enumerate() {
                pad(index, indent, out);
                out.push_str(&scalar(key));
                out.push(':');
                entry(value, indent, out);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pad(index, indent, out);
                out.push('-');
                if is_empty(item) || !(item.is_object() || item.is_array()) {
                    out.push(' ');
                    line(&inline(item), out);
                } else {
                    out.push(' ');
                    block(item, indent + 2, out);
                }
            }
        }
        _ => line(&inline(value), out),
    }
}

fn entry(value: &Value, indent: usize, out: &mut String) {
    let deeper = match value {
        Value::Object(map) if !map.is_empty() => indent + 2,
        Value::Array(items) if !items.is_empty() => indent,
        _ => {
            out.push(' ');
            return line(&inline(value), out);
        }
    };
    out.push('\n');
    out.push_str(&" ".repeat(deeper));
    block(value, deeper, out);
}

/// Indents every line of a block except the first, which is already in place.
fn pad(index: usize, indent: usize, out: &mut String) {
    if index > 0 {
        out.push_str(&" ".repeat(indent));
    }
}

fn line(text: &str, out: &mut String) {
    out.push_str(text);
    out.push('\n');
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    }
}

/// Formats strings, and empty containers, numbers, booleans and null, which YAML writes like JSON.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// Formats a string: plain if it can only be read as a string, otherwise quoted as in JSON, which YAML reads
/// the same way.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text.chars().all(|letter| {
            letter.is_ascii_alphanumeric() || matches!(letter, '/' | '.' | '-' | '_' | '+' | '=' | '@')
        })
        && !is_word(text);
    if plain { text.to_owned() } else { Value::from(text).to_string().chars().map(escape).collect() }
}

/// Escapes characters that JSON leaves unescaped but YAML folds or rejects: C1 controls, line separators, the
/// byte order mark.
fn escape(letter: char) -> String {
    match letter {
        '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
            format!("\\u{:04x}", u32::from(letter))
        }
        other => other.to_string(),
    }
}

/// Checks for booleans, nulls and floats in the notations of YAML 1.1, which include the notations of YAML
/// 1.2.
fn is_word(text: &str) -> bool {
    let words = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Strategy, any, prop, prop_oneof};
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    use serde_json::{Value, json};

    use crate::host::process;
    use crate::judge::judge;

    #[test]
    fn values_are_emitted_in_block_style_and_quoted_where_they_could_be_misread() {
        let value = json!({
            "a": {"list": [1, "two", {"k": "v", "l": [true]}, [], ["x", "y"]], "none": null},
            "b": ["no", "1.30", "1e3", "with space", "line\nbreak", "", "é: #", "kube-proxy", "~", "0o17", "-", "a:b", ".5", "e"],
            "c d": {},
        });
        insta::assert_snapshot!(super::to_string(&value).unwrap(), @r#"
        a:
          list:
          - 1
          - two
          - k: v
            l:
            - true
          - []
          - - x
            - "y"
          none: null
        b:
        - "no"
        - "1.30"
        - "1e3"
        - "with space"
        - "line\nbreak"
        - ""
        - "é: #"
        - kube-proxy
        - "~"
        - "0o17"
        - "-"
        - "a:b"
        - ".5"
        - e
        "c d": {}
        "#);
    }

    /// Prints the YAML on standard input as JSON.
    const PYTHON: &str =
        "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin.buffer.read()), sys.stdout)";

    fn any_value() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            ".{0,12}",
            "[a-z0-9:#\\-~{}\\[\\]&*!|>'\"%@` \n\t]{0,8}",
            "(yes|No|1e[0-9]|0x1f|1_0|1:30|=|<<|2026-11-21|~|null)"
        ];
        let scalar = prop_oneof![
            text.clone().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from)
        ];
        scalar.prop_recursive(4, 24, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(text.clone(), inner, 0..5)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    #[test]
    fn python_reads_back_every_value() {
        let Some(mut python) = judge("python3") else { return };
        let mut runner = TestRunner::deterministic();
        let values = (0..2000).map(|_| any_value().new_tree(&mut runner).unwrap().current());
        let values: Vec<Value> = values.collect();
        let text = super::to_string(&values).unwrap();
        let output = process::run_with_input(python.args(["-c", PYTHON]), text.as_bytes()).unwrap();
        let read: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        for (value, read) in values.iter().zip(&read) {
            assert_eq!(value, read, "{}", super::to_string(value).unwrap());
        }
        assert_eq!(values.len(), read.len());
    }
}
