//! The commands that stay: logs that are followed, builds that are waited for.

use std::time::Duration;

use serde_json::{Value, json};

use super::act::exit_of;
use super::client::{CtlError, address};
use super::show::{self, list, text};
use super::{CliError, Exit, Session};
use crate::domain::build::BuildState;
use crate::web::log::{LogDecoder, Piece};
use crate::web::text::{one_line, path_part, visible};

/// How often builds are looked at that are waited for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Session<'_> {
    pub(super) async fn logs(&mut self, of: &str, follow: bool) -> Result<Exit, CliError> {
        let id = self.find_build(of).await?;
        self.copy_log(&id, follow).await?;
        Ok(Exit::Done)
    }

    pub(super) async fn script_log(&mut self, package: &str) -> Result<Exit, CliError> {
        self.copy(&address(&["packages", package, "script-log"])).await?;
        Ok(Exit::Done)
    }

    async fn copy_log(&mut self, id: &str, follow: bool) -> Result<(), CliError> {
        self.copy(&format!("{}{}", address(&["builds", id, "log"]), if follow { "?follow=1" } else { "" })).await
    }

    /// Copies a log: for people with everything shown that a terminal would act upon, colours kept.
    async fn copy(&mut self, path: &str) -> Result<(), CliError> {
        let mut bytes = self.client.stream(path).await?;
        let mut decoder = LogDecoder::default();
        while let Some(chunk) = bytes.next().await? {
            self.out.text(printable(&decoder.push(&chunk)))?;
            self.out.finish()?;
        }
        self.out.text(printable(&decoder.finish()))?;
        Ok(self.out.finish()?)
    }

    pub(super) async fn deploy(&mut self, packages: Vec<String>, wait: bool, follow: bool) -> Result<Exit, CliError> {
        let mut run = self.client.post("/api/v1/deploy", &json!({ "packages": packages })).await?;
        let exit = exit_of(&run);
        if !wait {
            self.print(&run, |_| show::run(&run))?;
            return Ok(exit);
        }
        if !self.is_json() {
            self.print(&run, |_| show::run(&run))?;
        }
        let builds = list(&run["document"], "builds").iter().filter_map(|build| build["pkgbase"].as_str());
        let wanted: Vec<String> = builds.map(str::to_owned).collect();
        let mut builds = Vec::new();
        for pkgbase in wanted {
            builds.extend(self.wait_for(&run, &pkgbase, follow).await?);
        }
        let failed = builds.iter().any(|build| !is_good(build));
        run["builds"] = builds.into();
        self.print(&run, |look| look.builds(list(&run, "builds")))?;
        Ok(if failed { Exit::Failed } else { exit })
    }

    /// Waits until the build of a package has ended, or is blocked and would wait for a person.
    async fn wait_for(&mut self, run: &Value, pkgbase: &str, follow: bool) -> Result<Option<Value>, CliError> {
        let Some(id) = self.build_of(run, pkgbase).await? else { return Ok(None) };
        let mut printed = false;
        loop {
            let build = self.client.get(&address(&["builds", &id])).await?;
            if follow && !printed && build["attempt"].is_string() {
                printed = true;
                if !self.is_json() {
                    self.out.text(format_args!("\n{}\n", one_line(pkgbase)))?;
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
fn printable(pieces: &[Piece]) -> String {
    let mut out = String::new();
    for piece in pieces {
        let text = visible(&piece.text);
        if piece.style.is_plain() {
            out += &text;
        } else {
            let style = piece.style.for_terminal();
            out.extend([style.render().to_string(), text.into_owned(), style.render_reset().to_string()]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_gets_our_colours_and_nothing_else_to_obey() {
        let mut decoder = LogDecoder::default();
        let pieces = decoder.push(b"\x1b[1;32m==>\x1b[0m x\x1b]0;owned\x07\x1b[2Jy\n");
        assert_eq!(printable(&pieces), "\x1b[1m\x1b[38;5;2m==>\x1b[0m x\u{241b}]0;owned\u{2407}y\n");
    }
}
