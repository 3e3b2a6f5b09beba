//! What a review would change, as lines to read: hunks with context, and within a changed line the
//! part that changed. Bounded in time and size; what is left out is said.

use std::time::Duration;

use similar::{ChangeTag, DiffOp, TextDiff};

use crate::controller::view::FileDiff;

/// How many unchanged lines stand around a change.
const CONTEXT: usize = 3;
/// How long one file may take; beyond it the diff is coarser, never wrong.
const TIME_LIMIT: Duration = Duration::from_millis(300);
/// A file shows at most so many lines.
const MAX_LINES: usize = 4_000;
/// Changed parts are marked only in runs of changes up to this many bytes.
const MAX_MARKED: usize = 16 * 1024;

/// What happens to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileChange {
    /// It is new.
    Added,
    /// It goes.
    Removed,
    /// It is different.
    Changed,
    /// It is not text.
    Binary,
}

impl FileChange {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
            Self::Binary => "not text",
        }
    }
}

/// One file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileView {
    /// Its path in the folder.
    pub path: String,
    /// What happens to it.
    pub change: FileChange,
    /// Lines that are new.
    pub added: usize,
    /// Lines that go.
    pub removed: usize,
    /// Its changes.
    pub hunks: Vec<Hunk>,
    /// Lines that are not shown because there are too many.
    pub left_out: usize,
}

/// Changes that stand near each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// `@@ -1,4 +1,5 @@`.
    pub header: String,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// One line of a diff.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// ` `, `+` or `-`.
    pub sign: char,
    /// Its number before.
    pub old: Option<usize>,
    /// Its number after.
    pub new: Option<usize>,
    /// Its text without the line feed, in parts; `true` marks what changed.
    pub parts: Vec<(bool, String)>,
    /// The file ends here without a line feed.
    pub unterminated: bool,
}

impl Line {
    fn new(tag: ChangeTag, old: Option<usize>, new: Option<usize>, mut parts: Vec<(bool, String)>) -> Self {
        let sign = match tag {
            ChangeTag::Equal => ' ',
            ChangeTag::Delete => '-',
            ChangeTag::Insert => '+',
        };
        let unterminated = !parts.last().is_some_and(|(_, text)| text.ends_with('\n'));
        if let Some((_, text)) = parts.last_mut().filter(|(_, text)| text.ends_with('\n')) {
            text.pop();
        }
        parts.retain(|(_, text)| !text.is_empty());
        Self { sign, old: old.map(|index| index + 1), new: new.map(|index| index + 1), parts, unterminated }
    }

    /// The class of the style sheet.
    #[must_use]
    pub const fn class(&self) -> &'static str {
        match self.sign {
            '+' => "add",
            '-' => "del",
            _ => "ctx",
        }
    }
}

/// The changes of one file.
#[must_use]
pub fn view(file: &FileDiff) -> FileView {
    let change = match (&file.old, &file.new) {
        _ if file.binary => FileChange::Binary,
        (None, Some(_)) => FileChange::Added,
        (Some(_), None) => FileChange::Removed,
        _ => FileChange::Changed,
    };
    let mut view = FileView { path: file.path.clone(), change, added: 0, removed: 0, hunks: Vec::new(), left_out: 0 };
    if change != FileChange::Binary {
        let (old, new) = (file.old.as_deref().unwrap_or_default(), file.new.as_deref().unwrap_or_default());
        let diff = TextDiff::configure().timeout(TIME_LIMIT).diff_lines(old, new);
        read(&diff, &mut view);
    }
    view
}

fn read(diff: &TextDiff<'_, '_, str>, view: &mut FileView) {
    let mut shown = 0;
    for group in diff.grouped_ops(CONTEXT) {
        let mut lines = Vec::new();
        for op in &group {
            for line in lines_of(diff, op) {
                match line.sign {
                    '+' => view.added += 1,
                    '-' => view.removed += 1,
                    _ => {}
                }
                if shown < MAX_LINES {
                    shown += 1;
                    lines.push(line);
                } else {
                    view.left_out += 1;
                }
            }
        }
        if !lines.is_empty() {
            view.hunks.push(Hunk { header: header(&group), lines });
        }
    }
}

fn header(group: &[DiffOp]) -> String {
    let (Some(first), Some(last)) = (group.first(), group.last()) else {
        return String::new();
    };
    let range = |from: usize, until: usize| format!("{},{}", from + usize::from(until > from), until - from);
    let old = range(first.old_range().start, last.old_range().end);
    let new = range(first.new_range().start, last.new_range().end);
    format!("@@ -{old} +{new} @@")
}

fn lines_of(diff: &TextDiff<'_, '_, str>, op: &DiffOp) -> Vec<Line> {
    let size: usize = diff.iter_changes(op).map(|change| change.value().len()).sum();
    if size > MAX_MARKED {
        let whole = |change: similar::Change<&str>| {
            let parts = vec![(false, change.value().to_owned())];
            Line::new(change.tag(), change.old_index(), change.new_index(), parts)
        };
        return diff.iter_changes(op).map(whole).collect();
    }
    diff.iter_inline_changes(op)
        .map(|change| {
            let parts = change.iter_strings_lossy().map(|(marked, text)| (marked, text.into_owned())).collect();
            Line::new(change.tag(), change.old_index(), change.new_index(), parts)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(old: Option<&str>, new: Option<&str>) -> FileDiff {
        FileDiff { path: "PKGBUILD".into(), old: old.map(Into::into), new: new.map(Into::into), binary: false }
    }

    fn text(view: &FileView) -> String {
        let mut lines = Vec::new();
        for hunk in &view.hunks {
            lines.push(hunk.header.clone());
            lines.extend(hunk.lines.iter().map(|line| {
                let mut text = line.sign.to_string();
                for (marked, part) in &line.parts {
                    let (open, close) = if *marked { ("[", "]") } else { ("", "") };
                    text.extend([open, part, close]);
                }
                text + if line.unterminated { "\\" } else { "" }
            }));
        }
        lines.join("\n")
    }

    fn numbers(factor: usize) -> String {
        (0..30_000).flat_map(|n| [(n * factor % 1000).to_string(), "\n".to_owned()]).collect()
    }

    #[test]
    fn the_changed_part_of_a_line_is_marked() {
        let view = view(&file(Some("pkgname=a\npkgver=1.2.3\npkgrel=1\n"), Some("pkgname=a\npkgver=1.2.4\npkgrel=1")));
        insta::assert_snapshot!(text(&view), @"
        @@ -1,3 +1,3 @@
         pkgname=a
        -pkgver=[1.2.3]
        -pkgrel=1
        +pkgver=[1.2.4]
        +pkgrel=1\\
        ");
        assert_eq!((view.added, view.removed), (2, 2));
    }

    #[test]
    fn new_and_removed_files_are_shown_whole() {
        let added = view(&file(None, Some("a\nb\n")));
        assert_eq!((added.change, added.added, added.removed), (FileChange::Added, 2, 0));
        let removed = view(&file(Some("a\nb\n"), None));
        assert_eq!((removed.change, removed.added, removed.removed), (FileChange::Removed, 0, 2));
        assert_eq!(removed.hunks[0].header, "@@ -1,2 +0,0 @@");
    }

    #[test]
    fn a_file_built_to_be_slow_is_still_shown_and_bounded() {
        let (old, new) = (numbers(7), numbers(13));
        let view = view(&file(Some(&old), Some(&new)));
        let shown: usize = view.hunks.iter().map(|hunk| hunk.lines.len()).sum();
        assert_eq!(shown, MAX_LINES);
        assert!(view.left_out > 0);
        let long = "x".repeat(1 << 20);
        assert_eq!(super::view(&file(Some(&long), Some(&format!("{long}y")))).hunks[0].lines.len(), 2);
    }
}
