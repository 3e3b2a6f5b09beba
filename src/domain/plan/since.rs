//! The on-commit part of a plan: what people committed since builds were last handed out.

use std::collections::{BTreeMap, BTreeSet};

use super::builds::Wanted;
use super::{Action, Draft, Heard, PackageDecision, RangeBase, Scheduled};
use crate::domain::build::BuildReason;
use crate::domain::directive::{self, DirectiveKind};
use crate::domain::finding::{Finding, Severity};
use crate::domain::name::PkgBase;
use crate::domain::policy::{BuildClass, UnknownDirective};
use crate::domain::schedule::Lane;
use crate::domain::target::{Selection, Target};

/// What the directives of a range ask for, package by package; the last one wins.
enum Wish {
    Deploy(Option<BuildClass>, Lane),
    Skip,
}

impl Draft<'_> {
    /// Plans builds and removals for the commits of the range and moves `scheduled`. False if the
    /// policy demands that nothing happens until a directive is mended.
    pub(super) fn hand_out_commits(&mut self) -> bool {
        self.report_range();
        self.problems.extend(self.inputs.snapshot.findings.iter().cloned());
        let (wishes, bumps, unknown) = self.read_directives();
        let stop = self.inputs.policy.unknown_directive == UnknownDirective::Stop
            && unknown.iter().any(|finding| finding.code == "unknown-directive");
        self.problems.extend(unknown);
        if stop {
            return false;
        }
        self.want_changed_folders(&wishes);
        for (pkgbase, wish) in wishes {
            if let Wish::Deploy(class, lane) = wish {
                self.want_in(lane, &pkgbase, BuildReason::Directive, class);
            }
        }
        self.bump(&bumps, BuildReason::Directive);
        self.remove_what_left();
        if self.inputs.snapshot.main.is_some() {
            self.scheduled = Scheduled::Tip;
        }
        true
    }

    /// A push that deletes every folder is a mistake more often than the end of a repository.
    fn remove_what_left(&mut self) {
        let removed = &self.inputs.since.changes.removed;
        if removed.is_empty() || !self.inputs.snapshot.packages.is_empty() {
            self.remove.clone_from(removed);
            return;
        }
        let finding = Finding::warning("monorepo-emptied", "the monorepo has no package left, so none is unpublished")
            .hint(
                "if that is meant, delete the published repository; once there is a package again, `pkgwarden repo \
                   remove-departed` removes the others",
            );
        self.problems.push(finding);
    }

    fn report_range(&mut self) {
        let finding = match self.inputs.since.base {
            RangeBase::Scheduled(_) => return,
            RangeBase::LastCommit => {
                Finding::warning("scheduled-missing", "there is no tag `scheduled`, so only the last commit counts")
                    .hint("this run sets the tag; packages changed by earlier commits are built with `deploy`")
            }
            RangeBase::Rewritten(_) => Finding::warning(
                "scheduled-not-ancestor",
                "`scheduled` is not an ancestor of the branch: somebody pushed with force",
            )
            .hint("every folder that differs between both is built"),
            RangeBase::Empty => Finding::warning("repository-empty", "the repository has no commit")
                .hint("push one package folder to begin"),
        };
        self.problems.push(finding);
    }

    fn read_directives(&self) -> (BTreeMap<PkgBase, Wish>, Vec<Target>, Vec<Finding>) {
        let known: BTreeSet<PkgBase> = self.inputs.snapshot.packages.keys().cloned().collect();
        let (mut wishes, mut bumps, mut unknown) = (BTreeMap::new(), Vec::new(), Vec::new());
        for commit in &self.inputs.since.commits {
            let (requests, findings) = directive::read(commit.id, &commit.message, &known);
            unknown.extend(findings);
            for request in requests {
                match request.kind {
                    DirectiveKind::Bump => bumps.extend(request.targets),
                    DirectiveKind::Deploy => {
                        let deploy = |target: &Target| Wish::Deploy(target.class.clone(), lane_of(target));
                        wish(&mut wishes, &known, &request.targets, deploy);
                    }
                    DirectiveKind::Skip => wish(&mut wishes, &known, &request.targets, |_| Wish::Skip),
                }
            }
        }
        (wishes, bumps, unknown)
    }

    fn want_changed_folders(&mut self, wishes: &BTreeMap<PkgBase, Wish>) {
        let changes = &self.inputs.since.changes;
        for pkgbase in changes.added.iter().chain(&changes.changed) {
            let package = self.inputs.snapshot.packages.get(pkgbase);
            self.problems.extend(package.into_iter().flat_map(|package| &package.findings).cloned());
            self.hand_back(pkgbase);
            let skipped = matches!(wishes.get(pkgbase), Some(Wish::Skip));
            let (action, why) = if skipped {
                (Action::Skip, "its folder changed, and a commit says [skip]")
            } else if self.want(pkgbase, BuildReason::Changed, None) {
                (Action::None, "its folder changed since the last builds were handed out")
            } else {
                (Action::Skip, "its folder changed, but it cannot be built")
            };
            self.decide(pkgbase, Heard::Changed, action, why);
        }
        let is_empty = self.inputs.snapshot.packages.is_empty();
        for pkgbase in &changes.removed {
            self.decide(
                pkgbase,
                Heard::Changed,
                Action::None,
                if is_empty {
                    "its folder is gone, and it stays published because no other package is left"
                } else {
                    "its folder is gone, so it leaves the published repository"
                },
            );
        }
    }

    /// Notes what happens with a package that no update is concerned with.
    pub(super) fn decide(&mut self, pkgbase: &PkgBase, observation: Heard, action: Action, why: &str) {
        let version = self.inputs.snapshot.packages.get(pkgbase).and_then(|package| package.version().cloned());
        let decision = PackageDecision {
            pkgbase: pkgbase.clone(),
            observation,
            action,
            verdict: None,
            reasons: Vec::new(),
            trees: None,
            from_version: version,
            to_version: None,
            why: why.to_owned(),
        };
        self.packages.insert(pkgbase.clone(), decision);
    }

    /// Plans the build of a package; false if it cannot be built, which is then a problem.
    pub(super) fn want(&mut self, pkgbase: &PkgBase, reason: BuildReason, class: Option<BuildClass>) -> bool {
        self.want_in(Lane::of(reason), pkgbase, reason, class)
    }

    /// [`Draft::want`] for those that are in another lane than others of their reason.
    pub(super) fn want_in(
        &mut self,
        lane: Lane,
        pkgbase: &PkgBase,
        reason: BuildReason,
        class: Option<BuildClass>,
    ) -> bool {
        let known = self.inputs.snapshot.packages.get(pkgbase).or_else(|| self.added.get(pkgbase));
        let Some(package) = known.cloned() else { return false };
        if self.hold_back(pkgbase, reason) {
            return false;
        }
        if !package.has_pkgbuild {
            self.problems
                .extend(package.findings.iter().filter(|finding| finding.severity == Severity::Error).cloned());
            return false;
        }
        if let Some(problem) = self.inputs.observations.unbuildable.get(pkgbase) {
            self.problems.push(problem.clone());
            return false;
        }
        let class = class.or_else(|| self.inputs.snapshot.class_of(&package));
        self.builds
            .entry(pkgbase.clone())
            .and_modify(|wanted| wanted.also(reason, class.as_ref(), lane))
            .or_insert(Wanted { reason, class, lane });
        true
    }

    /// Builds what somebody named.
    pub(super) fn deploy(&mut self, targets: &[Target]) {
        for (pkgbase, class, lane) in self.named(targets) {
            let wanted = self.want_in(lane, &pkgbase, BuildReason::Deploy, class);
            self.decide_wanted(&pkgbase, wanted, "somebody asked for it");
        }
    }

    /// Builds what waits for a trigger.
    pub(super) fn fire_trigger(&mut self, name: &str) {
        let snapshot = self.inputs.snapshot;
        let waiting = snapshot.packages.values().filter(|package| package.settings.trigger.as_deref() == Some(name));
        let waiting: Vec<PkgBase> = waiting.map(|package| package.pkgbase.clone()).collect();
        if waiting.is_empty() {
            let known = snapshot.packages.values().filter_map(|package| package.settings.trigger.as_deref());
            let hint = crate::domain::finding::nearest(name, known).map_or_else(
                || "set CI_ON_TRIGGER in the .CI/config of a package".to_owned(),
                |nearest| format!("did you mean `{nearest}`?"),
            );
            self.problems.push(
                Finding::error("unknown-trigger", format!("no package waits for the trigger `{name}`")).hint(hint),
            );
        }
        for pkgbase in waiting {
            let wanted = self.want(&pkgbase, BuildReason::Trigger, None);
            self.decide_wanted(&pkgbase, wanted, &format!("it waits for the trigger `{name}`"));
        }
    }

    /// Notes that a package is built for a reason, or would have been if it could.
    pub(super) fn decide_wanted(&mut self, pkgbase: &PkgBase, wanted: bool, why: &str) {
        if wanted {
            self.decide(pkgbase, Heard::Current, Action::None, why);
        } else {
            self.decide(pkgbase, Heard::Current, Action::Skip, &format!("{why}, but it cannot be built"));
        }
    }

    /// The packages that targets name; what names nothing is a problem.
    pub(super) fn named(&mut self, targets: &[Target]) -> Vec<(PkgBase, Option<BuildClass>, Lane)> {
        let known = &self.inputs.snapshot.packages;
        let mut packages = Vec::new();
        for target in targets {
            let with = |pkgbase: &PkgBase| (pkgbase.clone(), target.class.clone(), lane_of(target));
            match &target.selection {
                Selection::All => packages.extend(known.keys().map(with)),
                Selection::Named(name) => match known.get_key_value(name.as_str()) {
                    Some((pkgbase, _)) => packages.push(with(pkgbase)),
                    None => self.problems.push(unknown_package(name, known.keys())),
                },
            }
        }
        packages
    }
}

/// Who asks for everything waits for nothing in particular.
const fn lane_of(target: &Target) -> Lane {
    match target.selection {
        Selection::All => Lane::Mass,
        Selection::Named(_) => Lane::Deploy,
    }
}

/// Notes a wish for every package the targets reach.
fn wish(
    wishes: &mut BTreeMap<PkgBase, Wish>,
    known: &BTreeSet<PkgBase>,
    targets: &[Target],
    make: impl Fn(&Target) -> Wish,
) {
    for target in targets {
        match &target.selection {
            Selection::All => wishes.extend(known.iter().map(|pkgbase| (pkgbase.clone(), make(target)))),
            Selection::Named(name) => {
                wishes.extend(known.get(name.as_str()).map(|pkgbase| (pkgbase.clone(), make(target))));
            }
        }
    }
}

/// Says that there is no such package, and which is meant.
pub(super) fn unknown_package<'a>(name: &str, known: impl Iterator<Item = &'a PkgBase>) -> Finding {
    let nearest = crate::domain::finding::nearest(name, known.map(PkgBase::as_str));
    let hint = nearest.map_or_else(
        || "see `pkgwarden packages` for the names".to_owned(),
        |nearest| format!("did you mean `{nearest}`?"),
    );
    Finding::error("unknown-package", format!("there is no package `{name}`")).hint(hint)
}
