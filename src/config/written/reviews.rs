//! `[policy.reviews]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Layer;
use crate::config::value::{Hours, Period, Zone};
use crate::domain::review::group::{Group, GroupName, NamePattern};

/// Packages whose updates are decided about together.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(in crate::config) struct WrittenGroup {
    /// Its name: up to 64 of `a-z`, `0-9` and `-`.
    #[schemars(example = &"plasma")]
    pub name: String,
    /// Names of packages; `*` stands for any text.
    #[schemars(example = ["plasma-*"])]
    pub packages: Vec<String>,
}

impl WrittenGroup {
    /// The group; or the key that is wrong, and why.
    pub fn read(&self) -> Result<Group, (&'static str, String)> {
        let name = GroupName::new(&self.name).map_err(|why| ("name", why))?;
        let packages = self.packages.iter().map(|text| NamePattern::new(text)).collect::<Result<_, _>>();
        Ok(Group { name, packages: packages.map_err(|why| ("packages", why))? })
    }
}

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
        /// Packages whose updates are decided about together: one branch, one review. Of several groups that have a
        /// package, the first counts.
        #[schemars(example = [serde_json::json!({"name": "plasma", "packages": ["plasma-*", "kwin"]})])]
        groups: Vec<WrittenGroup>,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::settings::load;
    use crate::domain::name::PkgBase;
    use crate::domain::review::group::{GroupName, group_of};

    #[test]
    fn a_group_has_a_name_and_packages_and_what_is_wrong_is_shown_at_its_place() {
        let group = |name: &str, packages: &str| {
            let text = format!("[[policy.reviews.groups]]\nname = \"{name}\"\npackages = {packages}\n");
            load(Some(("pkgwarden.toml", &text)), &BTreeMap::new()).map_err(|error| error.to_string())
        };
        let settings = group("plasma", "[\"plasma-*\"]").expect("right");
        let groups = settings.repositories[0].policy.reviews.groups.clone();
        let pkgbase = PkgBase::new("plasma-desktop").expect("legal");
        assert_eq!(group_of(&groups, &pkgbase).map(GroupName::branch).as_deref(), Some("updates-plasma"));
        for (name, packages, place, what) in [
            ("Plasma 6", "[\"x\"]", ":2:8:", "`Plasma 6` is no name of a group"),
            ("plasma", "[\"a b\"]", ":3:12:", "`a b` fits to no package"),
        ] {
            let error = group(name, packages).expect_err("wrong");
            assert!(error.contains(place) && error.contains(what), "{error}");
        }
    }
}
