//! What pages read from the document of a run, which can be older than the program.

use serde_json::Value;

/// A list in a document; empty if there is none.
#[must_use]
pub fn items<'a>(document: &'a Value, key: &str) -> &'a [Value] {
    document[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A text in a document; empty if there is none.
#[must_use]
pub fn text(document: &Value, key: &str) -> String {
    document[key].as_str().unwrap_or_default().to_owned()
}

/// The first ten characters of an id in a document.
#[must_use]
pub fn short(document: &Value, key: &str) -> String {
    text(document, key).chars().take(10).collect()
}
