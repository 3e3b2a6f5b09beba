//! The JSON Schema of `pkgwarden.toml`, for editors, and for finding out what a key may be; those of `.ci/policy.toml`,
//! of `.CI/cache.toml` and of builds.
//!
//! The first is made from the doc comments and types of [`super::written`], and from `defaults.toml`.

use std::sync::LazyLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::written::Written;
use crate::domain::classify::Policy;
use crate::domain::job::Job;

/// What is in force where nobody says anything else.
pub(super) const DEFAULTS: &str = include_str!("defaults.toml");

static SCHEMA: LazyLock<Value> = LazyLock::new(generate);

/// The JSON Schema (draft 2020-12) of `pkgwarden.toml`.
#[must_use]
pub fn schema() -> &'static Value {
    &SCHEMA
}

/// The JSON Schema (draft 2020-12) of `.ci/policy.toml`.
#[must_use]
pub fn policy_schema() -> Value {
    let mut schema = schema_of::<Policy>();
    schema["title"] = super::policy::PATH.into();
    schema
}

/// The JSON Schema (draft 2020-12) of `.CI/cache.toml`.
#[must_use]
pub fn cache_schema() -> Value {
    let mut schema = schema_of::<super::cache::Written>();
    schema["title"] = crate::domain::cache::PATH.into();
    schema
}

/// The JSON Schema (draft 2020-12) of a build, as programs and workers are told of it.
#[must_use]
pub fn build_schema() -> Value {
    let mut schema = schema_of::<Job>();
    schema["title"] = "build".into();
    schema
}

fn generate() -> Value {
    let mut schema = schema_of::<Written>();
    let defaults: Value = toml::from_str(DEFAULTS).expect("defaults.toml is TOML");
    give_defaults(&mut schema, &defaults);
    schema["title"] = "pkgwarden.toml".into();
    schema
}

fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    schema
}

/// Takes out what follows from keys being `Option`s here: TOML has no null.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(object) => {
            object.retain(|key, _| key != "default");
            if let Some(Value::Array(types)) = object.get_mut("type") {
                types.retain(|kind| kind != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    object.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(mut choices)) = object.remove("anyOf") {
                choices.retain(|choice| choice["type"] != "null");
                match choices.as_mut_slice() {
                    [Value::Object(only)] => only.iter().for_each(|(key, value)| {
                        // What is said about the key itself is better than what is said about its type.
                        object.entry(key).or_insert_with(|| value.clone());
                    }),
                    _ => drop(object.insert("anyOf".into(), choices.into())),
                }
            }
            object.values_mut().for_each(tidy);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn give_defaults(schema: &mut Value, defaults: &Value) {
    let Some(defaults) = defaults.as_object() else { return };
    for (key, default) in defaults {
        let place = &mut schema["properties"][key];
        if place["properties"].is_object() {
            give_defaults(place, default);
        } else {
            place["default"] = default.clone();
        }
    }
}

/// The schema of a key in a table.
pub(super) fn key<'s>(table: &'s Value, key: &str) -> Option<&'s Value> {
    table.get("properties")?.get(key)
}

/// The keys of a table.
pub(super) fn keys(table: &Value) -> impl Iterator<Item = &str> {
    table.get("properties").and_then(Value::as_object).into_iter().flat_map(|keys| keys.keys().map(String::as_str))
}

/// The words a value may be, if only certain ones are allowed.
pub(super) fn choices(schema: &Value) -> Vec<&str> {
    let words = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    let described = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
    words.chain(described.filter_map(|choice| choice.get("const"))).filter_map(Value::as_str).collect()
}

/// Every table of the schema with the keys that lead to it, the outermost first.
pub(super) fn tables(schema: &Value) -> Vec<(Vec<&str>, &Value)> {
    let mut tables = vec![(Vec::new(), schema)];
    let mut next = 0;
    while let Some((path, table)) = tables.get(next).cloned() {
        for name in keys(table) {
            let inner = &table["properties"][name];
            if inner["properties"].is_object() {
                tables.push((path.iter().copied().chain([name]).collect(), inner));
            }
        }
        next += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undescribed(schema: &Value, path: &str, found: &mut Vec<String>) {
        for name in keys(schema) {
            let inner = key(schema, name).expect("listed");
            let path = format!("{path}.{name}");
            if inner["description"].as_str().unwrap_or_default().is_empty() {
                found.push(path.clone());
            }
            undescribed(inner, &path, found);
            undescribed(&inner["items"], &path, found);
        }
    }

    #[test]
    fn every_key_is_described() {
        let mut found = Vec::new();
        undescribed(schema(), "", &mut found);
        undescribed(&policy_schema(), "policy", &mut found);
        undescribed(&build_schema(), "build", &mut found);
        undescribed(&cache_schema(), "cache", &mut found);
        assert_eq!(found, [""; 0]);
    }

    #[test]
    fn a_setting_is_described_with_type_and_default() {
        insta::assert_json_snapshot!(schema()["properties"]["server"]["properties"]["poll"], @r#"
        {
          "default": "1m",
          "description": "How often the remote is looked at, webhooks or not.",
          "examples": [
            "1m"
          ],
          "type": "string"
        }
        "#);
        insta::assert_json_snapshot!(schema()["properties"]["executor"]["properties"]["slots"], @r#"
        {
          "description": "Builds at once. Without it: one; with `bullmq`, as many as builders have places for.",
          "examples": [
            1
          ],
          "format": "uint",
          "maximum": 256,
          "minimum": 1,
          "type": "integer"
        }
        "#);
    }

    #[test]
    fn the_schema_knows_no_null() {
        assert!(!schema().to_string().contains("null"), "{:#}", schema());
        assert!(!policy_schema().to_string().contains("null"), "{:#}", policy_schema());
    }

    #[test]
    fn words_to_choose_from_are_listed() {
        let forge = key(key(schema(), "forge").expect("there"), "kind").expect("there");
        assert_eq!(choices(forge), ["local", "github", "gitlab", "gitea"]);
    }
}
