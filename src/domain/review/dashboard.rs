//! The text of the issue that shows how a repository stands, and the boxes in it that people tick.
//!
//! Who ticked is not told by every forge: boxes do nothing that could publish what nobody has approved.

use std::collections::BTreeSet;
use std::fmt;

use askama::Template;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::command::{Command, Verb, help};
use super::markdown::{code, link, sentence};
use crate::domain::name::PkgBase;

/// Forges take 65,536 characters: so many bytes are in each of the sections at most, with much room for the rest.
const SECTION_BYTES: usize = 6_000;
const UNTICKED: &str = "- [ ] <!-- pkgwarden: ";
const TICKED: [&str; 2] = ["- [x] <!-- pkgwarden: ", "- [X] <!-- pkgwarden: "];
const END: &str = " -->";

/// An update that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The package.
    pub pkgbase: PkgBase,
    /// Since when.
    pub since: Timestamp,
    /// What weighs most in it, if that is on record.
    pub weight: Option<String>,
    /// Where its review is.
    pub url: Option<String>,
}

/// A package whose last build went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failing {
    /// The package.
    pub pkgbase: PkgBase,
    /// How the build ended, in a word.
    pub state: &'static str,
    /// When.
    pub at: Timestamp,
    /// One line about it.
    pub message: Option<String>,
    /// The page of the build.
    pub url: Option<String>,
}

/// Something about a package, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The package; `None` if it is about the repository.
    pub pkgbase: Option<PkgBase>,
    /// The sentence, anybody's.
    pub text: String,
}

/// A tick that was seen to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was asked for.
    pub command: String,
    /// When it was seen to.
    pub at: Timestamp,
    /// What came of it, as Markdown in which nothing acts.
    pub text: String,
}

/// How a repository stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub repository: String,
    /// Where our own pages are, without a slash at the end.
    pub pages: Option<String>,
    /// Updates that wait for a person.
    pub waiting: Vec<Waiting>,
    /// Packages whose last build went wrong.
    pub failing: Vec<Failing>,
    /// Packages that are not built because something they need has failed.
    pub blocked: Vec<Remark>,
    /// Packages with a newer version at their source that is not taken, and why.
    pub outdated: Vec<Remark>,
    /// Packages whose source could not be asked, and why.
    pub unknown: Vec<Remark>,
    /// Packages that a person has taken out of service, and what is built with them.
    pub held: Vec<Remark>,
    /// What the last run found wrong.
    pub problems: Vec<Remark>,
    /// Ticks that were seen to, newest first.
    pub done: Vec<Done>,
}

#[derive(Template)]
#[template(path = "review/dashboard.md")]
struct Body {
    intro: String,
    done: Vec<String>,
    sections: Vec<Section>,
    now: String,
    help: String,
    marker: Edition,
}

struct Section {
    title: &'static str,
    rows: Vec<String>,
    left_out: usize,
    place: Option<String>,
}

/// Which of our texts it is: each that is written has the next number, so that a tick counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Edition(pub u64);

const EDITION: &str = "<!-- pkgwarden-dashboard ";

impl Edition {
    /// That of a text; `None` if somebody took it away.
    #[must_use]
    pub fn of(body: &str) -> Option<Self> {
        let number = |line: &str| line.trim().strip_prefix(EDITION)?.strip_suffix(END)?.parse().ok();
        body.lines().rev().find_map(number).map(Self)
    }
}

impl fmt::Display for Edition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{EDITION}{}{END}", self.0)
    }
}

/// The text of the issue.
#[must_use]
pub fn dashboard(facts: &Facts, edition: Edition) -> String {
    let page = |path: &str| facts.pages.as_ref().map(|pages| link(&format!("{pages}/{path}")));
    let sections = [
        section("Updates that wait for a person", &facts.waiting, page("reviews"), waiting),
        section("Failing", &facts.failing, page("builds"), failing),
        section("Blocked by a failure", &facts.blocked, page("queue"), |it| remark(it, &[Verb::Release])),
        section("Newer at the source, and not taken", &facts.outdated, page("packages"), |it| remark(it, &[])),
        section("Sources that could not be asked", &facts.unknown, page("packages"), |it| remark(it, &[])),
        section("Out of service", &facts.held, page("packages"), |it| remark(it, &[])),
        section("Problems of the last run", &facts.problems, page("runs"), |it| remark(it, &[])),
    ];
    let body = Body {
        intro: format!(
            "How {} stands. This text is kept by pkgwarden: what is changed in it is overwritten, and a box that is \
             ticked acts once.",
            code(&facts.repository)
        ),
        done: facts.done.iter().map(done).collect(),
        sections: sections.into_iter().flatten().collect(),
        now: tick(&Command::about(Verb::Run, []), "ask all sources for updates"),
        help: help(),
        marker: edition,
    };
    body.render().expect("writing to memory does not fail")
}

/// The commands whose boxes are ticked in a text and were not in the one that we wrote. What we did not offer is none.
#[must_use]
pub fn ticks(old: &str, new: &str) -> Vec<Command> {
    let offered: BTreeSet<&str> = old.lines().filter_map(|line| marked(line, UNTICKED)).collect();
    let ticked = |line| TICKED.into_iter().find_map(|begin| marked(line, begin));
    let mut asked: Vec<&str> = Vec::new();
    for command in new.lines().filter_map(ticked).filter(|command| offered.contains(command)) {
        if !asked.contains(&command) {
            asked.push(command);
        }
    }
    asked.into_iter().filter_map(|command| Command::parse(command).ok()).collect()
}

fn marked<'a>(line: &'a str, begin: &str) -> Option<&'a str> {
    Some(line.trim().strip_prefix(begin)?.split_once(END)?.0)
}

fn tick(command: &Command, label: &str) -> String {
    format!("{UNTICKED}{command}{END} {label}")
}

fn section<T>(title: &'static str, all: &[T], place: Option<String>, row: impl Fn(&T) -> String) -> Option<Section> {
    let mut room = SECTION_BYTES;
    let mut rows = Vec::new();
    for one in all {
        let row = row(one);
        let Some(left) = room.checked_sub(row.len()) else { break };
        room = left;
        rows.push(row);
    }
    let left_out = all.len() - rows.len();
    (!all.is_empty()).then_some(Section { title, rows, left_out, place })
}

fn waiting(it: &Waiting) -> String {
    let weight = it.weight.as_ref().map(|weight| format!(", {}", sentence(weight))).unwrap_or_default();
    let place = it.url.as_ref().map(|url| format!(": {}", link(url))).unwrap_or_default();
    format!("- {}{weight}, since {}{place}", code(it.pkgbase.as_str()), day(it.since))
}

fn failing(it: &Failing) -> String {
    let message = it.message.as_ref().map(|message| format!(": {}", sentence(message))).unwrap_or_default();
    let place = it.url.as_ref().map(|url| format!(" {}", link(url))).unwrap_or_default();
    let state = it.state.replace('_', " ");
    let head = format!("- {}, {state} on {}{message}{place}", code(it.pkgbase.as_str()), day(it.at));
    with_ticks(head, &it.pkgbase, &[Verb::Retry, Verb::Rebuild])
}

fn remark(it: &Remark, verbs: &[Verb]) -> String {
    match &it.pkgbase {
        Some(pkgbase) => with_ticks(format!("- {}: {}", code(pkgbase.as_str()), sentence(&it.text)), pkgbase, verbs),
        None => format!("- {}", sentence(&it.text)),
    }
}

fn with_ticks(head: String, pkgbase: &PkgBase, verbs: &[Verb]) -> String {
    verbs.iter().fold(head, |text, verb| {
        let command = Command::about(*verb, [pkgbase.clone()]);
        format!("{text}\n  {}", tick(&command, verb.as_str()))
    })
}

fn done(it: &Done) -> String {
    format!("- {}, {}: {}", code(&it.command), it.at.strftime("%Y-%m-%d %H:%M UTC"), it.text)
}

fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn base(name: &str) -> PkgBase {
        PkgBase::new(name).expect("legal")
    }

    fn at(time: &str) -> Timestamp {
        time.parse().expect("a time")
    }

    fn remarks(name: &str, text: &str) -> Vec<Remark> {
        vec![Remark { pkgbase: Some(base(name)), text: text.to_owned() }]
    }

    fn facts() -> Facts {
        let since = at("2026-05-01T12:00:00Z");
        Facts {
            repository: "packages".to_owned(),
            pages: Some("https://pkg.example".to_owned()),
            waiting: vec![Waiting {
                pkgbase: base("tool"),
                since,
                weight: Some("trust".to_owned()),
                url: Some("https://forge.example/7".to_owned()),
            }],
            failing: vec![Failing {
                pkgbase: base("app"),
                state: "timed_out",
                at: since,
                message: Some("it took longer than 1 h".to_owned()),
                url: Some("https://pkg.example/builds/3".to_owned()),
            }],
            blocked: remarks("more", "it needs app"),
            outdated: remarks("old", "the update waits: `update-old` has commits by @mira"),
            unknown: remarks("far", "no answer"),
            held: remarks("bad", "it is in quarantine"),
            problems: vec![Remark { pkgbase: None, text: "the tag is gone".to_owned() }],
            done: vec![Done { command: "retry app".to_owned(), at: since, text: "it is tried again".to_owned() }],
        }
    }

    #[test]
    fn it_shows_how_a_repository_stands() {
        let text = dashboard(&facts(), Edition(3));
        insta::assert_snapshot!(text.split("<details>").next().unwrap_or_default(), @r"
        How `packages` stands. This text is kept by pkgwarden: what is changed in it is overwritten, and a box that is ticked acts once.

        ### Done from here

        - `retry app`, 2026-05-01 12:00 UTC: it is tried again

        ### Updates that wait for a person

        - `tool`, trust, since 2026-05-01: <https://forge.example/7>

        ### Failing

        - `app`, timed out on 2026-05-01: it took longer than 1 h <https://pkg.example/builds/3>
          - [ ] <!-- pkgwarden: retry app --> retry
          - [ ] <!-- pkgwarden: rebuild app --> rebuild

        ### Blocked by a failure

        - `more`: it needs app
          - [ ] <!-- pkgwarden: release more --> release

        ### Newer at the source, and not taken

        - `old`: ``the update waits: `update-old` has commits by @mira``

        ### Sources that could not be asked

        - `far`: no answer

        ### Out of service

        - `bad`: it is in quarantine

        ### Problems of the last run

        - the tag is gone

        ### Now

        - [ ] <!-- pkgwarden: run --> ask all sources for updates
        ");
        assert!(text.ends_with("<!-- pkgwarden-dashboard 3 -->"), "{text}");
        let calm = dashboard(&Facts { repository: "packages".to_owned(), ..Facts::default() }, Edition(1));
        assert!(calm.contains("Nothing waits, nothing fails") && !calm.contains("### Failing"), "{calm}");
    }

    #[test]
    fn only_boxes_that_we_offered_act_and_only_ticked_ones() {
        let old = dashboard(&facts(), Edition(3));
        assert_eq!(ticks(&old, &old), []);
        let new = old.replace("- [ ] <!-- pkgwarden: retry app", "- [x] <!-- pkgwarden: retry app");
        let new = new.replace("- [ ] <!-- pkgwarden: run", "- [X] <!-- pkgwarden: run").replace('\n', "\r\n");
        let new =
            format!("{new}\r\n- [x] <!-- pkgwarden: rebuild other --> mine\r\n- [x] <!-- pkgwarden: retry app -->");
        let told: Vec<_> = ticks(&old, &new).iter().map(ToString::to_string).collect();
        assert_eq!(told, ["retry app", "run"]);
        assert_eq!(Edition::of(&new), Some(Edition(3)));
        assert_eq!(Edition::of("nothing"), None);
    }

    #[test]
    fn no_box_lets_in_or_takes_back_what_a_person_held() {
        let text = dashboard(&facts(), Edition(3));
        for verb in [Verb::Approve, Verb::Lift, Verb::Reject, Verb::Hold] {
            assert!(!text.contains(&format!("{UNTICKED}{}", verb.as_str())));
        }
    }

    #[test]
    fn it_fits_into_a_forge_and_says_what_was_left_out() {
        let mut many = facts();
        many.failing = many.failing.into_iter().cycle().take(2_000).collect();
        many.problems = vec![Remark { pkgbase: None, text: "@a `b` ".repeat(5_000) }; 2_000];
        many.unknown = remarks("far", &"no answer\n".repeat(50)).into_iter().cycle().take(3_000).collect();
        let text = dashboard(&many, Edition(3));
        assert!(text.len() < 60_000, "{}", text.len());
        assert!(text.contains(" more: <https://pkg.example/builds>"), "{text}");
    }

    proptest! {
        #[test]
        fn text_of_others_ticks_nothing(text in "(- \\[x\\] <!-- pkgwarden: run -->|[\n`<> -]|\\PC){0,20}") {
            let mut facts = facts();
            facts.problems = vec![Remark { pkgbase: None, text }];
            let written = dashboard(&facts, Edition(1));
            prop_assert_eq!(ticks(&written, &written), Vec::new());
        }
    }
}
