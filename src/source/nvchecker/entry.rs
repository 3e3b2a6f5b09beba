//! From a `nvchecker.toml` to what is to be asked for one package.

use toml::de::DeTable;
use toml::{Table, Value};

use super::alpm::Alpm;
use super::aur::Aur;
use super::call::Call;
use super::choice::Choice;
use super::extract::Extract;
use super::git::Git;
use super::options::Options;
use super::page;
use super::service::{Service, Services};
use crate::domain::folder::Folder;
use crate::domain::name::PkgBase;

/// Where the file may stand in the folder of a package, the first first. What the repository itself says wins
/// over what the package brought along.
pub const PLACES: [&str; 4] = [".CI/nvchecker.toml", ".CI/.nvchecker.toml", "nvchecker.toml", ".nvchecker.toml"];

/// A larger file is not read.
pub const LARGEST: usize = 256 << 10;

/// The table that is not a package.
const SETTINGS: &str = "__config__";

/// A package, and the file that says how its newest version is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRequest {
    /// The package.
    pub pkgbase: PkgBase,
    /// Where the file stands in its folder.
    pub path: String,
    /// The file.
    pub file: Vec<u8>,
}

impl CheckRequest {
    /// The file of a package; `None` if its folder has none.
    #[must_use]
    pub fn of(pkgbase: &PkgBase, folder: &Folder) -> Option<Self> {
        let (path, file) = PLACES.into_iter().find_map(|path| Some((path, folder.get(path)?)))?;
        Some(Self { pkgbase: pkgbase.clone(), path: path.to_owned(), file: file.to_vec() })
    }
}

/// What is asked for one package.
#[derive(Debug)]
pub struct Entry {
    /// The name of the table.
    pub name: String,
    /// The source.
    pub source: Source,
    /// Whether the file holds tokens, which are not used.
    pub own_token: bool,
}

/// A source with its options.
#[derive(Debug)]
pub enum Source {
    /// What the file says is the version.
    Manual(String, Choice),
    /// A git repository.
    Git(Git, Choice),
    /// A service that answers in JSON.
    Service(Box<dyn Service>, Choice),
    /// A page or a document to search.
    Page(Call, Extract, Choice),
    /// The AUR, asked for many packages at once.
    Aur(Aur, Choice),
    /// A database of pacman on this machine.
    Alpm(Alpm, Choice),
    /// Anything else: the file for the real nvchecker, without anything that concerns this machine.
    Program(Box<Program>),
}

/// A check that is left to the program nvchecker.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// Why it is: the source, or an option.
    pub because: String,
    /// Whether it runs a command of the file.
    pub command: bool,
    /// The file it is given.
    pub file: Table,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}{}: {message}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct BadFile {
    /// Where it stands in the folder of its package.
    pub path: String,
    /// The line, from 1.
    pub line: Option<u32>,
    /// One sentence.
    pub message: String,
}

/// Reads the file of a package.
///
/// # Errors
/// What is wrong with it.
pub fn read(request: &CheckRequest) -> Result<Entry, BadFile> {
    let wrong = |(line, message)| BadFile { path: request.path.clone(), line, message };
    read_file(request).map_err(wrong)
}

/// What is wrong with the file of a package, without asking anybody; `None` if nothing is.
#[must_use]
pub fn problem(request: &CheckRequest) -> Option<BadFile> {
    read(request).err()
}

fn read_file(request: &CheckRequest) -> Result<Entry, (Option<u32>, String)> {
    if request.file.len() > LARGEST {
        return Err((None, format!("it is larger than {LARGEST} bytes")));
    }
    let text = std::str::from_utf8(&request.file).map_err(|_| (None, "it is not UTF-8".to_owned()))?;
    let not_toml = |error: toml::de::Error| {
        let line = line_at(text, error.span().map_or(0, |span| span.start));
        (Some(line), format!("it is not TOML: {}", error.message()))
    };
    let file: Table = text.parse().map_err(not_toml)?;
    let (name, table) = table_for(&file, request.pkgbase.as_str()).map_err(|error| (None, error))?;
    let own_token = ["token", "httptoken"].iter().any(|key| table.contains_key(*key));
    let wrong = |error: String| (line_of(text, name, &error), format!("[{}]: {error}", name.escape_debug()));
    Ok(Entry { name: name.to_owned(), source: source(name, table, &file).map_err(wrong)?, own_token })
}

fn line_at(text: &str, byte: usize) -> u32 {
    let before = text.get(..byte).unwrap_or(text).bytes().filter(|byte| *byte == b'\n').count();
    u32::try_from(before + 1).unwrap_or(u32::MAX)
}

/// The line of the option that an error begins with, or of the table if it stands nowhere.
fn line_of(text: &str, name: &str, error: &str) -> Option<u32> {
    let option = error.split('`').nth(1).unwrap_or_default();
    let file = DeTable::parse(text).ok()?.into_inner();
    let (header, table) = file.iter().find(|(key, _)| key.get_ref() == name)?;
    let own = table.get_ref().as_table().and_then(|table| table.keys().find(|key| key.get_ref() == option));
    Some(line_at(text, own.unwrap_or(header).span().start))
}

/// The table of the package's name, or the only one.
fn table_for<'a>(file: &'a Table, pkgbase: &str) -> Result<(&'a str, &'a Table), String> {
    let tables: Vec<(&str, &Table)> = file
        .iter()
        .filter(|(name, _)| *name != SETTINGS)
        .filter_map(|(name, value)| Some((name.as_str(), value.as_table()?)))
        .collect();
    if let Some(found) = tables.iter().find(|(name, _)| *name == pkgbase) {
        return Ok(*found);
    }
    match tables.as_slice() {
        [only] => Ok(*only),
        [] => Err(format!("it names nothing to check; begin it with `[{pkgbase}]`")),
        many => {
            let names: Vec<_> = many.iter().take(5).map(|(name, _)| name.escape_debug().to_string()).collect();
            Err(format!("it has tables for {}, and none with the name [{pkgbase}]", names.join(", ")))
        }
    }
}

fn source(name: &str, table: &Table, file: &Table) -> Result<Source, String> {
    let options = Options::new(table);
    let kind = options.needed("source")?;
    let Some(choice) = Choice::read(options)? else {
        let order = options.text("sort_version_key")?.unwrap_or_default();
        return program(&format!("sort_version_key = \"{order}\""), name, table, file);
    };
    if let Some(service) = Services::read(kind, name, options)? {
        return Ok(Source::Service(service, choice));
    }
    Ok(match kind {
        "manual" => Source::Manual(manual(options)?, choice),
        "git" => Source::Git(Git::read(options)?, choice),
        "vcs" => Source::Git(Git::read_vcs(options)?, choice),
        "regex" => {
            let (call, extract) = page::regex(options)?;
            Source::Page(call, extract, choice)
        }
        "jq" => {
            let (call, extract) = page::jq(options)?;
            Source::Page(call, extract, choice)
        }
        "aur" => Source::Aur(Aur::read(name, options)?, choice),
        "alpm" => Source::Alpm(Alpm::read(name, options)?, choice),
        other => return program(&format!("source = \"{}\"", other.escape_debug()), name, table, file),
    })
}

fn manual(options: Options<'_>) -> Result<String, String> {
    let written = options.text_or_number("manual")?.ok_or("`manual` is missing")?;
    Ok(written.trim().to_owned())
}

/// Options that concern this machine, or that nobody but the operator may set.
const NOT_PASSED_ON: [&str; 6] = ["token", "httptoken", "proxy", "verify_cert", "tries", "timeout"];

fn program(because: &str, name: &str, table: &Table, file: &Table) -> Result<Source, String> {
    let mut passed = Table::new();
    let mut wanted = vec![(name, table)];
    // A combination of other entries needs those, too.
    while let Some((name, table)) = wanted.pop() {
        if passed.contains_key(name) {
            continue;
        }
        let mut copy = table.clone();
        copy.retain(|key, _| !NOT_PASSED_ON.contains(&key));
        passed.insert(name.to_owned(), Value::Table(copy));
        for other in Options::new(table).texts("from")?.unwrap_or_default() {
            let found = file.get(other).and_then(Value::as_table).filter(|_| other != SETTINGS);
            wanted.push((
                other,
                found.ok_or_else(|| format!("`from` names [{}], which is not there", other.escape_debug()))?,
            ));
        }
    }
    let runs = |table: &Value| table.get("source").and_then(Value::as_str) == Some("cmd");
    let command = passed.values().any(runs);
    Ok(Source::Program(Box::new(Program { because: because.to_owned(), command, file: passed })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> CheckRequest {
        let pkgbase = PkgBase::new("foo").expect("legal");
        CheckRequest { pkgbase, path: ".nvchecker.toml".to_owned(), file: text.as_bytes().to_vec() }
    }

    fn wrong(text: &str) -> String {
        read(&request(text)).expect_err(text).to_string()
    }

    #[test]
    fn what_the_repository_says_wins_over_what_the_package_brought() {
        let pkgbase = PkgBase::new("foo").expect("legal");
        let folder = Folder::default().with(".nvchecker.toml", "a").with("nvchecker.toml", "b");
        assert_eq!(CheckRequest::of(&pkgbase, &folder).map(|found| found.path), Some("nvchecker.toml".to_owned()));
        let folder = folder.with(".CI/nvchecker.toml", "c");
        assert_eq!(CheckRequest::of(&pkgbase, &folder).map(|found| found.file), Some(b"c".to_vec()));
        assert_eq!(CheckRequest::of(&pkgbase, &Folder::default()), None);
    }

    #[test]
    fn the_table_of_the_package_is_read_or_the_only_one() {
        let name = |text: &str| read(&request(text)).expect(text).name;
        assert_eq!(name("[bar]\nsource = 'manual'\nmanual = 1\n[__config__]\nproxy = 'x'"), "bar");
        assert_eq!(name("[bar]\nsource = 'none'\n[foo]\nsource = 'manual'\nmanual = '1'"), "foo");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        insta::assert_snapshot!(
            [
                wrong("[foo\n"),
                wrong("[__config__]\n"),
                wrong("[a]\n[b]\n"),
                wrong("[foo]\n"),
                wrong("[foo]\nsource = 1"),
                wrong("[foo]\nsource = 'github'"),
                wrong("[foo]\nsource = 'github'\ngithub = 'x'"),
                wrong("[foo]\nsource = 'github'\ngithub = 'a/b'\nhost = 'a/b'"),
                wrong("[foo]\nsource = 'github'\ngithub = 'a/b'\nuse_max_tag = 'yes'"),
                wrong("[foo]\nsource = 'regex'\nurl = 'https://h/'\nregex = '(a)(b)'"),
                wrong("[foo]\nsource = 'regex'\nurl = 'file:///etc/passwd'\nregex = 'a'"),
                wrong("[foo]\nsource = 'manual'"),
                wrong("[foo]\nsource = 'git'\ngit = '--upload-pack=x'"),
                wrong("[foo]\nsource = 'combiner'\nfrom = ['x']"),
            ]
            .join("\n"),
            @r#"
            .nvchecker.toml:1: it is not TOML: unclosed table, expected `]`
            .nvchecker.toml: it names nothing to check; begin it with `[foo]`
            .nvchecker.toml: it has tables for a, b, and none with the name [foo]
            .nvchecker.toml:1: [foo]: `source` is missing
            .nvchecker.toml:2: [foo]: `source` is 1, but has to be a text in quotes
            .nvchecker.toml:1: [foo]: `github` is missing
            .nvchecker.toml:3: [foo]: `github`: `x` is not of the form owner/repository
            .nvchecker.toml:4: [foo]: `host`: `a/b` is not the name of a host
            .nvchecker.toml:4: [foo]: `use_max_tag` is \"yes\", but has to be true or false
            .nvchecker.toml:4: [foo]: `regex` has more than one group; write `(?:…)` for those that are not the version
            .nvchecker.toml:3: [foo]: `url`: only http and https are asked
            .nvchecker.toml:1: [foo]: `manual` is missing
            .nvchecker.toml:3: [foo]: `git`: address `--upload-pack=x` refused: it has no `scheme://`
            .nvchecker.toml:3: [foo]: `from` names [x], which is not there
            "#
        );
    }

    #[test]
    fn what_is_left_to_the_program_holds_nothing_of_this_machine() {
        let text = "[__config__]\nkeyfile = 'k'\n[foo]\nsource = 'combiner'\nfrom = ['a']\ntoken = 't'\n\
                    [a]\nsource = 'cmd'\ncmd = 'id'\nproxy = 'p'\n[b]\nsource = 'cpan'\n";
        let Source::Program(program) = read(&request(text)).expect("valid").source else { panic!("not a program") };
        assert!(program.command);
        insta::assert_snapshot!(program.file.to_string(), @r#"
        [a]
        cmd = "id"
        source = "cmd"

        [foo]
        from = ["a"]
        source = "combiner"
        "#);
    }
}
