//! When builds of different packages end, one after the other, for reasons that are not theirs, something that all of them
//! need is away: a mirror, a registry, a disk. Then builds are not used up against it.
//!
//! Once so many packages in a row were lost, one build at a time is tried, after pauses that grow, until one comes to an end
//! of its own. What is lost meanwhile does not count as a try of its package.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::queue::BuildId;

/// So many packages in a row are no accident.
const PACKAGES: usize = 3;
/// How long nothing is tried at first; twice as long after each build that is lost then.
const PAUSE: SignedDuration = SignedDuration::from_secs(15);
/// How long at most.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(10);

/// What is known of an outage.
#[derive(Debug, Default)]
pub struct Outage {
    /// Who was lost since a build came to an end of its own.
    lost: BTreeSet<(String, String)>,
    trying: Option<Trying>,
}

/// One build at a time.
#[derive(Debug)]
struct Trying {
    build: Option<BuildId>,
    next: Timestamp,
    pause: SignedDuration,
}

impl Outage {
    /// Whether there is one.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.trying.is_some()
    }

    /// How many builds may begin where there is room for so many.
    #[must_use]
    pub fn room(&self, free: usize, now: Timestamp) -> usize {
        match &self.trying {
            None => free,
            Some(trying) if trying.build.is_none() && trying.next <= now => free.min(1),
            Some(_) => 0,
        }
    }

    /// When the next build is tried; `None` if that depends on nobody's clock.
    #[must_use]
    pub fn next(&self) -> Option<Timestamp> {
        self.trying.as_ref().filter(|trying| trying.build.is_none()).map(|trying| trying.next)
    }

    /// A build begins.
    pub fn begins(&mut self, build: BuildId) {
        if let Some(trying) = &mut self.trying {
            trying.build = Some(build);
        }
    }

    /// A build of a package was lost through no fault of its own. Returns whether that is for an outage.
    pub fn lost(&mut self, build: BuildId, repository: &str, pkgbase: &str, now: Timestamp) -> bool {
        self.lost.insert((repository.to_owned(), pkgbase.to_owned()));
        if let Some(trying) = &mut self.trying {
            if trying.build == Some(build) {
                *trying = Trying::after(LONGEST_PAUSE.min(trying.pause * 2), now);
            }
            return true;
        }
        self.trying = (self.lost.len() >= PACKAGES).then(|| Trying::after(PAUSE, now));
        self.is_on()
    }

    /// A build ended in a way that tells nothing: somebody stopped it.
    pub fn stopped(&mut self, build: BuildId) {
        if let Some(trying) = self.trying.as_mut().filter(|trying| trying.build == Some(build)) {
            trying.build = None;
        }
    }

    /// A build came to an end of its own. Returns whether that ends an outage.
    pub fn over(&mut self) -> bool {
        std::mem::take(self).is_on()
    }
}

impl Trying {
    fn after(pause: SignedDuration, now: Timestamp) -> Self {
        Self { build: None, next: now.checked_add(pause).unwrap_or(Timestamp::MAX), pause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// An outage that three packages have shown at second 0.
    fn outage() -> Outage {
        let mut outage = Outage::default();
        let shown = ["a", "b", "c"].map(|package| outage.lost(BuildId(1), "repo", package, at(0)));
        assert_eq!(shown, [false, false, true]);
        outage
    }

    #[test]
    fn one_package_that_is_lost_again_and_again_is_no_outage() {
        let mut outage = Outage::default();
        for build in 0..9 {
            assert!(!outage.lost(BuildId(build), "repo", "a", at(build)));
        }
        assert!(!outage.lost(BuildId(9), "repo", "b", at(9)) && !outage.over());
        assert!(!outage.lost(BuildId(10), "repo", "c", at(10)), "they are not in a row any more");
        assert_eq!(outage.room(5, at(10)), 5);
    }

    #[test]
    fn while_it_lasts_one_at_a_time_is_tried_after_pauses_that_grow() {
        let mut outage = outage();
        let (mut second, mut pauses) = (0, Vec::new());
        for build in 2..11 {
            let next = outage.next().unwrap();
            assert_eq!((outage.room(5, at(second)), outage.room(0, next), outage.room(5, next)), (0, 0, 1));
            pauses.push(next.as_second() - second);
            second = next.as_second();
            outage.begins(BuildId(build));
            assert_eq!((outage.room(5, at(second + 9999)), outage.next()), (0, None), "it is underway");
            assert!(outage.lost(BuildId(1), "repo", "d", at(second)), "one that began before");
            assert_eq!(outage.room(5, at(second + 9999)), 0, "it is still underway");
            assert!(outage.lost(BuildId(build), "repo", "e", at(second)));
        }
        assert_eq!(pauses, [15, 30, 60, 120, 240, 480, 600, 600, 600]);
        assert!(outage.over() && !outage.over());
        assert_eq!((outage.room(5, at(second)), outage.next()), (5, None));
    }

    #[test]
    fn one_that_is_stopped_while_it_is_tried_lets_the_next_one_be_tried() {
        let mut outage = outage();
        outage.begins(BuildId(7));
        outage.stopped(BuildId(6));
        assert_eq!(outage.room(5, at(20)), 0);
        outage.stopped(BuildId(7));
        assert_eq!(outage.room(5, at(20)), 1);
    }
}
