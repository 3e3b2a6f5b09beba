//! Whose work is on the branch of a review: what people committed there is never overwritten.

use std::collections::BTreeSet;

use crate::domain::classify::text::shown;
use crate::domain::policy::Identity;

/// The commits of a review's branch that the branch with the packages does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Handwork {
    /// Author and committer of each, as `name <address>`.
    pub commits: Vec<(String, String)>,
    /// Whether they change anything beside what the source of the package has: other folders, or `.CI` of its own.
    pub beyond: bool,
    /// Digest of the files that the branch proposes, without the monorepo's own; `None` if it has no such folder.
    pub content: Option<String>,
}

/// The people whose work would be lost if the branch moved, as people read them; nobody if it is all ours.
///
/// Ours is what our identity wrote and committed. It is also ours if it is a single commit of exactly what was
/// recorded as `proposed`: the identity in `.ci/config` can change between two runs.
#[must_use]
pub fn people(work: &Handwork, ours: &Identity, proposed: Option<&str>) -> BTreeSet<String> {
    let recorded = work.commits.len() == 1 && !work.beyond && proposed.is_some() && proposed == work.content.as_deref();
    if recorded {
        return BTreeSet::new();
    }
    let ours = ours.to_string();
    let both = work.commits.iter().flat_map(|(author, committer)| [author, committer]);
    both.filter(|who| **who != ours).map(|who| shown(who.as_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "K <k@example.org>";
    const MIRA: &str = "Mira <m@example.org>";

    fn told(commits: &[(&str, &str)], beyond: bool, proposed: Option<&str>) -> Vec<String> {
        let commits = commits.iter().map(|&(author, committer)| (author.to_owned(), committer.to_owned())).collect();
        let work = Handwork { commits, beyond, content: Some("same".to_owned()) };
        let ours = Identity { name: "K".to_owned(), email: "k@example.org".to_owned() };
        people(&work, &ours, proposed).into_iter().collect()
    }

    #[test]
    fn whoever_wrote_or_committed_anything_is_named() {
        assert_eq!(told(&[(OURS, OURS), (OURS, OURS)], true, None), [""; 0]);
        assert_eq!(told(&[(OURS, OURS), (MIRA, OURS)], false, None), [MIRA]);
        assert_eq!(told(&[(OURS, MIRA)], false, None), [MIRA], "rebased by a person");
        assert_eq!(told(&[], false, None), [""; 0], "a branch that has nothing of its own");
    }

    #[test]
    fn what_was_proposed_is_ours_under_whatever_name() {
        assert_eq!(told(&[(MIRA, MIRA)], false, Some("same")), [""; 0]);
        assert_eq!(told(&[(MIRA, MIRA)], false, Some("other")), [MIRA]);
        assert_eq!(told(&[(MIRA, MIRA)], true, Some("same")), [MIRA], "and something else beside it");
        assert_eq!(told(&[(OURS, OURS), (MIRA, MIRA)], false, Some("same")), [MIRA], "taken back on the way");
    }
}
