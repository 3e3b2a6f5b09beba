//! Problems of a plan, told so that a person reads them: what befell many packages alike is told once.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::domain::finding::Finding;
use crate::domain::name::PkgBase;

/// More packages than this with the very same problem are told together.
const ALIKE: usize = 3;
/// How many of them are named.
const NAMED: usize = 5;

/// Gathers alike problems and sorts them: those of the whole run first, then by
/// package; of one file by line.
pub(super) fn gathered(problems: Vec<Finding>) -> Vec<Finding> {
    let mut alike: BTreeMap<(&'static str, String), Vec<Finding>> = BTreeMap::new();
    let mut gathered = Vec::new();
    for problem in problems {
        // A problem with a place is that place's alone.
        if problem.pkgbase.is_some() && problem.file.is_none() && problem.commit.is_none() {
            alike.entry((problem.code, problem.message.clone())).or_default().push(problem);
        } else {
            gathered.push(problem);
        }
    }
    for same in alike.into_values() {
        if same.len() > ALIKE {
            gathered.push(together(&same));
        } else {
            gathered.extend(same);
        }
    }
    let place = |it: &Finding| {
        let (package, heaviest_first) = (it.pkgbase.clone(), Reverse(it.severity));
        (package, heaviest_first, it.file.clone(), it.line, it.code, it.message.clone(), it.commit)
    };
    gathered.sort_by_cached_key(place);
    gathered.dedup();
    gathered
}

fn together(same: &[Finding]) -> Finding {
    let names: Vec<&str> =
        same.iter().filter_map(|problem| problem.pkgbase.as_ref()).take(NAMED).map(PkgBase::as_str).collect();
    let others = same.len().saturating_sub(names.len());
    let others = if others > 0 { format!(" and {others} more") } else { String::new() };
    let first = &same[0];
    Finding {
        pkgbase: None,
        message: format!("{} packages ({}{others}): {}", same.len(), names.join(", "), first.message),
        ..first.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(pkgbase: &str, message: &str) -> Finding {
        Finding::warning("source-unknown", message).with_package(&PkgBase::new(pkgbase).expect("legal")).hint("wait")
    }

    #[test]
    fn what_befell_many_packages_alike_is_told_once() {
        let mut problems: Vec<_> = (0..9).map(|number| problem(&format!("p{number}"), "the mirror is down")).collect();
        problems.push(problem("q", "it has a submodule"));
        let told: Vec<String> = gathered(problems).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["9 packages (p0, p1, p2, p3, p4 and 4 more): the mirror is down; wait", "it has a submodule; wait"]
        );
    }

    #[test]
    fn a_few_are_told_one_by_one_and_places_are_kept() {
        let few: Vec<_> = (0..3).map(|number| problem(&format!("p{number}"), "down")).collect();
        assert_eq!(gathered(few.clone()), few);
        let placed: Vec<_> =
            (0..9).map(|number| problem("p", "line is no field").at("p/.SRCINFO", Some(number))).collect();
        assert_eq!(gathered(placed.clone()).len(), 9);
    }
}
