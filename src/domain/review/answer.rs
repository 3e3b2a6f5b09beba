//! What is said to people who asked for something: one comment below each review or issue, which is edited.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::command::PREFIX;
use super::markdown::{code, sentence};
use crate::domain::name::PkgBase;

/// So many answers are kept below one review or issue.
const KEPT: usize = 10;
/// Longer answers are cut, in bytes.
const LONGEST: usize = 5_000;
/// So many bytes all together have at most: forges take 65,536 characters.
const ROOM: usize = 50_000;
/// So many packages, problems and builds are told of.
const TOLD: usize = 20;

/// What came of one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The comment that it stood in.
    pub comment: u64,
    /// Its place among the commands of the comment.
    pub place: usize,
    /// What was written behind [`PREFIX`].
    pub written: String,
    /// Who wrote it.
    pub by: String,
    /// When that was.
    pub at: Timestamp,
    /// What came of it, as Markdown in which nothing of others acts.
    pub text: String,
}

/// Adds answers to those that are there, newest first; the same command is answered once.
pub fn add(all: &mut Vec<Answer>, new: Vec<Answer>) {
    let again = |known: &Answer| new.iter().any(|it| (it.comment, it.place) == (known.comment, known.place));
    all.retain(|known| !again(known));
    all.extend(new);
    all.sort_by_key(|it| std::cmp::Reverse((it.at, it.comment, it.place)));
    all.truncate(KEPT);
}

/// The comment with all answers.
#[must_use]
pub fn comment(answers: &[Answer]) -> String {
    let mut text = String::new();
    for answer in answers.iter().map(item) {
        if text.len() + answer.len() > ROOM {
            break;
        }
        text += &answer;
    }
    text
}

fn item(answer: &Answer) -> String {
    let written = code(format!("{PREFIX} {}", answer.written).trim_end());
    let mut lines = cut(&answer.text).lines();
    let mut text = format!("- {written} by {}: {}\n", code(&answer.by), lines.next().unwrap_or_default());
    for line in lines {
        let _ = writeln!(text, "{}{line}", if line.is_empty() { "" } else { "  " });
    }
    text
}

fn cut(text: &str) -> &str {
    if text.len() <= LONGEST {
        return text;
    }
    // Between lines, because a span of code must not stay open.
    text[..text.floor_char_boundary(LONGEST)].rsplit_once('\n').map_or("", |(head, _)| head)
}

/// What a run did about these packages, from the document that it left; null if it could not leave one.
#[must_use]
pub fn told(document: &Value, about: &BTreeSet<PkgBase>) -> String {
    if document.is_null() {
        return "it is done; the program was stopped before it could say more".to_owned();
    }
    let list = |key: &str| document[key].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_about = |it: &&Value| it["pkgbase"].as_str().is_some_and(|name| about.iter().any(|it| it.as_str() == name));
    let mut lines = Vec::new();
    let shown = |it: &Value, text: &str| match it["pkgbase"].as_str() {
        Some(name) => format!("{}: {}", code(name), sentence(text)),
        None => sentence(text),
    };
    for decision in list("packages").iter().filter(is_about) {
        lines.push(shown(decision, decision["why"].as_str().unwrap_or_default()));
    }
    let builds: Vec<_> = list("builds").iter().filter_map(|it| it["pkgbase"].as_str()).take(TOLD).map(code).collect();
    if !builds.is_empty() {
        let more = list("builds").len() - builds.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        lines.push(format!("built now: {}{more}", builds.join(", ")));
    }
    let matters = |it: &&Value| is_about(it) || (about.is_empty() && it["severity"] == "error");
    for problem in list("problems").iter().filter(matters) {
        lines.push(shown(problem, problem["message"].as_str().unwrap_or_default()));
    }
    lines.truncate(TOLD);
    match lines.len() {
        0 => "nothing had to be done".to_owned(),
        1 => lines.remove(0),
        _ => lines.iter().fold("done".to_owned(), |text, line| format!("{text}\n- {line}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(comment: u64, text: &str) -> Answer {
        let at = Timestamp::from_second(1_780_000_000 + i64::try_from(comment).expect("small")).expect("a time");
        Answer {
            comment,
            place: 0,
            written: "rebuild foo".to_owned(),
            by: "mira".to_owned(),
            at,
            text: text.to_owned(),
        }
    }

    #[test]
    fn the_newest_answers_come_first_and_each_command_has_one() {
        let mut all = Vec::new();
        for number in 1..=15 {
            add(&mut all, vec![answer(number, "so")]);
        }
        add(&mut all, vec![answer(15, "done\n- `foo`: built")]);
        assert_eq!(all.iter().map(|it| it.comment).collect::<Vec<_>>(), (6..=15).rev().collect::<Vec<_>>());
        let text = comment(&all[..2]);
        assert_eq!(
            text,
            "- `/pkgwarden rebuild foo` by `mira`: done\n  - `foo`: built\n- `/pkgwarden rebuild foo` by `mira`: so\n"
        );
    }

    #[test]
    fn it_fits_into_a_forge_and_nothing_of_others_acts() {
        let mut all = Vec::new();
        add(&mut all, (0..20).map(|number| answer(number, &"- `line`\n".repeat(2_000))).collect());
        assert!(comment(&all).len() < 60_000);
        let hostile = Answer { written: "hold x --reason @all `y`".into(), by: "eve\n@mira".into(), ..answer(1, "so") };
        assert_eq!(comment(&[hostile]), "- `` /pkgwarden hold x --reason @all `y` `` by `eve\\n@mira`: so\n");
    }

    #[test]
    fn a_run_is_told_in_few_lines() {
        let about = [PkgBase::new("foo").expect("legal")].into();
        let decision = json!({"pkgbase": "foo", "why": "asked for"});
        let other = json!({"pkgbase": "bar", "why": "no"});
        let problem = json!({"pkgbase": "foo", "message": "it pings @all", "severity": "error"});
        let document = json!({"packages": [decision, other], "builds": [{"pkgbase": "foo"}], "problems": [problem]});
        assert_eq!(told(&document, &about), "done\n- `foo`: asked for\n- built now: `foo`\n- `foo`: `it pings @all`");
        assert_eq!(told(&json!({}), &about), "nothing had to be done");
    }
}
