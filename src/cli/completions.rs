//! `pkgwarden completions`: completion scripts for shells.

use clap::CommandFactory as _;

use super::args::Cli;
use super::context::Context;
use super::error::CliError;
use super::exit::Exit;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden completions bash > /usr/share/bash-completion/completions/pkgwarden
  pkgwarden completions zsh > /usr/share/zsh/site-functions/_pkgwarden")]
pub struct Args {
    /// The shell
    shell: clap_complete::Shell,
}

#[expect(clippy::needless_pass_by_value, reason = "every command takes its arguments like that")]
pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    // Written to memory first: the generator panics if a reader goes away.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pkgwarden", &mut script);
    context.output.bytes(&script)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::super::testing::pkgwarden;

    #[test]
    fn every_shell_gets_a_script_that_knows_the_commands() {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let ran = pkgwarden(&["completions", shell], &[]);
            assert!(ran.stdout.contains("completions"), "{shell}");
        }
    }
}
