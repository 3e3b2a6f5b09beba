//! What an update would change, as lines for a terminal: the changed parts of a line stand out, hidden
//! characters are shown.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::output::paint;
use crate::web::diff::{FileChange, FileView, Line};
use crate::web::text::{one_line, visible};

/// One file; `elsewhere` says how to see what is not shown.
pub fn file(file: &FileView, elsewhere: &str) -> String {
    let bold = Style::new().bold();
    let mut out = format!("\n{bold}{} ({}){bold:#}\n", one_line(&file.path), file.change.as_str());
    if file.change == FileChange::Binary {
        let _ = writeln!(out, "not text; {elsewhere}");
    }
    for hunk in &file.hunks {
        let _ = writeln!(out, "{}", paint(AnsiColor::Cyan.on_default(), &hunk.header));
        hunk.lines.iter().for_each(|shown| out += &line(shown));
    }
    if file.left_out > 0 {
        let _ = writeln!(out, "{} more lines are not shown; {elsewhere}", file.left_out);
    }
    out
}

fn line(line: &Line) -> String {
    let style = match line.sign {
        '+' => AnsiColor::Green.on_default(),
        '-' => AnsiColor::Red.on_default(),
        _ => Style::new(),
    };
    let mut out = paint(style, &line.sign.to_string());
    for (marked, part) in &line.parts {
        let style = if *marked { style.bold().underline() } else { style };
        out += &paint(style, &visible(part));
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::view::FileDiff;
    use crate::web::diff::view;

    #[test]
    fn the_changed_place_of_a_line_stands_out() {
        let text = |text: &str| Some(text.to_owned());
        let changed = FileDiff {
            path: "x".into(),
            old: text("a=(b)\npkgver=1.0\n"),
            new: text("a=(b)\npkgver=1.1\n"),
            binary: false,
        };
        let shown = file(&view(&changed), "").replace('\u{1b}', "^");
        insta::assert_snapshot!(shown, @"
        ^[1mx (changed)^[0m
        ^[36m@@ -1,2 +1,2 @@^[0m
         a=(b)
        ^[31m-^[0m^[31mpkgver=^[0m^[1m^[4m^[31m1.0^[0m
        ^[32m+^[0m^[32mpkgver=^[0m^[1m^[4m^[32m1.1^[0m
        ");
    }
}
