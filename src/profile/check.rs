//! Validation of a table against a schema: every unknown key, wrong type, unknown value and malformed string
//! is reported with its position.
//!
//! Invalid parts are reported and removed, so that reading the rest can't fail.

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::Report;
use crate::profile::{Places, closest, format};

/// Checks `table` and returns its valid parts.
pub(super) fn check<'text>(
    schema: &Value,
    table: DeTable<'text>,
    text: &str,
    places: &mut Places,
    report: &mut Report,
) -> DeTable<'text> {
    let mut checker = Checker { text, places, report };
    checker.table(schema, table, "")
}

struct Checker<'a> {
    text: &'a str,
    places: &'a mut Places,
    report: &'a mut Report,
}

impl Checker<'_> {
    fn table<'text>(&mut self, schema: &Value, table: DeTable<'text>, path: &str) -> DeTable<'text> {
        let mut sound = DeTable::new();
        for (key, value) in table {
            let at =
                if path.is_empty() { key.get_ref().to_string() } else { format!("{path}.{}", key.get_ref()) };
            let below = schema["properties"]
                .get(key.get_ref().as_ref())
                .or(schema.get("additionalProperties").filter(|any| any.is_object()));
            if let Some((message, hint)) = text_problem(&schema["propertyNames"], key.get_ref()) {
                self.places.set_broken(&at);
                self.report.error(at, Some(key.span()), message).hint = hint;
                continue;
            }
            match below {
                Some(below) => {
                    self.places.insert(&at, value.span());
                    if let Some(value) = self.value(below, value, &at, key.get_ref()) {
                        sound.insert(key, value);
                    }
                }
                None => self.unknown(schema, &key, path, &at),
            }
        }
        sound
    }

    /// Returns the value if it is valid; a table or a list of tables is always valid once its invalid parts
    /// are removed.
    fn value<'text>(
        &mut self,
        schema: &Value,
        value: Spanned<DeValue<'text>>,
        at: &str,
        key: &str,
    ) -> Option<Spanned<DeValue<'text>>> {
        let span = value.span();
        match (value.into_inner(), schema["type"].as_str().unwrap_or("string")) {
            (DeValue::Table(table), "object") => {
                Some(Spanned::new(span, DeValue::Table(self.table(schema, table, at))))
            }
            (DeValue::Array(items), "array") => {
                let mut sound = toml::de::DeArray::new();
                let mut whole = true;
                for (index, item) in items.into_iter().enumerate() {
                    let at = format!("{at}[{index}]");
                    self.places.insert(&at, item.span());
                    match self.value(&schema["items"], item, &at, key) {
                        Some(item) => sound.push(item),
                        None => whole = false,
                    }
                }
                if !whole {
                    self.places.set_broken(at);
                }
                whole.then(|| Spanned::new(span, DeValue::Array(sound)))
            }
            (value, expected) => {
                let problem = self.scalar_problem(schema, &value, expected, &span, key);
                let Some((message, hint)) = problem else { return Some(Spanned::new(span, value)) };
                self.places.set_broken(at);
                let problem = self.report.error(at, Some(span), message);
                problem.hint = hint;
                None
            }
        }
    }

    /// Returns the problem with a scalar or with a value of the wrong type, and a correction.
    fn scalar_problem(
        &self,
        schema: &Value,
        value: &DeValue<'_>,
        expected: &str,
        span: &std::ops::Range<usize>,
        key: &str,
    ) -> Option<(String, Option<String>)> {
        match (value, expected) {
            (DeValue::String(text), "string") => text_problem(schema, text),
            (DeValue::Boolean(_), "boolean") => None,
            (DeValue::Integer(number), "integer") => number_problem(
                schema,
                &number.to_string(),
                i64::from_str_radix(number.as_str(), number.radix()).ok(),
            ),
            _ => {
                let raw = self.text.get(span.clone()).unwrap_or_default();
                let message = format!("`{key}` is {}, but must be {}", found(value), wanted(expected));
                Some((message, correction(value, expected, key, raw)))
            }
        }
    }

    fn unknown(&mut self, schema: &Value, key: &Spanned<std::borrow::Cow<'_, str>>, path: &str, at: &str) {
        let known: Vec<&str> =
            schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        let place = if path.is_empty() { "this file".to_owned() } else { format!("`{path}`") };
        let hint = match closest(key.get_ref(), known.iter().copied()) {
            Some(word) => {
                // A misspelt setting is not also reported as missing.
                self.places.set_broken(&if path.is_empty() {
                    word.to_owned()
                } else {
                    format!("{path}.{word}")
                });
                format!("did you mean `{word}`?")
            }
            None => format!("available settings: {}", known.join(", ")),
        };
        self.places.set_broken(at);
        self.report
            .error(at, Some(key.span()), format!("unknown setting `{}` in {place}", key.get_ref()))
            .hint(hint);
    }
}

fn text_problem(schema: &Value, text: &str) -> Option<(String, Option<String>)> {
    let words = words(schema);
    if !words.is_empty() && !words.contains(&text) {
        let hint = match closest(text, words.iter().copied()) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("choose one of: {}", words.join(", ")),
        };
        return Some((
            format!("`{}` is not a valid value for this setting", text.escape_debug()),
            Some(hint),
        ));
    }
    let format = schema["format"].as_str().and_then(format::find)?;
    let wrong = !(format.accepts)(text);
    wrong.then(|| {
        (
            format!("`{}` is not {}", text.escape_debug(), format.what),
            Some(format!("use a value such as `\"{}\"`", format.example)),
        )
    })
}

fn number_problem(schema: &Value, text: &str, number: Option<i64>) -> Option<(String, Option<String>)> {
    let limit = |key: &str, default| schema[key].as_i64().unwrap_or(default);
    let (least, most) = (limit("minimum", 0), limit("maximum", i64::MAX));
    let inside = number.is_some_and(|number| (least..=most).contains(&number));
    (!inside)
        .then(|| (format!("`{text}` is out of range"), Some(format!("use a number from {least} to {most}"))))
}

/// Returns the values of an enumeration: from `enum` if the variants have no descriptions, from `oneOf` if
/// they do.
fn words(schema: &Value) -> Vec<&str> {
    let listed = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let described = schema["oneOf"].as_array().into_iter().flatten().filter_map(|one| one["const"].as_str());
    listed.chain(described).collect()
}

fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn wanted(expected: &str) -> &'static str {
    match expected {
        "string" => "a string in quotes",
        "integer" => "a whole number",
        "boolean" => "`true` or `false`",
        "array" => "a list",
        _ => "a table",
    }
}

/// Returns the same value with the right type, if kiln can guess it.
fn correction(value: &DeValue<'_>, expected: &str, key: &str, raw: &str) -> Option<String> {
    let right = match (value, expected) {
        (DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_), "string") => format!("\"{raw}\""),
        (DeValue::String(text), "integer") if text.parse::<i64>().is_ok() => text.to_string(),
        (DeValue::String(text), "boolean") if ["true", "false"].contains(&text.as_ref()) => text.to_string(),
        (DeValue::String(_), "array") => format!("[{raw}]"),
        (DeValue::Table(_), "array") => {
            return Some(format!("write the table's name in double brackets: `[[{key}]]`"));
        }
        _ => return None,
    };
    Some(format!("write `{key} = {right}`"))
}
