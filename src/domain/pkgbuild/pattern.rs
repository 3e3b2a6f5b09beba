//! The patterns of `${x%…}`, `${x//…}` and their kin, on short ASCII texts.

/// One sign of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sign {
    /// This byte.
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Any,
    /// `[…]`: the bytes, and whether they are those that do not fit.
    Set(Vec<u8>, bool),
}

/// Longer texts are not worked on.
const LONGEST: usize = 400;

/// Adds what an unquoted text means in a pattern; `None` if it means something not known here.
pub(super) fn add_bare(pattern: &mut Vec<Sign>, text: &str) -> Option<()> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'*' => pattern.push(Sign::Any),
            b'?' => pattern.push(Sign::One),
            b'[' => {
                let length = bytes[at + 1..].iter().position(|&byte| byte == b']').filter(|&length| length > 0)?;
                pattern.push(set(&bytes[at + 1..=at + length])?);
                at += length + 1;
            }
            b'(' | b'|' | b')' | b'~' | b'\\' => return None,
            byte => pattern.push(Sign::Byte(byte)),
        }
        at += 1;
    }
    Some(())
}

fn set(inside: &[u8]) -> Option<Sign> {
    let (inside, negated) = match inside.split_first()? {
        (b'!' | b'^', rest) => (rest, true),
        _ => (inside, false),
    };
    let mut bytes = Vec::new();
    let mut at = 0;
    while at < inside.len() {
        match inside[at..] {
            [from, b'-', to, ..] => {
                // Ranges of letters depend on the locale; digits do not.
                if !(from.is_ascii_digit() && to.is_ascii_digit() && from <= to) {
                    return None;
                }
                bytes.extend(from..=to);
                at += 3;
            }
            [byte, ..] if byte.is_ascii_alphanumeric() || b"._-+:/ ".contains(&byte) => {
                bytes.push(byte);
                at += 1;
            }
            _ => return None,
        }
    }
    (!bytes.is_empty()).then_some(Sign::Set(bytes, negated))
}

pub(super) fn is_workable(text: &str) -> bool {
    text.is_ascii() && text.len() <= LONGEST
}

fn fits(pattern: &[Sign], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry = None;
    while t < text.len() {
        let step = pattern.get(p).is_some_and(|sign| match sign {
            Sign::Byte(byte) => *byte == text[t],
            Sign::One => true,
            Sign::Set(bytes, negated) => bytes.contains(&text[t]) != *negated,
            Sign::Any => false,
        });
        if step {
            p += 1;
            t += 1;
        } else if pattern.get(p) == Some(&Sign::Any) {
            retry = Some((p + 1, t));
            p += 1;
        } else if let Some((sign, from)) = retry {
            retry = Some((sign, from + 1));
            (p, t) = (sign, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|sign| *sign == Sign::Any)
}

/// `${text#pattern}`, or with `##` the longest.
pub(super) fn without_prefix<'t>(text: &'t str, pattern: &[Sign], longest: bool) -> &'t str {
    let fit = |&length: &usize| fits(pattern, &text.as_bytes()[..length]);
    let length = if longest { (0..=text.len()).rev().find(fit) } else { (0..=text.len()).find(fit) };
    &text[length.unwrap_or(0)..]
}

/// `${text%pattern}`, or with `%%` the longest.
pub(super) fn without_suffix<'t>(text: &'t str, pattern: &[Sign], longest: bool) -> &'t str {
    let fit = |&start: &usize| fits(pattern, &text.as_bytes()[start..]);
    let start = if longest { (0..=text.len()).find(fit) } else { (0..=text.len()).rev().find(fit) };
    &text[..start.unwrap_or(text.len())]
}

/// `${text/pattern/with}`; `all` of them with `//`, anchored with `/#` and `/%`.
pub(super) fn replaced(text: &str, pattern: &[Sign], with: &str, kind: &str) -> String {
    let bytes = text.as_bytes();
    let longest = |start: usize| (start..=bytes.len()).rev().find(|&end| fits(pattern, &bytes[start..end]));
    if pattern.is_empty() {
        return match kind {
            "/#" => format!("{with}{text}"),
            "/%" => format!("{text}{with}"),
            _ => text.to_owned(),
        };
    }
    match kind {
        "/#" => longest(0).map_or_else(|| text.to_owned(), |end| format!("{with}{}", &text[end..])),
        "/%" => {
            let start = (0..=bytes.len()).find(|&start| fits(pattern, &bytes[start..]));
            start.map_or_else(|| text.to_owned(), |start| format!("{}{with}", &text[..start]))
        }
        _ => {
            let (mut result, mut at, mut done) = (String::new(), 0, false);
            while at < bytes.len() {
                if let Some(end) = longest(at).filter(|&end| end > at && !done) {
                    result.push_str(with);
                    at = end;
                    done = kind == "/";
                } else {
                    result.push_str(&text[at..=at]);
                    at += 1;
                }
            }
            result
        }
    }
}
