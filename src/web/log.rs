//! Bytes of a build log as text that is safe to show: decoded piece by piece, colours kept as classes.
//!
//! Colours (`ESC [ … m`) become styles, other cursor commands vanish, and every other control
//! character stays in the text, to be shown by whoever escapes it. Nothing can overwrite a line.

use std::fmt;

use serde::Serialize;

/// A colour command longer than this is text.
const MAX_COMMAND: usize = 64;

/// How a piece of a log is set: what `SGR` commands ask for, as far as it is harmless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    bold: bool,
    colour: Option<u8>,
}

impl Style {
    /// Whether it is how plain text looks.
    #[must_use]
    pub fn is_plain(self) -> bool {
        self == Self::default()
    }

    /// The style for a terminal.
    #[must_use]
    pub fn for_terminal(self) -> anstyle::Style {
        let colour = self.colour.map(|colour| anstyle::Color::Ansi256(anstyle::Ansi256Color(colour)));
        let style = anstyle::Style::new().fg_color(colour);
        if self.bold { style.bold() } else { style }
    }

    fn apply(&mut self, parameters: &[u8]) {
        let text = std::str::from_utf8(parameters).unwrap_or_default();
        let mut numbers =
            text.split([';', ':']).map(|number| if number.is_empty() { 0 } else { number.parse().unwrap_or(255_u8) });
        while let Some(number) = numbers.next() {
            match number {
                0 => *self = Self::default(),
                1 => self.bold = true,
                22 => self.bold = false,
                30..=37 => self.colour = Some(number - 30),
                90..=97 => self.colour = Some(number - 90 + 8),
                39 => self.colour = None,
                // An extended colour: its parameters must not be read as commands.
                38 | 48 => match numbers.next() {
                    Some(5) => {
                        let colour = numbers.next().filter(|colour| *colour < 16);
                        if number == 38 {
                            self.colour = colour;
                        }
                    }
                    _ => return,
                },
                _ => {}
            }
        }
    }
}

/// The classes of the style sheet: `b`, `c0` to `c15`.
impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.bold, self.colour) {
            (true, Some(colour)) => write!(f, "b c{colour}"),
            (true, None) => f.write_str("b"),
            (false, Some(colour)) => write!(f, "c{colour}"),
            (false, None) => Ok(()),
        }
    }
}

impl Serialize for Style {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A run of text in one style.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Piece {
    /// Its style.
    pub style: Style,
    /// Its text; may hold control characters.
    pub text: String,
}

/// Reads a log as it grows. What is split between two chunks is kept until the rest is there.
#[derive(Debug, Default)]
pub struct LogDecoder {
    style: Style,
    kept: Vec<u8>,
    read: u64,
}

impl LogDecoder {
    /// Begins at a byte offset.
    #[must_use]
    pub fn starting_at(offset: u64) -> Self {
        Self { read: offset, ..Self::default() }
    }

    /// The offset up to which everything has been given out: where another reader can go on.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.read - self.kept.len() as u64
    }

    /// The pieces that these bytes complete.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        self.read += bytes.len() as u64;
        self.kept.extend_from_slice(bytes);
        self.decode(false)
    }

    /// What was kept, taken as it is.
    pub fn finish(&mut self) -> Vec<Piece> {
        self.decode(true)
    }

    fn decode(&mut self, last: bool) -> Vec<Piece> {
        let bytes = std::mem::take(&mut self.kept);
        let mut pieces = Pieces::default();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match next_token(rest, last) {
                Token::Text(text, length) => {
                    pieces.add(self.style, &text);
                    rest = &rest[length..];
                }
                Token::Colour(parameters, length) => {
                    self.style.apply(parameters);
                    rest = &rest[length..];
                }
                Token::Nothing(length) => rest = &rest[length..],
                Token::Incomplete => break,
            }
        }
        self.kept = rest.to_vec();
        pieces.0
    }
}

#[derive(Default)]
struct Pieces(Vec<Piece>);

impl Pieces {
    fn add(&mut self, style: Style, text: &str) {
        match self.0.last_mut() {
            Some(piece) if piece.style == style => piece.text.push_str(text),
            _ => self.0.push(Piece { style, text: text.to_owned() }),
        }
    }
}

enum Token<'a> {
    Text(std::borrow::Cow<'a, str>, usize),
    Colour(&'a [u8], usize),
    Nothing(usize),
    Incomplete,
}

/// The first token of bytes that are not empty.
fn next_token(bytes: &[u8], last: bool) -> Token<'_> {
    match bytes[0] {
        b'\r' => match bytes.get(1) {
            Some(b'\n') => Token::Nothing(1),
            None if !last => Token::Incomplete,
            _ => Token::Text("\n".into(), 1),
        },
        0x1b => command(bytes, last),
        _ => plain(bytes, last),
    }
}

fn command(bytes: &[u8], last: bool) -> Token<'_> {
    if bytes.len() == 1 && !last {
        return Token::Incomplete;
    }
    if bytes.get(1) == Some(&b'[') {
        let body = &bytes[2..bytes.len().min(MAX_COMMAND)];
        let parameters = body.iter().take_while(|byte| (0x20..=0x3f).contains(*byte)).count();
        match body.get(parameters) {
            Some(b'm') => return Token::Colour(&body[..parameters], parameters + 3),
            Some(0x40..=0x7e) => return Token::Nothing(parameters + 3),
            None if !last && bytes.len() < MAX_COMMAND => return Token::Incomplete,
            _ => {}
        }
    }
    Token::Text("\u{1b}".into(), 1)
}

fn plain(bytes: &[u8], last: bool) -> Token<'_> {
    let length = bytes.iter().position(|byte| matches!(byte, b'\r' | 0x1b)).unwrap_or(bytes.len());
    let at_end = length == bytes.len();
    let run = &bytes[..length];
    match std::str::from_utf8(run) {
        Ok(text) => Token::Text(text.into(), length),
        Err(error) => {
            let valid = error.valid_up_to();
            let unfinished = error.error_len().is_none() && at_end && !last;
            match (valid, unfinished) {
                (0, true) => Token::Incomplete,
                (0, false) => Token::Text("\u{fffd}".into(), error.error_len().unwrap_or(length)),
                (valid, _) => Token::Text(String::from_utf8_lossy(&run[..valid]), valid),
            }
        }
    }
}

/// The text of pieces without their styles.
#[must_use]
pub fn plain_text(pieces: &[Piece]) -> String {
    pieces.iter().map(|piece| piece.text.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(bytes: &[u8]) -> Vec<Piece> {
        let mut decoder = LogDecoder::default();
        let mut pieces = decoder.push(bytes);
        pieces.extend(decoder.finish());
        pieces
    }

    #[test]
    fn colours_become_styles_and_cursor_commands_vanish() {
        let pieces = whole(b"\x1b[1;32m==>\x1b[0m ok\x1b[2K\x1b[38;5;9mred\x1b[48;2;1;31;1mx");
        let shown: Vec<_> = pieces.iter().map(|piece| (piece.style.to_string(), piece.text.as_str())).collect();
        assert_eq!(shown, [("b c2".into(), "==>"), (String::new(), " ok"), ("c9".into(), "redx")]);
    }

    #[test]
    fn nothing_overwrites_a_line() {
        assert_eq!(plain_text(&whole(b"rm -rf /\rharmless\r\nnext\r")), "rm -rf /\nharmless\nnext\n");
    }

    #[test]
    fn other_commands_of_terminals_stay_visible() {
        assert_eq!(plain_text(&whole(b"\x1b]0;title\x07\x1bc")), "\u{1b}]0;title\u{7}\u{1b}c");
        let endless = [&b"\x1b["[..], &[b'1'; 500]].concat();
        let mut decoder = LogDecoder::default();
        assert!(plain_text(&decoder.push(&endless)).starts_with("\u{1b}[111"));
    }

    #[test]
    fn the_offset_stays_before_a_split_character() {
        let mut decoder = LogDecoder::starting_at(10);
        assert_eq!(plain_text(&decoder.push(b"a\xc3")), "a");
        assert_eq!(decoder.offset(), 11);
        assert_eq!(plain_text(&decoder.push(b"\xa4")), "ä");
        assert_eq!(decoder.offset(), 13);
    }

    proptest! {
        #[test]
        fn chunks_do_not_change_what_is_read(
            bytes in proptest::collection::vec(prop_oneof![Just(0x1b), Just(b'['), Just(b'm'), Just(b'\r'), any::<u8>()], 0..200),
            cut in any::<prop::sample::Index>(),
        ) {
            let cut = cut.index(bytes.len() + 1);
            let mut decoder = LogDecoder::default();
            let mut text = plain_text(&decoder.push(&bytes[..cut]));
            text += &plain_text(&decoder.push(&bytes[cut..]));
            text += &plain_text(&decoder.finish());
            prop_assert_eq!(text, plain_text(&whole(&bytes)));
            prop_assert_eq!(decoder.offset(), bytes.len() as u64);
        }
    }
}
