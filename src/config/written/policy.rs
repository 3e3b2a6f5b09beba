//! `[policy]`, with all but its reviews.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Layer, WrittenDashboard, WrittenReviews};
use crate::domain::cache::policy::ReleaseCaches;
use crate::domain::policy::{Overlap, Rebuilds, UnknownDirective};
use crate::domain::review::policy::TestBuild;

section! {
    /// What the operator decides.
    WrittenPolicy {
        /// What to do about a directive that names no package.
        unknown_directive: UnknownDirective,
        /// What to do with a request for a package that is being built already.
        overlap: Overlap,
        /// What is built anew because a package that it needs was: only what asks for it by name ("never"), also what
        /// needs a shared library that is gone ("sonames"), or all of it ("always").
        rebuilds: Rebuilds,
        /// Whether risky updates wait for a person. Without it: `CI_HUMAN_REVIEW` of the monorepo.
        human_review: bool,
        /// Whether PKGBUILDs of updates are formatted with shfmt, as Chaotic's pipeline does, before they are
        /// committed. What the gate judges is what came, and not what is made of it.
        format: bool,
        ;
        /// Reviews on a forge.
        reviews: WrittenReviews,
        /// An issue on the forge that shows how the repository stands.
        dashboard: WrittenDashboard,
        /// What people propose on a forge.
        proposals: WrittenProposals,
        /// Statuses of builds beside commits on a forge.
        statuses: WrittenStatuses,
        /// What builds may keep for the next one of their package (docs/caches.md).
        caches: WrittenCaches,
    }
}

section! {
    /// What builds may keep for the next one of their package.
    WrittenCaches {
        /// What builds that are published keep and find: nothing, only sources, which makepkg checks, or every set.
        release: ReleaseCaches,
        /// Whether test builds of proposals keep anything for test builds of the same proposal, and find what published
        /// builds have kept.
        proposals: bool,
    }
}

section! {
    /// What people propose on a forge.
    WrittenProposals {
        /// Whether packages that a proposal touches are judged by the gate and checked, with a status on its commit.
        classify: bool,
        /// Whose proposals are built for a test, in isolation and without publishing anything: nobody's, those of
        /// people who may push to the monorepo, or everybody's. Whoever has something built runs programs here.
        test_build: TestBuild,
    }
}

section! {
    /// Statuses of builds beside commits on a forge.
    WrittenStatuses {
        /// Whether the forge is told how builds stand.
        builds: bool,
        /// The most packages of one run that get a status each; of more there is one for all.
        #[schemars(range(max = 1000), example = 20)]
        per_commit: usize,
    }
}
