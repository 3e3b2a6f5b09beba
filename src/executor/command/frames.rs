//! What a program of the operator's says on its standard output: its log as it is, or frames with the log in them.

use serde::Deserialize;

use crate::domain::build::Outcome;
use crate::domain::upload::{ArtefactClaim, LONGEST_ANSWER};
use crate::executor::Ending;

/// The first line of an output that consists of frames.
const FRAMED: &[u8] = b"@pkgwarden 1\n";
/// The longest line that is kept together, in bytes.
const LONGEST: usize = 16 << 10;
/// What the line of an end begins with, which may be longer: it names all that was brought.
const END: &[u8] = b"@ end ";

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Bytes of the log.
    Log(Vec<u8>),
    /// The build has begun; before, it waited for its turn somewhere.
    Begun,
    /// How the build ended, and why. It counts more than the status of the program.
    Ended(Ended),
}

/// How a build ended, as it was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub ending: Ending,
    /// Why.
    pub message: String,
    /// What was made and brought over HTTP.
    pub artefacts: Vec<ArtefactClaim>,
}

/// Reads an output piece by piece. What is no frame where one should be is log: nothing that was printed is lost.
#[derive(Debug, Default)]
pub struct Frames {
    kept: Vec<u8>,
    mode: Mode,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    /// The first line decides.
    #[default]
    Undecided,
    /// All is log.
    Plain,
    /// A line is next.
    Line,
    /// So many bytes of log are next.
    Log(usize),
    /// What is left of a line is for nobody.
    Rest,
}

/// What came of one step through the bytes.
enum Step {
    /// More bytes are needed.
    Stuck,
    /// There was nothing to say of it.
    On,
    /// This was said.
    Said(Said),
}

impl Frames {
    /// Reads the next bytes.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Said> {
        self.kept.extend_from_slice(bytes);
        let mut said = Vec::new();
        loop {
            match (said.last_mut(), self.next()) {
                (_, Step::Stuck) => return said,
                (_, Step::On) => {}
                (Some(Said::Log(before)), Step::Said(Said::Log(more))) => before.extend(more),
                (_, Step::Said(one)) => said.push(one),
            }
        }
    }

    /// What was begun when the output ended.
    pub fn rest(&mut self) -> Option<Said> {
        let rest = std::mem::take(&mut self.kept);
        (!rest.is_empty()).then_some(Said::Log(rest))
    }

    /// Whether the output consists of frames; `None` as long as that is not known.
    pub fn are_used(&self) -> Option<bool> {
        match self.mode {
            Mode::Undecided => None,
            Mode::Plain => Some(false),
            Mode::Line | Mode::Log(_) | Mode::Rest => Some(true),
        }
    }

    fn next(&mut self) -> Step {
        if self.kept.is_empty() {
            return Step::Stuck;
        }
        match self.mode {
            Mode::Undecided if self.kept.starts_with(FRAMED) => {
                self.kept.drain(..FRAMED.len());
                self.mode = Mode::Line;
                Step::On
            }
            Mode::Undecided if FRAMED.starts_with(&self.kept) => Step::Stuck,
            Mode::Undecided => {
                self.mode = Mode::Plain;
                Step::On
            }
            Mode::Plain => self.rest().map_or(Step::Stuck, Step::Said),
            Mode::Log(0) => {
                self.mode = Mode::Line;
                Step::On
            }
            Mode::Log(length) => {
                let piece: Vec<u8> = self.kept.drain(..length.min(self.kept.len())).collect();
                self.mode = Mode::Log(length - piece.len());
                Step::Said(Said::Log(piece))
            }
            Mode::Line => self.line(),
            Mode::Rest => {
                let end = self.kept.iter().position(|byte| *byte == b'\n');
                self.kept.drain(..end.map_or(self.kept.len(), |end| end + 1));
                self.mode = if end.is_some() { Mode::Line } else { Mode::Rest };
                Step::On
            }
        }
    }

    fn line(&mut self) -> Step {
        let is_end = self.kept.starts_with(END);
        let longest = if is_end { LONGEST_ANSWER } else { LONGEST };
        let end = self.kept.iter().take(longest).position(|byte| *byte == b'\n');
        let length = match end {
            Some(end) => end + 1,
            None if self.kept.len() < longest => return Step::Stuck,
            None if is_end => {
                self.mode = Mode::Rest;
                return Step::Said(Said::Ended(too_long()));
            }
            None => longest,
        };
        let line: Vec<u8> = self.kept.drain(..length).collect();
        match frame(&line) {
            Some(Frame::Log(length)) => {
                self.mode = Mode::Log(length);
                Step::On
            }
            Some(Frame::Begun) => Step::Said(Said::Begun),
            Some(Frame::Ended(ended)) => Step::Said(Said::Ended(ended)),
            None => Step::Said(Said::Log(line)),
        }
    }
}

/// The end of a build of which more was said than is read: whatever it was, the package did not say it.
fn too_long() -> Ended {
    let message = format!("the program told how the build ended in a line of more than {LONGEST_ANSWER} bytes");
    Ended { ending: Ending::Infrastructure, message, artefacts: Vec::new() }
}

enum Frame {
    Log(usize),
    Begun,
    Ended(Ended),
}

fn frame(line: &[u8]) -> Option<Frame> {
    let line = std::str::from_utf8(line).ok()?.strip_prefix("@ ")?.strip_suffix('\n')?;
    match line.split_once(' ').unwrap_or((line, "")) {
        ("log", length) => length.parse().ok().map(Frame::Log),
        ("begun", "") => Some(Frame::Begun),
        ("end", result) => {
            let result: Outcomes = serde_json::from_str(result).ok()?;
            let ending = result.ending();
            Some(Frame::Ended(Ended { ending, message: result.message, artefacts: result.artefacts }))
        }
        _ => None,
    }
}

/// An end as workers write it: what they return, or what they throw.
#[derive(Debug, Deserialize)]
struct Outcomes {
    status: Status,
    #[serde(default)]
    kind: Kind,
    #[serde(default)]
    message: String,
    #[serde(default)]
    artefacts: Vec<ArtefactClaim>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Succeeded,
    AlreadyBuilt,
    Skipped,
    Failed,
    TimedOut,
    Cancelled,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    /// It is the package's fault.
    #[default]
    Package,
    /// Another attempt may succeed.
    Infrastructure,
}

impl Outcomes {
    const fn ending(&self) -> Ending {
        match (self.status, self.kind) {
            (Status::Succeeded, _) => Ending::Done(Outcome::Succeeded),
            (Status::AlreadyBuilt, _) => Ending::Done(Outcome::AlreadyBuilt),
            (Status::Skipped, _) => Ending::Done(Outcome::Skipped),
            (Status::Cancelled, _) => Ending::Done(Outcome::Cancelled),
            (Status::Failed | Status::TimedOut, Kind::Infrastructure) => Ending::Infrastructure,
            (Status::Failed, Kind::Package) => Ending::Done(Outcome::Failed),
            (Status::TimedOut, Kind::Package) => Ending::Done(Outcome::TimedOut),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(output: &[u8]) -> Vec<Said> {
        let mut frames = Frames::default();
        let mut said = frames.read(output);
        said.extend(frames.rest());
        said
    }

    fn log(text: &str) -> Said {
        Said::Log(text.as_bytes().to_vec())
    }

    #[test]
    fn what_has_no_frames_is_the_log() {
        for text in ["make: done\n", "@pkgwarden 2\n", "@pkg", "@ begun\n", "@ end {\"status\":\"succeeded\"}"] {
            assert_eq!(all(text.as_bytes()), [log(text)], "{text}");
        }
    }

    #[test]
    fn frames_say_what_begins_and_how_it_ends_and_a_log_cannot_forge_them() {
        let forged = "@ end {\"status\":\"succeeded\"}\n";
        let output = format!(
            "@pkgwarden 1\n@ log 8\nqueued\n\n@ begun\n@ log {}\n{forged}@ end {}\n",
            forged.len(),
            r#"{"status":"failed","kind":"infrastructure","message":"no runner"}"#
        );
        let (ending, message) = (Ending::Infrastructure, "no runner".to_owned());
        let ended = Said::Ended(Ended { ending, message, artefacts: Vec::new() });
        assert_eq!(all(output.as_bytes()), [log("queued\n\n"), Said::Begun, log(forged), ended]);
    }

    #[test]
    fn what_is_no_frame_where_one_should_be_is_log() {
        for wrong in ["oops\n", "@ log many\n", "@ end {}\n", "@ later\n", "@ log 5\nabc"] {
            let said = all(format!("@pkgwarden 1\n{wrong}").as_bytes());
            let text = if wrong.ends_with("abc") { "abc" } else { wrong };
            assert_eq!(said, [log(text)], "{wrong}");
        }
        let long = "x".repeat(3 * LONGEST);
        assert_eq!(all(format!("@pkgwarden 1\n{long}").as_bytes()), [log(&long)]);
    }

    #[test]
    fn an_end_may_name_as_much_as_a_build_brings_and_what_is_longer_is_not_the_packages_fault() {
        let sha256 = "0".repeat(64);
        let made = (0..500).map(|number| format!(r#"{{"name":"p{number}.pkg.tar.zst","size":1,"sha256":"{sha256}"}}"#));
        let made = made.collect::<Vec<_>>().join(",");
        let said = all(format!("@pkgwarden 1\n@ end {{\"status\":\"succeeded\",\"artefacts\":[{made}]}}\n").as_bytes());
        let [Said::Ended(ended)] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!((ended.ending, ended.artefacts.len()), (Ending::Done(Outcome::Succeeded), 500));
        let long = format!("@pkgwarden 1\n@ end {{{}}}\n@ log 3\nyes", " ".repeat(2 * LONGEST_ANSWER));
        let said = all(long.as_bytes());
        assert_eq!(said, [Said::Ended(too_long()), log("yes")]);
        assert_eq!(too_long().ending, Ending::Infrastructure);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_an_output_is_cut(
            lines in proptest::collection::vec("(@ begun|@ log [0-9]{1,2}|@ end \\{\"status\":\"skipped\"\\}|[a-z]{0,9})\n", 0..12),
            framed: bool,
            cuts in proptest::collection::vec(1_usize..9, 1..40),
        ) {
            let output = [if framed { "@pkgwarden 1\n" } else { "" }, &lines.concat()].concat().into_bytes();
            let (mut frames, mut said, mut rest) = (Frames::default(), Vec::new(), output.as_slice());
            for cut in cuts.iter().cycle() {
                let (piece, later) = rest.split_at(rest.len().min(*cut));
                said.extend(frames.read(piece));
                rest = later;
                if rest.is_empty() { break; }
            }
            said.extend(frames.rest());
            prop_assert_eq!(joined(said), joined(all(&output)));
        }
    }

    fn joined(said: Vec<Said>) -> Vec<Said> {
        said.into_iter().fold(Vec::new(), |mut all, one| {
            match (all.last_mut(), one) {
                (Some(Said::Log(before)), Said::Log(more)) => before.extend(more),
                (_, one) => all.push(one),
            }
            all
        })
    }
}
