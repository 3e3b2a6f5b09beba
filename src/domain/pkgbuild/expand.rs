//! What words become: expansions of variables, operators, splitting.

use super::braces::braces_of;
use super::evaluate::{State, hole};
use super::event::{Event, Kind, close, render};
use super::pattern::{self, Sign};
use super::{HOLE_START, is_known};

/// More steps than this are not taken for all patterns of a file.
const MOST_STEPS: usize = 100_000_000;

impl<'a> State<'a> {
    /// What a word becomes where it stays one text.
    pub(super) fn text(&self, parts: &[Event<'a>]) -> String {
        let mut text = String::new();
        let mut at = 0;
        while at < parts.len() {
            let end = close(parts, at);
            let part = &parts[at];
            match part.kind {
                Kind::Bare if part.text.contains('~') => text.push_str(&hole(&part.text)),
                Kind::Bare | Kind::Quoted => text.push_str(&part.text),
                Kind::Param | Kind::QuotedParam | Kind::Length => match self.parameter(&parts[at..end]) {
                    Some(values) => text.push_str(&values.join(" ")),
                    None => text.push_str(&hole(&render(&parts[at..end]))),
                },
                _ => text.push_str(&hole(&render(&parts[at..end]))),
            }
            at = end;
        }
        text
    }

    /// What a word becomes in an array: braces, splitting and patterns count.
    pub(super) fn fields(&self, parts: &[Event<'a>]) -> Vec<String> {
        let braces = parts.iter().any(|part| part.kind == Kind::Bare && part.text.contains('{'));
        if braces {
            let Some(words) = braces_of(parts) else {
                return vec![hole(&render(parts))];
            };
            return words.iter().flat_map(|parts| self.fields_here(parts)).collect();
        }
        self.fields_here(parts)
    }

    fn fields_here(&self, parts: &[Event<'a>]) -> Vec<String> {
        let unknown = || vec![hole(&render(parts))];
        let mut fields = vec![String::new()];
        let mut at = 0;
        while at < parts.len() {
            let (end, part) = (close(parts, at), &parts[at]);
            let expansion = &parts[at..end];
            let last = fields.last_mut().expect("never empty");
            match part.kind {
                Kind::Bare if part.text.contains(['*', '?', '[', '~', '(']) => return unknown(),
                Kind::Bare | Kind::Quoted => last.push_str(&part.text),
                Kind::Param | Kind::QuotedParam | Kind::Length => {
                    let found = match self.parameter(expansion) {
                        Some(values) if part.kind == Kind::QuotedParam => quoted(values, expansion, parts),
                        Some(values) => self.split(values, parts.len() == expansion.len()),
                        // Without quotes it may become any number of elements.
                        None if part.kind != Kind::QuotedParam || is_all(expansion) => Becomes::Unknown,
                        None => Becomes::Joined(vec![hole(&render(expansion))]),
                    };
                    match found {
                        Becomes::Joined(values) => {
                            let mut values = values.into_iter();
                            last.push_str(&values.next().unwrap_or_default());
                            fields.extend(values);
                        }
                        Becomes::Whole(values) => return values,
                        Becomes::Unknown => return unknown(),
                    }
                }
                Kind::QuotedSubstitution => last.push_str(&hole(&render(expansion))),
                _ => return unknown(),
            }
            at = end;
        }
        fields
    }

    /// What values become without quotes: the shell splits them and takes them for patterns. `whole` if the word is
    /// nothing else.
    fn split(&self, values: Vec<String>, whole: bool) -> Becomes {
        let splits =
            |value: &String| self.unusual || value.is_empty() || value.contains([' ', '\t', '\n', '*', '?', '[', '\\']);
        if values.iter().any(splits) {
            let patterns = values.iter().any(|value| value.contains(['*', '?', '[', '\\', HOLE_START]));
            if !whole || patterns || self.unusual {
                return Becomes::Unknown;
            }
            let words = values.iter().flat_map(|value| value.split_ascii_whitespace());
            return Becomes::Whole(words.map(str::to_owned).collect());
        }
        // A hole may hold blanks.
        let is_unknown = values.iter().any(|value| !is_known(value));
        if values.is_empty() && whole {
            Becomes::Whole(values)
        } else if values.is_empty() || is_unknown {
            Becomes::Unknown
        } else {
            Becomes::Joined(values)
        }
    }

    /// The values of `${…}`: several only for all elements of an array.
    fn parameter(&self, events: &[Event<'a>]) -> Option<Vec<String>> {
        let name = &*events[0].text;
        let mut inner = &events[1..events.len() - 1];
        let value = self.values.get(name).map(|value| &**value);
        let mut values = match (inner.first().map(|event| event.kind), value) {
            (Some(Kind::Index), Some(value)) => {
                let end = close(inner, 0);
                let index = literal(&inner[1..end - 1])?;
                inner = &inner[end..];
                match (index, value) {
                    ("*", _) if self.unusual => return None,
                    ("@" | "*", value) => value.elements().to_vec(),
                    (index, value) => vec![value.elements().get(index.parse::<usize>().ok()?)?.clone()],
                }
            }
            (_, Some(value)) => vec![value.elements().first().cloned().unwrap_or_default()],
            (None | Some(Kind::ParamOp), None) if self.is_unset(name) => return self.unset(inner),
            (_, None) => return None,
        };
        if !self.may_expand(values.iter().map(|text| text.len() + size_of::<String>()).sum()) {
            return None;
        }
        if events[0].kind == Kind::Length {
            if !inner.is_empty() || values.iter().any(|value| !is_known(value)) {
                return None;
            }
            let all = is_all(events);
            let single = values.first().filter(|value| value.is_ascii());
            let length = if all { values.len() } else { single?.len() };
            return Some(vec![length.to_string()]);
        }
        let Some(operator) = inner.first() else {
            return Some(values);
        };
        if operator.kind != Kind::ParamOp {
            return None;
        }
        let split = inner.iter().position(|event| event.kind == Kind::ParamPart).unwrap_or(inner.len());
        let second = inner.get(split + 1..).unwrap_or_default();
        let all = is_all(events);
        if all && operator.text == ":" {
            return None;
        }
        for value in &mut values {
            *value = self.operated(value, &operator.text, &inner[1..split], second)?;
        }
        Some(values)
    }

    /// Whether nothing has given the variable a value. Names like these are the packager's own, which neither
    /// makepkg nor an environment sets.
    fn is_unset(&self, name: &str) -> bool {
        let own = name.starts_with('_') && name.len() > 1;
        own && !self.is_blind() && !self.touched.contains(name) && !self.attributed.contains(name)
    }

    /// The value of an expansion of a variable that is not set.
    fn unset(&self, inner: &[Event<'a>]) -> Option<Vec<String>> {
        match inner.first().map(|operator| &*operator.text) {
            None | Some("+" | ":+") => Some(vec![String::new()]),
            Some("-" | ":-") => Some(vec![self.text(&inner[1..])]).filter(|values| is_known(&values[0])),
            _ => None,
        }
    }

    fn operated(&self, value: &str, operator: &str, first: &[Event<'a>], second: &[Event<'a>]) -> Option<String> {
        match operator {
            ":-" | ":=" if is_known(value) && !value.is_empty() => return Some(value.to_owned()),
            ":+" if is_known(value) && value.is_empty() => return Some(String::new()),
            "-" | "=" => return Some(value.to_owned()),
            _ => {}
        }
        if self.unusual || !is_known(value) || !pattern::is_workable(value) || self.is_tired(value) {
            return None;
        }
        match operator {
            ":-" | ":+" | "+" => Some(self.text(first)).filter(|text| is_known(text)),
            "#" | "##" => Some(pattern::without_prefix(value, &self.pattern(first)?, operator == "##").to_owned()),
            "%" | "%%" => Some(pattern::without_suffix(value, &self.pattern(first)?, operator == "%%").to_owned()),
            "/" | "//" | "/#" | "/%" => {
                let with = self.text(second);
                let plain = is_known(&with) && !with.contains(['&', '\\']);
                plain
                    .then(|| self.pattern(first))
                    .flatten()
                    .map(|pattern| pattern::replaced(value, &pattern, &with, operator))
            }
            "^^" if first.is_empty() => Some(value.to_ascii_uppercase()),
            ",," if first.is_empty() => Some(value.to_ascii_lowercase()),
            "^" if first.is_empty() => value.get(..1).map(|front| front.to_ascii_uppercase() + &value[1..]),
            "," if first.is_empty() => value.get(..1).map(|front| front.to_ascii_lowercase() + &value[1..]),
            ":" => {
                let number = |events: &[Event<'a>]| literal(events).and_then(|text| text.trim().parse::<i64>().ok());
                let length = i64::try_from(value.len()).ok()?;
                let from = if first.is_empty() { 0 } else { number(first)? };
                let from = if from < 0 { length + from } else { from };
                let count = if second.is_empty() { length } else { number(second)? };
                let to = if count < 0 { length + count } else { (from + count).min(length) };
                if from < 0 || to < from || from > length {
                    return None;
                }
                value.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?).map(str::to_owned)
            }
            _ => None,
        }
    }

    /// Whether too many steps went into patterns; those of a match grow with the cube of the text.
    fn is_tired(&self, value: &str) -> bool {
        self.steps.set(self.steps.get().saturating_add(value.len().pow(3)));
        self.steps.get() > MOST_STEPS
    }

    fn pattern(&self, events: &[Event<'a>]) -> Option<Vec<Sign>> {
        let mut signs = Vec::new();
        let mut at = 0;
        while at < events.len() {
            let (end, event) = (close(events, at), &events[at]);
            match event.kind {
                Kind::Bare => pattern::add_bare(&mut signs, &event.text)?,
                Kind::Quoted => signs.extend(event.text.bytes().map(Sign::Byte)),
                Kind::Param | Kind::QuotedParam => {
                    let text = self.parameter(&events[at..end])?.join(" ");
                    let plain = is_known(&text) && !text.contains(['*', '?', '[', '\\', '(', '~']);
                    signs.extend(plain.then_some(text)?.bytes().map(Sign::Byte));
                }
                _ => return None,
            }
            at = end;
        }
        let workable =
            signs.len() <= 100 && signs.iter().all(|sign| !matches!(sign, Sign::Byte(byte) if !byte.is_ascii()));
        workable.then_some(signs)
    }
}

/// Whether it is `${x[@]}`, with or without an operator.
/// What a parameter becomes among the other parts of a word.
enum Becomes {
    /// Elements of which the first goes on where the word is, and the last is gone on with.
    Joined(Vec<String>),
    /// The elements of the whole word.
    Whole(Vec<String>),
    /// The whole word cannot be told.
    Unknown,
}

/// What values become in quotes, which keep the elements of an array apart.
fn quoted(values: Vec<String>, expansion: &[Event<'_>], parts: &[Event<'_>]) -> Becomes {
    if !is_all(expansion) {
        return Becomes::Joined(vec![values.join(" ")]);
    }
    if !values.is_empty() {
        return Becomes::Joined(values);
    }
    let is_nothing = |part: &Event<'_>| {
        part.kind != Kind::Bare && part.text.is_empty()
            || matches!(part.kind, Kind::QuotedParam | Kind::Index | Kind::End)
    };
    if parts.iter().all(is_nothing) && only_index(expansion) { Becomes::Whole(Vec::new()) } else { Becomes::Unknown }
}

fn is_all(events: &[Event<'_>]) -> bool {
    matches!(events, [_, index, all, ..] if index.kind == Kind::Index && all.text == "@")
}

fn only_index(events: &[Event<'_>]) -> bool {
    events.len() == 5
}

/// The text of parts that are one literal.
pub(super) fn literal<'e>(parts: &'e [Event<'_>]) -> Option<&'e str> {
    match parts {
        [part] if matches!(part.kind, Kind::Bare | Kind::Quoted) => Some(&part.text),
        _ => None,
    }
}
