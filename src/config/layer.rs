//! Reads the layers of the configuration (defaults, file, environment), and finds everything in them
//! that is wrong.
//!
//! What depends on more than one key is not looked at here, but in [`super::settings`].

mod variable;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use miette::NamedSource;
use serde::Deserialize;
use serde_json::Value as Schema;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{Origin, Problem, without_passwords};
use super::job::Job;
use super::schema::{self, schema};
use super::written::{Layer, Written, WrittenForge};
use crate::domain::finding::nearest;
use variable::{read_variable, variable};

/// What every variable of ours begins with. The rest names sections and key, with `__` between them.
const PREFIX: &str = "PKGWARDEN__";

/// After this many problems in one file, the others wait.
const MOST_PROBLEMS: usize = 20;

/// The layers laid over each other, and where each setting came from.
pub(super) struct Layers<'a> {
    pub written: Written,
    document: Option<Document<'a>>,
    env: &'a BTreeMap<String, String>,
    /// The job of a CI service, and what of the settings of the forge follows from it.
    job: Option<(Job, WrittenForge)>,
}

/// A parsed file.
struct Document<'a> {
    source: Arc<NamedSource<String>>,
    /// What is right in it.
    table: Spanned<DeTable<'a>>,
    /// All that is written in it.
    whole: Spanned<DeTable<'a>>,
}

/// Reads every layer, and tells everything that is wrong in any of them. What is wrong is left out.
pub(super) fn read<'a>(file: Option<(&str, &'a str)>, env: &'a BTreeMap<String, String>) -> (Layers<'a>, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut written = Written::default();
    let mut document = None;
    if let Some((path, text)) = file {
        let (read, layer) = read_document(path, text, &mut problems);
        written = layer.over(written);
        document = Some(read);
    }
    for (variable, value) in env.range(PREFIX.to_owned()..).take_while(|(name, _)| name.starts_with(PREFIX)) {
        match read_variable(variable, value) {
            Ok(layer) => written = layer.over(written),
            Err(problem) => problems.push(problem),
        }
    }
    // It is about one repository: that of the job.
    let job = Job::detect(env).filter(|_| written.repository.as_ref().is_none_or(Vec::is_empty));
    let job = job.map(|job| (job.settings(&written.forge), job)).map(|(forge, job)| (job, forge));
    let from_job =
        Written { forge: job.as_ref().map(|(_, forge)| forge.clone()).unwrap_or_default(), ..Written::default() };
    written = written.over(from_job).over(defaults(env));
    (Layers { written, document, env, job }, problems)
}

impl Layers<'_> {
    /// A problem with a setting: at its place in the file, or with its environment variable. For one of
    /// several repositories, the place is in that repository's table if it overrides the setting.
    pub fn problem(&self, repository: Option<usize>, keys: &[&str], message: String, hint: &str) -> Problem {
        let mut candidates = vec![variable(keys), variable(&keys[..1])];
        candidates.extend(repository.map(|_| variable(&["repository"])));
        let origin = match candidates.into_iter().find(|name| self.env.contains_key(name)) {
            Some(variable) => Origin::Environment(variable),
            None => self.place(repository, keys),
        };
        Problem { message, hint: hint.to_owned(), origin }
    }

    /// Whether a setting is given, be it right or wrong: for all repositories, or for that one.
    pub fn gives(&self, repository: Option<usize>, keys: &[&str]) -> bool {
        let in_file = |keys: &[&str]| {
            self.document.as_ref().is_some_and(|document| exact(document.whole.get_ref(), keys).is_some())
        };
        let index = repository.map(|index| index.to_string());
        let own = index.as_deref().map(|index| [&["repository", index], keys].concat());
        self.env.contains_key(&variable(keys)) || in_file(keys) || own.is_some_and(|keys| in_file(&keys))
    }

    fn place(&self, repository: Option<usize>, keys: &[&str]) -> Origin {
        let document = self.document.as_ref().expect("what the environment does not say, the file says");
        let index = repository.map(|index| index.to_string());
        let own = index.iter().flat_map(|index| ["repository", index.as_str()]).chain(keys.iter().copied());
        let span = deepest(document.table.get_ref(), own.collect::<Vec<_>>().as_slice())
            .or_else(|| deepest(document.table.get_ref(), keys))
            .unwrap_or(0..0);
        Origin::File { source: document.source.clone(), span }
    }
}

impl Layers<'_> {
    /// Every setting in force, and where it came from.
    pub fn origins(&self) -> Vec<(String, Schema, String)> {
        let table = serde_json::to_value(&self.written).expect("settings are a table");
        let mut settings = Vec::new();
        leaves(&table, &mut Vec::new(), &mut settings);
        let told = |(path, value): (Vec<String>, Schema)| {
            let keys: Vec<&str> = path.iter().map(String::as_str).collect();
            (path.join("."), value, self.origin(&keys))
        };
        settings.into_iter().map(told).collect()
    }

    fn origin(&self, keys: &[&str]) -> String {
        let variable = variable(keys);
        if self.env.contains_key(&variable) {
            return variable;
        }
        if let Some(document) = &self.document
            && let Some(span) = exact(document.table.get_ref(), keys)
        {
            let line = 1 + document.source.inner()[..span.start].matches('\n').count();
            return format!("{}:{line}", document.source.name());
        }
        let from_job = self.job.as_ref().filter(|(_, forge)| keys[0] == "forge" && forge.kind.is_some());
        match from_job.and_then(|(job, _)| Some((job.service, job.variable(keys[1])?))) {
            Some((service, variable)) => format!("{}: {variable}", service.name()),
            None => "default".to_owned(),
        }
    }
}

/// What stands in tables, with the keys that lead there.
fn leaves(table: &Schema, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, Schema)>) {
    for (key, value) in table.as_object().into_iter().flatten() {
        path.push(key.clone());
        if value.is_object() {
            leaves(value, path, found);
        } else {
            found.push((path.clone(), value.clone()));
        }
        path.pop();
    }
}

/// The span of what exactly these keys lead to; a number counts the elements of an array.
fn exact(table: &DeTable<'_>, keys: &[&str]) -> Option<Range<usize>> {
    let (first, rest) = keys.split_first()?;
    match (table.get(*first)?.get_ref(), rest) {
        (_, []) => table.get(*first).map(Spanned::span),
        (DeValue::Table(inner), rest) => exact(inner, rest),
        (DeValue::Array(items), [index, rest @ ..]) => match items.get(index.parse::<usize>().ok()?)?.get_ref() {
            DeValue::Table(inner) => exact(inner, rest),
            _ => None,
        },
        _ => None,
    }
}

/// The bottom layer. Only the place for data depends on the machine.
fn defaults(env: &BTreeMap<String, String>) -> Written {
    let mut written: Written = toml::from_str(schema::DEFAULTS).expect("defaults.toml is a configuration");
    let given = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own_folder = |base: PathBuf| base.join("pkgwarden");
    written.server.data_dir = given("STATE_DIRECTORY")
        .or_else(|| given("XDG_STATE_HOME").map(own_folder))
        .or_else(|| given("HOME").map(|home| own_folder(home.join(".local/state"))))
        .or_else(|| Some("/var/lib/pkgwarden".into()));
    written
}

fn read_document<'a>(path: &str, text: &'a str, problems: &mut Vec<Problem>) -> (Document<'a>, Written) {
    let source = Arc::new(NamedSource::new(path, without_passwords(text)));
    let at = |span: Range<usize>| Origin::File { source: source.clone(), span };
    let (mut table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: toml::de::Error| Problem {
            message: error.message().to_owned(),
            hint: "this is not TOML: see https://toml.io".into(),
            origin: at(error.span().unwrap_or(0..0)),
        };
        problems.extend(errors.into_iter().take(MOST_PROBLEMS).map(problem));
        return (Document { source, whole: table.clone(), table }, Written::default());
    }
    let (whole, mut found) = (table.clone(), Vec::new());
    take_out_misfits(table.get_mut(), schema(), &mut Vec::new(), &mut found);
    let written = take_out_errors(&mut table, &mut found);
    found.sort_by_key(|misfit| misfit.span.start);
    let problem = |misfit: Misfit| Problem { message: misfit.message, hint: misfit.hint, origin: at(misfit.span) };
    problems.extend(found.into_iter().take(MOST_PROBLEMS).map(problem));
    // Without what was taken out, so that its lists are as long as those that were read.
    (Document { source, table, whole }, written)
}

/// Reads what can be read: a value that is wrong is remembered and taken out, until nothing is wrong.
fn take_out_errors(table: &mut Spanned<DeTable<'_>>, found: &mut Vec<Misfit>) -> Written {
    let mut taken_out = BTreeSet::new();
    while found.len() < MOST_PROBLEMS {
        let error = match Written::deserialize(toml::de::Deserializer::from(table.clone())) {
            Ok(written) => return written,
            Err(error) => error,
        };
        let span = error.span().unwrap_or(0..0);
        let path = take_out_at(table.get_mut(), &span);
        let misfit = Misfit::from_error(&error, span, path.as_deref());
        let own_doing = taken_out.iter().any(|name| misfit.message == format!("missing field `{name}`"));
        if !own_doing {
            found.push(misfit);
        }
        match path {
            Some(path) => taken_out.extend(path.into_iter().next_back()),
            None => break,
        }
    }
    Written::default()
}

/// Something in a document that does not fit the schema.
struct Misfit {
    message: String,
    hint: String,
    span: Range<usize>,
}

impl Misfit {
    fn unknown_key(key: &Spanned<std::borrow::Cow<'_, str>>, path: &[String], table: &Schema) -> Self {
        let place = if path.is_empty() { "at the top".to_owned() } else { format!("in [{}]", path.join(".")) };
        let shown = key.get_ref().escape_debug();
        Self {
            message: format!("there is no setting `{shown}` {place}"),
            hint: suggest_key(key.get_ref(), table),
            span: key.span(),
        }
    }

    fn from_error(error: &toml::de::Error, span: Range<usize>, path: Option<&[String]>) -> Self {
        let message = in_words(error.message());
        let written = message.split('`').nth(1).unwrap_or_default();
        let place = path.and_then(schema_at);
        let hint = if message.starts_with("missing field") {
            let missing = place.and_then(|place| schema::key(&place["items"], written));
            missing.map(|missing| format!("add {written} = {}", example(missing)))
        } else if message.starts_with("invalid type") || message.starts_with(NO_WORD) {
            place.map(|place| format!("such as {}", example(place)))
        } else {
            let choices = place.map(schema::choices).unwrap_or_default();
            nearest(written, choices).map(|choice| format!("did you mean \"{choice}\"?"))
        };
        Self { hint: hint.unwrap_or_default(), message, span }
    }
}

/// What is said where one of several words is to stand and does not.
const NO_WORD: &str = "this has to be text";

/// What serde says, without the names of types of this program.
fn in_words(message: &str) -> String {
    if message == "wanted string or table" {
        return format!("{NO_WORD}, in quotes");
    }
    let Some((found, expected)) = message.split_once(", expected ") else { return message.to_owned() };
    let expected = match expected {
        "usize" | "u64" | "u32" | "u16" | "u8" => "a whole number from 0 on",
        "i64" | "i32" => "a whole number",
        "a nonzero usize" | "a nonzero u64" | "a nonzero u32" => "a whole number from 1 on",
        "f64" | "f32" => "a number",
        "a sequence" => "a list",
        "a map" => "a table",
        expected if expected.starts_with("struct ") => "a table",
        _ => return message.to_owned(),
    };
    format!("{found}, expected {expected}")
}

/// A value that would do, as TOML.
fn example(place: &Schema) -> String {
    if let Some(example) = place.get("examples").and_then(|examples| examples.get(0)) {
        return toml::Value::try_from(example).expect("an example holds no null").to_string();
    }
    match schema::choices(place).first() {
        Some(choice) => format!("\"{choice}\""),
        None => match place["type"].as_str() {
            Some("boolean") => "true or false",
            Some("integer" | "number") => "1",
            Some("array") => "[…]",
            Some("object") => "{ … }",
            _ => "\"…\"",
        }
        .to_owned(),
    }
}

fn suggest_key(written: &str, table: &Schema) -> String {
    if let Some(name) = nearest(written, schema::keys(table)) {
        return format!("did you mean `{name}`?");
    }
    let elsewhere = schema::tables(schema()).into_iter().find(|(_, table)| schema::key(table, written).is_some());
    match elsewhere {
        Some((path, _)) if path.is_empty() => format!("`{written}` belongs at the top of the file, before any section"),
        Some((path, _)) => format!("`{written}` belongs in [{}]", path.join(".")),
        None => format!("the settings here are: {}", schema::keys(table).collect::<Vec<_>>().join(", ")),
    }
}

/// Takes unknown keys and numbers out of range out of a table, and remembers them.
fn take_out_misfits(table: &mut DeTable<'_>, schema: &Schema, path: &mut Vec<String>, found: &mut Vec<Misfit>) {
    let keys: Vec<_> = table.keys().cloned().collect();
    for key in keys {
        let name = key.get_ref().to_string();
        let Some(value) = table.get_mut(name.as_str()) else { continue };
        let misfit = match schema::key(schema, &name) {
            None => Some(Misfit::unknown_key(&key, path, schema)),
            Some(inner) => {
                path.push(name.clone());
                look_inside(value, inner, path, found);
                path.pop();
                out_of_range(value.get_ref(), inner).map(|message| Misfit {
                    message,
                    hint: String::new(),
                    span: value.span(),
                })
            }
        };
        if let Some(misfit) = misfit {
            found.push(misfit);
            table.remove(name.as_str());
        }
    }
}

fn look_inside(value: &mut Spanned<DeValue<'_>>, schema: &Schema, path: &mut Vec<String>, found: &mut Vec<Misfit>) {
    match value.get_mut() {
        DeValue::Table(table) if schema["properties"].is_object() => take_out_misfits(table, schema, path, found),
        DeValue::Array(items) => {
            for item in items.iter_mut() {
                if let DeValue::Table(table) = item.get_mut() {
                    take_out_misfits(table, &schema["items"], path, found);
                }
            }
        }
        _ => {}
    }
}

fn out_of_range(value: &DeValue<'_>, schema: &Schema) -> Option<String> {
    let DeValue::Integer(number) = value else { return None };
    let number = i128::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()?;
    let limit = |name: &str| schema.get(name).and_then(Schema::as_f64);
    // Limits are small whole numbers, so that nothing is lost.
    #[expect(clippy::cast_precision_loss, reason = "only compared with small limits")]
    let fits = limit("minimum").is_none_or(|least| number as f64 >= least)
        && limit("maximum").is_none_or(|most| number as f64 <= most);
    let least = limit("minimum").unwrap_or_default();
    (!fits).then(|| match limit("maximum") {
        Some(most) => format!("{number} is out of range: from {least} to {most}"),
        None => format!("{number} is out of range: at least {least}"),
    })
}

/// Takes out the smallest value that holds a span, and answers with the keys that led to it.
fn take_out_at(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<Vec<String>> {
    let holds = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    let mut inside = None;
    for (key, value) in table.iter_mut() {
        let path = match value.get_mut() {
            DeValue::Table(table) => take_out_at(table, span),
            DeValue::Array(items) => {
                let inner = items.iter_mut().find_map(|item| match item.get_mut() {
                    DeValue::Table(table) => take_out_at(table, span),
                    _ => None,
                });
                inner.or_else(|| {
                    let index = items.iter().position(|item| holds(item.span()))?;
                    *items =
                        items.iter().enumerate().filter(|(at, _)| *at != index).map(|(_, item)| item.clone()).collect();
                    Some(Vec::new())
                })
            }
            _ => None,
        };
        if let Some(mut path) = path {
            path.insert(0, key.get_ref().to_string());
            return Some(path);
        }
        if holds(value.span()) {
            inside = Some(key.get_ref().to_string());
        }
    }
    let key = inside?;
    table.remove(key.as_str());
    Some(vec![key])
}

/// The span of what the keys lead to, or of the deepest of them that is there; a number counts the
/// elements of an array.
fn deepest(table: &DeTable<'_>, keys: &[&str]) -> Option<Range<usize>> {
    let (first, rest) = keys.split_first()?;
    let value = table.get(*first)?;
    deepest_in(value, rest).or_else(|| Some(value.span()))
}

fn deepest_in(value: &Spanned<DeValue<'_>>, keys: &[&str]) -> Option<Range<usize>> {
    match value.get_ref() {
        DeValue::Table(table) => deepest(table, keys),
        DeValue::Array(items) => {
            let (index, rest) = keys.split_first()?;
            let item = items.get(index.parse::<usize>().ok()?)?;
            deepest_in(item, rest).or_else(|| Some(item.span()))
        }
        _ => None,
    }
}

fn schema_at(path: &[String]) -> Option<&'static Schema> {
    path.iter()
        .try_fold(schema(), |place, name| schema::key(place, name).or_else(|| schema::key(&place["items"], name)))
}

#[cfg(test)]
mod tests;
