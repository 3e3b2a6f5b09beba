//! How packages stand, for people who ask below a review, and for the dashboard.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Result;

use crate::controller::pages::last_decision;
use crate::controller::run::Runner;
use crate::controller::site::Look;
use crate::domain::lint;
use crate::domain::name::PkgBase;
use crate::domain::quarantine::{held, sentence as because};
use crate::domain::review::markdown::{code, link, sentence};
use crate::domain::state::PackageState;

/// So many packages are explained at once.
const MOST: usize = 10;

impl Runner {
    /// How packages stand, as Markdown in which nothing of others acts.
    pub(super) async fn explain(&self, packages: &[PkgBase]) -> Result<String> {
        let look = self.site.look().await?;
        let held = self.held_in(&look);
        let mut text = "this is how it stands".to_owned();
        for pkgbase in packages.iter().take(MOST) {
            let lines = self.lines(&look, pkgbase, held.get(pkgbase)).await?;
            let _ = write!(text, "\n- {}", code(pkgbase.as_str()));
            for line in lines {
                let _ = write!(text, "\n  - {line}");
            }
        }
        if packages.len() > MOST {
            let _ = write!(text, "\n- … and {} more: ask again for these", packages.len() - MOST);
        }
        Ok(text)
    }

    async fn lines(&self, look: &Look, pkgbase: &PkgBase, held: Option<&String>) -> Result<Vec<String>> {
        let (snapshot, name) = (&look.snapshot, &self.site.name);
        let Some(package) = snapshot.packages.get(pkgbase) else {
            return Ok(vec!["there is no such package here".to_owned()]);
        };
        let mut lines = Vec::new();
        let version =
            package.srcinfo.as_ref().map(|srcinfo| format!("it is at {}, ", code(&srcinfo.version.to_string())));
        let source = code(&package.settings.source.to_string());
        lines.push(format!("{}its source is {source}", version.unwrap_or_default()));
        lines.extend(held.map(|why| sentence(why)));
        let none = PackageState::default();
        let state = snapshot.states.get(pkgbase).unwrap_or(&none);
        if let Some(head) = snapshot.refs.reviews.get(pkgbase).filter(|_| snapshot.waits_for_a_person(pkgbase)) {
            let weight = state.proposed_weight().map(|weight| format!(", weighed as {}", sentence(weight)));
            let by: Vec<_> = state.approvals(*head).iter().map(|person| code(person.as_str())).collect();
            let by = if by.is_empty() { String::new() } else { format!(", approved by {}", by.join(", ")) };
            lines.push(format!("an update waits at `{}`{}{by}", head.short(), weight.unwrap_or_default()));
        }
        if let Some(decision) = last_decision(&self.store, name, pkgbase).await? {
            let why = decision["why"].as_str().unwrap_or_default();
            lines.push(format!("the last run that looked at it: {}", sentence(why)));
        }
        if let Some(build) = self.store.last_builds(name, pkgbase, 1).await?.pop() {
            let message = build.message.as_ref().map(|message| format!(": {}", sentence(message))).unwrap_or_default();
            let place = self.page(&format!("builds/{}", build.id)).map(|page| format!(" {}", link(&page)));
            let state = build.state.as_str().replace('_', " ");
            lines.push(format!("its last build: {state}{message}{}", place.unwrap_or_default()));
        }
        lines.extend(package.findings.iter().take(5).map(|finding| format!("wrong: {}", sentence(&finding.message))));
        Ok(lines)
    }

    /// Why packages are held.
    pub(super) async fn held(&self) -> Result<BTreeMap<PkgBase, String>> {
        Ok(self.held_in(&self.site.look().await?))
    }

    pub(super) fn held_in(&self, look: &Look) -> BTreeMap<PkgBase, String> {
        let snapshot = &look.snapshot;
        let official = lint::known_elsewhere(snapshot.version_state.as_deref());
        let why = |(pkgbase, by): (PkgBase, PkgBase)| {
            let quarantine = snapshot.states.get(&by).and_then(PackageState::quarantine);
            let why = because(&pkgbase, &by, quarantine.as_ref());
            (pkgbase, why)
        };
        held(snapshot, snapshot.states.iter(), &self.site.arch, &official).into_iter().map(why).collect()
    }
}
