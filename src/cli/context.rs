//! What every command is given: the global options, the environment, and where results go.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::args::GlobalArgs;
use super::error::{CliError, ErrorKind};
use super::output::Output;
use crate::config::{Settings, settings};
use crate::controller::inspect::Inspection;
use crate::telemetry::progress;

/// Where a configuration is looked for if none is named; the first one that is there counts.
const PLACES: [&str; 2] = ["pkgwarden.toml", "/etc/pkgwarden/pkgwarden.toml"];

/// Where root keeps its data: builds run as another user, who cannot enter root's home.
const ROOTS_STATE: &str = "/var/lib/pkgwarden";

/// The environment as the configuration is to see it: root has a state directory as systemd gives one, unless
/// somebody named another.
pub fn environment(mut env: BTreeMap<String, String>, is_root: bool) -> BTreeMap<String, String> {
    let named = |name: &str| env.get(name).is_some_and(|value| !value.is_empty());
    if is_root && !named("STATE_DIRECTORY") && !named("XDG_STATE_HOME") {
        env.insert("STATE_DIRECTORY".to_owned(), ROOTS_STATE.to_owned());
    }
    env
}

/// What every command is given.
pub struct Context {
    /// Options every command has.
    pub global: GlobalArgs,
    /// The environment the program was started with.
    pub env: BTreeMap<String, String>,
    /// Where results go.
    pub output: Output,
}

/// A configuration file: its path, for messages, and its text.
pub struct ConfigFile {
    /// As it was given or found.
    pub path: String,
    /// What it holds.
    pub text: String,
}

impl ConfigFile {
    /// Reads a file that must be there.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the configuration file `{}`", path.display()))
            .map_err(|error| CliError { kind: ErrorKind::Configuration, ..CliError::from(error) })?;
        Ok(Self { path: path.display().to_string(), text })
    }

    /// As the functions of [`settings`] take it.
    pub fn as_parts(&self) -> (&str, &str) {
        (&self.path, &self.text)
    }
}

/// Opens a repository that a person named.
pub fn open(dir: &Path) -> Result<Inspection, CliError> {
    let hint = "name a clone or a bare repository with -C DIR; `git init` makes one";
    Inspection::open(dir).map_err(|error| CliError::from(error).hint(hint))
}

impl Context {
    /// The configuration file named on the command line, or the one that is found.
    pub fn config_file(&self) -> Result<Option<ConfigFile>, CliError> {
        let found = || PLACES.iter().map(PathBuf::from).find(|place| place.exists());
        self.global.config.clone().or_else(found).map(|path| ConfigFile::read(&path)).transpose()
    }

    /// The repository to work on.
    pub fn inspection(&self) -> Result<Inspection, CliError> {
        open(&self.global.directory)
    }

    /// Says on a terminal what takes long.
    pub fn show_progress(&self) {
        progress::enable(self.global.quiet > 0, |name| self.env.get(name).cloned());
    }

    /// The settings in force, and as a table of the shape of the file.
    pub fn settings_with_table(&self) -> Result<(Settings, serde_json::Value), CliError> {
        let file = self.config_file()?;
        let file = file.as_ref().map(ConfigFile::as_parts);
        let table = serde_json::to_value(settings::in_force(file, &self.env)?).context("the settings are a table")?;
        Ok((settings::load(file, &self.env)?, table))
    }

    /// The settings in force.
    pub fn settings(&self) -> Result<Settings, CliError> {
        let file = self.config_file()?;
        Ok(settings::load(file.as_ref().map(ConfigFile::as_parts), &self.env)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_root_keeps_is_not_in_a_home_that_builds_cannot_enter() {
        let data_dir = |named: &[(&str, &str)], is_root| {
            let env = named.iter().chain(&[("HOME", "/root")]);
            let env = env.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            settings::load(None, &environment(env, is_root)).expect("defaults").server.data_dir
        };
        assert_eq!(data_dir(&[], true), Path::new("/var/lib/pkgwarden"));
        assert_eq!(data_dir(&[], false), Path::new("/root/.local/state/pkgwarden"));
        assert_eq!(data_dir(&[("STATE_DIRECTORY", "/srv/a")], true), Path::new("/srv/a"));
        assert_eq!(data_dir(&[("XDG_STATE_HOME", "/srv")], true), Path::new("/srv/pkgwarden"));
        assert_eq!(data_dir(&[("PKGWARDEN__SERVER__DATA_DIR", "/srv/b")], true), Path::new("/srv/b"));
    }
}
