//! Which rules of the gate's policy ever let something in, as far as the history tells.

use std::collections::BTreeSet;

use anyhow::Result;
use jiff::Timestamp;

use crate::domain::changes::Changes;
use crate::domain::classify::{self, Context, Place, Subject, classify};
use crate::domain::desired::Snapshot;
use crate::domain::finding::Finding;
use crate::domain::name::{Oid, PkgBase};
use crate::git::{Limits, Repository};

use super::range;

/// How many commits are looked through.
const COMMITS: usize = 500;

/// Rules in force that let nothing in: neither in the last commits, nor in open reviews.
///
/// # Errors
/// If the object database cannot be read.
pub fn unused(git: &Repository, snapshot: &Snapshot, now: Timestamp) -> Result<Vec<Finding>> {
    let mut search = Search::new(git, snapshot, now);
    search.reviews()?;
    search.history()?;
    Ok(search.open.into_iter().map(|rule| rule.finding).collect())
}

/// A rule of which no use is known yet.
struct Rule {
    place: Place,
    /// The package it is about; all if it is about none.
    package: Option<String>,
    finding: Finding,
}

struct Search<'a> {
    git: &'a Repository,
    snapshot: &'a Snapshot,
    open: Vec<Rule>,
}

impl<'a> Search<'a> {
    fn new(git: &'a Repository, snapshot: &'a Snapshot, now: Timestamp) -> Self {
        let told = |place: &Place| {
            let message = format!("it let nothing in: not in the last {COMMITS} commits, nor in an open review");
            let hint = "remove it, or see what it does with `pkgwarden classify --policy .ci/policy.toml`";
            Finding::warning("rule-unused", message).at(&place.file, place.line).hint(hint)
        };
        let in_force = snapshot.gate.allow.iter().filter(move |permission| permission.counts(now));
        let permissions = in_force.map(|permission| Rule {
            place: permission.place.clone(),
            package: permission.package.clone(),
            finding: told(&permission.place),
        });
        let with_expressions = snapshot.packages.values().filter(|package| !package.settings.line_rules.is_empty());
        let expressions = with_expressions.map(|package| {
            let place = Place { file: format!("{}/.CI/config", package.pkgbase), line: None };
            let finding = told(&place).with_package(&package.pkgbase);
            Rule { package: Some(package.pkgbase.to_string()), finding, place }
        });
        Self { git, snapshot, open: permissions.chain(expressions).collect() }
    }

    fn concerns(&self, pkgbase: &PkgBase) -> bool {
        let named = |rule: &Rule| rule.package.as_deref().is_none_or(|package| package == pkgbase.as_str());
        self.open.iter().any(named)
    }

    fn reviews(&mut self) -> Result<()> {
        for (pkgbase, &head) in &self.snapshot.refs.reviews {
            let Some(package) = self.snapshot.packages.get(pkgbase).filter(|_| self.concerns(pkgbase)) else {
                continue;
            };
            let proposed = self.git.entry_at(self.git.tree_of(head)?, pkgbase.as_str())?;
            if let Some(proposed) = proposed.filter(|entry| entry.is_tree) {
                self.compare(pkgbase, package.tree, proposed.id);
            }
        }
        Ok(())
    }

    fn history(&mut self) -> Result<()> {
        let mut newer = match self.snapshot.main {
            Some(tip) if !self.open.is_empty() => (tip.commit, range::root(self.git, Some(tip.commit))?),
            _ => return Ok(()),
        };
        for _ in 0..COMMITS {
            let parent = self.git.commit_facts(newer.0)?.parents.first().copied();
            let Some(parent) = parent.filter(|&id| !self.open.is_empty() && self.git.contains(id)) else { break };
            let older = range::root(self.git, Some(parent))?;
            let (changes, _) = Changes::between(range::named(&older), range::named(&newer.1));
            for pkgbase in changes.changed.iter().filter(|pkgbase| self.snapshot.packages.contains_key(*pkgbase)) {
                let tree = |root: &[(String, Oid)]| {
                    root.iter().find(|(name, _)| name == pkgbase.as_str()).map(|(_, tree)| *tree)
                };
                if let (true, Some(old), Some(new)) = (self.concerns(pkgbase), tree(&older), tree(&newer.1)) {
                    self.compare(pkgbase, old, new);
                }
            }
            newer = (parent, older);
        }
        Ok(())
    }

    /// Takes out the rules that this update used. A folder that must not be read used none.
    fn compare(&mut self, pkgbase: &PkgBase, old: Oid, new: Oid) {
        let folder = |tree| self.git.folder(tree, &Limits::default());
        let (Ok(old), Ok(new)) = (folder(old), folder(new)) else { return };
        let Some(package) = self.snapshot.packages.get(pkgbase) else { return };
        let line_rules = &package.settings.line_rules;
        let subject = Subject { package: pkgbase.as_str(), old: &old, new: &new, line_rules, now: Timestamp::MIN };
        let judged = classify::judge(classify(&old, &new), subject, &self.snapshot.gate, &Context::default());
        let used: BTreeSet<Place> = judged.used.into_iter().collect();
        self.open.retain(|rule| !used.contains(&rule.place));
    }
}
