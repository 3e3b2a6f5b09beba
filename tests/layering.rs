//! The house rule: which module may name which.
//!
//! Reads the `use` declarations and the paths in the source itself. It cannot see inside macro calls, and
//! a re-export would hide where a thing comes from, so `lib.rs` re-exports nothing.

use std::collections::BTreeMap;
use std::path::Path;

use syn::visit::Visit;

/// Every module, in order: each may name only modules that stand above it. Adapters do not name each
/// other, except where it says so; faces ask the controller.
const TABLE: [(&str, &[&str]); 20] = [
    ("domain", &[]),
    ("config", &["domain"]),
    ("sys", &["domain"]),
    ("telemetry", &["domain"]),
    ("store", &["domain", "sys", "telemetry"]),
    ("git", &["domain", "sys", "telemetry"]),
    ("forge", &["domain", "sys", "telemetry"]),
    ("logstore", &["domain", "sys", "telemetry"]),
    ("publish", &["domain", "sys", "telemetry"]),
    ("caches", &["domain", "sys", "telemetry"]),
    ("source", &["domain", "sys", "telemetry", "git"]),
    ("builder", &["domain", "sys", "telemetry", "logstore"]),
    ("executor", &["domain", "sys", "telemetry", "logstore", "caches", "builder"]),
    (
        "controller",
        &[
            "domain",
            "config",
            "sys",
            "telemetry",
            "store",
            "git",
            "forge",
            "logstore",
            "caches",
            "publish",
            "source",
            "builder",
            "executor",
        ],
    ),
    ("web", &["domain", "sys", "telemetry", "logstore", "controller"]),
    ("http", &["domain", "config", "sys", "telemetry", "logstore", "controller", "web"]),
    (
        "app",
        &[
            "domain",
            "config",
            "sys",
            "telemetry",
            "store",
            "git",
            "forge",
            "logstore",
            "caches",
            "publish",
            "source",
            "builder",
            "executor",
            "controller",
            "web",
            "http",
        ],
    ),
    ("demo", &["domain", "config", "sys", "telemetry", "git", "controller", "app"]),
    ("cli", &["domain", "config", "sys", "telemetry", "controller", "web", "http", "app", "demo"]),
    // The program itself: it names the library as `pkgwarden`.
    ("main", &["sys", "cli"]),
];

/// Modules that hold values and decisions only.
const PURE: [&str; 2] = ["domain", "config"];

type Table<'a> = BTreeMap<&'a str, &'a [&'a str]>;

/// What is wrong with one source file of the module `path` (`["git", "remote"]`).
fn violations(path: &[&str], source: &str, table: &Table<'_>) -> Vec<String> {
    let module = path[0];
    let Some(allowed) = table.get(module) else { return vec![format!("module `{module}` is not in the table")] };
    let file = match syn::parse_file(source) {
        Ok(file) => file,
        Err(error) => return vec![format!("cannot be parsed: {error}")],
    };
    let mut reader =
        Reader { place: path.iter().map(ToString::to_string).collect(), named: Vec::new(), is_async: false };
    reader.visit_file(&file);
    let unlisted = |name: &&String| !table.contains_key(name.as_str());
    let mut found: Vec<String> =
        reader.named.iter().filter(unlisted).map(|name| format!("names `{name}`, which is not in the table")).collect();
    let forbidden = reader
        .named
        .iter()
        .filter(|name| table.contains_key(name.as_str()) && *name != module && !allowed.contains(&name.as_str()));
    found.extend(forbidden.map(|name| format!("`{module}` may not name `{name}`")));
    if reader.is_async && PURE.contains(&module) {
        found.push(format!("`{module}` is pure and may not be async"));
    }
    found.sort();
    found.dedup();
    found
}

/// Collects the top-level modules that a file names.
struct Reader {
    /// The module that is being read, from the root.
    place: Vec<String>,
    named: Vec<String>,
    is_async: bool,
}

impl Reader {
    /// Follows `crate::`, `self::` and any number of `super::` to the top-level module a path leads to.
    fn path(&mut self, segments: &[String]) {
        let mut place = match segments.first().map(String::as_str) {
            Some("crate" | "pkgwarden") => Vec::new(),
            Some("self" | "super") => self.place.clone(),
            _ => return,
        };
        for segment in segments {
            match segment.as_str() {
                "crate" | "pkgwarden" | "self" => {}
                "super" => drop(place.pop()),
                name => {
                    place.push(name.to_owned());
                    break;
                }
            }
        }
        self.named.extend(place.into_iter().next());
    }

    fn tree(&mut self, tree: &syn::UseTree, before: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.tree(&path.tree, before);
                before.pop();
            }
            syn::UseTree::Name(syn::UseName { ident }) | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                before.push(ident.to_string());
                self.path(before);
                before.pop();
            }
            syn::UseTree::Glob(_) => {
                before.push("*".into());
                self.path(before);
                before.pop();
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, before)),
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.path(&segments);
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {
        // `pub(in crate::x)` names nothing that could be used.
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        self.place.push(item.ident.to_string());
        syn::visit::visit_item_mod(self, item);
        self.place.pop();
    }

    fn visit_signature(&mut self, signature: &'ast syn::Signature) {
        self.is_async |= signature.asyncness.is_some();
        syn::visit::visit_signature(self, signature);
    }

    fn visit_expr_async(&mut self, block: &'ast syn::ExprAsync) {
        self.is_async = true;
        syn::visit::visit_expr_async(self, block);
    }

    fn visit_expr_await(&mut self, expression: &'ast syn::ExprAwait) {
        self.is_async = true;
        syn::visit::visit_expr_await(self, expression);
    }

    fn visit_expr_closure(&mut self, closure: &'ast syn::ExprClosure) {
        self.is_async |= closure.asyncness.is_some();
        syn::visit::visit_expr_closure(self, closure);
    }
}

/// Rows of a table that name something which does not stand above them.
fn upward(table: &[(&str, &[&str])]) -> Vec<String> {
    let stands_above = |row: usize, name: &str| table[..row].iter().any(|(module, _)| *module == name);
    let row = |(index, (module, allowed)): (usize, &(&str, &[&str]))| {
        let bad = allowed.iter().filter(move |name| !stands_above(index, name));
        bad.map(|name| format!("`{module}` comes before `{name}`")).collect::<Vec<_>>()
    };
    table.iter().enumerate().flat_map(row).collect()
}

/// How many things `lib.rs` holds beside modules in files of their own.
fn strays(source: &str) -> usize {
    let file = syn::parse_file(source).expect("lib.rs can be parsed");
    let is_module = |item: &&syn::Item| matches!(item, syn::Item::Mod(module) if module.content.is_none());
    file.items.iter().filter(|item| !is_module(item)).count()
}

/// The module path of a file below `src`.
fn module_path(file: &Path) -> Vec<String> {
    let mut path: Vec<_> = file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if path.last().is_some_and(|name| name == "mod") {
        path.pop();
    }
    path
}

#[test]
fn every_import_goes_downward() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let table: Table<'_> = TABLE.into();
    let mut found = Vec::new();
    let mut read = 0;
    for entry in walkdir::WalkDir::new(&root).sort_by_file_name() {
        let entry = entry.expect("the source can be listed");
        let file = entry.path().strip_prefix(&root).expect("below the root");
        if file.extension().is_none_or(|extension| extension != "rs") || file == Path::new("lib.rs") {
            continue;
        }
        let source = std::fs::read_to_string(entry.path()).expect("the source can be read");
        let path = module_path(file);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        found.extend(violations(&path, &source, &table).iter().map(|what| format!("src/{}: {what}", file.display())));
        read += 1;
    }
    assert!(read > 10, "only {read} files were found");
    assert!(found.is_empty(), "the house rule is broken:\n{}", found.join("\n"));
}

#[test]
fn the_table_itself_points_downward() {
    assert_eq!(upward(&TABLE), [""; 0]);
}

/// A row of something that is not there any more would let a new module of that name in unseen.
#[test]
fn the_table_has_no_row_too_many() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let is_there =
        |name: &str| root.join(name).join("mod.rs").is_file() || root.join(name).with_extension("rs").is_file();
    let gone: Vec<_> = TABLE.iter().map(|(module, _)| *module).filter(|module| !is_there(module)).collect();
    assert_eq!(gone, [""; 0]);
}

#[test]
fn the_library_re_exports_nothing() {
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
    assert_eq!(strays(&source.expect("lib.rs is there")), 0);
}

mod the_checker {
    use super::*;

    fn check(path: &[&str], source: &str) -> Vec<String> {
        let table: Table<'_> = [("domain", [].as_slice()), ("git", &["domain"]), ("cli", &["domain"])].into();
        violations(path, source, &table)
    }

    #[test]
    fn accepts_what_the_table_allows() {
        let source = "use crate::domain::name::{Oid, PkgBase as Base}; use super::folder; use std::fmt;\n\
             mod inner { use super::super::tree; fn f() { crate::git::x::y(); self::z(); } }";
        assert_eq!(check(&["git", "remote"], source), [""; 0]);
    }

    #[test]
    fn fails_on_an_import() {
        assert_eq!(check(&["git"], "use crate::cli::Exit;"), ["`git` may not name `cli`"]);
        assert_eq!(check(&["git"], "use crate::{domain::x, cli};"), ["`git` may not name `cli`"]);
        assert_eq!(check(&["domain", "a"], "fn f() { use crate::git::*; }"), ["`domain` may not name `git`"]);
        assert_eq!(check(&["git"], "pub(crate) use pkgwarden::cli as other;"), ["`git` may not name `cli`"]);
    }

    #[test]
    fn fails_on_a_path_inside_the_code() {
        let expected = ["`domain` may not name `git`"];
        assert_eq!(check(&["domain"], "fn f() { crate::git::open() }"), expected);
        assert_eq!(check(&["domain"], "struct S(Vec<crate::git::Oid>);"), expected);
        assert_eq!(check(&["domain"], "impl crate::git::Trait for S {}"), expected);
        assert_eq!(check(&["domain"], "#[derive(Debug)] enum E { A(Box<dyn crate::git::T>) }"), expected);
    }

    #[test]
    fn fails_on_a_way_out_through_super() {
        let expected = ["`git` may not name `cli`"];
        assert_eq!(check(&["git", "remote"], "use super::super::cli::Exit;"), expected);
        assert_eq!(check(&["git"], "fn f() { super::cli::run() }"), expected);
        assert_eq!(check(&["git"], "mod tests { use super::super::cli; }"), expected);
    }

    #[test]
    fn fails_on_modules_that_nobody_listed() {
        assert_eq!(check(&["utils"], ""), ["module `utils` is not in the table"]);
        assert_eq!(check(&["git"], "use crate::utils::x;"), ["names `utils`, which is not in the table"]);
    }

    #[test]
    fn fails_on_async_where_all_is_pure() {
        let expected = ["`domain` is pure and may not be async"];
        assert_eq!(check(&["domain"], "async fn f() {}"), expected);
        assert_eq!(check(&["domain"], "trait T { async fn f(); }"), expected);
        assert_eq!(check(&["domain"], "fn f() { let _ = async { 1 }; }"), expected);
        assert_eq!(check(&["git"], "async fn f() {}"), [""; 0]);
    }

    #[test]
    fn fails_on_a_table_that_points_upward() {
        let table: [(&str, &[&str]); 2] = [("domain", &["git"]), ("git", &["domain", "missing"])];
        assert_eq!(upward(&table), ["`domain` comes before `git`", "`git` comes before `missing`"]);
    }

    #[test]
    fn fails_on_a_re_export() {
        assert_eq!(strays("pub mod domain; pub mod git;"), 0);
        assert_eq!(strays("pub mod domain; pub use domain::name;"), 1);
        assert_eq!(strays("pub mod domain { pub fn f() {} }"), 1);
    }

    #[test]
    fn knows_the_module_of_a_file() {
        assert_eq!(module_path(Path::new("git/mod.rs")), ["git"]);
        assert_eq!(module_path(Path::new("git/remote.rs")), ["git", "remote"]);
        assert_eq!(module_path(Path::new("app.rs")), ["app"]);
    }
}
