//! The text format of a case: two package folders, told as a base and the edits that lead to each of them,
//! and what the gate should say of the step from one to the other. `fixtures/gate/README.md` describes it.
//!
//! Reading is strict. An edit that does not fit exactly once is an error, so that a case cannot drift away
//! from its base unnoticed.

use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use pkgwarden::domain::classify::{Decision, Reason, Verdict, Weight};
use pkgwarden::domain::folder::{File, FileMode, Folder};

/// One step of a package, and the right answer to it.
pub struct Case {
    /// `person/checksums/hash-to-skip`.
    pub name: String,
    pub verdict: Decision,
    pub severity: RangeInclusive<Weight>,
    pub reasons: Vec<Expected>,
    pub old: Folder,
    pub new: Folder,
}

/// A reason that has to be among those given. What is `None` may be anything.
pub struct Expected {
    severity: Option<Weight>,
    code: Option<String>,
    file: Option<String>,
    line: Option<u32>,
}

impl Case {
    /// The suite and the area in it: `person/checksums`.
    pub fn area(&self) -> &str {
        self.name.rsplit_once('/').map_or("", |(area, _)| area)
    }

    /// Whether weight and reasons are as expected too.
    pub fn is_explained_by(&self, verdict: &Verdict) -> bool {
        let given = |expected: &Expected| verdict.reasons.iter().any(|reason| expected.is_met_by(reason));
        self.severity.contains(&verdict.severity) && self.reasons.iter().all(given)
    }
}

impl Expected {
    fn is_met_by(&self, reason: &Reason) -> bool {
        self.severity.is_none_or(|severity| severity == reason.severity)
            && self.code.as_deref().is_none_or(|code| code == reason.code)
            && self.file.as_deref().is_none_or(|file| file == reason.file)
            && self.line.is_none_or(|line| Some(line) == reason.line)
    }
}

/// `fixtures/gate`.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gate")
}

/// Every case of a suite, by name.
pub fn suite(name: &str) -> Vec<Case> {
    let files = walkdir::WalkDir::new(root().join(name)).sort_by_file_name();
    let files = files.into_iter().map(|entry| entry.expect("the folder can be read").into_path());
    files.filter(|path| path.is_file()).map(|path| load(&path)).collect()
}

/// The names of all bases.
pub fn bases() -> Vec<String> {
    let entries = fs::read_dir(root().join("base")).expect("there are bases");
    let folders = entries.map(|entry| entry.expect("readable").path()).filter(|path| path.is_dir());
    let mut names: Vec<_> = folders.map(|path| file_name(&path)).collect();
    names.sort();
    names
}

/// A base, and what its ordinary update makes of it.
pub fn bumped(base: &str) -> (Folder, Folder) {
    let old = folder(base).unwrap_or_else(|error| panic!("base {base}: {error}"));
    let new = with_bump(&old, base).unwrap_or_else(|error| panic!("bump of {base}: {error}"));
    (old, new)
}

fn load(path: &Path) -> Case {
    let relative = path.strip_prefix(root()).expect("inside the fixtures").with_extension("");
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(path.extension().and_then(|name| name.to_str()), Some("case"), "{} is no case", path.display());
    parse(&relative.to_string_lossy(), &text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Reads a case. An error names the line.
pub fn parse(name: &str, text: &str) -> Result<Case, String> {
    let (head, rest) = text.split_once("\n\n").ok_or("a title, why it is so, and a blank line come first")?;
    let mut about = head.lines();
    about.next().filter(|title| !title.is_empty()).ok_or("a title comes first")?;
    let (because, right) = match name.split('/').next() {
        Some("person") => ("threat: ", Decision::Major),
        Some("alone") => ("harmless: ", Decision::Minor),
        _ => return Err("a case belongs to `person` or to `alone`".to_owned()),
    };
    if !about.next().is_some_and(|line| line.starts_with(because)) || about.next().is_some() {
        return Err(format!("the second line of two begins with `{because}`"));
    }
    let (settings, edits) = rest.split_once("\n\n").unwrap_or((rest, ""));
    let settings = Settings::parse(settings)?;
    if settings.verdict != right {
        return Err("the verdict is not that of the suite".to_owned());
    }
    let (before, after) = sections(edits)?;
    let old = edited(&folder(&settings.base)?, before)?;
    let new = if settings.bump { with_bump(&old, &settings.base)? } else { old.clone() };
    let new = edited(&new, after)?;
    if old == new {
        return Err("nothing changes".to_owned());
    }
    let Settings { verdict, severity, reasons, .. } = settings;
    Ok(Case { name: name.to_owned(), verdict, severity, reasons, old, new })
}

struct Settings {
    base: String,
    bump: bool,
    verdict: Decision,
    severity: RangeInclusive<Weight>,
    reasons: Vec<Expected>,
}

impl Settings {
    fn parse(text: &str) -> Result<Self, String> {
        let (mut base, mut bump, mut verdict, mut severity, mut reasons) = (None, false, None, None, Vec::new());
        for line in text.lines() {
            let fresh = match line.split_once(": ") {
                Some(("base", name)) => base.replace(name.to_owned()).is_none(),
                Some(("verdict", "major")) => verdict.replace(Decision::Major).is_none(),
                Some(("verdict", "minor")) => verdict.replace(Decision::Minor).is_none(),
                Some(("severity", range)) => severity.replace(range_of(range)?).is_none(),
                Some(("reason", reason)) => {
                    reasons.push(expected(reason)?);
                    true
                }
                _ if line == "bump" => !std::mem::replace(&mut bump, true),
                _ => return Err(format!("`{line}` is not a setting")),
            };
            if !fresh {
                return Err(format!("`{line}` is the second of its kind"));
            }
        }
        let missing = |name: &str| format!("`{name}:` is missing");
        Ok(Self {
            base: base.ok_or_else(|| missing("base"))?,
            bump,
            verdict: verdict.ok_or_else(|| missing("verdict"))?,
            severity: severity.ok_or_else(|| missing("severity"))?,
            reasons,
        })
    }
}

/// `trust`, `trust+` (or above), `cosmetic..version`.
fn range_of(text: &str) -> Result<RangeInclusive<Weight>, String> {
    if let Some((from, to)) = text.split_once("..") {
        return Ok(weight(from)?..=weight(to)?);
    }
    match text.strip_suffix('+') {
        Some(from) => Ok(weight(from)?..=Weight::Hostile),
        None => Ok(weight(text)?..=weight(text)?),
    }
}

fn weight(text: &str) -> Result<Weight, String> {
    Ok(match text {
        "cosmetic" => Weight::Cosmetic,
        "version" => Weight::Version,
        "stronger" => Weight::Stronger,
        "review" => Weight::Review,
        "trust" => Weight::Trust,
        "hostile" => Weight::Hostile,
        _ => return Err(format!("`{text}` is not a severity")),
    })
}

/// `trust checksum-skip PKGBUILD:12`, with `*` for what may be anything.
fn expected(text: &str) -> Result<Expected, String> {
    let words: Vec<_> = text.split(' ').collect();
    let (&[severity, code], place) = words.split_first_chunk().ok_or_else(|| format!("`{text}`: a code is missing"))?;
    let (file, line) = match *place {
        [] => (None, None),
        [place] => match place.rsplit_once(':') {
            Some((file, line)) => (Some(file), Some(line.parse().map_err(|_| format!("`{line}` is not a line"))?)),
            None => (Some(place), None),
        },
        _ => return Err(format!("`{text}`: three words at most")),
    };
    Ok(Expected {
        severity: if severity == "*" { None } else { Some(weight(severity)?) },
        code: (code != "*").then(|| code.to_owned()),
        file: file.map(str::to_owned),
        line,
    })
}

/// The edits of the old side, and those of the new.
fn sections(text: &str) -> Result<(&str, &str), String> {
    if text.is_empty() {
        return Ok(("", ""));
    }
    match (text.strip_prefix("before:\n"), text.strip_prefix("after:\n")) {
        (_, Some(after)) => Ok(("", after)),
        (Some(before), None) => Ok(before.split_once("\nafter:\n").unwrap_or((before, ""))),
        (None, None) => Err("edits begin with `before:` or `after:`".to_owned()),
    }
}

fn folder(base: &str) -> Result<Folder, String> {
    let root = root().join("base").join(base);
    let mut folder = Folder::default();
    for entry in fs::read_dir(&root).map_err(|error| format!("{}: {error}", root.display()))? {
        let path = entry.map_err(|error| error.to_string())?.path();
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let permissions = fs::metadata(&path).map_err(|error| error.to_string())?.permissions().mode();
        let mode = if permissions & 0o100 == 0 { FileMode::Regular } else { FileMode::Executable };
        folder.files.insert(file_name(&path), File { mode, bytes: bytes.into() });
    }
    Ok(folder)
}

fn with_bump(folder: &Folder, base: &str) -> Result<Folder, String> {
    let path = root().join("base").join(format!("{base}.bump"));
    let edits = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    edited(folder, &edits)
}

fn file_name(path: &Path) -> String {
    path.file_name().expect("a file has a name").to_string_lossy().into_owned()
}

/// A folder after edits: a line that says what is done to which file, and the lines it is done with, each
/// with a sign in front.
fn edited(folder: &Folder, edits: &str) -> Result<Folder, String> {
    let mut folder = folder.clone();
    let mut lines = edits.lines().peekable();
    while let Some(head) = lines.next() {
        let mut body = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with([' ', '+', '-'])) {
            body.push(line.split_at(1));
        }
        edit(&mut folder, head, &body).map_err(|error| format!("`{head}`: {error}"))?;
    }
    Ok(folder)
}

fn edit(folder: &mut Folder, head: &str, body: &[(&str, &str)]) -> Result<(), String> {
    let words: Vec<_> = head.split(' ').collect();
    let (words, escaped) = match words.as_slice() {
        [words @ .., "escaped"] => (words, true),
        words => (words, false),
    };
    let text = |signs: &[&str]| -> Result<Vec<u8>, String> {
        let lines = body.iter().filter(|(sign, _)| signs.contains(sign));
        lines.map(|(_, line)| line_bytes(line, escaped)).collect::<Result<Vec<_>, _>>().map(|lines| lines.concat())
    };
    match *words {
        ["@", path] => {
            let file = folder.files.get_mut(&*name(path)?).ok_or("there is no such file")?;
            file.bytes = replaced(&file.bytes, &text(&[" ", "-"])?, &text(&[" ", "+"])?)?.into();
            Ok(())
        }
        ["add", path, mode] => {
            let mode = u32::from_str_radix(mode, 8).ok().and_then(FileMode::from_octal).ok_or("no such mode")?;
            insert(folder, name(path)?, File { mode, bytes: only_added(body, text(&["+"])?)?.into() })
        }
        ["link", path, target] => {
            insert(folder, name(path)?, File { mode: FileMode::Symlink, bytes: target.as_bytes().into() })
        }
        ["remove", path] if body.is_empty() => {
            folder.files.remove(&*name(path)?).map(drop).ok_or_else(|| "there is no such file".to_owned())
        }
        ["mode", path, mode] if body.is_empty() => {
            let mode = u32::from_str_radix(mode, 8).ok().and_then(FileMode::from_octal).ok_or("no such mode")?;
            let file = folder.files.get_mut(&*name(path)?).ok_or("there is no such file")?;
            if std::mem::replace(&mut file.mode, mode) == mode { Err("it is so already".to_owned()) } else { Ok(()) }
        }
        _ => Err("not an edit".to_owned()),
    }
}

fn insert(folder: &mut Folder, path: String, file: File) -> Result<(), String> {
    match folder.files.insert(path, file) {
        None => Ok(()),
        Some(_) => Err("there is such a file already".to_owned()),
    }
}

fn only_added(body: &[(&str, &str)], text: Vec<u8>) -> Result<Vec<u8>, String> {
    body.iter().all(|(sign, _)| *sign == "+").then_some(text).ok_or_else(|| "a new file has only `+`".to_owned())
}

/// Whole lines in place of whole lines that stand there exactly once.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Result<Vec<u8>, String> {
    if old.is_empty() {
        return Err("it does not say where".to_owned());
    }
    let starts_line = |at: usize| at == 0 || bytes[at - 1] == b'\n';
    let mut places = (0..bytes.len()).filter(|&at| starts_line(at) && bytes[at..].starts_with(old));
    match (places.next(), places.next()) {
        (Some(at), None) => Ok([&bytes[..at], new, &bytes[at + old.len()..]].concat()),
        (None, _) => Err("the lines are not there".to_owned()),
        (Some(_), Some(_)) => Err("the lines are there more than once".to_owned()),
    }
}

fn name(path: &str) -> Result<String, String> {
    let bytes = if path.contains('\\') { unescaped(path)?.0 } else { path.as_bytes().to_owned() };
    String::from_utf8(bytes).map_err(|_| "a path is UTF-8".to_owned())
}

fn line_bytes(line: &str, escaped: bool) -> Result<Vec<u8>, String> {
    let (mut bytes, ends) = if escaped { unescaped(line)? } else { (line.as_bytes().to_owned(), true) };
    if ends {
        bytes.push(b'\n');
    }
    Ok(bytes)
}

/// `\\`, `\r`, `\x00`, `\x20{3000}`, `\u{202e}`; a `\c` at the end says that no line feed follows.
fn unescaped(text: &str) -> Result<(Vec<u8>, bool), String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((plain, escape)) = rest.split_once('\\') {
        bytes.extend_from_slice(plain.as_bytes());
        let bad = || format!("`\\{escape}` is not an escape");
        let (what, after) = escape.split_at_checked(1).ok_or_else(bad)?;
        rest = match what {
            "\\" => after,
            "r" => after,
            "c" if after.is_empty() => return Ok((bytes, false)),
            "x" => {
                let (digits, after) = after.split_at_checked(2).ok_or_else(bad)?;
                let byte = u8::from_str_radix(digits, 16).map_err(|_| bad())?;
                let (times, after) = braced(after).unwrap_or(("1", after));
                bytes.extend(std::iter::repeat_n(byte, times.parse().map_err(|_| bad())?));
                after
            }
            "u" => {
                let (digits, after) = braced(after).ok_or_else(bad)?;
                let scalar = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).ok_or_else(bad)?;
                bytes.extend_from_slice(scalar.encode_utf8(&mut [0; 4]).as_bytes());
                after
            }
            _ => return Err(bad()),
        };
        match what {
            "\\" => bytes.push(b'\\'),
            "r" => bytes.push(b'\r'),
            _ => {}
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok((bytes, true))
}

/// What stands in the braces at the beginning, and what follows them.
fn braced(text: &str) -> Option<(&str, &str)> {
    text.strip_prefix('{')?.split_once('}')
}
