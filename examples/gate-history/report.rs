//! What is printed: shares, a table of reasons, and what a second opinion doubts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Write as _};

use pkgwarden::domain::classify::{Decision, Verdict, Weight};

use crate::updates::Update;

/// What was said of one update.
pub struct Judged {
    pub verdict: Verdict,
    pub doubts: Vec<&'static str>,
}

impl Judged {
    fn is_major(&self) -> bool {
        self.verdict.verdict == Decision::Major
    }

    /// The codes of the reasons that make it major.
    fn codes(&self) -> BTreeSet<&'static str> {
        let heavy = self.verdict.reasons.iter().filter(|reason| reason.severity > Weight::Stronger);
        heavy.map(|reason| reason.code).collect()
    }
}

/// Everything that was judged.
pub struct Report<'a> {
    updates: &'a [Update],
    judged: &'a [Judged],
    /// Whether each is major to Chaotic's function.
    theirs: Option<&'a [bool]>,
}

/// How often a code is among the reasons, and how often it is the only one.
#[derive(Default)]
struct Count {
    any: usize,
    alone: usize,
    /// Of those alone: minor to Chaotic's function.
    new: usize,
}

impl<'a> Report<'a> {
    pub const fn new(updates: &'a [Update], judged: &'a [Judged], theirs: Option<&'a [bool]>) -> Self {
        Self { updates, judged, theirs }
    }

    /// A line for each update: both verdicts, commit, package, codes and the heavy reasons.
    pub fn each(&self) -> String {
        let mut text = String::new();
        for (index, (update, judged)) in self.updates.iter().zip(self.judged).enumerate() {
            let word = |major| if major { "major" } else { "minor" };
            let theirs = self.theirs.map_or("-", |theirs| word(theirs[index]));
            let codes: Vec<_> = judged.codes().into_iter().collect();
            let _ = write!(
                text,
                "{}\t{theirs}\t{}\t{}\t{}\t{}",
                word(judged.is_major()),
                update.commit,
                update.pkgbase,
                codes.join(","),
                judged.doubts.join(", ")
            );
            for reason in judged.verdict.reasons.iter().filter(|reason| reason.severity > Weight::Stronger) {
                let side = |text: &Option<String>| text.clone().unwrap_or_default();
                let line = reason.line.unwrap_or_default();
                let (old, new) = (side(&reason.old), side(&reason.new));
                let _ = write!(text, "\t[{} {}:{line}: {old} => {new}]", reason.code, reason.file);
            }
            text.push('\n');
        }
        text
    }

    fn counts(&self) -> BTreeMap<&'static str, Count> {
        let mut counts: BTreeMap<_, Count> = BTreeMap::new();
        for (index, judged) in self.judged.iter().enumerate() {
            let codes = judged.codes();
            for code in &codes {
                let count = counts.entry(*code).or_default();
                count.any += 1;
                if codes.len() == 1 {
                    count.alone += 1;
                    count.new += usize::from(self.theirs.is_some_and(|theirs| !theirs[index]));
                }
            }
        }
        counts
    }

    fn shares(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.judged.len();
        let majors = self.judged.iter().filter(|judged| judged.is_major()).count();
        writeln!(f, "{all} updates judged, {majors} major ({:.1} %)", share(majors, all))?;
        if let Some(theirs) = self.theirs {
            let major = theirs.iter().filter(|major| **major).count();
            let both = self.judged.iter().zip(theirs).filter(|(ours, theirs)| ours.is_major() && **theirs).count();
            let share_of = share(majors, major);
            writeln!(
                f,
                "Chaotic's function: {major} major ({:.1} %); ours are {share_of:.1} % of that",
                share(major, all)
            )?;
            writeln!(f, "  major to both {both}, only to us {}, only to it {}", majors - both, major - both)?;
        }
        let packages: BTreeSet<_> = self.updates.iter().map(|update| &update.pkgbase).collect();
        let is_unread = |judged: &Judged| judged.codes().contains("unreadable");
        let unread = self.updates.iter().zip(self.judged).filter(|(_, judged)| is_unread(judged));
        let unread: BTreeSet<_> = unread.map(|(update, _)| &update.pkgbase).collect();
        let (some, of) = (unread.len(), packages.len());
        writeln!(f, "unreadable at some time: {some} of {of} packages ({:.2} %)", share(some, of))
    }

    fn doubts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut doubts: BTreeMap<&str, (usize, Vec<String>)> = BTreeMap::new();
        for (update, judged) in self.updates.iter().zip(self.judged) {
            for doubt in &judged.doubts {
                let (all, minor) = doubts.entry(*doubt).or_default();
                *all += 1;
                if !judged.is_major() {
                    let commit = update.commit.to_string();
                    minor.push(format!("{} {}", &commit[..10], update.pkgbase));
                }
            }
        }
        writeln!(f, "\n{:44} {:>6} {:>6}", "doubts raised by the .SRCINFO", "all", "minor")?;
        for (doubt, (all, minor)) in &doubts {
            writeln!(
                f,
                "{doubt:44} {all:6} {:6}  {}",
                minor.len(),
                minor.iter().take(8).cloned().collect::<Vec<_>>().join(", ")
            )?;
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a percentage")]
fn share(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shares(f)?;
        let mut counts: Vec<_> = self.counts().into_iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(count.any));
        write!(f, "\n{:28} {:>6} {:>6}", "reason", "any", "alone")?;
        writeln!(f, "{}", if self.theirs.is_some() { "  alone and minor to Chaotic" } else { "" })?;
        for (code, count) in counts {
            write!(f, "{code:28} {:6} {:6}", count.any, count.alone)?;
            writeln!(f, "{}", if self.theirs.is_some() { format!(" {:6}", count.new) } else { String::new() })?;
        }
        self.doubts(f)
    }
}
