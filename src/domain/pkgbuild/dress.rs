//! The dress of words: quotes that change nothing, and quotes that split a name.

use super::event::{Event, Kind};

/// Letters that mean the same quoted or not, if nothing in the word is a pattern.
pub(super) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./:@%+-=".contains(&byte))
}

/// Whether quotes split a name into pieces: `'c''url'`, `c\url`, `cu""rl`.
pub(super) fn is_spliced(parts: &[Event<'_>]) -> bool {
    let literal = |event: &Event<'_>| matches!(event.kind, Kind::Bare | Kind::Quoted);
    if parts.len() < 2 || !parts.iter().all(literal) {
        return false;
    }
    let whole = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./-".contains(&byte));
    let pieces: Vec<&str> = parts.iter().map(|part| &*part.text).filter(|text| !text.is_empty()).collect();
    let inside = |pair: &[&str]| {
        pair[0].ends_with(|c: char| c.is_ascii_alphabetic()) && pair[1].starts_with(|c: char| c.is_ascii_alphabetic())
    };
    pieces.iter().all(|piece| whole(piece)) && pieces.windows(2).any(inside)
}

/// Takes the dress from the word whose parts begin at `start`: quotes that change nothing.
pub(super) fn undress(events: &mut Vec<Event<'_>>, start: usize) {
    let parts = &events[start..];
    let meaning = |event: &Event<'_>| event.kind == Kind::Bare && event.text.contains(['{', '~', '[', '(', '|']);
    if parts.iter().any(meaning) {
        return;
    }
    if let [part] = parts {
        if part.kind == Kind::Quoted && !part.text.is_empty() && is_plain(&part.text) {
            events[start].kind = Kind::Bare;
        }
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
