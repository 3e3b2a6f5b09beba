//! Bytes of package files made safe to look at.

use std::collections::HashSet;
use std::fmt::Write;

use memchr::memmem;

use super::{PKGBUILD, SRCINFO, bytes};
use crate::domain::folder::Folder;

/// Longer texts are cut in reasons; the diff has all of it.
const SHOWN_CHARACTERS: usize = 400;

/// Texts are compared in pieces of so many bytes.
const CHUNK: usize = 128;

/// So many lines are looked up one by one.
const FEW: usize = 8;

/// The lines of a file. A file that ends with a line feed has an empty last line, so that the presence of
/// that line feed can be compared too.
pub(super) fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split(|&byte| byte == b'\n').collect()
}

/// Text for people: what cannot be seen or changes what is seen is escaped, and it has a bounded length.
pub(in crate::domain) fn shown(bytes: &[u8]) -> String {
    let mut text = String::new();
    let mut count = 0;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if count == SHOWN_CHARACTERS {
                text.push('…');
                return text;
            }
            count += 1;
            if is_hidden(c) { text.extend(c.escape_default()) } else { text.push(c) }
        }
        for byte in chunk.invalid() {
            count += 1;
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// The first thing in a line that has no business in a package file: a control character other than
/// tab, one that is invisible or turns the direction of text, or a byte that is not UTF-8.
pub(super) fn first_hidden(line: &[u8]) -> Option<String> {
    for chunk in line.utf8_chunks() {
        if let Some(c) = chunk.valid().chars().find(|&c| c != '\t' && is_hidden(c)) {
            return Some(format!("U+{:04X}", u32::from(c)));
        }
        if let Some(byte) = chunk.invalid().first() {
            return Some(format!("the byte 0x{byte:02X}, which is not UTF-8"));
        }
    }
    None
}

fn is_hidden(c: char) -> bool {
    let invisible = matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}');
    c.is_control() || invisible
}

/// The new lines of a file that is read by line.
pub(super) struct Written<'a> {
    pub path: &'a str,
    pub lines: Vec<(u32, &'a [u8])>,
}

/// What is newly written in the files that say what a package is and what runs on machines.
pub(super) fn written<'a>(old: &Folder, new: &'a Folder) -> Vec<Written<'a>> {
    let is_read = |path: &str| {
        path == PKGBUILD || path == SRCINFO || matches!(path.rsplit_once('.'), Some((_, "install" | "hook")))
    };
    let changed = new.files.iter().filter(|(path, file)| is_read(path) && old.get(path) != Some(&*file.bytes));
    changed.map(|(path, file)| Written { path, lines: new_lines(bytes(old, path), &file.bytes) }).collect()
}

/// The lines of `new`, numbered from 1, that `old` does not have anywhere.
pub(super) fn new_lines<'a>(old: &[u8], new: &'a [u8]) -> Vec<(u32, &'a [u8])> {
    // Most lines are the same and in the same places.
    let front = common(old.chunks(CHUNK).zip(new.chunks(CHUNK)), old.iter().zip(new));
    let start = new[..front].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let first = 1 + u32::try_from(memchr::memchr_iter(b'\n', &new[..start]).count()).unwrap_or(u32::MAX);
    let (old_rest, new_rest) = (&old[start..], &new[start..]);
    let chunks = old_rest.rchunks(CHUNK).zip(new_rest.rchunks(CHUNK));
    let back = common(chunks, old_rest.iter().rev().zip(new_rest.iter().rev()));
    // Behind the first line feed of what ends the same, all lines are the same.
    let behind = memchr::memchr(b'\n', &new_rest[new_rest.len() - back..]).map_or(0, |at| back - at);
    let changed = lines(&new_rest[..new_rest.len() - behind]);
    let mut numbered: Vec<_> = (first..).zip(changed).collect();
    if numbered.len() <= FEW {
        numbered.retain(|(_, line)| !has_line(old, line));
    } else {
        let known: HashSet<&[u8]> = lines(old).into_iter().collect();
        numbered.retain(|(_, line)| !known.contains(line));
    }
    numbered
}

/// How many bytes are the same, first by chunks and then one by one.
fn common<'a>(
    chunks: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    bytes: impl Iterator<Item = (&'a u8, &'a u8)>,
) -> usize {
    let whole: usize = chunks.take_while(|(old, new)| old == new).map(|(old, _)| old.len()).sum();
    whole + bytes.skip(whole).take_while(|(old, new)| old == new).count()
}

fn has_line(text: &[u8], line: &[u8]) -> bool {
    let is_end = |at: usize| text.get(at).is_none_or(|&byte| byte == b'\n');
    let is_start = |at: usize| at.checked_sub(1).is_none_or(|before| text[before] == b'\n');
    memmem::find_iter(text, line).any(|at| is_start(at) && is_end(at + line.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_shown_as_escapes() {
        assert_eq!(shown(b"a\tb\rc\0\x1b[31m"), "a\\tb\\rc\\u{0}\\u{1b}[31m");
        assert_eq!(shown("é ☃ \u{202e}x\u{200b}".as_bytes()), "é ☃ \\u{202e}x\\u{200b}");
        assert_eq!(shown(b"\xff\xfe"), "\\xff\\xfe");
        assert_eq!(shown(&b"a".repeat(1_000_000)).chars().count(), SHOWN_CHARACTERS + 1);
    }

    #[test]
    fn ordinary_letters_and_tabs_are_not_hidden() {
        assert_eq!(first_hidden("\t# Müller, 日本語, Ж".as_bytes()), None);
        assert_eq!(first_hidden(b"pkgver=1\r").as_deref(), Some("U+000D"));
        assert_eq!(first_hidden(b"\xe9").as_deref(), Some("the byte 0xE9, which is not UTF-8"));
    }
}
