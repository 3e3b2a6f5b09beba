//! How far a log has been read, and what an answer of its server means at that place.
//!
//! A log is asked for from a little before where it was left. That resolves what servers leave open: if nothing is new,
//! the answer is exactly what is known, and not an error; if the log began anew, what comes is not what is known. A log
//! that only seems shorter is not believed at once, because servers answer from caches.

use serde::{Deserialize, Serialize};

/// So many bytes before the place are asked for again.
pub const OVERLAP: usize = 256;
/// So often in a row a log has to be shorter than it was before it counts as a new one. Caches are behind for two
/// seconds, and it is asked every five.
const BELIEVED: u8 = 3;
/// FNV-1a with 128 bits.
const FNV_START: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const FNV_PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

/// Which file of a log is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// The one that grows.
    Raw,
    /// The packed one that is left in the end.
    Packed,
}

/// Which bytes an answer says that it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub start: u64,
    /// The last.
    pub end: u64,
}

impl Range {
    /// Reads `Content-Range: bytes 5-9/10`; `None` if it is nothing like that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (range, _) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
        let (start, end) = range.split_once('-')?;
        let range = Self { start: start.trim().parse().ok()?, end: end.trim().parse().ok()? };
        (range.start <= range.end).then_some(range)
    }
}

/// What of an answer stands before its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its status.
    pub status: u16,
    /// `Content-Range`, if it can be read.
    pub range: Option<Range>,
    /// Whether the body is packed, by `Content-Encoding`.
    pub is_packed: bool,
    /// Whether the body is a page for people, which no log is.
    pub is_page: bool,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Its body holds some of the log.
    Body(Body),
    /// There is no such file, or not yet, or no longer.
    Missing,
    /// The file is shorter than what was read of it, or seems to be.
    Shrunk,
    /// It says nothing about the log.
    Fault,
}

/// A body that is being read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// Where in the log its next byte stands.
    at: u64,
    /// So many bytes of it count; all if that is not known.
    left: Option<u64>,
    /// Over all that came before its next byte, if it began at the beginning.
    digest: Option<Digest>,
    /// So many bytes were new.
    new: u64,
}

/// What is known of a log that differs from what is there: it began anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Differs;

/// What a body brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brought {
    /// Bytes that were new.
    News,
    /// All that is known, and nothing else.
    Nothing,
    /// Less than what is known.
    Less,
    /// It broke off before it came to anything new.
    Broken,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
struct Digest(u128);

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }
}

impl Default for Digest {
    fn default() -> Self {
        Self(FNV_START)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        format!("{:032x}", digest.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(Self)
    }
}

/// How far a log has been read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tail {
    /// So many bytes.
    offset: u64,
    /// The last of them, at most [`OVERLAP`].
    #[serde(with = "super::as_base64")]
    recent: Vec<u8>,
    /// Over all of them.
    digest: Digest,
    /// So often it began anew.
    restarts: u32,
    /// So often in a row it was shorter.
    shorter: u8,
}

impl Tail {
    /// From which byte on the raw log is to be asked for; `None` for all of it.
    #[must_use]
    pub fn ask_from(&self) -> Option<u64> {
        (self.offset > 0).then(|| self.known_from())
    }

    /// So many bytes were read since it began.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// So often it began anew.
    #[must_use]
    pub const fn restarts(&self) -> u32 {
        self.restarts
    }

    /// Whether anything was ever read.
    #[must_use]
    pub const fn has_any(&self) -> bool {
        self.offset > 0 || self.restarts > 0
    }

    /// What an answer means that was asked for now.
    #[must_use]
    pub fn judge(&self, form: Form, head: Head) -> Meaning {
        let asked = if form == Form::Raw { self.ask_from() } else { None };
        match head.status {
            200 if head.is_page => Meaning::Fault,
            200 => Meaning::Body(Body { at: 0, left: None, digest: Some(Digest::default()), new: 0 }),
            206 if head.is_packed || head.is_page => Meaning::Fault,
            206 => match (asked, head.range) {
                (Some(asked), Some(range)) if range.start <= asked => {
                    let digest = (range.start == 0).then(Digest::default);
                    let left = (range.end - range.start).checked_add(1);
                    Meaning::Body(Body { at: range.start, left, digest, new: 0 })
                }
                _ => Meaning::Fault,
            },
            416 if asked.is_some() => Meaning::Shrunk,
            300..=399 | 403 | 404 | 410 => Meaning::Missing,
            _ => Meaning::Fault,
        }
    }

    /// Takes the next bytes of a body; what is returned of them is new, and is counted as read.
    ///
    /// # Errors
    /// [`Differs`] if they are not what is known; nothing of the body counts then.
    pub fn take<'a>(&mut self, body: &mut Body, bytes: &'a [u8]) -> Result<&'a [u8], Differs> {
        let counts = body.left.map_or(bytes.len(), |left| bytes.len().min(clamped(left)));
        let bytes = &bytes[..counts];
        body.left = body.left.map(|left| left - counts as u64);
        let known = bytes.len().min(clamped(self.offset.saturating_sub(body.at)));
        let (old, new) = bytes.split_at(known);
        self.compare(body, old)?;
        self.add(new);
        body.at += new.len() as u64;
        body.new += new.len() as u64;
        Ok(new)
    }

    /// The body is over; `is_whole` if it came to its end. A log that was shorter often enough began anew, which
    /// [`Differs`] says.
    ///
    /// # Errors
    /// As [`Tail::take`].
    pub fn end(&mut self, body: &Body, is_whole: bool) -> Result<Brought, Differs> {
        if body.new > 0 {
            self.shorter = 0;
            return Ok(Brought::News);
        }
        if !is_whole || body.left.is_some_and(|left| left > 0) {
            return Ok(Brought::Broken);
        }
        if body.at < self.offset {
            return self.shrunk().map(|()| Brought::Less);
        }
        self.shorter = 0;
        Ok(Brought::Nothing)
    }

    /// The log was said to be shorter than it was.
    ///
    /// # Errors
    /// [`Differs`] once that was said often enough.
    pub const fn shrunk(&mut self) -> Result<(), Differs> {
        self.shorter += 1;
        if self.shorter >= BELIEVED { Err(Differs) } else { Ok(()) }
    }

    /// It began anew: nothing of what was read is there any more.
    pub fn restart(&mut self) {
        *self = Self { restarts: self.restarts.saturating_add(1), ..Self::default() };
    }

    /// Checks bytes that are known: the last of them one by one, and all of them if they came from the beginning.
    fn compare(&self, body: &mut Body, old: &[u8]) -> Result<(), Differs> {
        let skipped = old.len().min(clamped(self.known_from().saturating_sub(body.at)));
        let place = clamped((body.at + skipped as u64).saturating_sub(self.known_from()));
        let expected = self.recent.get(place..).and_then(|recent| recent.get(..old.len() - skipped));
        if old.len() > skipped && expected != Some(&old[skipped..]) {
            return Err(Differs);
        }
        body.at += old.len() as u64;
        if let Some(digest) = &mut body.digest {
            digest.add(old);
        }
        // Once, when all that is known has come.
        let is_known = body.at < self.offset || body.digest.is_none_or(|digest| digest == self.digest);
        if body.new > 0 || is_known { Ok(()) } else { Err(Differs) }
    }

    fn add(&mut self, new: &[u8]) {
        self.offset += new.len() as u64;
        self.digest.add(new);
        self.recent.extend_from_slice(&new[new.len().saturating_sub(OVERLAP)..]);
        self.recent.drain(..self.recent.len().saturating_sub(OVERLAP));
    }

    const fn known_from(&self) -> u64 {
        self.offset - self.recent.len() as u64
    }
}

/// A number of bytes as a length in memory.
fn clamped(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn head(status: u16, range: Option<Range>) -> Head {
        Head { status, range, is_packed: false, is_page: false }
    }

    fn read(tail: &mut Tail, head: Head, body: &[u8], is_whole: bool) -> Result<(Vec<u8>, Brought), Differs> {
        let Meaning::Body(mut reading) = tail.judge(Form::Raw, head) else { panic!("no body") };
        let mut new = Vec::new();
        for piece in body.chunks(7) {
            new.extend_from_slice(tail.take(&mut reading, piece)?);
        }
        tail.end(&reading, is_whole).map(|brought| (new, brought))
    }

    fn at(text: &[u8]) -> Tail {
        let mut tail = Tail::default();
        read(&mut tail, head(200, None), text, true).expect("the first time");
        tail
    }

    fn range(start: usize, end: usize) -> Option<Range> {
        Some(Range { start: start as u64, end: end as u64 })
    }

    #[test]
    fn l4_no_news_is_an_answer_and_not_an_error() {
        let text = [b'x'; 400];
        let mut tail = at(&text);
        assert_eq!(tail.ask_from(), Some(144));
        let idle = read(&mut tail, head(206, range(144, 399)), &text[144..], true);
        assert_eq!(idle, Ok((Vec::new(), Brought::Nothing)));
    }

    #[test]
    fn l7_416_alone_is_never_the_end_and_l13_often_in_a_row_a_new_beginning() {
        let mut tail = at(b"some text");
        assert_eq!(tail.judge(Form::Raw, head(416, None)), Meaning::Shrunk);
        assert_eq!((tail.shrunk(), tail.shrunk(), tail.shrunk()), (Ok(()), Ok(()), Err(Differs)));
        tail.restart();
        assert_eq!((tail.offset(), tail.restarts(), tail.has_any()), (0, 1, true));
        assert_eq!(tail.judge(Form::Raw, head(416, None)), Meaning::Fault, "nothing was asked from anywhere");
    }

    #[test]
    fn l13_a_log_that_outgrew_its_predecessor_is_found_out_by_what_it_says() {
        let mut tail = at(&[b'x'; 300]);
        let other = [b'y'; 500];
        assert_eq!(read(&mut tail, head(206, range(44, 499)), &other[44..], true), Err(Differs));
        let mut beginning = [b'x'; 500];
        beginning[0] = b'y';
        assert_eq!(read(&mut tail, head(200, None), &beginning, true), Err(Differs), "only the whole body shows it");
        assert_eq!(tail.offset(), 300);
    }

    #[test]
    fn l5_what_is_not_there_is_missing_and_what_says_nothing_is_a_fault() {
        let tail = at(b"some text");
        for status in [301, 302, 307, 308, 403, 404, 410] {
            assert_eq!(tail.judge(Form::Raw, head(status, None)), Meaning::Missing, "{status}");
        }
        for status in [400, 401, 408, 429, 500, 502, 503, 504, 206] {
            assert_eq!(tail.judge(Form::Raw, head(status, None)), Meaning::Fault, "{status}");
        }
        let later = head(206, range(5, 20));
        assert_eq!(tail.judge(Form::Raw, later), Meaning::Fault, "bytes would be lost");
        let page = Head { is_page: true, ..head(200, None) };
        assert_eq!(tail.judge(Form::Raw, page), Meaning::Fault);
        let packed = Head { is_packed: true, ..head(206, range(0, 20)) };
        assert_eq!(tail.judge(Form::Raw, packed), Meaning::Fault, "a range of what is packed");
    }

    #[test]
    fn ranges_are_read_as_servers_write_them() {
        assert_eq!(Range::parse("bytes 1691-1700/1701"), range(1691, 1700));
        assert_eq!(Range::parse("bytes 0-0/*"), range(0, 0));
        for nonsense in ["", "bytes */12", "bytes 5-1/9", "lines 1-2/3", "bytes 1/2", "bytes -5-9/9"] {
            assert_eq!(Range::parse(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn what_is_kept_is_read_again_as_it_was() {
        let tail = at(&[b'z'; 1000]);
        let kept = serde_json::to_string(&tail).expect("JSON");
        assert!(kept.len() < 600, "{kept}");
        assert_eq!(serde_json::from_str::<Tail>(&kept).expect("a tail"), tail);
    }

    /// An answer of a server to whom something happens; the numbers say how much of it.
    #[derive(Debug, Clone)]
    enum Answer {
        Right,
        Whole,
        Cut(usize),
        WholeCut(usize),
        Stale(usize),
        Beyond,
        TooLong,
        Status(u16),
        Page,
        Gap,
    }

    fn answers() -> impl Strategy<Value = Answer> {
        prop_oneof![
            3 => Just(Answer::Right),
            1 => Just(Answer::Whole),
            1 => (0usize..400).prop_map(Answer::Cut),
            1 => (0usize..900).prop_map(Answer::WholeCut),
            1 => (1usize..400).prop_map(Answer::Stale),
            1 => Just(Answer::Beyond),
            1 => Just(Answer::TooLong),
            1 => prop_oneof![Just(301), Just(404), Just(500), Just(503), Just(429)].prop_map(Answer::Status),
            1 => Just(Answer::Page),
            1 => Just(Answer::Gap),
        ]
    }

    /// Answers a question for the log as it is, and returns what of it was new.
    fn ask(tail: &mut Tail, log: &[u8], answer: &Answer) -> Result<Vec<u8>, Differs> {
        let from = tail.ask_from().map(clamped);
        let part = |log: &[u8]| match from {
            Some(from) if from < log.len() => (head(206, range(from, log.len() - 1)), log[from..].to_vec()),
            Some(_) => (head(416, None), Vec::new()),
            None => (head(200, None), log.to_vec()),
        };
        let (status, mut body, is_whole) = match answer {
            Answer::Right => (part(log).0, part(log).1, true),
            Answer::Whole => (head(200, None), log.to_vec(), true),
            Answer::Cut(length) => (part(log).0, part(log).1[..part(log).1.len().min(*length)].to_vec(), false),
            Answer::WholeCut(length) => (head(200, None), log[..log.len().min(*length)].to_vec(), false),
            Answer::Stale(by) => {
                let old = &log[..log.len().saturating_sub(*by)];
                (part(old).0, part(old).1, true)
            }
            Answer::Beyond => (head(416, None), Vec::new(), true),
            Answer::TooLong => (part(log).0, part(log).1, true),
            Answer::Status(status) => (head(*status, None), b"<html>".to_vec(), true),
            Answer::Page => (Head { is_page: true, ..head(200, None) }, b"<html>".to_vec(), true),
            Answer::Gap => (head(206, range(from.unwrap_or(0) + 1, 5000)), b"later".to_vec(), true),
        };
        if matches!(answer, Answer::TooLong) && status.status == 206 {
            body.extend_from_slice(b"and what nobody asked for");
        }
        match tail.judge(Form::Raw, status) {
            Meaning::Body(_) => read(tail, status, &body, is_whole).map(|(new, _)| new),
            Meaning::Shrunk => tail.shrunk().map(|()| Vec::new()),
            Meaning::Missing | Meaning::Fault => Ok(Vec::new()),
        }
    }

    proptest! {
        #[test]
        fn l4_l11_whatever_servers_answer_every_byte_comes_once(
            log in proptest::collection::vec(97u8..100, 0..900),
            steps in proptest::collection::vec((0usize..200, answers()), 0..40),
        ) {
            let (mut tail, mut seen, mut visible, mut behind) = (Tail::default(), Vec::new(), 0, 0);
            for (grown, answer) in steps {
                visible = (visible + grown).min(log.len());
                // Caches are behind for less time than it takes to ask thrice.
                behind += u8::from(matches!(answer, Answer::Stale(_) | Answer::Beyond));
                let answer = if behind >= BELIEVED { Answer::Right } else { answer };
                if matches!(answer, Answer::Right | Answer::Whole | Answer::TooLong) {
                    behind = 0;
                }
                let new = ask(&mut tail, &log[..visible], &answer);
                // What was taken of a body before it broke off was taken.
                prop_assert!(new.is_ok(), "{answer:?}");
                seen.extend(new.expect("checked"));
                prop_assert_eq!(&seen[..], &log[..seen.len()]);
            }
            seen.extend(ask(&mut tail, &log, &Answer::Right).expect("the same log"));
            prop_assert_eq!(seen, log);
            prop_assert_eq!(tail.restarts(), 0);
        }

        #[test]
        fn l13_after_a_new_beginning_the_new_log_comes_whole(
            old in proptest::collection::vec(97u8..100, 1..700),
            new in proptest::collection::vec(100u8..103, 0..1400),
            answers in proptest::collection::vec(answers(), 0..20),
        ) {
            let mut tail = Tail::default();
            prop_assert_eq!(ask(&mut tail, &old, &Answer::Right).expect("the first time"), old);
            let mut seen = Vec::new();
            for answer in answers.into_iter().chain(std::iter::repeat_n(Answer::Right, 4)) {
                match ask(&mut tail, &new, &answer) {
                    Ok(bytes) => seen.extend(bytes),
                    Err(Differs) => {
                        seen.clear();
                        tail.restart();
                    }
                }
            }
            seen.extend(ask(&mut tail, &new, &Answer::Right).unwrap_or_default());
            prop_assert!(tail.restarts() > 0);
            prop_assert_eq!(seen, new);
        }
    }
}
