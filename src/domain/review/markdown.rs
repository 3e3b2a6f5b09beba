//! Anybody's text in Markdown: it says what it says, and does nothing.
//!
//! Forges act on text: they tell people who are mentioned, close issues, run commands, load images. Nothing of that is
//! done in code, so whatever could be more than words is written as code.

use crate::domain::classify::text::shown;

/// Anybody's text in one line, as code; what cannot be seen is escaped, and what is long is cut.
#[must_use]
pub fn code(text: &str) -> String {
    let text = visible(text);
    if text.trim().is_empty() {
        return format!("`\"{text}\"`");
    }
    let fence = "`".repeat(longest_run(&text) + 1);
    // One space at both ends is taken off by whoever reads it.
    let pad = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Anybody's sentence: as it is if it is made of harmless words only, else as code.
#[must_use]
pub fn sentence(text: &str) -> String {
    let text = shown(text.as_bytes());
    if is_harmless(&text) { text } else { code(&text) }
}

/// Anybody's text of many lines, as a block of code.
#[must_use]
pub fn block(text: &str, most_bytes: usize) -> String {
    let mut lines = Vec::new();
    let mut length = 0;
    for line in text.lines() {
        let line = visible(line);
        length += line.len() + 1;
        if length > most_bytes {
            lines.push("…".to_owned());
            break;
        }
        lines.push(line);
    }
    let text = lines.join("\n");
    let fence = "`".repeat((longest_run(&text) + 1).max(3));
    format!("{fence}text\n{text}\n{fence}")
}

/// An address as a link, if it is a plain one; else as code.
#[must_use]
pub fn link(address: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#&=%+,@".contains(&byte);
    let is_web = address.starts_with("https://") || address.starts_with("http://");
    if is_web && address.len() <= 300 && address.bytes().all(plain) { format!("<{address}>") } else { code(address) }
}

/// Without what cannot be seen, and without the beginning of a comment: code hides nothing, but a reader who looks for our
/// own hidden marks must not find others.
fn visible(text: &str) -> String {
    shown(text.as_bytes()).replace("<!--", "<! --")
}

fn is_harmless(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || " ,.;:()'\"/+=%-".contains(c);
    let lower = text.to_ascii_lowercase();
    let acts = ["://", "www.", "gh-"].iter().any(|bad| lower.contains(bad));
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic());
    begins && !acts && text.chars().all(plain) && !text.ends_with('…')
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text of a span of code, as `CommonMark` reads it; `None` if it ends early or late.
    fn read_back(span: &str) -> Option<String> {
        let ticks = span.len() - span.trim_start_matches('`').len();
        let inner = span.get(ticks..span.len().checked_sub(ticks)?)?;
        let ends_early = inner.split(|c| c != '`').any(|run| run.len() == ticks);
        let padded = inner.starts_with(' ') && inner.ends_with(' ') && !inner.trim().is_empty();
        let inner = if padded { &inner[1..inner.len() - 1] } else { inner };
        (!ends_early && !span.contains('\n')).then(|| inner.to_owned())
    }

    #[test]
    fn what_forges_act_on_is_code() {
        for text in [
            "ping @torvalds",
            "fixes #1",
            "closes GH-1",
            "see !7",
            "/merge",
            "<img src=x>",
            "[a](https://evil.example)",
            "https://evil.example",
            "www.evil.example",
            "a_b*c",
            "&#64;mira",
            ":(){ :|:& };:",
            "- [x] done",
            "~~x~~",
            "",
        ] {
            assert!(sentence(text).starts_with('`'), "{text}: {}", sentence(text));
        }
        assert_eq!(sentence("the host is new: example.org"), "the host is new: example.org");
        assert_eq!(code("a ``` b"), "````a ``` b````");
        assert_eq!(code("`x"), "`` `x ``");
        assert_eq!(code("a\nb\u{202e}c"), r"`a\nb\u{202e}c`");
        assert_eq!(code(""), "`\"\"`");
    }

    #[test]
    fn a_block_cannot_be_left() {
        let block = block("one\n```\n<b>@mira</b>\n````\u{1b}[2J", 1000);
        assert_eq!(block, "`````text\none\n```\n<b>@mira</b>\n````\\u{1b}[2J\n`````");
        assert_eq!(super::block(&"x\n".repeat(9), 7), "```text\nx\nx\nx\n…\n```");
    }

    #[test]
    fn only_plain_addresses_are_links() {
        assert_eq!(link("https://aur.archlinux.org/pkgbase/c++"), "<https://aur.archlinux.org/pkgbase/c++>");
        for bad in ["javascript:alert(1)", "https://x> <img", "https://x y", "ssh://aur@x/y"] {
            assert!(link(bad).starts_with('`'), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn code_holds_any_text(text in any::<String>()) {
            let read = read_back(&code(&text));
            let shown = visible(&text);
            let expected = if shown.trim().is_empty() { format!("\"{shown}\"") } else { shown };
            prop_assert_eq!(read, Some(expected));
        }

        #[test]
        fn no_line_of_a_block_ends_it(text in "[`~\n a-c<@#]{0,60}") {
            let block = block(&text, 10_000);
            let lines: Vec<&str> = block.lines().collect();
            let fence = lines[0].trim_end_matches("text");
            let closing = |line: &&&str| {
                let line = line.trim();
                line.len() >= fence.len() && line.bytes().all(|byte| byte == b'`')
            };
            prop_assert_eq!(lines[1..].iter().filter(closing).count(), 1);
        }
    }
}
