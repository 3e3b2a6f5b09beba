//! A plan as a person would tell it, one thing a line.

use std::fmt::Write as _;

use pkgwarden::domain::classify::Decision;
use pkgwarden::domain::plan::{Action, Document};

/// Everything that happens, and every problem; not the packages with which nothing happens.
pub fn told(document: &Document) -> String {
    let mut text = String::new();
    for it in document.packages.iter().filter(|it| it.action != Action::None) {
        let action = format!("{:?}", it.action).to_lowercase();
        let verdict = match it.verdict {
            Some(Decision::Minor) => " [minor]",
            Some(Decision::Major) => " [major]",
            None => "",
        };
        let _ = writeln!(text, "{action} {}{verdict}: {}", it.pkgbase, it.why);
    }
    for build in &document.builds {
        let after: Vec<&str> = build.after.iter().map(pkgwarden::domain::name::PkgBase::as_str).collect();
        let after = if after.is_empty() { String::new() } else { format!(" after {}", after.join(", ")) };
        let class = build.class.as_ref().map(|class| format!(" class {class}")).unwrap_or_default();
        let _ = writeln!(text, "build {} ({}){class}{after}", build.pkgbase, build.reason.as_str());
    }
    document.remove.iter().for_each(|pkgbase| {
        let _ = writeln!(text, "remove {pkgbase}");
    });
    document.aur_push.iter().for_each(|pkgbase| {
        let _ = writeln!(text, "push {pkgbase} to the AUR");
    });
    for review in &document.reviews {
        let why = if review.why.is_empty() { String::new() } else { format!(": {}", review.why) };
        let _ = writeln!(text, "{} {}{why}", review.action, review.branch);
    }
    document.refs.iter().for_each(|change| {
        let _ = writeln!(text, "{} {}", change.change, change.name);
    });
    for problem in &document.problems {
        let severity = format!("{:?}", problem.severity).to_lowercase();
        let package = problem.pkgbase.as_ref().map(|pkgbase| format!(" {pkgbase}:")).unwrap_or_default();
        let _ = writeln!(text, "{severity} [{}]{package} {} -> {}", problem.code, problem.message, problem.hint);
    }
    text
}
