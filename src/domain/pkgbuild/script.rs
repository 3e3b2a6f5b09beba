//! From text to events: the commands at the top level, and those of them that stood there before.

use std::ops::Range;

use super::Pkgbuild;
use super::event::Event;
use super::reader::{Reader, Result, Shape};

/// A command at the top level may be found again so many commands further on.
const LOOKED_AHEAD: usize = 32;

/// A command at the top level, its events, and the words in it that quotes split.
#[derive(Debug, Clone)]
pub(super) struct Top {
    pub shape: Shape,
    pub events: Range<usize>,
    /// From where it begins to the end of its last line.
    pub text: Range<usize>,
    spliced: Range<usize>,
    /// Where it ends with the sign behind it; `None` if a here-document follows.
    behind: Option<usize>,
}

impl<'a> Reader<'a> {
    /// The whole text as a list of commands. What stands as in an earlier state of the file is taken from there.
    pub(super) fn script(&mut self, earlier: Option<&Pkgbuild<'a>>) -> Result<Vec<Top>> {
        let mut tops = Vec::new();
        let mut found = 0;
        self.gap(true)?;
        while self.at < self.end {
            let top = match earlier.and_then(|earlier| self.as_before(earlier, &mut found)) {
                Some(top) => top,
                None => self.top()?,
            };
            self.gap(true)?;
            tops.push(top);
        }
        Ok(tops)
    }

    /// A command at the top level with the here-documents behind it.
    fn top(&mut self) -> Result<Top> {
        let (at, start, first) = (self.at, self.events.len(), self.spliced.len());
        let shape = self.chain()?;
        // With the `&` that may stand behind it.
        self.separator(|reader| reader.at == reader.end)?;
        let mut behind = Some(self.at);
        if self.has_pending() {
            behind = None;
            self.gap(false)?;
            if self.peek() != Some(b'\n') {
                return self.fail("a here-document begins beside another command, or has no end");
            }
            self.line_feed()?;
        }
        let line = if behind.is_some() { self.text[self.at..].find('\n') } else { None };
        let text = at..line.map_or(self.at, |length| self.at + length + 1);
        Ok(Top { shape, events: start..self.events.len(), text, spliced: first..self.spliced.len(), behind })
    }

    /// The command that begins here, if it stood in the earlier state of the file: what is written the same up to
    /// the end of its line reads the same, because reading looks no further than that.
    fn as_before(&mut self, earlier: &Pkgbuild<'a>, found: &mut usize) -> Option<Top> {
        let rest = self.rest();
        let is_here = |top: &Top| {
            let text = &earlier.text[top.text.clone()];
            top.behind.is_some() && text.ends_with('\n') && rest.starts_with(text)
        };
        let ahead = earlier.tops[*found..].iter().take(LOOKED_AHEAD).position(is_here)?;
        *found += ahead + 1;
        let top = &earlier.tops[*found - 1];
        let (start, first) = (self.events.len(), self.spliced.len());
        let (from, to) = (top.text.start, self.at);
        let moved = |place: usize| place - from + to;
        let events = earlier.events[top.events.clone()].iter();
        self.events.extend(events.map(|event| Event { at: moved(event.at), ..event.clone() }));
        let spliced = earlier.spliced[top.spliced.clone()].iter();
        self.spliced.extend(spliced.map(|word| moved(word.start)..moved(word.end)));
        self.at = moved(top.behind?);
        let text = to..moved(top.text.end);
        let (events, spliced) = (start..self.events.len(), first..self.spliced.len());
        Some(Top { shape: top.shape, events, text, spliced, behind: Some(self.at) })
    }
}
