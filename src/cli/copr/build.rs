//! `pkgwarden copr build`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use clap::ArgGroup;
use serde_json::json;

use super::super::context::Context;
use super::super::error::CliError;
use super::super::exit::Exit;
use super::super::output::Format;
use super::super::pipeline;
use super::{Common, period, watch};
use crate::app::copr::{From, How};

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("source").required(true), override_usage = "\
pkgwarden copr build [OPTIONS] --scm <URL> <PROJECT>
       pkgwarden copr build [OPTIONS] --url <SRPM> <PROJECT>
       pkgwarden copr build [OPTIONS] --upload <FILE> <PROJECT>
       pkgwarden copr build [OPTIONS] --custom <SCRIPT> <PROJECT>")]
pub(super) struct Args {
    /// The project, as OWNER/PROJECT or @GROUP/PROJECT
    project: String,
    /// Git repository that COPR clones
    #[arg(long, value_name = "URL", group = "source")]
    scm: Option<String>,
    /// With --scm: commit, branch or tag
    #[arg(long, value_name = "COMMIT", default_value = "", requires = "scm", conflicts_with_all = ["url", "upload", "custom"],
          hide_default_value = true)]
    commit: String,
    /// With --scm: directory with the sources
    #[arg(long, value_name = "DIR", default_value = "", requires = "scm", hide_default_value = true)]
    subdir: String,
    /// With --scm: spec file in that directory
    #[arg(long, value_name = "FILE", default_value = "", requires = "scm", hide_default_value = true)]
    spec: String,
    /// With --scm: what makes the source package
    #[arg(long, value_name = "METHOD", default_value = "rpkg", requires = "scm",
          value_parser = ["rpkg", "tito", "tito_test", "make_srpm"])]
    method: String,
    /// Source package or spec file at an address
    #[arg(long, value_name = "SRPM", group = "source")]
    url: Option<String>,
    /// Source package here
    #[arg(long, value_name = "FILE", group = "source")]
    upload: Option<PathBuf>,
    /// Script that makes the sources
    #[arg(long, value_name = "SCRIPT", group = "source")]
    custom: Option<PathBuf>,
    /// With --custom: chroot that the script runs in
    #[arg(long, value_name = "CHROOT", default_value = "", requires = "custom", hide_default_value = true)]
    script_chroot: String,
    /// With --custom: package that is installed for the script; may be given often
    #[arg(long, value_name = "PACKAGE", requires = "custom")]
    script_package: Vec<String>,
    /// With --custom: directory where the script leaves the sources
    #[arg(long, value_name = "DIR", default_value = "", requires = "custom", hide_default_value = true)]
    script_results: String,
    /// Chroot to build in, patterns allowed; may be given often [default: all of the project]
    #[arg(long, short = 'r', value_name = "CHROOT")]
    chroot: Vec<String>,
    /// How long the build may take [default: as COPR says]
    #[arg(long, value_name = "TIME", value_parser = period)]
    timeout: Option<Duration>,
    /// Give way to other builds
    #[arg(long)]
    background: bool,
    /// Whether the build may use the network [default: as the project says]
    #[arg(long, value_name = "on|off", value_parser = clap::builder::BoolishValueParser::new(), hide_possible_values = true)]
    enable_net: Option<bool>,
    /// Do not follow the build
    #[arg(long)]
    nowait: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) fn run(args: Args, context: &mut Context) -> Result<Exit, CliError> {
    let copr = args.common.open()?;
    let from = source(&args)?;
    let how = How {
        chroots: args.chroot.clone(),
        timeout: args.timeout,
        background: args.background,
        enable_net: args.enable_net,
    };
    let ids = pipeline::block_on(copr.build(&args.project, from, how))?;
    match context.output.format {
        Format::Json => context.output.json_line(&json!({"event": "created", "builds": ids}))?,
        // As copr-cli says it: scripts read it.
        Format::Text => {
            let ids: Vec<_> = ids.iter().map(u64::to_string).collect();
            context.output.text(format_args!("Created builds: {}\n", ids.join(" ")))?;
            context.output.finish()?;
        }
    }
    if args.nowait { Ok(Exit::Done) } else { watch::follow(&copr, &ids, args.common.following(), context) }
}

fn source(args: &Args) -> Result<From, CliError> {
    if let Some(url) = &args.scm {
        return Ok(From::Scm {
            url: url.clone(),
            commit: args.commit.clone(),
            subdir: args.subdir.clone(),
            spec: args.spec.clone(),
            method: args.method.clone(),
        });
    }
    if let Some(script) = &args.custom {
        let text = std::fs::read_to_string(script).with_context(|| format!("cannot read {}", script.display()))?;
        return Ok(From::Custom {
            script: text,
            chroot: args.script_chroot.clone(),
            packages: args.script_package.clone(),
            results: args.script_results.clone(),
        });
    }
    match (&args.url, &args.upload) {
        (Some(url), _) => Ok(From::Url(url.clone())),
        (None, Some(path)) => Ok(From::Upload(path.clone())),
        (None, None) => Err(CliError::usage("name what is to be built").hint("--scm, --url, --upload or --custom")),
    }
}
