//! A verdict for people: the answer with the heaviest reason, every reason, heaviest first, and what
//! changed.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use crate::cli::diff;
use crate::controller::view::FileDiff;
use crate::domain::classify::{Decision, Reason, Verdict, Weight};
use crate::domain::name::PkgBase;

const WEIGHTS: [Weight; 6] =
    [Weight::Hostile, Weight::Trust, Weight::Review, Weight::Stronger, Weight::Version, Weight::Cosmetic];

/// Everything there is to say about one package.
pub fn report(pkgbase: Option<&PkgBase>, verdict: &Verdict, files: &[FileDiff]) -> String {
    let name = pkgbase.map(|pkgbase| format!("{pkgbase}: ")).unwrap_or_default();
    let mut text = format!("{name}{}\n", summary(verdict, pkgbase.is_some()));
    for weight in WEIGHTS {
        let reasons: Vec<&Reason> = verdict.reasons.iter().filter(|reason| reason.severity == weight).collect();
        if reasons.is_empty() {
            continue;
        }
        let style = style(weight);
        let _ = writeln!(text, "  {style}{}{style:#}", word(weight));
        for reason in reasons {
            text += &explained(reason);
        }
    }
    for file in files {
        text += &diff::file(&crate::web::diff::view(file), "compare the files themselves");
    }
    text
}

/// `major 1.0-1 -> 1.1-1: it is fetched from another place (and 2 more reasons)`
///
/// Of two commits only packages that differ are asked about: if the gate sees nothing then, what differs is in the
/// files that the monorepo adds to the package.
fn summary(verdict: &Verdict, differs: bool) -> String {
    let (decision, style) = match verdict.verdict {
        Decision::Minor => ("minor", AnsiColor::Green.on_default().bold()),
        Decision::Major => ("major", AnsiColor::Red.on_default().bold()),
    };
    let versions = match (&verdict.old_version, &verdict.new_version) {
        (Some(old), Some(new)) if old.as_str() != new.as_str() => format!(" {old} -> {new}"),
        (_, Some(version)) | (Some(version), None) => format!(" at {version}"),
        (None, None) => String::new(),
    };
    let heaviest = verdict.reasons.iter().find(|reason| reason.severity == verdict.severity);
    let nothing = if differs { "only the monorepo's own files (.CI) differ" } else { "nothing differs" };
    let heaviest = heaviest.map_or(nothing, |reason| reason.message.as_str());
    let others = verdict.reasons.len().saturating_sub(1);
    let others = match others {
        0 => String::new(),
        1 => " (and 1 more reason)".to_owned(),
        _ => format!(" (and {others} more reasons)"),
    };
    format!("{style}{decision}{style:#}{versions}: {heaviest}{others}")
}

fn explained(reason: &Reason) -> String {
    let line = reason.line.map(|line| format!(":{line}")).unwrap_or_default();
    let dim = Style::new().dimmed();
    let mut text = format!("    {}{line}: {} {dim}[{}]{dim:#}\n", reason.file, reason.message, reason.code);
    for (sign, side) in [('-', &reason.old), ('+', &reason.new)] {
        if let Some(side) = side {
            let _ = writeln!(text, "      {sign} {side}");
        }
    }
    text
}

const fn style(weight: Weight) -> Style {
    match weight {
        Weight::Hostile | Weight::Trust => AnsiColor::Red.on_default().bold(),
        Weight::Review => AnsiColor::Yellow.on_default().bold(),
        Weight::Stronger | Weight::Version | Weight::Cosmetic => Style::new().dimmed(),
    }
}

/// The weight as it stands in output.
pub const fn word(weight: Weight) -> &'static str {
    match weight {
        Weight::Cosmetic => "cosmetic",
        Weight::Version => "version",
        Weight::Stronger => "stronger",
        Weight::Review => "review",
        Weight::Trust => "trust",
        Weight::Hostile => "hostile",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::classify::classify;
    use crate::domain::folder::Folder;

    const TEXT: &str = "pkgname=a\npkgver=1.0\npkgrel=1\narch=(any)\ndepends=(b)\n\
                        source=(\"https://a.example/x-$pkgver.tar\")\nmd5sums=('11111111111111111111111111111111')\n";

    fn said(new: &str) -> String {
        let folder = |text: &str| Folder::default().with("PKGBUILD", text);
        let (old, new) = (folder(TEXT), folder(new));
        report(None, &classify(&old, &new), &FileDiff::between(&old, &new))
    }

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn reasons_are_grouped_heaviest_first_and_the_diff_follows() {
        let new = TEXT.replace("=1.0", "=1.1").replace("a.example", "b.example").replace("(b)", "(b c)");
        insta::assert_snapshot!(plain(&said(&new.replace("('1", "('2"))), @r#"
        major 1.0-1 -> 1.1-1: a source is fetched from another place (and 3 more reasons)
          trust
            PKGBUILD:6: a source is fetched from another place [source-host]
              - https://a.example/x-1.0.tar
              + https://b.example/x-1.1.tar
          review
            PKGBUILD:5: `depends` has a dependency that it had not [dependency-added]
              + c
          version
            PKGBUILD:2: pkgver moved forward [version-forward]
              - 1.0
              + 1.1
            PKGBUILD:7: a checksum moved with the version [checksum-updated]
              - 11111111111111111111111111111111
              + 21111111111111111111111111111111

        PKGBUILD (changed)
        @@ -1,7 +1,7 @@
         pkgname=a
        -pkgver=1.0
        +pkgver=1.1
         pkgrel=1
         arch=(any)
        -depends=(b)
        -source=("https://a.example/x-$pkgver.tar")
        -md5sums=('11111111111111111111111111111111')
        +depends=(b c)
        +source=("https://b.example/x-$pkgver.tar")
        +md5sums=('21111111111111111111111111111111')
        "#);
        insta::assert_snapshot!(plain(&said(TEXT)), @"minor at 1.0-1: nothing differs");
    }

    #[test]
    fn a_package_of_two_commits_that_is_as_its_source_has_it_differs_in_the_monorepos_own_files() {
        let folder = Folder::default().with("PKGBUILD", TEXT);
        let pkgbase = PkgBase::new("a").expect("legal");
        let said = report(Some(&pkgbase), &classify(&folder, &folder), &[]);
        assert_eq!(plain(&said), "a: minor at 1.0-1: only the monorepo's own files (.CI) differ\n");
    }

    #[test]
    fn what_could_steer_a_terminal_is_shown() {
        let said = said(&TEXT.replace("(b)", "(b)\n# \u{1b}[2J\u{202e}"));
        assert!(plain(&said).contains("␛[2J⟨U+202E⟩"), "{said}");
        assert!(!said.contains("\u{1b}[2J") && !said.contains('\u{202e}'), "{said}");
    }
}
