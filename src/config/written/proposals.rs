//! `[policy.proposals]` and `[policy.statuses]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Layer;
use crate::domain::review::policy::TestBuild;

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
