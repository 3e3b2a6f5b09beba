//! Checks that a JSON document has the fields it promises: named here, each with what it may be.

use serde_json::Value;

/// What a value has to be.
#[derive(Clone, Copy)]
pub enum Shape {
    Text,
    TextOrNull,
    Number,
    NumberOrNull,
    Flag,
    /// One of these words.
    Word(&'static [&'static str]),
    /// One of these words, or null.
    WordOrNull(&'static [&'static str]),
    /// A git object id.
    Id,
    IdOrNull,
    /// RFC 3339.
    Time,
    ListOf(&'static Self),
    /// An object with at least these fields.
    Object(&'static [(&'static str, Self)]),
}

/// Panics with the path of what is wrong.
pub fn check(value: &Value, shape: Shape) {
    check_at("$", value, shape);
}

fn check_at(path: &str, value: &Value, shape: Shape) {
    let right = match shape {
        Shape::Text => value.is_string(),
        Shape::TextOrNull => value.is_string() || value.is_null(),
        Shape::Number => value.is_number(),
        Shape::NumberOrNull => value.is_number() || value.is_null(),
        Shape::Flag => value.is_boolean(),
        Shape::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
        Shape::WordOrNull(words) => value.is_null() || value.as_str().is_some_and(|word| words.contains(&word)),
        Shape::Id => is_id(value),
        Shape::IdOrNull => value.is_null() || is_id(value),
        Shape::Time => value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok()),
        Shape::ListOf(inner) => {
            let items = value.as_array().unwrap_or_else(|| panic!("{path} is no list: {value}"));
            items.iter().enumerate().for_each(|(index, item)| check_at(&format!("{path}[{index}]"), item, *inner));
            true
        }
        Shape::Object(fields) => {
            let object = value.as_object().unwrap_or_else(|| panic!("{path} is no object: {value}"));
            for (name, inner) in fields {
                let field = object.get(*name).unwrap_or_else(|| panic!("{path} has no field `{name}`: {value}"));
                check_at(&format!("{path}.{name}"), field, *inner);
            }
            true
        }
    };
    assert!(right, "{path} is {value}");
}

fn is_id(value: &Value) -> bool {
    value.as_str().is_some_and(|id| id.len() == 40 && id.chars().all(|c| c.is_ascii_hexdigit()))
}
