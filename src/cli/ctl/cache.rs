//! `ctl cache`: what builds keep for the next one of their package.

use std::fmt::Write as _;

use comfy_table::{Cell, CellAlignment};
use serde_json::{Value, json};

use super::client::address;
use super::show::text;
use super::{CliError, Exit, Session};
use crate::cli::output::{lines, number_of, table};
use crate::domain::cache::SetName;
use crate::domain::name::PkgBase;
use crate::domain::words::size;

impl Session<'_> {
    pub(super) async fn caches(&mut self, package: Option<PkgBase>) -> Result<Exit, CliError> {
        let mut all = self.client.get("/api/v1/caches").await?;
        if let (Some(package), Some(caches)) = (package, all.as_array_mut()) {
            caches.retain(|cache| cache["pkgbase"] == package.as_str());
        }
        self.print(&all, |_| listed(all.as_array().map(Vec::as_slice).unwrap_or_default()))?;
        Ok(Exit::Done)
    }

    pub(super) async fn cache(&mut self, key: &str) -> Result<Exit, CliError> {
        let cache = self.client.get(&address(&["caches", key])).await?;
        self.print(&cache, |_| shown(&cache))?;
        Ok(Exit::Done)
    }

    pub(super) async fn invalidate_caches(
        &mut self,
        name: &SetName,
        package: Option<PkgBase>,
        repository: Option<String>,
    ) -> Result<Exit, CliError> {
        let package = package.as_ref().map(PkgBase::as_str);
        let body = json!({"name": name.as_str(), "repository": repository, "pkgbase": package});
        let removed = self.client.post("/api/v1/caches/invalidate", &body).await?;
        self.print(&removed, |_| format!("No build finds what was saved of `{name}` until now. {}\n", told(&removed)))?;
        Ok(Exit::Done)
    }

    pub(super) async fn prune_caches(&mut self) -> Result<Exit, CliError> {
        let removed = self.client.post("/api/v1/caches/prune", &json!({})).await?;
        self.print(&removed, |_| format!("{}\n", told(&removed)))?;
        Ok(Exit::Done)
    }
}

fn amount(value: &Value, key: &str) -> u64 {
    value[key].as_u64().unwrap_or_default()
}

fn told(removed: &Value) -> String {
    let archives = usize::try_from(amount(removed, "archives")).unwrap_or_default();
    format!(
        "{} removed; {} of the disk are free again.",
        number_of(archives, "archive"),
        size(amount(removed, "bytes"))
    )
}

fn listed(caches: &[Value]) -> String {
    if caches.is_empty() {
        return "Nothing is kept.\n".to_owned();
    }
    let found = |cache: &Value| match cache["condemned"].as_str() {
        Some(_) => "nobody".to_owned(),
        None => text(cache, "class"),
    };
    let mut table = table(&["PACKAGE", "SET", "FOR", "KEY", "SIZE", "SAVED", "LAST USED", "BY"]);
    for cache in caches {
        table.add_row(vec![
            Cell::new(text(cache, "pkgbase")),
            Cell::new(text(cache, "name")),
            Cell::new(found(cache)),
            Cell::new(text(cache, "key").chars().take(12).collect::<String>()),
            Cell::new(size(amount(cache, "size"))).set_alignment(CellAlignment::Right),
            Cell::new(text(cache, "created")),
            Cell::new(text(cache, "last_used")),
            Cell::new(text(cache, "origin")),
        ]);
    }
    caches.iter().filter(|cache| cache["condemned"].is_string()).fold(lines(&table), |mut out, cache| {
        let key: String = text(cache, "key").chars().take(12).collect();
        let _ = writeln!(out, "{key} is found by nobody any more: {}", text(cache, "condemned"));
        out
    })
}

fn shown(cache: &Value) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "{name:<10} {value}");
    };
    line("set", format!("{} of {} / {}", text(cache, "name"), text(cache, "repository"), text(cache, "pkgbase")));
    let class = text(cache, "class");
    let condemned = cache["condemned"].is_string().then(|| text(cache, "condemned"));
    line("found by", condemned.map_or_else(|| class.clone(), |why| format!("nobody any more ({class}): {why}")));
    line("key", text(cache, "key"));
    line("sha256", text(cache, "sha256"));
    line("packed", size(amount(cache, "size")));
    line("holds", format!("{} in {} files", size(amount(cache, "bytes")), amount(cache, "files")));
    let build = cache["build"].as_str().map(|build| format!(" (build {build})")).unwrap_or_default();
    line("saved", format!("{} by {}{build}", text(cache, "created"), text(cache, "origin")));
    line("last used", text(cache, "last_used"));
    out
}

/// What an attempt did with archives, one a line.
pub fn cache_uses(uses: &[Value]) -> String {
    uses.iter().fold(String::new(), |mut out, done| {
        let key: String = text(done, "key").chars().take(12).collect();
        let (action, name, origin) = (text(done, "action"), text(done, "name"), text(done, "origin"));
        let _ = writeln!(out, "  cache {action} {name}: key {key}, {}, from {origin}", size(amount(done, "size")));
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> Value {
        json!({
            "repository": "garden", "pkgbase": "fern", "name": "ccache", "class": "release",
            "key": "0123456789abcdef", "sha256": "ffee", "size": 2048, "bytes": 4096, "files": 3, "origin": "7-1",
            "build": "7", "created": "2026-01-01T00:00:00Z", "last_used": "2026-01-02T00:00:00Z",
            "action": "used", "download": null,
        })
    }

    #[test]
    fn archives_are_shown_for_people() {
        let list = listed(&[cache()]);
        for part in ["fern", "ccache", "release", " 0123456789ab ", "2 KiB", "2026-01-02T00:00:00Z", "7-1"] {
            assert!(list.contains(part), "{part} is not in {list}");
        }
        insta::assert_snapshot!(shown(&cache()), @"
        set        ccache of garden / fern
        found by   release
        key        0123456789abcdef
        sha256     ffee
        packed     2 KiB
        holds      4 KiB in 3 files
        saved      2026-01-01T00:00:00Z by 7-1 (build 7)
        last used  2026-01-02T00:00:00Z
        ");
        assert_eq!(cache_uses(&[cache()]), "  cache used ccache: key 0123456789ab, 2 KiB, from 7-1\n");
        let mut bad = cache();
        bad["condemned"] = json!("it is in quarantine: steals keys");
        let list = listed(&[bad.clone()]);
        assert!(list.contains(" nobody ") && !list.contains("release"), "{list}");
        assert!(
            list.ends_with("0123456789ab is found by nobody any more: it is in quarantine: steals keys\n"),
            "{list}"
        );
        assert!(shown(&bad).contains("found by   nobody any more (release): it is in quarantine: steals keys\n"));
        assert_eq!(listed(&[]), "Nothing is kept.\n");
        assert_eq!(told(&json!({"archives": 1, "bytes": 3})), "1 archive removed; 3 B of the disk are free again.");
    }
}
