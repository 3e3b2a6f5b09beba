//! `[policy.reviews]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Layer;
use crate::config::value::{Hours, Period, Zone};

section! {
    /// Reviews on a forge.
    WrittenReviews {
        /// Labels that every review gets.
        #[schemars(example = ["update"])]
        labels: Vec<String>,
        /// A label more for those that cannot be merged as they are.
        #[schemars(example = &"conflict")]
        conflict_label: String,
        /// Who is asked to care for every review, beside `CI_HUMAN_REVIEW_ASSIGNEE` of the monorepo.
        #[schemars(example = ["mira"])]
        assignees: Vec<String>,
        /// Who is asked to look at every review.
        #[schemars(example = ["mira"])]
        reviewers: Vec<String>,
        /// How many reviews one run opens or changes at most; the heaviest come first.
        #[schemars(range(min = 1, max = 10000), example = 30)]
        per_run: usize,
        /// How many reviews are opened within an hour at most.
        #[schemars(range(min = 1, max = 10000), example = 60)]
        per_hour: usize,
        /// How many reviews are open at once at most.
        #[schemars(range(min = 1, max = 10000), example = 100)]
        at_once: usize,
        /// Hours of the day in which no review is opened or changed. Reviews are closed at any time.
        #[schemars(example = &"22:00-07:00")]
        quiet_hours: Hours,
        /// The time zone of `quiet_hours`, by its IANA name.
        #[schemars(example = &"Europe/Berlin")]
        timezone: Zone,
        /// Whether approvals on the forge count, of people who may push there.
        approvals: bool,
        /// How long an update waits before it goes in although nobody approved it. It counts as one approval, and only
        /// if no reason weighs more than `review`. Without it: updates wait for ever.
        #[schemars(example = &"48h")]
        automerge_after: Period,
    }
}
