//! What is told of builds, as text or as JSON.

use serde_json::json;

use super::super::context::Context;
use super::super::output::{Format, OutputError, escaped};
use crate::app::copr::{Ended, Told};
use crate::config::job::{Job, Service};
use crate::domain::copr::lines::prefixed;
use crate::domain::copr::{Show, State, label};

/// What has been shown.
pub(super) struct Shown {
    /// Logs come one after the other, in groups that the CI service folds.
    has_groups: bool,
    group: Option<String>,
}

impl Shown {
    pub(super) fn new(show: Show, context: &Context) -> Self {
        let service = Job::detect(&context.env).map(|job| job.service);
        let folds = service.is_some_and(|service| service != Service::GitLab);
        Self { has_groups: folds && show == Show::After && context.output.format == Format::Text, group: None }
    }

    pub(super) fn tell(&mut self, told: Told, context: &mut Context) -> Result<(), OutputError> {
        let output = &mut context.output;
        match (output.format, told) {
            (Format::Text, Told::Lines { label, lines, .. }) => {
                self.open(&label, context)?;
                context.output.bytes(&prefixed(&label, &without_returns(lines)))?;
            }
            (Format::Text, Told::State { build, chroot, state }) => {
                let chroot = chroot.map(|chroot| format!(" {}", label(&chroot))).unwrap_or_default();
                output.text(format_args!("==> build {build}{chroot}: {}\n", state.as_str()))?;
            }
            (Format::Text, Told::Note { text, .. }) => output.text(format_args!("==> {}\n", escaped(&text)))?,
            (Format::Json, Told::Lines { build, chroot, lines, .. }) => {
                for line in lines.split_inclusive(|byte| *byte == b'\n') {
                    let line = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
                    output.json_line(&json!({"event": "log", "build": build, "chroot": chroot, "line": line}))?;
                }
            }
            (Format::Json, Told::State { build, chroot, state }) => {
                let state = state.as_str();
                output.json_line(&json!({"event": "state", "build": build, "chroot": chroot, "state": state}))?;
            }
            (Format::Json, Told::Note { build, text }) => {
                output.json_line(&json!({"event": "note", "build": build, "text": text}))?;
            }
        }
        context.output.finish()
    }

    pub(super) fn end(&mut self, ended: &[Ended], context: &mut Context) -> Result<(), OutputError> {
        self.close(context)?;
        if context.output.format == Format::Json {
            for (build, state) in ended {
                let state = state.map(State::as_str);
                context.output.json_line(&json!({"event": "end", "build": build, "state": state}))?;
            }
        }
        context.output.finish()
    }

    fn open(&mut self, label: &str, context: &mut Context) -> Result<(), OutputError> {
        if self.has_groups && self.group.as_deref() != Some(label) {
            self.close(context)?;
            context.output.text(format_args!("::group::{label}\n"))?;
            self.group = Some(label.to_owned());
        }
        Ok(())
    }

    fn close(&mut self, context: &mut Context) -> Result<(), OutputError> {
        if self.group.take().is_some() { context.output.text("::endgroup::\n") } else { Ok(()) }
    }
}

/// Lines end at line feeds only: CI services take commands from whatever follows a carriage return, too.
fn without_returns(mut lines: Vec<u8>) -> Vec<u8> {
    for index in 0..lines.len() {
        if lines[index] == b'\r' && lines.get(index + 1) != Some(&b'\n') {
            lines[index] = b'\n';
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_log_begins_a_line() {
        let text = prefixed("f42", &without_returns(b"10%\r::stop::\r\nend\n".to_vec()));
        assert_eq!(text, b"[f42] 10%\n[f42] ::stop::\r\n[f42] end\n");
    }
}
