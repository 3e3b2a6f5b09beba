//! `pkgwarden graph`: who is built before whom.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;

use super::context::Context;
use super::error::CliError;
use super::exit::Exit;
use super::output::Format;
use crate::controller::inspect;
use crate::domain::desired::Snapshot;
use crate::domain::finding::nearest;
use crate::domain::graph::Graph;
use crate::domain::name::PkgBase;

/// Show who is built before whom
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pkgwarden graph                          every package after what it needs
  pkgwarden graph --as dot --only a,b | dot -Tsvg > graph.svg
  pkgwarden graph --rdeps libfoo           what is rebuilt when libfoo changes
  pkgwarden graph --official core.db extra.db --as json

Names of packages in other repositories win over a `provides` in this one. They come \
from --official; without it, from the versions recorded in the branch `state`.")]
pub struct Args {
    /// The commit to look at
    #[arg(long, value_name = "REV", default_value = "HEAD")]
    rev: String,
    /// Form of the answer [default: order, or json with --format json]
    #[arg(long = "as", value_enum, value_name = "FORM")]
    form: Option<Form>,
    /// Only these packages
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    only: Vec<String>,
    /// Package names (one a line) or pacman databases of the repositories that are built against
    #[arg(long, num_args = 1.., value_name = "FILE")]
    official: Vec<PathBuf>,
    /// What has to be rebuilt when this package changes, in order
    #[arg(long, value_name = "PKG", conflicts_with = "only")]
    rdeps: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// Everything, for programs
    Json,
    /// For Graphviz
    Dot,
    /// For Chaotic Manager
    Deptree,
    /// One name a line, each after what it needs
    Order,
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let snapshot = context.inspection()?.snapshot(&args.rev)?;
    let official =
        if args.official.is_empty() { inspect::recorded_names(&snapshot) } else { names_in(&args.official)? };
    let graph = Graph::build(snapshot.packages.values().map(Arc::as_ref), &official);
    let default = if context.output.format == Format::Json { Form::Json } else { Form::Order };
    let form = args.form.unwrap_or(default);
    if let Some(name) = &args.rdeps {
        return rdeps(&graph, &named(&snapshot, name)?, form, context);
    }
    let only = args.only.iter().map(|name| named(&snapshot, name)).collect::<Result<BTreeSet<_>, _>>()?;
    let only = (!only.is_empty()).then_some(only);
    match form {
        Form::Json => context.output.json(&graph.document(only.as_ref()))?,
        Form::Dot => context.output.text(graph.dot())?,
        Form::Deptree => context.output.text(format_args!("{}\n", graph.deptree_text()))?,
        Form::Order => {
            let order = only.as_ref().map_or_else(|| graph.order(), |only| graph.order_of(only));
            order.iter().try_for_each(|pkgbase| context.output.text(format_args!("{pkgbase}\n")))?;
        }
    }
    Ok(Exit::Done)
}

fn rdeps(graph: &Graph, pkgbase: &PkgBase, form: Form, context: &mut Context) -> Result<Exit, CliError> {
    let dependants = graph.dependants(pkgbase);
    if dependants.is_empty() {
        tracing::warn!("nothing in this repository needs {pkgbase}");
    }
    match form {
        Form::Json => context.output.json(&dependants)?,
        Form::Order => dependants.iter().try_for_each(|pkgbase| context.output.text(format_args!("{pkgbase}\n")))?,
        Form::Dot | Form::Deptree => return Err(CliError::usage("--rdeps is printed as json or order")),
    }
    Ok(Exit::Done)
}

/// The package of this name.
fn named(snapshot: &Snapshot, name: &str) -> Result<PkgBase, CliError> {
    let known = &snapshot.packages;
    let found = known.get_key_value(name).map(|(pkgbase, _)| pkgbase.clone());
    found.ok_or_else(|| {
        let error = CliError::from(anyhow::anyhow!("there is no package `{name}`"));
        match nearest(name, known.keys().map(PkgBase::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        }
    })
}

fn names_in(files: &[PathBuf]) -> Result<BTreeSet<String>, CliError> {
    let mut names = BTreeSet::new();
    for file in files {
        names.extend(
            names_in_file(file).with_context(|| format!("cannot read package names from `{}`", file.display()))?,
        );
    }
    Ok(names)
}

/// A pacman database, or a list with one name a line.
fn names_in_file(file: &Path) -> anyhow::Result<Vec<String>> {
    let bytes = std::fs::read(file)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()),
        Err(_) => inspect::database_names(file),
    }
}
