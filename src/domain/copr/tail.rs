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
mod tests;
