//! `pkgwarden repo`: what a person does with published package repositories.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::output::{Format, escaped, lines, number_of, table};
use super::pipeline::block_on;
use crate::app::publishing::{Against, Departure, Proof, Shop, prove};
use crate::controller::view::{GenerationPage, GenerationView};
use crate::domain::name::PkgBase;
use crate::domain::publication::key::Fingerprint;

/// Prove, promote, take back and clear published package repositories
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden repo verify /srv/http/packages   whether all of it is right
  pkgwarden repo generations                 what is kept and what published
  pkgwarden repo rollback 41                 publish again what 41 had
  pkgwarden repo promote all --dry-run       what staging lacks for a release
  pkgwarden repo remove-departed --dry-run   what left the monorepo

They work beside a running `serve`: publications take turns.")]
pub struct Args {
    /// The repository of the configuration, if it has several
    #[arg(long, global = true, value_name = "NAME")]
    repository: Option<String>,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Prove a published folder whole; ends with status 3 if it is not
    Verify(Verify),
    /// List the generations that are kept
    Generations,
    /// Everything in a generation, with where each package came from
    Generation {
        /// Its number [default: the published one]
        number: Option<u64>,
        /// The package repository [default: the main one]
        #[arg(long, value_name = "NAME")]
        target: Option<String>,
    },
    /// Publish again what an earlier generation had
    Rollback {
        /// Its number
        number: u64,
        /// The package repository [default: the main one]
        #[arg(long, value_name = "NAME")]
        target: Option<String>,
    },
    /// Move packages from staging to the release, if nothing there breaks; ends with status 3 if it would
    Promote(Promote),
    /// Remove what is published and not in the monorepo any more
    RemoveDeparted {
        /// The commit that has the packages
        #[arg(long, value_name = "REV", default_value = "HEAD")]
        rev: String,
        /// Only tell what would go
        #[arg(long)]
        dry_run: bool,
        /// Remove more than `publish.max_removals` allows
        #[arg(long, conflicts_with = "dry_run")]
        force: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Verify {
    /// The folder
    dir: PathBuf,
    /// The name of the repository, if the folder has several
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The public key that signatures have to be by, as `gpg --export` writes it [default: NAME.gpg in the folder]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The key that has to have signed
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<Fingerprint>,
    /// A database of the distribution: every dependency has to be there then
    #[arg(long, value_name = "FILE")]
    official: Vec<PathBuf>,
}

/// What moves from staging to the release.
#[derive(Debug, clap::Args)]
pub struct Promote {
    /// Packages, or `all`
    #[arg(required = true, value_name = "PKG|all")]
    packages: Vec<String>,
    /// The package repository they move to [default: the main one]
    #[arg(long, value_name = "NAME")]
    pub(super) target: Option<String>,
    /// Only tell what would be missing
    #[arg(long)]
    pub(super) dry_run: bool,
}

impl Promote {
    /// The packages that are named, or `None` for all.
    pub(super) fn named(&self) -> Option<&[String]> {
        (self.packages != ["all"]).then_some(&self.packages)
    }
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let name = args.repository.as_deref();
    match args.what {
        What::Verify(args) => verify(args, context),
        What::Generations => {
            let generations = shop(context, name)?.generations()?;
            show(context, &generations, generations_text)
        }
        What::Generation { number, target } => {
            let page = shop(context, name)?.generation(target.as_deref(), number)?;
            show(context, &page, page_text)
        }
        What::Rollback { number, target } => {
            let shop = shop(context, name)?;
            let generation = block_on(shop.roll_back(target.as_deref(), number))?;
            show(context, &generation, |generation| {
                format!("published generation {} with the packages of {number}\n", generation.number)
            })
        }
        What::Promote(what) => {
            let shop = shop(context, name)?;
            promote(&shop, context, &what)
        }
        What::RemoveDeparted { rev, dry_run, force } => {
            let present: BTreeSet<PkgBase> = context.inspection()?.snapshot(&rev)?.packages.into_keys().collect();
            let shop = shop(context, name)?;
            let departure = block_on(shop.remove_departed(&present, !dry_run, force))?;
            show(context, &departure, departure_text)
        }
    }
}

fn shop(context: &Context, name: Option<&str>) -> Result<Shop, CliError> {
    Ok(Shop::open(&context.settings()?, name)?)
}

fn show<T: serde::Serialize>(
    context: &mut Context,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> Result<Exit, CliError> {
    match context.output.format {
        Format::Json => context.output.json(value)?,
        Format::Text => context.output.text(text(value))?,
    }
    Ok(Exit::Done)
}

fn verify(args: Verify, context: &mut Context) -> Result<Exit, CliError> {
    let against = Against { keyring: args.key, key: args.fingerprint, official_databases: args.official };
    let proof = prove(&args.dir, args.name.as_deref(), &against)?;
    show(context, &proof, proof_text)?;
    Ok(if proof.findings.is_empty() { Exit::Done } else { Exit::NeedsPerson })
}

fn promote(shop: &Shop, context: &mut Context, what: &Promote) -> Result<Exit, CliError> {
    let package = |name: &String| {
        PkgBase::new(name).map_err(|error| CliError::usage(format!("`{}` is no package: {error}", escaped(name))))
    };
    let chosen: Option<Vec<PkgBase>> =
        what.named().map(|names| names.iter().map(package).collect::<Result<_, _>>()).transpose()?;
    let target = what.target.as_deref();
    let obstacles = block_on(shop.obstacles(target, chosen.as_deref()))?;
    if what.dry_run || !obstacles.is_empty() {
        show(context, &serde_json::json!({"moved": false, "missing": obstacles}), |_| {
            let told: Vec<String> = obstacles.iter().map(|reason| escaped(&reason.message).clone()).collect();
            if told.is_empty() { "nothing is missing: they can move\n".to_owned() } else { told.join("\n") + "\n" }
        })?;
        return Ok(if obstacles.is_empty() { Exit::Done } else { Exit::NeedsPerson });
    }
    let promotion = block_on(shop.promote(target, chosen.as_deref()))?;
    show(context, &promotion, |promotion| {
        let mut text = format!("moved {} to the release\n", number_of(promotion.packages.len(), "package"));
        for file in &promotion.not_replaced {
            let _ = writeln!(text, "{} is there already with other content, and stays", escaped(file));
        }
        text
    })
}

fn proof_text(proof: &Proof) -> String {
    let mut text = String::new();
    for finding in &proof.findings {
        let _ = writeln!(text, "{} {}", finding.code, escaped(&finding.to_string()));
    }
    let generation = proof.generation.map(|number| format!(", generation {number}")).unwrap_or_default();
    let signed = if proof.signed { "signed" } else { "not signed" };
    let verdict =
        if proof.findings.is_empty() { "whole".to_owned() } else { number_of(proof.findings.len(), "finding") };
    let _ = writeln!(text, "{}{generation}: {}, {signed}: {verdict}", proof.name, number_of(proof.packages, "package"));
    text
}

fn generations_text(generations: &Vec<GenerationView>) -> String {
    let mut table = table(&["repository", "generation", "published", "packages", "built", "reused", ""]);
    for one in generations {
        let restored = one.restores.map(|number| format!("as {number}"));
        table.add_row([
            one.repository.clone(),
            one.number.to_string(),
            one.published.map(|time| time.to_string()).unwrap_or_default(),
            one.packages.to_string(),
            one.built.to_string(),
            one.reused.to_string(),
            [one.current.then(|| "current".to_owned()), restored].into_iter().flatten().collect::<Vec<_>>().join(", "),
        ]);
    }
    lines(&table)
}

fn page_text(page: &GenerationPage) -> String {
    let mut table = table(&["package", "version", "of", "origin", "build"]);
    for entry in &page.entries {
        table.add_row([
            entry.name.clone(),
            entry.version.to_string(),
            entry.pkgbase.to_string(),
            entry.origin.as_str().to_owned(),
            entry.build.clone().unwrap_or_default(),
        ]);
    }
    lines(&table)
}

fn departure_text(departure: &Departure) -> String {
    let mut text = String::new();
    for package in &departure.packages {
        let _ = writeln!(text, "{package}");
    }
    let what = if departure.removed { "removed" } else { "would be removed" };
    let Departure { leaving, published, limit, .. } = departure;
    let _ = writeln!(text, "{leaving} of {published} published packages {what} (at once at most {limit})");
    text
}
