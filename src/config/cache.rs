//! `<pkgbase>/.CI/cache.toml`: which files a package keeps from one build for the next.
//!
//! A set with a mistake is left out whole, and the build begins without it; the others count.

use std::collections::BTreeMap;
use std::ops::Range;

use globset::GlobBuilder;
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::keyfile::printable;
use crate::domain::cache::{DEFAULT_MAX, PATH, Set, SetName, fault_of, ready};
use crate::domain::finding::{Finding, nearest};

/// The code of everything that is found here.
const CODE: &str = "cache";
/// The most sets of one package.
const MOST_SETS: usize = 32;
/// The most globs, files or tools of one set.
const MOST_WORDS: usize = 64;
/// The largest archive that can be asked for: 64 GiB.
const LARGEST_MIB: u64 = 64 << 10;

/// The document, for its schema.
#[derive(Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "the schema is made from it; tables are read one by one")]
pub(super) struct Written {
    /// Ready-made sets: `srcdest`, `ccache`, `sccache`, `cargo-registry`, `go-modules`.
    #[schemars(rename = "use")]
    uses: Option<Vec<String>>,
    /// Sets of one's own, or ready-made ones by their name with something else about them.
    set: Option<Vec<WrittenSet>>,
}

/// A set as it is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WrittenSet {
    /// What it is called: letters, digits and `._-`.
    name: String,
    /// Globs of what belongs to it, in `~/` or `/srcdest/`. Without any, `pkgwarden-cache` saves and restores it.
    #[serde(default)]
    include: Vec<String>,
    /// Globs of what does not belong to it all the same.
    #[serde(default)]
    exclude: Vec<String>,
    /// Files of the package folder of which another content asks for another archive.
    #[serde(default)]
    files: Vec<String>,
    /// Programs of which another version asks for another archive.
    #[serde(default)]
    tools: Vec<String>,
    /// A number to raise by hand, so that nothing that was saved before counts.
    #[serde(default)]
    epoch: u64,
    /// Whether each commit saves an archive of its own, and begins with the newest there is.
    renew: Option<bool>,
    /// Whether a build fails where it cannot be saved or restored.
    #[serde(default)]
    required: bool,
    /// The most MiB that its archive may hold, unpacked: 2048 where nothing is said.
    #[schemars(range(min = 1, max = 65536))]
    max_mib: Option<u64>,
}

/// Reads a `.CI/cache.toml`. Whatever is wrong in it becomes a finding that names `path` and the line.
#[must_use]
pub fn parse(text: &str, path: &str) -> (Vec<Set>, Vec<Finding>) {
    let mut reader = Reader { text, path, sets: Vec::new(), findings: Vec::new() };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        reader.complain(error.message(), "this is not TOML: see https://toml.io", error.span());
    }
    if errors.is_empty() {
        reader.document(table.into_inner());
    }
    reader.findings.sort_by_key(|finding| finding.line);
    (reader.sets, reader.findings)
}

/// The sets that the folder of a package declares, with that of its sources if its settings want it
/// (`BUILDER_CACHE_SOURCES`).
#[must_use]
pub fn declared(folder: &crate::domain::folder::Folder, sources: bool) -> Vec<Set> {
    let text = folder.get(PATH).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let mut sets = text.map(|text| parse(text, PATH).0).unwrap_or_default();
    if sources && !sets.iter().any(|set| set.name.as_str() == ready::SRCDEST) {
        sets.push(ready::srcdest());
    }
    sets
}

/// One file while it is being read.
struct Reader<'a> {
    text: &'a str,
    path: &'a str,
    sets: Vec<Set>,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn complain(&mut self, message: &str, hint: &str, span: Option<Range<usize>>) {
        let before = span.and_then(|span| self.text.get(..span.start));
        let line = before.and_then(|before| u32::try_from(before.matches('\n').count() + 1).ok());
        let finding = Finding::warning(CODE, printable(message)).at(self.path, line);
        self.findings.push(finding.hint(printable(hint)));
    }

    fn document(&mut self, table: DeTable<'_>) {
        let mut keys: Vec<_> = table.into_iter().collect();
        // The first of two counts, as people read it.
        keys.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in keys {
            match &**key.get_ref() {
                "use" => self.uses(value),
                "set" => self.written_sets(value),
                other => {
                    let hint = did_you_mean(other, &["use", "set"]);
                    self.complain(&format!("nothing reads `{other}`"), &hint, Some(key.span()));
                }
            }
        }
    }

    fn uses(&mut self, value: Spanned<DeValue<'_>>) {
        let span = value.span();
        let Ok(names) = Vec::<Spanned<String>>::deserialize(ValueDeserializer::from(value)) else {
            self.complain("`use` is a list of names", "such as use = [\"ccache\"]", Some(span));
            return;
        };
        for name in names {
            let span = name.span();
            if let Some(set) = ready::set(name.get_ref()) {
                self.take(set, span);
            } else {
                let message = format!("there is no ready-made set `{}`", name.get_ref());
                self.complain(&message, &did_you_mean(name.get_ref(), &ready::NAMES), Some(span));
            }
        }
    }

    fn written_sets(&mut self, value: Spanned<DeValue<'_>>) {
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            self.complain("`set` is a list of tables", "begin each with [[set]]", Some(span));
            return;
        };
        for item in items {
            let span = item.span();
            let places = places(item.get_ref());
            match WrittenSet::deserialize(ValueDeserializer::from(item)) {
                Ok(written) => match set_of(written) {
                    Ok(set) => self.take(set, span),
                    Err(Fault { key, message, hint }) => {
                        let place = places.get(key).cloned().unwrap_or(span);
                        self.complain(&message, &hint, Some(place));
                    }
                },
                Err(error) => {
                    let message = error.message().to_owned();
                    self.complain(&message, &remedy(&message), error.span().or(Some(span)));
                }
            }
        }
    }

    fn take(&mut self, set: Set, span: Range<usize>) {
        if self.sets.iter().any(|known| known.name == set.name) {
            let message = format!("the set `{}` is there twice; the first counts", set.name);
            self.complain(&message, "give each a name of its own", Some(span));
        } else if self.sets.len() == MOST_SETS {
            self.complain(&format!("there are more than {MOST_SETS} sets"), "leave some out", Some(span));
        } else {
            self.sets.push(set);
        }
    }
}

/// Where the keys of a table stand.
fn places(table: &DeValue<'_>) -> BTreeMap<String, Range<usize>> {
    let DeValue::Table(table) = table else { return BTreeMap::new() };
    table.iter().map(|(key, _)| (key.get_ref().to_string(), key.span())).collect()
}

/// What is wrong with a set: at which key, and the remedy.
struct Fault {
    key: &'static str,
    message: String,
    hint: String,
}

impl Fault {
    fn at(key: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { key, message: message.into(), hint: hint.into() }
    }
}

/// What is written as a set, or what is wrong with it.
fn set_of(written: WrittenSet) -> Result<Set, Fault> {
    let name = SetName::new(&written.name)
        .map_err(|error| Fault::at("name", error.to_string(), "such as name = \"models\""))?;
    let ready = ready::set(name.as_str());
    check_globs(&name, &written, ready.is_some())?;
    check_words(&name, &written)?;
    let base = ready.unwrap_or_else(|| Set::by_hand(name));
    let (mut files, mut tools) = (base.files, base.tools);
    files.extend(written.files);
    tools.extend(written.tools);
    Ok(Set {
        name: base.name,
        include: if written.include.is_empty() { base.include } else { written.include },
        exclude: written.exclude,
        files,
        tools,
        epoch: written.epoch,
        renew: written.renew.unwrap_or(base.renew),
        verified: base.verified,
        required: written.required,
        max_bytes: written.max_mib.map_or(base.max_bytes, |mib| mib << 20),
        env: base.env,
    })
}

fn check_globs(name: &SetName, written: &WrittenSet, is_ready: bool) -> Result<(), Fault> {
    let WrittenSet { include, exclude, .. } = written;
    if is_ready && !(include.is_empty() && exclude.is_empty()) {
        let key = if include.is_empty() { "exclude" } else { "include" };
        let message = format!("`{name}` is a ready-made set, which says itself what belongs to it");
        return Err(Fault::at(key, message, "leave out `include` and `exclude`, or give it another name"));
    }
    if include.is_empty() && !exclude.is_empty() {
        let message = format!("the set `{name}` excludes something of nothing");
        return Err(Fault::at("exclude", message, "say in `include` what belongs to it"));
    }
    for (key, pattern) in include.iter().map(|it| ("include", it)).chain(exclude.iter().map(|it| ("exclude", it))) {
        if let Some(fault) = fault_of(pattern) {
            return Err(Fault::at(key, format!("the glob `{pattern}` of the set `{name}` cannot be kept"), fault));
        }
        if let Err(error) = GlobBuilder::new(pattern).literal_separator(true).build() {
            let message = format!("`{pattern}` of the set `{name}` is no glob: {}", error.kind());
            return Err(Fault::at(key, message, "see docs/caches.md"));
        }
    }
    Ok(())
}

fn check_words(name: &SetName, written: &WrittenSet) -> Result<(), Fault> {
    if let Some(mib) = written.max_mib.filter(|mib| !(1..=LARGEST_MIB).contains(mib)) {
        let hint = format!("write a number from 1 to {LARGEST_MIB}");
        return Err(Fault::at("max_mib", format!("`max_mib` of the set `{name}` is {mib}"), hint));
    }
    for (key, words) in [
        ("include", &written.include),
        ("exclude", &written.exclude),
        ("files", &written.files),
        ("tools", &written.tools),
    ] {
        if words.len() > MOST_WORDS {
            let message = format!("`{key}` of the set `{name}` has more than {MOST_WORDS} items");
            return Err(Fault::at(key, message, "leave some out"));
        }
    }
    let leaves = |path: &&String| path.split('/').any(|part| matches!(part, "" | "." | ".."));
    if let Some(path) = written.files.iter().find(leaves) {
        let message = format!("`{path}` of the set `{name}` is not in the package folder");
        return Err(Fault::at("files", message, "such as files = [\"PKGBUILD\"]"));
    }
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    let is_no_program = |tool: &&String| tool.is_empty() || tool.starts_with('-') || !tool.bytes().all(word);
    if let Some(tool) = written.tools.iter().find(is_no_program) {
        let message = format!("`{tool}` of the set `{name}` is not the name of a program");
        return Err(Fault::at("tools", message, "such as tools = [\"rustc\"]"));
    }
    Ok(())
}

fn did_you_mean(written: &str, known: &[&str]) -> String {
    match nearest(written, known.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("there are: {}", known.join(", ")),
    }
}

/// What to do about an error of serde.
fn remedy(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let written = quoted.next().unwrap_or_default();
    if message.starts_with("unknown field") {
        return did_you_mean(written, &quoted.collect::<Vec<_>>());
    }
    if message.starts_with("missing field") {
        format!("add {written} = \"…\"")
    } else {
        "see docs/caches.md".to_owned()
    }
}

/// The default of `max_mib`, which its description names.
const _: () = assert!(DEFAULT_MAX == 2048 << 20, "the description of max_mib says 2048");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn complaints(text: &str) -> String {
        let (_, findings) = parse(text, "foo/.CI/cache.toml");
        findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn sets_are_read_with_what_is_ready_made() {
        let text = "use = [\"ccache\"]\n\n[[set]]\nname = \"models\"\ninclude = [\"~/.cache/models/**\"]\n\
             exclude = [\"**/*.tmp\"]\n";
        assert!(complaints(text).contains("begin it with ~/ or /"), "a glob without a root would match nothing");
        let text = text.replace("**/*.tmp", "~/**/*.tmp")
            + "files = [\"PKGBUILD\"]\ntools = [\"rustc\"]\nepoch = 2\n\
             required = true\nmax_mib = 10\n\n[[set]]\nname = \"srcdest\"\nmax_mib = 20\n\n[[set]]\nname = \"deps\"\n";
        let (sets, findings) = parse(&text, PATH);
        assert_eq!(findings, []);
        let [ccache, models, srcdest, deps] = sets.as_slice() else { panic!("{sets:?}") };
        assert_eq!(ccache, &ready::set("ccache").unwrap());
        assert_eq!((models.epoch, models.required, models.renew, models.max_bytes), (2, true, false, 10 << 20));
        assert_eq!(
            (models.files.as_slice(), models.tools.as_slice()),
            (&["PKGBUILD".to_owned()][..], &["rustc".to_owned()][..])
        );
        assert_eq!(srcdest, &Set { max_bytes: 20 << 20, ..ready::srcdest() });
        assert_eq!(deps, &Set::by_hand(SetName::new("deps").unwrap()));
    }

    #[test]
    fn every_mistake_is_told_with_its_place_and_remedy_and_the_others_count() {
        let text = "use = [\"cache\", \"ccache\"]\nsets = 1\n[[set]]\nname = \"a\"\ninclud = [\"~/x\"]\n\
             [[set]]\nname = \"../b\"\n[[set]]\nname = \"c\"\ninclude = [\"/etc/**\"]\n[[set]]\nname = \"d\"\n\
             include = [\"~/[x\"]\n[[set]]\nname = \"srcdest\"\ninclude = [\"~/x\"]\n[[set]]\nname = \"ccache\"\n\
             [[set]]\nname = \"e\"\nmax_mib = 0\n[[set]]\nname = \"f\"\nfiles = [\"../x\"]\n[[set]]\nname = \"g\"\n\
             tools = [\"-rf\"]\n[[set]]\ninclude = []\n[[set]]\nname = \"good\"\n";
        insta::assert_snapshot!(complaints(text), @r#"
        foo/.CI/cache.toml:1: there is no ready-made set `cache`; did you mean `ccache`?
        foo/.CI/cache.toml:2: nothing reads `sets`; did you mean `set`?
        foo/.CI/cache.toml:5: unknown field `includ`, expected one of `name`, `include`, `exclude`, `files`, `tools`, `epoch`, `renew`, `required`, `max_mib`; did you mean `include`?
        foo/.CI/cache.toml:7: `../b` cannot be the name of a cache set: write up to 64 letters, digits or any of . _ -; such as name = "models"
        foo/.CI/cache.toml:10: the glob `/etc/**` of the set `c` cannot be kept; name something in ~/ or /srcdest/; from /build, `pkgwarden-cache save` keeps what is named
        foo/.CI/cache.toml:13: `~/[x` of the set `d` is no glob: unclosed character class; missing ']'; see docs/caches.md
        foo/.CI/cache.toml:16: `srcdest` is a ready-made set, which says itself what belongs to it; leave out `include` and `exclude`, or give it another name
        foo/.CI/cache.toml:17: the set `ccache` is there twice; the first counts; give each a name of its own
        foo/.CI/cache.toml:21: `max_mib` of the set `e` is 0; write a number from 1 to 65536
        foo/.CI/cache.toml:24: `../x` of the set `f` is not in the package folder; such as files = ["PKGBUILD"]
        foo/.CI/cache.toml:27: `-rf` of the set `g` is not the name of a program; such as tools = ["rustc"]
        foo/.CI/cache.toml:28: missing field `name`; add name = "…"
        "#);
        let (sets, _) = parse(text, PATH);
        assert_eq!(sets.iter().map(|set| set.name.as_str()).collect::<Vec<_>>(), ["ccache", "good"]);
        let broken = complaints("[[set]");
        assert!(broken.starts_with("foo/.CI/cache.toml:1: ") && broken.contains("this is not TOML"), "{broken}");
        insta::assert_snapshot!(complaints("use = 3\nset = 4"), @r#"
        foo/.CI/cache.toml:1: `use` is a list of names; such as use = ["ccache"]
        foo/.CI/cache.toml:2: `set` is a list of tables; begin each with [[set]]
        "#);
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_only_sound_sets_come_of_it(
            text in "([a-z=\\[\\]\"{}~/*.\n, 0-9]|\\[\\[set\\]\\]\n|name = \"a\"\n|include = \\[\"~/|use = \\[\"){0,40}"
        ) {
            let (sets, findings) = parse(&text, PATH);
            prop_assert!(sets.len() <= MOST_SETS);
            for set in &sets {
                prop_assert!(set.include.iter().chain(&set.exclude).all(|pattern| fault_of(pattern).is_none()));
            }
            prop_assert!(findings.iter().all(|finding| finding.file.as_deref() == Some(PATH)));
        }
    }
}
