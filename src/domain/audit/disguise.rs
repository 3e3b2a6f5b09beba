//! Takes off what hides a word from a reader and not from bash: `'b''u''n'`, `n\pm`, `$'\x63'url`.
//!
//! This is no shell: it only removes signs. What it makes of a text is searched beside the text, never
//! in its place.

/// A text without the signs that hide words, and which line each part of it comes from.
pub struct Plain {
    /// What is left.
    pub bytes: Vec<u8>,
    /// Where each line begins in `bytes`, and its number in the text.
    lines: Vec<(usize, u32)>,
}

impl Plain {
    /// The number of the line, in the text as it was, at a place in what is left.
    pub fn line_at(&self, at: usize) -> u32 {
        let after = self.lines.partition_point(|(start, _)| *start <= at);
        self.lines[after - 1].1
    }
}

/// Takes the signs off; `None` if there are none.
pub fn plain(text: &[u8]) -> Option<Plain> {
    memchr::memchr3(b'\'', b'"', b'\\', text).or_else(|| memchr::memchr2(b'`', b'@', text))?;
    let mut reader = Reader { rest: text, line: 1, plain: Plain { bytes: Vec::new(), lines: vec![(0, 1)] } };
    reader.plain.bytes.reserve(text.len());
    while reader.step() {}
    Some(reader.plain)
}

struct Reader<'a> {
    rest: &'a [u8],
    line: u32,
    plain: Plain,
}

impl Reader<'_> {
    /// Reads on by one sign; false at the end.
    fn step(&mut self) -> bool {
        match self.rest {
            [] => return false,
            [b'\n', ..] => {
                self.line += 1;
                self.plain.bytes.push(b'\n');
                self.plain.lines.push((self.plain.bytes.len(), self.line));
                self.skip(1);
            }
            // The lines become one for bash, and what stands on the second one is told as such.
            [b'\\', b'\n', ..] => {
                self.line += 1;
                self.plain.lines.push((self.plain.bytes.len(), self.line));
                self.skip(2);
            }
            [b'$', b'\'', ..] => {
                self.skip(2);
                self.escapes();
            }
            [b'$', b'"' | b'@' | b'*', ..] | [b'`', b'`', ..] => self.skip(2),
            [b'\'' | b'"' | b'\\', ..] => self.skip(1),
            [byte, ..] => {
                self.plain.bytes.push(*byte);
                self.skip(1);
            }
        }
        true
    }

    fn skip(&mut self, count: usize) {
        self.rest = &self.rest[count.min(self.rest.len())..];
    }

    /// Reads on to the end of `$'…'`, or of the line.
    fn escapes(&mut self) {
        loop {
            match self.rest {
                [] | [b'\n', ..] => return,
                [b'\'', ..] => return self.skip(1),
                [b'\\', b'x', ..] => self.number(2, 16, 2),
                [b'\\', b'u', ..] => self.number(2, 16, 4),
                [b'\\', b'U', ..] => self.number(2, 16, 8),
                [b'\\', b'0'..=b'7', ..] => self.number(1, 8, 3),
                [b'\\', ..] => self.skip(1),
                [byte, ..] => {
                    self.plain.bytes.push(*byte);
                    self.skip(1);
                }
            }
        }
    }

    /// A character by its number, of at most so many digits.
    fn number(&mut self, prefix: usize, radix: u32, most: usize) {
        self.skip(prefix);
        let is_digit = |byte: &&u8| char::from(**byte).is_digit(radix);
        let digits: String = self.rest.iter().take(most).take_while(is_digit).map(|byte| char::from(*byte)).collect();
        self.skip(digits.len());
        let character = u32::from_str_radix(&digits, radix).ok().and_then(char::from_u32);
        // A line feed that is not there would make every later line number wrong.
        if let Some(character) = character.filter(|character| *character != '\n') {
            self.plain.bytes.extend(character.encode_utf8(&mut [0; 4]).bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn without(text: &str) -> String {
        plain(text.as_bytes()).map_or_else(|| text.to_owned(), |plain| String::from_utf8(plain.bytes).expect("text"))
    }

    #[test]
    fn split_quoted_and_escaped_words_become_whole() {
        for hidden in [
            r"'b''u''n'",
            r#"b"u"'n'"#,
            r"b\un",
            r"$'\x62'un",
            r"$'\142\165n'",
            "b\\\nun",
            "b``u$@n",
            r"$'b'u$'\u006e'",
        ] {
            assert_eq!(without(hidden), "bun", "{hidden}");
        }
    }

    #[test]
    fn lines_keep_their_numbers() {
        let plain = plain(b"'a'\nb\\\nc\n'd'").expect("signs");
        assert_eq!(plain.bytes, b"a\nbc\nd");
        let lines: Vec<u32> = [0, 2, 3, 5].map(|at| plain.line_at(at)).into();
        assert_eq!(lines, [1, 2, 3, 4]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(plain) = plain(&bytes) {
                prop_assert!(plain.bytes.len() <= bytes.len());
                let last = plain.line_at(plain.bytes.len());
                prop_assert!(last as usize <= 1 + memchr::memchr_iter(b'\n', &bytes).count());
            }
        }
    }
}
