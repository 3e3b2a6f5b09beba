//! What a backslash means in a pattern of Python's `re`.

/// Where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Between other parts of the pattern.
    Outside,
    /// In brackets.
    Inside,
}

/// What it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// This character and nothing else.
    Char(char),
    /// A set: one of `dDsSwW`.
    Set(char),
    /// The edge of a word, or not: `b`, `B`.
    Boundary(char),
    /// The start of the text.
    Start,
    /// Its end.
    End,
    /// What the group of this number matched.
    Group(usize),
}

/// Reads what follows a backslash at `at`, and moves on behind it.
///
/// # Errors
/// What Python would not accept.
pub fn read(chars: &[char], at: &mut usize, place: Place) -> Result<Escape, String> {
    let letter = *chars.get(*at).ok_or("it ends with a backslash")?;
    *at += 1;
    let outside = place == Place::Outside;
    Ok(match letter {
        'd' | 'D' | 's' | 'S' | 'w' | 'W' => Escape::Set(letter),
        'b' if !outside => Escape::Char('\u{8}'),
        'b' | 'B' if outside => Escape::Boundary(letter),
        'A' if outside => Escape::Start,
        'Z' | 'z' if outside => Escape::End,
        'x' => Escape::Char(hexadecimal(chars, at, 2)?),
        'u' => Escape::Char(hexadecimal(chars, at, 4)?),
        'U' => Escape::Char(hexadecimal(chars, at, 8)?),
        '0' => Escape::Char(octal(chars, at, 2, 0)?),
        '1'..='9' => number(chars, at, letter, place)?,
        letter => Escape::Char(simple(letter)?),
    })
}

/// A control character by its letter, or a character that is no ASCII letter.
///
/// # Errors
/// If it is any other letter.
pub fn simple(letter: char) -> Result<char, String> {
    Ok(match letter {
        'a' => '\u{7}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        letter if letter.is_ascii_alphabetic() => return Err(format!("`\\{letter}` means nothing")),
        letter => letter,
    })
}

/// Three octal digits are a character; else it is the number of a group.
fn number(chars: &[char], at: &mut usize, first: char, place: Place) -> Result<Escape, String> {
    let digit = |offset: usize, radix| chars.get(*at + offset).and_then(|c| c.to_digit(radix));
    let first_digit = first.to_digit(10).expect("a digit");
    if first_digit < 8 && digit(0, 8).is_some() && digit(1, 8).is_some() {
        return Ok(Escape::Char(octal(chars, at, 2, first_digit)?));
    }
    if place == Place::Inside {
        return Err(format!("`\\{first}` means nothing in brackets"));
    }
    let mut group = first_digit as usize;
    if let Some(second) = digit(0, 10) {
        group = group * 10 + second as usize;
        *at += 1;
    }
    Ok(Escape::Group(group))
}

/// At most so many octal digits more.
pub fn octal(chars: &[char], at: &mut usize, most: usize, mut value: u32) -> Result<char, String> {
    for _ in 0..most {
        let Some(digit) = chars.get(*at).and_then(|c| c.to_digit(8)) else { break };
        value = value * 8 + digit;
        *at += 1;
    }
    char::from_u32(value).filter(|_| value <= 0o377).ok_or_else(|| format!("`\\{value:o}` is out of range"))
}

fn hexadecimal(chars: &[char], at: &mut usize, digits: usize) -> Result<char, String> {
    let wrong = || format!("{digits} hexadecimal digits of a character are missing");
    let text: String = chars.get(*at..*at + digits).ok_or_else(wrong)?.iter().collect();
    *at += digits;
    if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    u32::from_str_radix(&text, 16).ok().and_then(char::from_u32).ok_or_else(|| format!("there is no character {text}"))
}

/// A set, for the engine.
#[must_use]
pub fn set(letter: char, ascii: bool) -> String {
    let members = match letter.to_ascii_lowercase() {
        'd' => "0-9",
        's' => r" \t\n\r\x0B\x0C",
        _ => "0-9A-Za-z_",
    };
    match (ascii, letter.is_ascii_uppercase()) {
        (false, _) => format!(r"\{letter}"),
        (true, false) => format!("[{members}]"),
        (true, true) => format!("[^{members}]"),
    }
}

/// A character that cannot be taken for anything else, in brackets or not.
#[must_use]
pub fn hex(c: char) -> String {
    format!(r"\x{{{:X}}}", u32::from(c))
}
