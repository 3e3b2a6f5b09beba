//! Words with `{a,b}` and `{1..3}`.

use super::event::{Event, Kind, close};

/// One sign of a word in which braces are expanded, or a part that is kept whole.
#[derive(Clone)]
enum Piece<'e, 'a> {
    Sign(char, Kind),
    Whole(&'e [Event<'a>]),
}

/// The words that a word with `{a,b}` or `{1..3}` stands for.
pub(super) fn braces_of<'a>(parts: &[Event<'a>]) -> Option<Vec<Vec<Event<'a>>>> {
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < parts.len() {
        let (end, part) = (close(parts, at), &parts[at]);
        if matches!(part.kind, Kind::Bare | Kind::Quoted) {
            pieces.extend(part.text.chars().map(|c| Piece::Sign(c, part.kind)));
        } else {
            pieces.push(Piece::Whole(&parts[at..end]));
        }
        at = end;
    }
    if pieces.len() > 2000 {
        return None;
    }
    let mut words = vec![pieces];
    // Each round opens the first brace of every word.
    for _ in 0..4 {
        let mut next = Vec::new();
        let mut opened = false;
        for word in words {
            match first_brace(&word)? {
                None => next.push(word),
                Some((open, shut, choices)) => {
                    opened = true;
                    for choice in choices {
                        let mut pieces = word[..open].to_vec();
                        pieces.extend(choice);
                        pieces.extend_from_slice(&word[shut + 1..]);
                        next.push(pieces);
                    }
                }
            }
            if next.len() > 200 {
                return None;
            }
        }
        words = next;
        if !opened {
            return Some(words.into_iter().map(gathered).collect());
        }
    }
    None
}

type Choices<'e, 'a> = Option<(usize, usize, Vec<Vec<Piece<'e, 'a>>>)>;

/// The first brace that expands. `None` outside if it cannot be said whether it does.
fn first_brace<'e, 'a>(word: &[Piece<'e, 'a>]) -> Option<Choices<'e, 'a>> {
    let bare = |piece: &Piece<'_, '_>, sign: char| matches!(piece, Piece::Sign(c, Kind::Bare) if *c == sign);
    let Some(open) = word.iter().position(|piece| bare(piece, '{')) else {
        return Some(None);
    };
    let shut = open + word[open..].iter().position(|piece| bare(piece, '}'))?;
    let inside = &word[open + 1..shut];
    if inside.iter().any(|piece| bare(piece, '{')) {
        return None;
    }
    if inside.iter().any(|piece| bare(piece, ',')) {
        let choices = inside.split(|piece| bare(piece, ',')).map(<[_]>::to_vec).collect();
        return Some(Some((open, shut, choices)));
    }
    let text: String =
        inside.iter().map(|piece| if let Piece::Sign(c, Kind::Bare) = piece { *c } else { '?' }).collect();
    let (from, to) = text.split_once("..")?;
    let plain = |text: &str| {
        text == "0" || (!text.starts_with('0') && text.len() < 6 && text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if !plain(from) || !plain(to) {
        return None;
    }
    let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
    if to < from || to - from > 100 {
        return None;
    }
    let sign = |text: String| text.chars().map(|c| Piece::Sign(c, Kind::Bare)).collect();
    Some(Some((open, shut, (from..=to).map(|number| sign(number.to_string())).collect())))
}

fn gathered<'a>(pieces: Vec<Piece<'_, 'a>>) -> Vec<Event<'a>> {
    let mut events: Vec<Event<'a>> = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Whole(part) => events.extend_from_slice(part),
            Piece::Sign(c, kind) => match events.last_mut() {
                Some(last) if last.kind == kind => last.text.to_mut().push(c),
                _ => events.push(Event { kind, text: c.to_string().into(), at: 0 }),
            },
        }
    }
    events
}
