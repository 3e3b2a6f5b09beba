//! Who can build what: the classes of builds, and the builders there are.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use crate::domain::policy::BuildClass;

/// A builder that is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuilderInfo {
    /// What it is called: a class that is a name means this one and no other.
    pub name: String,
    /// Its class: it takes builds of this class and of lower ones. `None` takes every number.
    pub class: Option<u64>,
    /// Builds at once.
    pub slots: usize,
    /// Whether it takes nothing else: builds of lower classes are not for it, and without a class only those that name it.
    #[serde(default)]
    pub only: bool,
    /// The attempts that it builds now, as far as that is known.
    #[serde(default)]
    pub attempts: Vec<String>,
    /// Why it takes no build now, if it does not.
    #[serde(default)]
    pub trouble: Option<String>,
}

impl BuilderInfo {
    /// Builds at once, as things are.
    #[must_use]
    pub const fn places(&self) -> usize {
        if self.trouble.is_some() { 0 } else { self.slots }
    }
}

/// What a class asks of a builder, the most particular first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Wish<'a> {
    Named(&'a str),
    AtLeast(Reverse<u64>),
    Any,
}

impl<'a> Wish<'a> {
    fn of(class: Option<&'a BuildClass>) -> Self {
        match class.map(|class| (class.0.as_str(), class.0.parse())) {
            None => Self::Any,
            Some((_, Ok(number))) => Self::AtLeast(Reverse(number)),
            Some((name, Err(_))) => Self::Named(name),
        }
    }

    fn is_met_by(&self, builder: &BuilderInfo) -> bool {
        match self {
            Self::Named(name) => builder.name == *name,
            Self::AtLeast(Reverse(least)) if builder.only => builder.class == Some(*least),
            Self::AtLeast(Reverse(least)) => builder.class.is_none_or(|class| class >= *least),
            Self::Any => !builder.only || builder.class == Some(0),
        }
    }
}

/// Why no builder will ever take a build of this class as things are, in a sentence for people; `None` if
/// one may. `builders` are those there are; `None` if whoever builds takes anything.
#[must_use]
pub fn nobody_builds(builders: Option<&[BuilderInfo]>, class: Option<&BuildClass>) -> Option<String> {
    let builders = builders?;
    let wish = Wish::of(class);
    let fitting = || builders.iter().filter(|builder| wish.is_met_by(builder));
    if fitting().any(|builder| builder.places() > 0) {
        return None;
    }
    if let Some((name, trouble)) = fitting().find_map(|builder| Some((&builder.name, builder.trouble.as_ref()?))) {
        return Some(format!("the builder `{name}` takes none now: {trouble}"));
    }
    Some(match wish {
        Wish::Named(name) => format!("no builder `{name}` is there"),
        Wish::AtLeast(Reverse(least)) => format!("no builder of class {least} is there"),
        Wish::Any => "no builder is there".to_owned(),
    })
}

/// The free places on the builders that are there.
#[derive(Debug, Clone)]
pub struct Seats {
    /// Places in all.
    free: usize,
    /// Builders with their free places, the most modest first; `None` if whoever builds takes anything.
    builders: Option<Vec<BuilderInfo>>,
}

impl Seats {
    /// What `free` places in all are left by builds that run, given by their classes.
    ///
    /// Where each of them runs is not known. It is assumed that those which few could take have them.
    #[must_use]
    pub fn left<'a>(
        free: usize,
        builders: Option<&[BuilderInfo]>,
        running: impl Iterator<Item = Option<&'a BuildClass>>,
    ) -> Self {
        let mut builders = builders.map(<[_]>::to_vec);
        if let Some(builders) = &mut builders {
            for builder in builders.iter_mut() {
                builder.slots = builder.places();
            }
            builders.sort_by_key(|builder| (builder.class.is_none(), builder.class, builder.name.clone()));
        }
        let mut seats = Self { free: usize::MAX, builders };
        let mut wishes: Vec<Wish<'_>> = running.map(Wish::of).collect();
        wishes.sort();
        for wish in wishes {
            seats.seat(&wish);
        }
        let places = seats.builders.iter().flatten().fold(0_usize, |sum, builder| sum.saturating_add(builder.slots));
        seats.free = if seats.builders.is_some() { free.min(places) } else { free };
        seats
    }

    /// How many builds can begin at most.
    #[must_use]
    pub const fn free(&self) -> usize {
        self.free
    }

    /// Whether a build of this class can begin.
    #[must_use]
    pub fn fits(&self, class: Option<&BuildClass>) -> bool {
        self.free > 0 && self.place_for(&Wish::of(class)).is_some()
    }

    /// Takes a place for a build of this class; whether there was one.
    pub fn take(&mut self, class: Option<&BuildClass>) -> bool {
        self.free > 0 && self.seat(&Wish::of(class))
    }

    fn seat(&mut self, wish: &Wish<'_>) -> bool {
        let Some(place) = self.place_for(wish) else { return false };
        if let Some(builders) = &mut self.builders {
            builders[place].slots -= 1;
        }
        self.free -= 1;
        true
    }

    /// The most modest builder that is good enough, so that the others stay free for what needs them.
    fn place_for(&self, wish: &Wish<'_>) -> Option<usize> {
        let Some(builders) = &self.builders else { return Some(0) };
        builders.iter().position(|builder| builder.slots > 0 && wish.is_met_by(builder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(text: &str) -> Option<BuildClass> {
        (!text.is_empty()).then(|| BuildClass(text.to_owned()))
    }

    fn builders() -> Vec<BuilderInfo> {
        let builder =
            |name: &str, class, slots| BuilderInfo { name: name.to_owned(), class, slots, ..BuilderInfo::default() };
        vec![builder("strong", Some(9), 1), builder("weak", Some(2), 1), builder("cat", Some(5), 1)]
    }

    #[test]
    fn a_number_is_the_least_and_a_name_is_exactly_that() {
        let builders = builders();
        let nobody = |text: &str| nobody_builds(Some(&builders), class(text).as_ref());
        for takes in ["", "0", "2", "5", "6", "9", "weak", "cat"] {
            assert_eq!(nobody(takes), None, "{takes}");
        }
        assert_eq!(nobody("10").unwrap(), "no builder of class 10 is there");
        assert_eq!(nobody("dog").unwrap(), "no builder `dog` is there");
        assert_eq!(nobody_builds(Some(&[]), None).unwrap(), "no builder is there");
        assert_eq!(nobody_builds(None, class("dog").as_ref()), None, "a machine of its own takes everything");
    }

    #[test]
    fn who_takes_nothing_now_has_no_place_and_is_named() {
        let mut builders = builders();
        builders[0].trouble = Some("its sandbox is broken".to_owned());
        let nobody = |text: &str| nobody_builds(Some(&builders), class(text).as_ref());
        assert_eq!(nobody("5"), None);
        assert_eq!(nobody("9").unwrap(), "the builder `strong` takes none now: its sandbox is broken");
        let seats = Seats::left(9, Some(&builders), std::iter::empty());
        assert_eq!(seats.free(), 2);
        assert!(!seats.fits(class("9").as_ref()) && seats.fits(class("5").as_ref()));
    }

    #[test]
    fn who_takes_one_class_alone_takes_neither_lower_ones_nor_higher_ones() {
        let only = |name: &str, class| BuilderInfo {
            name: name.to_owned(),
            class,
            slots: 1,
            only: true,
            ..BuilderInfo::default()
        };
        let takes = |builder: BuilderInfo, text: &str| nobody_builds(Some(&[builder]), class(text).as_ref()).is_none();
        for (text, by_none, by_two, by_name) in [
            ("", true, false, false),
            ("0", true, false, false),
            ("2", false, true, false),
            ("dog", false, false, true),
        ] {
            assert_eq!(takes(only("others", Some(0)), text), by_none, "{text}");
            assert_eq!(takes(only("others", Some(2)), text), by_two, "{text}");
            assert_eq!(takes(only("dog", None), text), by_name, "{text}");
        }
    }

    #[test]
    fn a_build_that_anybody_takes_leaves_the_strong_builder_free() {
        let mut seats = Seats::left(3, Some(&builders()), std::iter::empty());
        assert!(seats.take(None) && seats.take(None));
        assert!(seats.fits(class("9").as_ref()) && !seats.fits(class("cat").as_ref()));
        assert!(seats.take(class("6").as_ref()));
        assert!(!seats.fits(None) && seats.free() == 0);
    }

    #[test]
    fn builds_that_run_have_the_places_that_few_others_could_have() {
        let running = [class(""), class("9")];
        let seats = Seats::left(9, Some(&builders()), running.iter().map(Option::as_ref));
        assert_eq!(seats.free(), 1);
        assert!(seats.fits(class("cat").as_ref()) && !seats.fits(class("strong").as_ref()));
    }

    #[test]
    fn there_are_no_more_places_than_may_be_used() {
        let mut seats = Seats::left(1, Some(&builders()), std::iter::empty());
        assert!(seats.take(None) && !seats.take(None));
        let seats = Seats::left(2, None, [None].into_iter());
        assert_eq!(seats.free(), 2);
    }
}
