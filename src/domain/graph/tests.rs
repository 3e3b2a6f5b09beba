use proptest::prelude::*;

use super::*;
use crate::domain::name::Oid;
use crate::domain::policy::PackageSettings;
use crate::domain::srcinfo::Srcinfo;

/// A package whose `.SRCINFO` is `lines` in short: `depends = x` and so on; `pkgname = x` begins a section.
fn package(pkgbase: &str, lines: &[&str]) -> Package {
    let head = format!("pkgbase = {pkgbase}\npkgver = 1\npkgrel = 1\narch = x86_64\narch = aarch64\n");
    let section = if lines.iter().any(|line| line.starts_with("pkgname")) {
        String::new()
    } else {
        format!("pkgname = {pkgbase}")
    };
    let text = format!("{head}{}\n{section}\n", lines.join("\n"));
    let srcinfo = Srcinfo::parse(text.as_bytes()).expect("valid");
    Package { srcinfo: Some(srcinfo), ..without_srcinfo(pkgbase) }
}

fn without_srcinfo(pkgbase: &str) -> Package {
    Package {
        pkgbase: name(pkgbase),
        tree: Oid::from_bytes([0; 20]),
        srcinfo: None,
        settings: PackageSettings::default(),
        config: std::sync::Arc::default(),
        interfere: Vec::new(),
        has_pkgbuild: true,
        version_file: None,
        findings: Vec::new(),
    }
}

fn name(text: &str) -> PkgBase {
    PkgBase::new(text).expect("legal")
}

fn set(names: &[&str]) -> BTreeSet<PkgBase> {
    names.iter().map(|text| name(text)).collect()
}

fn graph(packages: &[Package]) -> Graph {
    Graph::build(packages.iter(), &BTreeSet::new())
}

fn arrows(graph: &Graph) -> Vec<String> {
    graph.edges().iter().map(|edge| format!("{} {} {} {:?}", edge.from, edge.to, edge.via, edge.kind)).collect()
}

fn texts(names: &[PkgBase]) -> Vec<&str> {
    names.iter().map(PkgBase::as_str).collect()
}

#[test]
fn every_section_kind_and_architecture_in_play_makes_edges() {
    let packages = [
        package(
            "app",
            &[
                "depends = a>=1",
                "makedepends = b",
                "checkdepends = c",
                "depends_x86_64 = d",
                "makedepends_aarch64 = e",
                "pkgname = app",
                "pkgname = app-docs",
                "depends = f",
            ],
        ),
        package("a", &[]),
        package("b", &[]),
        package("c", &[]),
        package("d", &[]),
        package("e", &[]),
        package("f", &[]),
    ];
    let graph = graph(&packages);
    assert_eq!(
        arrows(&graph),
        ["app a a Depends", "app b b Makedepends", "app c c Checkdepends", "app d d Depends", "app f f Depends"]
    );
    assert_eq!(texts(&graph.order()), ["a", "b", "c", "d", "e", "f", "app"]);
    let other = Graph::build_for("aarch64", packages.iter(), &BTreeSet::new());
    assert_eq!(texts(other.direct(&name("app"))), ["a", "b", "c", "e", "f"]);
}

#[test]
fn the_strongest_kind_names_the_edge() {
    let graph = graph(&[
        package("app", &["checkdepends = lib", "makedepends = lib-z", "makedepends = lib-a"]),
        package("lib", &["pkgname = lib", "pkgname = lib-a", "pkgname = lib-z"]),
    ]);
    assert_eq!(arrows(&graph), ["app lib lib-a Makedepends"]);
}

#[test]
fn an_official_package_beats_a_provider_but_not_a_package_of_that_name() {
    let packages = [
        package("app", &["depends = glibc", "depends = zlib", "depends = libnew"]),
        package("glibc-eac", &["provides = glibc=2.40"]),
        package("newlib-git", &["provides = libnew"]),
        package("zlib", &[]),
    ];
    let official = ["glibc", "zlib"].map(str::to_owned).into();
    let graph = Graph::build(packages.iter(), &official);
    assert_eq!(arrows(&graph), ["app newlib-git libnew Depends", "app zlib zlib Depends"]);
}

#[test]
fn a_package_of_the_exact_name_beats_one_that_provides_it() {
    let graph =
        graph(&[package("app", &["depends = lib"]), package("a-lib", &["provides = lib"]), package("lib", &[])]);
    assert_eq!(arrows(&graph), ["app lib lib Depends"]);
}

#[test]
fn sonames_lead_to_whoever_provides_them() {
    let packages = [
        package("app", &["depends = libfoo.so=1-64", "depends = lib:libbar.so.2"]),
        package("foo", &["provides = libfoo.so=1-64"]),
        package("bar", &["provides = lib:libbar.so.2"]),
        package("other", &["depends = lib:libelse.so.1", "provides = lib:libother.so.2"]),
    ];
    let graph = graph(&packages);
    assert_eq!(arrows(&graph), ["app bar lib:libbar.so.2 Depends", "app foo libfoo.so Depends"]);
    insta::assert_snapshot!(graph.deptree_text(), @"app:app:bar,libfoo.so;bar:bar:;foo:foo,libfoo.so:;other:other:");
}

#[test]
fn what_is_provided_for_one_architecture_is_provided_there_alone() {
    let packages = [package("app", &["depends = libfoo"]), package("foo", &["provides_aarch64 = libfoo"])];
    assert_eq!(arrows(&graph(&packages)), [""; 0]);
    let other = Graph::build_for("aarch64", packages.iter(), &BTreeSet::new());
    assert_eq!(arrows(&other), ["app foo libfoo Depends"]);
}

#[test]
fn of_several_providers_the_nearest_by_name_is_chosen() {
    let provides = ["provides = wayland"];
    let packages = [
        package("app", &["depends = wayland"]),
        package("aaa", &provides),
        package("wayland-chromium", &provides),
        package("wayland-git", &provides),
        package("wayland-hg", &provides),
    ];
    assert_eq!(texts(graph(&packages).direct(&name("app"))), ["wayland-hg"]);
    let reversed: Vec<_> = packages.into_iter().rev().collect();
    assert_eq!(texts(graph(&reversed).direct(&name("app"))), ["wayland-hg"]);
}

#[test]
fn a_package_never_waits_for_itself() {
    let graph = graph(&[
        package("foo", &["depends = foo-data", "makedepends = foo", "pkgname = foo", "pkgname = foo-data"]),
        package("rust-git", &["makedepends = rust", "provides = rust"]),
        package("rust", &["pkgname = rust-other", "provides = rust"]),
    ]);
    assert_eq!(arrows(&graph), [""; 0]);
}

/// Chaotic's list of names drops every name with a dot or a plus sign, shifts what is left by a field,
/// and lets a package without `.SRCINFO` provide the empty string (D5).
#[test]
fn names_with_dots_and_plus_signs_survive_and_no_package_answers_to_nothing() {
    let graph = graph(&[
        package("speedtest++", &["makedepends = git", "depends = c++utilities", "provides = speed.test=1"]),
        package("c++utilities", &["depends = guile1.8"]),
        package("guile1.8", &[]),
        package("python-jaraco.vcs", &["checkdepends = speedtest++"]),
        package("user", &["depends = speed.test"]),
        without_srcinfo("mesa-tkg-git"),
    ]);
    assert_eq!(
        graph.deptree_text(),
        "c++utilities:c++utilities:guile1.8;guile1.8:guile1.8:;python-jaraco.vcs:python-jaraco.vcs:speedtest++;\
         speedtest++:speed.test,speedtest++:c++utilities;user:user:speed.test"
    );
    assert_eq!(
        texts(&graph.order()),
        ["guile1.8", "c++utilities", "mesa-tkg-git", "speedtest++", "python-jaraco.vcs", "user"]
    );
    assert_eq!(texts(graph.direct(&name("mesa-tkg-git"))), [""; 0]);
}

#[test]
fn chaotic_manager_arrives_at_the_same_edges() {
    let packages = [
        package("app", &["depends = lib", "makedepends = tool", "depends = glibc"]),
        package("lib", &[]),
        package("zz-lib-git", &["provides = lib", "provides = tool"]),
        package("tool-git", &["provides = tool", "depends = lib"]),
        package("glibc-eac", &["provides = glibc"]),
    ];
    let graph = Graph::build(packages.iter(), &BTreeSet::from(["glibc".to_owned()]));
    let text = graph.deptree_text();
    let entries: Vec<Vec<&str>> = text.split(';').map(|entry| entry.split(':').collect()).collect();
    let mut owner = BTreeMap::new();
    for entry in &entries {
        owner.extend(entry[1].split(',').map(|name| (name, entry[0])));
    }
    let mut theirs = BTreeSet::new();
    for entry in &entries {
        theirs.extend(entry[2].split(',').filter_map(|need| owner.get(need)).map(|to| (entry[0], *to)));
    }
    let ours: BTreeSet<_> = graph.edges().iter().map(|edge| (edge.from.as_str(), edge.to.as_str())).collect();
    assert_eq!(theirs, ours);
    assert_eq!(ours.len(), 3);
}

#[test]
fn a_cycle_is_flagged_and_everything_is_still_ordered() {
    let graph = graph(&[
        package("a", &["depends = b"]),
        package("b", &["depends = c"]),
        package("c", &["depends = a"]),
        package("before", &[]),
        package("c-user", &["depends = c"]),
        package("a-lone", &[]),
    ]);
    assert_eq!(graph.cycles().iter().map(|cycle| texts(cycle)).collect::<Vec<_>>(), [["a", "b", "c"]]);
    assert_eq!(texts(&graph.order()), ["c", "b", "a", "a-lone", "before", "c-user"]);
}

#[test]
fn weak_needs_give_way_first_in_a_cycle() {
    let tests_need_it = graph(&[package("a", &["checkdepends = b"]), package("b", &["depends = a"])]);
    assert_eq!(texts(&tests_need_it.order()), ["a", "b"]);
    let builds_need_it = graph(&[package("a", &["makedepends = b"]), package("b", &["depends = a"])]);
    assert_eq!(texts(&builds_need_it.order()), ["a", "b"]);
    let wave = builds_need_it.wave(&set(&["a", "b"]));
    assert_eq!(texts(&wave[&name("a")].members), [""; 0]);
    assert_eq!(texts(&wave[&name("b")].members), ["a"]);
}

#[test]
fn a_wave_sees_through_packages_that_are_not_in_it() {
    let graph = graph(&[
        package("top", &["depends = middle", "depends = near"]),
        package("middle", &["depends = bottom", "depends = near"]),
        package("near", &["depends = bottom"]),
        package("bottom", &[]),
    ]);
    let wave = graph.wave(&set(&["bottom", "top", "stranger"]));
    assert_eq!(texts(&wave[&name("top")].members), ["bottom"]);
    assert_eq!(texts(&wave[&name("stranger")].members), [""; 0]);
    let wave = graph.wave(&set(&["bottom", "near", "top"]));
    assert_eq!(texts(&wave[&name("top")].members), ["bottom", "near"]);
    let wave = graph.wave(&set(&["near", "middle", "top"]));
    assert_eq!(texts(&wave[&name("top")].members), ["near", "middle"]);
}

#[test]
fn what_is_needed_outside_a_wave_is_known_as_far_as_the_next_member() {
    let graph = graph(&[
        package("top", &["depends = middle", "depends = member"]),
        package("middle", &["depends = bottom"]),
        package("bottom", &["checkdepends = top"]),
        package("member", &["depends = behind-it"]),
        package("behind-it", &[]),
        package("stranger", &[]),
    ]);
    let wave = graph.wave(&set(&["top", "member"]));
    assert_eq!(texts(&wave[&name("top")].others), ["bottom", "middle"]);
    assert_eq!(texts(&wave[&name("member")].others), ["behind-it"]);
    assert_eq!(texts(&graph.wave(&set(&["bottom"]))[&name("bottom")].others), [""; 0]);
}

#[test]
fn dependants_come_in_build_order_without_the_package_itself() {
    let graph = graph(&[
        package("lib", &["checkdepends = app"]),
        package("z-mid", &["depends = lib"]),
        package("app", &["makedepends = z-mid"]),
        package("stranger", &[]),
    ]);
    assert_eq!(texts(&graph.dependants(&name("lib"))), ["z-mid", "app"]);
    assert_eq!(graph.dependants(&name("none")), []);
    assert_eq!(texts(&graph.order_of(&set(&["app", "z-mid", "none"]))), ["z-mid", "app"]);
}

#[test]
fn the_document_has_the_fields_of_the_contract() {
    let graph = graph(&[package("app", &["makedepends = lib>=2"]), package("lib", &[])]);
    insta::assert_json_snapshot!(graph.document(Some(&set(&["app"]))), @r#"
    {
      "nodes": [
        "app",
        "lib"
      ],
      "edges": [
        {
          "from": "app",
          "to": "lib",
          "via": "lib",
          "kind": "makedepends"
        }
      ],
      "cycles": [],
      "order": [
        "app"
      ]
    }
    "#);
}

#[test]
fn dot_keeps_names_that_graphviz_would_misread() {
    let graph = graph(&[package("c++", &["depends = we\"ird\\"]), package("b", &["provides = we\"ird\\"])]);
    insta::assert_snapshot!(graph.dot(), @r#"
    digraph packages {
      rankdir=LR;
      node [shape=box];
      "b";
      "c++";
      "c++" -> "b" [tooltip="we\"ird\\", style=solid];
    }
    "#);
}

#[test]
fn a_chain_and_a_ring_as_long_as_the_repository_do_not_overflow_the_stack() {
    for ring in [false, true] {
        let packages: Vec<_> = (0..20_000_u32)
            .map(|number| {
                let needs = if number > 0 { Some(number - 1) } else { ring.then_some(19_999) };
                let line = needs.map(|needs| format!("depends = p{needs:05}")).unwrap_or_default();
                package(&format!("p{number:05}"), &[&line])
            })
            .collect();
        let graph = graph(&packages);
        assert_eq!(graph.cycles().len(), usize::from(ring));
        assert_eq!(graph.order().len(), 20_000);
        assert!(graph.order().windows(2).filter(|pair| pair[0] > pair[1]).count() <= 1);
    }
}

proptest! {
    #[test]
    fn any_graph_is_ordered_completely_and_only_cycles_break_the_order(
        arcs in proptest::collection::vec((0..12_u8, 0..12_u8, 0..3_u8), 0..40),
        some in proptest::collection::btree_set(0..12_u8, 0..12),
    ) {
        let fields = ["depends", "makedepends", "checkdepends"];
        let text = |number: u8| format!("p{number:02}");
        let packages: Vec<_> = (0..12)
            .map(|number| {
                let lines: Vec<_> = arcs.iter().filter(|arc| arc.0 == number)
                    .map(|arc| format!("{} = {}", fields[arc.2 as usize], text(arc.1))).collect();
                package(&text(number), &lines.iter().map(String::as_str).collect::<Vec<_>>())
            })
            .collect();
        let graph = graph(&packages);
        let order = graph.order();
        let place: BTreeMap<_, _> = order.iter().zip(0..).collect();
        prop_assert_eq!(place.len(), 12);
        for edge in graph.edges() {
            let in_cycle = graph.cycles().iter().any(|cycle| cycle.contains(&edge.from) && cycle.contains(&edge.to));
            prop_assert!(in_cycle || place[&edge.to] < place[&edge.from], "{:?}", edge);
        }
        for cycle in graph.cycles() {
            for member in cycle {
                let reached = graph.dependants(member);
                prop_assert!(cycle.iter().all(|other| other == member || reached.contains(other)));
            }
        }
        let some = some.into_iter().map(|number| name(&text(number))).collect();
        for (member, before) in graph.wave(&some) {
            prop_assert!(before.members.iter().all(|other| some.contains(other) && place[other] < place[&member]));
            prop_assert!(before.others.iter().all(|other| !some.contains(other) && place[other] < place[&member]));
        }
    }
}
