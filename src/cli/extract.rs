//! `pkgwarden extract`: a part of the program that it runs in a process of its own; not for people.

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use crate::app;

/// Search what a server answered (the program runs this itself)
#[derive(Debug, clap::Args)]
#[command(
    hide = true,
    after_help = "\
Examples:
  pkgwarden extract < question"
)]
pub struct Args {}

pub(super) fn run(Args {}: Args, context: &mut Context) -> Result<Exit, CliError> {
    let mut found = Vec::new();
    app::extract::run(std::io::stdin(), &mut found)?;
    context.output.bytes(&found)?;
    Ok(Exit::Done)
}
