//! Names for what was written out, and the reverse: a variable that holds what stood there changes nothing.

use std::collections::{HashMap, HashSet};

use super::forms::Forms;
use super::recipe::Recipe;
use crate::domain::pkgbuild::{Event, Kind, Role, Statement, close};

/// More variables than this are not written out in one function.
const MOST_NAMES: usize = 20;

/// The names that a file speaks of, apart from plain assignments of what is known.
#[derive(Debug, Default)]
pub(super) struct Mentions {
    /// In what runs, in any way.
    running: HashSet<String>,
    /// In what runs, in other ways than to expand them.
    touched: HashSet<String>,
    /// In values that are not known.
    untold: HashSet<String>,
    /// Expanded anywhere.
    expanded: HashSet<String>,
    /// Expanded, counted or computed with anywhere.
    read: HashSet<String>,
    /// Something that runs may speak of a variable without writing its name.
    guessed: bool,
    /// Which variable is expanded somewhere is said by another.
    chosen: bool,
}

impl Mentions {
    pub fn of(recipe: &Recipe<'_>) -> Self {
        let mut mentions = Self::default();
        for statement in &recipe.pkgbuild.statements {
            let events = recipe.pkgbuild.events(statement);
            let expanded = events.iter().filter(|event| is_expansion(event));
            mentions.expanded.extend(expanded.map(|event| event.text.to_string()));
            mentions.read.extend(read_in(events).map(str::to_owned));
            mentions.chosen |= events.iter().any(|event| event.kind == Kind::Indirect);
            match statement.role {
                Role::Assign(_) => continue,
                // The environment may say what it holds.
                Role::Default(name) => drop(mentions.touched.insert(name.to_owned())),
                Role::Function(_) | Role::Code => {}
            }
            for event in events {
                let expands = is_expansion(event);
                for name in names_in(&event.text) {
                    mentions.running.insert(name.to_owned());
                    if !expands {
                        mentions.touched.insert(name.to_owned());
                    }
                }
            }
            mentions.guessed |= guesses(events);
        }
        for assigned in recipe.evaluated.assigned.iter().filter(|assigned| !assigned.value.is_known()) {
            let events = recipe.assignment(assigned.statement).iter();
            mentions.untold.extend(events.flat_map(|event| names_in(&event.text)).map(str::to_owned));
        }
        mentions
    }

    /// Whether nothing in the file looks into a variable: only makepkg does.
    pub fn is_only_declared(&self, name: &str) -> bool {
        !self.guessed && !self.chosen && !self.read.contains(name)
    }

    /// Whether the value of a variable is all that there is to it, where something runs.
    fn is_plain(&self, name: &str) -> bool {
        !self.guessed && !self.touched.contains(name)
    }
}

/// Everything in a text that may be the name of a variable.
pub(super) fn names_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
}

/// The names of variables that are expanded, counted or computed with.
fn read_in<'e>(events: &'e [Event<'_>]) -> impl Iterator<Item = &'e str> {
    let expanded = events.iter().filter(|event| {
        matches!(event.kind, Kind::Param | Kind::QuotedParam | Kind::Length | Kind::Indirect | Kind::Backticks)
    });
    let computes = |event: &Event<'_>| matches!(event.kind, Kind::Arithmetic | Kind::Index);
    let computed = events.iter().enumerate().filter(move |(_, event)| computes(event));
    let inside = computed.flat_map(|(at, _)| &events[at..close(events, at)]);
    expanded.chain(inside).flat_map(|event| names_in(&event.text))
}

/// Commands of the shell that give values to variables whose names are among their words.
const NAMING: [&str; 14] = [
    "alias",
    "declare",
    "export",
    "getopts",
    "local",
    "mapfile",
    "printf",
    "read",
    "readarray",
    "readonly",
    "trap",
    "typeset",
    "unset",
    "wait",
];

/// Commands after which any variable may be another, or may be seen by others.
const ANYTHING: [&str; 6] = ["compgen", "enable", "eval", "let", "set", "shopt"];

/// Comparisons that compute with what they are given, and so may assign.
const COMPUTING: [&str; 6] = ["-eq", "-ne", "-lt", "-le", "-gt", "-ge"];

/// Whether commands name variables in other ways than to write them, or change what expanding one gives.
fn guesses(events: &[Event<'_>]) -> bool {
    let refers = |(at, event): (usize, &Event<'_>)| match event.kind {
        Kind::Word => guesses_at(events, at),
        Kind::Indirect | Kind::Backticks => true,
        // A subscript is computed, and what is computed may assign.
        Kind::Arithmetic => events[at..close(events, at)].iter().any(|event| event.kind.opens() && is_expansion(event)),
        Kind::Index => events[at + 1..close(events, at)].iter().any(|event| event.kind.opens()),
        Kind::ParamOp => event.text.starts_with('@'),
        _ => event.text == "IFS",
    };
    events.iter().enumerate().any(refers)
}

/// Whether the command to which a word gives the name may do so.
fn guesses_at(events: &[Event<'_>], at: usize) -> bool {
    let words = || words_from(events, at);
    let computed = |word: &[Event<'_>]| word.iter().any(|event| is_expansion(event) || event.kind.runs());
    let Some(name) = words().next() else { return false };
    let [name] = name else {
        // A command that a variable names may be any; a path is that of a program.
        return begins_command(events, at) && computed(name) && !name.iter().any(|event| event.text.contains('/'));
    };
    match &*name.text {
        text if ANYTHING.contains(&text) => true,
        // Alone, these are words like others.
        "." | "source" => words().nth(1).is_some(),
        "printf" => words().skip(1).any(|word| word.iter().any(|event| event.text.starts_with("-v"))),
        text if NAMING.contains(&text) => {
            let option = |word: &[Event<'_>]| matches!(word, [word] if word.text.starts_with('-') && word.text.contains(['n', 'p']));
            words().skip(1).any(|word| computed(word) || (option(word) && text != "read"))
        }
        "-v" => words().skip(1).take(1).any(computed),
        text if COMPUTING.contains(&text) => true,
        _ => false,
    }
}

/// The insides of the words from one on, up to the end of its command.
fn words_from<'e, 'a>(events: &'e [Event<'a>], at: usize) -> impl Iterator<Item = &'e [Event<'a>]> {
    let mut at = at;
    std::iter::from_fn(move || {
        // Assignments among the words name what they assign.
        while events.get(at).is_some_and(|event| matches!(event.kind, Kind::Assign | Kind::Append)) {
            at = close(events, at);
        }
        let word = events.get(at).filter(|event| event.kind == Kind::Word)?;
        debug_assert_eq!(word.kind, Kind::Word);
        let end = close(events, at);
        let inside = &events[at + 1..end - 1];
        at = end;
        Some(inside)
    })
}

/// Whether no other word stands before a word in its command.
fn begins_command(events: &[Event<'_>], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| &events[before]) else { return true };
    match before.kind {
        Kind::Separator | Kind::Function | Kind::Substitution | Kind::QuotedSubstitution | Kind::Process => true,
        Kind::Operator => matches!(&*before.text, "&&" | "||" | "|" | "|&" | "&" | ")" | "("),
        Kind::Reserved => !matches!(&*before.text, "[[" | "in" | "for" | "case" | "select"),
        _ => false,
    }
}

fn is_expansion(event: &Event<'_>) -> bool {
    matches!(event.kind, Kind::Param | Kind::QuotedParam)
}

/// Whether a variable of the packager's own that came or went only names what is compared where it stands: values of
/// other assignments, and words of what runs.
pub(super) fn is_only_a_name(name: &str, (without, with): (&Recipe<'_>, &Recipe<'_>)) -> bool {
    let own = name.starts_with('_') && name.len() > 1;
    let told = |recipe: &Recipe<'_>| {
        let mentions = recipe.mentions();
        !mentions.guessed && !mentions.untold.contains(name)
    };
    // What spoke of it before it was there does something else with it now.
    let spoken = without.mentions().running.contains(name);
    let used = with.mentions().expanded.contains(name);
    own && !spoken && used && with.mentions().is_plain(name) && told(without) && told(with)
}

/// Whether two bodies are the same once simple variables that hold a known word are written out.
pub(super) fn literals_named(
    (old, was): (&Recipe<'_>, &Statement<'_>),
    (new, is): (&Recipe<'_>, &Statement<'_>),
    forms: &Forms,
) -> bool {
    let (before, after) = (written_out(old, was), written_out(new, is));
    before.len() == after.len()
        && before.iter().zip(&after).all(|(old, new)| {
            old.same(new)
                || (old.kind == new.kind
                    && matches!(old.kind, Kind::Bare | Kind::Quoted)
                    && forms.moved(&old.text, &new.text))
        })
}

/// The word that a variable holds wherever a statement is run, if that is known.
fn word(recipe: &Recipe<'_>, name: &str, statement: &Statement<'_>) -> Option<String> {
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte))
    };
    let dynamic = || recipe.pkgbuild.statements.iter().any(|statement| statement.role == Role::Function("pkgver"));
    let text = recipe.certain().text(name).filter(|text| plain(text))?;
    let own = name.starts_with('_') && recipe.mentions().is_plain(name);
    let named = own || matches!(name, "pkgname" | "pkgbase" | "pkgrel") || (name == "pkgver" && !dynamic());
    let single = recipe.elements(name).len() == 1 && recipe.assignments(name) == 1;
    (named && single && is_assigned_before(recipe, name, statement)).then(|| text.to_owned())
}

/// Whether a variable is assigned before a statement may run: commands may call any function.
fn is_assigned_before(recipe: &Recipe<'_>, name: &str, statement: &Statement<'_>) -> bool {
    let statements = || recipe.pkgbuild.statements.iter();
    let runs = match statement.role {
        Role::Function(_) => statements().position(|other| recipe.acts(other)),
        _ => statements().position(|other| other.range.start == statement.range.start),
    };
    runs.is_none_or(|runs| recipe.assigned_before(name, runs) > 0)
}

/// The events of a body in which `$pkgname` and its kin stand as the words that they hold.
fn written_out<'a>(recipe: &Recipe<'a>, statement: &Statement<'a>) -> Vec<Event<'a>> {
    let events = recipe.pkgbuild.events(statement);
    let mut words: HashMap<&str, Option<String>> = HashMap::new();
    let mut written: Vec<Event<'a>> = Vec::with_capacity(events.len());
    let mut at = 0;
    while at < events.len() {
        let event = &events[at];
        let simple = is_expansion(event) && events.get(at + 1).is_some_and(|next| next.kind == Kind::End);
        let text = match words.get(&*event.text) {
            _ if !simple => None,
            Some(text) => text.clone(),
            None if words.len() == MOST_NAMES => None,
            None => words.entry(&event.text).or_insert_with(|| word(recipe, &event.text, statement)).clone(),
        };
        let named = text.is_some();
        let (kind, text) = match text {
            Some(text) => {
                at += 1;
                (Kind::Bare, text.into())
            }
            None => (event.kind, event.text.clone()),
        };
        at += 1;
        match written.last_mut() {
            // Empty quotes mean nothing beside the letters of a name's value; beside `~` or `==` they would.
            Some(last) if named && last.kind == Kind::Quoted && last.text.is_empty() => {
                *last = Event { kind, text, at: event.at };
            }
            Some(last) if last.kind == Kind::Bare && kind == Kind::Bare => last.text.to_mut().push_str(&text),
            _ => written.push(Event { kind, text, at: event.at }),
        }
    }
    written
}
