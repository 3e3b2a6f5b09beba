//! The on-schedule part of a plan: what sources have that the monorepo has not.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::upstreams::asked_again;
use super::{Action, Draft, Edit, Heard, Inputs, NewCommit, PackageDecision};
use crate::domain::build::BuildReason;
use crate::domain::bump;
use crate::domain::campaign::{self, Known, Update};
use crate::domain::classify::{self, Context, Decision, LineRules, Subject, Verdict, Weight};
use crate::domain::desired::Package;
use crate::domain::finding::Finding;
use crate::domain::folder::Folder;
use crate::domain::keepers::{Keepers, Newcomers};
use crate::domain::keyvalue::KeyValues;
use crate::domain::message::{self, Entry, Topic};
use crate::domain::name::{Oid, PkgBase};
use crate::domain::observed::Observation;
use crate::domain::policy::Bump;
use crate::domain::srcinfo::Srcinfo;
use crate::domain::standing;
use crate::domain::state::{Cursor, PackageState};
use crate::domain::target::Target;

impl Draft<'_> {
    /// Decides about every package whose source was asked.
    pub(super) fn take_updates(&mut self) {
        let observations = self.inputs.observations;
        let of_policy = self.inputs.snapshot.findings.iter().filter(|finding| finding.code == "policy");
        self.problems.extend(of_policy.cloned());
        self.find_campaigns();
        self.tell_handovers();
        for (pkgbase, observation) in &observations.files {
            match observation {
                Observation::Current { cursor } => self.confirm(pkgbase, cursor.as_ref()),
                // The cursor stays, so that it is found again when the package is back in service.
                Observation::Changed { .. } if self.held.contains_key(pkgbase) => {
                    let why = self.held_because(pkgbase).unwrap_or_default();
                    self.decide(pkgbase, Heard::Changed, Action::Skip, &format!("its update is not taken: {why}"));
                }
                Observation::Changed { cursor, incoming, present } => self.change(pkgbase, cursor, incoming, present),
                Observation::Unknown { error, retry_at } => {
                    let finding = Finding::warning("source-unknown", error.clone()).with_package(pkgbase);
                    self.problems.push(finding.hint(asked_again(*retry_at)));
                    self.decide(pkgbase, Heard::Unknown, Action::None, error);
                }
                Observation::Gone => {
                    let message = "its source has no such package any more";
                    let hint = "remove the folder, or set CI_PKGBUILD_SOURCE=custom to keep it";
                    self.problems.push(Finding::warning("source-gone", message).with_package(pkgbase).hint(hint));
                    self.decide(pkgbase, Heard::Changed, Action::Skip, message);
                }
            }
        }
    }

    fn confirm(&mut self, pkgbase: &PkgBase, cursor: Option<&Cursor>) {
        let before = self.state(pkgbase);
        let mut after = before.clone();
        if let Some(cursor) = cursor {
            after.set_cursor(cursor);
        }
        self.remember_keepers(pkgbase, &mut after);
        let action = if after == before { Action::None } else { Action::State };
        self.put_state(pkgbase, after);
        self.decide_unless_decided(pkgbase, action, "its source has nothing new");
    }

    fn change(&mut self, pkgbase: &PkgBase, cursor: &Cursor, incoming: &Folder, present: &Folder) {
        let proposed = present.updated_to(incoming);
        let committed = present.updated_to(&self.as_committed(pkgbase, incoming));
        let (before, after) = (present.from_source(), committed.from_source());
        let first_sight = self.state(pkgbase).cursor().is_none();
        let content = after.digest();
        let mut state = self.state(pkgbase);
        state.set_cursor(cursor);
        if before == after || (first_sight && only_formatted(&before, &after)) {
            state.set_proposed(None);
            state.set_newer(None);
            state.set_first_seen(None);
            self.remember_keepers(pkgbase, &mut state);
            self.put_state(pkgbase, state);
            self.decide_unless_decided(pkgbase, Action::State, "its source has the same files");
            return;
        }
        let verdict = self.judge(pkgbase, &state, present, &proposed);
        if state.rejected() == Some(content.as_str()) {
            self.put_state(pkgbase, state);
            self.decide_update(pkgbase, Action::Skip, verdict, "a person has rejected exactly this update");
            return;
        }
        state.set_rejected(None);
        let wants_review = self.inputs.policy.wants_review(&self.inputs.snapshot.settings);
        // Who wants no reviews trusts maintainers, and not whoever has got into their place.
        let alarming = verdict.severity == Weight::Hostile || self.campaigns.contains_key(pkgbase);
        let to_be_read = wants_review && self.is_read_anyway(pkgbase);
        if (verdict.verdict == Decision::Minor && !to_be_read) || (!wants_review && !alarming) {
            self.take_by_itself(pkgbase, state, verdict, committed, &content);
        } else {
            self.put_before_people(pkgbase, state, verdict, committed, &content);
        }
    }

    /// Commits an update that nobody has to read, when it has waited as long as it has to.
    fn take_by_itself(
        &mut self,
        pkgbase: &PkgBase,
        mut state: PackageState,
        verdict: Verdict,
        folder: Folder,
        content: &str,
    ) {
        if let Some(why) = self.has_to_wait(pkgbase, content) {
            self.decide_update(pkgbase, Action::Skip, verdict, &why);
            return;
        }
        state.set_first_seen(None);
        state.set_proposed(None);
        state.set_newer(None);
        if let Some(keepers) = self.keepers_to_remember(pkgbase) {
            state.set_keepers(Some(&keepers));
        }
        self.put_state(pkgbase, state);
        self.commit_update(pkgbase, verdict, folder);
    }

    /// Proposes an update, unless people work on the branch that it would go to.
    fn put_before_people(
        &mut self,
        pkgbase: &PkgBase,
        mut state: PackageState,
        verdict: Verdict,
        folder: Folder,
        content: &str,
    ) {
        let waits = self.inputs.observations.waiting.get(pkgbase).is_some_and(|waiting| waiting == content);
        let people = self.people_on(pkgbase);
        if !waits && !people.is_empty() {
            self.wait_behind(pkgbase, &people, verdict);
            return;
        }
        state.set_first_seen(None);
        state.set_newer(None);
        state.set_proposed(Some(content));
        state.set_proposed_weight(Some(verdict.severity));
        state.set_proposed_keepers(self.keepers_to_remember(pkgbase).as_ref());
        self.put_state(pkgbase, state);
        self.propose(pkgbase, verdict, folder, content);
    }

    /// Whether a person reads an update whatever the gate says: one to a version that nvchecker found.
    pub(super) fn is_read_anyway(&self, pkgbase: &PkgBase) -> bool {
        let package = self.inputs.snapshot.packages.get(pkgbase);
        self.inputs.snapshot.settings.nvchecker_review && package.is_some_and(|package| package.settings.nvchecker)
    }

    /// Why an update that needs no person does not go in yet. Its age counts from when exactly this content was
    /// first seen here: what the source says of it may be of an earlier one. The cursor stays, so that the next
    /// run is told of it again.
    fn has_to_wait(&mut self, pkgbase: &PkgBase, content: &str) -> Option<String> {
        let (gate, now) = (&self.inputs.snapshot.gate, self.inputs.now);
        if gate.incomplete {
            return Some("it waits until .ci/policy.toml can be read".to_owned());
        }
        let age = gate.minimum_age(pkgbase.as_str(), now)?;
        let mut state = self.state(pkgbase);
        let since = state.first_seen(content).unwrap_or(now);
        let until = since.checked_add(age.0).unwrap_or(Timestamp::MAX);
        if until <= now {
            return None;
        }
        state.set_first_seen(Some((content, since)));
        self.put_state(pkgbase, state);
        Some(format!("it waits until {until}: updates have to be {age} old"))
    }

    /// What the gate says under the policy of the monorepo, weighed by who may push to the package.
    pub(super) fn judge(
        &self,
        pkgbase: &PkgBase,
        state: &PackageState,
        present: &Folder,
        proposed: &Folder,
    ) -> Verdict {
        let Inputs { snapshot, observations, now, .. } = *self.inputs;
        let keepers = self.keepers_of(pkgbase, state);
        let context = Context {
            trusted: keepers.is_some_and(|keepers| {
                keepers.trusted_since(state.keepers().as_ref(), &snapshot.settings.trusted_maintainers)
            }),
            newcomers: self.newcomers(pkgbase, state),
        };
        let none = LineRules::default();
        let line_rules = snapshot.packages.get(pkgbase).map_or(&none, |package| &package.settings.line_rules);
        let subject = Subject { package: pkgbase.as_str(), old: present, new: proposed, line_rules, now };
        let judged = classify::judge(classify::classify(present, proposed), subject, &snapshot.gate, &context);
        let Verdict { mut reasons, old_version, new_version, .. } = judged.verdict;
        reasons.extend(self.campaigns.get(pkgbase).into_iter().flatten().cloned());
        if reasons.iter().any(|reason| reason.severity > Weight::Stronger) {
            reasons.extend(standing::reasons(pkgbase, observations, now));
        }
        Verdict::from_reasons(reasons, old_version, new_version)
    }

    /// Who may push to a package: as it was heard in this run, else when what waits in a review was seen.
    fn keepers_of(&self, pkgbase: &PkgBase, state: &PackageState) -> Option<Keepers> {
        let heard = self.inputs.observations.keepers.get(pkgbase).cloned();
        heard.or_else(|| state.proposed_keepers())
    }

    /// What is heard of who may push, as it is remembered: who made the files only where it decides about trust.
    pub(super) fn keepers_to_remember(&self, pkgbase: &PkgBase) -> Option<Keepers> {
        let keepers = self.inputs.observations.keepers.get(pkgbase)?.clone();
        let counts = keepers.all_trusted(&self.inputs.snapshot.settings.trusted_maintainers);
        Some(if counts { keepers } else { keepers.without_packager() })
    }

    fn newcomers(&self, pkgbase: &PkgBase, state: &PackageState) -> Option<Newcomers> {
        let keepers = self.keepers_of(pkgbase, state);
        keepers.zip(state.keepers()).and_then(|(now, before)| now.newcomers_since(&before))
    }

    /// Looks at all updates together, before any of them is decided about.
    fn find_campaigns(&mut self) {
        let Inputs { snapshot, observations, official, .. } = *self.inputs;
        let update = |(pkgbase, observation): (&'_ PkgBase, &'_ Observation)| {
            let newcomers = self.newcomers(pkgbase, &self.state(pkgbase)).map(|it| it.names).unwrap_or_default();
            let changed = matches!(observation, Observation::Changed { .. });
            (changed || !newcomers.is_empty()).then_some((pkgbase.clone(), newcomers))
        };
        let updates: Vec<(PkgBase, BTreeSet<String>)> = observations.files.iter().filter_map(update).collect();
        if updates.len() < campaign::PACKAGES {
            return;
        }
        let updates: Vec<Update<'_>> = updates
            .iter()
            .map(|(pkgbase, newcomers)| {
                let folders = match &observations.files[pkgbase] {
                    Observation::Changed { incoming, present, .. } => Some((present, incoming)),
                    _ => None,
                };
                Update { pkgbase, folders, newcomers: newcomers.clone() }
            })
            .collect();
        for found in campaign::detect(&updates, &Known::of(snapshot, official)) {
            self.problems.push(found.finding());
            for pkgbase in &found.packages {
                self.campaigns.entry(pkgbase.clone()).or_default().push(found.reason(pkgbase));
            }
        }
    }

    /// Whom a package was first seen with. From then on, only a merge makes newcomers known.
    fn remember_keepers(&self, pkgbase: &PkgBase, state: &mut PackageState) {
        if state.keepers().is_none() {
            state.set_keepers(self.keepers_to_remember(pkgbase).as_ref());
        }
    }

    fn commit_update(&mut self, pkgbase: &PkgBase, verdict: Verdict, folder: Folder) {
        let why = movement(&verdict);
        self.entries.push((Topic::Update, Entry { pkgbase: pkgbase.clone(), reason: why.clone() }));
        self.edits.push(Edit::Folder(pkgbase.clone(), folder));
        self.hand_back(pkgbase);
        self.want_unless_triggered(pkgbase, BuildReason::Changed);
        self.decide_update(pkgbase, Action::Commit, verdict, &why);
    }

    /// Updates of a package with a trigger are committed at once and built when the trigger fires.
    pub(super) fn want_unless_triggered(&mut self, pkgbase: &PkgBase, reason: BuildReason) {
        let package = self.inputs.snapshot.packages.get(pkgbase);
        if package.is_some_and(|package| package.settings.trigger.is_none()) {
            self.want(pkgbase, reason, None);
        }
    }

    /// Raises the bump of packages and builds them.
    pub(super) fn bump(&mut self, targets: &[Target], reason: BuildReason) {
        for (pkgbase, class, _) in self.named(targets) {
            let package = &self.inputs.snapshot.packages[&pkgbase];
            let Some(version) = package.version() else {
                let message = "it cannot be bumped: its .SRCINFO gives no version";
                self.problems.push(
                    Finding::error("bump-impossible", message)
                        .with_package(&pkgbase)
                        .hint("regenerate it with makepkg --printsrcinfo"),
                );
                continue;
            };
            if !self.want(&pkgbase, reason, class) {
                self.decide_wanted(&pkgbase, false, "it was to be bumped");
                continue;
            }
            let bump = self.next_bump(package, version);
            let why = format!("bumped to {}", bump::effective_version(&bump.version, Some(&bump)));
            self.edits.push(config_edit(package, &bump));
            self.entries.push((Topic::Bump, Entry { pkgbase: pkgbase.clone(), reason: why.clone() }));
            self.decide(&pkgbase, Heard::Current, Action::Commit, &why);
        }
    }

    pub(super) fn decide_unless_decided(&mut self, pkgbase: &PkgBase, action: Action, why: &str) {
        if !self.packages.contains_key(pkgbase) {
            self.decide(pkgbase, Heard::Current, action, why);
        }
    }

    pub(super) fn decide_update(&mut self, pkgbase: &PkgBase, action: Action, verdict: Verdict, why: &str) {
        let decision = PackageDecision {
            pkgbase: pkgbase.clone(),
            observation: Heard::Changed,
            action,
            verdict: Some(verdict.verdict),
            reasons: verdict.reasons,
            trees: None,
            from_version: verdict.old_version,
            to_version: verdict.new_version,
            why: why.to_owned(),
        };
        self.packages.insert(pkgbase.clone(), decision);
    }

    /// The commit that all edits make together. With `CI_OVERWRITE_COMMITS` it takes the place of the
    /// tip, if the tip is an automated commit that has been handed out.
    pub(super) fn new_commit(&mut self) -> Option<NewCommit> {
        if self.edits.is_empty() {
            return None;
        }
        let tip = self.inputs.snapshot.main.map(|tip| tip.commit);
        let topic = self.entries.first().map_or(Topic::Update, |(topic, _)| *topic);
        let mut entries: Vec<Entry> = self.entries.iter().map(|(_, entry)| entry.clone()).collect();
        let overwritten = self.overwritable(topic);
        let parents = match overwritten {
            Some((parents, earlier)) => {
                let renewed = |entry: &Entry| entries.iter().any(|new| new.pkgbase == entry.pkgbase);
                let kept: Vec<Entry> = earlier.into_iter().filter(|entry| !renewed(entry)).collect();
                entries.extend(kept);
                parents
            }
            None => tip.into_iter().collect(),
        };
        entries.sort_by(|a, b| a.pkgbase.cmp(&b.pkgbase));
        Some(NewCommit { edits: std::mem::take(&mut self.edits), message: message::commit(topic, &entries), parents })
    }

    fn overwritable(&self, topic: Topic) -> Option<(Vec<Oid>, Vec<Entry>)> {
        let snapshot = self.inputs.snapshot;
        let head = self.inputs.since.head.as_ref()?;
        let handed_out = snapshot.refs.scheduled == Some(head.id);
        let ours = head.author == snapshot.settings.identity.to_string() && head.parents.len() == 1;
        // What a person did stays a commit of its own.
        let automatic = matches!(topic, Topic::Update | Topic::Bump);
        if !(snapshot.settings.overwrite_commits && automatic && handed_out && ours) {
            return None;
        }
        message::entries_of(topic, &head.message).map(|entries| (head.parents.clone(), entries))
    }
}

/// Whether the first look at a source finds what the monorepo has, only formatted: the same
/// `.SRCINFO` and, without any white space, the same files. Chaotic's scripts run every incoming
/// PKGBUILD through a formatter, so a repository that moves to us differs from its sources in that.
fn only_formatted(present: &Folder, incoming: &Folder) -> bool {
    let facts = |folder: &Folder| folder.get(".SRCINFO").and_then(|bytes| Srcinfo::parse(bytes).ok());
    let dense = |bytes: &[u8]| {
        bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'\\').collect::<Vec<_>>()
    };
    let same_paths = present.files.keys().eq(incoming.files.keys());
    let same_files = || {
        present.files.iter().zip(incoming.files.values()).all(|((path, old), new)| {
            old == new
                || path == ".SRCINFO"
                || (path == "PKGBUILD" && old.mode == new.mode && dense(&old.bytes) == dense(&new.bytes))
        })
    };
    same_paths && facts(present) == facts(incoming) && same_files()
}

/// `1.0-1 -> 1.1-1`, or what else happened, and the rules by which it may.
pub(super) fn movement(verdict: &Verdict) -> String {
    let rules: BTreeSet<&str> = verdict.reasons.iter().filter_map(|reason| reason.rule.as_deref()).collect();
    rules.into_iter().fold(moved(verdict), |text, rule| format!("{text} ({rule})"))
}

fn moved(verdict: &Verdict) -> String {
    match (&verdict.old_version, &verdict.new_version) {
        (Some(old), Some(new)) if old.as_str() != new.as_str() => format!("{old} -> {new}"),
        (_, Some(new)) => format!("files changed at {new}"),
        (Some(old), None) => format!("files changed at {old}"),
        (None, None) => "files changed".to_owned(),
    }
}

fn config_edit(package: &Package, bump: &Bump) -> Edit {
    Edit::File(config_path(&package.pkgbase), bumped_config(&package.config, bump).into_bytes())
}

/// Where the settings of a package stand.
pub(super) fn config_path(pkgbase: &PkgBase) -> String {
    format!("{pkgbase}/.CI/config")
}

/// The text of `.CI/config` with a bump.
pub(super) fn bumped_config(config: &str, bump: &Bump) -> String {
    let mut config = KeyValues::parse(config);
    config.set("CI_PACKAGE_BUMP", &bump.to_text());
    config.to_text()
}
