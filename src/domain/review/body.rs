//! The text of a review, as a value that follows from what is known: a person reads it and decides.

use std::collections::BTreeSet;

use askama::Template;
use jiff::Timestamp;

use super::markdown::{block, code, link, sentence};
use crate::domain::classify::{Reason, Verdict, Weight};
use crate::domain::keepers::Keepers;
use crate::domain::name::{Oid, PkgBase};

/// Forges take 65,536 characters; our text stays below with all that is around the reasons.
const REASONS_BYTES: usize = 40_000;
/// So much of what the run said is shown.
const MESSAGE_BYTES: usize = 8_000;
/// So many packages are named that need it.
const NAMED: usize = 10;
/// Titles of forges are short.
const TITLE_CHARACTERS: usize = 200;

/// What is known about an update that waits.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The package.
    pub pkgbase: &'a PkgBase,
    /// The branch with the packages.
    pub base: &'a str,
    /// The tip of the branch of the review.
    pub head: Oid,
    /// Why it needs a person, as far as files and people show it.
    pub verdict: &'a Verdict,
    /// What the tip says.
    pub message: &'a str,
    /// Who may push to it, as it was seen when it was proposed.
    pub keepers: Option<&'a Keepers>,
    /// Who could when something of it was merged last.
    pub keepers_before: Option<&'a Keepers>,
    /// Whose updates are trusted.
    pub trusted: &'a BTreeSet<String>,
    /// How many people have to approve it.
    pub needed: u8,
    /// Who has.
    pub approved: &'a BTreeSet<String>,
    /// Why it cannot be merged as it is.
    pub conflict: Option<&'a str>,
    /// People with commits on the branch.
    pub people: &'a BTreeSet<String>,
    /// The version that waits because of them.
    pub newer: Option<&'a str>,
    /// What needs the package.
    pub needed_by: &'a [PkgBase],
    /// Addresses at which more stands, with what stands there.
    pub places: &'a [(&'static str, String)],
    /// When it goes in by itself.
    pub goes_in_at: Option<Timestamp>,
}

#[derive(Template)]
#[template(path = "review/body.md")]
struct Body<'a> {
    verdict: &'static str,
    movement: String,
    conflict: Option<&'a str>,
    newer: Option<String>,
    people: String,
    branch: String,
    base: String,
    name: &'a PkgBase,
    reasons: Vec<Line>,
    left_out: usize,
    light: usize,
    keepers: String,
    handovers: Vec<String>,
    places: Vec<String>,
    needed_by: String,
    one_needs: bool,
    approvals: String,
    goes_in_at: Option<String>,
    head: Oid,
    message: String,
}

/// One reason.
pub(super) struct Line {
    pub weight: &'static str,
    pub place: String,
    pub message: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

impl Line {
    pub(super) fn new(weight: &'static str, place: &str, message: &str) -> Self {
        Self { weight, place: code(place), message: sentence(message), old: None, new: None }
    }

    pub(super) fn of(reason: &Reason) -> Self {
        let line = reason.line.map(|line| format!(":{line}")).unwrap_or_default();
        let text = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(code);
        Self {
            old: text(&reason.old),
            new: text(&reason.new),
            ..Self::new(reason.severity.as_str(), &format!("{}{line}", reason.file), &reason.message)
        }
    }

    pub(super) fn len(&self) -> usize {
        let texts = [&self.place, &self.message].into_iter().chain(&self.old).chain(&self.new);
        texts.map(String::len).sum::<usize>() + 60
    }
}

/// The title: one line of harmless signs.
#[must_use]
pub fn title(pkgbase: &PkgBase, verdict: &Verdict) -> String {
    let title = format!("update {pkgbase}: {}", movement(verdict));
    let harmless = |c: char| if c.is_ascii_alphanumeric() || " ._:+~>-".contains(c) { c } else { '?' };
    title.chars().take(TITLE_CHARACTERS).map(harmless).collect()
}

pub(super) fn movement(verdict: &Verdict) -> String {
    match (&verdict.old_version, &verdict.new_version) {
        (Some(old), Some(new)) if old == new => format!("files changed at {new}"),
        (Some(old), Some(new)) => format!("{old} -> {new}"),
        (None, Some(new)) => new.to_string(),
        (_, None) => "files changed".to_owned(),
    }
}

/// The text, without its marker.
#[must_use]
pub fn body(facts: &Facts<'_>) -> String {
    let heavy: Vec<&Reason> = facts.verdict.reasons.iter().filter(|it| it.severity > Weight::Stronger).collect();
    let (reasons, left_out) = lines(&heavy);
    let body = Body {
        verdict: match facts.verdict.severity {
            Weight::Hostile => "This looks like an attack.",
            Weight::Trust => "It changes whom or what is trusted.",
            _ => "Somebody should read this.",
        },
        movement: code(&movement(facts.verdict)),
        conflict: facts.conflict,
        newer: facts.newer.map(code),
        people: listed(facts.people.iter().map(String::as_str)),
        branch: facts.pkgbase.review_branch(),
        base: facts.base.to_owned(),
        name: facts.pkgbase,
        reasons,
        left_out,
        light: facts.verdict.reasons.len() - heavy.len(),
        keepers: keepers(facts),
        handovers: handovers(facts),
        places: facts.places.iter().map(|(what, address)| format!("{what}: {}", link(address))).collect(),
        needed_by: needed_by(facts.needed_by),
        one_needs: facts.needed_by.len() == 1,
        approvals: approvals(facts),
        goes_in_at: facts.goes_in_at.map(|at| at.strftime("%Y-%m-%d %H:%M UTC").to_string()),
        head: facts.head,
        message: block(facts.message, MESSAGE_BYTES),
    };
    body.render().expect("writing to memory does not fail")
}

/// The heaviest first, as many as there is room for.
fn lines(reasons: &[&Reason]) -> (Vec<Line>, usize) {
    let mut sorted = reasons.to_vec();
    sorted.sort_by_key(|reason| std::cmp::Reverse(reason.severity));
    let mut room = REASONS_BYTES;
    let mut lines = Vec::new();
    for reason in sorted {
        let line = Line::of(reason);
        let Some(left) = room.checked_sub(line.len()) else { break };
        room = left;
        lines.push(line);
    }
    let left_out = reasons.len() - lines.len();
    (lines, left_out)
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(code).collect::<Vec<_>>().join(", ")
}

fn needed_by(packages: &[PkgBase]) -> String {
    let named = listed(packages.iter().take(NAMED).map(PkgBase::as_str));
    match packages.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn keepers(facts: &Facts<'_>) -> String {
    let Some(keepers) = facts.keepers else {
        return "That is not known: its source does not say it.".to_owned();
    };
    let maintainer = match &keepers.maintainer {
        Some(name) => format!("The AUR names {} as its maintainer", code(name)),
        None => "The AUR names no maintainer".to_owned(),
    };
    let others = listed(keepers.co_maintainers.iter().map(String::as_str));
    let others = if others.is_empty() { String::new() } else { format!(", and {others} beside") };
    let changed = facts.keepers_before.is_some_and(|before| keepers.newcomers_since(before).is_some());
    let trust = match (keepers.all_trusted(facts.trusted), changed) {
        (true, true) => "All of them are in `.ci/aur-maintainers`, which does not count as long as somebody is new.",
        (true, false) => "All of them are in `.ci/aur-maintainers`.",
        (false, _) => "Not all of them are in `.ci/aur-maintainers`.",
    };
    format!("{maintainer}{others}. {trust}")
}

fn handovers(facts: &Facts<'_>) -> Vec<String> {
    let both = facts.keepers.zip(facts.keepers_before);
    both.map(|(now, before)| now.handovers_since(before))
        .into_iter()
        .flatten()
        .map(|it| sentence(&it.to_string()))
        .collect()
}

fn approvals(facts: &Facts<'_>) -> String {
    let by = listed(facts.approved.iter().map(String::as_str));
    let people = if facts.needed == 1 { "One person".to_owned() } else { format!("{} people", facts.needed) };
    let has = if facts.needed == 1 { "has" } else { "have" };
    let so_far = if by.is_empty() { String::new() } else { format!(" So far: {by}.") };
    format!("{people} {has} to approve it.{so_far} Approve it here, if you may push to this repository, or merge it.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::classify::classify;
    use crate::domain::folder::Folder;

    const TEXT: &str = "pkgname=tool\npkgver=1.0\npkgrel=1\narch=(any)\nbuild() {\n  make\n}\n";

    fn name(text: &str) -> PkgBase {
        PkgBase::new(text).expect("legal")
    }

    /// Facts are borrowed, and a test is short.
    fn leaked<T>(value: T) -> &'static T {
        Box::leak(Box::new(value))
    }

    fn written(new: &str, change: impl FnOnce(&mut Facts<'_>)) -> String {
        let verdict = classify(&Folder::default().with("PKGBUILD", TEXT), &Folder::default().with("PKGBUILD", new));
        let (now, before) = (Keepers::parse("eve,bob"), Keepers::parse("ann,bob"));
        let (nobody, trusted) = (BTreeSet::new(), ["ann", "bob"].map(str::to_owned).into());
        let pkgbase = name("tool");
        let mut facts = Facts {
            pkgbase: &pkgbase,
            base: "main",
            head: "a".repeat(40).parse().expect("an id"),
            verdict: &verdict,
            message: "chore(update): tool\n",
            keepers: Some(&now),
            keepers_before: Some(&before),
            trusted: &trusted,
            needed: 2,
            approved: &nobody,
            conflict: None,
            people: &nobody,
            newer: None,
            needed_by: &[],
            places: &[],
            goes_in_at: None,
        };
        change(&mut facts);
        body(&facts)
    }

    #[test]
    fn a_review_says_why_who_where_and_how() {
        let needed_by = leaked([name("app"), name("more")]);
        let places = leaked([("the package in the AUR", "https://aur.archlinux.org/pkgbase/tool".to_owned())]);
        let approved = leaked(["mira".to_owned()].into());
        let text = written(&TEXT.replace("1.0", "1.1").replace("  make\n", "  make CC=`id`\n"), |facts| {
            facts.needed_by = needed_by;
            facts.places = places;
            facts.approved = approved;
        });
        insta::assert_snapshot!(text, @r"
        **Somebody should read this.** `1.0-1 -> 1.1-1`

        ### Why a person has to look

        - **review**, `PKGBUILD:6`: `` `build()` does something else than before ``
          - before: `}`
          - after: `` make CC=`id` ``

        Beside that, 1 difference needs nobody: versions, checksums and the like.

        ### Who may push to it

        The AUR names `eve` as its maintainer, and `bob` beside. Not all of them are in `.ci/aur-maintainers`.

        - eve maintains it now, and ann did before

        ### Where to look
        - the package in the AUR: <https://aur.archlinux.org/pkgbase/tool>
        - the difference: `git fetch origin main update-tool && git diff origin/main...origin/update-tool -- tool`

        ### After merging

        1. `tool` is built.

        It is needed by `app`, `more`, which are not built again for that alone.

        ### To decide

        2 people have to approve it. So far: `mira`. Approve it here, if you may push to this repository, or merge it.
        Close this to reject it: exactly this content is not proposed again. Comments with `/pkgwarden approve` or
        `/pkgwarden reject REASON` on a line of their own do the same, and `/pkgwarden help` says what else. From a machine with access:

        ```sh
        pkgwarden ctl review approve tool --head aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        pkgwarden ctl review reject tool --head aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa --reason WHY
        ```

        <details><summary>What the run said</summary>

        ```text
        chore(update): tool
        ```

        </details>
        ");
    }

    #[test]
    fn anybodys_text_stays_text() {
        let hostile = "  make # @torvalds fixes #1 ``` <img src=x> </details> [a](http://b) \u{202e}\u{1b}[2J\n";
        let people = leaked(["Eve `@mira` <eve@example.org>".to_owned()].into());
        let text = written(&TEXT.replace("  make\n", hostile), |facts| {
            facts.message = "a\n```\n</details>\n/merge\n@mira closes #7\n";
            facts.people = people;
            facts.newer = Some("1.2-1`@mira`");
        });
        assert!(!text.contains(['\u{202e}', '\u{1b}']), "{text}");
        let mut in_block = None;
        let mut bare = String::new();
        for line in text.lines() {
            let ticks = line.trim_start_matches("> ").bytes().take_while(|&byte| byte == b'`').count();
            match in_block {
                None if ticks >= 3 => in_block = Some(ticks),
                Some(open) if ticks >= open && line.trim_start_matches("> ").len() == ticks => in_block = None,
                Some(_) => {}
                None => bare = bare + &without_code(line) + "\n",
            }
        }
        assert_eq!(in_block, None, "{text}");
        for bad in ["@", "#1", "#7", "<img", "](", "/merge"] {
            assert!(!bare.contains(bad), "{bad} in\n{bare}");
        }
        assert_eq!(bare.matches("</details>").count(), 1, "{bare}");
    }

    /// A line without its spans of code.
    fn without_code(line: &str) -> String {
        let (mut rest, mut bare) = (line, String::new());
        while let Some(start) = rest.find('`') {
            bare.push_str(&rest[..start]);
            let ticks = rest[start..].bytes().take_while(|&byte| byte == b'`').count();
            let (fence, after) = rest[start..].split_at(ticks);
            let mut end = 0;
            let closed = loop {
                let Some(next) = after[end..].find('`').map(|at| at + end) else { break None };
                let run = after[next..].bytes().take_while(|&byte| byte == b'`').count();
                if run == fence.len() {
                    break Some(next + run);
                }
                end = next + run;
            };
            let Some(closed) = closed else { panic!("a span of code is open: {line}") };
            rest = &after[closed..];
        }
        bare + rest
    }

    #[test]
    fn a_text_fits_into_a_forge_however_much_there_is_to_say() {
        let (old, new) = (TEXT, TEXT.replace("make", "make install"));
        let folder = |text: &str| Folder::default().with("PKGBUILD", text);
        let few = classify(&folder(old), &folder(&new)).reasons;
        let verdict = leaked(Verdict::from_reasons(few.into_iter().cycle().take(3_000).collect(), None, None));
        let text = written(&new, |facts| {
            facts.verdict = verdict;
            facts.message = Box::leak("x\n".repeat(90_000).into_boxed_str());
        });
        assert!(text.len() < 65_000, "{}", text.len());
        assert!(text.contains("more, for which there is no room here."));
    }

    #[test]
    fn a_title_is_one_harmless_line() {
        let old = Folder::default().with("PKGBUILD", TEXT);
        let new = Folder::default().with("PKGBUILD", TEXT.replace("1.0", "1.1@mira#7"));
        let title = title(&name("tool"), &classify(&old, &new));
        assert!(title.starts_with("update tool: ") && !title.contains(['@', '#', '\n', '`']), "{title}");
    }
}
