//! Reads the AUR's metadata dump as it arrives: a gzipped JSON array of some 100,000 packages, of which
//! only the wanted ones are kept.
//!
//! Not for asking for it: that is [`super::metadata`].

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::rc::Rc;
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;
use jiff::Timestamp;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::rule::Announced;
use crate::domain::finding::distance;
use crate::domain::keepers::Keepers;
use crate::domain::name::PkgBase;
use crate::domain::observed::Meant;
use crate::domain::standing::Standing;
use crate::domain::version::Version;

/// What the index says about one pkgbase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PackageFacts {
    /// When the AUR took the last push, in unix seconds.
    pub last_modified: i64,
    /// The version of that push.
    pub version: Version,
    /// The account that maintains it; `None` if it is orphaned.
    pub maintainer: Option<String>,
    /// Accounts that may push as well.
    pub co_maintainers: Vec<String>,
    /// The account that brought it in.
    pub submitter: Option<String>,
    /// When somebody flagged it as out of date, in unix seconds.
    pub out_of_date: Option<i64>,
    /// When it was brought in, in unix seconds.
    pub first_submitted: i64,
    /// How many accounts voted for it.
    pub votes: u32,
    /// The AUR's measure of recent votes.
    pub popularity: f64,
}

impl PackageFacts {
    /// Who may push to it.
    #[must_use]
    pub fn keepers(&self) -> Keepers {
        let co_maintainers = self.co_maintainers.iter().cloned().collect();
        Keepers { maintainer: self.maintainer.clone(), co_maintainers, packager: None }
    }

    /// What people should know who read an update of it; `None` if its times make no sense.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        let [submitted, changed] = [self.first_submitted, self.last_modified].map(Timestamp::from_second);
        Some(Standing { submitted: submitted.ok()?, changed: changed.ok()?, votes: self.votes })
    }

    /// What matters for deciding whether it has moved.
    #[must_use]
    pub fn announced(&self) -> Announced {
        Announced { stamp: self.last_modified, version: self.version.clone() }
    }
}

/// Facts by pkgbase.
pub type Facts = BTreeMap<PkgBase, PackageFacts>;

/// What a dump says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Dump {
    /// Of the wanted packages that it has.
    pub facts: Arc<Facts>,
    /// Of the others: what may have been meant. Only looked for if few packages were wanted.
    pub meant: BTreeMap<PkgBase, Meant>,
}

/// If more packages are wanted, nobody has just written their names.
const WRITTEN: usize = 16;

/// How much is read at most.
#[derive(Debug, Clone, Copy)]
pub struct DumpLimits {
    /// Bytes of the whole document after decompression.
    pub document: u64,
    /// Bytes of one entry.
    pub entry: u64,
}

impl Default for DumpLimits {
    fn default() -> Self {
        Self { document: 1 << 30, entry: 4 << 20 }
    }
}

/// A dump that cannot be used. Half a dump is no dump: a package missing from it may still exist.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The bytes are not gzip.
    #[error("it is not gzip; it begins with `{0}`")]
    NotGzip(String),
    /// It is not the JSON that the AUR writes, or it ends too early.
    #[error("it cannot be read")]
    Malformed(#[source] serde_json::Error),
    /// It names no package at all.
    #[error("it lists no packages")]
    Empty,
}

/// Reads a dump to its end and keeps what it says of `wanted`.
pub fn read(compressed: impl Read, wanted: &BTreeSet<PkgBase>, limits: DumpLimits) -> Result<Dump, DumpError> {
    let mut compressed = BufReader::new(compressed);
    check_gzip(&mut compressed)?;
    let entry_left = Rc::new(Cell::new(limits.entry));
    let metered = Metered {
        inner: MultiGzDecoder::new(compressed),
        document_left: limits.document,
        entry_left: Rc::clone(&entry_left),
    };
    let mut document = serde_json::Deserializer::from_reader(BufReader::new(metered));
    let collector = Collector { wanted, entry_left: &entry_left, limit: limits.entry };
    let (dump, entries) = collector.deserialize(&mut document).map_err(DumpError::Malformed)?;
    // Also reads the checksum at the end of the gzip stream.
    document.end().map_err(DumpError::Malformed)?;
    if entries == 0 { Err(DumpError::Empty) } else { Ok(dump) }
}

fn check_gzip(compressed: &mut impl BufRead) -> Result<(), DumpError> {
    let start = compressed.fill_buf().map_err(|error| DumpError::Malformed(serde_json::Error::io(error)))?;
    if start.starts_with(&[0x1f, 0x8b]) || start == [0x1f] {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&start[..start.len().min(60)]);
    Err(DumpError::NotGzip(text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()))
}

/// Ends the reading, with an error, once the document or one entry of it has become too long.
struct Metered<R> {
    inner: R,
    document_left: u64,
    entry_left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let length = count as u64;
        let too_long = |what| io::Error::other(format!("{what} is longer than we are willing to read"));
        self.document_left = self.document_left.checked_sub(length).ok_or_else(|| too_long("the document"))?;
        let entry_left = self.entry_left.get().checked_sub(length).ok_or_else(|| too_long("one entry"))?;
        self.entry_left.set(entry_left);
        Ok(count)
    }
}

/// One entry as the AUR writes it; what is not named here is skipped without being kept.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Entry {
    #[serde(default)]
    name: String,
    package_base: String,
    last_modified: i64,
    version: String,
    #[serde(default)]
    maintainer: Option<String>,
    #[serde(default)]
    co_maintainers: Option<Vec<String>>,
    #[serde(default)]
    submitter: Option<String>,
    #[serde(default)]
    out_of_date: Option<i64>,
    #[serde(default)]
    first_submitted: i64,
    #[serde(default)]
    num_votes: u32,
    #[serde(default)]
    popularity: f64,
}

impl Entry {
    /// The package it is about.
    pub(super) fn pkgbase(&self) -> &str {
        &self.package_base
    }
}

impl From<Entry> for PackageFacts {
    fn from(entry: Entry) -> Self {
        Self {
            last_modified: entry.last_modified,
            version: Version::new(entry.version),
            maintainer: entry.maintainer,
            co_maintainers: entry.co_maintainers.unwrap_or_default(),
            submitter: entry.submitter,
            out_of_date: entry.out_of_date,
            first_submitted: entry.first_submitted,
            votes: entry.num_votes,
            popularity: entry.popularity,
        }
    }
}

/// Takes the array entry by entry; yields what is kept and the number of entries.
struct Collector<'a> {
    wanted: &'a BTreeSet<PkgBase>,
    entry_left: &'a Cell<u64>,
    limit: u64,
}

impl<'de> DeserializeSeed<'de> for Collector<'_> {
    type Value = (Dump, usize);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Collector<'_> {
    type Value = (Dump, usize);

    fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str("an array of packages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut facts = Facts::new();
        let mut meant = Nearest::new(if self.wanted.len() > WRITTEN { None } else { Some(self.wanted) });
        let mut count = 0;
        while let Some(entry) = entries.next_element::<Entry>()? {
            self.entry_left.set(self.limit);
            count += 1;
            meant.see(&entry);
            if let Some(pkgbase) = self.wanted.get(entry.package_base.as_str()) {
                keep(&mut facts, pkgbase, entry.into());
            }
        }
        let meant = meant.found.into_iter().filter(|(pkgbase, _)| !facts.contains_key(*pkgbase));
        let meant = meant.map(|(pkgbase, (_, meant))| (pkgbase.clone(), meant)).collect();
        Ok((Dump { facts: Arc::new(facts), meant }, count))
    }
}

/// What comes nearest to each name.
struct Nearest<'a> {
    wanted: Option<&'a BTreeSet<PkgBase>>,
    found: BTreeMap<&'a PkgBase, (usize, Meant)>,
}

impl<'a> Nearest<'a> {
    const fn new(wanted: Option<&'a BTreeSet<PkgBase>>) -> Self {
        Self { wanted, found: BTreeMap::new() }
    }

    fn see(&mut self, entry: &Entry) {
        for wanted in self.wanted.into_iter().flatten() {
            let builds_it = entry.name == wanted.as_str();
            let distance = if builds_it { Some(0) } else { distance(wanted.as_str(), &entry.package_base) };
            let Some(distance) = distance else { continue };
            let known = self.found.get(wanted);
            let better = |(best, meant): &(usize, Meant)| (distance, entry.pkgbase()) < (*best, meant.pkgbase.as_str());
            if known.is_none_or(better)
                && let Ok(pkgbase) = PkgBase::new(&entry.package_base)
            {
                self.found.insert(wanted, (distance, Meant { pkgbase, builds_it }));
            }
        }
    }
}

/// The members of a split package are entries of their own; the newest one speaks for the pkgbase.
pub(super) fn keep(facts: &mut Facts, pkgbase: &PkgBase, new: PackageFacts) {
    let newest = facts.get(pkgbase).is_none_or(|known| known.last_modified < new.last_modified);
    if newest {
        facts.insert(pkgbase.clone(), new);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const SPLIT: &str = r#"[
        {"ID":1,"Name":"foo","PackageBase":"foo","Version":"1:1.0-1","Description":"a \"quoted\" one","NumVotes":3,
         "Popularity":0.5,"OutOfDate":null,"Maintainer":"ann","Submitter":"bob","FirstSubmitted":1,"LastModified":20,
         "URLPath":"/x","Depends":["glibc"],"CoMaintainers":["cy"]},
        {"Name":"foo-docs","PackageBase":"foo","Version":"1:1.0-1","Maintainer":"ann","LastModified":20},
        {"Name":"other","PackageBase":"other","Version":"2-1","Maintainer":null,"LastModified":30},
        {"Name":"orphan","PackageBase":"orphan","Version":"3-1","Maintainer":null,"OutOfDate":9,"LastModified":40}
    ]"#;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).expect("in memory");
        encoder.finish().expect("in memory")
    }

    fn wanted(names: &[&str]) -> BTreeSet<PkgBase> {
        names.iter().map(|name| PkgBase::new(name).expect("legal")).collect()
    }

    fn read_text(text: &str) -> Result<Arc<Facts>, DumpError> {
        let read = read(gzip(text).as_slice(), &wanted(&["foo", "orphan", "gone"]), DumpLimits::default());
        read.map(|dump| dump.facts)
    }

    #[test]
    fn what_may_have_been_meant_is_named_if_somebody_has_just_written_it() {
        let meant = |names: &[&str]| -> Vec<String> {
            let dump = read(gzip(SPLIT).as_slice(), &wanted(names), DumpLimits::default()).expect("well formed");
            let told =
                |(written, meant): (&PkgBase, &Meant)| format!("{written}: {} {}", meant.pkgbase, meant.builds_it);
            dump.meant.iter().map(told).collect()
        };
        assert_eq!(
            meant(&["foo", "foo-docs", "orfan", "othre", "nothing"]),
            ["foo-docs: foo true", "orfan: orphan false", "othre: other false"]
        );
        let many: Vec<String> = (0..WRITTEN).map(|number| format!("p{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).chain(["othre"]).collect();
        assert_eq!(meant(&many), [""; 0], "nobody writes so many");
    }

    #[test]
    fn only_wanted_packages_are_kept_and_members_collapse_into_their_base() {
        let facts = read_text(SPLIT).expect("well formed");
        assert_eq!(facts.keys().map(PkgBase::as_str).collect::<Vec<_>>(), ["foo", "orphan"]);
        let foo = &facts["foo"];
        assert_eq!((foo.last_modified, foo.version.as_str()), (20, "1:1.0-1"));
        assert_eq!((foo.maintainer.as_deref(), foo.submitter.as_deref()), (Some("ann"), Some("bob")));
        assert_eq!((foo.co_maintainers.as_slice(), foo.votes), (&["cy".to_owned()][..], 3));
        assert_eq!((&facts["orphan"].maintainer, facts["orphan"].out_of_date), (&None, Some(9)));
    }

    #[test]
    fn half_a_dump_is_no_dump() {
        let whole = gzip(SPLIT);
        for length in [2, 15, whole.len() / 2, whole.len() - 9, whole.len() - 1] {
            let outcome = read(&whole[..length], &wanted(&["foo"]), DumpLimits::default());
            assert!(matches!(outcome, Err(DumpError::Malformed(_))), "{length}: {outcome:?}");
        }
        assert!(matches!(read_text(&SPLIT[..SPLIT.len() - 1]), Err(DumpError::Malformed(_))));
    }

    #[test]
    fn a_damaged_checksum_is_noticed() {
        let mut damaged = gzip(SPLIT);
        let checksum = damaged.len() - 8;
        damaged[checksum] ^= 1;
        assert!(read(damaged.as_slice(), &wanted(&["foo"]), DumpLimits::default()).is_err());
    }

    #[test]
    fn other_documents_are_refused_with_what_they_are() {
        let page = read(&b"<html>\n<title>down"[..], &wanted(&["foo"]), DumpLimits::default());
        assert_eq!(page.expect_err("not gzip").to_string(), "it is not gzip; it begins with `<html> <title>down`");
        assert!(matches!(read_text("[]"), Err(DumpError::Empty)));
        assert!(matches!(read_text(r#"{"error":"rate limit"}"#), Err(DumpError::Malformed(_))));
        assert!(matches!(read_text(r#"[{"Name":"foo"}]"#), Err(DumpError::Malformed(_))));
        assert!(matches!(read_text("[] trailing"), Err(DumpError::Malformed(_))));
        assert!(matches!(read(&b""[..], &wanted(&[]), DumpLimits::default()), Err(DumpError::NotGzip(_))));
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let limits = DumpLimits { document: 1 << 20, entry: 1 << 16 };
        let many = format!("[{}]", vec![r#"{"PackageBase":"x","Version":"1","LastModified":1}"#; 50_000].join(","));
        let one = format!(r#"[{{"PackageBase":"{}""#, "x".repeat(1 << 17));
        for text in [many, one] {
            let error = read(gzip(&text).as_slice(), &wanted(&["foo"]), limits).expect_err("too long");
            let DumpError::Malformed(cause) = error else { panic!("{error:?}") };
            assert!(cause.to_string().contains("longer than we are willing to read"), "{cause}");
        }
    }
}
