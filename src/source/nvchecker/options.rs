//! Values of one table of a `nvchecker.toml`, by name and type.

use toml::{Table, Value};

/// The options of one entry.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a>(&'a Table);

impl<'a> Options<'a> {
    /// Those of this table.
    #[must_use]
    pub const fn new(table: &'a Table) -> Self {
        Self(table)
    }

    /// A text; `None` if it is not given.
    ///
    /// # Errors
    /// If it is something else.
    pub fn text(self, key: &str) -> Result<Option<&'a str>, String> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong(key, "a text in quotes", other)),
        }
    }

    /// A text that has to be there.
    ///
    /// # Errors
    /// If it is missing, or something else.
    pub fn needed(self, key: &str) -> Result<&'a str, String> {
        self.text(key)?.filter(|text| !text.is_empty()).ok_or_else(|| format!("`{key}` is missing"))
    }

    /// A switch; off if it is not given. As many write it in quotes or as a number, which nvchecker takes too.
    ///
    /// # Errors
    /// If it is something else.
    pub fn flag(self, key: &str) -> Result<bool, String> {
        match self.0.get(key) {
            None => Ok(false),
            Some(Value::Boolean(on)) => Ok(*on),
            Some(Value::Integer(number @ (0 | 1))) => Ok(*number == 1),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
            Some(other) => Err(wrong(key, "true or false", other)),
        }
    }

    /// A text, or a number as a text.
    ///
    /// # Errors
    /// If it is something else.
    pub fn text_or_number(self, key: &str) -> Result<Option<String>, String> {
        match self.0.get(key) {
            Some(Value::Integer(number)) => Ok(Some(number.to_string())),
            Some(Value::Float(number)) => Ok(Some(format!("{number:?}"))),
            _ => Ok(self.text(key)?.map(str::to_owned)),
        }
    }

    /// Texts.
    ///
    /// # Errors
    /// If it is something else.
    pub fn texts(self, key: &str) -> Result<Option<Vec<&'a str>>, String> {
        let Some(value) = self.0.get(key) else { return Ok(None) };
        let texts = value.as_array().and_then(|values| values.iter().map(Value::as_str).collect::<Option<_>>());
        texts.map(Some).ok_or_else(|| wrong(key, "a list of texts", value))
    }
}

fn wrong(key: &str, expected: &str, found: &Value) -> String {
    let shown: String = found.to_string().chars().take(40).collect();
    format!("`{key}` is {}, but has to be {expected}", shown.escape_debug())
}
