//! What replaces a match in Python's `re.sub`: `\1.\g<name>`.

use super::{Pattern, escape};

/// A template for a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Group(usize),
}

impl Template {
    /// Reads what is written by Python's rules.
    ///
    /// # Errors
    /// An escape that means nothing, or a group that the pattern does not have.
    pub fn new(written: &str, pattern: &Pattern) -> Result<Self, String> {
        let chars: Vec<char> = written.chars().collect();
        let (mut at, mut pieces) = (0, Vec::new());
        let mut text = String::new();
        while let Some(&c) = chars.get(at) {
            at += 1;
            if c != '\\' {
                text.push(c);
                continue;
            }
            match escaped(&chars, &mut at, pattern)? {
                Piece::Text(escaped) => text.push_str(&escaped),
                Piece::Group(group) if group > pattern.groups() => {
                    return Err(format!("the pattern has no group {group}"));
                }
                group @ Piece::Group(_) => pieces.extend([Piece::Text(std::mem::take(&mut text)), group]),
            }
        }
        pieces.push(Piece::Text(text));
        Ok(Self(pieces))
    }

    /// Writes it with what the groups hold.
    pub fn fill<'t>(&self, group: impl Fn(usize) -> &'t str, into: &mut String) {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => into.push_str(text),
                Piece::Group(number) => into.push_str(group(*number)),
            }
        }
    }
}

fn escaped(chars: &[char], at: &mut usize, pattern: &Pattern) -> Result<Piece, String> {
    let letter = *chars.get(*at).ok_or("it ends with a backslash")?;
    *at += 1;
    let text = |c: char| Piece::Text(c.to_string());
    Ok(match letter {
        'g' => named(chars, at, pattern)?,
        '0' => text(escape::octal(chars, at, 2, 0)?),
        '1'..='9' => {
            *at -= 1;
            match escape::read(chars, at, escape::Place::Outside)? {
                escape::Escape::Group(group) => Piece::Group(group),
                escape::Escape::Char(c) => text(c),
                _ => unreachable!("a digit is a group or a character"),
            }
        }
        'b' => text('\u{8}'),
        '\\' => text('\\'),
        letter if letter.is_ascii_alphabetic() => text(escape::simple(letter)?),
        other => Piece::Text(format!("\\{other}")),
    })
}

/// `<name>` or `<1>`.
fn named(chars: &[char], at: &mut usize, pattern: &Pattern) -> Result<Piece, String> {
    let wrong = || "after `\\g` stands a group in angle brackets".to_owned();
    let rest = &chars[*at..];
    let end = rest.iter().position(|&c| c == '>').filter(|_| rest.first() == Some(&'<')).ok_or_else(wrong)?;
    let name: String = rest[1..end].iter().collect();
    *at += end + 1;
    if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
        return name.parse().map(Piece::Group).map_err(|_| wrong());
    }
    pattern.group_named(&name).map(Piece::Group).ok_or_else(|| format!("the pattern has no group `{name}`"))
}
