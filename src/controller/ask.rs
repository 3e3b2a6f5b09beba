//! What is asked before a plan can be made: sources, libraries, and the scripts of packages.
//!
//! Not here: how each is asked, and what is made of the answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::observe::{self, Answers};
use super::site::{Look, Site};
use super::versions::Checks;
use super::{opinions, raise, scripts};
use crate::domain::desired::{Interfere, Snapshot};
use crate::domain::library::{Libraries, Published};
use crate::domain::name::PkgBase;
use crate::domain::plan::{self, Pipeline};
use crate::domain::policy::RepositorySettings;
use crate::domain::{lint, quarantine};
use crate::source::Sources;
use crate::source::libraries::LibraryDatabases;

/// Packages that nothing happens with, and on account of which package.
type Held = BTreeMap<PkgBase, PkgBase>;

impl Site {
    /// Asks the sources what a pipeline has to know.
    pub async fn ask(&self, look: &Look, pipeline: &Pipeline, now: Timestamp) -> Answers {
        let mut answers = match pipeline {
            Pipeline::OnSchedule => self.ask_everything(look, now).await,
            Pipeline::Add(additions, _) => {
                observe::ask_for(&self.sources_for(&look.snapshot.settings), additions, now).await
            }
            _ => Answers::default(),
        };
        if answers.libraries.is_none() && plan::needs_published(pipeline, &look.since, self.policy.rebuilds) {
            let published = match &self.peek {
                Some(peek) => peek.versions().await,
                None => Published::default(),
            };
            answers.libraries = Some(Libraries { published, ..Libraries::default() });
        }
        self.raiser.complete(&mut answers.files).await;
        self.raise(&look.snapshot, &mut answers).await;
        if *pipeline == Pipeline::OnSchedule {
            let official = lint::known_elsewhere(look.snapshot.version_state.as_deref());
            let held = quarantine::held(&look.snapshot, look.snapshot.states.iter(), &self.arch, &official);
            self.run_scripts(&look.snapshot, &held, &mut answers).await;
            self.ask_scripts(&look.snapshot, held, &mut answers).await;
        }
        answers
    }

    /// Asks all that a schedule asks.
    async fn ask_everything(&self, look: &Look, now: Timestamp) -> Answers {
        let sources = self.sources_for(&look.snapshot.settings);
        let snapshot = look.snapshot.clone();
        let checks = self.with_git(move |git| Ok(Checks::read(git, &snapshot))).await;
        let checks = checks.unwrap_or_else(|error| Checks::none(&look.snapshot, &format!("{error:#}")));
        let databases = self.library_databases();
        let consulted = databases.consult(&look.snapshot.settings.library_databases);
        let (mut answers, consulted) = tokio::join!(observe::ask(&sources, &look.snapshot, checks, now), consulted);
        let published = match &self.peek {
            Some(peek) => peek.published(&self.name).await,
            None => Published::default(),
        };
        answers.libraries = Some(Libraries { consulted, published });
        answers
    }

    /// Runs the `.CI/update.sh` of packages that have one.
    async fn run_scripts(&self, snapshot: &Arc<Snapshot>, held: &Held, answers: &mut Answers) {
        if !snapshot.packages.values().any(|package| package.interfere.contains(&Interfere::Update)) {
            return;
        }
        let (known, files, held) = (snapshot.clone(), answers.files.clone(), held.clone());
        let timeout = self.upstream.read().expect("nobody panics with it").script_timeout;
        let done = async {
            let found = self.with_git(move |git| Ok(scripts::orders(git, &known, &held, &files))).await?;
            let trees = scripts::trees(&found.orders);
            let left = self.scripts.run(found.orders, timeout).await;
            let mut left = self.with_git(move |git| Ok(scripts::checked(git, left))).await?;
            left.extend(found.unreadable);
            anyhow::Ok((trees, left))
        };
        match done.await {
            Ok((trees, left)) => {
                answers.made_from.extend(trees);
                answers.files.extend(left);
            }
            Err(error) => answers.files.extend(scripts::all_unknown(snapshot, &format!("{error:#}"))),
        }
    }

    /// Asks the `.CI/changed.sh` of packages that have one whether they have to be built.
    async fn ask_scripts(&self, snapshot: &Arc<Snapshot>, held: Held, answers: &mut Answers) {
        if !snapshot.packages.values().any(|package| package.decides_itself()) {
            return;
        }
        let timeout = self.upstream.read().expect("nobody panics with it").script_timeout;
        let (known, not_asked, upstream) = (snapshot.clone(), held.clone(), answers.upstream.clone());
        let read = self.with_git(move |git| Ok(opinions::questions(git, &known, &not_asked, &upstream))).await;
        answers.opinions = match read {
            Ok((questions, unreadable)) => {
                let mut said = opinions::ask(&self.scripts.refresher, questions, timeout).await;
                said.extend(unreadable);
                said
            }
            Err(error) => opinions::none(snapshot, &held, &format!("its .CI/changed.sh could not be run: {error:#}")),
        };
    }

    /// Makes the files of packages of which a newer version is known from those that the monorepo has.
    async fn raise(&self, snapshot: &Snapshot, answers: &mut Answers) {
        answers.made_from = raise::wanted(snapshot, &answers.files);
        let (wanted, files) = (answers.made_from.clone(), answers.files.clone());
        if wanted.is_empty() {
            return;
        }
        let read = self.with_git(move |git| Ok(raise::orders(git, &wanted, &files))).await;
        match read {
            Ok((orders, unreadable)) => {
                answers.files.extend(unreadable);
                let raised = self.raiser.raise(orders).await;
                answers.files.extend(raised);
            }
            Err(error) => answers.files.extend(raise::all_unknown(&answers.made_from, &format!("{error:#}"))),
        }
    }

    /// The sources, asked as `.ci/config` wants it.
    fn sources_for(&self, settings: &RepositorySettings) -> Arc<Sources> {
        let mut config = self.upstream.read().expect("nobody panics with it").sources.clone();
        config.aur.proxy = settings.aur_proxy.clone().or(config.aur.proxy);
        config.aur.max_parallel = settings.max_parallel;
        config.aur.clone_delay = Duration::from_secs_f64(settings.clone_delay.max(0.0));
        let mut asked = self.asked.lock().expect("nobody panics with it");
        match &*asked {
            Some((same, sources)) if *same == config => sources.clone(),
            _ => {
                let sources = Arc::new(Sources::new(&config));
                *asked = Some((config, sources.clone()));
                sources
            }
        }
    }

    pub(super) fn library_databases(&self) -> LibraryDatabases {
        let upstream = self.upstream.read().expect("nobody panics with it");
        LibraryDatabases::new(upstream.sources.cache_dir.clone(), upstream.sources.timeout)
    }
}
