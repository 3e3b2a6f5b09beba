//! What variables hold, worked out from literal assignments in their order.
//!
//! A value may have *holes*: places where only a run would tell. A hole carries what stands there, so two
//! values can still be compared: with the same holes in the same places they differ as little as the rest.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::commands::Effects;
use super::event::{Event, Kind, close, render};
use super::expand::literal;
use super::{Pkgbuild, Role};

/// Begins a hole; it cannot occur in a text that was read.
pub const HOLE_START: char = '\u{1}';
/// Ends a hole.
pub const HOLE_END: char = '\u{2}';

/// Begins an element that stands for any number of elements, which a condition may add.
pub const OPEN: &str = "\u{1}+";

/// Deeper calls of functions may do anything.
const LEVELS: usize = 3;

/// More elements than this are not worked out.
const MOST: usize = 2000;
/// More than this of all values together is not worked out, in bytes.
const BUDGET: usize = 2 * 1024 * 1024;
/// Longer values are not worked out.
const LONGEST: usize = 64 * 1024;
/// More than this is not expanded, in bytes.
const MOST_EXPANDED: usize = 8 * 1024 * 1024;
/// More variables than this, counted at every call, are not followed through functions.
pub(super) const MOST_WORK: usize = 1_000_000;

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

pub(super) fn hole(text: &str) -> String {
    let inside: String = text.chars().filter(|&c| c != HOLE_START && c != HOLE_END).collect();
    format!("{HOLE_START}{inside}{HOLE_END}")
}

/// One assignment and the value of the variable behind it.
#[derive(Debug, Clone)]
pub struct Assigned<'a> {
    /// The variable.
    pub name: &'a str,
    /// What it holds from here on.
    pub value: Rc<Value>,
    /// Which statement it is.
    pub statement: usize,
}

/// Everything that could be worked out.
#[derive(Debug, Clone, Default)]
pub struct Evaluated<'a> {
    /// Every assignment at the top level, in order.
    pub assigned: Vec<Assigned<'a>>,
    /// What variables hold in the end.
    pub values: HashMap<&'a str, Rc<Value>>,
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
    /// Works out the variables. What is known is what bash would have.
    #[must_use]
    pub fn evaluate(&self) -> Evaluated<'a> {
        self.evaluated(false)
    }

    /// Works out the variables, assuming that commands set only those that they name.
    ///
    /// Good for comparing two files with the same commands, and for nothing else.
    #[must_use]
    pub fn assume(&self) -> Evaluated<'a> {
        self.evaluated(true)
    }

    fn evaluated(&self, assuming: bool) -> Evaluated<'a> {
        let mut state = State { assuming, ..State::default() };
        state.functions = self.effects(&mut state.worked);
        let mut assigned = Vec::new();
        for (statement, found) in self.statements.iter().enumerate() {
            let events = self.events(found);
            match found.role {
                Role::Function(_) => {}
                Role::Code => state.code(events),
                Role::Assign(name) => {
                    state.side_effects(events);
                    state.assign(name, events);
                    let value = Rc::clone(&state.values[name]);
                    assigned.push(Assigned { name, value, statement });
                }
                Role::Default(name) => {
                    state.defaulted(name, events);
                    let value = Rc::clone(&state.values[name]);
                    assigned.push(Assigned { name, value, statement });
                }
            }
        }
        Evaluated { assigned, values: state.values, lost: state.lost }
    }

    /// What calling each function may do, wherever in the file it is defined; of those only that code at the top
    /// level calls, itself or through others.
    fn effects(&self, worked: &mut usize) -> Functions<'a> {
        let functions = self.called();
        let mut effects: Functions<'a> = functions.keys().map(|&name| (name, Rc::new(Effects::anything()))).collect();
        // Each round knows one more level of calls; a function that calls itself may do anything.
        for _ in 0..LEVELS {
            let mut better: HashMap<&str, Effects> = HashMap::new();
            for (name, events) in functions.iter().flat_map(|(name, all)| all.iter().map(move |events| (name, events)))
            {
                let mut state = State { functions: effects, worked: *worked, ..State::default() };
                state.code(&events[1..events.len() - 1]);
                better.entry(name).or_default().join(state.as_effects());
                (effects, *worked) = (state.functions, state.worked);
            }
            effects = better.into_iter().map(|(name, effects)| (name, Rc::new(effects))).collect();
        }
        effects
    }

    /// The functions that code at the top level may call, with every definition.
    fn called(&self) -> HashMap<&'a str, Vec<&[Event<'a>]>> {
        let mut functions: HashMap<&str, Vec<&[Event<'a>]>> = HashMap::new();
        let mut callers = Vec::new();
        for statement in &self.statements {
            match statement.role {
                Role::Code => callers.push(self.events(statement)),
                Role::Function(name) => functions.entry(name).or_default().push(self.events(statement)),
                Role::Assign(_) | Role::Default(_) => {}
            }
        }
        let mut called = HashMap::new();
        while let Some(caller) = callers.pop().filter(|_| !functions.is_empty()) {
            let words = caller.windows(2).filter(|pair| pair[0].kind == Kind::Word);
            for (name, all) in words.filter_map(|pair| functions.remove_entry(literal(&pair[1..])?)) {
                callers.extend(&all);
                called.insert(name, all);
            }
        }
        called
    }
}

/// What calls of functions may do, by name.
type Functions<'a> = HashMap<&'a str, Rc<Effects>>;

#[derive(Default)]
pub(super) struct State<'a> {
    pub values: HashMap<&'a str, Rc<Value>>,
    /// What calls of functions may do.
    pub functions: Functions<'a>,
    /// Names that may have an attribute which changes what an assignment does.
    pub attributed: HashSet<String>,
    /// Names that may hold something that was not seen.
    pub touched: HashSet<String>,
    /// Something ran that may have changed anything, and what later assignments do.
    pub lost: bool,
    /// How expansions work may have been changed.
    pub unusual: bool,
    /// What was lost is assumed to be as it was.
    assuming: bool,
    /// The size of all values that were worked out.
    spent: usize,
    /// Steps that were taken to match patterns.
    pub steps: Cell<usize>,
    /// How much was expanded.
    expanded: Cell<usize>,
    /// Variables that calls of functions touched.
    pub worked: usize,
    /// There was too much to follow.
    exhausted: bool,
}

impl<'a> State<'a> {
    /// `: ${name:=value}` and `: ${name=value}`, which are the same to a variable that was never set.
    fn defaulted(&mut self, name: &'a str, events: &[Event<'a>]) {
        let operator = events.iter().position(|event| event.kind == Kind::ParamOp).expect("it is a default");
        let operand = &events[operator + 1..events.len() - 2];
        self.side_effects(operand);
        let value = match self.values.get(name) {
            None if !self.is_blind()
                && !self.attributed.contains(name)
                && !self.touched.contains(name)
                && name.starts_with('_') =>
            {
                self.text(operand)
            }
            _ => hole(&render(events)),
        };
        self.values.insert(name, Rc::new(Value::Scalar(value)));
    }

    /// Whether nothing can be said of variables any more.
    pub fn is_blind(&self) -> bool {
        self.exhausted || (self.lost && !self.assuming)
    }

    /// Nothing is known from here on.
    pub fn give_up(&mut self) {
        self.lost = true;
        if !std::mem::replace(&mut self.exhausted, true) {
            self.forget_all();
        }
    }

    /// Whether this much more may be expanded.
    pub fn may_expand(&self, bytes: usize) -> bool {
        self.expanded.set(self.expanded.get().saturating_add(bytes));
        self.expanded.get() <= MOST_EXPANDED
    }

    /// Elements that may have been added: one hole stands for any number of them.
    pub fn perhaps_more(&mut self, name: &str, events: &[Event<'a>]) {
        match self.values.get_mut(name).map(Rc::make_mut) {
            Some(Value::Array(elements)) => elements.push(hole(&format!("+{}", render(events)))),
            _ => self.forget(name),
        }
        self.touched.insert(name.to_owned());
    }

    pub fn forget(&mut self, name: &str) {
        let value = Value::Scalar(hole(&format!("${name}")));
        if let Some(slot) = self.values.get_mut(name) {
            *slot = Rc::new(value);
        }
        self.touched.insert(name.to_owned());
        self.unusual |= name == "IFS";
    }

    pub fn lose(&mut self) {
        if !std::mem::replace(&mut self.lost, true) && self.is_blind() {
            self.forget_all();
        }
    }

    fn forget_all(&mut self) {
        for (name, value) in &mut self.values {
            *value = Rc::new(Value::Scalar(hole(&format!("${name}"))));
        }
    }

    fn assign(&mut self, name: &'a str, events: &[Event<'a>]) {
        let append = events[0].kind == Kind::Append;
        let inner = &events[1..events.len() - 1];
        let unknown = || Value::Scalar(hole(&render(events)));
        self.unusual |= name == "IFS";
        let value = if self.is_blind() || is_special(name) || self.attributed.contains(name) {
            unknown()
        } else {
            self.assigned(name, inner, append).unwrap_or_else(unknown)
        };
        let total: usize = value.elements().iter().map(String::len).sum();
        self.spent += total + size_of_val(value.elements());
        let too_much = total > LONGEST || value.elements().len() > MOST || self.spent > BUDGET;
        let value = if too_much { unknown() } else { value };
        self.values.insert(name, Rc::new(value));
    }

    fn assigned(&self, name: &str, inner: &[Event<'a>], append: bool) -> Option<Value> {
        let before = self.values.get(name).map(Rc::as_ref);
        if append && before.is_none() && self.touched.contains(name) {
            return None;
        }
        match inner.first().map(|event| event.kind) {
            Some(Kind::Index) if !append => self.at_index(before?, inner),
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

    /// The array with one element put in the place of another.
    fn at_index(&self, before: &Value, inner: &[Event<'a>]) -> Option<Value> {
        let Value::Array(mut elements) = before.clone() else { return None };
        let end = close(inner, 0);
        let index = literal(&inner[1..end - 1]).filter(|text| *text == "0" || !text.starts_with('0'))?;
        let slot = elements.get_mut(index.parse::<usize>().ok()?)?;
        *slot = match &inner[end..] {
            [] => String::new(),
            [word, parts @ .., _] if word.kind == Kind::Word => self.text(parts),
            _ => return None,
        };
        // An element that stands for several moves all behind it.
        elements.iter().all(|element| !element.starts_with(OPEN)).then_some(Value::Array(elements))
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
