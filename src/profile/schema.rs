//! JSON Schema of the files that users write, generated from the types that the files are read into.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value};

use crate::profile::document::Document;
use crate::profile::format;

/// Returns the cluster file schema for editors: draft 2020-12, with patterns in place of the checker's
/// formats.
pub(crate) fn cluster_file() -> Value {
    let mut schema = checked::<Document>();
    add_patterns(&mut schema);
    let root = schema.as_object_mut().expect("the schema of a struct is an object");
    root.insert("title".into(), "kiln cluster file".into());
    schema
}

/// Returns the schema that [`super::check`] validates a file against: without references, and without `null`,
/// which TOML does not have.
pub(super) fn checked<T: JsonSchema>() -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true).for_deserialize();
    let mut schema = Schema::to_value(settings.into_generator().into_root_schema_for::<T>());
    simplify(&mut schema);
    schema
}

/// Removes everything that the derive adds for `Option` and `default`, integer widths, and the line breaks of
/// doc comments.
fn simplify(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    object.remove("default");
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = text.replace('\n', " ");
    }
    unwrap_nullable(object);
    if let Some(Value::Array(types)) = object.get("type")
        && let Some(only) = types.iter().find(|name| *name != "null").cloned()
    {
        object.insert("type".into(), only);
    }
    if let Some(Value::Array(words)) = object.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if object.get("type").is_some_and(|name| name == "integer") {
        object.remove("format");
    }
    for key in ["properties", "items", "additionalProperties"] {
        match object.get_mut(key) {
            Some(Value::Object(properties)) if key == "properties" => {
                properties.values_mut().for_each(simplify);
            }
            Some(below) => simplify(below),
            None => {}
        }
    }
}

/// Replaces `anyOf: [X, null]` with `X`; the outer description takes precedence over the inner one.
fn unwrap_nullable(object: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = object.remove("anyOf") else { return };
    let meant = choices.into_iter().find(|choice| choice.get("type").is_none_or(|name| name != "null"));
    if let Some(Value::Object(meant)) = meant {
        for (key, value) in meant {
            object.entry(key).or_insert(value);
        }
    }
}

fn add_patterns(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            if let Some(format) = object.get("format").and_then(Value::as_str).and_then(format::find) {
                object.remove("format");
                object.insert("pattern".into(), format.pattern.into());
                object.entry("examples").or_insert_with(|| vec![format.example].into());
            }
            object.values_mut().for_each(add_patterns);
        }
        Value::Array(items) => items.iter_mut().for_each(add_patterns),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{checked, cluster_file};
    use crate::profile::document::Document;
    use crate::profile::format;

    /// Calls `look` with the path and the schema of each setting.
    fn visit(schema: &Value, path: &str, look: &mut impl FnMut(&str, &Value)) {
        look(path, schema);
        for (key, below) in schema["properties"].as_object().into_iter().flatten() {
            visit(below, &format!("{path}.{key}"), look);
        }
        for key in ["items", "additionalProperties"] {
            if schema[key].is_object() {
                visit(&schema[key], &format!("{path}[]"), look);
            }
        }
    }

    #[test]
    fn every_setting_is_described_and_every_text_has_a_known_format() {
        visit(&checked::<Document>(), "", &mut |path, schema| {
            let words = schema.get("enum").or(schema.get("oneOf")).is_some();
            if schema["type"] == "string" && !words && path != ".profile" {
                let name = schema["format"].as_str().unwrap_or_default();
                assert!(
                    format::find(name).is_some(),
                    "`{path}` has no format that the checker knows: {schema}"
                );
            }
            let role = ["control-plane", "etcd", "lb", "worker"]
                .iter()
                .any(|role| path == format!(".overlays.{role}"));
            assert!(
                path.ends_with(']') || role || schema["description"].is_string(),
                "`{path}` has no description"
            );
        });
    }

    #[test]
    fn every_table_refuses_unknown_keys() {
        visit(&checked::<Document>(), "", &mut |path, schema| {
            if schema["type"] == "object" {
                assert!(schema.get("additionalProperties").is_some(), "`{path}` accepts any key");
            }
        });
    }

    #[test]
    fn nothing_is_nullable_and_nothing_is_a_reference() {
        let text = cluster_file().to_string();
        assert!(!text.contains("null") && !text.contains("$ref"), "{text}");
    }
}
