//! Results on standard output, as text for people or as JSON for programs.

use std::io::{self, BufWriter, Write};

use anstyle::Style;
use comfy_table::{Attribute, Cell, ContentArrangement, Table};
use serde::Serialize;

pub use crate::domain::words::number_of;
use crate::web::text::visible;

/// Form of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one document, or one a line where the command says so.
    Json,
}

/// The results could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the results")]
pub struct OutputError(#[source] pub io::Error);

/// Where results go. They are buffered; [`Output::finish`] sends what is left.
pub struct Output {
    /// The form asked for.
    pub format: Format,
    stream: BufWriter<Box<dyn Write>>,
}

impl Output {
    /// Writes to a stream.
    #[must_use]
    pub fn new(format: Format, stream: Box<dyn Write>) -> Self {
        Self { format, stream: BufWriter::new(stream) }
    }

    /// Writes text as it is.
    pub fn text(&mut self, text: impl std::fmt::Display) -> Result<(), OutputError> {
        write!(self.stream, "{text}").map_err(OutputError)
    }

    /// Writes bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        self.stream.write_all(bytes).map_err(OutputError)
    }

    /// Writes one JSON document, indented.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), OutputError> {
        serde_json::to_writer_pretty(&mut self.stream, value).map_err(|cause| OutputError(cause.into()))?;
        self.text("\n")
    }

    /// Writes one JSON document on a line of its own, and sends it at once.
    pub fn json_line(&mut self, value: &impl Serialize) -> Result<(), OutputError> {
        serde_json::to_writer(&mut self.stream, value).map_err(|cause| OutputError(cause.into()))?;
        self.text("\n")?;
        self.finish()
    }

    /// Sends everything that is still here.
    pub fn finish(&mut self) -> Result<(), OutputError> {
        self.stream.flush().map_err(OutputError)
    }
}

/// Text with a style; [`super`] takes it out where nobody wants it.
#[must_use]
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Text from elsewhere in a line of ours: what would end the line, or not show, is written out.
#[must_use]
pub fn escaped(text: &str) -> String {
    visible(text).replace('\n', "\\n").replace('\t', "\\t")
}

/// A table without lines, for lists.
#[must_use]
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|word| Cell::new(word).add_attribute(Attribute::Bold)));
    // Only what is written is styled, so that the blanks behind it can be taken off.
    table.enforce_styling().style_text_only();
    table
}

/// The lines of a table without the blanks around them, each with its line feed.
#[must_use]
pub fn lines(table: &Table) -> String {
    table.lines().fold(String::new(), |out, line| out + line.trim_start_matches(' ').trim_end() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_line_of_a_table_ends_with_blanks_and_the_last_one_ends() {
        let mut table = table(&["package", "version", "problems"]);
        table.add_row(["a", "1-1", ""]).add_row(["firefox", "", ""]);
        let plain = anstream::adapter::strip_str(&lines(&table)).to_string();
        assert_eq!(plain, "package  version  problems\na        1-1\nfirefox\n");
    }

    #[test]
    fn nothing_from_elsewhere_ends_a_line_or_steers_a_terminal() {
        assert_eq!(escaped("a\nb\tc\u{1b}[31m\r"), "a\\nb\\tc␛[31m␍");
    }

    #[test]
    fn a_reader_that_went_away_is_noticed() {
        let mut output = Output::new(Format::Json, Box::new(Gone));
        let error = output.json_line(&[1, 2]).expect_err("nobody reads");
        assert_eq!(error.0.kind(), io::ErrorKind::BrokenPipe);
    }
}
