//! The commands that stay: logs that are followed, builds that are waited for.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::client::{CtlError, address};
use super::show::{list, text};
use super::{Ending, Session};
use crate::domain::build::BuildState;
use crate::web::log::{LogDecoder, Piece};
use crate::web::text::{path_part, visible};

/// How often builds are looked at that are waited for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Session<'_> {
    pub(super) async fn logs(&mut self, of: &str, follow: bool) -> anyhow::Result<Ending> {
        let id = self.find_build(of).await?;
        self.copy_log(&id, follow).await?;
        Ok(Ending::Done)
    }

    /// Copies a log: for people with everything shown that a terminal would act upon, colours kept.
    async fn copy_log(&mut self, id: &str, follow: bool) -> anyhow::Result<()> {
        let path = format!("{}{}", address(&["builds", id, "log"]), if follow { "?follow=1" } else { "" });
        let mut bytes = self.client.stream(&path).await?;
        let mut decoder = LogDecoder::default();
        while let Some(chunk) = bytes.next().await? {
            self.out.write_all(printable(&decoder.push(&chunk), self.around.colour).as_bytes())?;
            self.out.flush()?;
        }
        self.out.write_all(printable(&decoder.finish(), self.around.colour).as_bytes())?;
        self.out.flush()?;
        Ok(())
    }

    pub(super) async fn deploy(&mut self, packages: Vec<String>, wait: bool, follow: bool) -> anyhow::Result<Ending> {
        let (run, ending) = self.start("/api/v1/deploy", &json!({ "packages": packages })).await?;
        if !wait {
            return Ok(ending);
        }
        let wanted: BTreeSet<String> = list(&run["document"], "builds")
            .iter()
            .filter_map(|build| build["pkgbase"].as_str())
            .map(str::to_owned)
            .collect();
        let mut builds = Vec::new();
        for pkgbase in wanted {
            builds.extend(self.wait_for(&run, &pkgbase, follow).await?);
        }
        let failed = builds.iter().any(|build| !is_good(build));
        let all = Value::from(builds);
        self.print(&all, |look| look.builds(all.as_array().map(Vec::as_slice).unwrap_or_default()))?;
        Ok(if failed { Ending::BuildsFailed } else { ending })
    }

    /// Waits until the build of a package has ended, or is blocked and would wait for a person.
    async fn wait_for(&mut self, run: &Value, pkgbase: &str, follow: bool) -> anyhow::Result<Option<Value>> {
        let Some(id) = self.build_of(run, pkgbase).await? else { return Ok(None) };
        let mut printed = false;
        loop {
            let build = self.client.get(&address(&["builds", &id])).await?;
            if follow && !printed && build["attempt"].is_string() {
                printed = true;
                if !self.around.json {
                    writeln!(self.out, "\n{pkgbase}")?;
                    self.copy_log(&id, true).await?;
                }
                continue;
            }
            if stands_still(&build) {
                return Ok(Some(build));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The build that a run asked for; or the latest one, if it joined one that was there.
    async fn build_of(&self, run: &Value, pkgbase: &str) -> Result<Option<String>, CtlError> {
        let path = format!("/api/v1/builds?limit=20&pkgbase={}", path_part(pkgbase));
        let builds = self.client.get(&path).await?;
        let builds = builds.as_array().map(Vec::as_slice).unwrap_or_default();
        let found = builds.iter().find(|build| build["run"] == run["id"]).or_else(|| builds.first());
        Ok(found.map(|build| text(build, "id")))
    }
}

fn state_of(build: &Value) -> Option<BuildState> {
    BuildState::from_str_exact(build["state"].as_str()?)
}

fn stands_still(build: &Value) -> bool {
    state_of(build).is_none_or(|state| state.is_final() || state == BuildState::Blocked)
}

fn is_good(build: &Value) -> bool {
    state_of(build).is_some_and(|state| state.satisfies_dependants() || state == BuildState::Superseded)
}

/// Pieces of a log for a terminal: our own colours, and nothing else that it would obey.
fn printable(pieces: &[Piece], colour: bool) -> String {
    let mut out = String::new();
    for piece in pieces {
        let text = visible(&piece.text);
        if colour && !piece.style.is_plain() {
            let style = piece.style.for_terminal();
            out.extend([style.render().to_string(), text.into_owned(), style.render_reset().to_string()]);
        } else {
            out += &text;
        }
    }
    out
}
