use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::domain::schedule::nobody_builds;

/// Ready builds, in the order in which they were asked for.
#[derive(Debug, Clone)]
struct Queue(Vec<Waiting>);

#[derive(Debug, Clone)]
struct Waiting {
    id: BuildId,
    repository: String,
    lane: Lane,
    class: Option<BuildClass>,
    path: u64,
}

impl Queue {
    fn of(written: &[(&str, Lane, &str, u64)]) -> Self {
        let waiting = (1..).zip(written).map(|(id, &(repository, lane, class, path))| Waiting {
            id: BuildId(id),
            repository: repository.to_owned(),
            lane,
            class: (!class.is_empty()).then(|| BuildClass(class.to_owned())),
            path,
        });
        Self(waiting.collect())
    }

    fn heads(&self, free: usize) -> Vec<Heads> {
        let mut flows: BTreeMap<_, Vec<&Waiting>> = BTreeMap::new();
        for build in &self.0 {
            flows.entry((build.repository.clone(), build.lane, build.class.clone())).or_default().push(build);
        }
        let heads = flows.into_iter().map(|((repository, lane, class), builds)| {
            let ids = |builds: &[&Waiting]| builds.iter().take(free).map(|build| build.id).collect();
            let oldest = ids(&builds);
            let mut builds = builds;
            builds.sort_by_key(|build| (std::cmp::Reverse(build.path), build.id));
            Heads { repository, lane, class, longest: ids(&builds), oldest }
        });
        heads.collect()
    }

    fn choose(&self, free: usize, running: &[Running], fleet: &Fleet, turns: &mut Turns) -> Vec<BuildId> {
        let heads = self.heads(free);
        let builders = fleet.builders.as_deref();
        choose(&Situation { heads: &heads, running, free, builders, limits: &fleet.limits }, turns)
    }

    /// Hands out one after the other, each ending before the next begins.
    fn one_by_one(mut self, limits: &Limits, most: usize) -> Vec<Waiting> {
        let fleet = Fleet { builders: None, limits: limits.clone() };
        let (mut turns, mut order) = (Turns::default(), Vec::new());
        while let [build] = self.choose(1, &[], &fleet, &mut turns)[..] {
            let place = self.0.iter().position(|waiting| waiting.id == build).unwrap();
            order.push(self.0.remove(place));
            if order.len() == most {
                break;
            }
        }
        order
    }
}

#[derive(Debug, Clone)]
struct Fleet {
    builders: Option<Vec<BuilderInfo>>,
    limits: Limits,
}

fn ids(builds: &[Waiting]) -> Vec<i64> {
    builds.iter().map(|build| build.id.0).collect()
}

#[test]
fn the_more_urgent_lane_goes_first_and_in_a_lane_the_longest_path() {
    let queue = Queue::of(&[
        ("a", Lane::Mass, "", 900),
        ("a", Lane::Normal, "", 5),
        ("a", Lane::Normal, "", 7),
        ("a", Lane::Deploy, "", 1),
        ("a", Lane::Security, "", 2),
    ]);
    assert_eq!(ids(&queue.one_by_one(&Limits::default(), 9)), [4, 5, 3, 2, 1]);
}

#[test]
fn one_in_four_is_the_one_that_was_asked_for_first() {
    let queue = Queue::of(&[1, 2, 3, 4, 5, 6].map(|path| ("a", Lane::Normal, "", path)));
    assert_eq!(ids(&queue.one_by_one(&Limits::default(), 9)), [6, 5, 4, 1, 3, 2]);
}

#[test]
fn five_thousand_of_one_repository_do_not_starve_two_of_another() {
    let mut written = vec![("big", Lane::Normal, "", 1); 5000];
    written.extend([("small", Lane::Normal, "", 1); 2]);
    let order = Queue::of(&written).one_by_one(&Limits::default(), 4);
    let small = order.iter().filter(|build| build.repository == "small").count();
    assert_eq!(small, 2);
}

#[test]
fn a_repository_of_more_weight_has_more_turns() {
    let written: Vec<_> = (0..80).map(|n| (if n < 40 { "a" } else { "b" }, Lane::Normal, "", 1)).collect();
    let limits = Limits { weights: [("a".to_owned(), 3)].into(), ..Limits::default() };
    let order = Queue::of(&written).one_by_one(&limits, 40);
    assert_eq!(order.iter().filter(|build| build.repository == "a").count(), 30);
}

#[test]
fn who_comes_back_has_not_saved_up_turns() {
    let fleet = Fleet { builders: None, limits: Limits::default() };
    let mut turns = Turns::default();
    let alone = Queue::of(&[("a", Lane::Normal, "", 1); 50]);
    for _ in 0..50 {
        alone.choose(1, &[], &fleet, &mut turns);
    }
    let mut written = vec![("a", Lane::Normal, "", 1); 10];
    written.extend([("b", Lane::Normal, "", 1); 10]);
    let mut both = Queue::of(&written);
    let mut of_b = 0;
    for _ in 0..10 {
        let build = both.choose(1, &[], &fleet, &mut turns)[0];
        of_b += i32::from(build.0 > 10);
        both.0.retain(|waiting| waiting.id != build);
    }
    assert_eq!(of_b, 5);
}

#[test]
fn the_repository_of_which_less_runs_goes_first() {
    let queue = Queue::of(&[("a", Lane::Normal, "", 9), ("b", Lane::Normal, "", 1)]);
    let fleet = Fleet { builders: None, limits: Limits::default() };
    let running = [Running { repository: "a".into(), class: None }];
    assert_eq!(queue.choose(1, &running, &fleet, &mut Turns::default()), [BuildId(2)]);
}

#[test]
fn a_class_that_nobody_has_keeps_nobody_else_waiting() {
    let queue = Queue::of(&[("a", Lane::Deploy, "9", 9), ("a", Lane::Mass, "", 1)]);
    let builders = vec![BuilderInfo { name: "one".into(), class: Some(5), slots: 2, ..BuilderInfo::default() }];
    let fleet = Fleet { builders: Some(builders), limits: Limits::default() };
    assert_eq!(queue.choose(2, &[], &fleet, &mut Turns::default()), [BuildId(2)]);
}

fn queues() -> impl Strategy<Value = Queue> {
    let repository = prop::sample::select(vec!["a", "b", "c"]);
    let lane = prop::sample::select(Lane::ALL.to_vec());
    let class = prop::sample::select(vec!["", "", "1", "5", "x", "y"]);
    prop::collection::vec((repository, lane, class, 0_u64..100), 0..60).prop_map(|written| Queue::of(&written))
}

fn fleets() -> impl Strategy<Value = Fleet> {
    let builder = |name: &str| {
        let name = name.to_owned();
        (prop::option::of(0_u64..7), 0_usize..4).prop_map(move |(class, slots)| BuilderInfo {
            name: name.clone(),
            class,
            slots,
            ..BuilderInfo::default()
        })
    };
    let builders = prop::option::of((builder("x"), builder("z")).prop_map(|(x, z)| vec![x, z]));
    let limit = || prop::option::of(0_usize..5);
    (builders, limit(), limit(), limit(), 1_u64..4).prop_map(|(builders, each, of_a, of_x, weight)| {
        let named =
            |name: &str, limit: Option<usize>| limit.map(|limit| (name.to_owned(), limit)).into_iter().collect();
        let limits = Limits {
            per_repository: each,
            repositories: named("a", of_a),
            classes: named("x", of_x),
            weights: [("b".to_owned(), weight)].into(),
        };
        Fleet { builders, limits }
    })
}

fn running_of(queue: &Queue, builds: &[BuildId]) -> Vec<Running> {
    let chosen = builds.iter().filter_map(|id| queue.0.iter().find(|build| build.id == *id));
    chosen.map(|build| Running { repository: build.repository.clone(), class: build.class.clone() }).collect()
}

proptest! {
    #[test]
    fn no_limit_is_passed_and_no_place_left_that_a_build_may_have(
        queue in queues(), fleet in fleets(), free in 0_usize..9,
    ) {
        let chosen = queue.choose(free, &[], &fleet, &mut Turns::default());
        prop_assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), chosen.len());
        prop_assert!(chosen.len() <= free);
        let running = running_of(&queue, &chosen);
        let (mut repositories, mut classes) = (BTreeMap::new(), BTreeMap::new());
        for build in &running {
            *repositories.entry(&build.repository).or_insert(0) += 1;
            *classes.entry(&build.class).or_insert(0) += 1;
        }
        let limits = &fleet.limits;
        for (repository, count) in &repositories {
            prop_assert!(*count <= limits.of_repository(repository), "{}", repository);
        }
        for (class, count) in &classes {
            prop_assert!(*count <= limits.of_class(class.as_ref()), "{:?}", class);
        }
        let mut seats = Seats::left(free, fleet.builders.as_deref(), std::iter::empty());
        for build in &running {
            prop_assert!(seats.take(build.class.as_ref()), "more than there are places");
        }
        for build in queue.0.iter().filter(|build| !chosen.contains(&build.id)) {
            let class = build.class.as_ref();
            let full = repositories.get(&build.repository).copied().unwrap_or(0) >= limits.of_repository(&build.repository)
                || classes.get(&build.class).copied().unwrap_or(0) >= limits.of_class(class);
            prop_assert!(full || !seats.fits(class), "{:?} could have gone", build);
        }
    }

    #[test]
    fn the_same_situation_has_the_same_answer(queue in queues(), fleet in fleets(), free in 0_usize..9) {
        let (mut one, mut other) = (Turns::default(), Turns::default());
        for _ in 0..3 {
            // One of them has been written down and read again.
            other = serde_json::from_str(&serde_json::to_string(&other).unwrap()).unwrap();
            prop_assert_eq!(queue.choose(free, &[], &fleet, &mut one), queue.choose(free, &[], &fleet, &mut other));
            prop_assert_eq!(&one, &other);
        }
    }

    /// Whatever keeps coming, each build goes in the end: here every build that goes comes back as a new one, except
    /// one of the lowest lane.
    #[test]
    fn nobody_waits_for_ever(queue in queues(), lowest in 0_usize..60) {
        prop_assume!(!queue.0.is_empty());
        let mut queue = queue;
        let place = lowest % queue.0.len();
        queue.0[place].lane = Lane::Mass;
        queue.0[place].path = 0;
        let patient = queue.0[place].id;
        let fleet = Fleet { builders: None, limits: Limits::default() };
        let (mut turns, mut next) = (Turns::default(), 1000);
        let flows = queue.heads(1).len();
        let bound = queue.0.len() * 4 * (flows + 1) * 40;
        for _ in 0..bound {
            let build = queue.choose(1, &[], &fleet, &mut turns)[0];
            if build == patient {
                return Ok(());
            }
            let place = queue.0.iter().position(|waiting| waiting.id == build).unwrap();
            let again = Waiting { id: BuildId(next), ..queue.0.remove(place) };
            queue.0.push(again);
            next += 1;
        }
        prop_assert!(false, "it never had its turn in {} choices", bound);
    }

    #[test]
    fn what_nobody_builds_never_goes(queue in queues(), fleet in fleets()) {
        let chosen = queue.choose(8, &[], &fleet, &mut Turns::default());
        for build in queue.0.iter().filter(|build| chosen.contains(&build.id)) {
            prop_assert_eq!(nobody_builds(fleet.builders.as_deref(), build.class.as_ref()), None);
        }
    }
}
