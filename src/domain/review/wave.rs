//! What is built once an update has gone in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::desired::Package;
use crate::domain::graph::Graph;
use crate::domain::name::PkgBase;

/// What is built once updates have gone in, each package after what it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wave {
    /// What is built, and for those that did not change themselves, whose new version has them built again
    /// (`CI_REBUILD_TRIGGERS`).
    pub built: Vec<(PkgBase, Option<PkgBase>)>,
    /// What needs any of these, and is built again only if a shared library that it needs is gone then.
    pub watched: Vec<PkgBase>,
}

/// What is built once the updates of these packages have gone in. New versions of what is on the `blacklist`
/// (`CI_REBUILD_BLACKLIST`) have nothing built again.
#[must_use]
pub fn after_merging(
    packages: &BTreeMap<PkgBase, Arc<Package>>,
    blacklist: &BTreeSet<String>,
    graph: &Graph,
    merged: &BTreeSet<PkgBase>,
) -> Wave {
    let followers = followers(packages, blacklist);
    let mut causes: BTreeMap<PkgBase, Option<PkgBase>> = merged.iter().map(|it| (it.clone(), None)).collect();
    let (mut built, mut round) = (Vec::new(), merged.clone());
    while !round.is_empty() {
        let ordered = graph.order_of(&round);
        round = BTreeSet::new();
        for moved in &ordered {
            let named = names(packages, moved);
            for &follower in named.iter().filter_map(|name| followers.get(name.as_str())).flatten() {
                if !causes.contains_key(follower) {
                    causes.insert(follower.clone(), Some(moved.clone()));
                    round.insert(follower.clone());
                }
            }
        }
        built.extend(ordered.into_iter().map(|pkgbase| (pkgbase.clone(), causes[&pkgbase].clone())));
    }
    let all: BTreeSet<PkgBase> = causes.into_keys().collect();
    let needing = all.iter().flat_map(|pkgbase| graph.dependants(pkgbase));
    let watched: BTreeSet<PkgBase> = needing.filter(|pkgbase| !all.contains(pkgbase)).collect();
    Wave { built, watched: graph.order_of(&watched) }
}

/// By the names of packages: who is built again when that has a new version.
fn followers<'a>(
    packages: &'a BTreeMap<PkgBase, Arc<Package>>,
    blacklist: &BTreeSet<String>,
) -> BTreeMap<&'a str, Vec<&'a PkgBase>> {
    let mut followers: BTreeMap<&str, Vec<&PkgBase>> = BTreeMap::new();
    for (pkgbase, package) in packages {
        let triggers = package.settings.rebuild_triggers.iter().filter(|name| !blacklist.contains(*name));
        for name in triggers.filter(|name| *name != pkgbase.as_str()) {
            followers.entry(name).or_default().push(pkgbase);
        }
    }
    followers
}

/// What a package yields, and its own name.
fn names(packages: &BTreeMap<PkgBase, Arc<Package>>, pkgbase: &PkgBase) -> BTreeSet<String> {
    let srcinfo = packages.get(pkgbase).and_then(|package| package.srcinfo.as_ref());
    let members = srcinfo.into_iter().flat_map(|srcinfo| &srcinfo.members).map(|member| member.name.to_string());
    members.chain([pkgbase.to_string()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::name::Oid;
    use crate::domain::policy::PackageSettings;
    use crate::domain::srcinfo::Srcinfo;

    fn package(name: &str, needs: &str, triggers: &[&str]) -> Package {
        let text = format!(
            "pkgbase = {name}\n\tpkgver = 1\n\tpkgrel = 1\n\tarch = any\n\tdepends = {needs}\n\npkgname = {name}\n\n\
             pkgname = {name}-data\n"
        );
        let triggers = triggers.iter().map(|name| (*name).to_owned()).collect();
        Package {
            pkgbase: PkgBase::new(name).expect("legal"),
            tree: Oid::from_bytes([0; 20]),
            srcinfo: Srcinfo::parse(text.as_bytes()).ok(),
            settings: PackageSettings { rebuild_triggers: triggers, ..PackageSettings::default() },
            config: Arc::default(),
            interfere: Vec::new(),
            has_pkgbuild: true,
            version_file: None,
            findings: Vec::new(),
        }
    }

    fn told(merged: &[&str], blacklist: &[&str]) -> (Vec<String>, Vec<String>) {
        let packages = [
            package("app", "tool", &["lib-data"]),
            package("lib", "glibc", &[]),
            package("other", "glibc", &["app", "other"]),
            package("shell", "app", &[]),
            package("tool", "lib", &[]),
        ];
        let graph = Graph::build(packages.iter(), &BTreeSet::new());
        let packages = packages.into_iter().map(|it| (it.pkgbase.clone(), Arc::new(it))).collect();
        let merged = merged.iter().map(|name| PkgBase::new(name).expect("legal")).collect();
        let blacklist = blacklist.iter().map(|name| (*name).to_owned()).collect();
        let wave = after_merging(&packages, &blacklist, &graph, &merged);
        let cause = |cause: Option<PkgBase>| cause.map(|it| format!(" for {it}")).unwrap_or_default();
        let built = wave.built.into_iter().map(|(pkgbase, by)| format!("{pkgbase}{}", cause(by)));
        (built.collect(), wave.watched.iter().map(PkgBase::to_string).collect())
    }

    #[test]
    fn what_follows_a_new_version_is_built_after_it_and_the_rest_is_watched() {
        let (built, watched) = told(&["lib"], &[]);
        assert_eq!(built, ["lib", "app for lib", "other for app"]);
        assert_eq!(watched, ["tool", "shell"], "in the order in which they would be built");
    }

    #[test]
    fn what_is_merged_together_is_built_in_order_and_the_blacklist_ends_a_wave() {
        assert_eq!(
            told(&["tool", "lib"], &["lib-data"]),
            (vec!["lib".into(), "tool".into()], vec!["app".into(), "shell".into()])
        );
        assert_eq!(told(&["shell"], &[]), (vec!["shell".into()], Vec::new()));
    }
}
