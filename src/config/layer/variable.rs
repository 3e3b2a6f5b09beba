//! Settings in the environment.

use serde::Deserialize as _;
use serde_json::Value as Schema;
use toml::de::{DeTable, DeValue};

use super::{Misfit, PREFIX, example, schema_at, take_out_misfits};
use crate::config::error::{Origin, Problem};
use crate::config::schema::{self, schema};
use crate::config::written::Written;
use crate::domain::finding::nearest;

/// The environment variable of a setting.
pub(super) fn variable(keys: &[&str]) -> String {
    format!("{PREFIX}{}", keys.join("__").to_ascii_uppercase())
}

/// Reads one environment variable as a layer of its own.
pub(super) fn read_variable(variable: &str, value: &str) -> Result<Written, Problem> {
    let problem =
        |message: String, hint: String| Problem { message, hint, origin: Origin::Environment(variable.to_owned()) };
    let path: Vec<String> = variable[PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect();
    let place = match schema_at(&path) {
        Some(place) if place["properties"].is_object() => {
            let key = schema::keys(place).next().unwrap_or_default().to_ascii_uppercase();
            return Err(problem("this names a section".into(), format!("add the key, such as {variable}__{key}")));
        }
        Some(place) => place,
        None => return Err(problem("there is no such setting".into(), suggest_variable(&path))),
    };
    let literal = literal(value, place)
        .ok_or_else(|| problem(unreadable(value, place), format!("such as {}", example(place))))?;
    let document = format!("{} = {literal}", path.join("."));
    let mut found = Vec::new();
    let mut table = DeTable::parse(&document).map_err(|error| problem(error.message().into(), String::new()))?;
    take_out_misfits(table.get_mut(), schema(), &mut Vec::new(), &mut found);
    if let Some(misfit) = found.into_iter().next() {
        return Err(problem(misfit.message, misfit.hint));
    }
    Written::deserialize(toml::de::Deserializer::from(table)).map_err(|error| {
        let misfit = Misfit::from_error(&error, 0..0, Some(&path));
        problem(misfit.message, misfit.hint)
    })
}

/// The value of a variable as TOML: text needs no quotes, everything else is written as in the file.
fn literal(value: &str, place: &Schema) -> Option<String> {
    let is_text = !matches!(place["type"].as_str(), Some("boolean" | "integer" | "number" | "array" | "object"));
    if is_text {
        return Some(toml::Value::String(value.to_owned()).to_string());
    }
    DeValue::parse(value.trim()).is_ok().then(|| value.trim().to_owned())
}

/// Says which value cannot be read, except where it may hold a password.
fn unreadable(value: &str, place: &Schema) -> String {
    let shown = value.escape_debug();
    match place["type"].as_str() {
        Some("boolean") => format!("`{shown}` is neither true nor false"),
        Some("integer" | "number") => format!("`{shown}` is not a number"),
        _ => "this cannot be read as TOML".to_owned(),
    }
}

fn suggest_variable(path: &[String]) -> String {
    let tables = schema::tables(schema());
    let known = tables.iter().flat_map(|(section, table)| {
        let single = schema::keys(table).filter(|name| !table["properties"][name]["properties"].is_object());
        single.map(|name| section.iter().copied().chain([name]).collect::<Vec<_>>().join("__"))
    });
    let known: Vec<String> = known.collect();
    match nearest(&path.join("__"), known.iter().map(String::as_str)) {
        Some(name) => format!("did you mean {PREFIX}{}?", name.to_ascii_uppercase()),
        None => "`pkgwarden config schema` lists the settings".into(),
    }
}
