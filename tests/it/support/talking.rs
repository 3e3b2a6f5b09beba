//! What people write and tick on the forge of a scene, and what stands there then.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pkgwarden::domain::review::{Comment, OwnIssue, Thread};

use super::hosting::{Host, ME};
use super::scene::Scene;

/// What is hidden in the dashboard.
const BOARD: &str = "<!-- pkgwarden:dashboard -->";

/// What was written on a forge in memory.
#[derive(Debug, Default)]
pub struct Talks {
    notes: Vec<(Thread, String, Comment)>,
    issues: BTreeMap<String, OwnIssue>,
}

impl Talks {
    /// Somebody writes.
    pub fn write(&mut self, thread: Thread, author: &str, text: &str, now: Timestamp) -> u64 {
        self.put(thread, "", author, text, now)
    }

    /// The program writes; the comment with the same key is edited.
    pub fn say(&mut self, thread: Thread, key: &str, text: &str, now: Timestamp) {
        let same = |(of, known, _): &&mut (Thread, String, Comment)| *of == thread && known == key && !key.is_empty();
        match self.notes.iter_mut().find(same) {
            Some((_, _, comment)) => (comment.text, comment.changed_at) = (text.to_owned(), now),
            None => drop(self.put(thread, key, ME, text, now)),
        }
    }

    fn put(&mut self, thread: Thread, key: &str, author: &str, text: &str, now: Timestamp) -> u64 {
        let id = self.notes.len() as u64 + 1;
        let (author, text) = (author.to_owned(), text.to_owned());
        self.notes.push((thread, key.to_owned(), Comment { id, author, text, written_at: now, changed_at: now }));
        if let Some(issue) = self.issues.values_mut().find(|issue| Thread::Issue(issue.number) == thread) {
            issue.updated_at = now;
        }
        id
    }

    /// What stands below something, oldest first.
    pub fn below(&self, thread: Thread) -> impl Iterator<Item = &Comment> {
        self.notes.iter().filter(move |(of, ..)| *of == thread).map(|(_, _, comment)| comment)
    }

    /// Somebody changes a comment.
    pub fn edit(&mut self, id: u64, text: &str, now: Timestamp) {
        let (_, _, comment) = self.notes.iter_mut().find(|(.., comment)| comment.id == id).expect("a comment");
        (comment.text, comment.changed_at) = (text.to_owned(), now);
    }

    /// The program has an issue with this text.
    pub fn keep_issue(&mut self, key: String, body: String, now: Timestamp) -> u64 {
        let number = self.issues.get(&key).map_or(900, |issue| issue.number);
        self.issues.insert(key, OwnIssue { number, body, updated_at: now });
        number
    }

    /// The issue with this key.
    pub fn issue(&self, key: &str) -> Option<OwnIssue> {
        self.issues.get(key).cloned()
    }

    fn change_issue(&mut self, key: &str, change: impl Fn(&str) -> String, now: Timestamp) {
        let issue = self.issues.get_mut(key).expect("an issue");
        (issue.body, issue.updated_at) = (change(&issue.body), now);
    }
}

/// What people do, and see.
impl Host {
    /// Somebody writes below the review of `foo`. Returns what the forge knows the comment by.
    pub async fn says(&self, scene: &Scene, who: &str, text: &str) -> u64 {
        match self {
            Self::Local => unreachable!("nobody can write there"),
            Self::Memory(forge) => forge.is_written_to("update-foo", who, text),
            Self::Fake(fake) => {
                assert_eq!(scene.now(), fake.world().await.now);
                let number = Self::newest(fake, "update-foo").await.expect("a review").number;
                fake.world().await.says(who, number, text)
            }
        }
    }

    /// Somebody who may changes a comment of somebody.
    pub async fn rewrites(&self, scene: &Scene, comment: u64, text: &str) {
        match self {
            Self::Local => unreachable!("nobody can write there"),
            Self::Memory(forge) => forge.talks(|talks| talks.edit(comment, text, scene.now())),
            Self::Fake(fake) => {
                let mut world = fake.world().await;
                let note = world.notes.iter_mut().find(|note| note.id == comment).expect("a comment");
                (note.text, note.updated_at) = (text.to_owned(), scene.now());
            }
        }
    }

    /// What the program has answered below the review of `foo`, whether it is open or not.
    pub async fn answers_given(&self) -> Vec<String> {
        let all = self.comments().await.expect("a forge");
        all.into_iter().filter(|text| text.starts_with("- `/pkgwarden")).collect()
    }

    /// The text of the dashboard, if there is one; there is never a second.
    pub async fn board(&self) -> Option<String> {
        match self {
            Self::Local => None,
            Self::Memory(forge) => forge.talks(|talks| talks.issue("dashboard").map(|issue| issue.body)),
            Self::Fake(fake) => {
                let world = fake.world().await;
                let mut boards = world.issues.values().filter(|issue| issue.body.contains(BOARD));
                let board = boards.next().map(|issue| issue.body.clone());
                assert!(boards.next().is_none(), "a second dashboard");
                board
            }
        }
    }

    /// Somebody ticks the box of a command on the dashboard.
    pub async fn ticks(&self, scene: &Scene, command: &str) {
        let (empty, ticked) =
            (format!("- [ ] <!-- pkgwarden: {command} -->"), format!("- [x] <!-- pkgwarden: {command} -->"));
        let tick = |body: &str| {
            assert!(body.contains(&empty), "there is no box for {command}: {body}");
            body.replace(&empty, &ticked)
        };
        match self {
            Self::Local => unreachable!("there is no dashboard"),
            Self::Memory(forge) => forge.talks(|talks| talks.change_issue("dashboard", tick, scene.now())),
            Self::Fake(fake) => {
                let mut world = fake.world().await;
                let issue = world.issues.values_mut().find(|issue| issue.body.contains(BOARD)).expect("a dashboard");
                (issue.body, issue.updated_at) = (tick(&issue.body), scene.now());
            }
        }
    }

    /// The number of the dashboard.
    pub async fn board_number(&self) -> u64 {
        match self {
            Self::Local => unreachable!("there is no dashboard"),
            Self::Memory(forge) => forge.talks(|talks| talks.issue("dashboard").expect("a dashboard").number),
            Self::Fake(fake) => {
                let world = fake.world().await;
                world.issues.values().find(|issue| issue.body.contains(BOARD)).expect("a dashboard").number
            }
        }
    }

    /// Somebody writes below the dashboard, and reads there what is answered.
    pub async fn says_on_board(&self, who: &str, text: &str) {
        let board = self.board_number().await;
        match self {
            Self::Local => unreachable!("there is no dashboard"),
            Self::Memory(forge) => forge.is_written_to_issue("dashboard", who, text),
            Self::Fake(fake) => drop(fake.world().await.says_on_issue(who, board, text)),
        }
    }

    /// What was answered below the dashboard.
    pub async fn answers_on_board(&self) -> Vec<String> {
        let shown = |text: &str| text.split("\n\n<!-- pkgwarden:").next().unwrap_or_default().trim().to_owned();
        let board = self.board_number().await;
        let texts: Vec<String> = match self {
            Self::Local => Vec::new(),
            Self::Memory(forge) => {
                forge.talks(|talks| talks.below(Thread::Issue(board)).map(|it| shown(&it.text)).collect())
            }
            Self::Fake(fake) => {
                let world = fake.world().await;
                let below = world.notes.iter().filter(|note| note.number == board && note.on_issue);
                below.map(|note| shown(&note.text)).collect()
            }
        };
        texts.into_iter().filter(|text| text.starts_with("- `/pkgwarden")).collect()
    }
}
