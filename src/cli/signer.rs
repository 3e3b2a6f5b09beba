//! `pkgwarden signer`: the process that holds the key.

use std::path::PathBuf;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use crate::app::signer::{Wanted, run as sign};
use crate::domain::publication::key::Fingerprint;
use crate::sys::env;

/// Sign what is published: the one process that has the key
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden signer                         as [publish] says, by GNUPGHOME
  pkgwarden signer --socket /run/signer/socket --folder /srv/http/packages \\
      --home /var/lib/signer/gnupg --client pkgwarden --group pkgwarden \\
      --key 0123456789ABCDEF0123456789ABCDEF01234567

Signs package files and databases below the folders it is given, and nothing else, for the users it is given, and \
nobody else. Run it as a user of its own, so that neither builds nor the controller can read the key; --group lets the \
controller reach the socket then. gpg's agent has to know the passphrase, if there is one, or --passphrase-file has it.

SIGTERM ends it; meanwhile nothing is published, and what was built waits.")]
pub struct Args {
    /// Where it listens [default: publish.signer]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// A folder below which it signs; may be given several times [default: publish.dir of every repository that is signed]
    #[arg(long, value_name = "DIR")]
    folder: Vec<PathBuf>,
    /// gpg's folder with the key [default: GNUPGHOME]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// The fingerprint of the key [default: publish.key]
    #[arg(long, value_name = "FINGERPRINT")]
    key: Option<Fingerprint>,
    /// A file with the passphrase of the key
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// A user who may ask, by name or number; may be given several times [default: the one it runs as]
    #[arg(long, value_name = "USER")]
    client: Vec<String>,
    /// A group whose members may reach the socket
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let wanted = wanted(args, context)?;
    let socket = wanted.socket.display().to_string();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from)?;
    runtime.block_on(sign(wanted, || anstream::eprintln!("signing at {socket}")))?;
    Ok(Exit::Done)
}

fn wanted(args: Args, context: &Context) -> Result<Wanted, CliError> {
    let missing = |what: &str, hint: &str| CliError::usage(format!("it is not said {what}")).hint(hint);
    // A signer that is told everything needs no configuration, and may not be able to read it.
    let settled = args.socket.is_some() && args.key.is_some() && !args.folder.is_empty();
    let repositories = if settled { Vec::new() } else { context.settings()?.repositories };
    let signed: Vec<_> =
        repositories.into_iter().map(|one| one.publish).filter(|publish| publish.key.is_some()).collect();
    let first = signed.first();
    let key = args.key.or_else(|| first?.key.clone());
    let key =
        key.ok_or_else(|| missing("with which key to sign", "give --key, or set publish.sign and publish.key"))?;
    let socket = args.socket.or_else(|| Some(first?.signer.clone()));
    let socket = socket.ok_or_else(|| missing("where to listen", "give --socket"))?;
    let home = args.home.or_else(|| env::var("GNUPGHOME").map(PathBuf::from)).or_else(|| first?.signer_home.clone());
    let home = home.ok_or_else(|| missing("where the key is", "give --home, or set GNUPGHOME"))?;
    let folders = if args.folder.is_empty() {
        signed.iter().filter(|publish| publish.key.as_ref() == Some(&key)).map(|publish| publish.dir.clone()).collect()
    } else {
        args.folder
    };
    let (passphrase_file, clients, group) = (args.passphrase_file, args.client, args.group);
    Ok(Wanted { socket, folders, home, key, passphrase_file, clients, group })
}
