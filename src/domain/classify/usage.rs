//! What is done with variables where something runs: what is the mode of a file or the name of a host there is no
//! version, whatever it looks like.

use std::collections::HashSet;

use super::naming::names_in;
use super::recipe::{Recipe, ingredients};
use crate::domain::pkgbuild::{Event, Kind, Role, close};

/// Commands that take modes, owners or capabilities.
const MODES: [&str; 14] = [
    "chattr", "chgrp", "chmod", "chown", "groupadd", "install", "mkdir", "mkfifo", "mknod", "setcap", "setfacl",
    "umask", "useradd", "usermod",
];

/// Programs that have commands of their own with such names.
const INSTALLERS: [&str; 16] = [
    "bun", "cargo", "cmake", "fnm", "gem", "git", "go", "make", "meson", "ninja", "npm", "nvm", "pip", "pnpm",
    "rustup", "yarn",
];

/// Commands that take the name of a host.
const NETWORK: [&str; 14] =
    ["aria2c", "curl", "ftp", "nc", "ncat", "netcat", "ping", "rsync", "scp", "sftp", "socat", "ssh", "telnet", "wget"];

/// Variables that are no versions, with those that they are put together from.
#[derive(Debug, Default)]
pub(super) struct Usage {
    /// A mode or an owner stands there, if it is a number.
    pub modes: HashSet<String>,
    /// A host stands there, or what says which of others is taken.
    pub others: HashSet<String>,
}

impl Usage {
    pub fn of(recipe: &Recipe<'_>) -> Self {
        let mut found = Self::default();
        for statement in &recipe.pkgbuild.statements {
            let events = recipe.pkgbuild.events(statement);
            hosts(events, &mut found.others);
            chosen(events, &mut found.others);
            if matches!(statement.role, Role::Function(_) | Role::Code) {
                arguments(events, &mut found);
            }
        }
        Self { modes: with_ingredients(recipe, &found.modes), others: with_ingredients(recipe, &found.others) }
    }

    /// Whether what a variable holds may be the version that it looks like.
    pub fn allows(&self, name: &str, value: &str) -> bool {
        let number = value.bytes().all(|byte| byte.is_ascii_digit());
        !(self.others.contains(name) || (number && self.modes.contains(name)))
    }
}

fn with_ingredients(recipe: &Recipe<'_>, names: &HashSet<String>) -> HashSet<String> {
    let roots: Vec<&str> = names.iter().map(String::as_str).collect();
    ingredients(recipe, &roots).into_iter().collect()
}

fn is_expansion(event: &Event<'_>) -> bool {
    matches!(event.kind, Kind::Param | Kind::QuotedParam)
}

/// What stands where an address names its host.
fn hosts(events: &[Event<'_>], found: &mut HashSet<String>) {
    for pair in events.windows(2).filter(|pair| is_expansion(&pair[1])) {
        let text = &pair[0].text;
        let host = text.rsplit_once("://").is_some_and(|(_, behind)| !behind.contains('/'));
        if host || text.ends_with("/dev/tcp/") || text.ends_with("/dev/udp/") {
            found.insert(pair[1].text.to_string());
        }
    }
}

/// What says which element is taken, or which part of a text.
fn chosen(events: &[Event<'_>], found: &mut HashSet<String>) {
    for (at, event) in events.iter().enumerate() {
        let inside = match event.kind {
            Kind::Index | Kind::Backticks => &events[at..close(events, at)],
            Kind::ParamOp if event.text == ":" => {
                let end = events[at..].iter().position(|event| event.kind == Kind::End);
                &events[at..end.map_or(events.len(), |end| at + end)]
            }
            _ => continue,
        };
        found.extend(inside.iter().flat_map(|event| names_in(&event.text)).map(str::to_owned));
    }
}

/// What commands are given as a mode or a host.
fn arguments(events: &[Event<'_>], found: &mut Usage) {
    // What the command is, and what those around it are.
    let (mut command, mut around) = (Command::default(), Vec::new());
    for (at, event) in events.iter().enumerate() {
        match event.kind {
            Kind::Word => command.takes(&events[at + 1..close(events, at) - 1], found),
            Kind::Separator | Kind::Reserved | Kind::Function => command = Command::default(),
            Kind::Operator if BETWEEN.contains(&&*event.text) => command = Command::default(),
            Kind::End => command = around.pop().flatten().unwrap_or(command),
            _ => {}
        }
        if event.kind.opens() {
            around.push(event.kind.runs().then(|| std::mem::take(&mut command)));
        }
    }
}

/// Signs behind which another command begins.
const BETWEEN: [&str; 9] = ["&&", "||", "|", "|&", "&", ")", ";;", ";&", ";;&"];

/// What is known of a command from its words.
#[derive(Debug, Clone, Copy, Default)]
struct Command {
    named: bool,
    other: bool,
    modes: bool,
    network: bool,
}

impl Command {
    fn takes(&mut self, word: &[Event<'_>], found: &mut Usage) {
        if let [name] = word {
            let name = name.text.rsplit('/').next().unwrap_or_default();
            self.other |= !self.named && INSTALLERS.contains(&name);
            self.modes |= MODES.contains(&name) && !self.other;
            self.network |= NETWORK.contains(&name);
        }
        self.named = true;
        let is_text = |event: &Event<'_>| matches!(event.kind, Kind::Bare | Kind::Quoted);
        let is_path = word.iter().any(|event| is_text(event) && event.text.contains(['/', '.']));
        let (mut is_mode, mut begins) = (self.modes && !is_path, self.network);
        for event in word {
            if is_text(event) {
                is_mode &= is_mode_before(&event.text);
                begins &= event.text.is_empty();
            } else if is_expansion(event) {
                if is_mode {
                    found.modes.insert(event.text.to_string());
                }
                if std::mem::take(&mut begins) {
                    found.others.insert(event.text.to_string());
                }
            }
        }
    }
}

/// Whether a mode, or an option that takes one, may go on behind a text.
fn is_mode_before(text: &str) -> bool {
    text.starts_with('-') || text.bytes().all(|byte| b"0123456789+=,:ugoarwxXst".contains(&byte))
}
