//! Packages that a person adds to the monorepo, or takes out of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Action, Draft, Edit, Heard, PackageDecision, ReviewStep};
use crate::domain::addition::{Addition, Provenance};
use crate::domain::build::BuildReason;
use crate::domain::classify::{self, Reason, Weight};
use crate::domain::desired::Package;
use crate::domain::finding::Finding;
use crate::domain::folder::Folder;
use crate::domain::graph::Graph;
use crate::domain::message::{Entry, Topic};
use crate::domain::name::PkgBase;
use crate::domain::observed::{Meant, Observation};
use crate::domain::policy::SourceKind;
use crate::domain::state::{Cursor, PackageState};
use crate::domain::target::{Selection, Target};

impl Draft<'_> {
    /// Takes packages in, with the files that their sources have now, and builds them.
    pub(super) fn add(&mut self, additions: &[Addition], provenance: &Provenance) {
        for addition in additions {
            let pkgbase = &addition.pkgbase;
            if self.added.contains_key(pkgbase) {
                continue;
            }
            if self.inputs.snapshot.packages.contains_key(pkgbase) {
                let hint = format!(
                    "`pkgwarden run deploy {pkgbase}` builds it; {pkgbase}/.CI/config says where it comes from"
                );
                let message = format!("there is a package `{pkgbase}` already");
                self.problems.push(Finding::error("package-exists", message).with_package(pkgbase).hint(hint));
                continue;
            }
            match self.inputs.observations.files.get(pkgbase) {
                Some(Observation::Changed { cursor, incoming, .. }) => {
                    self.take_in(addition, provenance, cursor, incoming);
                }
                other => self.refuse(addition, other),
            }
        }
    }

    fn refuse(&mut self, addition: &Addition, heard: Option<&Observation>) {
        let pkgbase = &addition.pkgbase;
        let (finding, observation) = match heard {
            Some(Observation::Gone) => {
                let place = match addition.source {
                    SourceKind::Aur => "the AUR",
                    _ => &addition.written,
                };
                let hint = match self.inputs.observations.meant.get(pkgbase) {
                    Some(Meant { pkgbase: base, builds_it: true }) => {
                        format!("the package base that builds it is `{base}`")
                    }
                    Some(Meant { pkgbase: base, .. }) => format!("did you mean `{base}`?"),
                    None => "look up its name; a package base can be called otherwise than its packages".to_owned(),
                };
                (
                    Finding::error("source-gone", format!("{place} has no package `{pkgbase}`")).hint(hint),
                    Heard::Current,
                )
            }
            Some(Observation::Unknown { error, .. }) => {
                (Finding::error("source-unknown", error.clone()).hint("try it again"), Heard::Unknown)
            }
            _ => (Finding::error("source-unknown", "its source was not asked").hint("try it again"), Heard::Unknown),
        };
        let why = format!("it is not added: {}", finding.message);
        self.problems.push(finding.with_package(pkgbase));
        self.decide(pkgbase, observation, Action::Skip, &why);
    }

    fn take_in(&mut self, addition: &Addition, provenance: &Provenance, cursor: &Cursor, incoming: &Folder) {
        let pkgbase = &addition.pkgbase;
        let folder = addition.folder(&self.as_committed(pkgbase, incoming), provenance);
        let package = addition.package(&folder);
        if let Some(problem) = unusable(addition, &package) {
            self.problems.push(problem.with_package(pkgbase));
            self.decide(pkgbase, Heard::Changed, Action::Skip, "it is not added: its source has no PKGBUILD");
            return;
        }
        let hostile = hostile(incoming);
        if !hostile.is_empty() {
            self.refuse_hostile(&package, hostile);
            return;
        }
        if let Some(problem) = called_otherwise(addition, &package) {
            self.problems.push(problem.with_package(pkgbase));
            self.decide_added(&package, Action::Skip, Vec::new(), "it is not added: it calls itself otherwise");
            return;
        }
        self.tell_of_clashes(&package);
        let why = match package.version() {
            Some(version) => format!("added at {version} from {}{provenance}", addition.written),
            None => format!("added from {}{provenance}", addition.written),
        };
        let mut state = PackageState::default();
        state.set_cursor(cursor);
        state.set_keepers(self.keepers_to_remember(pkgbase).as_ref());
        self.put_state(pkgbase, state);
        self.close_leftover(pkgbase);
        self.entries.push((Topic::Add, Entry { pkgbase: pkgbase.clone(), reason: why.clone() }));
        self.edits.push(Edit::Folder(pkgbase.clone(), folder));
        self.decide_added(&package, Action::Commit, Vec::new(), &why);
        self.added.insert(pkgbase.clone(), package);
        self.want(pkgbase, BuildReason::Changed, None);
    }

    fn refuse_hostile(&mut self, package: &Package, reasons: Vec<Reason>) {
        let first = reasons.first().map(|reason| format!("{}: {}", reason.file, reason.message)).unwrap_or_default();
        let message = format!("it looks like an attack ({first})");
        let hint = "read it; if it is right all the same, commit its folder by hand";
        self.problems.push(Finding::error("add-hostile", message).with_package(&package.pkgbase).hint(hint));
        self.decide_added(package, Action::Skip, reasons, "it is not added: it looks like an attack");
    }

    fn decide_added(&mut self, package: &Package, action: Action, reasons: Vec<Reason>, why: &str) {
        let decision = PackageDecision {
            pkgbase: package.pkgbase.clone(),
            observation: Heard::Changed,
            action,
            verdict: None,
            reasons,
            trees: None,
            from_version: None,
            to_version: package.version().cloned(),
            why: why.to_owned(),
        };
        self.packages.insert(package.pkgbase.clone(), decision);
    }

    /// Two packages with the same name: whichever is built last is the one that people get.
    fn tell_of_clashes(&mut self, package: &Package) {
        let names: BTreeSet<&str> = members(package).collect();
        let all = self.inputs.snapshot.packages.values().chain(self.added.values());
        let clashes = all.filter(|other| members(other).any(|name| names.contains(name)));
        let clashes: Vec<String> = clashes.map(|other| format!("`{}`", other.pkgbase)).collect();
        if !clashes.is_empty() {
            let message = format!("{} builds a package of the same name", clashes.join(", "));
            let hint = "whichever is built last is the one that is published; keep one of them";
            self.problems.push(Finding::warning("member-twice", message).with_package(&package.pkgbase).hint(hint));
        }
    }

    /// Takes packages out: their folder, state and review, what waits to be built, and what is published of them.
    pub(super) fn drop_packages(&mut self, names: &[String], reason: Option<&str>) {
        let target = |name: &String| Target { selection: Selection::Named(name.clone()), class: None };
        let targets: Vec<Target> = names.iter().map(target).collect();
        let leaving: BTreeSet<PkgBase> = self.named(&targets).into_iter().map(|(pkgbase, ..)| pkgbase).collect();
        self.tell_who_needs(&leaving);
        let why = reason.map_or_else(|| "dropped".to_owned(), |reason| format!("dropped: {reason}"));
        for pkgbase in leaving {
            self.close_leftover(&pkgbase);
            if self.inputs.snapshot.states.contains_key(&pkgbase) {
                self.states.insert(pkgbase.clone(), None);
            }
            // A directive may have asked for something else.
            let settings = format!("{pkgbase}/");
            self.edits.retain(|edit| !matches!(edit, Edit::File(path, _) if path.starts_with(&settings)));
            self.entries.retain(|(_, entry)| entry.pkgbase != pkgbase);
            self.builds.remove(&pkgbase);
            self.edits.push(Edit::Remove(pkgbase.clone()));
            self.entries.push((Topic::Drop, Entry { pkgbase: pkgbase.clone(), reason: why.clone() }));
            self.decide(&pkgbase, Heard::Current, Action::Commit, &why);
            self.remove.push(pkgbase);
        }
    }

    /// Says who is left without something that it needs.
    fn tell_who_needs(&mut self, leaving: &BTreeSet<PkgBase>) {
        let (snapshot, arch) = (self.inputs.snapshot, self.inputs.arch);
        let packages = || snapshot.packages.values().map(Arc::as_ref);
        let before = Graph::build_for(arch, packages(), self.inputs.official);
        let staying = packages().filter(|package| !leaving.contains(&package.pkgbase));
        let after = Graph::build_for(arch, staying, self.inputs.official);
        let still_had: BTreeSet<(&PkgBase, &str)> =
            after.edges().iter().map(|edge| (&edge.from, edge.via.as_str())).collect();
        let unknown = packages().filter(|package| package.srcinfo.is_none() && !leaving.contains(&package.pkgbase));
        self.tell_whose_needs_are_unknown(&unknown.map(|package| package.pkgbase.clone()).collect::<Vec<_>>());
        for pkgbase in leaving {
            let lost = before.edges().iter().filter(|edge| {
                edge.to == *pkgbase
                    && !leaving.contains(&edge.from)
                    && !still_had.contains(&(&edge.from, edge.via.as_str()))
                    && !self.inputs.official.contains(&edge.via)
            });
            let lost: Vec<String> = lost.map(|edge| format!("`{}`", edge.from)).collect();
            if !lost.is_empty() {
                let verb = if lost.len() == 1 { "needs" } else { "need" };
                let message = format!("{} still {verb} it", lost.join(", "));
                let hint = "drop them too, or have them build without it";
                self.problems.push(Finding::warning("still-needed", message).with_package(pkgbase).hint(hint));
            }
        }
    }

    fn tell_whose_needs_are_unknown(&mut self, unknown: &[PkgBase]) {
        const NAMED: usize = 5;
        if unknown.is_empty() {
            return;
        }
        let named: Vec<String> = unknown.iter().take(NAMED).map(|pkgbase| format!("`{pkgbase}`")).collect();
        let more = unknown.len().saturating_sub(NAMED);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let verb = if unknown.len() == 1 { "needs" } else { "need" };
        let message =
            format!("what {}{more} {verb} is not known: there is no .SRCINFO that can be read", named.join(", "));
        let hint = "`pkgwarden check` says what is wrong; see for yourself whether they need what is dropped";
        self.problems.push(Finding::warning("needs-unknown", message).hint(hint));
    }

    /// The review of a package that is taken out, or of an earlier one of the same name.
    fn close_leftover(&mut self, pkgbase: &PkgBase) {
        if let Some(&head) = self.inputs.snapshot.refs.reviews.get(pkgbase) {
            let why = "the package has left the repository".to_owned();
            self.reviews.push(ReviewStep::Close { pkgbase: pkgbase.clone(), head, why });
        }
    }
}

fn members(package: &Package) -> impl Iterator<Item = &str> {
    package.srcinfo.iter().flat_map(|srcinfo| &srcinfo.members).map(|member| member.name.as_str())
}

fn unusable(addition: &Addition, package: &Package) -> Option<Finding> {
    let message = || format!("{} has no PKGBUILD there", addition.written);
    let hint = "name the branch or folder: URL#branch=NAME&subfolder=PATH";
    (!package.has_pkgbuild).then(|| Finding::error("pkgbuild-missing", message()).hint(hint))
}

/// A build is known by what the package calls itself: under another name nothing of it would be taken.
fn called_otherwise(addition: &Addition, package: &Package) -> Option<Finding> {
    let named = package.srcinfo.as_ref().map(|srcinfo| &srcinfo.pkgbase).filter(|named| **named != package.pkgbase)?;
    let hint = format!(
        "`pkgwarden run add '{named}/{}'` adds it under its own name; to have it under this one all the same, commit its \
         folder by hand",
        addition.written
    );
    Some(Finding::error("pkgbase-differs", format!("its .SRCINFO calls it `{named}`")).hint(hint))
}

/// What looks like an attack in files that nobody has compared with anything: a person who adds a package takes
/// its maintainer's word for all else.
fn hostile(folder: &Folder) -> Vec<Reason> {
    let verdict = classify::classify(&Folder::default(), &folder.from_source());
    verdict.reasons.into_iter().filter(|reason| reason.severity == Weight::Hostile).collect()
}
