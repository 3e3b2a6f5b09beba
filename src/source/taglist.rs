//! The tags of a git repository, however many there are: with one request where the server speaks protocol
//! version 2 and can be told to leave branches out, otherwise through the git program.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;

use super::advert::AdvertError;
use super::lsremote::{LsError, check, shown};
use super::packets::{Packet, Packets};
use crate::domain::name::Oid;
use crate::domain::release::Tag;
use crate::git::{Remote, Repository};

/// More of a list is not read: some 600,000 tags.
const LARGEST: usize = 64 << 20;
/// More tags are not kept.
const MOST: usize = 200_000;

const ANSWER: &str = "application/x-git-upload-pack-result";
/// Protocol version 2: the tags, and what annotated ones lead to.
const ASK: &str = "0014command=ls-refs\n00010009peel\n001aref-prefix refs/tags/\n0000";

/// Lists tags.
#[derive(Debug, Clone)]
pub struct TagLister {
    client: reqwest::Client,
    workspace: PathBuf,
    timeout: Duration,
}

impl TagLister {
    /// Gives each repository `timeout`. The git program runs in the bare repository `workspace`.
    pub const fn new(client: reqwest::Client, workspace: PathBuf, timeout: Duration) -> Self {
        Self { client, workspace, timeout }
    }

    /// Every tag, with the commit it leads to.
    pub async fn tags(&self, url: &str) -> Result<Arc<Vec<Tag>>, LsError> {
        check(url)?;
        let ask = async {
            if (url.starts_with("http://") || url.starts_with("https://"))
                && let Some(tags) = self.over_http(url).await?
            {
                return Ok(tags);
            }
            self.by_program(url).await
        };
        let slow = || LsError::TooSlow { url: shown(url), after: self.timeout };
        tokio::time::timeout(self.timeout, ask).await.unwrap_or_else(|_| Err(slow())).map(Arc::new)
    }

    /// `None` if the server does not know this way of asking.
    async fn over_http(&self, url: &str) -> Result<Option<Vec<Tag>>, LsError> {
        let unreachable =
            |source: reqwest::Error| LsError::Unreachable { url: shown(url), source: source.without_url() };
        let address = format!("{}/git-upload-pack", url.trim_end_matches('/'));
        let request = self.client.post(&address);
        let request = request.header("git-protocol", "version=2").header("accept", ANSWER);
        let request = request.header(CONTENT_TYPE, "application/x-git-upload-pack-request").body(ASK);
        let mut response = request.send().await.map_err(unreachable)?;
        // On the way to where a repository has moved, a question loses its body. The program asks in another way.
        if response.url().path() != path_of(&address) {
            return Ok(None);
        }
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::NOT_FOUND
            | StatusCode::TOO_MANY_REQUESTS => {
                return Err(LsError::status(shown(url), &response));
            }
            status if status.is_server_error() => return Err(LsError::status(shown(url), &response)),
            _ => return Ok(None),
        }
        if response.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != ANSWER) {
            return Ok(None);
        }
        let broken = |source| LsError::Advert { url: shown(url), source };
        let mut list = TagList::new(LARGEST, MOST);
        while let Some(piece) = response.chunk().await.map_err(unreachable)? {
            list.push(&piece).map_err(broken)?;
        }
        list.finish().map(Some).map_err(broken)
    }

    async fn by_program(&self, url: &str) -> Result<Vec<Tag>, LsError> {
        let workspace = self.workspace.clone();
        let created = tokio::task::spawn_blocking(move || Repository::create_workspace(&workspace, None).map(drop));
        created.await.expect("creating a repository does not panic")?;
        let remote = Remote::new(self.workspace.clone(), url.to_owned()).timeout(self.timeout);
        let found = remote.ls(&["refs/tags/*".to_owned()]).await?;
        if found.len() > MOST {
            return Err(LsError::Advert { url: shown(url), source: AdvertError::TooMany { limit: MOST } });
        }
        let tag =
            |(name, commit): (String, Oid)| Some(Tag { name: name.strip_prefix("refs/tags/")?.to_owned(), commit });
        Ok(found.into_iter().filter_map(tag).collect())
    }
}

fn path_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.find('/').map_or("", |at| &rest[at..])
}

/// The answer, as it arrives.
#[derive(Debug)]
struct TagList {
    packets: Packets,
    tags: Vec<Tag>,
    most: usize,
    complete: bool,
}

impl TagList {
    fn new(largest: usize, most: usize) -> Self {
        Self { packets: Packets::new(largest), tags: Vec::new(), most, complete: false }
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), AdvertError> {
        self.packets.push(piece)?;
        while let Some(packet) = self.packets.next()? {
            match packet {
                Packet::Flush => self.complete = true,
                Packet::Line(line) => self.line(&line)?,
            }
        }
        Ok(())
    }

    /// `<id> refs/tags/<name>[ peeled:<id>]`.
    fn line(&mut self, line: &[u8]) -> Result<(), AdvertError> {
        let Ok(line) = std::str::from_utf8(line) else { return Ok(()) };
        let line = line.trim_end_matches('\n');
        if let Some(message) = line.strip_prefix("ERR ") {
            return Err(AdvertError::Refused(message.chars().filter(|c| !c.is_control()).take(120).collect()));
        }
        let mut words = line.split(' ');
        let (Some(id), Some(name)) = (words.next(), words.next()) else { return Ok(()) };
        let peeled = words.find_map(|word| word.strip_prefix("peeled:"));
        let malformed = |_| AdvertError::Malformed(format!("`{}` is not a ref", line.escape_debug()));
        let commit = peeled.unwrap_or(id).parse().map_err(malformed)?;
        let Some(name) = name.strip_prefix("refs/tags/") else { return Ok(()) };
        if self.tags.len() == self.most {
            return Err(AdvertError::TooMany { limit: self.most });
        }
        self.tags.push(Tag { name: name.to_owned(), commit });
        Ok(())
    }

    fn finish(self) -> Result<Vec<Tag>, AdvertError> {
        if self.complete { Ok(self.tags) } else { Err(AdvertError::Truncated) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::{World, package};
    use crate::sys::http;

    /// What is listed of a repository of this world.
    async fn listed(world: &World, url: &str) -> Vec<String> {
        let timeout = Duration::from_secs(20);
        let lister = TagLister::new(http::client(timeout), world.repository("lister.git"), timeout);
        let tags = lister.tags(url).await.unwrap_or_else(|error| panic!("{error}"));
        tags.iter().map(|tag| format!("{} {}", tag.name, tag.commit)).collect()
    }

    #[tokio::test]
    async fn a_real_git_server_is_asked_once_and_others_through_the_program() {
        let world = World::start().await;
        let commit = world.commit("lib.git", "main", &package("lib", "1-1"), 1);
        let tags = world.repository("lib.git").join("refs/tags");
        std::fs::create_dir_all(&tags).expect("made");
        std::fs::write(tags.join("v1"), format!("{commit}\n")).expect("written");
        let expected = [format!("v1 {commit}")];
        assert_eq!(listed(&world, &world.url("git/lib.git")).await, expected);
        assert_eq!(world.requests(), ["POST /lib.git/git-upload-pack ls-refs"]);
        let file = format!("file://{}", world.repository("lib.git").display());
        assert_eq!(listed(&world, &file).await, expected);
        // Somebody who has moved.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let old = format!("http://{}/old.git", listener.local_addr().expect("bound"));
        let new = world.url("git/lib.git");
        let moved = move |uri: axum::http::Uri| async move {
            let rest = uri.path_and_query().expect("a path").as_str().replacen("/old.git", "", 1);
            (axum::http::StatusCode::MOVED_PERMANENTLY, [("location", format!("{new}{rest}"))])
        };
        let app = axum::Router::new().fallback(moved);
        tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
        assert_eq!(listed(&world, &old).await, expected);
    }

    fn packet(line: &str) -> String {
        format!("{:04x}{line}", line.len() + 4)
    }

    fn id(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    #[test]
    fn annotated_tags_are_followed_and_strange_names_are_only_names() {
        let answer = [
            packet(&format!("{} refs/tags/v1.0 peeled:{}\n", id('a'), id('b'))),
            packet(&format!("{} refs/tags/--upload-pack=x\n", id('c'))),
            "0000".to_owned(),
        ];
        let mut list = TagList::new(1 << 20, 10);
        for byte in answer.concat().bytes() {
            list.push(&[byte]).expect("well formed");
        }
        let tags = list.finish().expect("complete");
        assert_eq!((tags[0].name.as_str(), tags[0].commit.to_string()), ("v1.0", id('b')));
        assert_eq!(tags[1].name, "--upload-pack=x");
    }

    #[test]
    fn a_repository_of_a_million_tags_ends_at_a_limit_that_is_said() {
        let line = packet(&format!("{} refs/tags/v1\n", id('a')));
        let mut list = TagList::new(LARGEST, 1000);
        let outcome = (0..1_000_000).find_map(|_| list.push(line.as_bytes()).err());
        assert_eq!(outcome, Some(AdvertError::TooMany { limit: 1000 }));
        let mut list = TagList::new(100_000, MOST);
        let outcome = (0..1_000_000).find_map(|_| list.push(line.as_bytes()).err());
        assert_eq!(outcome, Some(AdvertError::TooLong { limit: 100_000 }));
    }

    #[test]
    fn an_answer_that_ends_in_the_middle_and_a_web_page_are_no_lists() {
        let mut list = TagList::new(1 << 20, 10);
        list.push(packet(&format!("{} refs/tags/v1\n", id('a'))).as_bytes()).expect("well formed");
        assert_eq!(list.finish(), Err(AdvertError::Truncated));
        assert!(matches!(TagList::new(1 << 20, 10).push(b"<html>sign in</html>"), Err(AdvertError::Malformed(_))));
        let mut list = TagList::new(1 << 20, 10);
        assert_eq!(list.push(packet("ERR no\u{7}pe").as_bytes()), Err(AdvertError::Refused("nope".to_owned())));
    }
}
