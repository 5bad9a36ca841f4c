//! YAML as kiln writes it: block style, one key a line, every string that could be read as something else in double quotes.
//!
//! What is written comes from a value, never from pasted text, so no value can break out of its place. kiln reads no YAML.

use serde::Serialize;
use serde_json::Value;

use crate::error::{Doing, Kind, Result};

/// Emits `value` as one YAML 1.2 document.
///
/// # Errors
///
/// [`Kind::Internal`] if the value has a map whose keys are not strings.
pub(crate) fn to_string(value: &impl Serialize) -> Result<String> {
    let value = serde_json::to_value(value).doing(Kind::Internal, || "emitting YAML".into())?;
    let mut out = String::new();
    match &value {
        Value::Object(_) | Value::Array(_) if !is_empty(&value) => block(&value, 0, &mut out),
        scalar => line(&inline(scalar), &mut out),
    }
    Ok(out)
}

/// Writes a non-empty map or list; the cursor stands where its first line begins.
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

/// The first line of a block stands already where it belongs.
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

/// JSON's empty containers, numbers and words are YAML's too.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// Plain when it can't be anything but a string, else quoted as in JSON, which YAML reads alike.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '/' | '.' | '-' | '_' | '+' | '=' | '@'))
        && !is_word(text);
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}

/// YAML 1.1's booleans, nulls and floats, and what YAML 1.2 left of them.
fn is_word(text: &str) -> bool {
    let words = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];
    words.iter().any(|word| text.eq_ignore_ascii_case(word))
}
