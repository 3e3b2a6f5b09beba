//! `pkgwarden man`: manual pages.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;

use super::args::Cli;
use super::context::Context;
use super::error::CliError;
use super::exit::Exit;

/// Print the manual page, or write the pages of all commands
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden man | man -l -
  pkgwarden man --dir /usr/share/man/man1")]
pub struct Args {
    /// Directory to write one page per command to
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    if let Some(dir) = args.dir {
        std::fs::create_dir_all(&dir)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), &dir))
            .with_context(|| format!("cannot write the manual pages to `{}`", dir.display()))?;
        return Ok(Exit::Done);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut page).context("cannot make the manual page")?;
    context.output.bytes(&page)?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::super::testing::pkgwarden;
    use super::*;

    #[test]
    fn the_page_names_the_program_and_its_commands() {
        let ran = pkgwarden(&["man"], &[]);
        assert!(ran.stdout.contains(".TH pkgwarden") && ran.stdout.contains("completions"), "{}", ran.stdout);
    }

    #[test]
    fn each_command_gets_a_page_of_its_own() {
        let dir = tempfile::tempdir().expect("a directory");
        let pages = dir.path().join("share/man1");
        let ran = pkgwarden(&["man", "--dir", pages.to_str().expect("text")], &[]);
        assert_eq!(ran.exit, Exit::Done);
        assert!(pages.join("pkgwarden-config.1").exists());
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_an_error() {
        let ran = pkgwarden(&["man", "--dir", "/dev/null/man1"], &[]);
        assert_eq!(ran.exit, Exit::Failed);
        assert!(ran.stderr.starts_with("error: cannot write the manual pages to `/dev/null/man1`"), "{}", ran.stderr);
    }
}
