//! Which queue a build waits in, so that each builder finds only what it may take.

use super::policy::BuildClass;

/// The queues of one fleet, by the name of the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lanes {
    /// Where builds wait that any builder may take.
    pub base: String,
}

/// What one builder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Station<'a> {
    /// What it is called; builds whose class is a name go to the builder with that name.
    pub name: &'a str,
    /// Its class; builds of a higher one are not for it.
    pub class: u32,
}

/// Which builds wait in a queue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Those of this class; 0 for those of none.
    Class(u32),
    /// Those for the builder with this name.
    Builder(String),
}

/// The highest class there is.
pub const MAX_CLASS: u32 = 64;

impl Lanes {
    /// Where a build waits. `None` for a class that can be nobody's.
    #[must_use]
    pub fn of(&self, class: Option<&BuildClass>) -> Option<String> {
        let Some(BuildClass(class)) = class else { return Some(self.base.clone()) };
        if class.bytes().all(|byte| byte.is_ascii_digit()) {
            return match class.parse().ok()? {
                0 => Some(self.base.clone()),
                number @ 1..=MAX_CLASS => Some(self.numbered(number)),
                _ => None,
            };
        }
        is_name(class).then(|| self.named(class))
    }

    /// What a builder takes from: what is only for it first.
    #[must_use]
    pub fn taken_by(&self, station: &Station<'_>) -> Vec<String> {
        let numbered = (1..=station.class.min(MAX_CLASS)).rev().map(|number| self.numbered(number));
        std::iter::once(self.named(station.name)).chain(numbered).chain([self.base.clone()]).collect()
    }

    /// Which builds wait in the queue with this name; `None` if it is none of this fleet.
    #[must_use]
    pub fn called(&self, queue: &str) -> Option<Lane> {
        let rest = queue.strip_prefix(&self.base)?;
        if rest.is_empty() {
            return Some(Lane::Class(0));
        }
        if let Some(name) = rest.strip_prefix("-at-") {
            return is_name(name).then(|| Lane::Builder(name.to_owned()));
        }
        let class = rest.strip_prefix("-class-")?.parse().ok()?;
        // The one name that it has.
        ((1..=MAX_CLASS).contains(&class) && self.numbered(class) == queue).then_some(Lane::Class(class))
    }

    fn numbered(&self, class: u32) -> String {
        format!("{}-class-{class}", self.base)
    }

    fn named(&self, name: &str) -> String {
        format!("{}-at-{name}", self.base)
    }
}

/// Whether a builder may be called so: what a class can ask for, and what is no number.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&text.len()) && text.bytes().all(legal) && !text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(class: &str) -> Option<String> {
        Lanes { base: "builds".to_owned() }.of(Some(&BuildClass(class.to_owned())))
    }

    #[test]
    fn builds_of_no_class_wait_where_the_contract_says() {
        assert_eq!(Lanes { base: "builds".to_owned() }.of(None).as_deref(), Some("builds"));
        assert_eq!(lane("0").as_deref(), Some("builds"));
    }

    #[test]
    fn a_builder_takes_lower_classes_and_what_names_it_and_nothing_else() {
        let lanes = Lanes { base: "builds".to_owned() };
        let taken = lanes.taken_by(&Station { name: "big", class: 2 });
        assert_eq!(taken, ["builds-at-big", "builds-class-2", "builds-class-1", "builds"]);
        for (class, may) in [("0", true), ("1", true), ("2", true), ("3", false), ("big", true), ("small", false)] {
            assert_eq!(taken.contains(&lane(class).expect("a lane")), may, "{class}");
        }
    }

    #[test]
    fn a_queue_says_by_its_name_what_waits_there() {
        let lanes = Lanes { base: "builds".to_owned() };
        for queue in lanes.taken_by(&Station { name: "big", class: 2 }) {
            let class = match lanes.called(&queue).expect("one of this fleet") {
                Lane::Class(class) => class.to_string(),
                Lane::Builder(name) => name,
            };
            assert_eq!(lane(&class), Some(queue));
        }
        for other in ["", "build", "builds-class-0", "builds-class-01", "builds-class-65", "builds-at-", "builds2"] {
            assert_eq!(lanes.called(other), None, "{other}");
        }
    }

    #[test]
    fn a_class_that_is_nobodys_has_no_lane() {
        for class in ["", "65", "99999999999999", "a b", "a:b", "ä", "a/b"] {
            assert_eq!(lane(class), None, "{class}");
        }
        assert!(is_name("builder-1.example") && !is_name("7") && !is_name(""));
    }
}
