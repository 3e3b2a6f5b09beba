//! Reads the list of refs that a git server sends first over HTTP ("smart" protocol, version 0), as it
//! arrives and no further than needed.
//!
//! Not for fetching objects: that is the git program's work.

use std::collections::BTreeMap;

use crate::domain::name::Oid;

/// An advertisement that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdvertError {
    /// The bytes are not what git's protocol describes.
    #[error("the answer is not a git ref list: {0}")]
    Malformed(String),
    /// The server says that something is wrong.
    #[error("the git server answers: {0}")]
    Refused(String),
    /// The list is longer than we are willing to read.
    #[error("the ref list is longer than {limit} bytes and what was looked for has not come yet")]
    TooLong {
        /// The number of bytes after which reading stopped.
        limit: usize,
    },
    /// There are more refs than we are willing to keep.
    #[error("the repository has more than {limit} tags")]
    TooMany {
        /// The number of refs after which reading stopped.
        limit: usize,
    },
    /// The stream ended in the middle.
    #[error("the ref list ends in the middle")]
    Truncated,
}

/// Whether reading has to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Everything wanted has been seen, or the list is complete.
    Done,
    /// More bytes are needed.
    More,
}

/// A reader that is fed with pieces of the body and remembers only the wanted refs.
#[derive(Debug)]
pub struct Advert {
    wanted: BTreeMap<String, Option<Oid>>,
    listing: Option<Listing>,
    missing: usize,
    pending: Vec<u8>,
    read: usize,
    limit: usize,
    flushes: usize,
    refs_seen: bool,
    service_announced: bool,
}

/// Every ref whose name begins alike, in the order of the server.
#[derive(Debug)]
struct Listing {
    start: &'static str,
    found: Vec<(String, Oid)>,
}

impl Advert {
    /// Lists every ref whose full name begins with `start`, in at most `limit` bytes. What an annotated tag
    /// tags is not listed.
    pub fn listing(start: &'static str, limit: usize) -> Self {
        Self { listing: Some(Listing { start, found: Vec::new() }), ..Self::new([], limit) }
    }

    /// Looks for these refs by their full names (`HEAD`, `refs/heads/main`), in at most `limit` bytes.
    pub fn new<'a>(wanted: impl IntoIterator<Item = &'a str>, limit: usize) -> Self {
        let wanted: BTreeMap<_, _> = wanted.into_iter().map(|name| (name.to_owned(), None)).collect();
        Self {
            missing: wanted.len(),
            wanted,
            listing: None,
            pending: Vec::new(),
            read: 0,
            limit,
            flushes: 0,
            refs_seen: false,
            service_announced: false,
        }
    }

    /// Takes the next piece of the body.
    pub fn push(&mut self, piece: &[u8]) -> Result<Progress, AdvertError> {
        self.read += piece.len();
        self.pending.extend_from_slice(piece);
        let mut start = 0;
        while let Some(packet) = next_packet(&self.pending[start..])? {
            let end = start + packet.length;
            let line = packet.payload.map(|payload| self.pending[start + 4..start + 4 + payload].to_vec());
            start = end;
            if self.packet(line.as_deref())? == Progress::Done {
                return Ok(Progress::Done);
            }
        }
        self.pending.drain(..start);
        if self.read > self.limit { Err(AdvertError::TooLong { limit: self.limit }) } else { Ok(Progress::More) }
    }

    /// The wanted refs that exist. Call it after [`Progress::Done`]; refs not seen by then do not exist.
    pub fn found(self) -> BTreeMap<String, Oid> {
        self.wanted.into_iter().filter_map(|(name, id)| Some((name, id?))).collect()
    }

    /// The listed refs. Call it after [`Progress::Done`].
    pub fn listed(self) -> Vec<(String, Oid)> {
        self.listing.map(|listing| listing.found).unwrap_or_default()
    }

    /// One packet; `None` is a flush. The list ends with the first flush after refs, or the second one:
    /// servers separate the announcement of the service from the list with a flush.
    fn packet(&mut self, line: Option<&[u8]>) -> Result<Progress, AdvertError> {
        let Some(line) = line else {
            self.flushes += 1;
            let complete = self.refs_seen || !self.service_announced || self.flushes > 1;
            return Ok(if complete { Progress::Done } else { Progress::More });
        };
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        if line.starts_with(b"# service=") {
            self.service_announced = true;
        } else if let Some(message) = line.strip_prefix(b"ERR ") {
            return Err(AdvertError::Refused(excerpt(message)));
        } else if !line.starts_with(b"version ") {
            self.refs_seen = true;
            self.remember(line)?;
        }
        Ok(if self.missing == 0 && self.listing.is_none() { Progress::Done } else { Progress::More })
    }

    fn remember(&mut self, line: &[u8]) -> Result<(), AdvertError> {
        let malformed = || AdvertError::Malformed(format!("`{}` is not a ref", excerpt(line)));
        let line = line.split(|&byte| byte == 0).next().unwrap_or(line);
        let space = line.iter().position(|&byte| byte == b' ').ok_or_else(malformed)?;
        let Ok(name) = std::str::from_utf8(&line[space + 1..]) else {
            return Ok(());
        };
        let id = || std::str::from_utf8(&line[..space]).ok().and_then(|id| id.parse().ok()).ok_or_else(malformed);
        if let Some(slot) = self.wanted.get_mut(name)
            && slot.is_none()
        {
            *slot = Some(id()?);
            self.missing -= 1;
        }
        if let Some(listing) = &mut self.listing
            && name.starts_with(listing.start)
            && !name.ends_with("^{}")
        {
            listing.found.push((name.to_owned(), id()?));
        }
        Ok(())
    }
}

/// The position of a packet in the bytes.
pub(super) struct Packet {
    /// All of it, the four digits of its length included.
    pub(super) length: usize,
    /// Bytes after the digits; `None` for a flush.
    pub(super) payload: Option<usize>,
}

pub(super) fn next_packet(bytes: &[u8]) -> Result<Option<Packet>, AdvertError> {
    let Some(digits) = bytes.get(..4) else {
        return Ok(None);
    };
    let malformed = || AdvertError::Malformed(format!("it begins with `{}`", excerpt(&bytes[..bytes.len().min(40)])));
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(malformed());
    }
    let digits = std::str::from_utf8(digits).map_err(|_| malformed())?;
    let length = usize::from_str_radix(digits, 16).map_err(|_| malformed())?;
    match length {
        0 => Ok(Some(Packet { length: 4, payload: None })),
        1..4 => Err(malformed()),
        _ if bytes.len() < length => Ok(None),
        _ => Ok(Some(Packet { length, payload: Some(length - 4) })),
    }
}

/// Text from a stranger, safe to show: short, and without control characters.
fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(line: &str) -> String {
        format!("{:04x}{line}", line.len() + 4)
    }

    fn id(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    fn sample() -> String {
        [
            packet("# service=git-upload-pack\n"),
            "0000".to_owned(),
            packet(&format!("{} HEAD\0multi_ack symref=HEAD:refs/heads/main agent=git/2\n", id('a'))),
            packet(&format!("{} refs/heads/dev\n", id('b'))),
            packet(&format!("{} refs/heads/main\n", id('a'))),
            packet(&format!("{} refs/tags/v1^{{}}\n", id('c'))),
            "0000".to_owned(),
        ]
        .concat()
    }

    #[test]
    fn head_and_branches_are_found_and_a_missing_branch_is_not() {
        let mut advert = Advert::new(["HEAD", "refs/heads/dev", "refs/heads/none"], 1 << 20);
        assert_eq!(advert.push(sample().as_bytes()), Ok(Progress::Done));
        let found = advert.found();
        assert_eq!(found["HEAD"].to_string(), id('a'));
        assert_eq!(found["refs/heads/dev"].to_string(), id('b'));
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn a_listing_has_every_ref_of_a_kind_and_not_what_tags_tag() {
        let mut advert = Advert::listing("refs/heads/", 1 << 20);
        assert_eq!(advert.push(sample().as_bytes()), Ok(Progress::Done));
        let names: Vec<_> = advert.listed().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["refs/heads/dev", "refs/heads/main"]);
        let mut advert = Advert::listing("refs/tags/", 1 << 20);
        assert_eq!(advert.push(sample().as_bytes()), Ok(Progress::Done));
        assert!(advert.listed().is_empty(), "only the peeled name of a tag is there");
    }

    #[test]
    fn reading_stops_once_everything_wanted_was_seen() {
        let mut advert = Advert::new(["HEAD"], 1 << 20);
        let head_only = &sample()[..200];
        assert_eq!(advert.push(head_only.as_bytes()), Ok(Progress::Done));
    }

    #[test]
    fn an_empty_repository_has_no_refs() {
        let empty = [
            packet("# service=git-upload-pack\n"),
            "0000".to_owned(),
            packet(&format!("{} capabilities^{{}}\0agent=git/2\n", id('0'))),
            "0000".to_owned(),
        ];
        let mut advert = Advert::new(["HEAD"], 1 << 20);
        assert_eq!(advert.push(empty.concat().as_bytes()), Ok(Progress::Done));
        assert!(advert.found().is_empty());
    }

    #[test]
    fn an_error_of_the_server_and_a_web_page_are_told_apart() {
        let mut advert = Advert::new(["HEAD"], 1 << 20);
        let refusal = packet("ERR access denied\u{1b}[31m");
        assert_eq!(advert.push(refusal.as_bytes()), Err(AdvertError::Refused("access denied [31m".to_owned())));
        let mut advert = Advert::new(["HEAD"], 1 << 20);
        assert!(matches!(advert.push(b"<html>sign in</html>"), Err(AdvertError::Malformed(_))));
    }

    #[test]
    fn a_repository_of_a_million_refs_ends_at_the_limit_and_keeps_nothing() {
        let mut advert = Advert::new(["refs/heads/zzz"], 100_000);
        let line = packet(&format!("{} refs/heads/aaaaaaaa\n", id('a')));
        let outcome = (0..1_000_000).find_map(|_| advert.push(line.as_bytes()).err());
        assert_eq!(outcome, Some(AdvertError::TooLong { limit: 100_000 }));
        assert!(advert.pending.capacity() < 1000);
    }

    proptest! {
        #[test]
        fn the_answer_does_not_depend_on_how_the_body_is_cut(cuts in proptest::collection::vec(1_usize..50, 1..60)) {
            let sample = sample();
            let mut advert = Advert::new(["HEAD", "refs/heads/main", "refs/heads/none"], 1 << 20);
            let mut rest = sample.as_bytes();
            let mut cuts = cuts.into_iter().cycle();
            let mut last = Progress::More;
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
                last = advert.push(piece).expect("well formed");
                rest = after;
            }
            prop_assert_eq!(last, Progress::Done);
            prop_assert_eq!(advert.found().len(), 2);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Advert::new(["HEAD"], 1 << 20).push(&bytes);
        }
    }
}
