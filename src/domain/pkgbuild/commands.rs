//! What commands at the top level may do to variables: which values are not known behind them.

use std::collections::HashSet;

use super::evaluate::{MOST_WORK, State, Value};
use super::event::{Event, Kind, close};
use super::expand::literal;

/// What calling a function may do to variables.
#[derive(Debug, Clone, Default)]
pub(super) struct Effects {
    attributed: HashSet<String>,
    touched: HashSet<String>,
    lost: bool,
    unusual: bool,
}

impl Effects {
    /// Those of a function of which nothing is known.
    pub fn anything() -> Self {
        Self { lost: true, unusual: true, ..Self::default() }
    }

    /// These or others.
    pub fn join(&mut self, other: Self) {
        self.attributed.extend(other.attributed);
        self.touched.extend(other.touched);
        self.lost |= other.lost;
        self.unusual |= other.unusual;
    }
}

/// Commands of the shell itself that may change any variable.
const POWERFUL: [&str; 18] = [
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
    "exec",
    "wait",
    "time",
    "coproc",
];

impl<'a> State<'a> {
    /// What a command at the top level may have changed is not known any more.
    pub fn code(&mut self, events: &[Event<'a>]) {
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
                        declares =
                            matches!(text, Some("export" | "declare" | "typeset" | "readonly" | "unset" | "local"));
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
                Kind::Operator if is_between(event) => begins = true,
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
        if let Some(effects) = name.and_then(|name| self.functions.get(name)).cloned() {
            self.apply(&effects);
        }
        match name {
            None => self.lose(),
            Some("eval") if self.defines_package(behind) => {}
            Some("command") if is_question(behind) => {}
            Some(name) if POWERFUL.contains(&name) => self.lose(),
            Some("shopt" | "set") => self.unusual = true,
            Some("printf") if assigns(behind) => self.lose(),
            Some(_) => {}
        }
    }

    fn apply(&mut self, effects: &Effects) {
        self.worked += effects.touched.len() + effects.attributed.len();
        if self.worked > MOST_WORK {
            return self.give_up();
        }
        for name in &effects.touched {
            self.forget(name);
        }
        self.attributed.extend(effects.attributed.iter().cloned());
        self.unusual |= effects.unusual;
        if effects.lost {
            self.lose();
        }
    }

    /// What this state has seen, as the effects of a function.
    pub fn as_effects(&mut self) -> Effects {
        Effects {
            attributed: std::mem::take(&mut self.attributed),
            touched: std::mem::take(&mut self.touched),
            lost: self.lost,
            unusual: self.unusual,
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
                    if inner || !self.values.get(&*part.text).is_none_or(|value| harmless(value)) {
                        return false;
                    }
                    text.push('P');
                }
                Kind::QuotedSubstitution if prints_function(&parts[at + 1..end - 1]) => text.push('D'),
                _ => return false,
            }
            at = end;
        }
        let names = self.values.get("pkgname").is_some_and(|value| value.is_known());
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
    pub fn side_effects(&mut self, events: &[Event<'a>]) {
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
}

/// Whether a `printf` with these words may assign: up to the end of the command.
fn assigns(words: &[Event<'_>]) -> bool {
    let ends = |event: &&Event<'_>| event.kind != Kind::Separator && !is_between(event);
    words.iter().take_while(ends).any(|event| event.text.starts_with("-v") || event.kind.runs())
}

/// Whether a command begins behind it.
fn is_between(event: &Event<'_>) -> bool {
    event.kind == Kind::Operator && matches!(&*event.text, "&&" | "||" | "|" | "|&" | "&" | ")" | ";;" | ";&" | ";;&")
}

/// Whether `command` only says where another is: `command -v NAME`.
fn is_question(behind: &[Event<'_>]) -> bool {
    matches!(behind, [word, option, ..] if word.kind == Kind::Word && matches!(&*option.text, "-v" | "-V"))
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
