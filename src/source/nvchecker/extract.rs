//! Searches what a server answered, by an expression or a filter that a package brought along.
//!
//! Either can be written so that it never ends or takes all memory there is. So it is done by another process:
//! this program again, as `pkgwarden extract`, with limits on its time and memory.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::Duration;

use jaq_core::load::{Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Vars, data, unwrap_valr};
use jaq_json::{Num, Val, read};
use serde::{Deserialize, Serialize};

use super::python::Pattern;
use crate::sys::process::{ProcessError, Program};

/// The command of this program that searches.
pub const COMMAND: &str = "extract";

/// How long one search may take.
const TIME: Duration = Duration::from_secs(30);

/// More versions than this are not versions.
const MOST: usize = 50_000;

/// The allocator would take so much memory in advance that the limit is there before the search begins.
const ALLOCATOR: [(&str, &str); 2] = [("MIMALLOC_ARENA_EAGER_COMMIT", "0"), ("MIMALLOC_ARENA_RESERVE", "65536")];

/// What is said of a search that ran into a limit.
const TOO_MUCH: &str = "searching the answer took too much time or memory; write a simpler expression";

/// How much the search may print.
const OUTPUT: usize = 16 << 20;

/// What an answer is searched for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Extract {
    /// Matches of an expression of Python.
    Regex {
        /// The expression.
        pattern: String,
        /// How the bytes become text.
        encoding: Encoding,
        /// Whether nothing may be found.
        missing_ok: bool,
    },
    /// Results of a filter of jq.
    Jq {
        /// The filter.
        filter: String,
        /// Whether nothing may be found.
        missing_ok: bool,
    },
}

/// How bytes become text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// Each byte is a character.
    Latin1,
    /// By the name that the web has for it.
    Named(String),
}

impl Encoding {
    /// The encoding that Python knows by this name.
    #[must_use]
    pub fn named(label: &str) -> Option<Self> {
        let label = label.to_ascii_lowercase().replace('_', "-");
        if ["latin1", "latin-1", "iso-8859-1", "iso8859-1", "l1", "ascii", "us-ascii"].contains(&label.as_str()) {
            return Some(Self::Latin1);
        }
        encoding_rs::Encoding::for_label(label.as_bytes()).map(|found| Self::Named(found.name().to_owned()))
    }

    fn decode(&self, bytes: &[u8]) -> Result<String, String> {
        match self {
            Self::Latin1 => Ok(bytes.iter().copied().map(char::from).collect()),
            Self::Named(label) => {
                let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).ok_or("the encoding is not known")?;
                let text = encoding.decode_without_bom_handling_and_without_replacement(bytes);
                text.map(std::borrow::Cow::into_owned).ok_or_else(|| format!("the answer is not {label}"))
            }
        }
    }
}

impl Extract {
    /// The versions in an answer.
    ///
    /// # Errors
    /// If there are none, or the expression or the filter cannot be used.
    pub fn run(&self, body: &[u8]) -> Result<Vec<String>, String> {
        let (found, missing_ok, what) = match self {
            Self::Regex { pattern, encoding, missing_ok } => {
                (Pattern::new(pattern)?.find_all(&encoding.decode(body)?, MOST)?, missing_ok, "the expression")
            }
            Self::Jq { filter, missing_ok } => (jq(filter, body)?, missing_ok, "the filter"),
        };
        if found.is_empty() && !missing_ok {
            return Err(format!("{what} finds no version in the answer"));
        }
        Ok(found)
    }
}

/// What the filter makes of the document, as texts.
fn jq(filter: &str, document: &[u8]) -> Result<Vec<String>, String> {
    let input = read::parse_single(document).map_err(|error| format!("the answer is not JSON: {error}"))?;
    let arena = Arena::default();
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let wrong = || "`filter` is no filter of jq, or names something that is not there".to_owned();
    let modules = Loader::new(definitions).load(&arena, File { code: filter, path: () }).map_err(|_| wrong())?;
    let compiled = Compiler::default().with_funs(functions).compile(modules).map_err(|_| wrong())?;
    let context = Ctx::<data::JustLut<Val>>::new(&compiled.lut, Vars::new([]));
    let mut found = Vec::new();
    for result in compiled.id.run((context, input)).map(unwrap_valr) {
        let value = result.map_err(|error| format!("`filter` cannot be applied to the answer: {error}"))?;
        found.extend(text(&value)?);
        if found.len() > MOST {
            return Err(format!("the filter finds more than {MOST} versions"));
        }
    }
    Ok(found)
}

/// A result as Python would write it; `None` for null.
fn text(value: &Val) -> Result<Option<String>, String> {
    Ok(match value {
        Val::Null => None,
        Val::TStr(bytes) | Val::BStr(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        Val::Num(number) => Some(number_text(number)),
        Val::Bool(true) => Some("True".to_owned()),
        Val::Bool(false) => Some("False".to_owned()),
        Val::Arr(_) => return Err("the filter yields a list; end it with `.[]`".to_owned()),
        Val::Obj(_) => return Err("the filter yields an object; end it with the name of a field".to_owned()),
    })
}

fn number_text(number: &Num) -> String {
    let written = number.to_string();
    match written.parse::<f64>() {
        Ok(value) if written.contains(['.', 'e', 'E']) => format!("{value}"),
        _ => written,
    }
}

/// Searches in another process.
#[derive(Debug, Clone)]
pub struct Extractor {
    program: PathBuf,
}

impl Extractor {
    /// With this program, which is `pkgwarden`.
    #[must_use]
    pub const fn new(program: PathBuf) -> Self {
        Self { program }
    }

    /// The versions in an answer.
    ///
    /// # Errors
    /// As [`Extract::run`], or if it takes too much time or memory.
    pub async fn run(&self, extract: &Extract, body: &[u8]) -> Result<Vec<String>, String> {
        let mut input = serde_json::to_vec(extract).expect("a value of ours is JSON");
        input.push(b'\n');
        input.extend_from_slice(body);
        let mut program = Program::new(&self.program).env_clear().arg(COMMAND).stdin_bytes(input);
        for (name, value) in ALLOCATOR {
            program = program.env(name, value);
        }
        let unusable = |why: String| format!("the answer cannot be searched: {why}");
        let output = match program.timeout(TIME).output_limit(OUTPUT).run().await {
            Ok(output) if output.status.signal().is_some() => return Err(TOO_MUCH.to_owned()),
            Err(ProcessError::TimedOut { .. }) => return Err(TOO_MUCH.to_owned()),
            Ok(output) if !output.status.success() => return Err(unusable(output.stderr_text())),
            Ok(output) => output,
            Err(error) => return Err(unusable(crate::source::error_text(&error))),
        };
        serde_json::from_slice::<Result<_, String>>(&output.stdout).map_err(|error| unusable(error.to_string()))?
    }
}

/// The other process: what is on its standard input, and what it prints.
#[must_use]
pub fn answer(input: &[u8]) -> Vec<u8> {
    let end = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let extract = serde_json::from_slice::<Extract>(&input[..end]).map_err(|error| error.to_string());
    let found = extract.and_then(|extract| extract.run(input.get(end + 1..).unwrap_or_default()));
    serde_json::to_vec(&found).expect("texts are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(filter: &str, document: &str) -> Result<Vec<String>, String> {
        Extract::Jq { filter: filter.to_owned(), missing_ok: false }.run(document.as_bytes())
    }

    fn found(pattern: &str, encoding: Encoding, text: &[u8]) -> Result<Vec<String>, String> {
        Extract::Regex { pattern: pattern.to_owned(), encoding, missing_ok: false }.run(text)
    }

    #[test]
    fn a_filter_yields_texts() {
        let document =
            r#"{"a": [{"name": "v1", "n": 1}, {"name": "v2", "n": 2.50}], "b": null, "v4-stable": {"version": "4"}}"#;
        let names = |filter: &str| filtered(filter, document).expect(filter);
        assert_eq!(names(".a[].name"), ["v1", "v2"]);
        assert_eq!(names(".a[].n"), ["1", "2.5"]);
        assert_eq!(names(r#"."v4-stable".version"#), ["4"]);
        assert_eq!(names(r#".a[] | select(.name | test("2$")) | .name | capture("v(?<n>.*)") | .n"#), ["2"]);
    }

    #[test]
    fn what_a_filter_cannot_do_is_said() {
        insta::assert_snapshot!(
            [
                filtered(".b", r#"{"b":null}"#),
                filtered(".[", "{}"),
                filtered("nothing_like_it", "{}"),
                filtered(".a", "<html>"),
                filtered(".a.b", r#"{"a":1}"#),
                filtered(".", "[1]"),
                filtered(".", r#"{"a":1}"#),
            ]
            .map(|result| result.expect_err("no version"))
            .join("\n"),
            @r#"
            the filter finds no version in the answer
            `filter` is no filter of jq, or names something that is not there
            `filter` is no filter of jq, or names something that is not there
            the answer is not JSON: byte offset 0: value expected
            `filter` cannot be applied to the answer: cannot index 1 with "b"
            the filter yields a list; end it with `.[]`
            the filter yields an object; end it with the name of a field
            "#
        );
    }

    #[test]
    fn bytes_become_text_by_the_encoding() {
        assert_eq!(found(r"v(\w+)", Encoding::Latin1, b"v1\xe9"), Ok(vec!["1é".to_owned()]));
        let utf8 = Encoding::named("utf_8").expect("known");
        assert_eq!(found(r"v(\w+)", utf8.clone(), "v1é".as_bytes()), Ok(vec!["1é".to_owned()]));
        assert_eq!(found("v", utf8, b"v\xff").expect_err("not UTF-8"), "the answer is not UTF-8");
        assert_eq!(Encoding::named("klingon"), None);
    }

    #[test]
    fn the_other_process_answers_with_versions_or_with_what_is_wrong() {
        let ask = |extract: &str, body: &str| {
            String::from_utf8(answer(format!("{extract}\n{body}").as_bytes())).expect("text")
        };
        let regex = r#"{"Regex":{"pattern":"\\d+","encoding":"Latin1","missing_ok":false}}"#;
        assert_eq!(ask(regex, "v1 v2\nv3"), r#"{"Ok":["1","2","3"]}"#);
        assert_eq!(ask(regex, "v"), r#"{"Err":"the expression finds no version in the answer"}"#);
        assert!(ask("nonsense", "").starts_with(r#"{"Err":"#));
    }
}
