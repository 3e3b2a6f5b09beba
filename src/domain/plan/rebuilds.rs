//! What has to be built anew because something that it is built against has changed.

use std::collections::{BTreeMap, BTreeSet};

use super::updates::{bumped_config, config_path};
use super::{Action, Draft, Edit, Heard, Inputs, PackageDecision};
use crate::domain::build::BuildReason;
use crate::domain::bump;
use crate::domain::desired::Package;
use crate::domain::finding::Finding;
use crate::domain::graph::Graph;
use crate::domain::library::relink::{self, Gone, SonameState};
use crate::domain::library::soname::Soname;
use crate::domain::library::versions::{self, VersionState};
use crate::domain::library::{Libraries, Linkage};
use crate::domain::message::{Entry, Topic};
use crate::domain::name::PkgBase;
use crate::domain::policy::{Bump, Rebuilds};
use crate::domain::version::Version;

/// By package: why it is built anew, a clause each.
type Causes = BTreeMap<PkgBase, Vec<String>>;

impl Draft<'_> {
    /// Builds packages anew whose triggers have moved, or that need a shared library which is gone.
    pub(super) fn follow_libraries(&mut self) {
        let Some(libraries) = &self.inputs.observations.libraries else { return };
        for consulted in &libraries.consulted {
            if let Err(error) = &consulted.answer {
                let message = format!("{error}; what it had is taken to be unchanged");
                let hint = "it is asked again in the next run; CI_LIB_DB in .ci/config names it";
                self.problems.push(Finding::warning("library-database", message).hint(hint));
            }
        }
        let mut causes = Causes::new();
        self.follow_triggers(libraries, &mut causes);
        if self.inputs.policy.rebuilds != Rebuilds::Never {
            self.follow_sonames(libraries, &mut causes);
        }
        for (pkgbase, causes) in causes {
            self.rebuild(&pkgbase, &causes);
        }
    }

    /// Builds anew all that needs what was changed, directly or through others, where the operator wants that.
    pub(super) fn follow_changes(&mut self) {
        if self.inputs.policy.rebuilds != Rebuilds::Always {
            return;
        }
        let is_change = |reason| matches!(reason, BuildReason::Changed | BuildReason::Upstream);
        let changed = self.builds.iter().filter(|(_, wanted)| is_change(wanted.reason)).map(|(pkgbase, _)| pkgbase);
        let Inputs { snapshot, arch, official, .. } = *self.inputs;
        let blacklist = &snapshot.settings.rebuild_blacklist;
        let changed: Vec<PkgBase> = changed.filter(|pkgbase| !blacklist.contains(pkgbase.as_str())).cloned().collect();
        let graph = Graph::build_for(arch, snapshot.packages.values().map(|package| &**package), official);
        let mut causes = Causes::new();
        for pkgbase in &changed {
            let others = graph.dependants(pkgbase).into_iter().filter(|other| !self.builds.contains_key(other));
            for other in others {
                causes.entry(other).or_default().push(format!("{pkgbase} is built"));
            }
        }
        for (pkgbase, causes) in causes {
            self.rebuild(&pkgbase, &causes);
        }
    }

    fn follow_triggers(&mut self, libraries: &Libraries, causes: &mut Causes) {
        if libraries.consulted.is_empty() {
            return;
        }
        let snapshot = self.inputs.snapshot;
        let text = snapshot.version_state.as_deref().unwrap_or_default();
        let before = VersionState::parse(text);
        let after = before.after(&libraries.consulted);
        let mut moved = before.moved(&after);
        moved.retain(|name, _| !snapshot.settings.rebuild_blacklist.contains(*name));
        for package in snapshot.packages.values() {
            for name in &package.settings.rebuild_triggers {
                if let Some(it) = moved.get(name.as_str()).filter(|_| name != package.pkgbase.as_str()) {
                    let cause = format!("{name} {} -> {}", it.from, it.to);
                    causes.entry(package.pkgbase.clone()).or_default().push(cause);
                }
            }
        }
        self.put_state_file(versions::PATH, text, after.to_text());
    }

    fn follow_sonames(&mut self, libraries: &Libraries, causes: &mut Causes) {
        let snapshot = self.inputs.snapshot;
        let text = snapshot.soname_state.as_deref().unwrap_or_default();
        // What is published elsewhere has no files here that could be read.
        let own = &libraries.published.packages;
        let elsewhere = snapshot.packages.keys().filter(|pkgbase| !own.contains_key(*pkgbase));
        let elsewhere: BTreeMap<&PkgBase, Linkage> =
            elsewhere.filter_map(|pkgbase| Some((pkgbase, libraries.declared(pkgbase)?))).collect();
        let members = own.iter().filter(|(pkgbase, _)| snapshot.packages.contains_key(*pkgbase));
        let members = members.chain(elsewhere.iter().map(|(pkgbase, linkage)| (*pkgbase, linkage)));
        let graph = std::cell::OnceCell::new();
        let needs = |pkgbase: &PkgBase, other: &str| {
            let packages = || snapshot.packages.values().map(|package| &**package);
            let graph = graph.get_or_init(|| Graph::build_for(self.inputs.arch, packages(), self.inputs.official));
            graph.direct(pkgbase).iter().any(|direct| direct.as_str() == other)
        };
        let found = relink::look(&SonameState::parse(text), libraries, members.clone(), needs);
        for (pkgbase, linkage) in members {
            let gone = found.gone.get(pkgbase).map_or(&[][..], Vec::as_slice);
            let unknown = found.unknown.get(pkgbase);
            self.relink(pkgbase, gone, unknown, &linkage.needs, causes);
        }
        self.put_state_file(relink::PATH, text, found.after.to_text());
    }

    /// Once for each library that is gone, and not again until it is back, or not needed any more.
    fn relink(
        &mut self,
        pkgbase: &PkgBase,
        gone: &[Gone],
        unknown: Option<&BTreeSet<Soname>>,
        needed: &BTreeSet<Soname>,
        causes: &mut Causes,
    ) {
        let blacklist = &self.inputs.snapshot.settings.rebuild_blacklist;
        let mut state = self.state(pkgbase);
        let mut rebuilt_for = state.rebuilt_for();
        rebuilt_for.retain(|soname| needed.contains(soname) && !self.is_there(soname));
        let once_rebuilt = rebuilt_for.clone();
        for it in gone.iter().filter(|it| !once_rebuilt.contains(&it.soname)) {
            if it.culprits().any(|name| blacklist.contains(name)) {
                let hint = "CI_REBUILD_BLACKLIST keeps it from being rebuilt; `bump` does it by hand";
                self.missing_library(pkgbase, &it.sentence(), hint);
                continue;
            }
            rebuilt_for.insert(it.soname.clone());
            causes.entry(pkgbase.clone()).or_default().push(it.sentence());
        }
        for soname in &once_rebuilt {
            let hint = "if a newer build is under way, wait for it; else the package has to be mended";
            self.missing_library(pkgbase, &format!("{soname} is gone, and it was rebuilt for that once"), hint);
        }
        for soname in unknown.into_iter().flatten().filter(|soname| !once_rebuilt.contains(soname)) {
            let hint = "add the database that has it to CI_LIB_DB, or mend the package; rebuilding would not help";
            self.missing_library(pkgbase, &format!("it needs {soname}, which no known repository has"), hint);
        }
        state.set_rebuilt_for(&rebuilt_for);
        self.put_state(pkgbase, state);
    }

    fn missing_library(&mut self, pkgbase: &PkgBase, message: &str, hint: &'static str) {
        self.problems.push(Finding::warning("library-missing", message).with_package(pkgbase).hint(hint));
    }

    /// Whether somebody is known to have a library now.
    fn is_there(&self, soname: &Soname) -> bool {
        self.inputs.observations.libraries.as_ref().is_some_and(|libraries| libraries.have(soname))
    }

    fn put_state_file(&mut self, path: &'static str, before: &str, after: String) {
        if before != after {
            self.state_files.insert(path, after);
        }
    }

    /// Raises the bump of a package and builds it, or has it built when its trigger fires. The bump is committed
    /// even if it cannot be built now: whenever that is mended, it is what makes the build a new one.
    fn rebuild(&mut self, pkgbase: &PkgBase, causes: &[String]) {
        let package = self.inputs.snapshot.packages[pkgbase].clone();
        if self.packages.get(pkgbase).is_some_and(brings_a_version) {
            return;
        }
        let Some(version) = package.version() else {
            let message = format!("it has to be rebuilt ({}), and its .SRCINFO gives no version", causes.join("; "));
            let hint = "regenerate it with makepkg --printsrcinfo, and commit it: that builds the package";
            self.problems.push(Finding::error("rebuild-impossible", message).with_package(pkgbase).hint(hint));
            return;
        };
        let bump = self.next_bump(&package, version);
        let to = bump::effective_version(&bump.version, Some(&bump));
        if !self.put_bump(&package, &bump) {
            return;
        }
        let why = format!("bumped to {to}: {}", causes.join("; "));
        self.note_bump(pkgbase, &why);
        self.want_unless_triggered(pkgbase, BuildReason::Rebuild);
        self.decide_rebuild(pkgbase, to, &why);
    }

    /// The bump that has a package built once more, whoever wants that.
    pub(super) fn next_bump(&self, package: &Package, version: &Version) -> Bump {
        let Inputs { snapshot, observations, .. } = *self.inputs;
        let published = observations.libraries.as_ref().and_then(|it| it.published_version(&package.pkgbase));
        // What a schedule read last of repositories elsewhere.
        let remembered = || versions::version_in(snapshot.version_state.as_deref()?, package.pkgbase.as_str());
        let published = published.cloned().or_else(remembered);
        bump::next_bump(package.settings.bump.as_ref(), version, published.as_ref(), package.follows_upstream())
    }

    /// Puts a bump into what is committed anyway, or else into a commit. False if somebody asked for one already.
    fn put_bump(&mut self, package: &Package, bump: &Bump) -> bool {
        let path = config_path(&package.pkgbase);
        for edit in &mut self.edits {
            match edit {
                Edit::File(edited, _) if *edited == path => return false,
                Edit::Folder(pkgbase, folder) if *pkgbase == package.pkgbase => {
                    *folder = folder.clone().with(".CI/config", bumped_config(&package.config, bump));
                    return true;
                }
                _ => {}
            }
        }
        self.edits.push(Edit::File(path, bumped_config(&package.config, bump).into_bytes()));
        true
    }

    fn note_bump(&mut self, pkgbase: &PkgBase, why: &str) {
        match self.entries.iter_mut().find(|(_, entry)| entry.pkgbase == *pkgbase) {
            Some((_, entry)) => entry.reason = format!("{}; {why}", entry.reason),
            None => self.entries.push((Topic::Bump, Entry { pkgbase: pkgbase.clone(), reason: why.to_owned() })),
        }
    }

    fn decide_rebuild(&mut self, pkgbase: &PkgBase, to: Version, why: &str) {
        match self.packages.get_mut(pkgbase) {
            Some(decision) if matches!(decision.action, Action::Commit | Action::Review | Action::Skip) => {
                decision.why = format!("{}; {why}", decision.why);
            }
            decided => {
                let heard = decided.map_or(Heard::Current, |decision| decision.observation);
                self.decide(pkgbase, heard, Action::Commit, why);
                self.packages.entry(pkgbase.clone()).and_modify(|decision| decision.to_version = Some(to));
            }
        }
    }
}

/// Whether a package comes out with another version as it is.
fn brings_a_version(decision: &PackageDecision) -> bool {
    let versions = decision.from_version.as_ref().zip(decision.to_version.as_ref());
    decision.action == Action::Commit && versions.is_some_and(|(from, to)| from.as_str() != to.as_str())
}
