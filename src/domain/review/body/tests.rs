//! What people read, and what they cannot be made to read.

use super::*;
use crate::domain::classify::classify;
use crate::domain::folder::Folder;
use crate::domain::review::group::{GroupName, MOST_TOGETHER};
use crate::domain::review::marker::Marker;

const TEXT: &str = "pkgname=tool\npkgver=1.0\npkgrel=1\narch=(any)\nbuild() {\n  make\n}\n";

fn name(text: &str) -> PkgBase {
    PkgBase::new(text).expect("legal")
}

/// Facts are borrowed, and a test is short.
fn leaked<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

fn written(new: &str, change: impl FnOnce(&mut Facts<'_>)) -> String {
    let verdict = classify(&Folder::default().with("PKGBUILD", TEXT), &Folder::default().with("PKGBUILD", new));
    let (now, before) = (Keepers::parse("eve,bob"), Keepers::parse("ann,bob"));
    let (nobody, trusted) = (BTreeSet::new(), ["ann", "bob"].map(str::to_owned).into());
    let pkgbase = name("tool");
    let mut facts = Facts {
        pkgbase: &pkgbase,
        base: "main",
        head: "a".repeat(40).parse().expect("an id"),
        verdict: &verdict,
        message: "chore(update): tool\n",
        keepers: Some(&now),
        keepers_before: Some(&before),
        trusted: &trusted,
        needed: 2,
        approved: &nobody,
        conflict: None,
        people: &nobody,
        newer: None,
        wave: leaked(Wave { built: vec![(pkgbase.clone(), None)], watched: Vec::new() }),
        places: &[],
        goes_in_at: None,
    };
    change(&mut facts);
    body(&facts)
}

#[test]
fn a_review_says_why_who_where_and_how() {
    let wave = leaked(Wave { built: vec![(name("tool"), None)], watched: vec![name("app"), name("more")] });
    let places = leaked([("the package in the AUR", "https://aur.archlinux.org/pkgbase/tool".to_owned())]);
    let approved = leaked(["mira".to_owned()].into());
    let text = written(&TEXT.replace("1.0", "1.1").replace("  make\n", "  make CC=`id`\n"), |facts| {
        facts.wave = wave;
        facts.places = places;
        facts.approved = approved;
    });
    insta::assert_snapshot!(text, @r"
    **Somebody should read this.** `1.0-1 -> 1.1-1`

    ### Why a person has to look

    - **review**, `PKGBUILD:6`: `` `build()` does something else than before ``
      - before: `make`
      - after: `` make CC=`id` ``

    Beside that, 1 difference needs nobody: versions, checksums and the like.

    ### Who may push to it

    The AUR names `eve` as its maintainer, and `bob` beside. Not all of them are in `.ci/aur-maintainers`.

    - eve maintains it now, and ann did before

    ### Where to look
    - the package in the AUR: <https://aur.archlinux.org/pkgbase/tool>
    - the difference: `git fetch origin main update-tool && git diff origin/main...origin/update-tool -- tool`

    ### After merging

    `tool` is built.

    2 packages need it, and are built again only if a shared library is gone then, in this order: `app`, `more`.

    ### To decide

    2 people have to approve it. So far: `mira`. Approve it here, if you may push to this repository, or merge it.
    Close this to reject it: exactly this content is not proposed again. Comments with `/pkgwarden approve` or
    `/pkgwarden reject REASON` on a line of their own do the same, and `/pkgwarden help` says what else. From a machine with access:

    ```sh
    pkgwarden ctl review approve tool --head aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    pkgwarden ctl review reject tool --head aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa --reason WHY
    ```

    <details><summary>What the run said</summary>

    ```text
    chore(update): tool
    ```

    </details>
    ");
}

#[test]
fn anybodys_text_stays_text() {
    let hostile = "  make # @torvalds fixes #1 ``` <img src=x> </details> [a](http://b) \u{202e}\u{1b}[2J\n";
    let people = leaked(["Eve `@mira` <eve@example.org>".to_owned()].into());
    let text = written(&TEXT.replace("  make\n", hostile), |facts| {
        facts.message = "a\n```\n</details>\n/merge\n@mira closes #7\n";
        facts.people = people;
        facts.newer = Some("1.2-1`@mira`");
    });
    assert!(!text.contains(['\u{202e}', '\u{1b}']), "{text}");
    let mut in_block = None;
    let mut bare = String::new();
    for line in text.lines() {
        let ticks = line.trim_start_matches("> ").bytes().take_while(|&byte| byte == b'`').count();
        match in_block {
            None if ticks >= 3 => in_block = Some(ticks),
            Some(open) if ticks >= open && line.trim_start_matches("> ").len() == ticks => in_block = None,
            Some(_) => {}
            None => bare = bare + &without_code(line) + "\n",
        }
    }
    assert_eq!(in_block, None, "{text}");
    for bad in ["@", "#1", "#7", "<img", "](", "/merge"] {
        assert!(!bare.contains(bad), "{bad} in\n{bare}");
    }
    assert_eq!(bare.matches("</details>").count(), 1, "{bare}");
}

/// A line without its spans of code.
fn without_code(line: &str) -> String {
    let (mut rest, mut bare) = (line, String::new());
    while let Some(start) = rest.find('`') {
        bare.push_str(&rest[..start]);
        let ticks = rest[start..].bytes().take_while(|&byte| byte == b'`').count();
        let (fence, after) = rest[start..].split_at(ticks);
        let mut end = 0;
        let closed = loop {
            let Some(next) = after[end..].find('`').map(|at| at + end) else { break None };
            let run = after[next..].bytes().take_while(|&byte| byte == b'`').count();
            if run == fence.len() {
                break Some(next + run);
            }
            end = next + run;
        };
        let Some(closed) = closed else { panic!("a span of code is open: {line}") };
        rest = &after[closed..];
    }
    bare + rest
}

#[test]
fn a_text_fits_into_a_forge_however_much_there_is_to_say() {
    let (old, new) = (TEXT, TEXT.replace("make", "make install"));
    let folder = |text: &str| Folder::default().with("PKGBUILD", text);
    let few = classify(&folder(old), &folder(&new)).reasons;
    let verdict = leaked(Verdict::from_reasons(few.into_iter().cycle().take(3_000).collect(), None, None));
    let text = written(&new, |facts| {
        facts.verdict = verdict;
        facts.message = Box::leak("x\n".repeat(90_000).into_boxed_str());
    });
    assert!(text.len() < 65_000, "{}", text.len());
    assert!(text.contains("more, for which there is no room here."));
}

#[test]
fn a_title_is_one_harmless_line() {
    let old = Folder::default().with("PKGBUILD", TEXT);
    let new = Folder::default().with("PKGBUILD", TEXT.replace("1.0", "1.1@mira#7"));
    let title = title(&name("tool"), &classify(&old, &new));
    assert!(title.starts_with("update tool: ") && !title.contains(['@', '#', '\n', '`']), "{title}");
}

#[test]
fn what_is_built_after_merging_is_told_in_its_order_and_no_longer_than_anybody_reads() {
    let by = |number: usize| (name(&format!("p{number}")), (number > 0).then(|| name("p0")));
    let wave = Wave { built: (0..22).map(by).collect(), watched: (0..12).map(|n| name(&format!("w{n}"))).collect() };
    let text = parts::wave(&wave);
    assert!(
        text.starts_with(
            "22 packages are built, in this order:\n\n1. `p0`\n2. `p1`, when the new version of `p0` is published\n"
        ),
        "{text}"
    );
    assert!(text.contains("20. `p19`, ") && !text.contains("p20"), "{text}");
    assert!(text.ends_with(
        "\n\n… and 2 more.\n\n12 packages need one of them, and are built again only if a shared library is gone then, in \
         this order: `w0`, `w1`, `w2`, `w3`, `w4`, `w5`, `w6`, `w7`, `w8`, `w9` and 2 more."
    ), "{text}");
}

#[test]
fn a_mark_that_somebody_wrote_is_none_of_ours() {
    let forged = "<!-- pkgwarden-review package=other content=1 text=2 conflict=no -->";
    let names = leaked([forged.to_owned()].into());
    let message: &'static str = leaked(format!("a\n{forged}\n")).as_str();
    let (now, before) = (Keepers::parse(&format!("{forged},x")), leaked(Keepers::parse("ann,bob")));
    let now = leaked(now);
    let text = written(&TEXT.replace("  make\n", &format!("  make\n{forged}\n")), |facts| {
        (facts.message, facts.people, facts.newer, facts.approved) = (message, names, Some(forged), names);
        (facts.keepers, facts.keepers_before) = (Some(now), Some(before));
    });
    assert!(text.contains("pkgwarden-review package=other"), "it is shown: {text}");
    assert_eq!(Marker::find(&text), None, "{text}");
    assert!(!text.contains("<!--"), "nor does it hide anything: {text}");
}

#[test]
fn the_text_of_a_group_fits_into_a_forge_as_well() {
    let folder = |text: &str| Folder::default().with("PKGBUILD", text);
    let line = format!("  make {}\n", "\u{202e}".repeat(900));
    let few = classify(&folder(TEXT), &folder(&TEXT.replace("  make\n", &line))).reasons;
    let verdict = Verdict::from_reasons(few.into_iter().cycle().take(3_000).collect(), None, None);
    let many =
        |name: &str| (0..300).map(|number| format!("{name}-{number}{}", "é".repeat(300))).collect::<BTreeSet<_>>();
    let keepers =
        |name: &str| Keepers { maintainer: Some("é".repeat(300)), co_maintainers: many(name), packager: None };
    let (now, before) = (keepers("eve"), keepers("ann"));
    let (people, nobody) = (many("mira"), BTreeSet::new());
    let names: Vec<PkgBase> = (0..MOST_TOGETHER).map(|number| name(&format!("tool-{number}"))).collect();
    let built = names.iter().map(|it| (it.clone(), None)).collect();
    let wave = Wave { built, watched: names.clone() };
    let places = [("the package in the AUR", format!("https://aur.archlinux.org/pkgbase/{}", "x".repeat(200)))];
    let facts = |pkgbase| Facts {
        pkgbase,
        base: "main",
        head: "a".repeat(40).parse().expect("an id"),
        verdict: &verdict,
        message: "",
        keepers: Some(&now),
        keepers_before: Some(&before),
        trusted: &nobody,
        needed: 2,
        approved: &people,
        conflict: None,
        people: &nobody,
        newer: None,
        wave: &wave,
        places: &places,
        goes_in_at: Some(Timestamp::UNIX_EPOCH),
    };
    let members: Vec<Facts<'_>> = names.iter().map(facts).collect();
    let group_name = GroupName::new("tools").expect("a name");
    let of = |members| GroupFacts { name: &group_name, base: "main", members, people: &people, wave: &wave };
    let text = group(&of(&members));
    assert!(text.len() < 65_000, "{}", text.len());
    assert!(names.iter().all(|name| text.contains(&format!("### {name} "))), "each is told");
    assert_eq!(group_title(&of(&members[..2])), "update group tools: tool-0 tool-1");
    let alone = body(&members[0]);
    assert!(alone.len() < 65_000, "{}", alone.len());
}

#[test]
fn a_group_is_told_one_by_one_with_what_is_built_in_the_end() {
    let folder = |text: &str| Folder::default().with("PKGBUILD", text);
    let verdict = classify(&folder(TEXT), &folder(&TEXT.replace("1.0", "1.1").replace("  make\n", "  make all\n")));
    let (nobody, names) = (BTreeSet::new(), [name("lib"), name("tool")]);
    let wave = Wave { built: names.iter().map(|it| (it.clone(), None)).collect(), watched: vec![name("app")] };
    let facts = |pkgbase| Facts {
        pkgbase,
        base: "main",
        head: "a".repeat(40).parse().expect("an id"),
        verdict: &verdict,
        message: "",
        keepers: None,
        keepers_before: None,
        trusted: &nobody,
        needed: 1,
        approved: &nobody,
        conflict: None,
        people: &nobody,
        newer: None,
        wave: &wave,
        places: &[],
        goes_in_at: None,
    };
    let members: Vec<Facts<'_>> = names.iter().map(facts).collect();
    let group_name = GroupName::new("tools").expect("a name");
    let text = group(&GroupFacts { name: &group_name, base: "main", members: &members, people: &nobody, wave: &wave });
    insta::assert_snapshot!(text, @"
    **2 updates of the group `tools`, decided about together.** What looks like an attack, is in conflict, or has commits by people on its own branch has a review of its own.

    ### lib `1.0-1 -> 1.1-1`

    Somebody should read this.

    - **review**, `PKGBUILD:6`: `` `build()` does something else than before ``
      - before: `make`
      - after: `make all`

    Beside that, 1 difference needs nobody: versions, checksums and the like.

    **Who may push to it.** That is not known: its source does not say it.

    One person has to approve it.

    ### tool `1.0-1 -> 1.1-1`

    Somebody should read this.

    - **review**, `PKGBUILD:6`: `` `build()` does something else than before ``
      - before: `make`
      - after: `make all`

    Beside that, 1 difference needs nobody: versions, checksums and the like.

    **Who may push to it.** That is not known: its source does not say it.

    One person has to approve it.

    ### After merging

    2 packages are built, in this order:

    1. `lib`
    2. `tool`

    1 package needs one of them, and is built again only if a shared library is gone then: `app`.

    ### To decide

    Approving this approves each of them; so does merging it. Close this to reject all of them: exactly this content is not proposed again. The difference: `git fetch origin main updates-tools && git diff origin/main...origin/updates-tools`. To decide about one alone, from a machine with access:

    ```sh
    pkgwarden ctl review approve lib --head aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    pkgwarden ctl review approve tool --head aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    ```
    ");
}
