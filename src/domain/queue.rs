//! The rules of the build queue: who may go next, who waits, who is blocked, and what a new request
//! does to what is there already.
//!
//! Everything here decides over values that the record hands in; nothing is remembered between calls.
//!
//! A build is *live* while it is not final and not `behind` another one of its package. There is at most
//! one live build per package; under some policies others stand in line behind it. What a build waits
//! for are other builds, never names: the record moves a wait to the replacement when a build is
//! superseded, and to the next build of the package when one has ended badly.

use std::collections::{HashMap, HashSet};
use std::fmt;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::build::{BuildEvent, BuildState};
use super::policy::Overlap;

/// The number of a build in the record; a later request has a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BuildId(pub i64);

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Why one build waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WaitKind {
    /// It has to be built before, in the same wave: if it ends badly, whoever waits is blocked.
    After,
    /// It was asked for earlier by another run and is needed: better to wait for the newer one, but what
    /// is published will do.
    Needs,
}

impl WaitKind {
    /// The word used in output and in the record.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::After => "after",
            Self::Needs => "needs",
        }
    }
}

/// A build that has not been handed to an executor, with everything its next state depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The build.
    pub id: BuildId,
    /// Its state: `Waiting`, `Blocked` or `Ready`.
    pub state: BuildState,
    /// How the earlier build of the same package stands that has to end first, if there is one.
    pub behind: Option<BuildState>,
    /// The builds it waits for, as they stand.
    pub waits: Vec<(WaitKind, BuildState)>,
}

enum Standing {
    Go,
    Wait,
    Block,
}

/// The events that follow from how things stand. A build whose state agrees with its waits gets none.
///
/// The caller applies them and calls again for the builds that wait for those that became blocked or
/// stopped being blocked, until nothing changes.
#[must_use]
pub fn settle(view: &[Pending]) -> Vec<(BuildId, BuildEvent)> {
    view.iter().filter_map(|build| event_for(build).map(|event| (build.id, event))).collect()
}

fn event_for(build: &Pending) -> Option<BuildEvent> {
    use BuildState as S;
    match (standing(build), build.state) {
        (Standing::Go, S::Waiting | S::Blocked) => Some(BuildEvent::DependenciesMet),
        (Standing::Block, S::Waiting | S::Ready) => Some(BuildEvent::DependencyFailed),
        (Standing::Wait, S::Blocked | S::Ready) => Some(BuildEvent::DependencyRetried),
        (Standing::Go | Standing::Block | Standing::Wait, _) => None,
    }
}

fn standing(build: &Pending) -> Standing {
    let blocks = |&(kind, state): &(WaitKind, BuildState)| kind == WaitKind::After && state.blocks_dependants();
    // A blocked build is not going anywhere: who merely needs it takes what is published.
    let delays = |&(_, state): &(WaitKind, BuildState)| !state.is_final() && state != BuildState::Blocked;
    if build.behind == Some(BuildState::Blocked) || build.waits.iter().any(blocks) {
        Standing::Block
    } else if build.behind.is_some() || build.waits.iter().any(delays) {
        Standing::Wait
    } else {
        Standing::Go
    }
}

/// How firmly one build waits for another, weakest first: the order in which waits are given up when
/// they form a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bond {
    /// [`WaitKind::Needs`].
    Needs,
    /// [`WaitKind::After`], moved from the build it was meant for to a later one.
    Moved,
    /// [`WaitKind::After`].
    After,
    /// It stands in line behind an earlier build of its package.
    Behind,
}

/// One build that waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Edge {
    /// Who waits.
    pub from: BuildId,
    /// For whom.
    pub to: BuildId,
    /// How firmly.
    pub bond: Bond,
}

/// The waits to give up so that no builds wait for each other in a circle.
///
/// Waits inside one wave form no circle (the caller has cut it), but waits on earlier waves and moved
/// waits may close one. Should even a wave come with a circle, the waits on later requests go.
#[must_use]
pub fn waits_to_drop(edges: &[Edge]) -> Vec<Edge> {
    let mut kept = edges.to_vec();
    let mut dropped = Vec::new();
    for weakest in [Bond::Needs, Bond::Moved, Bond::After] {
        let circular = in_circles(&kept);
        if circular.is_empty() {
            break;
        }
        let gives_way = |edge: &Edge| {
            edge.bond == weakest
                && circular.contains(&edge.from)
                && circular.contains(&edge.to)
                && (weakest != Bond::After || edge.to >= edge.from)
        };
        dropped.extend(kept.extract_if(.., |edge| gives_way(edge)));
    }
    dropped
}

/// The builds left when all that wait for nobody, or that nobody waits for, are taken away again and again.
fn in_circles(edges: &[Edge]) -> HashSet<BuildId> {
    let mut circular: HashSet<BuildId> = edges.iter().flat_map(|edge| [edge.from, edge.to]).collect();
    peel(&mut circular, edges.iter().map(|edge| (edge.from, edge.to)));
    let inner = edges.iter().filter(|edge| circular.contains(&edge.from) && circular.contains(&edge.to));
    let reversed: Vec<_> = inner.map(|edge| (edge.to, edge.from)).collect();
    peel(&mut circular, reversed.into_iter());
    circular
}

/// Takes away every node from which no circle can be reached.
fn peel(nodes: &mut HashSet<BuildId>, edges: impl Iterator<Item = (BuildId, BuildId)>) {
    let mut outgoing: HashMap<BuildId, usize> = nodes.iter().map(|&node| (node, 0)).collect();
    let mut waiting: HashMap<BuildId, Vec<BuildId>> = HashMap::new();
    for (from, to) in edges {
        *outgoing.entry(from).or_default() += 1;
        waiting.entry(to).or_default().push(from);
    }
    let mut free: Vec<_> = outgoing.iter().filter(|&(_, &count)| count == 0).map(|(&node, _)| node).collect();
    while let Some(node) = free.pop() {
        nodes.remove(&node);
        for &from in waiting.get(&node).into_iter().flatten() {
            let count = outgoing.get_mut(&from).expect("every node of an edge was counted");
            *count -= 1;
            if *count == 0 {
                free.push(from);
            }
        }
    }
}

/// A build of the package that is not final when a new request comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Present {
    /// The build.
    pub id: BuildId,
    /// Its state.
    pub state: BuildState,
    /// Whether it came under [`Overlap::Queue`] while another one was running, so that it was promised
    /// its turn.
    pub queued: bool,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Disposition {
    /// Nothing of this package was in the queue.
    New,
    /// It took the place of requests that had not started.
    Replaces {
        /// Those it replaced.
        builds: Vec<BuildId>,
    },
    /// It is the one request that waits for the running build to end.
    Coalesced {
        /// The running build.
        running: BuildId,
    },
    /// It stands at the end of the line.
    Queued {
        /// The build before it.
        behind: BuildId,
    },
    /// It was dropped because the package is being built.
    Discarded {
        /// The running build.
        running: BuildId,
    },
    /// It waits until the running build is stopped, which the caller has to see to.
    Cancels {
        /// The running build.
        running: BuildId,
    },
}

/// What to do for a new request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Builds that it replaces.
    pub supersede: Vec<BuildId>,
    /// The build that has to end first.
    pub behind: Option<BuildId>,
    /// What is reported.
    pub disposition: Disposition,
}

/// Decides what a new request does to the builds of its package that are not final, given in the order
/// in which they were asked for.
///
/// A request replaces what has not started. If a build is underway, `overlap` decides.
#[must_use]
pub fn admit(present: &[Present], overlap: Overlap) -> Admission {
    let running = present.iter().find(|build| build.state.is_underway()).map(|build| build.id);
    if let (Some(running), Overlap::Discard) = (running, overlap) {
        let disposition = Disposition::Discarded { running };
        return Admission { supersede: Vec::new(), behind: None, disposition };
    }
    let stays = |build: &&Present| build.state.is_underway() || (overlap == Overlap::Queue && build.queued);
    let behind = present.iter().filter(stays).map(|build| build.id).next_back();
    let supersede: Vec<_> = present.iter().filter(|build| !stays(build)).map(|build| build.id).collect();
    let disposition = match (running, behind, overlap) {
        (Some(running), _, Overlap::Coalesce | Overlap::Discard) => Disposition::Coalesced { running },
        (Some(running), _, Overlap::Cancel) => Disposition::Cancels { running },
        (_, Some(behind), _) => Disposition::Queued { behind },
        (_, None, _) if supersede.is_empty() => Disposition::New,
        (_, None, _) => Disposition::Replaces { builds: supersede.clone() },
    };
    Admission { supersede, behind, disposition }
}

/// How often a build is tried when it is not the package's fault that it ended.
pub const MAX_ATTEMPTS: u32 = 3;

/// How long to wait after the given number of attempts was lost; `None` when there is no further one.
#[must_use]
pub fn retry_delay(attempts: u32) -> Option<SignedDuration> {
    (attempts < MAX_ATTEMPTS).then(|| SignedDuration::from_secs(30 * 4_i64.pow(attempts.saturating_sub(1))))
}

/// How often a build may be underway when the controller or its machine goes down. Beyond that, it may be why.
pub const MAX_INTERRUPTIONS: u32 = 10;

/// How long to wait after a build was interrupted for so many times; `None` when it is not tried again.
#[must_use]
pub fn resume_delay(interruptions: u32) -> Option<SignedDuration> {
    let delay = match interruptions {
        0..=2 => 0,
        more => 30 << (more - 3).min(5),
    };
    (interruptions < MAX_INTERRUPTIONS).then(|| SignedDuration::from_secs(delay))
}

/// How long to wait after a build was lost for so many times in an [outage](super::outage): long enough that others are
/// tried before it.
#[must_use]
pub fn outage_delay(times: u32) -> SignedDuration {
    SignedDuration::from_mins(5 << times.saturating_sub(1).min(3)).min(SignedDuration::from_mins(40))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(state: BuildState, waits: &[(WaitKind, BuildState)]) -> Pending {
        Pending { id: BuildId(1), state, behind: None, waits: waits.to_vec() }
    }

    fn event(state: BuildState, waits: &[(WaitKind, BuildState)]) -> Option<BuildEvent> {
        settle(&[pending(state, waits)]).first().map(|&(_, event)| event)
    }

    #[test]
    fn a_build_goes_when_all_it_waits_for_ended_well() {
        use BuildState as S;
        assert_eq!(event(S::Waiting, &[]), Some(BuildEvent::DependenciesMet));
        for state in BuildState::ALL {
            let expected = match state {
                S::Succeeded | S::AlreadyBuilt | S::Skipped | S::Superseded => Some(BuildEvent::DependenciesMet),
                S::Failed | S::TimedOut | S::Cancelled | S::Lost | S::Blocked => Some(BuildEvent::DependencyFailed),
                S::Waiting | S::Ready | S::Dispatched | S::Running => None,
            };
            assert_eq!(event(S::Waiting, &[(WaitKind::After, state)]), expected, "{state:?}");
        }
    }

    #[test]
    fn a_blocked_build_follows_its_dependency() {
        use BuildState as S;
        assert_eq!(event(S::Blocked, &[(WaitKind::After, S::Failed)]), None);
        assert_eq!(event(S::Blocked, &[(WaitKind::After, S::Running)]), Some(BuildEvent::DependencyRetried));
        assert_eq!(event(S::Blocked, &[(WaitKind::After, S::Succeeded)]), Some(BuildEvent::DependenciesMet));
        assert_eq!(event(S::Ready, &[(WaitKind::After, S::Failed)]), Some(BuildEvent::DependencyFailed));
    }

    #[test]
    fn a_failure_in_another_wave_blocks_nobody() {
        use BuildState as S;
        assert_eq!(event(S::Waiting, &[(WaitKind::Needs, S::Running)]), None);
        for state in [S::Failed, S::Blocked, S::Succeeded] {
            assert_eq!(event(S::Waiting, &[(WaitKind::Needs, state)]), Some(BuildEvent::DependenciesMet), "{state:?}");
        }
    }

    #[test]
    fn a_build_in_line_waits_for_its_turn() {
        let mut build = pending(BuildState::Waiting, &[]);
        build.behind = Some(BuildState::Running);
        assert_eq!(settle(&[build]), []);
    }

    #[test]
    fn a_build_in_line_behind_a_blocked_one_is_blocked_until_that_moves() {
        let mut build = pending(BuildState::Waiting, &[]);
        build.behind = Some(BuildState::Blocked);
        assert_eq!(settle(std::slice::from_ref(&build)), [(BuildId(1), BuildEvent::DependencyFailed)]);
        build.state = BuildState::Blocked;
        build.behind = Some(BuildState::Waiting);
        assert_eq!(settle(&[build]), [(BuildId(1), BuildEvent::DependencyRetried)]);
    }

    #[test]
    fn every_event_of_settle_is_legal() {
        for state in BuildState::ALL {
            for other in BuildState::ALL {
                for kind in [WaitKind::After, WaitKind::Needs] {
                    if let Some(event) = event(state, &[(kind, other)]) {
                        assert!(state.after(event).is_ok(), "{state:?} {event:?}");
                    }
                }
            }
        }
    }

    fn edge(from: i64, to: i64, bond: Bond) -> Edge {
        Edge { from: BuildId(from), to: BuildId(to), bond }
    }

    #[test]
    fn only_the_weakest_waits_of_a_circle_are_given_up() {
        let straight = [edge(3, 2, Bond::Needs), edge(2, 1, Bond::After), edge(3, 1, Bond::Moved)];
        assert_eq!(waits_to_drop(&straight), []);
        let circle =
            [edge(1, 2, Bond::Moved), edge(2, 1, Bond::Needs), edge(4, 1, Bond::Needs), edge(1, 0, Bond::Needs)];
        assert_eq!(waits_to_drop(&circle), [edge(2, 1, Bond::Needs)]);
    }

    #[test]
    fn even_a_circle_inside_a_wave_is_opened() {
        let circle = [edge(1, 2, Bond::After), edge(2, 3, Bond::After), edge(3, 1, Bond::After)];
        assert_eq!(waits_to_drop(&circle), [edge(1, 2, Bond::After), edge(2, 3, Bond::After)]);
        assert_eq!(waits_to_drop(&[edge(1, 1, Bond::After)]), [edge(1, 1, Bond::After)]);
    }

    fn present(id: i64, state: BuildState) -> Present {
        Present { id: BuildId(id), state, queued: false }
    }

    #[test]
    fn a_newer_request_replaces_what_has_not_started() {
        for overlap in [Overlap::Coalesce, Overlap::Queue, Overlap::Discard, Overlap::Cancel] {
            for state in [BuildState::Waiting, BuildState::Blocked, BuildState::Ready] {
                let admission = admit(&[present(1, state)], overlap);
                assert_eq!(admission.disposition, Disposition::Replaces { builds: vec![BuildId(1)] });
                assert_eq!((admission.supersede, admission.behind), (vec![BuildId(1)], None));
            }
        }
    }

    #[test]
    fn the_policy_decides_over_a_running_build() {
        let there = [present(1, BuildState::Running), present(2, BuildState::Waiting)];
        let admission = admit(&there, Overlap::Coalesce);
        assert_eq!((admission.supersede, admission.behind), (vec![BuildId(2)], Some(BuildId(1))));
        assert_eq!(admission.disposition, Disposition::Coalesced { running: BuildId(1) });
        let admission = admit(&there, Overlap::Discard);
        assert_eq!((admission.supersede, admission.behind), (vec![], None));
        assert_eq!(admission.disposition, Disposition::Discarded { running: BuildId(1) });
        let admission = admit(&there, Overlap::Cancel);
        assert_eq!((admission.supersede, admission.behind), (vec![BuildId(2)], Some(BuildId(1))));
        assert_eq!(admission.disposition, Disposition::Cancels { running: BuildId(1) });
    }

    #[test]
    fn who_was_promised_a_turn_keeps_it() {
        let mut second = present(2, BuildState::Waiting);
        second.queued = true;
        let admission = admit(&[present(1, BuildState::Running), second], Overlap::Queue);
        assert_eq!((admission.supersede, admission.behind), (vec![], Some(BuildId(2))));
        let admission = admit(&[second], Overlap::Queue);
        assert_eq!(admission.disposition, Disposition::Queued { behind: BuildId(2) });
    }

    #[test]
    fn the_third_lost_attempt_is_the_last() {
        let delays: Vec<_> = (1..=3).map(|attempts| retry_delay(attempts).map(|delay| delay.as_secs())).collect();
        assert_eq!(delays, [Some(30), Some(120), None]);
    }

    #[test]
    fn what_is_interrupted_goes_on_soon_and_what_is_underway_at_each_crash_does_not_for_ever() {
        let delays: Vec<_> = (1..=10).filter_map(|times| resume_delay(times).map(|delay| delay.as_secs())).collect();
        assert_eq!(delays, [0, 0, 30, 60, 120, 240, 480, 960, 960]);
    }

    #[test]
    fn who_was_lost_in_an_outage_lets_others_go_first() {
        assert_eq!([1, 2, 3, 4, 99].map(|times| outage_delay(times).as_mins()), [5, 10, 20, 40, 40]);
    }
}
