//! Watches the branches that packages are built from (`git+https://…#branch=…`), so that a package is
//! built again when its upstream has moved.
//!
//! Only git is watched; Mercurial, Subversion and Bazaar sources are left out.

use std::collections::{BTreeMap, BTreeSet};

use super::budget::Budget;
use super::error_text;
use super::lsremote::{self, RefReader};
use super::order::Order;
use crate::domain::name::{Oid, PkgBase};
use crate::domain::observed::Upstream;
use crate::domain::srcinfo::{SourceEntry, Srcinfo};
use crate::telemetry::progress;

/// A branch of some repository; the default branch if none is named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Followed {
    /// The address of the repository, without `git+` and fragment.
    pub url: String,
    /// The branch.
    pub branch: Option<String>,
}

/// A package and everything it follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamRequest {
    /// The package.
    pub pkgbase: PkgBase,
    /// What it follows, in the order of its sources.
    pub followed: Vec<Followed>,
}

impl UpstreamRequest {
    /// All floating git sources of a package; `None` if it has none.
    #[must_use]
    pub fn new(pkgbase: &PkgBase, srcinfo: &Srcinfo) -> Option<Self> {
        let floating = srcinfo.sources.iter().filter_map(SourceEntry::floating);
        let followed: Vec<_> = floating
            .filter(|source| source.protocol == "git")
            .map(|source| Followed { url: source.url.to_owned(), branch: source.branch.map(str::to_owned) })
            .collect();
        (!followed.is_empty()).then(|| Self { pkgbase: pkgbase.clone(), followed })
    }
}

impl Followed {
    fn ref_name(&self) -> String {
        self.branch.as_ref().map_or_else(|| "HEAD".to_owned(), |branch| format!("refs/heads/{branch}"))
    }
}

type Tips = Result<BTreeMap<String, Oid>, String>;

/// Asks upstream repositories where their branches are.
#[derive(Debug)]
pub struct Upstreams {
    reader: RefReader,
    order: Order,
}

impl Upstreams {
    /// Asks through `reader`, in this order.
    pub const fn new(reader: RefReader, order: Order) -> Self {
        Self { reader, order }
    }

    /// What every package's upstream says. Each distinct address is asked once, however many packages
    /// and branches need it, and within the budget.
    pub async fn ask(&self, requests: &[UpstreamRequest], budget: &Budget) -> BTreeMap<PkgBase, Upstream> {
        let mut wanted: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for followed in requests.iter().flat_map(|request| &request.followed) {
            wanted.entry(&followed.url).or_default().insert(followed.ref_name());
        }
        let progress = progress::counted("asking upstreams", wanted.len());
        let wanted: Vec<_> = wanted.into_iter().collect();
        let ask = async |(url, refs): &(&str, BTreeSet<String>)| {
            let tips = self.tips(url, refs, budget).await;
            progress.advance();
            tips
        };
        let answers = self.order.ask_all(&wanted, |(url, _)| url, budget, ask, Tips::is_err).await;
        let answers = answers.into_iter().map(|((url, _), tips)| (*url, tips)).collect();
        requests.iter().map(|request| (request.pkgbase.clone(), combine(request, &answers))).collect()
    }

    async fn tips(&self, url: &str, refs: &BTreeSet<String>, budget: &Budget) -> Tips {
        lsremote::check(url).map_err(|error| error_text(&error))?;
        let refs: Vec<&str> = refs.iter().map(String::as_str).collect();
        budget.ask(lsremote::host(url), self.reader.tips(url, &refs)).await
    }
}

/// The answer for one package: all of its sources, or the first that could not be asked.
fn combine(request: &UpstreamRequest, answers: &BTreeMap<&str, Tips>) -> Upstream {
    let tip = |followed: &Followed| {
        let tips = answers.get(followed.url.as_str()).expect("every address was asked").as_ref();
        let name = followed.ref_name();
        tips.map_err(Clone::clone)?.get(&name).copied().ok_or_else(|| missing(followed))
    };
    match request.followed.iter().map(tip).collect::<Result<Vec<_>, String>>() {
        Ok(commits) => Upstream::At(commits),
        Err(error) => Upstream::Unknown { error },
    }
}

fn missing(followed: &Followed) -> String {
    let url = lsremote::shown(&followed.url);
    match &followed.branch {
        Some(branch) => format!("{url} has no branch `{}`", branch.escape_debug()),
        None => format!("{url} has no default branch"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::source::budget::SILENCES;
    use crate::source::testing::{World, name, package};
    use crate::source::{Sources, SourcesConfig};

    fn request(pkgbase: &str, sources: &[&str]) -> UpstreamRequest {
        let sources: Vec<_> = sources.iter().map(|source| format!("\tsource = {source}\n")).collect();
        let sources = sources.concat();
        let text =
            format!("pkgbase = {pkgbase}\n\tpkgver = 1\n\tpkgrel = 1\n\tarch = any\n{sources}\npkgname = {pkgbase}\n");
        let srcinfo = Srcinfo::parse(text.as_bytes()).expect("valid");
        UpstreamRequest::new(&name(pkgbase), &srcinfo).expect("it follows something")
    }

    async fn ask(config: &SourcesConfig, requests: &[UpstreamRequest]) -> BTreeMap<PkgBase, Upstream> {
        Sources::new(config).pass().upstream(requests).await
    }

    #[tokio::test]
    async fn every_floating_source_is_watched_and_each_address_is_asked_once() {
        let world = World::start().await;
        let main = world.commit("lib.git", "main", &package("lib", "1-1"), 1);
        let dev = world.commit("lib.git", "dev", &package("lib", "2-1"), 2);
        let other = world.commit("other.git", "main", &package("other", "1-1"), 3);
        let lib = world.url("git/lib.git");
        let requests = [
            request("a-git", &[&format!("git+{lib}"), &format!("x::git+{}", world.url("git/other.git"))]),
            request("b-git", &[&format!("git+{lib}#branch=dev"), &format!("git+{lib}#tag=v1")]),
            request("c-git", &[&format!("b::git+{lib}?signed#branch=main"), "hg+https://host.invalid/r"]),
        ];
        let answers = ask(&world.config(), &requests).await;
        assert_eq!(answers["a-git"], Upstream::At(vec![main, other]));
        assert_eq!(answers["b-git"], Upstream::At(vec![dev]));
        assert_eq!(answers["c-git"], Upstream::At(vec![main]));
        assert_eq!(world.requests().len(), 2);
    }

    #[tokio::test]
    async fn what_cannot_be_asked_is_unknown_and_says_why() {
        let world = World::start().await;
        world.commit("lib.git", "main", &package("lib", "1-1"), 1);
        let lib = world.url("git/lib.git");
        let sources = [
            "x::git+--upload-pack=CMD".to_owned(),
            "x::git+ext::sh -c id".to_owned(),
            format!("git+{lib}#branch=none"),
            format!("git+{}", world.url("git/nowhere.git")),
            format!("git+{}", world.url("git/lib.git").replace("http:", "gopher:")),
        ];
        let names = ["p0", "p1", "p2", "p3", "p4"];
        let requests: Vec<_> = names.iter().zip(&sources).map(|(name, source)| request(name, &[source])).collect();
        let good = request("good", &[&format!("git+{lib}")]);
        let answers = ask(&world.config(), &[requests, vec![good]].concat()).await;
        let said = names.map(|name| match &answers[name] {
            Upstream::Unknown { error } => error.replace(&world.url("").replace("http://", ""), "HOST/"),
            at @ Upstream::At(_) => panic!("{name}: {at:?}"),
        });
        insta::assert_snapshot!(said.join("\n"), @r"
        address `--upload-pack=CMD` refused: it has no `scheme://`
        address `ext::sh -c id` refused: it contains spaces or control characters
        http://HOST/git/lib.git has no branch `none`
        http://HOST/git/nowhere.git answers 404 Not Found: the repository is private, has moved, or is gone
        address `gopher://HOST/git/lib.git` refused: only http, https, git, ssh and file are asked
        ");
        assert!(matches!(answers["good"], Upstream::At(_)));
    }

    #[tokio::test]
    async fn a_server_that_hangs_is_unknown_in_bounded_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let world = World::start().await;
        let config = SourcesConfig { timeout: Duration::from_millis(200), ..world.config() };
        let sources = [format!("git+http://{address}/r"), format!("git+git://{address}/r")];
        let requests: Vec<_> = ["p0", "p1"].iter().zip(&sources).map(|(name, url)| request(name, &[url])).collect();
        let answers = ask(&config, &requests).await;
        assert!(answers.values().all(|answer| matches!(answer, Upstream::Unknown { .. })), "{answers:?}");
    }

    fn unknown(answers: &BTreeMap<PkgBase, Upstream>) -> Vec<&str> {
        let mut said = Vec::new();
        for answer in answers.values() {
            let Upstream::Unknown { error } = answer else { panic!("{answer:?}") };
            said.push(error.as_str());
        }
        said
    }

    /// Twenty packages whose sources are at `place`.
    fn twenty(place: &str) -> Vec<UpstreamRequest> {
        (0..20).map(|number| request(&format!("p{number}"), &[&format!("git+{place}/{number}.git")])).collect()
    }

    #[tokio::test]
    async fn a_host_that_hangs_up_is_asked_a_few_times_and_then_left_alone() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = connections.clone();
        let server = tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        let world = World::start().await;
        let tip = world.commit("lib.git", "main", &package("lib", "1-1"), 1);
        let good = request("good", &[&format!("git+{}", world.url("git/lib.git"))]);
        let config = world.config();
        let sources = Sources::new(&config);
        let most = SILENCES + config.per_host - 1;
        for pass in 1..=2 {
            let mut answers =
                sources.pass().upstream(&[twenty(&format!("http://{address}")), vec![good.clone()]].concat()).await;
            assert_eq!(answers.remove("good"), Some(Upstream::At(vec![tip])), "its host answers");
            let alone = unknown(&answers).iter().filter(|error| error.contains("is left alone")).count();
            assert!(alone >= 20 - most, "{answers:?}");
            let connections = connections.load(Ordering::SeqCst);
            assert!((SILENCES * pass..=most * pass).contains(&connections), "{connections} in {pass} passes");
        }
        server.abort();
    }

    #[tokio::test]
    async fn a_dead_port_and_a_name_that_does_not_resolve_cost_a_few_questions_each() {
        let world = World::start().await;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
        let dead = listener.local_addr().expect("bound");
        drop(listener);
        let config = world.config();
        for place in
            [format!("http://{dead}"), "http://pkgwarden.invalid".to_owned(), "git://pkgwarden.invalid".to_owned()]
        {
            let answers = ask(&config, &twenty(&place)).await;
            let host = place.split("://").nth(1).expect("an address");
            let alone =
                format!("{host} did not answer {SILENCES} times in a row and is left alone in this pass; first: ");
            let (alone, asked): (Vec<_>, Vec<_>) =
                unknown(&answers).into_iter().partition(|error| error.starts_with(&alone));
            assert!(asked.len() < SILENCES + config.per_host, "{asked:?}");
            assert!(alone.windows(2).all(|two| two[0] == two[1]), "one reason for all: {alone:?}");
            assert!(asked.iter().any(|error| alone[0].ends_with(error)), "the reason is the first error: {}", alone[0]);
        }
    }

    #[tokio::test]
    async fn what_is_left_when_the_time_of_a_pass_is_over_is_unknown_and_was_not_asked() {
        let world = World::start().await;
        let config = SourcesConfig { pass: Duration::ZERO, ..world.config() };
        let answers = ask(&config, &twenty(&world.url("git"))).await;
        assert!(unknown(&answers).iter().all(|error| error.contains("may take 0 s")), "{answers:?}");
        assert!(world.requests().is_empty());
    }

    #[tokio::test]
    async fn repositories_that_are_not_behind_http_are_asked_through_git() {
        let world = World::start().await;
        let tip = world.commit("lib.git", "main", &package("lib", "1-1"), 1);
        let path = world.repository("lib.git");
        let answers = ask(&world.config(), &[request("a-git", &[&format!("git+file://{}", path.display())])]).await;
        assert_eq!(answers["a-git"], Upstream::At(vec![tip]));
    }

    #[tokio::test]
    async fn a_server_that_only_hands_out_files_is_asked_through_git() {
        let world = World::start().await;
        let tip = world.commit("lib.git", "main", &package("lib", "1-1"), 1);
        let answers =
            ask(&world.config(), &[request("a-git", &[&format!("git+{}", world.url("files/lib.git"))])]).await;
        assert_eq!(answers["a-git"], Upstream::At(vec![tip]));
    }

    #[test]
    fn a_package_without_floating_git_sources_is_not_asked() {
        let text = "pkgbase = a\n\tpkgver = 1\n\tpkgrel = 1\n\tarch = any\n\tsource = git+https://h/r#commit=a\n\tsource = svn+https://h/r\n\npkgname = a\n";
        let srcinfo = Srcinfo::parse(text.as_bytes()).expect("valid");
        assert_eq!(UpstreamRequest::new(&name("a"), &srcinfo), None);
    }
}
