//! Puts together what was found in contents with where those contents are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Audit, Hit, Kind, Match, Place, Searcher};
use crate::domain::classify::text::shown;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::words::number_of;

/// More commits by one person are only counted.
const MOST_BY_AUTHOR: usize = 100;

/// A file that is there: now, in a review, or in the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Here {
    /// Where.
    pub place: Place,
    /// Of a review: its package and its tip.
    pub review: Option<(PkgBase, Oid)>,
    /// The path inside the monorepo, or of a record.
    pub path: String,
    /// Its content.
    pub id: Oid,
}

/// What one commit wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The commit.
    pub commit: Oid,
    /// Who wrote it, as `name <address>`.
    pub author: String,
    /// The files it brought, or brought another content of: path and content.
    pub files: Vec<(String, Oid)>,
}

/// What was found in contents, by content; one in which nothing was found need not be here.
pub type Found = HashMap<Oid, Vec<Match>>;

/// What is the same finding in every version of a file: indicator, path, text.
type Key<'a> = (usize, &'a str, &'a str);

/// The hits of an audit, sorted, and the packages they are in. `past` is newest first.
#[must_use]
pub fn gather(searcher: &Searcher, here: &[Here], past: Option<&[Written]>, found: &Found) -> (Vec<Hit>, Vec<PkgBase>) {
    let first = first_written(past.unwrap_or_default(), found);
    let mut hits: Vec<(usize, Hit)> = here.iter().flat_map(|file| in_file(searcher, file, found, &first)).collect();
    let current: BTreeSet<Key<'_>> =
        here.iter().filter(|file| file.place == Place::Current).flat_map(|file| keys(file, found)).collect();
    let gone = first.iter().filter(|(key, _)| !current.contains(*key));
    hits.extend(gone.map(|(&(indicator, path, _), &(commit, found))| {
        (indicator, Hit { commit: Some(commit), ..hit(searcher, indicator, Place::Commit, path, found) })
    }));
    hits.extend(past.into_iter().flat_map(|past| by_author(searcher, past)));
    let order = |(indicator, hit): &(usize, Hit)| (*indicator, hit.place, hit.file.clone(), hit.line, hit.commit);
    hits.sort_by_cached_key(order);
    let affected: BTreeSet<PkgBase> = hits.iter().filter_map(|(_, hit)| hit.pkgbase.clone()).collect();
    (hits.into_iter().map(|(_, hit)| hit).collect(), affected.into_iter().collect())
}

fn keys<'a>(file: &'a Here, found: &'a Found) -> impl Iterator<Item = Key<'a>> {
    found.get(&file.id).into_iter().flatten().map(|it| (it.indicator, file.path.as_str(), it.text.as_str()))
}

/// The first commit that wrote each finding.
fn first_written<'a>(past: &'a [Written], found: &'a Found) -> BTreeMap<Key<'a>, (Oid, &'a Match)> {
    let mut first = BTreeMap::new();
    for commit in past {
        for (path, id) in &commit.files {
            for it in found.get(id).into_iter().flatten() {
                first.insert((it.indicator, path.as_str(), it.text.as_str()), (commit.commit, it));
            }
        }
    }
    first
}

fn in_file(
    searcher: &Searcher,
    file: &Here,
    found: &Found,
    first: &BTreeMap<Key<'_>, (Oid, &Match)>,
) -> Vec<(usize, Hit)> {
    let place = |hit: Hit| match &file.review {
        Some((pkgbase, head)) => {
            Hit { branch: Some(pkgbase.review_branch()), commit: Some(*head), pkgbase: Some(pkgbase.clone()), ..hit }
        }
        None => hit,
    };
    let contents = found.get(&file.id).into_iter().flatten().map(|it| {
        let commit = first.get(&(it.indicator, file.path.as_str(), it.text.as_str())).map(|(commit, _)| *commit);
        let commit = commit.filter(|_| file.place == Place::Current);
        (it.indicator, place(Hit { commit, ..hit(searcher, it.indicator, file.place, &file.path, it) }))
    });
    let names = searcher.names(&file.path, &[Kind::Text, Kind::Host, Kind::Package]);
    let names = names.into_iter().filter(|_| file.place != Place::State).map(|indicator| {
        let name = Match { indicator, line: None, text: "the file has this name".to_owned(), disguised: false };
        (indicator, place(hit(searcher, indicator, file.place, &file.path, &name)))
    });
    contents.chain(names).collect()
}

fn hit(searcher: &Searcher, indicator: usize, place: Place, path: &str, found: &Match) -> Hit {
    let wanted = &searcher.indicators()[indicator];
    let file = if place == Place::State { format!("state:{path}") } else { path.to_owned() };
    let folder = if place == Place::State { Some(path) } else { path.split_once('/').map(|(folder, _)| folder) };
    Hit {
        indicator: wanted.written.clone(),
        kind: wanted.kind,
        place,
        pkgbase: folder.and_then(|folder| PkgBase::new(folder).ok()),
        branch: None,
        commit: None,
        file: Some(shown(file.as_bytes())),
        line: found.line,
        text: found.text.clone(),
        disguised: found.disguised,
    }
}

/// Commits of people who are looked for.
fn by_author(searcher: &Searcher, past: &[Written]) -> Vec<(usize, Hit)> {
    let mut count = BTreeMap::<usize, usize>::new();
    let mut hits = Vec::new();
    for commit in past {
        for indicator in searcher.names(&commit.author, &[Kind::Maintainer]) {
            let count = count.entry(indicator).or_default();
            *count += 1;
            if *count > MOST_BY_AUTHOR {
                continue;
            }
            let folders: BTreeSet<&str> =
                commit.files.iter().filter_map(|(path, _)| Some(path.split_once('/')?.0)).collect();
            let only = folders.first().filter(|_| folders.len() == 1).and_then(|folder| PkgBase::new(folder).ok());
            let author = Match { indicator, line: None, text: shown(commit.author.as_bytes()), disguised: false };
            let found = hit(searcher, indicator, Place::Commit, "", &author);
            hits.push((indicator, Hit { file: None, commit: Some(commit.commit), pkgbase: only, ..found }));
        }
    }
    for (indicator, count) in count.into_iter().filter(|(_, count)| *count > MOST_BY_AUTHOR) {
        let text = format!("and {} more commits", count - MOST_BY_AUTHOR);
        let more = Match { indicator, line: None, text, disguised: false };
        hits.push((indicator, Hit { file: None, ..hit(searcher, indicator, Place::Commit, "", &more) }));
    }
    hits
}

impl Audit {
    /// Together with what was found in another repository.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.packages += other.packages;
        self.reviews += other.reviews;
        self.commits = self.commits.zip(other.commits).map(|(ours, theirs)| ours + theirs);
        self.hits.extend(other.hits);
        self.hits
            .sort_by(|a, b| (&a.indicator, a.place, &a.file, a.line).cmp(&(&b.indicator, b.place, &b.file, b.line)));
        self.affected.extend(other.affected);
        self.affected.sort();
        self.affected.dedup();
        self.unsearched.extend(other.unsearched);
        self
    }

    /// One line: how much was found, and where.
    #[must_use]
    pub fn summary(&self) -> String {
        let past = self.commits.map(|count| format!(", {}", number_of(count, "commit"))).unwrap_or_default();
        let searched =
            format!("{}, {}{past} searched", number_of(self.packages, "package"), number_of(self.reviews, "review"));
        match self.hits.len() {
            0 => format!("nothing found; {searched}"),
            count => {
                format!("{} in {}; {searched}", number_of(count, "hit"), number_of(self.affected.len(), "package"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Indicator;
    use super::*;

    fn oid(byte: u8) -> Oid {
        Oid::from_bytes([byte; 20])
    }

    fn told(hits: &[Hit]) -> Vec<String> {
        let line = |hit: &Hit| {
            let commit = hit.commit.map(|commit| format!(" @{}", &commit.to_string()[..2])).unwrap_or_default();
            let file = hit.file.clone().unwrap_or_default();
            format!("{:?}{commit} {file}:{} {}", hit.place, hit.line.unwrap_or(0), hit.text)
        };
        hits.iter().map(line).collect()
    }

    #[test]
    fn each_finding_is_told_once_where_it_is_with_the_commit_that_brought_it() {
        let searcher = Searcher::new(vec![Indicator::parse("needle").expect("right")]);
        let found: Found =
            [(oid(1), searcher.search(b"needle")), (oid(2), searcher.search(b"\nneedle\nneedle 2"))].into();
        let here = |place, path: &str, id| Here { place, review: None, path: path.to_owned(), id: oid(id) };
        let review = Some((PkgBase::new("b").expect("legal"), oid(0xbb)));
        let files = [
            here(Place::Current, "a/PKGBUILD", 1),
            Here { review, ..here(Place::Review, "b/PKGBUILD", 1) },
            here(Place::Current, "c/needle", 9),
        ];
        let wrote = |commit, id| Written {
            commit: oid(commit),
            author: "T <t@x>".to_owned(),
            files: vec![("a/PKGBUILD".to_owned(), oid(id))],
        };
        let past = [wrote(0xa4, 1), wrote(0xa3, 2), wrote(0xa2, 1), wrote(0xa1, 9)];
        let (hits, affected) = gather(&searcher, &files, Some(&past), &found);
        insta::assert_snapshot!(told(&hits).join("\n"), @r"
        Current @a2 a/PKGBUILD:1 needle
        Current c/needle:0 the file has this name
        Review @bb b/PKGBUILD:1 needle
        Commit @a3 a/PKGBUILD:3 needle 2
        ");
        assert_eq!(affected.iter().map(PkgBase::as_str).collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn the_commits_of_a_person_are_told_and_at_last_only_counted() {
        let searcher = Searcher::new(vec![Indicator::parse("maintainer:eve").expect("right")]);
        let wrote = |number: usize| Written {
            commit: oid(u8::try_from(number % 256).expect("a byte")),
            author: if number == 0 { "steve <s@x>" } else { "Eve <eve@x>" }.to_owned(),
            files: vec![("a/PKGBUILD".to_owned(), oid(0))],
        };
        let past: Vec<Written> = (0..=MOST_BY_AUTHOR + 7).map(wrote).collect();
        let (hits, affected) = gather(&searcher, &[], Some(&past), &Found::new());
        assert_eq!((hits.len(), affected.len()), (MOST_BY_AUTHOR + 1, 1));
        assert!(hits.iter().any(|hit| hit.text == "and 7 more commits"));
    }
}
