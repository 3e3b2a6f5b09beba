//! Raises the version of a PKGBUILD and puts new checksums in, and touches nothing else: every other byte stays.
//!
//! Only what is written out is edited. What is put together in a way that is not understood is left alone and
//! said, for somebody to do by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::evaluate::Evaluated;
use super::event::{Event, Kind, close};
use super::{Pkgbuild, Role};
use crate::domain::classify::forms::Forms;
use crate::domain::release::{Release, is_newer};

/// A PKGBUILD that has to be edited by hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the PKGBUILD cannot be raised to the new version: {0}; raise it by hand")]
pub struct Uneditable(String);

/// A checksum that is none: what is fetched is not verified.
const SKIP: &str = "SKIP";

/// Words in the name of a variable that say it holds a part of the version.
const PARTS: [&str; 7] = ["ver", "rel", "tag", "maj", "min", "branch", "series"];

/// What is written in the place of some bytes.
type Edit = (Range<usize>, String);

fn refuse<T>(why: impl Into<String>) -> Result<T, Uneditable> {
    Err(Uneditable(why.into()))
}

/// The PKGBUILD at another version: `pkgver`, `pkgrel=1`, variables that hold the version or its commit, and
/// the version where it is written out in a source that is fetched. `local` tells files of the package itself.
///
/// # Errors
/// [`Uneditable`] if the version is not newer, or the file is written in a way that is not understood.
pub fn raise(text: &[u8], release: &Release, local: impl Fn(&str) -> bool) -> Result<Vec<u8>, Uneditable> {
    let old = read(text)?;
    let before = old.evaluate();
    let Some(current) = version(&old, &before) else { return refuse("what `pkgver` is cannot be worked out") };
    if !is_newer(&release.version, current) {
        return refuse(format!("{} is not newer than {current}", release.version));
    }
    let (feeding, to) = (feeding(&old), release.version.as_str());
    let (whole, parts) = (Forms::whole(current, to), Forms::with_parts(current, to));
    let editor = Editor { file: &old, current, release, feeding, whole, parts };
    let mut edits = editor.version()?;
    edits.extend(editor.release_number()?);
    edits.extend(editor.helpers()?);
    edits.extend(editor.sources(&local)?);
    let raised = apply(text, edits);
    check(&raised, &release.version)?;
    Ok(raised)
}

/// The PKGBUILD with the checksums that were computed, as `makepkg --geninteg` prints them. `SKIP` stays.
///
/// # Errors
/// [`Uneditable`] if its checksums are not written out one by one, or others were computed.
pub fn with_checksums(text: &[u8], computed: &[u8]) -> Result<Vec<u8>, Uneditable> {
    let old = read(text)?;
    let Ok(computed) = Pkgbuild::read(computed) else { return refuse("what makepkg printed is no list of checksums") };
    let computed = computed.evaluate();
    let mut edits = Vec::new();
    for (name, words) in checksums(&old)? {
        let verified = words.iter().any(|(_, sum)| *sum != SKIP);
        let Some(new) = computed.values.get(name).map(|value| value.elements()) else {
            if verified {
                return refuse(format!("no new checksums were computed for `{name}`"));
            }
            continue;
        };
        if new.len() != words.len() {
            return refuse(format!("`{name}` has {} elements, and {} were computed", words.len(), new.len()));
        }
        for ((place, sum), new) in words.into_iter().zip(new) {
            if !is_sum(new) {
                return refuse(format!("`{}` was computed for `{name}`, and is no checksum", new.escape_debug()));
            }
            if sum != SKIP && new == SKIP {
                return refuse(format!(
                    "makepkg computes no checksum for an element of `{name}` that has one; for sources from git, \
                     pacman 6.1 and newer do"
                ));
            }
            if sum != SKIP && sum != new {
                edits.push((place, new.clone()));
            }
        }
    }
    Ok(apply(text, edits))
}

/// Whether anything that is fetched has a checksum.
///
/// # Errors
/// As [`with_checksums`].
pub fn has_checksums(text: &[u8]) -> Result<bool, Uneditable> {
    Ok(checksums(&read(text)?)?.values().flatten().any(|(_, sum)| *sum != SKIP))
}

fn read(text: &[u8]) -> Result<Pkgbuild<'_>, Uneditable> {
    Pkgbuild::read(text).or_else(|error| refuse(format!("it cannot be read as bash reads it: {error}")))
}

fn is_sum(text: &str) -> bool {
    text == SKIP || (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn apply(text: &[u8], mut edits: Vec<Edit>) -> Vec<u8> {
    edits.sort_by_key(|(place, _)| place.start);
    let mut result = Vec::with_capacity(text.len() + 64);
    let mut from = 0;
    for (place, new) in edits {
        result.extend_from_slice(&text[from..place.start]);
        result.extend_from_slice(new.as_bytes());
        from = place.end;
    }
    result.extend_from_slice(&text[from..]);
    result
}

fn check(raised: &[u8], version: &str) -> Result<(), Uneditable> {
    let file = read(raised)?;
    match self::version(&file, &file.evaluate()) {
        Some(found) if found == version => Ok(()),
        Some(found) => refuse(format!("`pkgver` is put together from other variables, and would be {found}")),
        None => refuse("what `pkgver` would be cannot be worked out"),
    }
}

/// What `pkgver` is: what it is worked out to be or, where commands may have changed it, what is written. What it is
/// after them only makepkg can tell.
fn version<'e>(file: &'e Pkgbuild<'_>, values: &'e Evaluated<'_>) -> Option<&'e str> {
    values.text("pkgver").or_else(|| match assignments(file, "pkgver").as_slice() {
        [events] => literal_value(file, events).map(|(_, value)| value),
        _ => None,
    })
}

fn all<'e, 'a>(file: &'e Pkgbuild<'a>) -> impl Iterator<Item = (&'a str, &'e [Event<'a>])> {
    file.statements.iter().filter_map(|statement| match statement.role {
        Role::Assign(name) => Some((name, file.events(statement))),
        _ => None,
    })
}

fn assignments<'e, 'a>(file: &'e Pkgbuild<'a>, wanted: &str) -> Vec<&'e [Event<'a>]> {
    all(file).filter(|(name, _)| *name == wanted).map(|(_, events)| events).collect()
}

struct Editor<'e, 'a> {
    file: &'e Pkgbuild<'a>,
    current: &'e str,
    release: &'e Release,
    /// Variables from which the version and the sources are put together.
    feeding: BTreeSet<&'e str>,
    /// The version itself, however it is written.
    whole: Forms,
    /// And its first parts.
    parts: Forms,
}

impl Editor<'_, '_> {
    fn version(&self) -> Result<Vec<Edit>, Uneditable> {
        match assignments(self.file, "pkgver").as_slice() {
            [events] => Ok(match literal_value(self.file, events) {
                Some((place, _)) => vec![(place, self.release.version.clone())],
                None => Vec::new(),
            }),
            _ => refuse("`pkgver` is not assigned exactly once"),
        }
    }

    fn release_number(&self) -> Result<Vec<Edit>, Uneditable> {
        match assignments(self.file, "pkgrel").as_slice() {
            [events] => match literal_value(self.file, events) {
                Some((_, "1")) => Ok(Vec::new()),
                Some((place, _)) => Ok(vec![(place, "1".to_owned())]),
                None => refuse("`pkgrel` is not written out"),
            },
            _ => refuse("`pkgrel` is not assigned exactly once"),
        }
    }

    /// Variables of the packager's own that hold the version, a part of it, or its commit.
    fn helpers(&self) -> Result<Vec<Edit>, Uneditable> {
        let mut edits = Vec::new();
        for (name, events) in all(self.file).filter(|(name, _)| name.starts_with('_')) {
            let Some((place, value)) = literal_value(self.file, events) else { continue };
            let new = if is_commit(value) { self.commit(name, value)? } else { self.helper(name, value) };
            edits.extend(new.filter(|new| new != value).map(|new| (place, new)));
        }
        Ok(edits)
    }

    fn helper(&self, name: &str, value: &str) -> Option<String> {
        let lower = name.to_ascii_lowercase();
        let named = PARTS.iter().any(|part| lower.contains(part));
        if !self.feeding.contains(name) {
            // Parts of the version may be anything there: the oldest version of something that is needed.
            return named.then(|| self.whole.applied(value));
        }
        let (old, new) = (numbers(self.current), numbers(&self.release.version));
        let single = value.len() <= 4 && value.bytes().all(|byte| byte.is_ascii_digit());
        if single && named {
            // `_minor` of 1.2.3 is the second part, whatever else is written with the same number.
            let place = match () {
                () if lower.contains("maj") => 0,
                () if lower.contains("min") => 1,
                () => old.iter().position(|part| *part == value)?,
            };
            return (old.get(place) == Some(&value)).then(|| new.get(place).map(|part| (*part).to_owned()))?;
        }
        (!single).then(|| self.parts.applied(value))
    }

    fn commit(&self, name: &str, value: &str) -> Result<Option<String>, Uneditable> {
        let previous = self.release.previous.map(|id| id.to_string());
        let known = previous.is_some_and(|previous| previous.starts_with(value));
        let lower = name.to_ascii_lowercase();
        let named = ["commit", "rev", "sha", "hash"].iter().any(|word| lower.contains(word));
        let is_of_the_release = known || (named && self.feeding.contains(name));
        if !is_of_the_release {
            return Ok(None);
        }
        match self.release.commit {
            Some(commit) => Ok(Some(commit.to_string()[..value.len()].to_owned())),
            None => refuse(format!("`{name}` pins a commit, and which one {} is, is not known", self.release.version)),
        }
    }

    fn sources(&self, local: &impl Fn(&str) -> bool) -> Result<Vec<Edit>, Uneditable> {
        let mut edits = Vec::new();
        for (_, events) in all(self.file).filter(|(name, _)| *name == "source" || name.starts_with("source_")) {
            for (start, end) in words(events) {
                let written = &self.file.text[start..end];
                let own = literal(self.file.text, start..end).is_some_and(|(_, name)| local(name));
                if own || written.contains(['`', '\\']) || written.contains("$(") {
                    continue;
                }
                let pinned = self.pinned(written)?;
                let is_versioned = written.contains('$') || self.whole.applied(&pinned) != pinned;
                let new = if is_versioned { self.parts.applied(&pinned) } else { pinned };
                if new != written {
                    edits.push((start..end, new));
                }
            }
        }
        Ok(edits)
    }

    /// The source with the commit in its fragment, if one is written out there.
    fn pinned(&self, source: &str) -> Result<String, Uneditable> {
        let Some((before, pin)) = source.split_once("#commit=") else { return Ok(source.to_owned()) };
        let length = pin.bytes().take_while(u8::is_ascii_hexdigit).count();
        let (pin, behind) = pin.split_at(length);
        if !is_commit(pin) {
            return Ok(source.to_owned());
        }
        let is_previous = self.release.previous.is_some_and(|previous| previous.to_string().starts_with(pin));
        match self.release.commit.filter(|_| is_previous) {
            Some(commit) => Ok(format!("{before}#commit={}{behind}", &commit.to_string()[..pin.len()])),
            None => refuse(format!(
                "a source is pinned to the commit {pin}, which the tag of the version is not known to be"
            )),
        }
    }
}

/// From which variables `pkgver` and the sources are put together, also by way of others.
fn feeding<'e>(file: &'e Pkgbuild<'_>) -> BTreeSet<&'e str> {
    let mut found = BTreeSet::new();
    // Variables refer backwards, so going backwards once is enough.
    for statement in file.statements.iter().rev() {
        if let Role::Assign(name) = statement.role
            && (name == "pkgver" || name == "source" || name.starts_with("source_") || found.contains(name))
        {
            let events = file.events(statement).iter();
            let named = events.filter(|event| matches!(event.kind, Kind::Param | Kind::QuotedParam));
            found.extend(named.map(|event| &*event.text));
        }
    }
    found
}

fn numbers(version: &str) -> Vec<&str> {
    version.split(['.', '_', '+']).collect()
}

fn is_commit(text: &str) -> bool {
    (7..=40).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && (text.len() == 40 || text.bytes().any(|byte| byte.is_ascii_alphabetic()))
}

/// The value of `name=value`, if it is one word that is written out, and where.
fn literal_value<'a>(file: &Pkgbuild<'a>, events: &[Event<'a>]) -> Option<(Range<usize>, &'a str)> {
    let [assign, word, .., end, _] = events else { return None };
    (assign.kind == Kind::Assign && word.kind == Kind::Word).then_some(())?;
    literal(file.text, word.at..end.at)
}

/// What is written between the quotes of a word, if nothing in it is expanded.
fn literal(text: &str, word: Range<usize>) -> Option<(Range<usize>, &str)> {
    let written = &text[word.clone()];
    let quote = written.chars().next().filter(|c| matches!(c, '\'' | '"'));
    let inner = match quote {
        Some(quote) if written.len() >= 2 && written.ends_with(quote) => word.start + 1..word.end - 1,
        Some(_) => return None,
        None => word,
    };
    let content = &text[inner.clone()];
    let meaning = ['\'', '"', '\\', '$', '`', '{', '*', '?', '[', '~', '\n'];
    (!content.contains(meaning)).then_some((inner, content))
}

/// Where the elements of an array are written.
fn words(events: &[Event<'_>]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = events.iter().position(|event| event.kind == Kind::Array).map_or(events.len(), |at| at + 1);
    while at < events.len() && events[at].kind == Kind::Word {
        let end = close(events, at);
        found.push((events[at].at, events[end - 1].at));
        at = end;
    }
    found
}

type Words<'a> = Vec<(Range<usize>, &'a str)>;

/// Every checksum by the name of its array, in order.
fn checksums<'a>(file: &Pkgbuild<'a>) -> Result<BTreeMap<&'a str, Words<'a>>, Uneditable> {
    let mut found: BTreeMap<&str, Words<'_>> = BTreeMap::new();
    for statement in &file.statements {
        let Role::Assign(name) = statement.role else { continue };
        if !name.split('_').next().is_some_and(|first| first.ends_with("sums")) {
            continue;
        }
        let events = file.events(statement);
        let sums = found.entry(name).or_default();
        if events[0].kind != Kind::Append && !sums.is_empty() {
            return refuse(format!("`{name}` is assigned more than once"));
        }
        for (start, end) in words(events) {
            match literal(file.text, start..end) {
                Some((place, sum)) if is_sum(sum) => sums.push((place, sum)),
                _ => return refuse(format!("not every checksum of `{name}` is written out")),
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
