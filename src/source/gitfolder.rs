//! Packages whose files lie in some git repository: on its default branch or another, in its root or a folder.
//!
//! Each repository is asked once where its branches are, however many packages come from it, and only what has
//! moved is fetched: one commit deep, all branches of a repository in one negotiation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::budget::Budget;
use super::failure::Failure;
use super::lsremote::{LsError, RefReader, host, shown};
use super::order::Order;
use super::retry::again;
use super::{Patience, SourceAnswer, SourceRequest, SourcesConfig, error_text};
use crate::domain::folder::Folder;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::policy::{GitFolder, SourceKind};
use crate::domain::state::Cursor;
use crate::git::{Limits, Remote, Repository};
use crate::sys::http;
use crate::telemetry::progress;

/// Fetching from one repository may take this long while it moves.
const FETCH_TIMEOUT: Duration = Duration::from_mins(10);

/// Asks git repositories for package folders.
#[derive(Debug)]
pub struct GitFolders {
    reader: RefReader,
    order: Order,
    workspaces: PathBuf,
    patience: Patience,
}

/// One repository and the packages that come from it.
#[derive(Debug)]
struct Followed<'a> {
    url: &'a str,
    packages: Vec<(&'a SourceRequest, &'a GitFolder)>,
}

type Files = BTreeMap<PkgBase, SourceAnswer>;

/// What was found at the tip of a branch.
struct Found {
    /// What is remembered of it: the commit, or the tree of the folder if it is only a part of the repository.
    seen: Oid,
    folder: Folder,
}

impl GitFolders {
    /// Prepares everything; asks nobody yet.
    pub fn new(config: &SourcesConfig) -> Self {
        let workspaces = config.cache_dir.join("folders");
        let reader = RefReader::new(http::client(config.timeout), workspaces.join("listing.git"), config.timeout);
        let order = Order::new(config.cache_dir.join("folders.next"));
        Self { reader, order, workspaces, patience: Patience::new(config.timeout, FETCH_TIMEOUT) }
    }

    /// What the repositories have for these packages.
    pub async fn ask(&self, requests: &[SourceRequest], budget: &Budget) -> Files {
        let mut repositories: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for request in requests {
            if let SourceKind::Git(folder) = &request.kind {
                repositories.entry(&folder.url).or_default().push((request, folder));
            }
        }
        let followed = |(url, packages)| Followed { url, packages };
        let repositories: Vec<Followed<'_>> = repositories.into_iter().map(followed).collect();
        let progress = progress::counted("asking git repositories for packages", repositories.len());
        let ask = async |followed: &Followed<'_>| {
            let answers = self.one(followed, budget).await;
            progress.advance();
            answers
        };
        let left_out = |files: &Files| files.values().any(|answer| matches!(answer, SourceAnswer::Unknown { .. }));
        let answers = self.order.ask_all(&repositories, |it| it.url, budget, ask, left_out).await;
        answers.into_iter().flat_map(|(_, files)| files).collect()
    }

    async fn one(&self, followed: &Followed<'_>, budget: &Budget) -> Files {
        let refs: BTreeSet<String> = followed.packages.iter().map(|(_, folder)| ref_name(folder)).collect();
        let refs: Vec<&str> = refs.iter().map(String::as_str).collect();
        let asked = budget.ask(host_of(followed.url), again(|| self.reader.tips(followed.url, &refs))).await;
        let tips = match asked {
            Ok(tips) => tips,
            Err(failure) => return all(&followed.packages, &failure.into()),
        };
        let mut files = Files::new();
        let mut moved = Vec::new();
        for &(request, folder) in &followed.packages {
            let seen = request.cursor.as_ref().map(|cursor| cursor.commit);
            match tips.get(&ref_name(folder)) {
                None => drop(files.insert(request.pkgbase.clone(), missing(folder).into())),
                Some(tip) if seen == Some(*tip) => {
                    files.insert(request.pkgbase.clone(), SourceAnswer::Unmoved { cursor: None });
                }
                Some(tip) => moved.push((request, folder, *tip)),
            }
        }
        files.extend(self.contents(followed.url, &moved, budget).await);
        files
    }

    /// The files of packages whose branches have moved.
    async fn contents(&self, url: &str, moved: &[(&SourceRequest, &GitFolder, Oid)], budget: &Budget) -> Files {
        if moved.is_empty() {
            return Files::new();
        }
        let workspace = self.workspaces.join(format!("{}.git", key(url)));
        let wanted = moved.iter().map(|(request, folder, tip)| (request.pkgbase.clone(), (*folder).clone(), *tip));
        let wanted: Vec<(PkgBase, GitFolder, Oid)> = wanted.collect();
        let missing = match prepared(&workspace, wanted.iter().map(|(_, folder, tip)| (ref_name(folder), *tip))).await {
            Ok(missing) => missing,
            Err(error) => return failed(&wanted, &Failure::elsewhere(error)),
        };
        let refspecs: Vec<String> = missing.iter().map(|name| format!("{name}:{}", kept_as(name))).collect();
        let idle = self.patience.idle.as_secs().max(1).to_string();
        let remote = Remote::new(workspace.clone(), url.to_owned()).timeout(self.patience.total);
        let remote = remote.env("GIT_HTTP_LOW_SPEED_LIMIT", "1").env("GIT_HTTP_LOW_SPEED_TIME", idle);
        let fetch = || async { remote.fetch(&refspecs, Some(1)).await.map_err(LsError::from) };
        if !refspecs.is_empty()
            && let Err(failure) = budget.ask(host_of(url), again(fetch)).await
        {
            return failed(&wanted, &failure);
        }
        let cursors = moved.iter().map(|(request, ..)| request.cursor.clone()).collect();
        read_all(&workspace, wanted, cursors).await
    }
}

fn ref_name(folder: &GitFolder) -> String {
    folder.branch.as_ref().map_or_else(|| "HEAD".to_owned(), |branch| format!("refs/heads/{branch}"))
}

fn kept_as(name: &str) -> String {
    format!("refs/pkgwarden/folders/{}", key(name))
}

/// A name for something whose own may hold any signs.
fn key(text: &str) -> String {
    Sha256::digest(text).iter().take(16).fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The host of an address, also of `git@host:path`.
fn host_of(url: &str) -> &str {
    let short = url.split_once('@').filter(|_| !url.contains("://")).and_then(|(_, rest)| rest.split_once(':'));
    short.map_or_else(|| host(url), |(host, _)| host)
}

fn missing(folder: &GitFolder) -> Failure {
    let url = shown(&folder.url);
    Failure::question(match &folder.branch {
        Some(branch) => format!("{url} has no branch `{}`", branch.escape_debug()),
        None => format!("{url} has no default branch"),
    })
}

fn all(packages: &[(&SourceRequest, &GitFolder)], answer: &SourceAnswer) -> Files {
    packages.iter().map(|(request, _)| (request.pkgbase.clone(), answer.clone())).collect()
}

fn failed(wanted: &[(PkgBase, GitFolder, Oid)], failure: &Failure) -> Files {
    wanted.iter().map(|(pkgbase, ..)| (pkgbase.clone(), failure.clone().into())).collect()
}

/// Makes the workspace, and says which refs it has not at these commits yet.
async fn prepared(workspace: &Path, tips: impl Iterator<Item = (String, Oid)>) -> Result<BTreeSet<String>, String> {
    let (workspace, tips): (_, Vec<_>) = (workspace.to_owned(), tips.collect());
    let work = move || -> Result<BTreeSet<String>, crate::git::GitError> {
        let repository = Repository::create_workspace(&workspace, None)?;
        let mut missing = BTreeSet::new();
        for (name, tip) in tips {
            if repository.resolve(&kept_as(&name))? != Some(tip) {
                missing.insert(name);
            }
        }
        Ok(missing)
    };
    let done = tokio::task::spawn_blocking(work).await.expect("looking into a repository does not panic");
    done.map_err(|error| error_text(&error))
}

async fn read_all(workspace: &Path, wanted: Vec<(PkgBase, GitFolder, Oid)>, cursors: Vec<Option<Cursor>>) -> Files {
    let workspace = workspace.to_owned();
    let work = move || match Repository::open(&workspace) {
        Err(error) => failed(&wanted, &Failure::elsewhere(error_text(&error))),
        Ok(repository) => {
            let answer = |((pkgbase, folder, _), cursor): (&(PkgBase, GitFolder, Oid), &Option<Cursor>)| {
                (pkgbase.clone(), answer(read(&repository, folder), cursor.as_ref()))
            };
            wanted.iter().zip(&cursors).map(answer).collect()
        }
    };
    tokio::task::spawn_blocking(work).await.expect("reading a repository does not panic")
}

fn answer(found: Result<Found, String>, cursor: Option<&Cursor>) -> SourceAnswer {
    match found {
        Ok(found) if cursor.is_some_and(|cursor| cursor.commit == found.seen) => SourceAnswer::Unmoved { cursor: None },
        Ok(Found { seen, folder }) => {
            let cursor = Cursor { commit: seen, stamp: None, version: None };
            SourceAnswer::Files { cursor, folder, behind: None, packager: None }
        }
        Err(error) => SourceAnswer::unknown(error),
    }
}

fn read(repository: &Repository, wanted: &GitFolder) -> Result<Found, String> {
    let text = |error: crate::git::GitError| error_text(&error);
    let kept = kept_as(&ref_name(wanted));
    let commit = repository.resolve(&kept).map_err(text)?.ok_or("its branch vanished while it was read")?;
    let mut tree = repository.tree_of(commit).map_err(text)?;
    for name in wanted.folder.iter().flat_map(|path| path.split('/')) {
        let entries = repository.entries(tree).map_err(text)?;
        let entry = entries.into_iter().find(|entry| entry.is_tree && entry.name == name);
        let path = wanted.folder.as_deref().unwrap_or_default().escape_debug().to_string();
        tree = entry.map(|entry| entry.id).ok_or_else(|| format!("{} has no folder `{path}`", shown(&wanted.url)))?;
    }
    let refused = |error| format!("the files of commit {} are not taken: {}", commit.short(), error_text(&error));
    let folder = repository.folder(tree, &Limits::default()).map_err(refused)?;
    if folder.get("PKGBUILD").is_none() {
        return Err(format!("{} has no PKGBUILD there", shown(&wanted.url)));
    }
    Ok(Found { seen: if wanted.folder.is_some() { tree } else { commit }, folder })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::folder::FileMode;
    use crate::source::Sources;
    use crate::source::testing::{World, at, name, package};

    fn request(pkgbase: &str, url: &str, branch: Option<&str>, folder: Option<&str>) -> SourceRequest {
        let kind = SourceKind::Git(GitFolder {
            url: url.to_owned(),
            branch: branch.map(str::to_owned),
            folder: folder.map(str::to_owned),
        });
        SourceRequest { pkgbase: name(pkgbase), kind, cursor: None, version: None, members: Vec::new() }
    }

    /// One pass, which moves the cursors.
    async fn pass(world: &World, requests: &mut [SourceRequest]) -> Files {
        let answers = Sources::new(&world.config()).pass(at(0)).observe(requests).await.files;
        for request in requests {
            if let SourceAnswer::Files { cursor, .. } = &answers[&request.pkgbase] {
                request.cursor = Some(cursor.clone());
            }
        }
        answers
    }

    fn pkgver(answer: &SourceAnswer) -> &str {
        let SourceAnswer::Files { folder, .. } = answer else { panic!("{answer:?}") };
        std::str::from_utf8(folder.get("PKGBUILD").expect("there")).expect("text").trim()
    }

    fn error(answer: &SourceAnswer) -> &str {
        let SourceAnswer::Unknown { error, .. } = answer else { panic!("{answer:?}") };
        error
    }

    const UNMOVED: SourceAnswer = SourceAnswer::Unmoved { cursor: None };

    #[tokio::test]
    async fn branches_and_folders_of_one_repository_cost_one_question_and_one_fetch() {
        let world = World::start().await;
        let nested = |version: &str| {
            let inner = package("b", version);
            let files = inner.files.into_iter().map(|(path, file)| (format!("pkgs/b/{path}"), file));
            let mut folder = package("a", version);
            folder.files.extend(files);
            folder
        };
        world.commit("all.git", "main", &nested("1-1"), 1);
        world.commit("all.git", "dev", &package("c", "7-1"), 1);
        let url = world.url("git/all.git");
        let mut requests = [
            request("a", &url, None, None),
            request("b", &url, Some("main"), Some("pkgs/b")),
            request("c", &url, Some("dev"), None),
        ];
        let answers = pass(&world, &mut requests).await;
        assert_eq!(["a", "b", "c"].map(|it| pkgver(&answers[it])), ["pkgver=1", "pkgver=1", "pkgver=7"]);
        let asked = world.requests();
        assert_eq!(asked.iter().filter(|line| line.ends_with("fetch")).count(), 1, "{asked:?}");
        assert_eq!(asked[0], "GET /all.git/info/refs");
        let answers = pass(&world, &mut requests).await;
        assert!(answers.values().all(|answer| *answer == UNMOVED), "{answers:?}");
        assert_eq!(world.requests(), ["GET /all.git/info/refs"]);
        // Another commit that changes nothing in the folder of `b`.
        let mut other = nested("1-1");
        other = other.with("README", "more");
        world.commit("all.git", "main", &other, 2);
        let answers = pass(&world, &mut requests).await;
        assert_eq!((pkgver(&answers["a"]), &answers["b"], &answers["c"]), ("pkgver=1", &UNMOVED, &UNMOVED));
    }

    #[tokio::test]
    async fn what_is_not_there_is_unknown_and_says_what() {
        let world = World::start().await;
        world.commit("one.git", "main", &package("a", "1-1"), 1);
        world.commit("two.git", "main", &Folder::default().with("README", "nothing"), 1);
        let mut evil = package("a", "1-1").with("link", "/etc/passwd");
        evil.files.get_mut("link").expect("there").mode = FileMode::Symlink;
        world.commit("evil.git", "main", &evil, 1);
        let [one, two, none, evil] = ["one", "two", "none", "evil"].map(|it| world.url(&format!("git/{it}.git")));
        let mut requests = [
            request("branch", &one, Some("gone"), None),
            request("folder", &one, None, Some("pkgs/x")),
            request("pkgbuild", &two, None, None),
            request("repository", &none, None, None),
            request("tree", &evil, None, None),
        ];
        let answers = pass(&world, &mut requests).await;
        let said: Vec<_> = ["branch", "folder", "pkgbuild", "repository"].map(|it| error(&answers[it])).into();
        let said = said.join("\n").replace(&world.url(""), "URL/");
        insta::assert_snapshot!(said, @r"
        URL/git/one.git has no branch `gone`
        URL/git/one.git has no folder `pkgs/x`
        URL/git/two.git has no PKGBUILD there
        URL/git/none.git answers 404 Not Found: the repository is private, has moved, or is gone
        ");
        assert!(error(&answers["tree"]).contains("are not taken"), "{:?}", answers["tree"]);
    }
}
