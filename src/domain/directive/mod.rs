//! Wishes in commit messages: `[deploy NAME]`, `[skip NAME]`, `[bump NAME]`.
//!
//! A directive is an opening bracket, one of the three words in lower case, white space, names
//! separated by commas or white space, and a closing bracket. A name may be followed by `/CLASS`, and
//! `all` stands for every package. Every occurrence counts, in the subject and the body.
//!
//! `[skip ci]` and `[skip actions]` speak to the forge, and Chaotic's scripts add the former to every
//! commit of theirs. They are never directives, not even where a package is called `ci`: otherwise no
//! automated commit would ever build that package. `[skip ci,]` reaches it.

mod lookalike;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::domain::finding::{Finding, nearest};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::target::{self, BadClass, Selection, Target};

/// Forges read `[skip WORD]` themselves for these words, whatever their case.
const FORGE_MARKERS: [&str; 2] = ["ci", "actions"];

/// Names that do not exist are reported one by one up to this many for each directive.
const REPORTED_NAMES: usize = 10;

/// What is to happen to the packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DirectiveKind {
    /// Build them.
    Deploy,
    /// Do not build them, although the range changes them.
    Skip,
    /// Raise their `CI_PACKAGE_BUMP`, and so build them.
    Bump,
}

impl DirectiveKind {
    const ALL: [Self; 3] = [Self::Deploy, Self::Skip, Self::Bump];

    /// The word in the commit message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deploy => "deploy",
            Self::Skip => "skip",
            Self::Bump => "bump",
        }
    }
}

/// One directive as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Directive {
    /// What is to happen.
    kind: DirectiveKind,
    /// To which packages; empty if none is named.
    targets: Vec<Target>,
    /// Classes that are none, each instead of a target.
    bad: Vec<BadClass>,
    /// As it was written, brackets included.
    text: String,
}

/// Every directive of a commit message, in order. Any text will do.
fn parse(message: &str) -> Vec<Directive> {
    let after_brackets = message.match_indices('[').map(|(index, _)| &message[index + 1..]);
    after_brackets.filter_map(directive_at).collect()
}

/// Reads the directive that begins with `text`, the opening bracket taken off already.
fn directive_at(text: &str) -> Option<Directive> {
    let kind = DirectiveKind::ALL.into_iter().find(|kind| text.starts_with(kind.as_str()))?;
    let rest = &text[kind.as_str().len()..];
    let end = rest.find(['[', ']']).filter(|&end| rest.as_bytes()[end] == b']')?;
    let list = &rest[..end];
    // `[bump] firefox` is how some people begin a subject: a tag, not a directive that lacks its names.
    if !list.starts_with(char::is_whitespace) {
        return None;
    }
    let word = list.trim();
    if kind == DirectiveKind::Skip && is_forge_marker(word) {
        return None;
    }
    let text = format!("[{}{list}]", kind.as_str());
    let (mut targets, mut bad) = (Vec::new(), Vec::new());
    for target in target::names(list).map(Target::parse) {
        match target {
            Ok(target) => targets.push(target),
            Err(class) => bad.push(class),
        }
    }
    Some(Directive { kind, targets, bad, text })
}

fn is_forge_marker(word: &str) -> bool {
    FORGE_MARKERS.iter().any(|marker| word.eq_ignore_ascii_case(marker))
}

/// Whether a commit message asks for anything to be bumped.
#[must_use]
pub fn asks_for_a_bump(message: &str) -> bool {
    parse(message).iter().any(|directive| directive.kind == DirectiveKind::Bump)
}

/// A directive of one commit, with the names that exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The commit whose message holds it.
    pub commit: Oid,
    /// What is to happen.
    pub kind: DirectiveKind,
    /// To which packages. Each of them exists.
    pub targets: Vec<Target>,
    /// As it was written, brackets included.
    pub text: String,
}

impl Request {
    /// The packages it reaches, sorted.
    #[must_use]
    pub fn packages(&self, known: &BTreeSet<PkgBase>) -> Vec<PkgBase> {
        let mut packages = BTreeSet::new();
        for target in &self.targets {
            match &target.selection {
                Selection::All => return known.iter().cloned().collect(),
                Selection::Named(name) => packages.extend(known.get(name.as_str()).cloned()),
            }
        }
        packages.into_iter().collect()
    }
}

/// What the message of one commit asks for, and what is wrong with it: names that do not exist
/// (`unknown-directive`), and what was probably meant as a directive and is none (`misspelt-directive`).
#[must_use]
pub fn read(commit: Oid, message: &str, known: &BTreeSet<PkgBase>) -> (Vec<Request>, Vec<Finding>) {
    let (requests, mut findings) = resolve(commit, &parse(message), known);
    findings.extend(lookalike::warnings(commit, message, known));
    (requests, findings)
}

/// Keeps the names that exist, and reports the others with the nearest real name.
///
/// A directive of which no name is left is no request; an unknown name costs nothing else.
fn resolve(commit: Oid, directives: &[Directive], known: &BTreeSet<PkgBase>) -> (Vec<Request>, Vec<Finding>) {
    let mut requests = Vec::new();
    let mut findings = Vec::new();
    for Directive { kind, targets, bad, text } in directives {
        let (known_targets, unknown): (Vec<_>, Vec<_>) =
            targets.iter().cloned().partition(|target| exists(target, known));
        findings.extend(bad_classes(commit, text, bad));
        if targets.is_empty() && bad.is_empty() {
            let message = format!("`{text}` names no package");
            findings.push(
                Finding::warning("unknown-directive", message)
                    .in_commit(commit)
                    .hint(format!("write `[{} NAME]` in a later commit", kind.as_str())),
            );
        }
        findings.extend(unknown_names(commit, text, &unknown, known));
        if !known_targets.is_empty() {
            requests.push(Request { commit, kind: *kind, targets: known_targets, text: text.clone() });
        }
    }
    (requests, findings)
}

/// The first classes that are none; a message may hold any number.
fn bad_classes(commit: Oid, text: &str, bad: &[BadClass]) -> Vec<Finding> {
    let finding = |class: &BadClass| {
        Finding::error("bad-class", format!("`{}`: {class}", shortened(text)))
            .in_commit(commit)
            .hint("name the package with the right class, or with none, in a later commit")
    };
    bad.iter().take(REPORTED_NAMES).map(finding).collect()
}

fn exists(target: &Target, known: &BTreeSet<PkgBase>) -> bool {
    match &target.selection {
        Selection::All => true,
        Selection::Named(name) => known.contains(name.as_str()),
    }
}

/// One finding for each name, and one for all that are too many: a message may hold a whole book in
/// brackets, and looking for near names is slow.
fn unknown_names(commit: Oid, text: &str, unknown: &[Target], known: &BTreeSet<PkgBase>) -> Vec<Finding> {
    let names: BTreeSet<&str> = unknown
        .iter()
        .filter_map(|target| match &target.selection {
            Selection::Named(name) => Some(name.as_str()),
            Selection::All => None,
        })
        .collect();
    let mut findings: Vec<_> =
        names.iter().take(REPORTED_NAMES).map(|name| unknown_name(commit, text, name, known)).collect();
    if let Some(more) = names.len().checked_sub(REPORTED_NAMES).filter(|&more| more > 0) {
        let message = format!("`{}` names {more} more packages that do not exist", shortened(text));
        findings.push(Finding::error("unknown-directive", message).in_commit(commit));
    }
    findings
}

fn unknown_name(commit: Oid, text: &str, name: &str, known: &BTreeSet<PkgBase>) -> Finding {
    let message = format!("`{}`: there is no package `{}`", shortened(text), shortened(name));
    let near = PkgBase::new(name).ok().filter(|_| name.len() <= 128);
    let near = near.and_then(|name| nearest(name.as_str(), known.iter().map(PkgBase::as_str)));
    let hint = near.map_or_else(
        || "name a folder of this repository in a later commit".to_owned(),
        |near| format!("did you mean `{near}`?"),
    );
    Finding::error("unknown-directive", message).in_commit(commit).hint(hint)
}

/// At most 80 characters, so that a message stays one line.
fn shortened(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMMIT: Oid = Oid::from_bytes([7; 20]);

    fn known(names: &[&str]) -> BTreeSet<PkgBase> {
        names.iter().map(|name| PkgBase::new(name).expect("legal")).collect()
    }

    fn texts(message: &str) -> Vec<String> {
        parse(message).into_iter().map(|directive| directive.text).collect()
    }

    fn packages(message: &str, names: &[&str]) -> Vec<String> {
        let known = known(names);
        let (requests, findings) = resolve(COMMIT, &parse(message), &known);
        assert!(findings.is_empty(), "{findings:?}");
        requests.iter().flat_map(|request| request.packages(&known)).map(|name| name.to_string()).collect()
    }

    #[test]
    fn commas_and_blanks_separate_names() {
        for message in ["[deploy a,b]", "[deploy a b]", "[deploy  a , b ]", "[deploy a\nb]", "x [deploy a, b] y"] {
            assert_eq!(packages(message, &["a", "b", "c"]), ["a", "b"], "{message}");
        }
    }

    /// Chaotic's script honours only the first (D7).
    #[test]
    fn every_directive_of_subject_and_body_counts() {
        let message = "fix things [deploy a] and [bump b]\n\nBecause.\n[skip c]\n[deploy d][deploy e]\n";
        assert_eq!(texts(message), ["[deploy a]", "[bump b]", "[skip c]", "[deploy d]", "[deploy e]"]);
        let kinds: Vec<_> = parse(message).iter().map(|directive| directive.kind).collect();
        assert_eq!(kinds[..3], [DirectiveKind::Deploy, DirectiveKind::Bump, DirectiveKind::Skip]);
    }

    #[test]
    fn a_class_that_is_none_is_told_and_the_other_names_count() {
        let known = known(&["alpha", "beta"]);
        let (requests, findings) = read(COMMIT, "[deploy alpha/<b> beta]", &known);
        assert_eq!(
            requests.iter().flat_map(|it| it.packages(&known)).map(|it| it.to_string()).collect::<Vec<_>>(),
            ["beta"]
        );
        let lines: Vec<_> = findings.iter().map(|finding| finding.message.as_str()).collect();
        insta::assert_snapshot!(lines.join("\n"), @"`[deploy alpha/<b> beta]`: `<b>` is no build class: a class is a number or a name of letters, digits, `_`, `.` and `-`, 64 at most");
        assert_eq!(read(COMMIT, "[deploy alpha/../x]", &known).0, []);
    }

    #[test]
    fn a_class_belongs_to_the_name_before_it() {
        let [directive] = &parse("[deploy a c++/heavy]")[..] else { panic!("one directive") };
        assert_eq!(directive.targets[0].class, None);
        assert_eq!(directive.targets[1].class.as_ref().map(|class| class.0.as_str()), Some("heavy"));
        assert_eq!(packages("[deploy a c++/heavy]", &["a", "c++"]), ["a", "c++"]);
    }

    #[test]
    fn all_stands_for_every_package() {
        assert_eq!(packages("[deploy all]", &["a", "b"]), ["a", "b"]);
        assert_eq!(packages("[skip all]", &["a", "b"]), ["a", "b"]);
    }

    #[test]
    fn the_markers_of_forges_are_not_directives_even_where_a_package_has_that_name() {
        for message in ["[skip ci]", "[ci skip]", "[Skip CI]", "[skip CI]", "[skip  ci ]", "[skip actions]", "[no ci]"]
        {
            assert_eq!(texts(message), [""; 0], "{message}");
        }
        assert_eq!(packages("chore(update): ci [skip ci]", &["ci"]), [""; 0]);
        assert_eq!(packages("[skip ci,]", &["ci"]), ["ci"]);
        assert_eq!(packages("[deploy ci]", &["ci"]), ["ci"]);
        assert_eq!(packages("[skip ci a]", &["a", "ci"]), ["a", "ci"]);
    }

    #[test]
    fn prose_in_brackets_is_not_a_directive() {
        for message in [
            "[deployment x]",
            "[deployed]",
            "deploy a]",
            "[deploy a",
            "[redeploy a]",
            "[skip-ci]",
            "[Deploy a]",
            "[bump] a",
        ] {
            assert_eq!(texts(message), [""; 0], "{message}");
        }
        assert_eq!(texts("[deploy [deploy a]"), ["[deploy a]"]);
    }

    #[test]
    fn an_unknown_name_is_reported_with_the_nearest_one_and_the_rest_still_counts() {
        let known = known(&["firefox", "thunderbird"]);
        let (requests, findings) = resolve(COMMIT, &parse("[deploy firefx thunderbird]"), &known);
        assert_eq!(requests.len(), 1);
        assert_eq!(requests[0].packages(&known), [PkgBase::new("thunderbird").expect("legal")]);
        let [finding] = &findings[..] else { panic!("one finding: {findings:?}") };
        insta::assert_snapshot!(finding, @"`[deploy firefx thunderbird]`: there is no package `firefx` (commit 0707070707); did you mean `firefox`?");
        assert_eq!((finding.code, finding.commit), ("unknown-directive", Some(COMMIT)));
    }

    #[test]
    fn a_directive_without_a_name_is_reported() {
        let (requests, findings) = resolve(COMMIT, &parse("[deploy ] [bump ,]"), &known(&["a"]));
        assert!(requests.is_empty());
        insta::assert_snapshot!(findings[0], @"`[deploy ]` names no package (commit 0707070707); write `[deploy NAME]` in a later commit");
        assert_eq!(findings.len(), 2);
    }

    #[test]
    fn a_book_in_brackets_gives_a_handful_of_findings() {
        let words: Vec<_> = (0..5_000).map(|index| format!("word{index}")).collect();
        let message = format!("[deploy {} {}]", "x".repeat(1_000_000), words.join(" "));
        let (_, findings) = resolve(COMMIT, &parse(&message), &known(&["a"]));
        assert_eq!(findings.len(), REPORTED_NAMES + 1);
        assert!(findings.iter().all(|finding| finding.message.len() < 400));
    }

    #[test]
    fn many_brackets_are_read_in_linear_time() {
        assert!(parse(&"[deploy ".repeat(200_000)).is_empty());
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(message in "\\PC*|(\\[|\\]|deploy|skip|bump|all|,|/| |\\n|é|a){0,40}") {
            let known = known(&["a", "all"]);
            let (requests, _) = resolve(COMMIT, &parse(&message), &known);
            for request in requests {
                prop_assert!(message.contains(&request.text));
            }
        }

        #[test]
        fn what_is_written_is_found(names in proptest::collection::btree_set("[a-z][a-z0-9.+_@-]{0,8}", 1..5)) {
            prop_assume!(!names.contains("all"));
            let known = names.iter().map(|name| PkgBase::new(name).expect("legal")).collect();
            let list: Vec<_> = names.iter().map(String::as_str).collect();
            let (requests, findings) = resolve(COMMIT, &parse(&format!("text [deploy {}] text", list.join(","))), &known);
            prop_assert!(findings.is_empty());
            prop_assert_eq!(requests[0].packages(&known).len(), names.len());
        }
    }
}
