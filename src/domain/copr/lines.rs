//! Bytes of a log, as whole lines: several logs share one, and may change places only between lines.

use serde::{Deserialize, Serialize};

/// A longer line is broken: 16 KiB.
pub const LONGEST: usize = 16 << 10;

/// So often nothing may come before an unfinished line is shown as it is.
const PATIENCE: u8 = 6;

/// The lines of one log, as far as it has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// What has come of the line that is not over.
    #[serde(with = "super::as_base64")]
    unfinished: Vec<u8>,
    /// How often nothing has come since.
    quiet: u8,
}

impl Lines {
    /// Takes what has come and adds every line that is over to `whole`, each with its line feed.
    pub fn push(&mut self, mut bytes: &[u8], whole: &mut Vec<u8>) {
        self.quiet = 0;
        while !bytes.is_empty() {
            let room = LONGEST - self.unfinished.len();
            let end = memchr::memchr(b'\n', &bytes[..bytes.len().min(room)]);
            let length = end.map_or(bytes.len().min(room), |end| end + 1);
            self.unfinished.extend_from_slice(&bytes[..length]);
            bytes = &bytes[length..];
            if end.is_some() {
                whole.append(&mut self.unfinished);
            } else if self.unfinished.len() == LONGEST {
                self.flush(whole);
            }
        }
    }

    /// Nothing has come for another time; a line that nobody goes on with is shown.
    pub fn wait(&mut self, whole: &mut Vec<u8>) {
        self.quiet = self.quiet.saturating_add(1);
        if self.quiet >= PATIENCE {
            self.flush(whole);
        }
    }

    /// Nothing more comes: what is left is a line.
    pub fn flush(&mut self, whole: &mut Vec<u8>) {
        if !self.unfinished.is_empty() {
            whole.append(&mut self.unfinished);
            whole.push(b'\n');
        }
        self.quiet = 0;
    }
}

/// Whole lines, each after `[label] `.
#[must_use]
pub fn prefixed(label: &str, lines: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(lines.len() + lines.len() / 4 + label.len() + 3);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        text.extend_from_slice(b"[");
        text.extend_from_slice(label.as_bytes());
        text.extend_from_slice(b"] ");
        text.extend_from_slice(line);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_line_is_shown_once_it_is_over_or_nobody_goes_on_with_it() {
        let (mut lines, mut whole) = (Lines::default(), Vec::new());
        lines.push(b"one\ntw", &mut whole);
        assert_eq!(std::mem::take(&mut whole), b"one\n");
        (1..PATIENCE).for_each(|_| lines.wait(&mut whole));
        assert!(whole.is_empty(), "somebody may go on with it");
        lines.wait(&mut whole);
        assert_eq!(std::mem::take(&mut whole), b"tw\n");
        lines.push(b"o\nthree", &mut whole);
        lines.flush(&mut whole);
        lines.flush(&mut whole);
        assert_eq!(whole, b"o\nthree\n");
    }

    #[test]
    fn a_line_without_end_takes_no_memory_without_end() {
        let (mut lines, mut whole) = (Lines::default(), Vec::new());
        lines.push(&vec![b'x'; 3 * LONGEST + 5], &mut whole);
        assert_eq!(whole.len(), 3 * (LONGEST + 1));
        assert_eq!(lines.unfinished.len(), 5);
    }

    #[test]
    fn every_line_says_whose_it_is() {
        assert_eq!(prefixed("f42", b"a\n\nb\n"), b"[f42] a\n[f42] \n[f42] b\n");
        assert!(prefixed("f42", b"").is_empty());
    }

    proptest! {
        #[test]
        fn however_it_comes_it_is_the_same_text(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..300),
            cuts in proptest::collection::vec(0usize..300, 0..6),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let (mut lines, mut whole) = (Lines::default(), Vec::new());
            for pair in cuts.windows(2) {
                lines.push(&text[pair[0]..pair[1]], &mut whole);
                prop_assert!(whole.is_empty() || whole.ends_with(b"\n"));
            }
            lines.flush(&mut whole);
            let added = whole.strip_suffix(b"\n").filter(|_| !text.ends_with(b"\n")).unwrap_or(&whole);
            prop_assert_eq!(added, &text[..]);
        }
    }
}
