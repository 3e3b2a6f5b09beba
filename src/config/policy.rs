//! `.ci/policy.toml`, and the file that `classify --policy` names: what may go in beyond the default.
//!
//! What cannot be read permits nothing: a permission with a mistake is left out whole, since without the key
//! that is wrong it could permit more than was meant. Where something else cannot be read, which may ask for
//! more than the default, the policy says that it is incomplete, and nothing goes in by itself.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use miette::NamedSource;
use serde::Deserialize as _;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, ValueDeserializer};

use super::error::{ConfigError, Origin, Problem, without_passwords};
use crate::domain::classify::{PackagePolicy, Permission, Place, Policy};
use crate::domain::finding::{Finding, nearest};

/// Where the policy stands in the monorepo.
pub const PATH: &str = ".ci/policy.toml";

/// After this many problems in one file, the others wait.
const MOST_PROBLEMS: usize = 20;

/// Reads a policy that has to be right.
///
/// # Errors
/// Everything that is wrong in it.
pub fn load(path: &str, text: &str) -> Result<Policy, ConfigError> {
    let (policy, problems) = parse(path, text);
    if problems.is_empty() { Ok(policy) } else { Err(ConfigError { problems }) }
}

/// Reads the policy of a monorepo. Whatever is wrong becomes a finding.
#[must_use]
pub fn read(text: &str) -> (Policy, Vec<Finding>) {
    let (policy, problems) = parse(PATH, text);
    let finding = |problem: Problem| {
        let line = problem.position().and_then(|(line, _)| u32::try_from(line).ok());
        Finding::error("policy", problem.message).at(PATH, line).hint(problem.hint)
    };
    (policy, problems.into_iter().map(finding).collect())
}

fn parse(path: &str, text: &str) -> (Policy, Vec<Problem>) {
    let mut reader = Reader { source: Arc::new(NamedSource::new(path, without_passwords(text))), problems: Vec::new() };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        reader.complain(error.message(), "this is not TOML: see https://toml.io", error.span());
    }
    let policy =
        if errors.is_empty() { reader.policy(table) } else { Policy { incomplete: true, ..Policy::default() } };
    reader.problems.sort_by_key(Problem::position);
    reader.problems.truncate(MOST_PROBLEMS);
    (policy, reader.problems)
}

/// One file while it is being read.
struct Reader {
    source: Arc<NamedSource<String>>,
    problems: Vec<Problem>,
}

impl Reader {
    fn complain(&mut self, message: &str, hint: &str, span: Option<Range<usize>>) {
        let origin = Origin::File { source: self.source.clone(), span: span.unwrap_or(0..0) };
        self.problems.push(Problem { message: message.to_owned(), hint: hint.to_owned(), origin });
    }

    fn policy(&mut self, table: Spanned<DeTable<'_>>) -> Policy {
        let span = table.span();
        let (mut general, mut allow, mut package) = (DeTable::new(), Vec::new(), BTreeMap::new());
        let mut incomplete = false;
        for (key, value) in table.into_inner() {
            match &**key.get_ref() {
                "allow" => allow = self.permissions(value),
                "package" => {
                    let before = self.problems.len();
                    package = self.packages(value);
                    incomplete |= self.problems.len() > before;
                }
                _ => {
                    let alone = DeTable::from_iter([(key.clone(), value.clone())]);
                    match Policy::deserialize(Deserializer::from(Spanned::new(span.clone(), alone))) {
                        Ok(_) => drop(general.insert(key, value)),
                        Err(error) => {
                            self.complain(error.message(), &remedy(error.message()), error.span());
                            incomplete = true;
                        }
                    }
                }
            }
        }
        let general = Policy::deserialize(Deserializer::from(Spanned::new(span, general)));
        Policy { allow, package, incomplete, ..general.expect("each key was read by itself") }
    }

    fn permissions(&mut self, value: Spanned<DeValue<'_>>) -> Vec<Permission> {
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            self.complain("`allow` is a list of permissions", "begin each with [[allow]]", Some(span));
            return Vec::new();
        };
        items.into_iter().filter_map(|item| self.permission(item)).collect()
    }

    fn permission(&mut self, item: Spanned<DeValue<'_>>) -> Option<Permission> {
        let place = self.place(item.span().start);
        let permission: Permission = self.rule(item, |permission: &Permission| &permission.because)?;
        Some(Permission { place, ..permission })
    }

    fn packages(&mut self, value: Spanned<DeValue<'_>>) -> BTreeMap<String, PackagePolicy> {
        let span = value.span();
        let DeValue::Table(table) = value.into_inner() else {
            self.complain("`package` has a table for each package", "begin each with [package.NAME]", Some(span));
            return BTreeMap::new();
        };
        let read = |(name, value): (Spanned<std::borrow::Cow<'_, str>>, Spanned<DeValue<'_>>)| {
            let place = self.place(name.span().start);
            let own: PackagePolicy = self.rule(value, |own: &PackagePolicy| &own.because)?;
            Some((name.into_inner().into_owned(), PackagePolicy { place, ..own }))
        };
        table.into_iter().filter_map(read).collect()
    }

    /// Anything that needs a reason and may have an end.
    fn rule<T: DeserializeOwned>(&mut self, mut item: Spanned<DeValue<'_>>, because: fn(&T) -> &str) -> Option<T> {
        let span = item.span();
        self.normalize_time(&mut item)?;
        match T::deserialize(ValueDeserializer::from(item)) {
            Ok(rule) if because(&rule).trim().is_empty() => {
                self.complain("a rule needs a reason", "say in `because` why", Some(span));
                None
            }
            Ok(rule) => Some(rule),
            Err(error) => {
                self.complain(error.message(), &remedy(error.message()), error.span().or(Some(span)));
                None
            }
        }
    }

    /// A time may be written with quotes or without.
    fn normalize_time(&mut self, item: &mut Spanned<DeValue<'_>>) -> Option<()> {
        let DeValue::Table(table) = item.get_mut() else { return Some(()) };
        let Some(until) = table.get_mut("until") else { return Some(()) };
        let text = match until.get_ref() {
            DeValue::Datetime(time) => time.to_string(),
            DeValue::String(text) => text.to_string(),
            _ => String::new(),
        };
        if text.parse::<Timestamp>().is_err() {
            let message = "`until` is not a point in time with its offset from UTC";
            self.complain(message, "such as until = 2030-01-31T00:00:00Z", Some(until.span()));
            return None;
        }
        *until.get_mut() = DeValue::String(text.into());
        Some(())
    }

    fn place(&self, at: usize) -> Place {
        let before = self.source.inner().get(..at);
        let line = before.and_then(|before| u32::try_from(before.matches('\n').count() + 1).ok());
        Place { file: self.source.name().to_owned(), line }
    }
}

/// What to do about an error of serde.
fn remedy(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let written = quoted.next().unwrap_or_default();
    if message.starts_with("unknown field") {
        let known: Vec<&str> = quoted.collect();
        return match nearest(written, known.iter().copied()) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("the keys here are: {}", known.join(", ")),
        };
    }
    match message {
        _ if message.starts_with("missing field") && written == "code" => {
            "add the code of the reason, such as code = \"dependency-added\"".to_owned()
        }
        _ if message.starts_with("missing field") => format!("add why: {written} = \"…\""),
        _ if message.ends_with("expected a boolean") => "write true or false".to_owned(),
        _ if message.ends_with("expected a string") => "write it between quotes".to_owned(),
        _ if message.ends_with("expected a nonzero u8") => "write a number from 1 to 255".to_owned(),
        _ if message.contains("Permission") => "begin each permission with [[allow]]".to_owned(),
        _ if message.contains("PackagePolicy") => "begin each table with [package.NAME]".to_owned(),
        _ => "docs/policy.md describes every key".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RIGHT: &str = "descriptions = true\n\n[[allow]]\npackage = \"foo\"\ncode = \"dependency-added\"\n\
         new = \"zlib\"\nbecause = \"it links to it\"\nuntil = 2030-01-31T00:00:00Z\n\n\
         [[allow]]\ncode = \"url-changed\"\nbecause = \"we do not fetch it\"\nuntil = \"2030-01-31T02:00:00+02:00\"\n";

    fn complaints(text: &str) -> String {
        load("policy.toml", text).expect_err("it is wrong").to_string()
    }

    #[test]
    fn a_policy_is_read_with_the_lines_of_its_permissions() {
        let policy = load("policy.toml", RIGHT).expect("it is right");
        let until = "2030-01-31T00:00:00Z".parse().ok();
        assert!(policy.descriptions && !policy.inert_files && !policy.kernel_configurations);
        assert_eq!(policy.allow.iter().map(|it| it.place.line).collect::<Vec<_>>(), [Some(3), Some(10)]);
        assert_eq!(policy.allow.iter().map(|it| it.until).collect::<Vec<_>>(), [until, until]);
        assert_eq!(policy.allow[0].package.as_deref(), Some("foo"));
        assert_eq!(load("policy.toml", "").expect("nothing is right too"), Policy::default());
    }

    #[test]
    fn every_mistake_is_told_with_its_place_and_remedy() {
        let text = "description = true\ninert_files = 1\nallow = 3\n";
        insta::assert_snapshot!(complaints(text), @"
        policy.toml:1:1: unknown field `description`, expected one of `descriptions`, `kernel_configurations`, `inert_files`, `minimum_age`, `approvals`, `allow`, `package`; did you mean `descriptions`?
        policy.toml:2:15: invalid type: integer `1`, expected a boolean; write true or false
        policy.toml:3:9: `allow` is a list of permissions; begin each with [[allow]]
        ");
        let text = "[[allow]]\ncode = \"x\"\n[[allow]]\nbecause = \"y\"\n[[allow]]\npackge = \"foo\"\ncode = \"x\"\n\
             because = \"y\"\n[[allow]]\ncode = 1\nbecause = \"y\"\n[[allow]]\ncode = \"x\"\nbecause = \" \"\n\
             [[allow]]\ncode = \"x\"\nbecause = \"y\"\nuntil = 2030-01-31\n";
        insta::assert_snapshot!(complaints(text), @r#"
        policy.toml:1:1: missing field `because`; add why: because = "…"
        policy.toml:3:1: missing field `code`; add the code of the reason, such as code = "dependency-added"
        policy.toml:6:1: unknown field `packge`, expected one of `package`, `code`, `field`, `file`, `old`, `new`, `matches`, `from`, `to`, `because`, `until`; did you mean `package`?
        policy.toml:10:8: invalid type: integer `1`, expected a string; write it between quotes
        policy.toml:12:1: a rule needs a reason; say in `because` why
        policy.toml:18:9: `until` is not a point in time with its offset from UTC; such as until = 2030-01-31T00:00:00Z
        "#);
        insta::assert_snapshot!(complaints("allow = [1]\n"), @"policy.toml:1:10: invalid type: integer `1`, expected struct Permission; begin each permission with [[allow]]");
        insta::assert_snapshot!(complaints("[[allow]\n"), @"policy.toml:1:9: unclosed array table, expected `]`; this is not TOML: see https://toml.io");
    }

    #[test]
    fn what_is_wrong_permits_nothing_and_takes_nothing_else_away() {
        let (policy, findings) =
            read(&format!("{RIGHT}[[allow]]\ncode = \"url-changed\"\npackge = \"a\"\nbecause = \"b\"\n"));
        assert_eq!((policy, findings.len()), (load(PATH, RIGHT).expect("it is right"), 1));
        assert_eq!((findings[0].file.as_deref(), findings[0].line), (Some(PATH), Some(16)));
        let (policy, findings) = read(&format!("{RIGHT}]"));
        assert_eq!((policy, findings.len()), (Policy { incomplete: true, ..Policy::default() }, 1));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "([a-z=\\[\\]\"{}\n, 0-9]|\\[\\[allow\\]\\]\n|code = \"a\"\n|because = \"b\"\n|until = ){0,60}") {
            let (policy, findings) = read(&text);
            prop_assert!(findings.len() <= MOST_PROBLEMS);
            prop_assert!(policy.allow.iter().all(|it| !it.because.is_empty()));
        }
    }
}
