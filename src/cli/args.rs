//! The options every command has, and the list of commands.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::output::Format;
use super::{
    audit, builder, changes, check, classify, completions, config, copr, ctl, demo, doctor, explain, extract, graph,
    init, man, packages, plan, repo, run, serve, signer,
};

/// Keeps a monorepo of Arch Linux packages current, reviewed, built and published.
#[derive(Debug, Parser)]
#[command(name = "pkgwarden", version, max_term_width = 100, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Options every command has.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options every command has.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// Configuration file [default: pkgwarden.toml here, else /etc/pkgwarden/pkgwarden.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Git repository to work on, bare or with a work tree
    #[arg(short = 'C', global = true, value_name = "DIR", default_value = ".")]
    pub directory: PathBuf,
    /// Form of the results
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = WantedFormat::Text)]
    pub format: WantedFormat,
    /// When to use colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto)]
    pub color: Color,
    /// Tells more of what happens; more often, more still
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Tells only of errors; twice, nothing
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub quiet: u8,
}

impl GlobalArgs {
    /// Steps more than warnings that are told; negative for less.
    pub fn verbosity(&self) -> i8 {
        let steps = |count: u8| i8::try_from(count).unwrap_or(i8::MAX);
        steps(self.verbose) - steps(self.quiet)
    }
}

/// Form of the results as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WantedFormat {
    /// For people
    Text,
    /// For programs: one document, or one a line where the command says so
    Json,
    /// For forges: SARIF 2.1.0; only of `classify`
    Sarif,
}

impl From<WantedFormat> for Format {
    fn from(wanted: WantedFormat) -> Self {
        match wanted {
            WantedFormat::Text => Self::Text,
            WantedFormat::Json | WantedFormat::Sarif => Self::Json,
        }
    }
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Even into a file.
    Always,
    /// Not at all.
    Never,
}

impl From<Color> for anstream::ColorChoice {
    fn from(color: Color) -> Self {
        match color {
            Color::Auto => Self::Auto,
            Color::Always => Self::Always,
            Color::Never => Self::Never,
        }
    }
}

/// Makes the list of commands: a name, and the module with its `Args` and `run`.
macro_rules! commands {
    ($($name:ident => $module:ident,)*) => {
        /// Everything the program can do.
        #[derive(Debug, Subcommand)]
        pub enum Command {
            $($name($module::Args),)*
        }

        impl Command {
            /// Only reasons of verdicts can be told as SARIF.
            pub(super) fn refuse_format(&self, context: &Context) -> Result<(), CliError> {
                if context.global.format != WantedFormat::Sarif || matches!(self, Self::Classify(_)) {
                    return Ok(());
                }
                Err(CliError::usage("only `classify` writes SARIF").hint("use --format text or --format json"))
            }

            /// Does it.
            pub(super) fn run(self, context: &mut Context) -> Result<Exit, CliError> {
                match self {
                    $(Self::$name(args) => $module::run(args, context),)*
                }
            }
        }
    };
}

commands! {
    Packages => packages,
    Graph => graph,
    Changes => changes,
    Check => check,
    Explain => explain,
    Classify => classify,
    Audit => audit,
    Plan => plan,
    Run => run,
    Serve => serve,
    Builder => builder,
    Repo => repo,
    Signer => signer,
    Ctl => ctl,
    Copr => copr,
    Demo => demo,
    Config => config,
    Init => init,
    Doctor => doctor,
    Completions => completions,
    Man => man,
    Extract => extract,
}
