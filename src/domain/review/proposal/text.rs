//! The comment below a proposal: what was found, as a person reads it.

use askama::Template;

use super::super::body::Line;
use super::super::markdown::{code, sentence};
use super::super::{Vote, body};
use super::{Assessment, Standing, Touch, Touched};
use crate::domain::classify::{Reason, Weight};
use crate::domain::finding::Finding;
use crate::domain::name::Oid;

/// Forges take 65,536 characters; our text stays below with all that is around the packages.
const MOST_BYTES: usize = 50_000;
/// So many reasons of one package are shown.
const MOST_REASONS: usize = 12;
/// So much is said of files beside packages.
const MOST_OUTSIDE: usize = 20;

#[derive(Template)]
#[template(path = "review/proposal.md")]
struct Page {
    vote: &'static str,
    summary: String,
    head: String,
    packages: Vec<Entry>,
    problems: Vec<String>,
    left_out: usize,
    outside: String,
    minor: usize,
}

/// One package.
struct Entry {
    name: String,
    standing: &'static str,
    what: String,
    lines: Vec<Line>,
    left_out: usize,
}

/// What is written below a proposal of which this was found.
#[must_use]
pub fn comment(assessment: &Assessment, head: Oid) -> String {
    let opinion = assessment.opinion();
    let mut packages: Vec<&Touched> =
        assessment.packages.iter().filter(|it| it.standing() != Standing::Minor).collect();
    packages.sort_by_key(|it| std::cmp::Reverse(it.standing()));
    let minor = assessment.packages.len() - packages.len();
    let (entries, left_out) = with_room(&packages);
    let page = Page {
        vote: if opinion.vote == Vote::Failure { "This cannot go in as it is." } else { "Nothing stands against it." },
        summary: opinion.summary,
        head: code(head.short().as_str()),
        packages: entries,
        problems: assessment.findings.iter().take(MOST_REASONS).map(|it| sentence(&it.to_string())).collect(),
        left_out,
        outside: outside(&assessment.outside),
        minor,
    };
    page.render().expect("writing to memory does not fail")
}

/// The entries there is room for, and how many there is none for.
fn with_room(packages: &[&Touched]) -> (Vec<Entry>, usize) {
    let (mut room, mut entries) = (MOST_BYTES, Vec::new());
    for package in packages {
        let entry = Entry::of(package);
        let Some(left) = room.checked_sub(entry.len()) else { break };
        room = left;
        entries.push(entry);
    }
    let left_out = packages.len() - entries.len();
    (entries, left_out)
}

impl Entry {
    fn of(touched: &Touched) -> Self {
        let mut heavy: Vec<&Reason> =
            touched.verdict.reasons.iter().filter(|it| it.severity > Weight::Stronger).collect();
        heavy.sort_by_key(|reason| std::cmp::Reverse(reason.severity));
        let found = touched.findings.iter().map(of_finding);
        let all: Vec<Line> = found.chain(heavy.into_iter().map(Line::of)).collect();
        let left_out = all.len().saturating_sub(MOST_REASONS);
        let moved = match touched.touch {
            Touch::Removed => "it leaves the repository".to_owned(),
            Touch::Added => format!("it is new, {}", code(&body::movement(&touched.verdict))),
            Touch::Changed => code(&body::movement(&touched.verdict)),
        };
        let own = if touched.own { ", and its `.CI` differs, which the gate does not look at" } else { "" };
        Self {
            name: code(touched.pkgbase.as_str()),
            standing: touched.standing().as_str(),
            what: format!("{moved}{own}"),
            lines: all.into_iter().take(MOST_REASONS).collect(),
            left_out,
        }
    }

    fn len(&self) -> usize {
        100 + self.name.len() + self.what.len() + self.lines.iter().map(Line::len).sum::<usize>()
    }
}

fn of_finding(finding: &Finding) -> Line {
    let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
    let place = finding.file.as_deref().unwrap_or("the package");
    let hint = if finding.hint.is_empty() { String::new() } else { format!("; {}", finding.hint) };
    Line::new(finding.severity.as_str(), &format!("{place}{line}"), &format!("{}{hint}", finding.message))
}

fn outside(names: &[String]) -> String {
    let named: Vec<String> = names.iter().take(MOST_OUTSIDE).map(|name| code(name)).collect();
    match names.len().saturating_sub(MOST_OUTSIDE) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{TEXT, changed};
    use super::*;

    fn head() -> Oid {
        "a".repeat(40).parse().expect("an id")
    }

    #[test]
    fn a_comment_says_what_and_why() {
        let minor = changed("fine", &TEXT.replace("1.0", "1.1"));
        let major = changed("tool", &TEXT.replace("1.0", "1.1").replace("  make\n", "  make CC=`id`\n"));
        let finding = Finding::error("source-missing", "source `@mira` is not in the folder").at("lib/.SRCINFO", None);
        let wrong = Touched { findings: vec![finding.hint("add the file")], ..changed("lib", TEXT) };
        let leaves = Touched { touch: Touch::Removed, ..changed("old", TEXT) };
        let assessment = Assessment {
            refused: None,
            packages: vec![minor, leaves, wrong, major],
            outside: vec![".ci".to_owned(), "@mira`".to_owned()],
            findings: Vec::new(),
        };
        insta::assert_snapshot!(comment(&assessment, head()), @r"
        **This cannot go in as it is.** 4 packages: 1 minor, 2 major (needs a look), 1 that cannot go in; files beside packages need a look.

        This is about the commit `aaaaaaaaaa`.

        - `lib`: **cannot go in**, `files changed at 1.0-1`
          - **error**, `lib/.SRCINFO`: ``source `@mira` is not in the folder; add the file``
        - `old`: **major**, it leaves the repository
        - `tool`: **major**, `1.0-1 -> 1.1-1`
          - **review**, `PKGBUILD:6`: `` `build()` does something else than before ``
            - before: `make`
            - after: `` make CC=`id` ``

        Beside packages, it touches `.ci`, `` @mira` ``. Nobody but you looks at that.

        1 package of it would have needed nobody, had a source brought the update.
        ");
    }

    #[test]
    fn a_comment_fits_into_a_forge_however_much_there_is_to_say() {
        let major = changed("tool", &TEXT.replace("make", &"make -x @mira; ".repeat(200)));
        let assessment = Assessment { packages: vec![major; 2_600], ..Assessment::default() };
        let text = comment(&assessment, head());
        assert!(text.len() < 60_000, "{}", text.len());
        assert!(text.contains("packages more, for which there is no room here"));
    }
}
