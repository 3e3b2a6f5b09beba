//! From `pkgwarden.toml` as it is written to what is needed: checks what depends on more than one key,
//! then fills in what follows from other settings.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::error::{Impossible, Problem};
use super::layer::Layers;
use super::settings::{
    Aur, AurTransport, Buildomat, Bullmq, Chaotic, CommandExecutor, Executor, ExecutorKind, LocalExecutor, Nvchecker,
    ProjectHost, Repository, Schedule, ScheduledRun, Server, Settings, Sources,
};
use super::value::{Address, GitAddress, Name, Period};
use super::written::{
    Layer, ScheduledPipeline, Written, WrittenDashboard, WrittenExecutor, WrittenLimits, WrittenPolicy,
    WrittenRepository, WrittenReviews, WrittenSchedule, WrittenServer, WrittenSources, WrittenUploads,
};
use super::{copr, forge, publish};
use crate::domain::cache::policy::CachePolicy;
use crate::domain::policy::Policy;
use crate::domain::review::policy::{ProposalPolicy, ReviewPolicy, StatusPolicy};
use crate::domain::schedule::Limits;
use crate::domain::upload::Limits as UploadLimits;

/// The name of the repository if the configuration lists none.
const ONLY_REPOSITORY: &str = "packages";

/// What depends on more than one key.
pub(super) fn check(layers: &Layers<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut names = BTreeSet::new();
    let mut alike = None;
    let written = &layers.written;
    let repositories = written.repository.as_deref().unwrap_or_default();
    for (index, repository) in repositories.iter().enumerate() {
        if !names.insert(&repository.name) {
            let message = format!("there are two repositories with the name `{}`", repository.name);
            problems.push(layers.problem(Some(index), &["name"], message, "give each its own name"));
        }
        let in_force = in_force_for(repository.clone(), written);
        problems.extend(check_sections(layers, Some(index), Some(repository.url.as_str()), &in_force));
        if in_force.executor.kind != Some(ExecutorKind::None) {
            let executor = resolve_executor(in_force.executor);
            let (first, common) = alike.get_or_insert_with(|| (&repository.name, executor.clone()));
            if *common != executor {
                let message = format!("this version runs all builds alike, and those of `{first}` have other settings");
                problems.push(layers.problem(Some(index), &["executor"], message, "set them once, in [executor]"));
            }
        }
    }
    if repositories.is_empty() {
        problems.extend(check_sections(layers, None, None, written));
    }
    problems
}

fn check_sections(
    layers: &Layers<'_>,
    repository: Option<usize>,
    url: Option<&str>,
    written: &Written,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for Impossible { place, message, hint, missing } in impossible(written) {
        if missing.is_empty() || !missing.iter().all(|keys| layers.gives(repository, keys)) {
            problems.push(layers.problem(repository, &place, message, hint));
        }
    }
    for (key, message, hint) in forge::faults(&written.forge, url) {
        problems.push(layers.problem(repository, &["forge", key], message, hint));
    }
    for (place, message, hint) in copr::faults(&written.executor) {
        problems.push(layers.problem(repository, &place, message, hint));
    }
    if written.sources.aur.git_url.as_ref().is_some_and(|url| !url.as_str().contains("{pkgbase}")) {
        let message = "the address holds no `{pkgbase}`, so that every package would have the same".into();
        let hint = "write {pkgbase} where the name of the package goes";
        problems.push(layers.problem(repository, &["sources", "aur", "git_url"], message, hint));
    }
    let push_url = written.sources.aur.push_url.as_ref().map(GitAddress::as_str).unwrap_or_default();
    if !push_url.is_empty() && !push_url.contains("{pkgbase}") {
        let message = "the address holds no `{pkgbase}`, so that every package would be pushed to the same".into();
        let hint = "write {pkgbase} where the name of the package goes";
        problems.push(layers.problem(repository, &["sources", "aur", "push_url"], message, hint));
    }
    for (index, group) in written.policy.reviews.groups.iter().flatten().enumerate() {
        if let Err((key, message)) = group.read() {
            let place = ["policy", "reviews", "groups", &index.to_string(), key];
            problems.push(layers.problem(repository, &place, message, ""));
        }
    }
    for (index, schedule) in written.schedule.iter().flatten().enumerate() {
        if let Some(message) = wrong_name(schedule) {
            let index = index.to_string();
            problems.push(layers.problem(repository, &["schedule", &index, "run"], message.into(), ""));
        }
    }
    problems
}

/// What can be written, and cannot be done so.
fn impossible(written: &Written) -> Vec<Impossible> {
    let mut found = Vec::new();
    if written.executor.kind == Some(ExecutorKind::Command) && written.executor.command.program.is_none() {
        found.push(Impossible {
            place: ["executor", "kind"],
            message: "executor.kind = \"command\" needs a program".to_owned(),
            hint: "name it as program in [executor.command]",
            missing: &[&["executor", "command", "program"]],
        });
    }
    let buildomat = &written.executor.buildomat;
    let is_known = buildomat.url.is_some() && buildomat.token_file.is_some();
    if written.executor.kind == Some(ExecutorKind::Buildomat) && !is_known {
        found.push(Impossible {
            place: ["executor", "kind"],
            message: "executor.kind = \"buildomat\" needs a server and a token".to_owned(),
            hint: "give url and token_file in [executor.buildomat]",
            missing: &[&["executor", "buildomat", "url"], &["executor", "buildomat", "token_file"]],
        });
    }
    let uploads = &written.executor.uploads;
    if uploads.file_mib > uploads.build_mib {
        found.push(Impossible {
            place: ["executor", "uploads"],
            message: "executor.uploads lets one package be larger than all packages of a build".to_owned(),
            hint: "let build_mib be as much as file_mib, or more",
            missing: &[],
        });
    }
    found.extend(publish::impossible(&written.publish));
    found
}

/// What is wrong with the name in a schedule.
fn wrong_name(schedule: &WrittenSchedule) -> Option<&'static str> {
    match (schedule.run, &schedule.name) {
        (ScheduledPipeline::Trigger, None) => Some("a schedule with run = \"trigger\" needs the `name` of the trigger"),
        (ScheduledPipeline::OnSchedule, Some(_)) => Some("only a schedule with run = \"trigger\" has a `name`"),
        (ScheduledPipeline::Trigger, Some(_)) | (ScheduledPipeline::OnSchedule, None) => None,
    }
}

/// The sections in force for one of several repositories.
fn in_force_for(repository: WrittenRepository, common: &Written) -> Written {
    let own = Written {
        schedule: repository.schedule,
        sources: repository.sources,
        forge: repository.forge,
        executor: repository.executor,
        publish: repository.publish,
        policy: repository.policy,
        ..Written::default()
    };
    let mut common = common.clone();
    // One directory cannot hold the packages of two repositories.
    common.publish.dir = common.publish.dir.map(|dir| dir.join(repository.name.as_str()));
    common.publish.archive_dir = common.publish.archive_dir.map(|dir| dir.join(repository.name.as_str()));
    own.over(common)
}

pub(super) fn resolve(mut written: Written) -> Settings {
    let server = resolve_server(written.server.clone());
    let listed = written.repository.take().unwrap_or_default();
    let repositories = if listed.is_empty() {
        vec![resolve_repository(ONLY_REPOSITORY, None, None, written, &server)]
    } else {
        let resolve_one = |repository: WrittenRepository| {
            let (name, url) = (repository.name.to_string(), repository.url.as_str().to_owned());
            let branch = repository.branch.clone();
            resolve_repository(&name, Some(url), branch, in_force_for(repository, &written), &server)
        };
        listed.into_iter().map(resolve_one).collect()
    };
    Settings { server, repositories }
}

/// A value that `defaults.toml` gives if nobody else does.
pub(super) fn given<T>(value: Option<T>) -> T {
    value.expect("defaults.toml gives this key")
}

fn resolve_server(server: WrittenServer) -> Server {
    Server {
        listen: given(server.listen),
        data_dir: given(server.data_dir),
        public_url: server.public_url,
        hosts: given(server.hosts),
        poll: given(server.poll).duration(),
        log: server.log,
        token_file: server.token_file,
    }
}

fn resolve_repository(
    name: &str,
    url: Option<String>,
    branch: Option<String>,
    written: Written,
    server: &Server,
) -> Repository {
    Repository {
        name: name.to_owned(),
        forge: forge::resolve(written.forge, url.as_deref()),
        url,
        branch,
        sources: resolve_sources(written.sources),
        executor: resolve_executor(written.executor),
        publish: publish::resolve(written.publish, name, server),
        policy: resolve_policy(&written.policy),
        schedules: written.schedule.unwrap_or_default().into_iter().map(resolve_schedule).collect(),
    }
}

fn resolve_sources(sources: WrittenSources) -> Sources {
    let aur = sources.aur;
    let mirror_url = aur.mirror_url.map(|url| url.as_str().to_owned()).filter(|url| !url.is_empty());
    let prefer = if mirror_url.is_some() { given(aur.prefer) } else { AurTransport::Git };
    Sources {
        parallel: sources.parallel,
        timeout: given(sources.timeout).duration(),
        script_timeout: given(sources.script_timeout).duration(),
        aur: Aur {
            metadata_url: given(aur.metadata_url),
            rpc_url: given(aur.rpc_url).as_str().trim_end_matches('/').to_owned(),
            git_url: given(aur.git_url).as_str().to_owned(),
            mirror_url,
            prefer,
            push_url: aur.push_url.map(|url| url.as_str().to_owned()),
            push_key_file: aur.push_key_file,
            push_ssh_command: aur.push_ssh_command,
        },
        nvchecker: Nvchecker {
            keyfile: sources.nvchecker.keyfile,
            mirrors: given(sources.nvchecker.mirror),
            alpm_dir: given(sources.nvchecker.alpm_dir),
            program: given(sources.nvchecker.program),
            commands: given(sources.nvchecker.commands),
        },
        gitlab: project_host(&given(sources.gitlab.url), None, "/api/v4", sources.gitlab.token_file),
        github: project_host(
            &given(sources.github.url),
            sources.github.api_url.as_ref(),
            "",
            sources.github.token_file,
        ),
        gitea: sources.gitea.url.map(|url| project_host(&url, None, "/api/v1", sources.gitea.token_file)),
    }
}

/// A forge whose API has an address of its own, or stands at a place below its own.
fn project_host(url: &Address, api: Option<&Address>, place: &str, token_file: Option<PathBuf>) -> ProjectHost {
    let plain = |address: &Address| address.as_str().trim_end_matches('/').to_owned();
    let api_url = api.map_or_else(|| format!("{}{place}", plain(url)), plain);
    ProjectHost { url: plain(url), api_url, token_file }
}

fn resolve_executor(executor: WrittenExecutor) -> Executor {
    let kind = given(executor.kind);
    // A fleet counts its own places.
    let slots = executor.slots.unwrap_or(if kind == ExecutorKind::Bullmq { usize::MAX } else { 1 });
    Executor {
        kind,
        slots,
        timeout: given(executor.timeout).duration(),
        log_bytes: given(executor.log_mib) << 20,
        limits: resolve_limits(executor.limits),
        uploads: resolve_uploads(&executor.uploads),
        local: LocalExecutor {
            user: executor.local.user,
            class: executor.local.class,
            name: executor.local.name.as_ref().map(Name::to_string),
            pgp: given(executor.local.pgp),
            keyring: executor.local.keyring,
            repositories: given(executor.local.repository),
            cache_bytes: given(executor.local.cache_gib) << 30,
            image: executor.local.image,
            engine: given(executor.local.engine),
        },
        bullmq: Bullmq {
            url: given(executor.bullmq.url),
            password_file: executor.bullmq.password_file,
            ca_file: executor.bullmq.ca_file,
            queue: given(executor.bullmq.queue).to_string(),
            prefix: given(executor.bullmq.prefix).to_string(),
        },
        chaotic: Chaotic {
            protocol: given(executor.chaotic.protocol),
            url: given(executor.chaotic.url),
            password_file: executor.chaotic.password_file,
            ca_file: executor.chaotic.ca_file,
        },
        copr: copr::resolve(executor.copr),
        command: CommandExecutor {
            program: executor.command.program,
            arguments: given(executor.command.arguments),
            env: given(executor.command.env),
        },
        buildomat: Buildomat {
            url: executor.buildomat.url,
            token_file: executor.buildomat.token_file,
            target: given(executor.buildomat.target).to_string(),
            script_file: executor.buildomat.script_file,
        },
    }
}

fn resolve_uploads(uploads: &WrittenUploads) -> UploadLimits {
    UploadLimits {
        file: given(uploads.file_mib) << 20,
        attempt: given(uploads.build_mib) << 20,
        files: given(uploads.files),
    }
}

fn resolve_limits(limits: WrittenLimits) -> Limits {
    let by_name = |numbers: Option<BTreeMap<Name, NonZeroUsize>>| {
        numbers.into_iter().flatten().map(|(name, number)| (name.to_string(), number.get())).collect::<BTreeMap<_, _>>()
    };
    Limits {
        per_repository: limits.per_repository.map(NonZeroUsize::get),
        repositories: by_name(limits.repositories),
        classes: by_name(limits.classes),
        weights: by_name(limits.weights).into_iter().map(|(name, weight)| (name, weight as u64)).collect(),
    }
}

fn resolve_policy(policy: &WrittenPolicy) -> Policy {
    Policy {
        unknown_directive: given(policy.unknown_directive),
        overlap: given(policy.overlap),
        rebuilds: given(policy.rebuilds),
        human_review: policy.human_review,
        format: given(policy.format),
        reviews: resolve_reviews(policy.reviews.clone()),
        dashboard: resolve_dashboard(policy.dashboard.clone()),
        proposals: ProposalPolicy {
            classify: given(policy.proposals.classify),
            test_build: given(policy.proposals.test_build),
        },
        statuses: StatusPolicy { builds: given(policy.statuses.builds), per_commit: given(policy.statuses.per_commit) },
        caches: CachePolicy { release: given(policy.caches.release), proposals: given(policy.caches.proposals) },
    }
}

fn resolve_dashboard(dashboard: WrittenDashboard) -> Option<String> {
    let title = given(dashboard.title);
    given(dashboard.enabled).then_some(title)
}

fn resolve_reviews(reviews: WrittenReviews) -> ReviewPolicy {
    let set = |names: Option<Vec<String>>| given(names).into_iter().collect();
    let zone = given(reviews.timezone);
    ReviewPolicy {
        labels: set(reviews.labels),
        conflict_label: reviews.conflict_label.filter(|label| !label.is_empty()),
        assignees: set(reviews.assignees),
        reviewers: set(reviews.reviewers),
        per_run: given(reviews.per_run),
        per_hour: given(reviews.per_hour),
        at_once: reviews.at_once,
        quiet: reviews.quiet_hours.map(|hours| hours.at(zone)),
        approvals: given(reviews.approvals),
        automerge_after: reviews.automerge_after.map(Period::signed),
        groups: reviews.groups.iter().flatten().filter_map(|group| group.read().ok()).collect(),
    }
}

fn resolve_schedule(schedule: WrittenSchedule) -> Schedule {
    let run = match schedule.run {
        ScheduledPipeline::OnSchedule => ScheduledRun::OnSchedule,
        ScheduledPipeline::Trigger => {
            ScheduledRun::Trigger(schedule.name.expect("`check` refuses a trigger without a name"))
        }
    };
    Schedule { cron: schedule.cron, zone: schedule.timezone.unwrap_or_default(), run }
}
