//! `pkgwarden.toml` as it is written: every key may be missing. One such value per layer (defaults, the
//! file, each environment variable); [`Layer::over`] lays one over another.
//!
//! The doc comments here are the reference of the file: the JSON Schema carries them. What the program
//! works with is [`super::settings`].

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image::{Engine, ImageName};
use super::settings::{ExecutorKind, ForgeKind, LogLevel, Protocol};
use super::value::{Address, CronLine, GitAddress, Listen, Name, Period, RedisAddress, SigLevel, Zone};
use crate::domain::signature::Verification;

/// Settings of which each may be given or not.
pub(super) trait Layer {
    /// These settings, and those of `below` where these say nothing.
    fn over(self, below: Self) -> Self;
}

/// Declares a table of settings: first the single ones, after the semicolon the tables inside it.
macro_rules! section {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$one_meta:meta])* $one:ident: $one_type:ty,)*
        $(; $($(#[$table_meta:meta])* $table:ident: $table_type:ty,)*)?
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
        #[serde(default)]
        #[schemars(deny_unknown_fields)]
        pub(in crate::config) struct $name {
            $($(#[$one_meta])* #[serde(skip_serializing_if = "Option::is_none")] pub $one: Option<$one_type>,)*
            $($($(#[$table_meta])* pub $table: $table_type,)*)?
        }

        impl Layer for $name {
            fn over(self, below: Self) -> Self {
                Self {
                    $($one: self.$one.or(below.$one),)*
                    $($($table: self.$table.over(below.$table),)*)?
                }
            }
        }
    };
}

mod copr;
mod dashboard;
mod limits;
mod policy;
mod publish;
mod reviews;
mod sources;
mod uploads;

pub(super) use copr::WrittenCopr;
pub(super) use dashboard::WrittenDashboard;
pub(super) use limits::WrittenLimits;
pub(super) use policy::WrittenPolicy;
pub(super) use publish::{WrittenPublish, WrittenTarget};
pub(super) use reviews::WrittenReviews;
pub use sources::ServiceMirror;
pub(super) use sources::WrittenSources;
pub(super) use uploads::WrittenUploads;

section! {
    /// The configuration of pkgwarden. Every key has a default or may be left out, and can be given in the
    /// environment as `PKGWARDEN__SECTION__KEY`, which wins over the file.
    Written {
        /// When the pipelines run by themselves. Replaces the default, which is `on-schedule` every half hour.
        #[schemars(example = [serde_json::json!({"cron": "*/30 * * * *", "run": "on-schedule"})])]
        schedule: Vec<WrittenSchedule>,
        /// The repositories this controller keeps, each with any of the other sections to override for it.
        /// Without any, the settings describe the one repository.
        #[schemars(example = [serde_json::json!({"name": "main", "url": "https://git.example/packages.git"})])]
        repository: Vec<WrittenRepository>,
        ;
        /// The controller itself.
        server: WrittenServer,
        /// Where updates come from.
        sources: WrittenSources,
        /// Where the monorepo is hosted and its reviews are opened.
        forge: WrittenForge,
        /// What runs the builds.
        executor: WrittenExecutor,
        /// The pacman repository that built packages go to.
        publish: WrittenPublish,
        /// What the operator decides.
        policy: WrittenPolicy,
    }
}

section! {
    /// The controller itself.
    WrittenServer {
        /// Address of pages, API and webhooks; port 0 picks a free one.
        #[schemars(example = "127.0.0.1:8080")]
        listen: Listen,
        /// Everything that is kept. Without it: systemd's state directory, `/var/lib/pkgwarden` for root, or
        /// `pkgwarden` in the user's. If pkgwarden runs as root, the build user must be able to enter it.
        #[schemars(example = "/var/lib/pkgwarden")]
        data_dir: PathBuf,
        /// How people reach the pages; used in links.
        #[schemars(example = "https://packages.example/")]
        public_url: Address,
        /// Names by which the pages and the API are reached beside that of `public_url`, `localhost` and addresses, as when
        /// a proxy passes on another. Requests to other names are refused (421): web pages of strangers could read along.
        #[schemars(example = ["packages.lan"])]
        hosts: Vec<String>,
        /// How often the remote is looked at, webhooks or not.
        #[schemars(example = &"1m")]
        poll: Period,
        /// How much is logged, if the command line does not say it. Without it: warnings and errors.
        log: LogLevel,
        /// File with the token that the API asks for before it changes anything. Without it, changes are
        /// only possible through the unix socket in the data directory.
        #[schemars(example = "/etc/pkgwarden/token")]
        token_file: PathBuf,
    }
}

section! {
    /// Where the monorepo is hosted and its reviews are opened.
    WrittenForge {
        /// What kind of forge it is, and so how its webhooks are signed; `local` keeps reviews as branches.
        kind: ForgeKind,
        /// Base of its API, where it is not that of github.com or gitlab.com.
        #[schemars(example = "https://git.example/api/v4")]
        api_url: Address,
        /// The project on the forge, if the address of the monorepo does not say it.
        #[schemars(example = "owner/packages")]
        project: String,
        /// File with the access token.
        #[schemars(example = "/etc/pkgwarden/forge-token")]
        token_file: PathBuf,
        /// Environment variable with the access token, in place of a file; for jobs of a CI service.
        #[schemars(example = &"FORGE_TOKEN")]
        token_variable: String,
        /// The number of the GitHub App to act as, in place of somebody with a token.
        #[schemars(example = 123_456)]
        app_id: u64,
        /// File with the private key of that app.
        #[schemars(example = "/etc/pkgwarden/forge-app.pem")]
        app_key_file: PathBuf,
        /// File with the secret of the webhook that calls `/hooks/NAME`. Several lines are several secrets, each of
        /// which counts, so that one can be changed. Without it, webhooks are refused.
        #[schemars(example = "/etc/pkgwarden/webhook-secret")]
        webhook_secret_file: PathBuf,
    }
}

section! {
    /// What runs the builds.
    WrittenExecutor {
        /// What kind of executor it is; `none` only plans.
        kind: ExecutorKind,
        /// Builds at once. Without it: one; with `bullmq`, as many as builders have places for.
        #[schemars(range(min = 1, max = 256), example = 1)]
        slots: usize,
        /// How long one build may take, before `BUILDER_EXTRA_TIMEOUT`.
        #[schemars(example = &"1h")]
        timeout: Period,
        /// The most MiB that one build may print. One that prints more is stopped, and fails.
        #[schemars(range(min = 1, max = 65536), example = 64)]
        log_mib: u64,
        ;
        /// How much of what may be built at once, and whose turn it is.
        limits: WrittenLimits,
        /// How much may be brought for one build that is carried out elsewhere.
        uploads: WrittenUploads,
        /// Builds on this machine.
        local: WrittenLocal,
        /// Builds on any number of machines, through Redis.
        bullmq: WrittenBullmq,
        /// Builds by an existing Chaotic Manager.
        chaotic: WrittenChaotic,
        /// Builds on COPR.
        copr: WrittenCopr,
        /// Builds by a program of your own.
        command: WrittenCommand,
        /// Builds by a buildomat server.
        buildomat: WrittenBuildomat,
    }
}

section! {
    /// Builds on this machine.
    WrittenLocal {
        /// Who runs makepkg if the controller itself runs as root.
        #[schemars(example = &"nobody")]
        user: String,
        /// The class of this machine: it takes builds of this class and of lower ones. Without it and a name: it
        /// takes all.
        #[schemars(example = 5)]
        class: u64,
        /// What this machine is called: it takes builds whose class is this name. Without it: `local`.
        #[schemars(example = &"strong")]
        name: Name,
        /// When PGP signatures of sources are verified: where the package folder brings every key that the PKGBUILD
        /// names in `validpgpkeys`, as `keys/pgp/FINGERPRINT.asc`; always, so that builds without the keys fail; or never.
        pgp: Verification,
        /// The directory with pacman's keyring, by which packages are verified that builds install. Without it:
        /// `/etc/pacman.d/gnupg`, if the machine has one.
        #[schemars(example = "/etc/pacman.d/gnupg")]
        keyring: PathBuf,
        /// The most GiB that everything takes which builds keep for the next one (docs/caches.md). What has been unused
        /// for longest goes first.
        #[schemars(range(max = 65536), example = 20)]
        cache_gib: u64,
        /// The image of podman or docker whose system builds see in place of this machine's. It is fetched if it is not there.
        #[schemars(example = "docker.io/library/archlinux:base-devel")]
        image: ImageName,
        /// Who knows that image.
        #[schemars(example = &"docker")]
        engine: Engine,
        /// Pacman repositories that builds may install from, beside the published one; the first wins.
        #[schemars(example = [serde_json::json!({"name": "core", "server": "https://mirror.example/$repo/os/$arch"})])]
        repository: Vec<PacmanRepository>,
    }
}

section! {
    /// Builds on any number of machines, through Redis.
    WrittenBullmq {
        /// The Redis server: `redis://HOST`, `rediss://HOST` for TLS, or `redis-sentinel://HOST,HOST/MASTER`.
        #[schemars(example = "redis://127.0.0.1:6379/0")]
        url: RedisAddress,
        /// File with the password, so that it need not stand in the address.
        #[schemars(example = "/etc/pkgwarden/redis-password")]
        password_file: PathBuf,
        /// File with the certificates, in PEM, of whom to trust with rediss://; those of the web without it.
        #[schemars(example = "/etc/pkgwarden/redis-ca.pem")]
        ca_file: PathBuf,
        /// Name of the queue.
        #[schemars(example = &"builds")]
        queue: Name,
        /// Prefix of its keys in Redis.
        #[schemars(example = &"bull")]
        prefix: Name,
    }
}

section! {
    /// Builds by an existing Chaotic Manager.
    WrittenChaotic {
        /// How it is spoken to: over Moleculer's bus, or through the queues of `BullMQ` that it had before October 2024.
        protocol: Protocol,
        /// Its Redis server, as in `[executor.bullmq]`.
        #[schemars(example = "redis://127.0.0.1:6379/0")]
        url: RedisAddress,
        /// File with the password, so that it need not stand in the address.
        #[schemars(example = "/etc/pkgwarden/manager-password")]
        password_file: PathBuf,
        /// File with the certificates, in PEM, of whom to trust with rediss://; those of the web without it.
        #[schemars(example = "/etc/pkgwarden/redis-ca.pem")]
        ca_file: PathBuf,
    }
}

section! {
    /// Builds by a buildomat server.
    WrittenBuildomat {
        /// The server.
        #[schemars(example = "https://buildomat.example/")]
        url: Address,
        /// File with the token of a user there.
        #[schemars(example = "/etc/pkgwarden/buildomat-token")]
        token_file: PathBuf,
        /// The kind of machine to build on: one with Arch Linux, unless `script_file` knows another way.
        #[schemars(example = &"archlinux")]
        target: Name,
        /// What is run there in place of our own script. It finds the build in the variable `PKGWARDEN_BUILD` and the
        /// package folder in `/input/package.tar`, and leaves packages in `/out`.
        #[schemars(example = "/etc/pkgwarden/build.sh")]
        script_file: PathBuf,
    }
}

section! {
    /// Builds by a program of your own.
    WrittenCommand {
        /// The program that is run for each build.
        #[schemars(example = "/usr/local/bin/build-package")]
        program: PathBuf,
        /// Its arguments.
        #[schemars(example = ["--project", "packages"])]
        arguments: Vec<String>,
        /// Variables of our environment that it gets beside `PATH`, `HOME` and those of proxies.
        #[schemars(example = ["GITLAB_TOKEN"])]
        env: Vec<String>,
    }
}

/// One of several repositories.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct WrittenRepository {
    /// Its name in pages, URLs and logs.
    pub name: Name,
    /// Its address for git.
    pub url: GitAddress,
    /// The branch with the packages. Without it: the one the clone has checked out, else `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// Replaces the common schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Vec<WrittenSchedule>>,
    /// Overrides `[sources]`.
    #[serde(default)]
    pub sources: WrittenSources,
    /// Overrides `[forge]`.
    #[serde(default)]
    pub forge: WrittenForge,
    /// Overrides `[executor]`.
    #[serde(default)]
    pub executor: WrittenExecutor,
    /// Overrides `[publish]`.
    #[serde(default)]
    pub publish: WrittenPublish,
    /// Overrides `[policy]`.
    #[serde(default)]
    pub policy: WrittenPolicy,
}

/// When one pipeline runs by itself.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct WrittenSchedule {
    /// Minute, hour, day of the month, month, day of the week.
    #[schemars(example = "*/30 * * * *")]
    pub cron: CronLine,
    /// The time zone of `cron`, by its IANA name. Without it: `UTC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "Europe/Berlin")]
    pub timezone: Option<Zone>,
    /// What is run.
    pub run: ScheduledPipeline,
    /// With `run = "trigger"`: the name of the trigger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"daily")]
    pub name: Option<String>,
}

/// A pipeline that can have a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ScheduledPipeline {
    /// Looks for updates.
    OnSchedule,
    /// Builds the packages with `CI_ON_TRIGGER=<name>` that wait.
    Trigger,
}

/// A pacman repository that builds may install from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PacmanRepository {
    /// Its name, as in pacman.conf.
    pub name: Name,
    /// Its server, as in pacman.conf: `$repo` and `$arch` are filled in by pacman.
    pub server: String,
    /// What is demanded of its signatures, as in pacman.conf. Without it: `Required DatabaseOptional` where the machine
    /// that builds has pacman's keyring, and nothing where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"Required DatabaseOptional")]
    pub sig_level: Option<SigLevel>,
    /// File with the public keys of those who sign it, as `gpg --export --armor` prints them. All of them are trusted,
    /// wherever it is built, and packages have to be signed by one of them unless `sig_level` says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"/etc/pkgwarden/keys/chaotic-aur.asc")]
    pub keys: Option<PathBuf>,
}
