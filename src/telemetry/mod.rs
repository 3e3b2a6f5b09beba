//! What the program says about itself while it runs: set up once, at the start.
//!
//! Results of commands are no telemetry; they go to standard output, and this never does.

pub mod progress;

use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::{FormatEvent, FormatFields, Formatter, MakeWriter};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// Chooses levels per module (`info,pkgwarden::git=debug`), over `-v` and `-q`.
pub const FILTER_VARIABLE: &str = "PKGWARDEN_LOG";

/// An error and what caused it, in one line.
#[must_use]
pub fn in_full(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// How to log.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How many steps more (or, negative, less) than warnings are told.
    pub verbosity: i8,
    /// The text of [`FILTER_VARIABLE`], if it is set.
    pub filter: Option<String>,
    /// One JSON object a line, for log collectors.
    pub json: bool,
    /// Whether text is coloured.
    pub color: bool,
}

/// What changes the level of a process that logs.
static LEVEL: OnceLock<Box<dyn Fn(i8) + Send + Sync>> = OnceLock::new();

/// Logs at this verbosity from now on, unless the command line or [`FILTER_VARIABLE`] said how much.
pub fn set_verbosity(verbosity: i8) {
    if let Some(change) = LEVEL.get() {
        change(verbosity);
    }
}

/// Starts logging to standard error, for the whole process. A second call changes nothing.
pub fn init(options: &Options) {
    let started = if options.json {
        start(builder(options, progress::stderr).json().with_filter_reloading(), options)
    } else {
        start(builder(options, progress::stderr).with_filter_reloading(), options)
    };
    if started && let Err(cause) = filter(options) {
        tracing::warn!(%cause, "{FILTER_VARIABLE} cannot be read, so that it changes nothing");
    }
}

type Reloading<N, E, W> =
    tracing_subscriber::fmt::SubscriberBuilder<N, E, reload::Layer<EnvFilter, Formatter<N, E, W>>, W>;

/// False if the process logs already.
fn start<N, E, W>(builder: Reloading<N, E, W>, options: &Options) -> bool
where
    N: for<'writer> FormatFields<'writer> + Send + Sync + 'static,
    E: FormatEvent<Registry, N> + Send + Sync + 'static,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    Formatter<N, E, W>: Send + Sync + 'static,
{
    let handle = builder.reload_handle();
    if builder.finish().try_init().is_err() {
        return false;
    }
    let said = options.verbosity != 0 || options.filter.as_ref().is_some_and(|text| !text.is_empty());
    let change = move |verbosity| {
        if !said && let Err(error) = handle.reload(default_filter(verbosity)) {
            tracing::warn!(error = error.to_string(), "the level of the log cannot be changed");
        }
    };
    LEVEL.set(Box::new(change)).is_ok()
}

type Builder<W> = tracing_subscriber::fmt::SubscriberBuilder<
    tracing_subscriber::fmt::format::DefaultFields,
    tracing_subscriber::fmt::format::Format,
    EnvFilter,
    W,
>;

fn builder<W>(options: &Options, writer: W) -> Builder<W>
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let filter = filter(options).unwrap_or_else(|_| default_filter(options.verbosity));
    tracing_subscriber::fmt()
        .with_writer(writer)
        .with_ansi(options.color)
        .with_target(options.verbosity > 1)
        .with_env_filter(filter)
}

fn filter(options: &Options) -> Result<EnvFilter, tracing_subscriber::filter::ParseError> {
    match &options.filter {
        Some(text) if !text.is_empty() => EnvFilter::builder().parse(text),
        _ => Ok(default_filter(options.verbosity)),
    }
}

/// Our own modules at the level asked for; others only when something is wrong, until `-vvv`.
fn default_filter(verbosity: i8) -> EnvFilter {
    let (ours, others) = match verbosity {
        ..=-2 => (LevelFilter::OFF, LevelFilter::OFF),
        -1 => (LevelFilter::ERROR, LevelFilter::ERROR),
        0 => (LevelFilter::WARN, LevelFilter::WARN),
        1 => (LevelFilter::INFO, LevelFilter::WARN),
        2 => (LevelFilter::DEBUG, LevelFilter::WARN),
        3.. => (LevelFilter::TRACE, LevelFilter::DEBUG),
    };
    EnvFilter::default()
        .add_directive(others.into())
        .add_directive(format!("pkgwarden={ours}").parse().expect("a directive of a module and a level"))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no other user").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The levels that come through, of our own module and of another.
    fn heard(options: &Options) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let subscriber = builder(options, move || writer.clone()).without_time().finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "pkgwarden::git", "ours");
            tracing::warn!(target: "pkgwarden::git", "ours");
            tracing::info!(target: "pkgwarden::git", "ours");
            tracing::debug!(target: "pkgwarden::git", "ours");
            tracing::info!(target: "hyper", "theirs");
        });
        let bytes = sink.0.lock().expect("no other user").clone();
        let text = String::from_utf8(bytes).expect("text");
        text.lines().filter_map(|line| line.split_whitespace().next()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_step_of_verbosity_tells_more() {
        let verbosity = |verbosity| heard(&Options { verbosity, ..Options::default() });
        assert_eq!(verbosity(-2), "");
        assert_eq!(verbosity(-1), "ERROR");
        assert_eq!(verbosity(0), "ERROR WARN");
        assert_eq!(verbosity(1), "ERROR WARN INFO");
        assert_eq!(verbosity(2), "ERROR WARN INFO DEBUG");
        assert_eq!(verbosity(3), "ERROR WARN INFO DEBUG INFO", "now others are heard too");
    }

    #[test]
    fn the_filter_variable_wins_and_nonsense_in_it_is_passed_over() {
        let filter = |text: &str| heard(&Options { filter: Some(text.into()), ..Options::default() });
        assert_eq!(filter("hyper=info"), "INFO");
        assert_eq!(filter("=,=,="), "ERROR WARN");
    }
}
