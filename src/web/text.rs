//! Text from strangers, made safe and visible: what a reader could not see is shown as a sign.
//!
//! [`HostileHtml`] is the escaper of every page, so no template can forget it. Terminals get
//! [`visible`]. Colours of logs are not here ([`super::log`]).

use std::borrow::Cow;
use std::fmt::{self, Write};

/// Whether a character is invisible, moves what stands beside it, or steers a terminal.
#[must_use]
pub const fn is_hidden(character: char) -> bool {
    matches!(character,
        '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}'
        | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
        | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

/// Writes the sign that stands for a hidden character: the control picture of ASCII controls
/// (`␛`), otherwise its code point (`⟨U+202E⟩`).
fn write_sign(out: &mut impl Write, character: char) -> fmt::Result {
    match character {
        '\0'..='\u{1f}' => out.write_char(char::from_u32(0x2400 + character as u32).unwrap_or('\u{fffd}')),
        '\u{7f}' => out.write_char('␡'),
        _ => write!(out, "⟨U+{:04X}⟩", character as u32),
    }
}

/// The text with every hidden character shown; line feeds and tabs stay.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        let written =
            if is_hidden(character) { write_sign(&mut shown, character) } else { shown.write_char(character) };
        written.expect("writing to a string succeeds");
    }
    Cow::Owned(shown)
}

/// As [`visible`], on one line: for titles and table cells of terminals.
#[must_use]
pub fn one_line(text: &str) -> String {
    visible(text).replace(['\n', '\t'], " ")
}

/// The escaper of all pages (`askama.toml`).
#[derive(Debug, Clone, Copy)]
pub struct HostileHtml;

impl askama::filters::Escaper for HostileHtml {
    fn write_escaped_str<W: Write>(&self, mut dest: W, string: &str) -> fmt::Result {
        let mut plain = 0;
        for (index, character) in string.char_indices() {
            let entity = match character {
                '<' => "&lt;",
                '>' => "&gt;",
                '&' => "&amp;",
                '"' => "&quot;",
                '\'' => "&#39;",
                _ if is_hidden(character) => "",
                _ => continue,
            };
            dest.write_str(&string[plain..index])?;
            if entity.is_empty() {
                write_sign(&mut dest, character)?;
            } else {
                dest.write_str(entity)?;
            }
            plain = index + character.len_utf8();
        }
        dest.write_str(&string[plain..])
    }
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut digits, byte| {
        write!(digits, "{byte:02x}").expect("writing to a string succeeds");
        digits
    })
}

/// One part of a path, or one value of a query, percent-encoded.
#[must_use]
pub fn path_part(text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte) {
            part.push(char::from(byte));
        } else {
            write!(part, "%{byte:02X}").expect("writing to a string succeeds");
        }
    }
    part
}

#[cfg(test)]
mod tests {
    use askama::filters::Escaper as _;
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = String::new();
        HostileHtml.write_escaped_str(&mut out, text).unwrap();
        out
    }

    #[test]
    fn markup_and_hidden_characters_become_visible_text() {
        assert_eq!(escaped("<b a='\"'>&\tx\n"), "&lt;b a=&#39;&quot;&#39;&gt;&amp;\tx\n");
        assert_eq!(escaped("a\u{202e}b\u{1b}[8m\r\u{200b}"), "a⟨U+202E⟩b␛[8m␍⟨U+200B⟩");
        assert_eq!(visible("tag\u{e0041}\u{fe0f}"), "tag⟨U+E0041⟩⟨U+FE0F⟩");
        assert_eq!(one_line("a\nb"), "a b");
    }

    #[test]
    fn a_path_part_cannot_leave_its_place() {
        assert_eq!(path_part("../a b?#"), "..%2Fa%20b%3F%23");
        assert_eq!(path_part("c++utilities@1"), "c%2B%2Butilities@1");
    }

    proptest! {
        #[test]
        fn no_text_escapes_into_markup(text in ".*") {
            let html = escaped(&text);
            prop_assert!(!html.contains(['<', '>', '"', '\'']));
            prop_assert!(!html.chars().any(is_hidden));
        }
    }
}
