//! What builders elsewhere may bring for an attempt: the rules, without storage and without a protocol.

use std::fmt;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The longest that a builder or a program may say of an end, in bytes: some 2,000 files are named in it.
pub const LONGEST_ANSWER: usize = 1 << 20;

/// How much may be brought for one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of one file.
    pub file: u64,
    /// Bytes of all files.
    pub attempt: u64,
    /// How many files.
    pub files: usize,
}

impl Default for Limits {
    /// 4 GiB for a file, 8 GiB for all, 64 files.
    fn default() -> Self {
        Self { file: 4 << 30, attempt: 8 << 30, files: 64 }
    }
}

impl Limits {
    /// With room for so many packages: one with more members than that would be built to its end each time, for nothing.
    #[must_use]
    pub fn for_packages(self, count: usize) -> Self {
        Self { files: self.files.max(count), ..self }
    }

    /// Whether files of these sizes may be brought together.
    ///
    /// # Errors
    /// [`Refusal::TooMany`], [`Refusal::TooLarge`].
    pub fn admit(self, sizes: &[u64]) -> Result<(), Refusal> {
        if sizes.len() > self.files {
            return Err(Refusal::TooMany(self.files));
        }
        if sizes.iter().any(|size| *size > self.file) {
            return Err(Refusal::TooLarge { what: Bulk::File, limit: self.file });
        }
        if sizes.iter().fold(0_u64, |sum, size| sum.saturating_add(*size)) > self.attempt {
            return Err(Refusal::TooLarge { what: Bulk::Attempt, limit: self.attempt });
        }
        Ok(())
    }
}

/// What can be too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bulk {
    /// One file.
    File,
    /// All files of an attempt.
    Attempt,
    /// What a build prints.
    Log,
}

impl Bulk {
    /// The setting that says how much it may be.
    #[must_use]
    pub const fn setting(self) -> &'static str {
        match self {
            Self::File => "executor.uploads.file_mib",
            Self::Attempt => "executor.uploads.build_mib",
            Self::Log => "executor.log_mib",
        }
    }
}

impl fmt::Display for Bulk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "a file",
            Self::Attempt => "all files of an attempt",
            Self::Log => "a log",
        })
    }
}

/// SHA-256 of a whole file.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Checksum([u8; 32]);

impl Checksum {
    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// Finds it in the header `Repr-Digest` (RFC 9530), where others may stand beside it.
    #[must_use]
    pub fn from_header(value: &str) -> Option<Self> {
        let member = value.split(',').find_map(|member| member.trim().strip_prefix("sha-256="))?;
        let bytes = STANDARD.decode(member.strip_prefix(':')?.strip_suffix(':')?).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// As the header `Repr-Digest` has it.
    #[must_use]
    pub fn to_header(self) -> String {
        format!("sha-256=:{}:", STANDARD.encode(self.0))
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Checksum> for String {
    fn from(checksum: Checksum) -> Self {
        checksum.to_string()
    }
}

impl TryFrom<String> for Checksum {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::from_hex(&text).ok_or("a SHA-256 has 64 hexadecimal digits")
    }
}

/// What a builder says that it has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtefactClaim {
    /// The name of the file.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its content, in hexadecimal.
    pub sha256: String,
}

/// Reads the header `Content-Range` of a request, `bytes A-B/TOTAL`: the bytes that come, and how many there are.
#[must_use]
pub fn content_range(value: &str) -> Option<(Range<u64>, u64)> {
    let number = |text: &str| -> Option<u64> {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    let (range, total) = value.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, total) = (number(first)?, number(last)?, number(total)?);
    (first <= last && last < total).then(|| (first..last + 1, total))
}

/// A request that brings a file or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// Which bytes of the file it brings; `None` if all.
    pub range: Option<Range<u64>>,
    /// The size of the file, if that was said.
    pub total: Option<u64>,
    /// The checksum of the file.
    pub checksum: Checksum,
}

/// What is there of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// What it is to become.
    pub checksum: Checksum,
    /// Bytes that are there.
    pub received: u64,
    /// Whether that is all, and the checksum is right.
    pub complete: bool,
}

/// What all files of the attempt come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes of the other files.
    pub others: u64,
    /// How many others there are.
    pub files: usize,
}

/// What to do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: the file is there.
    Known,
    /// To begin the file, anew if there is something of it.
    Begin,
    /// To add to what is there.
    Append,
}

/// Why something is not taken from a builder, or not given to it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The token is missing, or not that of this attempt.
    #[error("this is not the token of this attempt")]
    NotYours,
    /// The attempt is over.
    #[error("this attempt is over")]
    Over,
    /// Another builder has the attempt now.
    #[error("another builder has this attempt now")]
    Taken,
    /// A build does not make such a file.
    #[error("this build does not make `{}`", shown(.0))]
    Foreign(String),
    /// Nothing of that file is there.
    #[error("there is nothing of `{}`", shown(.0))]
    Nothing(String),
    /// Too much of anything.
    #[error("{what} may have {limit} bytes; {} of the controller says so", .what.setting())]
    TooLarge {
        /// Of what.
        what: Bulk,
        /// What it may have, in bytes.
        limit: u64,
    },
    /// Too many files.
    #[error("an attempt may bring {0} files; executor.uploads.files of the controller says so")]
    TooMany(usize),
    /// What is brought does not begin where it stopped.
    #[error("it goes on at byte {at}")]
    Elsewhere {
        /// Where it goes on, in bytes from the beginning.
        at: u64,
    },
    /// The file is there already, with another content.
    #[error("`{}` is there already, with the checksum {checksum}", shown(.name))]
    Settled {
        /// The file.
        name: String,
        /// What is there.
        checksum: Checksum,
    },
    /// What was brought is not what it was said to be, and was dropped.
    #[error("`{}` has the checksum {found}; it was dropped", shown(.name))]
    Lie {
        /// The file.
        name: String,
        /// What it has.
        found: Checksum,
    },
    /// The body has not the length that was said, or stopped.
    #[error("{0}")]
    Broken(String),
    /// The body ended before its end.
    #[error("the body broke off; what came is kept")]
    Interrupted,
    /// The body did not come in time.
    #[error("the body came too slowly; what came is kept")]
    Slow,
    /// Another request does the same at this time.
    #[error("another request took over")]
    Overtaken,
    /// So many requests at once that nothing good is meant by it.
    #[error("too many requests of this attempt at once")]
    Crowd,
    /// What a builder says it has made is not what it brought.
    #[error("{0}")]
    Untrue(String),
}

/// A name of others, as it can be shown.
fn shown(name: &str) -> String {
    let short: String = name.chars().take(100).collect();
    short.escape_debug().to_string()
}

/// What to do with a request for the file `name`, of which `held` is there.
///
/// # Errors
/// [`Refusal`], if it is not taken.
pub fn decide(name: &str, held: Option<&Held>, put: &Put, usage: Usage, limits: &Limits) -> Result<Step, Refusal> {
    check_size(put, usage, limits)?;
    let same = held.filter(|held| held.checksum == put.checksum);
    if let Some(held) = held.filter(|held| held.complete) {
        return match same {
            Some(_) => Ok(Step::Known),
            None => Err(Refusal::Settled { name: name.to_owned(), checksum: held.checksum }),
        };
    }
    if held.is_none() && usage.files >= limits.files {
        return Err(Refusal::TooMany(limits.files));
    }
    let there = same.map_or(0, |held| held.received);
    match put.range.as_ref().map(|range| range.start) {
        None => Ok(Step::Begin),
        Some(first) if first != there => Err(Refusal::Elsewhere { at: there }),
        Some(0) => Ok(Step::Begin),
        Some(_) => Ok(Step::Append),
    }
}

fn check_size(put: &Put, usage: Usage, limits: &Limits) -> Result<(), Refusal> {
    let said = put.total.or_else(|| put.range.as_ref().map(|range| range.end)).unwrap_or(0);
    if said > limits.file {
        return Err(Refusal::TooLarge { what: Bulk::File, limit: limits.file });
    }
    if usage.others.saturating_add(said) > limits.attempt {
        return Err(Refusal::TooLarge { what: Bulk::Attempt, limit: limits.attempt });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: Checksum = Checksum([1; 32]);
    const TWO: Checksum = Checksum([2; 32]);

    fn put(range: Option<Range<u64>>, total: u64, checksum: Checksum) -> Put {
        Put { range, total: Some(total), checksum }
    }

    #[test]
    fn a_file_goes_on_where_it_stopped_and_is_never_another_one() {
        let limits = Limits { file: 100, attempt: 150, files: 2 };
        let ask = |held: Option<Held>, put: Put| decide("foo", held.as_ref(), &put, Usage::default(), &limits);
        let held = |received, complete| Some(Held { checksum: ONE, received, complete });
        assert_eq!(ask(None, put(Some(0..5), 10, ONE)), Ok(Step::Begin));
        assert_eq!(ask(held(5, false), put(Some(5..10), 10, ONE)), Ok(Step::Append));
        assert_eq!(ask(held(5, false), put(None, 10, ONE)), Ok(Step::Begin), "all of it comes again");
        assert_eq!(ask(held(5, false), put(Some(0..10), 10, TWO)), Ok(Step::Begin), "it is another one now");
        assert_eq!(ask(held(5, false), put(Some(0..10), 10, ONE)), Err(Refusal::Elsewhere { at: 5 }));
        assert_eq!(ask(held(5, false), put(Some(5..10), 10, TWO)), Err(Refusal::Elsewhere { at: 0 }));
        assert_eq!(ask(held(10, true), put(Some(0..10), 10, ONE)), Ok(Step::Known));
        let settled = Refusal::Settled { name: "foo".into(), checksum: ONE };
        assert_eq!(ask(held(10, true), put(None, 10, TWO)), Err(settled));
    }

    #[test]
    fn what_would_be_too_much_is_refused_before_it_comes() {
        let limits = Limits { file: 100, attempt: 150, files: 2 };
        let ask = |total, others, files| decide("foo", None, &put(None, total, ONE), Usage { others, files }, &limits);
        assert_eq!(ask(100, 50, 1), Ok(Step::Begin));
        assert_eq!(ask(101, 0, 0), Err(Refusal::TooLarge { what: Bulk::File, limit: 100 }));
        assert_eq!(ask(100, 51, 1), Err(Refusal::TooLarge { what: Bulk::Attempt, limit: 150 }));
        assert_eq!(ask(u64::MAX, u64::MAX, 1), Err(Refusal::TooLarge { what: Bulk::File, limit: 100 }));
        assert_eq!(ask(1, 0, 2), Err(Refusal::TooMany(2)));
    }

    #[test]
    fn what_lies_ready_is_admitted_as_a_whole_or_not_at_all() {
        let limits = Limits { file: 100, attempt: 150, files: 2 };
        assert_eq!(limits.admit(&[100, 50]), Ok(()));
        assert_eq!(limits.admit(&[101]), Err(Refusal::TooLarge { what: Bulk::File, limit: 100 }));
        assert_eq!(limits.admit(&[100, 51]), Err(Refusal::TooLarge { what: Bulk::Attempt, limit: 150 }));
        assert_eq!(limits.admit(&[1, 1, 1]), Err(Refusal::TooMany(2)));
        assert_eq!(limits.for_packages(3).admit(&[1, 1, 1]), Ok(()));
        let any = Limits { file: u64::MAX, ..limits };
        assert_eq!(any.admit(&[u64::MAX, 2]), Err(Refusal::TooLarge { what: Bulk::Attempt, limit: 150 }));
    }

    #[test]
    fn headers_are_read_or_refused() {
        assert_eq!(content_range("bytes 0-9/20"), Some((0..10, 20)));
        for wrong in
            ["bytes 9-0/20", "bytes 0-20/20", "bytes 0-9/*", "bytes */20", "0-9/20", "bytes +1-2/9", "bytes -/", ""]
        {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
        let beyond = format!("bytes 0-{0}/{0}", u64::MAX);
        assert_eq!(content_range(&beyond), None);
        let header = format!("sha-512=:AAAA:, {}", ONE.to_header());
        assert_eq!(Checksum::from_header(&header), Some(ONE));
        for wrong in ["", "sha-256=::", "sha-256=AAAA", "md5=:AAAA:", "sha-256=:not base64:", "sha-256=:AAAA:"] {
            assert_eq!(Checksum::from_header(wrong), None, "{wrong}");
        }
        assert_eq!(Checksum::from_hex(&TWO.to_string()), Some(TWO));
        assert_eq!(Checksum::from_hex(&"+1".repeat(32)), None);
    }

    #[test]
    fn names_of_others_are_shown_so_that_they_do_no_harm() {
        let shown = Refusal::Foreign(format!("\x1b[2J\n{}", "x".repeat(999))).to_string();
        assert!(!shown.chars().any(char::is_control) && shown.len() < 200, "{shown}");
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(text in ".*", first: u64, last: u64, total: u64) {
            let _ = (content_range(&text), Checksum::from_header(&text), Checksum::from_hex(&text));
            if let Some((range, all)) = content_range(&format!("bytes {first}-{last}/{total}")) {
                prop_assert!(range.start < range.end && range.end <= all);
            }
        }
    }
}
