//! What `doctor` looks at, put together from the settings.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::{DEFAULT_BRANCH, Place, address_of, building, chosen, copr, executors, fleet, hosting, publishing};
use crate::builder::user::BuildUser;
use crate::config::Settings;
use crate::config::settings::{self, AurTransport, ExecutorKind};
use crate::controller::doctor::{self, Check, Status};
use crate::controller::linkage;
use crate::executor::chaotic::Chaotic;
use crate::git::{Remote, Repository};
use crate::sys::clock::SystemClock;
use crate::sys::scratch::Scratch;

/// Looks at everything the settings ask for: this machine, the directories, and the other ends of the
/// network. `dir` is the clone to keep if the configuration names no repository. Nothing is changed.
///
/// # Errors
/// If no temporary directory can be made.
pub async fn everything(settings: &Settings, dir: &Path) -> Result<Vec<Check>> {
    let scratch = Scratch::new()?;
    let workspace = scratch.path().join("workspace.git");
    Repository::create_workspace(&workspace, None)?;
    let mut checks = doctor::tools(doctor::build_user(settings)).await;
    checks.extend(doctor::directories(settings));
    checks.extend(doctor::configuration(settings));
    checks.extend(libraries(settings));
    checks.push(doctor::time_zones());
    checks.extend(publication(settings).await);
    for repository in &settings.repositories {
        checks.extend(examine_remote(repository, dir, &workspace).await);
        checks.extend(examine_forge(repository, dir).await);
        if repository.executor.kind == ExecutorKind::Local {
            checks.extend(executors::examine_image(&repository.executor.local, &settings.server.data_dir).await);
        }
        if repository.executor.kind == ExecutorKind::Copr {
            checks.push(copr::examine(&repository.executor.copr).await);
        }
        if repository.executor.kind == ExecutorKind::Bullmq {
            checks.extend(fleet::examine(&repository.executor.bullmq).await);
        }
        if repository.executor.kind == ExecutorKind::Chaotic {
            checks.push(examine_manager(&repository.executor.chaotic).await);
        }
        checks.extend(examine_aur(&repository.sources.aur, &workspace).await);
    }
    // Several repositories mostly share a data directory, an executor and an AUR.
    let mut seen = Vec::new();
    checks.retain(|check| {
        !seen.contains(check) && {
            seen.push(check.clone());
            true
        }
    });
    Ok(checks)
}

/// Looks at what a machine needs that only builds, for a controller elsewhere. Nothing is changed.
///
/// # Errors
/// If there are no settings.
pub async fn builder(settings: &Settings) -> Result<Vec<Check>> {
    let settings::Executor { local, bullmq, .. } = &building(settings).context("there are no settings")?.executor;
    let user = local.user.as_deref().unwrap_or("nobody");
    let mut checks = doctor::tools(Some(user)).await;
    checks.extend(doctor::data_directory(settings, BuildUser::resolve(user).ok().as_ref()));
    checks.extend(executors::examine_image(local, &settings.server.data_dir).await);
    checks.extend(fleet::examine(bullmq).await);
    Ok(checks)
}

/// For each repository whose packages are published elsewhere: what that leaves unknown.
fn libraries(settings: &Settings) -> impl Iterator<Item = Check> {
    let elsewhere = settings.repositories.iter().filter(|repository| is_elsewhere(repository.executor.kind));
    elsewhere.map(|repository| {
        let detail = "which libraries its packages need is not known, except what they declare: they are published \
                      elsewhere, and what files ask for stands in no database; CI_LIB_DB has to name the one that has them";
        Check::found("configuration", format!("sonames of {}", repository.name), detail)
    })
}

/// Whether what is built can be published: the signer answers with the right key, and databases of the distribution
/// can be read.
async fn publication(settings: &Settings) -> Vec<Check> {
    let mut checks = Vec::new();
    for settings::Repository { publish, executor, .. } in &settings.repositories {
        if is_elsewhere(executor.kind) {
            continue;
        }
        if let Some(signing) = publishing::signing(publish) {
            let subject = signing.socket.display().to_string();
            let found = format!("signs with {}", signing.key);
            let hint = "see that `pkgwarden signer` runs, with the key that publish.key names, or let `serve` start it with \
                        publish.signer_home";
            let asked = tokio::task::spawn_blocking(move || signing.public_key()).await;
            checks.push(match asked {
                Ok(Ok(_)) => Check::found("signer", subject, found),
                // `serve` starts it, so that it may well be away now.
                Ok(Err(error)) if publish.signer_home.is_some() => {
                    Check::found("signer", subject, error.to_string()).but(Status::Warning, "`serve` starts it")
                }
                Ok(Err(error)) => Check::error("signer", subject, error.to_string(), hint),
                Err(error) => Check::error("signer", subject, error.to_string(), hint),
            });
        }
        for path in &publish.official_databases {
            let read = std::fs::File::open(path).err();
            checks.extend(read.map(|error| {
                let hint = "`pacman -Sy` brings it, or take it out of publish.official_databases";
                Check::error("publishing", path.display().to_string(), error.to_string(), hint)
            }));
        }
    }
    checks
}

/// What is to be said of the libraries that packages need, if their files are not here.
#[must_use]
pub fn libraries_unknown(settings: Option<&Settings>, place: &Place) -> Option<&'static str> {
    let repository = chosen(settings?, place).ok()?;
    is_elsewhere(repository.executor.kind).then_some(linkage::PUBLISHED_ELSEWHERE)
}

/// Whether others publish the packages.
fn is_elsewhere(kind: ExecutorKind) -> bool {
    matches!(kind, ExecutorKind::None | ExecutorKind::Chaotic)
}

/// Whether the Chaotic Manager is there.
async fn examine_manager(chaotic: &settings::Chaotic) -> Check {
    const HINT: &str = "executor.chaotic.url is the Redis of the manager, and protocol how it speaks";
    let subject = chaotic.url.url().to_string();
    let found = async { anyhow::Ok(Chaotic::open(executors::chaotic(chaotic)?)?.examine().await?) };
    match found.await {
        Ok(detail) => Check::found("chaotic", subject, detail),
        Err(error) => Check::error("chaotic", subject, format!("{error:#}"), HINT),
    }
}

async fn examine_remote(repository: &settings::Repository, dir: &Path, workspace: &Path) -> Vec<Check> {
    match address_of(repository, dir) {
        Ok((address, clone)) => {
            let mut remote = Remote::new(workspace.to_owned(), address).timeout(doctor::PATIENCE);
            let branch = repository.branch.clone().or_else(|| clone.as_ref()?.head_branch());
            if let Some(clone) = &clone {
                remote = remote.settings_of(clone);
            }
            doctor::remote(&repository.name, &remote, branch.as_deref().unwrap_or(DEFAULT_BRANCH)).await
        }
        Err(error) => {
            let hint = "run it in a clone, name one with -C, or list a [[repository]] with its url";
            vec![Check::error("remote", &repository.name, format!("{error:#}"), hint)]
        }
    }
}

async fn examine_forge(repository: &settings::Repository, dir: &Path) -> Vec<Check> {
    let address = address_of(repository, dir).map(|(address, _)| address).unwrap_or_default();
    match hosting::forge(&repository.forge, &address, Arc::new(SystemClock)) {
        Ok(None) => Vec::new(),
        Ok(Some(forge)) => doctor::forge(&repository.name, forge.as_ref()).await,
        Err(error) => {
            let hint = "mend the section [forge] and the files that it names";
            vec![Check::error("forge", &repository.name, format!("{error:#}"), hint)]
        }
    }
}

async fn examine_aur(aur: &settings::Aur, workspace: &Path) -> Vec<Check> {
    let mut checks = vec![doctor::aur_index(aur.metadata_url.as_str(), &aur.metadata_url.to_string()).await];
    if let (AurTransport::Mirror, Some(mirror)) = (aur.prefer, &aur.mirror_url) {
        let remote = Remote::new(workspace.to_owned(), mirror.clone()).timeout(doctor::PATIENCE);
        checks.push(doctor::aur_mirror(&remote).await);
    }
    checks
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn where_packages_are_published_elsewhere_it_is_said_that_their_libraries_are_not_known() {
        let told = |text: &str| -> Vec<String> {
            let settings = settings::load(Some(("pkgwarden.toml", text)), &BTreeMap::new()).expect("right settings");
            libraries(&settings).map(|check| check.subject).collect()
        };
        assert_eq!(told("[[repository]]\nname = \"here\"\nurl = \"/srv/here.git\"\n"), [""; 0]);
        let elsewhere = "[[repository]]\nname = \"there\"\nurl = \"/srv/there.git\"\nexecutor.kind = \"none\"\n";
        assert_eq!(told(elsewhere), ["sonames of there"]);
    }
}
