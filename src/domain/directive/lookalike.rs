//! What was probably meant as a directive and is none: a misspelt word, a word without names, a bracket that is
//! not closed. Brackets that say something else are left alone.

use std::collections::BTreeSet;

use super::{DirectiveKind, directive_at, is_forge_marker, shortened};
use crate::domain::finding::Finding;
use crate::domain::name::{Oid, PkgBase};

/// As many of these are told for each commit.
const REPORTED: usize = 10;
/// Letters that may differ.
const DISTANCE: usize = 2;
/// With words as short as this, as many differing letters make ordinary words: only the name of a package behind
/// one tells that it was meant as a directive.
const SHORT: usize = 4;

/// Warns of everything in a message that looks like a directive and does nothing. Any text will do.
pub(super) fn warnings(commit: Oid, message: &str, known: &BTreeSet<PkgBase>) -> Vec<Finding> {
    let brackets = message.match_indices('[');
    let found = brackets.filter_map(|(start, _)| {
        let text = &message[start + 1..];
        if directive_at(text).is_some() {
            return None;
        }
        Bracket::read(text, start == 0)?.warning(known)
    });
    found.take(REPORTED).map(|finding| finding.in_commit(commit)).collect()
}

/// What stands behind an opening bracket.
struct Bracket<'a> {
    /// The first word.
    word: &'a str,
    /// What follows the word, up to the closing bracket or, if there is none, the end of the line.
    list: &'a str,
    is_closed: bool,
    /// Whether the message begins with it and goes on behind it, as in `[bump] firefox`.
    is_tag: bool,
}

impl<'a> Bracket<'a> {
    /// `None` where the first word is none, or belongs to a longer one.
    fn read(text: &'a str, is_first: bool) -> Option<Self> {
        let end = text.find(['[', ']']);
        let is_closed = end.is_some_and(|end| text.as_bytes()[end] == b']');
        let inside = &text[..end.unwrap_or(text.len())];
        let inside = if is_closed { inside } else { inside.lines().next().unwrap_or_default() };
        let letters = inside.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(inside.len());
        let (word, list) = inside.split_at(letters);
        let stands_alone = list.is_empty() || list.starts_with(|c: char| c.is_whitespace() || c == ':' || c == ',');
        let behind = end.map(|end| &text[end..]).and_then(|text| text.strip_prefix(']')).unwrap_or_default();
        let is_tag = is_first && behind.lines().next().is_some_and(|line| !line.trim().is_empty());
        (stands_alone && !word.is_empty()).then_some(Self { word, list, is_closed, is_tag })
    }

    fn names(&self) -> impl Iterator<Item = &'a str> {
        self.list.split(|c: char| matches!(c, ',' | ':') || c.is_whitespace()).filter(|name| !name.is_empty())
    }

    fn warning(&self, known: &BTreeSet<PkgBase>) -> Option<Finding> {
        let kind = self.meant(known)?;
        let names: Vec<&str> = self.names().collect();
        if kind == DirectiveKind::Skip && names.len() == 1 && is_forge_marker(names[0]) {
            return None;
        }
        let written = format!("[{}{}", self.word, self.list.trim_end());
        let right = shortened(&format!("[{} {}]", kind.as_str(), names.join(" ")));
        let (message, right) = match (names.is_empty(), self.is_closed) {
            (true, _) if self.is_tag && (kind == DirectiveKind::Bump || self.word != kind.as_str()) => return None,
            (true, true) => (format!("`{written}]` names no package"), format!("[{} NAME]", kind.as_str())),
            (true, false) => (format!("`{written}` has no closing bracket"), format!("[{} NAME]", kind.as_str())),
            (false, true) => (format!("`{}` is not a directive", shortened(&format!("{written}]"))), right),
            (false, false) => (format!("`{}` has no closing bracket", shortened(&written)), right),
        };
        Some(Finding::warning("misspelt-directive", message).hint(format!("write `{right}` in a later commit")))
    }

    /// Which directive the word stands for. Other words than the three count only with names behind them.
    fn meant(&self, known: &BTreeSet<PkgBase>) -> Option<DirectiveKind> {
        let word = self.word.to_ascii_lowercase();
        if let Some(kind) = DirectiveKind::ALL.into_iter().find(|kind| kind.as_str() == word) {
            return Some(kind);
        }
        let has_names = self.is_closed && self.names().next().is_some();
        if !has_names || word.len() > DirectiveKind::Deploy.as_str().len() + DISTANCE {
            return None;
        }
        let names_a_package = self.names().any(|name| {
            let name = name.split('/').next().unwrap_or(name);
            name == "all" || known.contains(name)
        });
        let near = DirectiveKind::ALL.into_iter().map(|kind| (strsim::damerau_levenshtein(kind.as_str(), &word), kind));
        let (distance, kind) = near.min()?;
        (distance <= DISTANCE && (names_a_package || word.len() > SHORT)).then_some(kind)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMMIT: Oid = Oid::from_bytes([7; 20]);

    fn told(message: &str) -> Vec<String> {
        let known = ["lone", "ctool"].map(|name| PkgBase::new(name).expect("legal")).into();
        warnings(COMMIT, message, &known).into_iter().map(|it| format!("{}; {}", it.message, it.hint)).collect()
    }

    #[test]
    fn what_was_meant_as_a_directive_is_told_with_the_right_form() {
        let message = "fix [delpoy lone] [Deploy lone] [deploy] [skip] [deploy: lone] [skpi lone/heavy] [SKIP all]\n\n\
                       [deploy lone\n\n[bump ctool";
        insta::assert_snapshot!(told(message).join("\n"), @"
        `[delpoy lone]` is not a directive; write `[deploy lone]` in a later commit
        `[Deploy lone]` is not a directive; write `[deploy lone]` in a later commit
        `[deploy]` names no package; write `[deploy NAME]` in a later commit
        `[skip]` names no package; write `[skip NAME]` in a later commit
        `[deploy: lone]` is not a directive; write `[deploy lone]` in a later commit
        `[skpi lone/heavy]` is not a directive; write `[skip lone/heavy]` in a later commit
        `[SKIP all]` is not a directive; write `[skip all]` in a later commit
        `[deploy lone` has no closing bracket; write `[deploy lone]` in a later commit
        `[bump ctool` has no closing bracket; write `[bump ctool]` in a later commit
        ");
        assert_eq!(told("[deploy] fix the build").len(), 1);
        assert_eq!(told("fix the build [Bump]").len(), 1);
    }

    #[test]
    fn ordinary_brackets_are_left_alone() {
        for message in [
            "[ci skip]",
            "[skip ci]",
            "[Skip CI]",
            "[skip ci",
            "[SKIP actions]",
            "[skip-ci]",
            "[no ci]",
            "[WIP]",
            "[WIP] lone",
            "[1/2]",
            "[PATCH 1/2] lone",
            "[bump] firefox",
            "[Bump] firefox",
            "[step 1]",
            "[stop]",
            "[ship it]",
            "[deployed]",
            "[deployment x]",
            "[x86_64]",
            "[]",
            "[",
            "[[",
            "[deploy lone] [skip ctool] [bump all]",
        ] {
            assert_eq!(told(message), [""; 0], "{message}");
        }
    }

    #[test]
    fn a_book_of_brackets_gives_a_handful_of_warnings() {
        let told = told(&format!("{}{}", "[deploy ".repeat(200_000), "x".repeat(1_000_000)));
        assert_eq!(told.len(), REPORTED);
        assert!(told.iter().all(|told| told.len() < 400));
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(message in "\\PC*|(\\[|\\]|deploy|delpoy|Skip|bump|lone|ci|,|:|/| |\\n|é|a){0,40}") {
            for warning in told(&message) {
                prop_assert!(warning.len() < 400);
            }
        }

        #[test]
        fn two_letters_that_are_exchanged_are_noticed(kind in 0..3_usize, at in 0..3_usize) {
            let mut word = DirectiveKind::ALL[kind].as_str().as_bytes().to_vec();
            word.swap(at, at + 1);
            let word = String::from_utf8(word).expect("letters");
            prop_assume!(word != DirectiveKind::ALL[kind].as_str());
            prop_assert_eq!(told(&format!("x [{word} lone]")).len(), 1);
        }
    }
}
