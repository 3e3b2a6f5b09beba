//! Python's `re`, as far as nvchecker uses it: `findall`, `fullmatch` and `sub`.

mod escape;
mod template;
mod translate;

use std::time::Duration;

use fancy_regex::{Captures, Regex, RegexBuilder};
use tokio::time::Instant;

pub use template::Template;

/// Steps of one search with look-around or back-references.
const STEPS: usize = 200_000;

/// Memory of one compiled expression, about.
const SIZE: usize = 4 << 20;

/// How long all searches of one call may take.
const TIME: Duration = Duration::from_secs(5);

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Pattern {
    anywhere: Regex,
    whole: Regex,
    groups: usize,
}

impl Pattern {
    /// Compiles what is written by Python's rules.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(written: &str) -> Result<Self, String> {
        let wrong = |error: String| format!("the expression `{}` cannot be used: {error}", shortened(written));
        let translated = translate::translate(written).map_err(wrong)?;
        let (flags, body) = (&translated.flags, &translated.body);
        let compile = |pattern: String| {
            let built = RegexBuilder::new(&pattern).backtrack_limit(STEPS).delegate_size_limit(SIZE).build();
            built.map_err(|error| wrong(error.to_string()))
        };
        Ok(Self {
            anywhere: compile(format!("{flags}{body}"))?,
            whole: compile(format!(r"{flags}\A(?:{body})\z"))?,
            groups: translated.groups,
        })
    }

    /// How many groups it has.
    #[must_use]
    pub const fn groups(&self) -> usize {
        self.groups
    }

    /// Which of its groups has this name.
    #[must_use]
    pub fn group_named(&self, name: &str) -> Option<usize> {
        self.anywhere.capture_names().position(|known| known == Some(name))
    }

    /// Those of the texts that it matches from beginning to end.
    ///
    /// # Errors
    /// If that takes too long.
    pub fn full_matches<'a, T: AsRef<str>>(&self, texts: &'a [T]) -> Result<Vec<&'a T>, String> {
        let until = Instant::now() + TIME;
        let mut found = Vec::new();
        for text in texts {
            in_time(until)?;
            if self.whole.is_match(text.as_ref()).map_err(|error| slow(&error))? {
                found.push(text);
            }
        }
        Ok(found)
    }

    /// Everything it matches, or what its only group holds of that.
    ///
    /// # Errors
    /// If that takes too long, or more than `most` are found.
    pub fn find_all(&self, text: &str, most: usize) -> Result<Vec<String>, String> {
        let group = self.groups.min(1);
        let mut found = Vec::new();
        self.each(text, |captures| {
            found.push(captures.get(group).map_or("", |part| part.as_str()).to_owned());
            if found.len() > most { Err(format!("the expression finds more than {most} versions")) } else { Ok(()) }
        })?;
        Ok(found)
    }

    /// The text with every match replaced.
    ///
    /// # Errors
    /// If that takes too long.
    pub fn replace_all(&self, text: &str, template: &Template) -> Result<String, String> {
        let (mut replaced, mut done) = (String::new(), 0);
        self.each(text, |captures| {
            let whole = captures.get(0).expect("every match has a whole");
            replaced.push_str(&text[done..whole.start()]);
            template.fill(|group| captures.get(group).map_or("", |part| part.as_str()), &mut replaced);
            done = whole.end();
            Ok(())
        })?;
        replaced.push_str(&text[done..]);
        Ok(replaced)
    }

    /// Every match, from the left. One that is empty may follow on another, but not on one that is empty.
    fn each<'t>(
        &self,
        text: &'t str,
        mut found: impl FnMut(&Captures<'t, str>) -> Result<(), String>,
    ) -> Result<(), String> {
        let until = Instant::now() + TIME;
        let (mut from, mut empty_at) = (0, None);
        while let Some(captures) = self.anywhere.captures_from_pos(text, from).map_err(|error| slow(&error))? {
            in_time(until)?;
            let whole = captures.get(0).expect("every match has a whole");
            let (start, end) = (whole.start(), whole.end());
            if start == end && empty_at == Some(start) {
                let Some(next) = text[start..].chars().next() else { break };
                from = start + next.len_utf8();
                continue;
            }
            found(&captures)?;
            empty_at = (start == end).then_some(end);
            from = end;
        }
        Ok(())
    }
}

fn in_time(until: Instant) -> Result<(), String> {
    if Instant::now() < until {
        return Ok(());
    }
    Err(format!("the expression takes longer than {} s", TIME.as_secs()))
}

fn slow(error: &fancy_regex::Error) -> String {
    format!("the expression takes too long: {error}")
}

fn shortened(text: &str) -> String {
    text.chars().take(100).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(pattern: &str, text: &str) -> Vec<String> {
        Pattern::new(pattern).expect("valid").find_all(text, 1000).expect("in time")
    }

    fn replaced(pattern: &str, template: &str, text: &str) -> String {
        let pattern = Pattern::new(pattern).expect("valid");
        let template = Template::new(template, &pattern).expect("valid");
        pattern.replace_all(text, &template).expect("in time")
    }

    #[test]
    fn without_a_group_the_match_is_found_and_with_one_the_group() {
        assert_eq!(found(r"\d+\.\d+", "1.0 and 2.1"), ["1.0", "2.1"]);
        assert_eq!(found(r"v(\d+)?x", "v1x vx"), ["1", ""]);
        assert_eq!(found(r"\d+\.4\.\d+(?=\.tar\.gz)", "1.4.2.tar.gz 1.4.3.zip"), ["1.4.2"]);
    }

    #[test]
    fn empty_matches_come_as_python_has_them() {
        assert_eq!(found("x*", "abxd"), ["", "", "x", "", ""]);
        assert_eq!(replaced("x*", "-", "abxd"), "-a-b--d-");
        assert_eq!(replaced("é?", "-", "aé"), "-a--");
    }

    #[test]
    fn the_end_may_have_a_line_end_behind_it() {
        assert_eq!(found("a.$", "ab\nac\n"), ["ac"]);
        assert_eq!(found("(?m)a.$", "ab\nac\n"), ["ab", "ac"]);
        assert_eq!(found(r"a.\Z", "ac\n"), [""; 0]);
    }

    #[test]
    fn a_full_match_takes_whichever_way_leads_to_the_end() {
        let pattern = Pattern::new("1|1.0|(?i:V)2").expect("valid");
        assert_eq!(pattern.full_matches(&["1", "1.0", "11", "v2", "V2\n"]).expect("in time"), [&"1", &"1.0", &"v2"]);
    }

    #[test]
    fn templates_name_groups_by_number_and_name() {
        assert_eq!(replaced(r"(\d)(\d\d)(\d)", r"\1.\2.\3", "1234"), "1.23.4");
        assert_eq!(replaced(r"(?P<ver>\d+\.\d+)_.*", r"\g<ver>", "1.2_x"), "1.2");
        assert_eq!(replaced(r"a(b)?", r"[\1\g<0>\n\.]", "a"), "[a\n\\.]");
    }

    #[test]
    fn a_hostile_expression_ends_with_an_error() {
        let pattern = Pattern::new(r"(?:(?=a)a*)*(?=b)b(\w)\1$").expect("valid");
        assert!(pattern.find_all(&"a".repeat(5000), 10).is_err());
        assert!(Pattern::new(".").expect("valid").find_all(&"a".repeat(11), 10).is_err());
    }

    proptest! {
        #[test]
        fn any_text_as_an_expression_is_used_or_refused(written in "[\\PC\n]{0,30}", text in "\\PC{0,30}") {
            if let Ok(pattern) = Pattern::new(&written) {
                let _ = pattern.find_all(&text, 100);
                let _ = pattern.full_matches(&[text]);
            }
        }

        #[test]
        fn signs_of_expressions_are_used_or_refused(written in r"[\[\](){}?*+\\^$|<>=!:Pd0-9a,.-]{0,20}") {
            if let Ok(pattern) = Pattern::new(&written) {
                let _ = pattern.find_all("a1.0-d,P=", 100);
            }
        }

        #[test]
        fn an_escaped_text_matches_itself(text in "\\PC{0,20}") {
            let written: String = text.chars().map(|c| if c.is_alphanumeric() { c.to_string() } else { format!("\\{c}") }).collect();
            let pattern = Pattern::new(&written).expect("valid");
            prop_assert_eq!(pattern.full_matches(&[text]).expect("in time").len(), 1);
        }
    }
}
