//! What a plan builds, and in which order.

use std::collections::BTreeSet;

use super::Draft;
use crate::domain::build::{BuildReason, BuildRequest};
use crate::domain::desired::Package;
use crate::domain::graph::{Before, Graph};
use crate::domain::policy::BuildClass;
use crate::domain::schedule::Lane;

/// One wanted build, before it is ordered.
pub(super) struct Wanted {
    pub(super) reason: BuildReason,
    pub(super) class: Option<BuildClass>,
    pub(super) lane: Lane,
}

impl Wanted {
    /// A second wish for the same package: a person's wins over what would have happened anyway.
    pub(super) fn also(&mut self, reason: BuildReason, class: Option<&BuildClass>, lane: Lane) {
        self.lane = self.lane.min(lane);
        if matches!(reason, BuildReason::Deploy | BuildReason::Directive) {
            self.reason = reason;
            self.class = class.cloned();
        }
    }
}

impl Draft<'_> {
    /// The wanted builds, each after what it needs. The graph is that of the monorepo as this plan
    /// leaves it.
    pub(super) fn ordered_builds(&mut self) -> Vec<BuildRequest> {
        let wanted = std::mem::take(&mut self.builds);
        if wanted.is_empty() {
            return Vec::new();
        }
        let updated = self.updated_packages();
        let known = self.inputs.snapshot.packages.iter().chain(&self.added);
        let packages = known.map(|(pkgbase, package)| updated.get(pkgbase).unwrap_or(package));
        let graph = Graph::build_for(self.inputs.arch, packages.map(|package| &**package), self.inputs.official);
        let members: BTreeSet<_> = wanted.keys().cloned().collect();
        let mut before = graph.wave(&members);
        let request = |pkgbase: crate::domain::name::PkgBase| {
            let Wanted { reason, class, lane } = &wanted[&pkgbase];
            let Before { members, others } = before.remove(&pkgbase).unwrap_or_default();
            BuildRequest {
                arch: self.inputs.arch.to_owned(),
                class: class.clone(),
                reason: *reason,
                lane: *lane,
                after: members,
                needs: others,
                pkgbase,
            }
        };
        graph.order_of(&members).into_iter().map(request).collect()
    }

    /// Packages whose folder this plan replaces, with the `.SRCINFO` they will have.
    fn updated_packages(&self) -> std::collections::BTreeMap<crate::domain::name::PkgBase, std::sync::Arc<Package>> {
        let folders = self.edits.iter().filter_map(|edit| match edit {
            super::Edit::Folder(pkgbase, folder) => Some((pkgbase, folder)),
            super::Edit::File(..) | super::Edit::Remove(_) => None,
        });
        let updated = folders.filter_map(|(pkgbase, folder)| {
            let srcinfo = crate::domain::srcinfo::Srcinfo::parse(folder.get(".SRCINFO")?).ok()?;
            let package = self.inputs.snapshot.packages.get(pkgbase)?;
            Some((pkgbase.clone(), std::sync::Arc::new(Package { srcinfo: Some(srcinfo), ..Package::clone(package) })))
        });
        updated.collect()
    }
}
