//! Results on standard output, as text for people or as JSON for programs.

use std::io::{self, BufWriter, Write};

use clap::ValueEnum;
use comfy_table::{Attribute, Cell, ContentArrangement, Table};
use serde::Serialize;

/// Form of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs: one document, or one a line where the command says so.
    Json,
}

/// How many there are of something, as people say it: `1 build`, `2 builds`.
#[must_use]
pub fn number_of(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
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

/// A table without lines, for lists.
#[must_use]
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|word| Cell::new(word).add_attribute(Attribute::Bold)));
    table
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
    fn a_reader_that_went_away_is_noticed() {
        let mut output = Output::new(Format::Json, Box::new(Gone));
        let error = output.json_line(&[1, 2]).expect_err("nobody reads");
        assert_eq!(error.0.kind(), io::ErrorKind::BrokenPipe);
    }
}
