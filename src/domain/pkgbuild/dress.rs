//! The dress of words: quotes that change nothing, and quotes that split a name.

use super::event::{Event, Kind};

/// Letters that mean the same quoted or not, if nothing in the word is a pattern.
pub(super) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./:@%+-=".contains(&byte))
}

/// Whether quotes split a name into pieces: `'c''url'`, `c\url`, `cu""rl`, `.''/x`.
pub(super) fn is_spliced(parts: &[Event<'_>]) -> bool {
    let name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./:-".contains(&byte));
    let literal = |event: &Event<'_>| matches!(event.kind, Kind::Bare | Kind::Quoted);
    let plain = |event: &Event<'_>| literal(event) && name(&event.text);
    let is_named = |c: Option<char>| c.filter(|c| c.is_ascii_alphanumeric() || *c == '_');
    let inside = |before: &str, behind: &str| {
        let ends = is_named(before.chars().next_back()).zip(is_named(behind.chars().next()));
        ends.is_some_and(|(before, behind)| before.is_ascii_alphabetic() || behind.is_ascii_alphabetic())
    };
    let mut depth = 0_usize;
    let mut before: Option<&Event<'_>> = None;
    for part in parts {
        let here = depth == 0 && plain(part);
        // Double quotes begin with an empty part, which says nothing.
        if here && !part.text.is_empty() {
            if before.is_some_and(|before| inside(&before.text, &part.text)) {
                return true;
            }
            before = Some(part);
        } else if !here {
            before = None;
        }
        depth = if part.kind == Kind::End { depth.saturating_sub(1) } else { depth + usize::from(part.kind.opens()) };
    }
    parts.iter().all(plain) && has_empty_quotes(parts)
}

/// Whether quotes with nothing in them stand in a name: `""cd`, `.''/x`. Options have them to say "no value".
fn has_empty_quotes(parts: &[Event<'_>]) -> bool {
    let written = parts.iter().find(|part| !part.text.is_empty());
    let closes =
        |pair: &[Event<'_>]| pair[0].text.is_empty() && (pair[1].kind == Kind::Bare || pair[1].text.is_empty());
    let empty = parts.windows(2).any(closes) || parts.last().is_some_and(|part| part.text.is_empty());
    empty && written.is_some_and(|part| !part.text.starts_with('-'))
}

/// Takes the dress from the word whose parts begin at `start`: quotes that change nothing.
pub(super) fn undress(events: &mut Vec<Event<'_>>, start: usize) {
    if let [part] = &mut events[start..] {
        if part.kind == Kind::Quoted && !part.text.is_empty() && is_plain(&part.text) {
            part.kind = Kind::Bare;
        }
        return;
    }
    let has_meaning = |byte: u8| matches!(byte, b'{' | b'~' | b'[' | b'(' | b'|');
    let meaning = |event: &Event<'_>| event.kind == Kind::Bare && event.text.bytes().any(has_meaning);
    if events[start..].iter().any(meaning) {
        return;
    }
    let old = events.split_off(start);
    // An empty quote keeps an empty word alive; beside letters it means nothing.
    let mut depth = 0_usize;
    let has_text = old.iter().any(|event| {
        let text = depth == 0 && matches!(event.kind, Kind::Bare | Kind::Quoted) && !event.text.is_empty();
        depth = if event.kind == Kind::End { depth - 1 } else { depth + usize::from(event.kind.opens()) };
        text
    });
    let mut depth = 0_usize;
    for mut event in old {
        if event.kind == Kind::End {
            depth -= 1;
        } else if event.kind.opens() {
            depth += 1;
        } else if depth == 0 && matches!(event.kind, Kind::Bare | Kind::Quoted) {
            if event.text.is_empty() && has_text {
                continue;
            }
            if event.kind == Kind::Quoted && !event.text.is_empty() && is_plain(&event.text) {
                event.kind = Kind::Bare;
            }
            if events.len() > start
                && let Some(last) = events.last_mut()
                && last.kind == event.kind
                && !last.text.is_empty()
                && !event.text.is_empty()
            {
                last.text.to_mut().push_str(&event.text);
                continue;
            }
        }
        events.push(event);
    }
}
