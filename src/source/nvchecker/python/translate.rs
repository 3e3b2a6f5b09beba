//! From the syntax of Python's `re` to that of the engine.
//!
//! The two look alike and differ in details: what `$` and `\Z` are, what may stand in `[…]`, what an escaped
//! letter is. Everything is read by Python's rules here and written so that the engine cannot take it otherwise.

use super::escape::{self, Escape};

/// A pattern in the engine's syntax.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translated {
    /// Flags of the whole pattern: `(?i)`, or empty.
    pub flags: String,
    /// The rest of it.
    pub body: String,
    /// Capture groups in it.
    pub groups: usize,
}

/// Longer patterns are refused.
const LONGEST: usize = 8 << 10;

/// More than this many parts, with repetitions written out, are refused: `((a{99}){99}){99}` is short to write.
const LARGEST: usize = 20_000;

/// Deeper groups are refused.
const DEEPEST: usize = 100;

/// Reads a pattern.
///
/// # Errors
/// What Python would not accept, or what costs too much.
pub fn translate(python: &str) -> Result<Translated, String> {
    if python.len() > LONGEST {
        return Err(format!("it is longer than {LONGEST} bytes"));
    }
    let chars: Vec<char> = python.chars().collect();
    let mut reader = Reader { chars: &chars, at: 0, out: String::new(), flags: String::new(), groups: 0, open: vec![] };
    reader.open.push(Group::default());
    reader.global_flags()?;
    reader.run()?;
    if reader.open.len() > 1 {
        return Err("a parenthesis is not closed".to_owned());
    }
    Ok(Translated { flags: reader.flags, body: reader.out, groups: reader.groups })
}

/// An open group, or the whole pattern.
#[derive(Debug, Clone, Copy, Default)]
struct Group {
    multiline: bool,
    verbose: bool,
    ascii: bool,
    /// Its parts, with repetitions written out.
    size: usize,
    /// The last of them, which a repetition repeats.
    last: usize,
}

struct Reader<'a> {
    chars: &'a [char],
    at: usize,
    out: String,
    flags: String,
    groups: usize,
    open: Vec<Group>,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    fn take(&mut self, text: &str) -> bool {
        let found = text.chars().enumerate().all(|(offset, c)| self.chars.get(self.at + offset) == Some(&c));
        if found {
            self.at += text.chars().count();
        }
        found
    }

    fn group(&mut self) -> &mut Group {
        self.open.last_mut().expect("the whole pattern stays open")
    }

    /// `(?i)` and the like, which Python wants at the very start.
    fn global_flags(&mut self) -> Result<(), String> {
        let rest: String = self.chars.iter().collect();
        let Some(flags) = rest.strip_prefix("(?").and_then(|rest| rest.split_once(')')).map(|(flags, _)| flags) else {
            return Ok(());
        };
        if flags.is_empty() || !flags.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return Ok(());
        }
        let passed = self.set_flags(flags, true)?;
        if !passed.is_empty() {
            self.flags = format!("(?{passed})");
        }
        self.at = flags.len() + 3;
        Ok(())
    }

    /// Sets the flags that are dealt with here, and returns those that are the engine's.
    fn set_flags(&mut self, flags: &str, on: bool) -> Result<String, String> {
        let mut passed = String::new();
        for flag in flags.chars() {
            let group = self.group();
            match flag {
                'i' | 's' => passed.push(flag),
                'm' => group.multiline = on,
                'x' => group.verbose = on,
                'a' if on => group.ascii = true,
                'u' if on => group.ascii = false,
                _ => return Err(format!("the flag `{flag}` is not known")),
            }
        }
        Ok(passed)
    }

    fn run(&mut self) -> Result<(), String> {
        while let Some(c) = self.next() {
            match c {
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.open_group()?,
                ')' => self.close_group()?,
                '{' => self.counted()?,
                '*' | '+' | '?' | '|' => self.out.push(c),
                '$' => self.anchor(r"(?=\n?\z)", "(?m:$)")?,
                '^' => self.anchor(r"\A", "(?m:^)")?,
                '.' => self.part(".")?,
                c if self.group().verbose && is_space(c) => {}
                '#' if self.group().verbose => while self.next().is_some_and(|c| c != '\n') {},
                c => self.literal(c)?,
            }
        }
        Ok(())
    }

    fn write(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn part(&mut self, written: &str) -> Result<(), String> {
        self.out.push_str(written);
        self.grow(1)
    }

    fn literal(&mut self, c: char) -> Result<(), String> {
        let written = fancy_regex::escape(c.encode_utf8(&mut [0; 4])).into_owned();
        self.part(&written)
    }

    fn anchor(&mut self, single: &str, multi: &str) -> Result<(), String> {
        let written = if self.group().multiline { multi } else { single };
        self.part(written)
    }

    /// One more part of this size.
    fn grow(&mut self, size: usize) -> Result<(), String> {
        let group = self.group();
        group.size = group.size.saturating_add(size);
        group.last = size;
        let whole = self.open.iter().fold(0_usize, |sum, group| sum.saturating_add(group.size));
        if whole > LARGEST { Err("with its repetitions written out, it is too long".to_owned()) } else { Ok(()) }
    }

    fn escape(&mut self) -> Result<(), String> {
        let ascii = self.group().ascii;
        match escape::read(self.chars, &mut self.at, escape::Place::Outside)? {
            Escape::Char(c) => self.literal(c),
            Escape::Set(letter) => self.part(&escape::set(letter, ascii)),
            Escape::Boundary(letter) if ascii => self.part(&format!(r"(?-u:\{letter})")),
            Escape::Boundary(letter) => self.part(&format!(r"\{letter}")),
            Escape::Start => self.part(r"\A"),
            Escape::End => self.part(r"\z"),
            Escape::Group(number) if number > self.groups => Err(format!("there is no group {number}")),
            Escape::Group(number) => self.part(&format!(r"(?:\{number})")),
        }
    }

    fn open_group(&mut self) -> Result<(), String> {
        if self.open.len() > DEEPEST {
            return Err("its groups are nested too deep".to_owned());
        }
        let inherited = Group { size: 0, last: 0, ..*self.group() };
        if !self.take("?") {
            self.groups += 1;
            self.out.push('(');
        } else if self.take("#") {
            while self.next().is_some_and(|c| c != ')') {}
            return Ok(());
        } else if self.take("P=") {
            let name = self.name(')')?;
            return self.part(&format!("(?P={name})"));
        } else if self.take("P<") {
            let name = self.name('>')?;
            self.groups += 1;
            self.write(&format!("(?P<{name}>"));
        } else if self.take("(") {
            let name = self.name(')')?;
            self.write(&format!("(?({name})"));
        } else if let Some(start) = [":", "=", "!", "<=", "<!", ">"].into_iter().find(|start| self.take(start)) {
            self.write(&format!("(?{start}"));
        } else {
            self.open.push(inherited);
            return self.scoped_flags();
        }
        self.open.push(inherited);
        Ok(())
    }

    /// `(?i-s:…)`.
    fn scoped_flags(&mut self) -> Result<(), String> {
        let mut written = String::new();
        let (mut on, mut letters) = (true, String::new());
        loop {
            match self.next() {
                Some(c @ ('-' | ':')) => {
                    let passed = self.set_flags(&std::mem::take(&mut letters), on)?;
                    if !passed.is_empty() {
                        written.push_str(if on { "" } else { "-" });
                        written.push_str(&passed);
                    }
                    if c == ':' {
                        self.write(&format!("(?{written}:"));
                        return Ok(());
                    }
                    on = false;
                }
                Some(c) if c.is_ascii_lowercase() => letters.push(c),
                Some(')') => return Err("flags for the whole pattern belong to its start".to_owned()),
                _ => return Err("what follows `(?` is not known".to_owned()),
            }
        }
    }

    fn name(&mut self, end: char) -> Result<String, String> {
        let mut name = String::new();
        while let Some(c) = self.next() {
            if c == end && !name.is_empty() {
                return Ok(name);
            }
            if !c.is_alphanumeric() && c != '_' {
                break;
            }
            name.push(c);
        }
        Err("the name of a group is missing or wrong".to_owned())
    }

    fn close_group(&mut self) -> Result<(), String> {
        if self.open.len() == 1 {
            return Err("a parenthesis is closed that was not opened".to_owned());
        }
        let group = self.open.pop().expect("there is one");
        self.out.push(')');
        self.grow(group.size.max(1))
    }

    /// `{2,3}`; anything else in braces is text.
    fn counted(&mut self) -> Result<(), String> {
        let start = self.at;
        let low = self.digits();
        let high = if self.take(",") { Some(self.digits()) } else { None };
        let empty = low.is_empty() && high.is_none();
        if empty || !self.take("}") {
            self.at = start;
            return self.part(r"\{");
        }
        let number = |digits: &str| digits.parse::<usize>().map_err(|_| format!("{digits} repetitions are too many"));
        let low = if low.is_empty() { 0 } else { number(&low)? };
        let most = match high.as_deref() {
            None | Some("") => low,
            Some(high) => number(high)?,
        };
        if most < low {
            return Err(format!("no number is at least {low} and at most {most}"));
        }
        match high.as_deref() {
            None => self.write(&format!("{{{low}}}")),
            Some("") => self.write(&format!("{{{low},}}")),
            Some(_) => self.write(&format!("{{{low},{most}}}")),
        }
        let added = self.group().last.saturating_mul(most.max(1)) - self.group().last;
        self.grow(added)
    }

    fn digits(&mut self) -> String {
        let mut digits = String::new();
        while let Some(c) = self.peek().filter(char::is_ascii_digit) {
            digits.push(c);
            self.at += 1;
        }
        digits
    }

    /// `[…]`.
    fn class(&mut self) -> Result<(), String> {
        let mut class = String::from(if self.take("^") { "[^" } else { "[" });
        let first = self.at;
        loop {
            let c = self.next().ok_or("a bracket is not closed")?;
            if c == ']' && self.at > first + 1 {
                break;
            }
            let low = self.member(c)?;
            let range = self.peek() == Some('-') && self.chars.get(self.at + 1).is_some_and(|&c| c != ']');
            if !range {
                class.push_str(&low.written(self.group().ascii));
                continue;
            }
            self.at += 1;
            let c = self.next().ok_or("a bracket is not closed")?;
            let high = self.member(c)?;
            match (low, high) {
                (Member::Char(low), Member::Char(high)) if low <= high => {
                    class.extend([&*escape::hex(low), "-", &*escape::hex(high)]);
                }
                _ => return Err("a range in brackets has no beginning or no end".to_owned()),
            }
        }
        class.push(']');
        self.part(&class)
    }

    fn member(&mut self, c: char) -> Result<Member, String> {
        if c != '\\' {
            return Ok(Member::Char(c));
        }
        match escape::read(self.chars, &mut self.at, escape::Place::Inside)? {
            Escape::Char(c) => Ok(Member::Char(c)),
            Escape::Set(letter) => Ok(Member::Set(letter)),
            _ => Err("an escape stands in brackets that means nothing there".to_owned()),
        }
    }
}

/// What stands in brackets.
#[derive(Debug, Clone, Copy)]
enum Member {
    Char(char),
    Set(char),
}

impl Member {
    fn written(self, ascii: bool) -> String {
        match self {
            Self::Char(c) => escape::hex(c),
            Self::Set(letter) => escape::set(letter, ascii),
        }
    }
}

const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(python: &str) -> String {
        let translated = translate(python).unwrap_or_else(|error| panic!("{python}: {error}"));
        format!("{}{}", translated.flags, translated.body)
    }

    #[test]
    fn what_is_meant_alike_is_written_alike() {
        for pattern in [r"v(\d+\.\d+)", r"(?:a|b)+?", "(?i)x.*y", "(?P<n>a)(?P=n)", "a(?=b)(?!c)(?<=d)(?<!e)"] {
            assert_eq!(body(pattern), pattern);
        }
    }

    #[test]
    fn what_is_meant_otherwise_is_written_otherwise() {
        assert_eq!(body("^a$"), r"\Aa(?=\n?\z)");
        assert_eq!(body("(?m)^a$"), "(?m:^)a(?m:$)");
        assert_eq!(body(r"a\Z"), r"a\z");
        assert_eq!(body("a{b}"), r"a\{b\}");
        assert_eq!(body("a{,3}"), "a{0,3}");
        assert_eq!(body(r"\/\<\-"), "/<-");
        assert_eq!(body("[]a]"), r"[\x{5D}\x{61}]");
        assert_eq!(body("[[:alpha:]&&]"), r"[\x{5B}\x{3A}\x{61}\x{6C}\x{70}\x{68}\x{61}\x{3A}]&&\]");
        assert_eq!(body(r"[\d.-]"), r"[\d\x{2E}\x{2D}]");
        assert_eq!(body("(?x) a b # c\n c"), "abc");
        assert_eq!(body("a(?#comment)b"), "ab");
        assert_eq!(body(r"(a)\1"), r"(a)(?:\1)");
    }

    #[test]
    fn what_python_refuses_is_refused() {
        for pattern in ["(", ")", "[", "[b-a]", r"\q", r"(a)\2", "a(?i)b", "(?z)", "(?P<>a)", r"\x1", "(?L)a"] {
            assert!(translate(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_short_pattern_cannot_cost_much() {
        for pattern in ["((a{99}){99}){99}", "a{99999}", "(((((a{30}){30}){30}){30}){30})", &"(".repeat(200)] {
            assert!(translate(pattern).is_err(), "{pattern}");
        }
        assert!(translate(&"a".repeat(LONGEST + 1)).is_err());
    }
}
