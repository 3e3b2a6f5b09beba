//! The choice itself.
//!
//! The most urgent lane goes first. A flow that is passed over again and again for more urgent lanes rises, so
//! that each gets its turn; among repositories the one goes first of which the least runs, and then the one that
//! had fewer turns, by weight; in a flow the build with the longest path before it, and one in a few times the
//! one that was asked for first.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::policy::BuildClass;
use crate::domain::queue::BuildId;

use super::builders::{BuilderInfo, Seats};
use super::lane::Lane;

/// A flow rises by one lane when it has been passed over so often for more urgent lanes.
const PATIENCE: i64 = 8;
/// One in so many builds of a flow is the one that was asked for first.
const TURN_OF_THE_OLDEST: u64 = 4;
/// What one build counts in the reckoning of turns, before the weight of its repository.
const STRIDE: u64 = 1_000_000;

/// The first builds of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heads {
    /// The repository.
    pub repository: String,
    /// The lane.
    pub lane: Lane,
    /// The class asked for.
    pub class: Option<BuildClass>,
    /// Those with the longest paths, the longest first: as many as could begin, or all there are.
    pub longest: Vec<BuildId>,
    /// Those that were asked for first, in this order: as many as could begin, or all there are.
    pub oldest: Vec<BuildId>,
}

/// A build that is underway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The repository.
    pub repository: String,
    /// The class asked for.
    pub class: Option<BuildClass>,
}

/// How much of what may run at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of each repository that is not named below.
    pub per_repository: Option<usize>,
    /// Of these repositories.
    pub repositories: BTreeMap<String, usize>,
    /// Of these classes, by the word that packages ask for.
    pub classes: BTreeMap<String, usize>,
    /// How many turns a repository has for each one of another: 1 where nothing is said.
    pub weights: BTreeMap<String, u64>,
}

impl Limits {
    fn of_repository(&self, repository: &str) -> usize {
        self.repositories.get(repository).copied().or(self.per_repository).unwrap_or(usize::MAX)
    }

    fn of_class(&self, class: Option<&BuildClass>) -> usize {
        class.and_then(|class| self.classes.get(&class.0)).copied().unwrap_or(usize::MAX)
    }

    fn weight(&self, repository: &str) -> u64 {
        self.weights.get(repository).copied().unwrap_or(1).max(1)
    }
}

/// Everything a choice depends on, beside [`Turns`].
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The first builds of every flow that has any.
    pub heads: &'a [Heads],
    /// What is underway.
    pub running: &'a [Running],
    /// How many more builds may begin.
    pub free: usize,
    /// The builders that are there; `None` if whoever builds takes anything.
    pub builders: Option<&'a [BuilderInfo]>,
    /// How much of what may run at once.
    pub limits: &'a Limits,
}

/// Who had how many turns: what is remembered from one choice to the next, also beyond a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Turns {
    #[serde(with = "entries")]
    flows: BTreeMap<(String, Lane, Option<BuildClass>), Flow>,
    /// What each repository had in each lane, by weight.
    #[serde(with = "entries")]
    had: BTreeMap<(Lane, String), u64>,
    /// What whoever had the last turn in a lane had before it: where one begins that comes anew.
    clock: BTreeMap<Lane, u64>,
    choices: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Flow {
    /// How often it was passed over for more urgent lanes since its last turn.
    passed: i64,
    turns: u64,
    /// The number of the choice that was its last.
    last: u64,
}

/// A map as the list of its entries: a name in JSON is one text.
mod entries {
    use super::{BTreeMap, Deserialize, Serialize};

    pub fn serialize<K: Serialize, V: Serialize, S: serde::Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub fn deserialize<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

/// The builds that begin now, in this order. No place is left free while there is a build that may have it.
pub fn choose(situation: &Situation<'_>, turns: &mut Turns) -> Vec<BuildId> {
    let mut choice = Choice::new(situation, turns);
    let mut chosen = Vec::new();
    while let Some(flow) = choice.next_flow() {
        chosen.push(choice.take_from(flow));
    }
    chosen
}

/// A choice in the making.
struct Choice<'a> {
    situation: &'a Situation<'a>,
    turns: &'a mut Turns,
    seats: Seats,
    repositories: BTreeMap<&'a str, usize>,
    classes: BTreeMap<&'a BuildClass, usize>,
    taken: BTreeSet<BuildId>,
}

impl<'a> Choice<'a> {
    fn new(situation: &'a Situation<'a>, turns: &'a mut Turns) -> Self {
        let classes = situation.running.iter().map(|running| running.class.as_ref());
        let seats = Seats::left(situation.free, situation.builders, classes);
        turns.welcome(situation.heads);
        let (repositories, classes, taken) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let mut choice = Self { situation, turns, seats, repositories, classes, taken };
        for running in situation.running {
            choice.count(&running.repository, running.class.as_ref());
        }
        choice
    }

    fn count(&mut self, repository: &'a str, class: Option<&'a BuildClass>) {
        *self.repositories.entry(repository).or_default() += 1;
        if let Some(class) = class {
            *self.classes.entry(class).or_default() += 1;
        }
    }

    fn running(&self, repository: &str) -> usize {
        self.repositories.get(repository).copied().unwrap_or_default()
    }

    fn may_go(&self, heads: &Heads) -> bool {
        let class = heads.class.as_ref();
        let of_class = class.and_then(|class| self.classes.get(class)).copied().unwrap_or_default();
        let limits = self.situation.limits;
        self.running(&heads.repository) < limits.of_repository(&heads.repository)
            && of_class < limits.of_class(class)
            && self.seats.fits(class)
            && self.first(&heads.oldest).is_some()
    }

    fn first(&self, builds: &[BuildId]) -> Option<BuildId> {
        builds.iter().find(|build| !self.taken.contains(build)).copied()
    }

    /// The flow whose turn it is. All that may go and is passed over for a more urgent lane remembers that.
    fn next_flow(&mut self) -> Option<&'a Heads> {
        let able: Vec<&'a Heads> = self.situation.heads.iter().filter(|heads| self.may_go(heads)).collect();
        let next = *able.iter().min_by_key(|heads| self.place(heads))?;
        for heads in able {
            if heads.lane > next.lane {
                self.turns.flow(heads).passed += 1;
            }
        }
        Some(next)
    }

    /// Smaller goes first.
    fn place(&self, heads: &'a Heads) -> impl Ord + use<'a> {
        let weight = self.situation.limits.weight(&heads.repository);
        let flow = self.turns.flows.get(&key(heads)).copied().unwrap_or_default();
        let running = self.running(&heads.repository) as u64;
        (
            i64::from(heads.lane.rank()) - flow.passed / PATIENCE,
            running.saturating_mul(STRIDE) / weight,
            self.turns.had.get(&(heads.lane, heads.repository.clone())).copied().unwrap_or_default(),
            heads.lane,
            flow.last,
            (&heads.repository, &heads.class),
        )
    }

    fn take_from(&mut self, heads: &'a Heads) -> BuildId {
        let class = heads.class.as_ref();
        let oldest = self.turns.flow(heads).turns % TURN_OF_THE_OLDEST == TURN_OF_THE_OLDEST - 1;
        let longest = if oldest { None } else { self.first(&heads.longest) };
        let build = longest.or_else(|| self.first(&heads.oldest)).expect("a flow that may go has a build");
        let seated = self.seats.take(class);
        debug_assert!(seated, "a flow that may go has a place");
        self.taken.insert(build);
        self.count(&heads.repository, class);
        self.turns.note(heads, self.situation.limits.weight(&heads.repository));
        build
    }
}

fn key(heads: &Heads) -> (String, Lane, Option<BuildClass>) {
    (heads.repository.clone(), heads.lane, heads.class.clone())
}

impl Turns {
    fn flow(&mut self, heads: &Heads) -> &mut Flow {
        self.flows.entry(key(heads)).or_default()
    }

    /// Who was away has not saved up turns, and what is gone is forgotten.
    fn welcome(&mut self, heads: &[Heads]) {
        let there: BTreeSet<_> = heads.iter().map(key).collect();
        self.flows.retain(|flow, _| there.contains(flow));
        let known: BTreeSet<_> = self.flows.keys().map(|(repository, lane, _)| (*lane, repository.clone())).collect();
        for flow in there {
            let place = (flow.1, flow.0.clone());
            if !known.contains(&place) {
                let clock = self.clock.get(&flow.1).copied().unwrap_or_default();
                let had = self.had.entry(place).or_default();
                *had = clock.max(*had);
            }
            self.flows.entry(flow).or_default();
        }
    }

    fn note(&mut self, heads: &Heads, weight: u64) {
        self.choices += 1;
        let last = self.choices;
        let flow = self.flow(heads);
        *flow = Flow { passed: 0, turns: flow.turns + 1, last };
        let had = self.had.entry((heads.lane, heads.repository.clone())).or_default();
        self.clock.insert(heads.lane, *had);
        *had += STRIDE / weight.min(STRIDE);
    }
}

#[cfg(test)]
mod tests;
