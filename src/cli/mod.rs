//! The command line: arguments in, results to standard output, everything else to standard error.
//!
//! Each command is one file, or a folder if it has many parts, with its `Args`, whose doc comment is the help text, and a `run`. What a
//! command *does* is decided below this module; here it is only asked for and shown.

mod args;
mod audit;
mod builder;
mod changes;
mod check;
mod classify;
mod completions;
mod config;
mod context;
mod copr;
mod ctl;
mod demo;
mod diff;
mod doctor;
mod error;
mod exit;
mod explain;
mod extract;
mod graph;
mod init;
mod job;
mod man;
mod output;
mod packages;
mod pipeline;
mod plan;
mod repo;
mod run;
mod serve;
mod signer;
mod workflow;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser as _;

pub use self::args::Cli;
pub use self::context::{ConfigFile, Context};
pub use self::error::{CliError, ErrorKind};
pub use self::exit::Exit;
pub use self::output::{Format, Output};
use crate::sys::env::is_root;
use crate::sys::process::keep_inherited_files;
use crate::telemetry;

/// Runs the program on the real standard streams.
pub fn main(args: impl IntoIterator<Item = OsString>, env: BTreeMap<String, String>) -> ExitCode {
    keep_inherited_files();
    let env = context::environment(env, is_root());
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return refuse(&error).into(),
    };
    let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
    let color = cli.global.color.into();
    let color_on_stderr = anstream::AutoStream::new(stderr, color);
    telemetry::init(&telemetry::Options {
        verbosity: cli.global.verbosity(),
        filter: env.get(telemetry::FILTER_VARIABLE).cloned(),
        json: cli.global.format == args::WantedFormat::Json,
        color: color_on_stderr.current_choice() != anstream::ColorChoice::Never,
    });
    let stdout = anstream::AutoStream::new(stdout, color);
    run(cli, env, Box::new(stdout), Box::new(color_on_stderr)).into()
}

/// Runs one command on these streams. Text is written with colours; the streams take them out where
/// nobody wants them.
fn run(cli: Cli, env: BTreeMap<String, String>, stdout: Box<dyn Write>, mut stderr: Box<dyn Write>) -> Exit {
    let output = Output::new(cli.global.format.into(), stdout);
    let mut context = Context { output, global: cli.global, env };
    let result = cli.command.refuse_format(&context).and_then(|()| cli.command.run(&mut context));
    let result = result.and_then(|exit| Ok(context.output.finish().map(|()| exit)?));
    result.unwrap_or_else(|error| {
        // If standard error is gone too, the status is all that is left to say.
        let _ = error.report(&mut stderr);
        error.exit()
    })
}

/// What clap has to say: help and version count as done.
fn refuse(error: &clap::Error) -> Exit {
    let _ = error.print();
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Runs commands as `main` does, on streams that can be read afterwards.

    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What came out of a command.
    #[must_use = "compare the output or the status"]
    pub struct Ran {
        pub exit: Exit,
        pub stdout: String,
        pub stderr: String,
    }

    #[derive(Clone, Default)]
    struct Pipe(Arc<Mutex<Vec<u8>>>);

    impl Pipe {
        fn text(&self) -> String {
            let bytes = self.0.lock().expect("no other user").clone();
            anstream::adapter::strip_str(&String::from_utf8(bytes).expect("text")).to_string()
        }
    }

    impl io::Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no other user").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Runs `pkgwarden ARGS` with these environment variables and no others.
    pub fn pkgwarden(args: &[&str], env: &[(&str, &str)]) -> Ran {
        let cli = Cli::try_parse_from(std::iter::once("pkgwarden").chain(args.iter().copied()));
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (stdout, stderr) = (Pipe::default(), Pipe::default());
        let exit = run(cli.expect("right usage"), env, Box::new(stdout.clone()), Box::new(stderr.clone()));
        Ran { exit, stdout: stdout.text(), stderr: stderr.text() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        let command = <Cli as clap::CommandFactory>::command();
        for command in command.get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("pkgwarden "), "{} has no example", command.get_name());
            assert!(command.get_about().is_some(), "{} has no help text", command.get_name());
        }
    }

    /// A command and all below it.
    fn with_all_below(command: &clap::Command) -> Vec<clap::Command> {
        let below = command.get_subcommands().flat_map(with_all_below);
        std::iter::once(command.clone()).chain(below).collect()
    }

    #[test]
    fn help_fits_a_terminal_of_80_columns_and_its_sentences_break_where_the_terminal_ends() {
        let mut root = <Cli as clap::CommandFactory>::command();
        root.build();
        for mut command in with_all_below(&root) {
            let usage = command.render_usage().to_string();
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = help.lines().filter(|line| line.starts_with(' '));
            for line in usage.lines().chain(examples) {
                assert!(line.chars().count() <= 80, "{}: {line}", command.get_name());
            }
            for (line, next) in help.lines().zip(help.lines().skip(1)) {
                let goes_on =
                    !line.is_empty() && !next.is_empty() && ![line, next].iter().any(|it| it.starts_with(' '));
                assert!(!goes_on || line.ends_with(['.', ':']), "{}: {line}", command.get_name());
            }
        }
    }

    #[test]
    fn wrong_usage_ends_with_two_and_help_with_zero() {
        let parse = |args: &[&str]| Cli::try_parse_from(args).map(drop).map_err(|error| error.use_stderr());
        assert_eq!(parse(&["pkgwarden", "--help"]), Err(false));
        assert_eq!(parse(&["pkgwarden", "--version"]), Err(false));
        for wrong in [["pkgwarden", "frobnicate"].as_slice(), &["pkgwarden"], &["pkgwarden", "-v", "-q", "man"]] {
            assert_eq!(parse(wrong), Err(true), "{wrong:?}");
        }
    }
}
