//! `[executor.limits]`.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Layer;
use crate::config::value::Name;

section! {
    /// How much of what may be built at once, and whose turn it is.
    WrittenLimits {
        /// Builds at once of each repository. Without it: as many as there is room for.
        #[schemars(example = 4)]
        per_repository: NonZeroUsize,
        /// Builds at once of single repositories, by their names.
        #[schemars(example = serde_json::json!({"packages": 4}))]
        repositories: BTreeMap<Name, NonZeroUsize>,
        /// Builds at once of single classes, by the word that packages ask for.
        #[schemars(example = serde_json::json!({"heavy": 1}))]
        classes: BTreeMap<Name, NonZeroUsize>,
        /// How many turns a repository has for each turn of another. Without it: one.
        #[schemars(example = serde_json::json!({"packages": 3}))]
        weights: BTreeMap<Name, NonZeroUsize>,
    }
}
