//! What a CI service is told of a run, in the ways that it has: commands in the log, values for the next job, a summary.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::context::Context;
use super::error::CliError;
use super::output::Format;
use crate::config::job::{Job, Service};
use crate::controller::run::Report;
use crate::domain::report::{self, Ending};
use crate::sys::fs;

/// Speaks to the CI service that a command runs in.
pub(super) struct Voice {
    /// Ends the time in which the service reads no commands in the log.
    silence: Option<String>,
    report_dir: Option<PathBuf>,
}

impl Voice {
    /// From now on, what is in the log is not read as commands: strangers wrote much of it.
    pub(super) fn begin(context: &mut Context, report_dir: Option<PathBuf>) -> Result<Self, CliError> {
        let job = Job::detect(&context.env);
        let reads_commands = job.is_some_and(|job| job.service != Service::GitLab);
        let silence = (reads_commands && context.output.format == Format::Text).then(unguessable);
        if let Some(token) = &silence {
            context.output.text(format_args!("::stop-commands::{token}\n"))?;
            context.output.finish()?;
        }
        Ok(Self { silence, report_dir })
    }

    /// Tells what the run did.
    pub(super) fn done(self, context: &mut Context, ran: &Report) -> Result<(), CliError> {
        let document = &ran.document;
        let outcome = &ran.outcome;
        let ending = Ending { pushed: outcome.pushed, enqueued: outcome.enqueued, run_id: &outcome.run_id };
        let (summary, outputs) = (report::summary(document, ending), report::outputs(document, ending));
        append(&context.env, "GITHUB_STEP_SUMMARY", &summary)?;
        append(&context.env, "GITHUB_OUTPUT", &lines(&outputs, str::to_owned))?;
        if let Some(dir) = &self.report_dir {
            let dotenv = lines(&outputs, |name| format!("PKGWARDEN_{}", name.to_ascii_uppercase()));
            let quality = report::code_quality(&document.problems).to_string();
            write(dir, &[("summary.md", &summary), ("outputs.env", &dotenv), ("code-quality.json", &quality)])?;
        }
        self.speak(context, &report::workflow_commands(&document.problems))
    }

    /// Tells that the run failed; what could not be told of that is of no importance beside it.
    pub(super) fn failed(self, context: &mut Context, error: CliError) -> CliError {
        let message = format!("{:#}", error.error);
        let _ = self.speak(context, &report::failure_command(&message));
        error
    }

    fn speak(self, context: &mut Context, commands: &str) -> Result<(), CliError> {
        if let Some(token) = self.silence {
            context.output.text(format_args!("::{token}::\n{commands}"))?;
            context.output.finish()?;
        }
        Ok(())
    }
}

/// What nobody who wrote any of the log can have known.
fn unguessable() -> String {
    // The keys of the hash are the system's random numbers.
    let number = || RandomState::new().hash_one("");
    format!("{:016x}{:016x}", number(), number())
}

fn lines(outputs: &[(&'static str, String)], name_of: impl Fn(&str) -> String) -> String {
    outputs.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{}={value}", name_of(name));
        text
    })
}

/// Adds to the file that the service named, if it named one.
fn append(env: &BTreeMap<String, String>, variable: &str, text: &str) -> Result<(), CliError> {
    let Some(path) = env.get(variable).filter(|path| !path.is_empty()) else { return Ok(()) };
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    Ok(written.with_context(|| format!("cannot write to {path}, which {variable} names"))?)
}

fn write(dir: &Path, files: &[(&str, &str)]) -> Result<(), CliError> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))?;
    for (name, text) in files {
        fs::write_atomic(&dir.join(name), text.as_bytes()).map_err(anyhow::Error::from)?;
    }
    Ok(())
}
