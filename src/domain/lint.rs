//! What `check` finds beyond single files: contradictions between a package's files, and between
//! packages.

use std::collections::BTreeSet;

use super::desired::{Package, Snapshot};
use super::finding::{Finding, nearest};
use super::folder::Folder;
use super::graph::Graph;
use super::name::PkgBase;
use super::policy::{PackageSettings, SourceKind};

/// Contradictions inside one package folder.
#[must_use]
pub fn package(package: &Package, files: &Folder) -> Vec<Finding> {
    let mut findings = Vec::new();
    let Some(srcinfo) = &package.srcinfo else { return findings };
    let path = format!("{}/.SRCINFO", package.pkgbase);
    let remedy = "regenerate it with `makepkg --printsrcinfo > .SRCINFO`";
    if srcinfo.pkgbase != package.pkgbase {
        let message = format!("it says pkgbase `{}`, the folder says `{}`", srcinfo.pkgbase, package.pkgbase);
        findings.push(
            Finding::warning("pkgbase-differs", message)
                .at(&path, None)
                .hint("rename the folder, unless .CI files change the name"),
        );
    }
    let recipe = files.get("PKGBUILD").map(String::from_utf8_lossy).unwrap_or_default();
    let (epoch, pkgver, pkgrel) = srcinfo.version.parts();
    for (key, said) in [("pkgver", Some(pkgver)), ("pkgrel", pkgrel), ("epoch", (epoch != "0").then_some(epoch))] {
        if let (Some((line, literal)), Some(said)) = (literal_assignment(&recipe, key), said)
            && literal != said
        {
            let message = format!("{key} is {literal} in the PKGBUILD (line {line}) and {said} here");
            findings.push(Finding::warning("srcinfo-stale", message).at(&path, None).hint(remedy));
        }
    }
    for source in srcinfo.sources.iter().map(|source| source.written.as_str()) {
        let local = !source.contains("://") && !source.contains("::") && !source.contains('$');
        if local && !files.files.contains_key(source) {
            let message = format!("source `{source}` is not in the folder");
            findings.push(
                Finding::error("source-missing", message).at(&path, None).hint("add the file, or regenerate .SRCINFO"),
            );
        }
    }
    findings.into_iter().map(|finding| finding.with_package(&package.pkgbase)).collect()
}

/// What contradicts `CI_NVCHECKER`: no file that says how the newest version is found, or another source.
#[must_use]
pub fn version_file(pkgbase: &PkgBase, settings: &PackageSettings, file: Option<&str>) -> Vec<Finding> {
    let place = |finding: Finding| finding.at(format!("{pkgbase}/.CI/config"), None);
    let mut findings = Vec::new();
    if settings.nvchecker && file.is_none() {
        let message = "CI_NVCHECKER is set, and there is no file that says how the newest version is found";
        let hint = "add nvchecker.toml or .nvchecker.toml, or remove CI_NVCHECKER";
        findings.push(place(Finding::error("nvchecker-missing", message)).hint(hint));
    }
    if settings.nvchecker && !matches!(settings.source, SourceKind::Custom | SourceKind::Unset) {
        let source = settings.source.name();
        let message = format!("CI_NVCHECKER takes the place of the source {source}, whose files are not looked at");
        let hint = "set CI_PKGBUILD_SOURCE=custom, or remove CI_NVCHECKER";
        findings.push(place(Finding::warning("nvchecker-and-source", message)).hint(hint));
    }
    findings
}

/// The last top-level assignment of a plain literal to a variable, with its line: anything that bash
/// would have to expand is not one.
fn literal_assignment<'a>(recipe: &'a str, key: &str) -> Option<(usize, &'a str)> {
    let assignment = |(line, text): (usize, &'a str)| {
        let value = text.strip_prefix(key)?.strip_prefix('=')?;
        let value = value.split([' ', '\t', '#']).next()?.trim_matches(['"', '\'']);
        let plain = !value.is_empty() && !value.contains(['$', '`', '(', '\\', '{', '\'', '"']);
        Some((line, plain.then_some(value)))
    };
    (1..).zip(recipe.lines()).filter_map(assignment).last().and_then(|(line, value)| Some((line, value?)))
}

/// Contradictions between packages.
#[must_use]
pub fn repository(snapshot: &Snapshot, graph: &Graph, known_elsewhere: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = graph.cycles().iter().map(|cycle| cycle_finding(cycle)).collect();
    if !known_elsewhere.is_empty() {
        findings.extend(dangling_triggers(snapshot, known_elsewhere));
    }
    findings
}

fn cycle_finding(cycle: &[super::name::PkgBase]) -> Finding {
    let names: Vec<&str> = cycle.iter().map(super::name::PkgBase::as_str).collect();
    let message = format!("these packages need each other: {}", names.join(", "));
    Finding::warning("cycle", message).hint(
        "they are built in a fixed order; name packages of other repositories with --official if a `provides` misleads",
    )
}

/// Names in `CI_REBUILD_TRIGGERS` that no repository has.
fn dangling_triggers(snapshot: &Snapshot, known_elsewhere: &BTreeSet<String>) -> Vec<Finding> {
    let members =
        snapshot.packages.values().filter_map(|package| package.srcinfo.as_ref()).flat_map(|srcinfo| &srcinfo.members);
    let mut known: BTreeSet<&str> = known_elsewhere.iter().map(String::as_str).collect();
    known.extend(snapshot.packages.keys().map(super::name::PkgBase::as_str));
    known.extend(members.map(|member| member.name.as_str()));
    let dangling = snapshot.packages.values().flat_map(|package| {
        let unknown = package.settings.rebuild_triggers.iter().filter(|name| !known.contains(name.as_str()));
        unknown.map(|name| {
            let near = nearest(name, known.iter().copied());
            let hint = near.map_or_else(
                || "name the package that it is split from, or remove it".to_owned(),
                |near| format!("name the package that it is split from, remove it, or did you mean `{near}`?"),
            );
            let message = format!("CI_REBUILD_TRIGGERS names `{name}`, which is the pkgbase of nothing that is known");
            Finding::warning("trigger-dangling", message)
                .with_package(&package.pkgbase)
                .at(format!("{}/.CI/config", package.pkgbase), None)
                .hint(hint)
        })
    });
    dangling.collect()
}

/// The package names in the text of `.version-state`: what the repositories that are built against have.
#[must_use]
pub fn known_elsewhere(version_state: Option<&str>) -> BTreeSet<String> {
    let names = version_state.unwrap_or_default().lines().filter_map(|line| line.split_once(':'));
    names.map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_literal_at_the_top_level_is_compared() {
        assert_eq!(literal_assignment("pkgver=1.0 # c\n", "pkgver"), Some((1, "1.0")));
        assert_eq!(literal_assignment("pkgver='1.0'\npkgver=1.1\n", "pkgver"), Some((2, "1.1")));
        assert_eq!(literal_assignment("pkgver=1.0\npkgver=${_v}\n", "pkgver"), None);
        assert_eq!(literal_assignment("  pkgver=1.0\n", "pkgver"), None);
    }

    #[test]
    fn names_of_the_version_state_are_read_up_to_the_first_colon() {
        let known = known_elsewhere(Some("bash:5.2-1\nzlib:1:1.3-1\n"));
        assert_eq!(known.into_iter().collect::<Vec<_>>(), ["bash", "zlib"]);
    }
}
