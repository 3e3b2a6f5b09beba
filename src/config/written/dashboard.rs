//! `[policy.dashboard]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Layer;

section! {
    /// An issue on the forge that shows how the repository stands.
    WrittenDashboard {
        /// Whether there is one.
        enabled: bool,
        /// Its title.
        #[schemars(length(min = 1, max = 200), example = &"How the packages stand")]
        title: String,
    }
}
