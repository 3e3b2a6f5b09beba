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
    /// Something that runs may speak of a variable without writing its name.
    guessed: bool,
}

impl Mentions {
    pub fn of(recipe: &Recipe<'_>) -> Self {
        let mut mentions = Self::default();
        for statement in &recipe.pkgbuild.statements {
            let events = recipe.pkgbuild.events(statement);
            mentions
                .expanded
                .extend(events.iter().filter(|event| is_expansion(event)).map(|event| event.text.to_string()));
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

    /// Whether the value of a variable is all that there is to it, where something runs.
    fn is_plain(&self, name: &str) -> bool {
        !self.guessed && !self.touched.contains(name)
    }
}

/// Everything in a text that may be the name of a variable.
fn names_in(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
}

/// Whether commands name variables in other ways than to write them, or change what expanding one gives.
fn guesses(events: &[Event<'_>]) -> bool {
    let words = events.windows(2).enumerate().filter(|(_, pair)| pair[0].kind == Kind::Word);
    let mut words = words.map(|(at, pair)| (at, &*pair[1].text));
    let refers = |(at, text): (usize, &str)| match text {
        "eval" | "compgen" | "let" => true,
        "declare" | "local" | "typeset" => {
            events[close(events, at)..].iter().take(2).any(|event| event.text.starts_with("-n"))
        }
        "-v" => events[close(events, at)..].iter().take(3).any(is_expansion),
        _ => false,
    };
    words.any(refers) || events.iter().any(|event| event.kind == Kind::Indirect || event.text == "IFS")
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

/// The word that a variable holds wherever a function is run, if that is known.
fn word(recipe: &Recipe<'_>, name: &str) -> Option<String> {
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte))
    };
    let dynamic = || recipe.pkgbuild.statements.iter().any(|statement| statement.role == Role::Function("pkgver"));
    let text = recipe.certain().text(name).filter(|text| plain(text))?;
    let own = name.starts_with('_') && recipe.mentions().is_plain(name);
    let named = own || matches!(name, "pkgname" | "pkgbase" | "pkgrel") || (name == "pkgver" && !dynamic());
    let single = recipe.elements(name).len() == 1 && recipe.assignments(name) == 1;
    (named && single).then(|| text.to_owned())
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
            None => words.entry(&event.text).or_insert_with(|| word(recipe, &event.text)).clone(),
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
