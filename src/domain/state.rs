//! What has been seen of each package's source: one `KEY=VALUE` file per package in the `state`
//! branch, in Chaotic's format, with our own cursors beside its `CI_GIT_COMMIT`.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::classify::Weight;
use super::keepers::Keepers;
use super::keyvalue::KeyValues;
use super::library::soname::Soname;
use super::name::Oid;
use super::policy::Person;
use super::quarantine::Quarantine;
use super::revision::{Revision, Seen};

/// Stands for a source that was never seen, among others that were.
const UNSEEN: &str = "-";

const GIT_COMMIT: &str = "CI_GIT_COMMIT";
const VCS_COMMITS: &str = "PKGWARDEN_VCS_COMMITS";
const SOURCE_COMMIT: &str = "PKGWARDEN_SOURCE_COMMIT";
const SOURCE_STAMP: &str = "PKGWARDEN_SOURCE_STAMP";
const SOURCE_VERSION: &str = "PKGWARDEN_SOURCE_VERSION";
const PROPOSED: &str = "PKGWARDEN_PROPOSED";
const PROPOSED_WEIGHT: &str = "PKGWARDEN_PROPOSED_WEIGHT";
const NEWER: &str = "PKGWARDEN_NEWER";
const REJECTED: &str = "PKGWARDEN_REJECTED";
const APPROVED: &str = "PKGWARDEN_APPROVED";
const SEEN: &str = "PKGWARDEN_SEEN";
const KEEPERS: &str = "PKGWARDEN_KEEPERS";
const TOLD_KEEPERS: &str = "PKGWARDEN_TOLD_KEEPERS";
const PROPOSED_KEEPERS: &str = "PKGWARDEN_PROPOSED_KEEPERS";
const QUARANTINE: &str = "PKGWARDEN_QUARANTINE";
const REBUILT_FOR: &str = "PKGWARDEN_REBUILT_FOR";
const HELD_BUILD: &str = "PKGWARDEN_HELD_BUILD";
const CHANGED_SEEN: &str = "PKGWARDEN_CHANGED_SEEN";

/// The state of one package. Keys that are not ours are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageState {
    file: KeyValues,
}

/// How far a source of files has been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The commit of the source whose files were dealt with.
    pub commit: Oid,
    /// What the source's index said when it had that commit (the AUR: `LastModified`, unix seconds).
    /// `None` if it has to be asked again, because the commit may be older than what the index meant.
    pub stamp: Option<i64>,
    /// The version that the commit was released as, if the source is one of releases.
    pub version: Option<String>,
}

impl PackageState {
    /// Reads the file of one package.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self { file: KeyValues::parse(text) }
    }

    /// The file as it is written.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.file.to_text()
    }

    /// How far the source of files has been read.
    #[must_use]
    pub fn cursor(&self) -> Option<Cursor> {
        let commit = self.oid(SOURCE_COMMIT)?;
        let stamp = self.file.get(SOURCE_STAMP).and_then(|stamp| stamp.parse().ok());
        Some(Cursor { commit, stamp, version: self.file.get(SOURCE_VERSION).map(str::to_owned) })
    }

    /// Moves the cursor.
    pub fn set_cursor(&mut self, cursor: &Cursor) {
        self.file.set(SOURCE_COMMIT, &cursor.commit.to_string());
        match cursor.stamp {
            Some(stamp) => self.file.set(SOURCE_STAMP, &stamp.to_string()),
            None => self.file.remove(SOURCE_STAMP),
        }
        self.put(SOURCE_VERSION, cursor.version.as_deref());
    }

    /// Where every floating source stood when the package was last handed to a build, in the order of the
    /// sources; `None` for one that was never seen. The first commit of git stands in Chaotic's key.
    #[must_use]
    pub fn upstream(&self) -> Vec<Option<Revision>> {
        let list = self.file.get(VCS_COMMITS).unwrap_or_default();
        let words = list.split(',').map(str::trim).filter(|text| !text.is_empty());
        let all: Vec<Option<Revision>> = words.map(Revision::parse).collect();
        let first = self.oid(GIT_COMMIT);
        if all.iter().flatten().find_map(Revision::git_commit) == first {
            return all;
        }
        first.map(|commit| Some(commit.into())).into_iter().collect()
    }

    /// Records where upstream stands. Chaotic's key gets the first commit of git; ours is only written if there is
    /// more to say.
    pub fn set_upstream(&mut self, revisions: &[Option<Revision>]) {
        let first = revisions.iter().flatten().find_map(Revision::git_commit).map(|commit| commit.to_string());
        self.put(GIT_COMMIT, first.as_deref());
        let word =
            |revision: &Option<Revision>| revision.as_ref().map_or_else(|| UNSEEN.to_owned(), Revision::to_string);
        let all: Vec<_> = revisions.iter().map(word).collect();
        let says_more = all.len() > 1 || (all.len() == 1 && first.is_none());
        self.put(VCS_COMMITS, says_more.then(|| all.join(",")).as_deref());
    }

    /// Digest of the content that waits in a review.
    #[must_use]
    pub fn proposed(&self) -> Option<&str> {
        self.file.get(PROPOSED)
    }

    /// Records that this content waits in a review, or that nothing does.
    pub fn set_proposed(&mut self, digest: Option<&str>) {
        self.put(PROPOSED, digest);
    }

    /// How much the heaviest reason weighed for which something was put before a person, as [`Weight::as_str`] has
    /// it: what other packages and the AUR told then is told by no file.
    #[must_use]
    pub fn proposed_weight(&self) -> Option<&str> {
        self.file.get(PROPOSED_WEIGHT)
    }

    /// Records how much the heaviest reason weighs, or that nothing waits.
    pub fn set_proposed_weight(&mut self, weight: Option<Weight>) {
        self.put(PROPOSED_WEIGHT, weight.map(Weight::as_str));
    }

    /// The version of an update that waits for a branch on which people work.
    #[must_use]
    pub fn newer(&self) -> Option<&str> {
        self.file.get(NEWER)
    }

    /// Records that an update waits for a branch on which people work, or that none does.
    pub fn set_newer(&mut self, version: Option<&str>) {
        self.put(NEWER, version);
    }

    /// Records that nothing waits in a review any more, with all that was recorded about it.
    pub fn forget_proposal(&mut self) {
        for key in [PROPOSED, PROPOSED_WEIGHT, NEWER, APPROVED, PROPOSED_KEEPERS] {
            self.file.remove(key);
        }
    }

    /// Digest of the content that a person rejected.
    #[must_use]
    pub fn rejected(&self) -> Option<&str> {
        self.file.get(REJECTED)
    }

    /// Records that a person rejected this content.
    pub fn set_rejected(&mut self, digest: Option<&str>) {
        self.put(REJECTED, digest);
    }

    /// Who has approved a review, if it is still this commit.
    #[must_use]
    pub fn approvals(&self, head: Oid) -> BTreeSet<Person> {
        let recorded = self.file.get(APPROVED).and_then(|text| text.split_once(':'));
        let people = recorded.filter(|(commit, _)| commit.parse() == Ok(head)).map_or("", |(_, people)| people);
        people.split(',').filter_map(|name| Person::new(name).ok()).collect()
    }

    /// Records who has approved a review at this commit; nobody any more if nothing is given.
    pub fn set_approvals(&mut self, approvals: Option<(Oid, &BTreeSet<Person>)>) {
        let text = approvals.map(|(head, people)| {
            let people: Vec<_> = people.iter().map(Person::as_str).collect();
            format!("{head}:{}", people.join(","))
        });
        self.put(APPROVED, text.as_deref());
    }

    /// When this content was first seen at the source, if that is recorded: it waits for its age.
    #[must_use]
    pub fn first_seen(&self, digest: &str) -> Option<Timestamp> {
        let (recorded, seconds) = self.file.get(SEEN)?.split_once('@')?;
        (recorded == digest).then(|| Timestamp::from_second(seconds.parse().ok()?).ok())?
    }

    /// Records when a content was first seen that waits for its age, or that none does.
    pub fn set_first_seen(&mut self, seen: Option<(&str, Timestamp)>) {
        let text = seen.map(|(digest, at)| format!("{digest}@{}", at.as_second()));
        self.put(SEEN, text.as_deref());
    }

    /// Who could push to the source of the package when something of it was merged last.
    #[must_use]
    pub fn keepers(&self) -> Option<Keepers> {
        self.file.get(KEEPERS).map(Keepers::parse)
    }

    /// Records who could push when something of the package was merged.
    pub fn set_keepers(&mut self, keepers: Option<&Keepers>) {
        self.put(KEEPERS, keepers.map(Keepers::to_text).as_deref());
        self.put(TOLD_KEEPERS, None);
    }

    /// Who could push when people were told of it last, or when something of the package was merged last.
    #[must_use]
    pub fn told_keepers(&self) -> Option<Keepers> {
        self.file.get(TOLD_KEEPERS).map(Keepers::parse).or_else(|| self.keepers()).map(Keepers::without_packager)
    }

    /// Records that people were told who can push.
    pub fn set_told_keepers(&mut self, keepers: &Keepers) {
        let is_news = self.keepers().map(|known| known.people()) != Some(keepers.people());
        self.put(TOLD_KEEPERS, is_news.then(|| keepers.people()).as_deref());
    }

    /// Who could push when what waits in a review was seen.
    #[must_use]
    pub fn proposed_keepers(&self) -> Option<Keepers> {
        self.file.get(PROPOSED_KEEPERS).map(Keepers::parse)
    }

    /// Records who could push when what waits in a review was seen, or that nothing waits.
    pub fn set_proposed_keepers(&mut self, keepers: Option<&Keepers>) {
        self.put(PROPOSED_KEEPERS, keepers.map(Keepers::to_text).as_deref());
    }

    /// That a person has taken the package out of service.
    #[must_use]
    pub fn quarantine(&self) -> Option<Quarantine> {
        self.file.get(QUARANTINE).map(Quarantine::parse)
    }

    /// Takes the package out of service, or back into it.
    pub fn set_quarantine(&mut self, quarantine: Option<&Quarantine>) {
        self.put(QUARANTINE, quarantine.map(Quarantine::to_text).as_deref());
    }

    /// Whether a build was due while the package was held.
    #[must_use]
    pub fn build_is_held(&self) -> bool {
        self.file.get(HELD_BUILD).is_some()
    }

    /// Records that a build was due while the package was held, or that none is any more.
    pub fn set_build_held(&mut self, held: bool) {
        self.put(HELD_BUILD, held.then_some("yes"));
    }

    /// What the package's own script saw when it had it built last.
    #[must_use]
    pub fn seen(&self) -> Option<Seen> {
        Seen::new(self.file.get(CHANGED_SEEN)?).ok()
    }

    /// Records what the package's own script saw when it had it built.
    pub fn set_seen(&mut self, seen: Option<&Seen>) {
        self.put(CHANGED_SEEN, seen.map(Seen::as_str));
    }

    /// Libraries that were gone when the package was last rebuilt on their account, and still are.
    #[must_use]
    pub fn rebuilt_for(&self) -> BTreeSet<Soname> {
        let text = self.file.get(REBUILT_FOR).unwrap_or_default();
        text.split(',').filter_map(|soname| soname.trim().parse().ok()).collect()
    }

    /// Records for which libraries that are gone the package is rebuilt.
    pub fn set_rebuilt_for(&mut self, sonames: &BTreeSet<Soname>) {
        let text: Vec<String> = sonames.iter().map(Soname::to_text).collect();
        self.put(REBUILT_FOR, Some(text.join(",")).filter(|text| !text.is_empty()).as_deref());
    }

    fn put(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.file.set(key, value),
            None => self.file.remove(key),
        }
    }

    fn oid(&self, key: &str) -> Option<Oid> {
        self.file.get(key).and_then(|text| text.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oid(digit: char) -> Oid {
        digit.to_string().repeat(40).parse().expect("valid")
    }

    #[test]
    fn chaotics_single_commit_is_read_and_written() {
        let text = format!("CI_GIT_COMMIT={}\n", oid('a'));
        let mut state = PackageState::parse(&text);
        assert_eq!(state.upstream(), [Some(oid('a').into())]);
        state.set_upstream(&[Some(oid('a').into())]);
        assert_eq!(state.to_text(), text);
    }

    #[test]
    fn a_commit_that_chaotic_moved_wins_over_our_list() {
        let mut state = PackageState::default();
        let both = ['a', 'b'].map(|digit| Some(oid(digit).into()));
        state.set_upstream(&both);
        assert_eq!(state.upstream(), both);
        let moved =
            state.to_text().replace(&format!("CI_GIT_COMMIT={}", oid('a')), &format!("CI_GIT_COMMIT={}", oid('c')));
        assert_eq!(PackageState::parse(&moved).upstream(), [Some(oid('c').into())]);
    }

    #[test]
    fn revisions_of_other_systems_stand_beside_chaotics_commit() {
        let [svn, hg] = ["svn:17", "hg:abc"].map(|text| Some(Revision::parse(text).expect("a revision")));
        let git = || Some(oid('a').into());
        let unseen = [vec![None, git()], vec![git(), None], vec![None, svn.clone(), None]];
        for revisions in [vec![svn.clone()], vec![svn.clone(), git(), hg], vec![git(), svn]].into_iter().chain(unseen) {
            let mut state = PackageState::default();
            state.set_upstream(&revisions);
            let state = PackageState::parse(&state.to_text());
            assert_eq!(state.upstream(), revisions);
            assert_eq!(state.oid(GIT_COMMIT), revisions.iter().flatten().find_map(Revision::git_commit));
        }
    }

    #[test]
    fn a_cursor_without_a_stamp_asks_to_be_asked_again() {
        let mut state = PackageState::default();
        state.set_cursor(&Cursor { commit: oid('a'), stamp: Some(7), version: Some("1.0".to_owned()) });
        state.set_cursor(&Cursor { commit: oid('b'), stamp: None, version: None });
        assert_eq!(
            PackageState::parse(&state.to_text()).cursor(),
            Some(Cursor { commit: oid('b'), stamp: None, version: None })
        );
    }

    #[test]
    fn approvals_and_the_first_sight_are_of_one_content() {
        let mut state = PackageState::default();
        let people = BTreeSet::from(["alice", "bob@example.org"].map(|name| Person::new(name).expect("legal")));
        state.set_approvals(Some((oid('a'), &people)));
        let then = Timestamp::from_second(1_700_000_000).expect("a time");
        state.set_first_seen(Some(("digest", then)));
        let state = PackageState::parse(&state.to_text());
        assert_eq!((state.approvals(oid('a')), state.first_seen("digest")), (people, Some(then)));
        assert_eq!((state.approvals(oid('b')), state.first_seen("other")), (BTreeSet::new(), None));
    }

    #[test]
    fn unknown_keys_stay() {
        let mut state = PackageState::parse("FUTURE=1\n");
        state.set_rejected(Some("d"));
        state.set_rejected(None);
        assert_eq!(state.to_text(), "FUTURE=1\n");
    }
}
