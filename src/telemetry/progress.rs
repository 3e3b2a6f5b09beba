//! One line on the terminal that says what takes so long: *asking upstreams 120/770, fetching packages*.
//!
//! Drawn on standard error only, after a second, and only where a person looks at it. Where nobody does, as in a job,
//! what takes very long is told in lines that stay. Without [`enable`] nothing here does anything. What else is written to standard error goes through [`line`]
//! or [`Stderr`], so that it does not run into the line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

/// What is over by then is not worth a line.
const DELAY: Duration = Duration::from_secs(1);
/// How often the line is drawn.
const PERIOD: Duration = Duration::from_millis(125);

/// What is told in a line that stays takes longer than this, and is told again after ever longer.
const PATIENCE: Duration = Duration::from_secs(10);

static SCREEN: Mutex<Screen> =
    Mutex::new(Screen { enabled: false, next: 0, running: BTreeMap::new(), bar: None, told: None });

/// The one line.
struct Screen {
    enabled: bool,
    next: u64,
    /// What is being done, oldest first.
    running: BTreeMap<u64, Doing>,
    /// Only while it is drawn.
    bar: Option<ProgressBar>,
    /// The task that a line was written for last, and for how long it had been running.
    told: Option<(u64, Duration)>,
}

struct Doing {
    what: Cow<'static, str>,
    since: Instant,
    count: Option<(u64, u64)>,
}

/// Something that is being done, until this is dropped.
#[derive(Debug)]
#[must_use = "it is over when this is dropped"]
pub struct Task(Option<u64>);

/// Whether progress is worth drawing: on a terminal that can, for a person who wants to hear something.
#[must_use]
pub fn wanted(terminal: bool, quiet: bool, var: impl Fn(&str) -> Option<String>) -> bool {
    let in_ci = var("CI").is_some_and(|ci| !ci.is_empty() && ci != "false");
    terminal && !quiet && !in_ci && var("TERM").is_none_or(|term| term != "dumb")
}

/// Begins to draw, if standard error is a terminal and the rest of [`wanted`] is so; otherwise, unless nobody wants to
/// hear anything, to tell what takes very long. The line has no colours, so that `NO_COLOR` changes nothing.
pub fn enable(quiet: bool, var: impl Fn(&str) -> Option<String>) {
    if quiet || std::mem::replace(&mut screen().enabled, true) {
        return;
    }
    let draws = wanted(io::stderr().is_terminal(), quiet, var);
    // Ends with the process, like the line itself.
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(PERIOD);
            let now = Instant::now();
            if draws {
                screen().draw(now);
            } else if let Some(text) = screen().overdue(now) {
                anstream::eprintln!("{text}");
            }
        }
    });
}

/// Says what is being done.
pub fn task(what: impl Into<Cow<'static, str>>) -> Task {
    screen().begin(what.into(), None)
}

/// Says what is being done, and of how many things.
pub fn counted(what: impl Into<Cow<'static, str>>, total: usize) -> Task {
    screen().begin(what.into(), Some((0, u64::try_from(total).unwrap_or(u64::MAX))))
}

/// Writes a line to standard error that stays.
pub fn line(text: impl fmt::Display) {
    screen().aside(|| anstream::eprintln!("{text}"));
}

/// Standard error, as the log has to use it.
#[derive(Debug, Clone, Copy)]
pub struct Stderr;

/// As [`Stderr`].
pub const fn stderr() -> Stderr {
    Stderr
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        screen().aside(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl Task {
    /// One more thing is done.
    pub fn advance(&self) {
        self.change(|doing| doing.count = doing.count.map(|(done, total)| (done + 1, total)));
    }

    /// It is something else now.
    pub fn say(&self, what: impl Into<Cow<'static, str>>) {
        self.change(|doing| doing.what = what.into());
    }

    fn change(&self, change: impl FnOnce(&mut Doing)) {
        if let Some(id) = self.0
            && let Some(doing) = screen().running.get_mut(&id)
        {
            change(doing);
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(id) = self.0 {
            screen().end(id);
        }
    }
}

fn screen() -> MutexGuard<'static, Screen> {
    SCREEN.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Screen {
    fn begin(&mut self, what: Cow<'static, str>, count: Option<(u64, u64)>) -> Task {
        if !self.enabled {
            return Task(None);
        }
        let id = self.next;
        self.next += 1;
        self.running.insert(id, Doing { what, since: Instant::now(), count });
        Task(Some(id))
    }

    /// With the last task the line goes at once: results may follow on the same terminal.
    fn end(&mut self, id: u64) {
        self.running.remove(&id);
        if self.running.is_empty()
            && let Some(bar) = self.bar.take()
        {
            bar.finish_and_clear();
        }
    }

    fn draw(&mut self, now: Instant) {
        let Some(text) = self.text(now) else { return };
        let bar = self.bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{spinner} {wide_msg}").expect("a template of two known keys");
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
        });
        bar.set_message(text);
        bar.tick();
    }

    /// What the line says; `None` if nothing takes long.
    fn text(&self, now: Instant) -> Option<String> {
        let oldest = self.running.values().map(|doing| doing.since).min()?;
        (now.duration_since(oldest) >= DELAY)
            .then(|| self.running.values().map(ToString::to_string).collect::<Vec<_>>().join(", "))
    }

    /// What to say of the task that has been running longest, where it is time for that.
    fn overdue(&mut self, now: Instant) -> Option<String> {
        let (&id, doing) = self.running.iter().min_by_key(|(_, doing)| doing.since)?;
        let taken = now.duration_since(doing.since);
        let before = self.told.filter(|(told, _)| *told == id).map_or(Duration::ZERO, |(_, taken)| taken);
        if taken < PATIENCE.max(before * 2) {
            return None;
        }
        self.told = Some((id, taken));
        Some(format!("still {doing}, for {} s", taken.as_secs()))
    }

    /// Writes something else while the line is away.
    fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            Some((done, total)) => write!(f, "{} {done}/{total}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn var(name: &'static str, value: &'static str) -> impl Fn(&str) -> Option<String> {
        move |asked| (asked == name).then(|| value.to_owned())
    }

    #[test]
    fn nothing_is_drawn_where_nobody_looks_or_nobody_wants_it() {
        assert!(wanted(true, false, |_| None));
        assert!(wanted(true, false, var("NO_COLOR", "1")), "there are no colours in it");
        assert!(wanted(true, false, var("CI", "false")));
        assert!(!wanted(false, false, |_| None), "not a terminal");
        assert!(!wanted(true, true, |_| None), "--quiet");
        assert!(!wanted(true, false, var("CI", "true")));
        assert!(!wanted(true, false, var("TERM", "dumb")));
    }

    #[test]
    fn the_line_tells_what_is_done_and_how_much_of_it_after_a_second() {
        let doing = |what: &'static str, since, count| Doing { what: what.into(), since, count };
        let began = Instant::now();
        let mut screen = Screen { enabled: true, next: 2, running: BTreeMap::new(), bar: None, told: None };
        assert_eq!(screen.text(began + DELAY), None, "nothing is done");
        screen.running.insert(0, doing("asking upstreams", began, Some((3, 7))));
        screen.running.insert(1, doing("fetching", began + DELAY, None));
        assert_eq!(screen.text(began), None, "too early");
        assert_eq!(screen.text(began + DELAY).expect("late enough"), "asking upstreams 3/7, fetching");
    }

    #[test]
    fn what_takes_very_long_is_told_where_nobody_looks_and_not_all_the_time() {
        let began = Instant::now();
        let mut screen = Screen { enabled: true, next: 1, running: BTreeMap::new(), bar: None, told: None };
        assert_eq!(screen.overdue(began), None, "nothing is done");
        screen.running.insert(0, Doing { what: "asking the AUR".into(), since: began, count: None });
        let told: Vec<_> = (0..60).filter_map(|second| screen.overdue(began + Duration::from_secs(second))).collect();
        let expected = [10, 20, 40].map(|second| format!("still asking the AUR, for {second} s"));
        assert_eq!(told, expected);
    }

    #[test]
    fn without_being_enabled_a_task_is_nothing() {
        let task = task("something");
        task.say("something else");
        task.advance();
        assert!(task.0.is_none() && screen().running.is_empty());
    }
}
