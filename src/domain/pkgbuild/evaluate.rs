//! What variables hold, worked out from literal assignments in their order.
//!
//! A value may have *holes*: places where only a run would tell. A hole carries what stands there, so two
//! values can still be compared: with the same holes in the same places they differ as little as the rest.

use std::collections::{HashMap, HashSet};

use super::event::{Event, Kind, close, render};
use super::pattern::{self, Sign};
use super::{Pkgbuild, Role};

/// Begins a hole; it cannot occur in a text that was read.
pub const HOLE_START: char = '\u{1}';
/// Ends a hole.
pub const HOLE_END: char = '\u{2}';

/// Begins an element that stands for any number of elements, which a condition may add.
pub const OPEN: &str = "\u{1}+";

/// More elements than this are not worked out.
const MOST: usize = 2000;
/// Longer values are not worked out.
const LONGEST: usize = 64 * 1024;

/// What a variable holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Scalar(String),
    /// The elements from index 0 on.
    Array(Vec<String>),
}

impl Value {
    /// Whether all of it is known.
    #[must_use]
    pub fn is_known(&self) -> bool {
        match self {
            Self::Scalar(text) => is_known(text),
            Self::Array(elements) => elements.iter().all(|element| is_known(element)),
        }
    }

    /// The elements, of a scalar its text alone.
    #[must_use]
    pub fn elements(&self) -> &[String] {
        match self {
            Self::Scalar(text) => std::slice::from_ref(text),
            Self::Array(elements) => elements,
        }
    }
}

/// Whether a text has no holes.
#[must_use]
pub fn is_known(text: &str) -> bool {
    !text.contains(HOLE_START)
}

fn hole(text: &str) -> String {
    let inside: String = text.chars().filter(|&c| c != HOLE_START && c != HOLE_END).collect();
    format!("{HOLE_START}{inside}{HOLE_END}")
}

/// One assignment and the value of the variable behind it.
#[derive(Debug, Clone)]
pub struct Assigned<'a> {
    /// The variable.
    pub name: &'a str,
    /// What it holds from here on.
    pub value: Value,
    /// Which statement it is.
    pub statement: usize,
}

/// Everything that could be worked out.
#[derive(Debug, Clone, Default)]
pub struct Evaluated<'a> {
    /// Every assignment at the top level, in order.
    pub assigned: Vec<Assigned<'a>>,
    /// What variables hold in the end.
    pub values: HashMap<&'a str, Value>,
    /// Something ran that may have set any variable.
    pub lost: bool,
}

impl Evaluated<'_> {
    /// The text of a variable, if it is known: of an array its first element.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        let text = self.values.get(name)?.elements().first()?;
        is_known(text).then_some(text)
    }
}

impl<'a> Pkgbuild<'a> {
    /// Works out the variables.
    #[must_use]
    pub fn evaluate(&self) -> Evaluated<'a> {
        let mut state = State { functions: self.powerful_functions(), ..State::default() };
        let mut assigned = Vec::new();
        for (statement, found) in self.statements.iter().enumerate() {
            let events = self.events(found);
            match found.role {
                Role::Function(_) => {}
                Role::Code => state.code(events),
                Role::Assign(name) => {
                    state.side_effects(events);
                    state.assign(name, events);
                    let value = state.values[name].clone();
                    assigned.push(Assigned { name, value, statement });
                }
                Role::Default(name) => {
                    state.defaulted(name, events);
                    let value = state.values[name].clone();
                    assigned.push(Assigned { name, value, statement });
                }
            }
        }
        Evaluated { assigned, values: state.values, lost: state.lost }
    }

    /// The functions that may change variables when they are called.
    fn powerful_functions(&self) -> HashSet<&'a str> {
        let functions = self.statements.iter().filter_map(|statement| match statement.role {
            Role::Function(name) => Some((name, self.events(statement))),
            _ => None,
        });
        let all: HashSet<&str> = functions.clone().map(|(name, _)| name).collect();
        let powerful = |(name, events): (&'a str, &[Event<'a>])| {
            let mut state = State { functions: all.clone(), ..State::default() };
            state.code(&events[1..events.len() - 1]);
            let changes = state.lost || state.unusual || !state.touched.is_empty() || !state.attributed.is_empty();
            changes.then_some(name)
        };
        functions.filter_map(powerful).collect()
    }
}

#[derive(Default)]
struct State<'a> {
    values: HashMap<&'a str, Value>,
    /// Names of functions that may change variables, wherever in the file they are defined.
    functions: HashSet<&'a str>,
    /// Names that may have an attribute which changes what an assignment does.
    attributed: HashSet<String>,
    /// Names that may hold something that was not seen.
    touched: HashSet<String>,
    /// Something ran that may have changed anything, and what later assignments do.
    lost: bool,
    /// How expansions work may have been changed.
    unusual: bool,
}

/// Commands of the shell itself that may change any variable.
const POWERFUL: [&str; 22] = [
    ".",
    "source",
    "eval",
    "read",
    "mapfile",
    "readarray",
    "getopts",
    "let",
    "trap",
    "alias",
    "unalias",
    "enable",
    "builtin",
    "command",
    "local",
    "exec",
    "wait",
    "time",
    "cd",
    "pushd",
    "popd",
    "coproc",
];

impl<'a> State<'a> {
    /// `: ${name:=value}`
    fn defaulted(&mut self, name: &'a str, events: &[Event<'a>]) {
        let operator = events.iter().position(|event| event.kind == Kind::ParamOp).expect("it is a default");
        let operand = &events[operator + 1..events.len() - 2];
        self.side_effects(operand);
        let value = match self.values.get(name) {
            None if !self.lost
                && !self.attributed.contains(name)
                && !self.touched.contains(name)
                && name.starts_with('_') =>
            {
                self.text(operand)
            }
            _ => hole(&render(events)),
        };
        self.values.insert(name, Value::Scalar(value));
    }

    /// What a command at the top level may have changed is not known any more.
    fn code(&mut self, events: &[Event<'a>]) {
        self.side_effects(events);
        let mut declares = false;
        let mut at = 0;
        let mut begins = true;
        while at < events.len() {
            let event = &events[at];
            match event.kind {
                Kind::Assign | Kind::Append => {
                    let end = close(events, at);
                    let array = events.get(at + 1).is_some_and(|next| next.kind == Kind::Array);
                    if event.kind == Kind::Append && array && !declares {
                        self.perhaps_more(&event.text, &events[at..end]);
                    } else {
                        self.forget(&event.text);
                    }
                    if declares {
                        self.attributed.insert(event.text.to_string());
                    }
                    at = end;
                    continue;
                }
                Kind::Word => {
                    let end = close(events, at);
                    let text = literal(&events[at + 1..end - 1]);
                    if begins {
                        declares = matches!(text, Some("export" | "declare" | "typeset" | "readonly" | "unset"));
                        self.runs(text, &events[end..]);
                    } else if declares {
                        self.declares(text);
                    }
                    begins = false;
                    at = end;
                    continue;
                }
                Kind::Separator => begins = true,
                Kind::Function => {
                    at = close(events, at);
                    self.lose();
                    continue;
                }
                Kind::Operator
                    if matches!(&*event.text, "&&" | "||" | "|" | "|&" | "&" | ")" | ";;" | ";&" | ";;&") =>
                {
                    begins = true;
                }
                Kind::Operator if super::reader::is_name(&event.text) => self.forget(&event.text),
                Kind::Reserved => match &*event.text {
                    "[[" => {
                        at += events[at..]
                            .iter()
                            .position(|event| event.text == "]]" && event.kind == Kind::Reserved)
                            .unwrap_or(0);
                    }
                    "case" | "in" | "for" => begins = false,
                    _ => begins = true,
                },
                _ => {}
            }
            // The word behind `case`, and the words of a loop, are no commands.
            at += 1;
        }
    }

    /// A command of this name runs at the top level, if the name is known.
    fn runs(&mut self, name: Option<&str>, behind: &[Event<'a>]) {
        match name {
            None => self.lose(),
            Some("eval") if self.defines_package(behind) => {}
            Some(name) if POWERFUL.contains(&name) || self.functions.contains(name) => self.lose(),
            Some("shopt" | "set") => self.unusual = true,
            Some("printf") if behind.iter().any(|event| event.text.starts_with("-v") || event.kind.runs()) => {
                self.lose();
            }
            Some(_) => {}
        }
    }

    /// Whether `eval` is given the definition of a package function and nothing else, as split packages do:
    /// `package_$_p() { $(declare -f "_package…"); _package…; }`.
    fn defines_package(&self, behind: &[Event<'a>]) -> bool {
        let Some(Kind::Word) = behind.first().map(|event| event.kind) else { return false };
        let end = close(behind, 0);
        let (parts, rest) = (&behind[1..end - 1], &behind[end..]);
        let mut text = String::new();
        let mut at = 0;
        while at < parts.len() {
            let (end, part) = (close(parts, at), &parts[at]);
            let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@._+-".contains(&byte));
            match part.kind {
                Kind::Bare | Kind::Quoted => text.push_str(&part.text),
                Kind::Param | Kind::QuotedParam => {
                    let harmless = |value: &Value| value.elements().iter().all(|element| plain(element));
                    let inner = parts[at..end].iter().any(|event| event.kind.runs());
                    if inner || !self.values.get(&*part.text).is_none_or(harmless) {
                        return false;
                    }
                    text.push('P');
                }
                Kind::QuotedSubstitution if prints_function(&parts[at + 1..end - 1]) => text.push('D'),
                _ => return false,
            }
            at = end;
        }
        let names = self.values.get("pkgname").is_some_and(Value::is_known);
        let simple = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_- \n\t;".contains(&byte));
        let body = text.trim().strip_prefix("package").and_then(|text| text.strip_suffix('}'));
        let ends = rest.first().is_none_or(|event| event.kind != Kind::Word);
        names
            && ends
            && body.and_then(|body| body.split_once("() {")).is_some_and(|(name, body)| simple(name) && simple(body))
    }

    /// A word behind `declare` or its kin.
    fn declares(&mut self, word: Option<&str>) {
        match word {
            Some(option) if option.starts_with('-') => {
                if !option[1..].bytes().all(|letter| b"aAgilrux".contains(&letter)) {
                    self.lose();
                }
            }
            Some(name) if super::reader::is_name(name) => {
                self.forget(name);
                self.attributed.insert(name.to_owned());
            }
            _ => self.lose(),
        }
    }

    /// `${x:=y}` and arithmetic assign too.
    fn side_effects(&mut self, events: &[Event<'a>]) {
        for (index, event) in events.iter().enumerate() {
            match event.kind {
                Kind::ParamOp if matches!(&*event.text, ":=" | "=") => {
                    let owner = events[..index].iter().rev().find(|event| {
                        matches!(event.kind, Kind::Param | Kind::QuotedParam | Kind::Length | Kind::Indirect)
                    });
                    if let Some(owner) = owner {
                        self.forget(&owner.text.clone());
                    }
                }
                Kind::Arithmetic | Kind::Index => {
                    let inside = &events[index..close(events, index)];
                    let assigns = |event: &Event<'_>| {
                        event.text.contains('=') || event.text.contains("++") || event.text.contains("--")
                    };
                    if inside.iter().any(assigns) {
                        self.lose();
                    }
                }
                _ => {}
            }
        }
    }

    /// Elements that may have been added: one hole stands for any number of them.
    fn perhaps_more(&mut self, name: &str, events: &[Event<'a>]) {
        match self.values.get_mut(name) {
            Some(Value::Array(elements)) => elements.push(hole(&format!("+{}", render(events)))),
            _ => self.forget(name),
        }
        self.touched.insert(name.to_owned());
    }

    fn forget(&mut self, name: &str) {
        let value = Value::Scalar(hole(&format!("${name}")));
        if let Some(slot) = self.values.get_mut(name) {
            *slot = value;
        }
        self.touched.insert(name.to_owned());
        self.unusual |= name == "IFS";
    }

    fn lose(&mut self) {
        for (name, value) in &mut self.values {
            *value = Value::Scalar(hole(&format!("${name}")));
        }
        self.lost = true;
    }

    fn assign(&mut self, name: &'a str, events: &[Event<'a>]) {
        let append = events[0].kind == Kind::Append;
        let inner = &events[1..events.len() - 1];
        let indexed = inner.first().is_some_and(|event| event.kind == Kind::Index);
        let unknown = || Value::Scalar(hole(&render(events)));
        self.unusual |= name == "IFS";
        let value = if self.lost || indexed || is_special(name) || self.attributed.contains(name) {
            unknown()
        } else {
            self.assigned(name, inner, append).unwrap_or_else(unknown)
        };
        let total: usize = value.elements().iter().map(String::len).sum();
        let value = if total > LONGEST || value.elements().len() > MOST { unknown() } else { value };
        self.values.insert(name, value);
    }

    fn assigned(&self, name: &str, inner: &[Event<'a>], append: bool) -> Option<Value> {
        let before = self.values.get(name);
        if append && before.is_none() && self.touched.contains(name) {
            return None;
        }
        match inner.first().map(|event| event.kind) {
            Some(Kind::Array) => {
                let mut elements = match before {
                    Some(Value::Array(elements)) if append => elements.clone(),
                    Some(Value::Scalar(text)) if append => vec![text.clone()],
                    None if append => return None,
                    _ => Vec::new(),
                };
                elements.extend(self.array(&inner[1..inner.len() - 1])?);
                Some(Value::Array(elements))
            }
            Some(Kind::Word) => {
                let text = self.text(&inner[1..inner.len() - 1]);
                joined(before, text, append)
            }
            None => joined(before, String::new(), append),
            _ => None,
        }
    }

    fn array(&self, events: &[Event<'a>]) -> Option<Vec<String>> {
        let mut elements = Vec::new();
        let mut at = 0;
        while at < events.len() {
            let end = close(events, at);
            if events[at].kind != Kind::Word {
                return None;
            }
            elements.extend(self.fields(&events[at + 1..end - 1]));
            if elements.len() > MOST {
                return None;
            }
            at = end;
        }
        Some(elements)
    }

    /// What a word becomes where it stays one text.
    fn text(&self, parts: &[Event<'a>]) -> String {
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
    fn fields(&self, parts: &[Event<'a>]) -> Vec<String> {
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
            let last = fields.last_mut().expect("never empty");
            match part.kind {
                Kind::Bare if part.text.contains(['*', '?', '[', '~', '(']) => return unknown(),
                Kind::Bare | Kind::Quoted => last.push_str(&part.text),
                Kind::Param | Kind::QuotedParam | Kind::Length => {
                    let Some(values) = self.parameter(&parts[at..end]) else {
                        last.push_str(&hole(&render(&parts[at..end])));
                        // Without quotes it may become any number of elements.
                        if part.kind != Kind::QuotedParam || is_all(&parts[at..end]) {
                            return unknown();
                        }
                        at = end;
                        continue;
                    };
                    let whole = parts.len() == end - at;
                    if part.kind == Kind::QuotedParam {
                        if !is_all(&parts[at..end]) {
                            last.push_str(&values.join(" "));
                        } else if values.is_empty() {
                            return if parts.iter().all(|part| {
                                part.kind != Kind::Bare && part.text.is_empty()
                                    || part.kind == Kind::QuotedParam
                                    || part.kind == Kind::Index
                                    || part.kind == Kind::End
                            }) && only_index(&parts[at..end])
                            {
                                Vec::new()
                            } else {
                                unknown()
                            };
                        } else {
                            let mut values = values.into_iter();
                            last.push_str(&values.next().expect("not empty"));
                            fields.extend(values);
                        }
                    } else {
                        let splits = |value: &String| {
                            self.unusual || value.is_empty() || value.contains([' ', '\t', '\n', '*', '?', '[', '\\'])
                        };
                        if values.iter().any(splits) {
                            let patterns = values.iter().any(|value| value.contains(['*', '?', '[', '\\', HOLE_START]));
                            if !whole || patterns || self.unusual {
                                return unknown();
                            }
                            return values
                                .iter()
                                .flat_map(|value| value.split_ascii_whitespace())
                                .map(str::to_owned)
                                .collect();
                        }
                        // A hole may hold blanks.
                        if values.iter().any(|value| !is_known(value)) {
                            return unknown();
                        }
                        let mut values = values.into_iter();
                        match values.next() {
                            Some(first) => last.push_str(&first),
                            None if whole => return Vec::new(),
                            None => return unknown(),
                        }
                        fields.extend(values);
                    }
                }
                Kind::QuotedSubstitution => last.push_str(&hole(&render(&parts[at..end]))),
                _ => return unknown(),
            }
            at = end;
        }
        fields
    }

    /// The values of `${…}`: several only for all elements of an array.
    fn parameter(&self, events: &[Event<'a>]) -> Option<Vec<String>> {
        let name = &*events[0].text;
        let mut inner = &events[1..events.len() - 1];
        let value = self.values.get(name);
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
        own && !self.lost && !self.touched.contains(name) && !self.attributed.contains(name)
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
        if self.unusual || !is_known(value) || !pattern::is_workable(value) {
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

/// A text assigned to what may be an array: its first element.
fn joined(before: Option<&Value>, text: String, append: bool) -> Option<Value> {
    match before {
        Some(Value::Array(elements)) => {
            let mut elements = elements.clone();
            match elements.first_mut() {
                Some(first) if append => first.push_str(&text),
                Some(first) => *first = text,
                None => elements.push(text),
            }
            Some(Value::Array(elements))
        }
        Some(Value::Scalar(old)) if append => Some(Value::Scalar(format!("{old}{text}"))),
        None if append => None,
        _ => Some(Value::Scalar(text)),
    }
}

/// Variables to which the shell itself gives a meaning.
fn is_special(name: &str) -> bool {
    let named = [
        "_",
        "IFS",
        "PWD",
        "OLDPWD",
        "REPLY",
        "RANDOM",
        "SECONDS",
        "LINENO",
        "OPTARG",
        "OPTIND",
        "EPOCHSECONDS",
        "SRANDOM",
    ];
    let more = [
        "EPOCHREALTIME",
        "PPID",
        "UID",
        "EUID",
        "GROUPS",
        "SHELLOPTS",
        "FUNCNAME",
        "DIRSTACK",
        "HISTCMD",
        "POSIXLY_CORRECT",
    ];
    named.contains(&name)
        || more.contains(&name)
        || name.starts_with("BASH")
        || name.starts_with("LC_")
        || name == "LANG"
}

/// Whether it is `declare -f NAME`, which prints a function that is there.
fn prints_function(events: &[Event<'_>]) -> bool {
    let mut words = Vec::new();
    let mut at = 0;
    while at < events.len() {
        let end = close(events, at);
        if events[at].kind != Kind::Word {
            return false;
        }
        words.push(&events[at + 1..end - 1]);
        at = end;
    }
    let runs = |word: &&[Event<'_>]| word.iter().any(|event| event.kind.runs());
    matches!(words[..], [declare, option, _] if literal(declare) == Some("declare") && literal(option) == Some("-f"))
        && !words.iter().any(runs)
}

/// Whether it is `${x[@]}`, with or without an operator.
fn is_all(events: &[Event<'_>]) -> bool {
    matches!(events, [_, index, all, ..] if index.kind == Kind::Index && all.text == "@")
}

fn only_index(events: &[Event<'_>]) -> bool {
    events.len() == 5
}

/// The text of parts that are one literal.
fn literal<'e>(parts: &'e [Event<'_>]) -> Option<&'e str> {
    match parts {
        [part] if matches!(part.kind, Kind::Bare | Kind::Quoted) => Some(&part.text),
        _ => None,
    }
}

/// One sign of a word in which braces are expanded, or a part that is kept whole.
#[derive(Clone)]
enum Piece<'e, 'a> {
    Sign(char, Kind),
    Whole(&'e [Event<'a>]),
}

/// The words that a word with `{a,b}` or `{1..3}` stands for.
fn braces_of<'a>(parts: &[Event<'a>]) -> Option<Vec<Vec<Event<'a>>>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < parts.len() {
        let (end, part) = (close(parts, at), &parts[at]);
        if matches!(part.kind, Kind::Bare | Kind::Quoted) {
            pieces.extend(part.text.chars().map(|c| Piece::Sign(c, part.kind)));
        } else {
            pieces.push(Piece::Whole(&parts[at..end]));
        }
        at = end;
    }
    if pieces.len() > 2000 {
        return None;
    }
    let mut words = vec![pieces];
    // Each round opens the first brace of every word.
    for _ in 0..4 {
        let mut next = Vec::new();
        let mut opened = false;
        for word in words {
            match first_brace(&word)? {
                None => next.push(word),
                Some((open, shut, choices)) => {
                    opened = true;
                    for choice in choices {
                        let mut pieces = word[..open].to_vec();
                        pieces.extend(choice);
                        pieces.extend_from_slice(&word[shut + 1..]);
                        next.push(pieces);
                    }
                }
            }
            if next.len() > 200 {
                return None;
            }
        }
        words = next;
        if !opened {
            return Some(words.into_iter().map(gathered).collect());
        }
    }
    None
}

type Choices<'e, 'a> = Option<(usize, usize, Vec<Vec<Piece<'e, 'a>>>)>;

/// The first brace that expands. `None` outside if it cannot be said whether it does.
fn first_brace<'e, 'a>(word: &[Piece<'e, 'a>]) -> Option<Choices<'e, 'a>> {
    let bare = |piece: &Piece<'_, '_>, sign: char| matches!(piece, Piece::Sign(c, Kind::Bare) if *c == sign);
    let Some(open) = word.iter().position(|piece| bare(piece, '{')) else {
        return Some(None);
    };
    let shut = open + word[open..].iter().position(|piece| bare(piece, '}'))?;
    let inside = &word[open + 1..shut];
    if inside.iter().any(|piece| bare(piece, '{')) {
        return None;
    }
    if inside.iter().any(|piece| bare(piece, ',')) {
        let choices = inside.split(|piece| bare(piece, ',')).map(<[_]>::to_vec).collect();
        return Some(Some((open, shut, choices)));
    }
    let text: String =
        inside.iter().map(|piece| if let Piece::Sign(c, Kind::Bare) = piece { *c } else { '?' }).collect();
    let (from, to) = text.split_once("..")?;
    let plain = |text: &str| {
        text == "0" || (!text.starts_with('0') && text.len() < 6 && text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if !plain(from) || !plain(to) {
        return None;
    }
    let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
    if to < from || to - from > 100 {
        return None;
    }
    let sign = |text: String| text.chars().map(|c| Piece::Sign(c, Kind::Bare)).collect();
    Some(Some((open, shut, (from..=to).map(|number| sign(number.to_string())).collect())))
}

fn gathered<'a>(pieces: Vec<Piece<'_, 'a>>) -> Vec<Event<'a>> {
    let mut events: Vec<Event<'a>> = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Whole(part) => events.extend_from_slice(part),
            Piece::Sign(c, kind) => match events.last_mut() {
                Some(last) if last.kind == kind => last.text.to_mut().push(c),
                _ => events.push(Event { kind, text: c.to_string().into(), at: 0 }),
            },
        }
    }
    events
}
