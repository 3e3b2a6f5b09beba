//! Packages are built anew when a shared library that they need is gone: real ELF files, made by gcc in real builds.

use std::collections::BTreeSet;
use std::time::Duration;

use pkgwarden::app::Serving;
use pkgwarden::controller::face::{BuildFilter, Face as _};
use pkgwarden::controller::supervise;
use pkgwarden::domain::library::soname::Soname;
use pkgwarden::domain::plan::Pipeline;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::support::pacman::{Binary, Mirror};
use crate::support::scene::{MAIN, base};
use crate::support::{Change, Pkg, Scene};

/// More than any build here takes, on a slow machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(5);

/// What the repository is called in the record.
const NAME: &str = "packages";

/// A package of one file in `/usr/lib` or `/usr/bin` that gcc makes of a line of C.
struct Native {
    name: &'static str,
    version: &'static str,
    /// `libfoo.so.1`; a program if there is none.
    soname: Option<&'static str>,
    /// Packages it needs; it is linked with what is named like them.
    needs: &'static [&'static str],
}

impl Native {
    fn changes(&self) -> Vec<Change> {
        let Self { name, version, soname, needs } = self;
        let links: Vec<String> = needs.iter().map(|name| format!("-l{}", name.trim_start_matches("lib"))).collect();
        let gcc =
            format!("gcc -x c - -L/deps/usr/lib -Wl,--no-as-needed -Wl,--allow-shlib-undefined {}", links.join(" "));
        let (build, package) = match soname {
            Some(soname) => (
                format!(
                    "echo 'int {name}(void) {{ return 1; }}' | {gcc} -shared -fPIC -Wl,-soname,{soname} -o {soname}"
                ),
                format!(
                    "install -Dm755 {soname} \"$pkgdir/usr/lib/{soname}\"\n  ln -s {soname} \"$pkgdir/usr/lib/{name}.so\""
                ),
            ),
            None => (
                format!("echo 'int main(void) {{ return 0; }}' | {gcc} -o {name}"),
                format!("install -Dm755 {name} \"$pkgdir/usr/bin/{name}\""),
            ),
        };
        let pkgbuild = format!(
            "pkgname={name}\npkgver={version}\npkgrel=1\npkgdesc=\"A thing\"\narch=(x86_64)\nurl=\"https://example.org\"\n\
             license=(MIT)\ndepends=({})\noptions=(!debug)\n\nbuild() {{\n  {build}\n}}\n\npackage() {{\n  {package}\n}}\n",
            needs.join(" ")
        );
        let depends: Vec<String> = needs.iter().map(|name| format!("\tdepends = {name}\n")).collect();
        let depends = depends.concat();
        let srcinfo = format!(
            "pkgbase = {name}\n\tpkgdesc = A thing\n\tpkgver = {version}\n\tpkgrel = 1\n\turl = https://example.org\n\
             \tarch = x86_64\n\tlicense = MIT\n{depends}\toptions = !debug\n\npkgname = {name}\n"
        );
        let file = |path: &str, text: String| Change::put(&format!("{name}/{path}"), text);
        let config = "CI_PKGBUILD_SOURCE=custom\n".to_owned();
        vec![file("PKGBUILD", pkgbuild), file(".SRCINFO", srcinfo), file(".CI/config", config)]
    }
}

fn libfoo(version: &'static str, soname: &'static str) -> Native {
    Native { name: "libfoo", version, soname: Some(soname), needs: &[] }
}

/// `libbar` and `tool` are linked with `libfoo`, `tool` with `libbar` too; `other` with none of them.
fn users() -> Vec<Change> {
    let libbar = Native { name: "libbar", version: "1.0", soname: Some("libbar.so.1"), needs: &["libfoo"] };
    let tool = Native { name: "tool", version: "1.0", soname: None, needs: &["libbar", "libfoo"] };
    let other = Native { name: "other", version: "1.0", soname: None, needs: &[] };
    [libbar, tool, other].iter().flat_map(Native::changes).collect()
}

/// Hands out what is enqueued until nothing is left to do.
async fn build_all(serving: &Serving) {
    let stop = CancellationToken::new();
    let dispatcher = serving.dispatcher.clone().unwrap();
    let running = tokio::spawn(dispatcher.clone().run(stop.clone()));
    let store = serving.controller.store();
    let ended = async {
        let mut changes = store.subscribe();
        let busy = async || {
            !store.queue(None).await.unwrap().is_empty() || !store.pending_removals(NAME).await.unwrap().is_empty()
        };
        while busy().await {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("the builds end");
    stop.cancel();
    running.await.unwrap();
    // What is on record may not be cleared up yet, and whoever is put together next clears up, too.
    dispatcher.drain(PATIENCE).await;
}

/// Somebody pushes, and everything that follows is built.
async fn pushed_and_built(scene: &Scene, message: &str, changes: &[Change]) {
    scene.push(message, changes).await;
    let serving = scene.controller();
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    build_all(&serving).await;
    scene.later();
}

/// What a schedule does, and everything that follows is built.
async fn scheduled_and_built(scene: &Scene) -> String {
    let told = scene.told(Pipeline::OnSchedule).await;
    build_all(&scene.controller()).await;
    scene.later();
    told
}

#[tokio::test]
async fn a_new_soname_rebuilds_exactly_its_users_in_order_and_a_new_version_nobody() {
    let scene = Scene::of(&[]).await;
    let all: Vec<Change> = [libfoo("1.0", "libfoo.so.1").changes(), users()].into_iter().flatten().collect();
    pushed_and_built(&scene, "feat: begin", &all).await;
    insta::assert_snapshot!(scene.builds().await, @"
    libfoo changed succeeded
    libbar changed succeeded
    other changed succeeded
    tool changed succeeded
    ");
    let mut linkage: Vec<_> = scene.store().linkage(NAME).await.unwrap();
    linkage.sort_by(|a, b| a.pkgbase.cmp(&b.pkgbase));
    let told = linkage.iter().map(|it| {
        let list =
            |sonames: &BTreeSet<Soname>| sonames.iter().map(|soname| format!(" {soname}")).collect::<Vec<_>>().concat();
        format!("{} needs{}; has{}", it.pkgbase, list(&it.needs), list(&it.provides))
    });
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"), @"
    libbar needs libc.so.6 libfoo.so.1; has libbar.so libbar.so.1
    libfoo needs libc.so.6; has libfoo.so libfoo.so.1
    other needs libc.so.6; has
    tool needs libbar.so.1 libc.so.6 libfoo.so.1; has
    ");
    insta::assert_snapshot!(scheduled_and_built(&scene).await, @"create refs/heads/state");
    insta::assert_snapshot!(scene.monorepo.file("state", ".soname-state").await.unwrap(), @"
    lib:libbar.so.1 libbar published
    lib:libfoo.so.1 libfoo published
    ");

    pushed_and_built(&scene, "feat(libfoo): 1.1", &libfoo("1.1", "libfoo.so.1").changes()).await;
    assert_eq!(scheduled_and_built(&scene).await, "", "an unrelated version rebuilds nobody");

    pushed_and_built(&scene, "feat(libfoo): 2.0", &libfoo("2.0", "libfoo.so.2").changes()).await;
    insta::assert_snapshot!(scheduled_and_built(&scene).await, @"
    commit libbar: bumped to 1.0-1.1: libfoo.so.1 is gone, libfoo 2.0-1 has libfoo.so.2
    commit tool: bumped to 1.0-1.1: libfoo.so.1 is gone, libfoo 2.0-1 has libfoo.so.2
    build libbar (rebuild)
    build tool (rebuild) after libbar
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    insta::assert_snapshot!(scene.monorepo.git(&["log", "-1", "--format=%B", MAIN]).await, @"
    chore(bump): libbar, tool

    - libbar: bumped to 1.0-1.1: libfoo.so.1 is gone, libfoo 2.0-1 has libfoo.so.2
    - tool: bumped to 1.0-1.1: libfoo.so.1 is gone, libfoo 2.0-1 has libfoo.so.2
    ");
    insta::assert_snapshot!(scheduled_and_built(&scene).await, @"update refs/heads/state");
    assert_eq!(scheduled_and_built(&scene).await, "", "each is rebuilt once");
    let builds = scene.builds().await;
    insta::assert_snapshot!(builds.lines().skip(4).collect::<Vec<_>>().join("\n"), @"
    libfoo changed succeeded
    libfoo changed succeeded
    libbar rebuild succeeded
    tool rebuild succeeded
    ");
    let tool = scene.store().linkage(NAME).await.unwrap().into_iter().find(|it| it.pkgbase.as_str() == "tool");
    let tool = tool.unwrap();
    assert_eq!(tool.version.as_str(), "1.0-1.1");
    assert!(
        tool.needs.iter().any(|it| it.name() == "libfoo.so.2")
            && tool.needs.iter().all(|it| it.name() != "libfoo.so.1")
    );
    scene.ends().await;
}

#[tokio::test]
async fn a_library_of_another_repository_is_followed_and_what_was_never_anywhere_is_told_and_not_rebuilt() {
    let (scene, mirror) = (Scene::of(&[]).await, Mirror::start().await);
    let all: Vec<Change> = [libfoo("1.0", "libfoo.so.1").changes(), users()].into_iter().flatten().collect();
    pushed_and_built(&scene, "feat: begin", &all).await;
    // Who was published here is kept elsewhere from now on.
    let away: Vec<Change> = vec![Change::Remove("libfoo".to_owned())];
    pushed_and_built(&scene, "feat: libfoo is in extra", &away).await;
    let libc = Binary::new("glibc", "2.40-1").files(&["usr/lib/libc.so.6"]);
    let foo = |version: &str, file: &str| Binary::new("foo", version).files(&[file, "usr/lib/libfoo.so"]);
    mirror.holds("extra", "gz", &[libc.clone(), foo("1.0-1", "usr/lib/libfoo.so.1")]).await;
    let config = |file: &str| format!("REPO_NAME=test\nCI_LIB_DB={}\n", mirror.url(file));
    scene.push("ci: databases", &[Change::put(".ci/config", config("extra.files"))]).await;
    scene.run(Pipeline::OnSchedule).await;
    insta::assert_snapshot!(scene.monorepo.file("state", ".soname-state").await.unwrap().replace(&mirror.url(""), "URL/"), @"
    lib:libbar.so.1 libbar published
    lib:libc.so.6 glibc URL/extra.files
    lib:libfoo.so.1 foo URL/extra.files
    ");

    // Neither another version of it nor a database that is away means that the library is gone.
    mirror.holds("extra", "gz", &[libc.clone(), foo("1.0-2", "usr/lib/libfoo.so.1")]).await;
    assert_eq!(scene.told(Pipeline::OnSchedule).await, "update refs/heads/state\n");
    mirror.breaks("extra.files", 503, b"");
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await.replace(&mirror.url(""), "URL/"), @"warning [library-database] URL/extra.files is not known: it answers 503 Service Unavailable; what it had is taken to be unchanged -> it is asked again in the next run; CI_LIB_DB in .ci/config names it");
    mirror.works_again();
    mirror.holds("extra", "gz", &[libc.clone(), foo("2.0-1", "usr/lib/libfoo.so.2")]).await;
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit libbar: bumped to 1.0-1.1: libfoo.so.1 is gone, foo 2.0-1 has libfoo.so.2
    commit tool: bumped to 1.0-1.1: libfoo.so.1 is gone, foo 2.0-1 has libfoo.so.2
    build libbar (rebuild)
    build tool (rebuild) after libbar
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    warning [library-missing] libbar: libfoo.so.1 is gone, and it was rebuilt for that once -> if a newer build is under way, wait for it; else the package has to be mended
    warning [library-missing] tool: libfoo.so.1 is gone, and it was rebuilt for that once -> if a newer build is under way, wait for it; else the package has to be mended
    ");

    // A library that nobody ever had.
    mirror.holds("moved", "gz", &[foo("2.0-1", "usr/lib/libfoo.so.1")]).await;
    scene.push("ci: another place", &[Change::put(".ci/config", config("moved.files"))]).await;
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    update refs/heads/state
    update refs/tags/scheduled
    warning [library-missing] libbar: it needs libc.so.6, which no known repository has -> add the database that has it to CI_LIB_DB, or mend the package; rebuilding would not help
    warning [library-missing] other: it needs libc.so.6, which no known repository has -> add the database that has it to CI_LIB_DB, or mend the package; rebuilding would not help
    warning [library-missing] tool: it needs libc.so.6, which no known repository has -> add the database that has it to CI_LIB_DB, or mend the package; rebuilding would not help
    ");
    scene.ends().await;
}

#[tokio::test]
async fn a_published_library_that_is_gone_and_that_others_need_starts_the_next_pass_at_once() {
    let scene = Scene::of(&[]).await;
    let tool = Native { name: "tool", version: "1.0", soname: None, needs: &["libfoo"] };
    let all = [libfoo("1.0", "libfoo.so.1"), tool].iter().flat_map(Native::changes).collect::<Vec<_>>();
    pushed_and_built(&scene, "feat: begin", &all).await;
    scene.push("feat(libfoo): 2.0", &libfoo("2.0", "libfoo.so.2").changes()).await;
    let serving = scene.controller();
    serving.controller.start(Pipeline::OnCommit, "test").await.unwrap();
    // By the clock of the scene, which stands still, no schedule is ever due.
    let (stop, loops) = (CancellationToken::new(), TaskTracker::new());
    supervise::start(&serving.controller, &loops, &stop);
    let running = tokio::spawn(serving.dispatcher.clone().unwrap().run(stop.clone()));
    let ended = async {
        let mut changes = serving.controller.store().subscribe();
        while !scene.builds().await.contains("tool rebuild succeeded") {
            changes.changed().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.expect("everything is built");
    stop.cancel();
    loops.close();
    loops.wait().await;
    running.await.unwrap();
    let runs = scene.store().runs(None, None, 100).await.unwrap();
    let passes: Vec<&str> = runs.iter().filter(|run| run.pipeline == "on-schedule").map(|run| &*run.cause).collect();
    assert_eq!(passes, ["library"]);
    let newest = BuildFilter { pkgbase: Some(base("tool")), limit: 1, state: None };
    let newest = serving.controller.builds(newest).await.unwrap();
    let build = serving.controller.build(&newest[0].id).await.unwrap().unwrap();
    let why = "bumped to 1.0-1.1: libfoo.so.1 is gone, libfoo 2.0-1 has libfoo.so.2";
    assert_eq!((build.build.reason.as_str(), build.why.as_deref()), ("rebuild", Some(why)));
    scene.ends().await;
}

#[tokio::test]
async fn of_packages_that_are_published_elsewhere_what_they_declare_is_followed_and_the_rest_is_said_to_be_unknown() {
    let (mut scene, mirror) = (Scene::of(&[Pkg::new("app"), Pkg::new("other")]).await, Mirror::start().await);
    scene.env.insert("PKGWARDEN__EXECUTOR__KIND".to_owned(), "none".to_owned());
    let app = Binary::new("app", "1.0-1.2").needs(&["glibc", "libfoo.so=1-64"]);
    mirror.holds("test", "gz", &[app, Binary::new("other", "1.0-1").needs(&["foo"])]).await;
    let foo = |version: &str, file: &str| Binary::new("foo", version).files(&[file]);
    mirror.holds("extra", "gz", &[foo("1.0-1", "usr/lib/libfoo.so.1")]).await;
    let config = format!("REPO_NAME=test\nCI_LIB_DB=\"{} {}\"\n", mirror.url("test.db"), mirror.url("extra.files"));
    scene.push("ci: databases", &[Change::put(".ci/config", config)]).await;
    scene.run(Pipeline::OnSchedule).await;
    let state = scene.monorepo.file("state", ".soname-state").await.unwrap();
    insta::assert_snapshot!(state.replace(&mirror.url(""), "URL/"), @"lib:libfoo.so.1 foo URL/extra.files");
    mirror.holds("extra", "gz", &[foo("2.0-1", "usr/lib/libfoo.so.2")]).await;
    scene.later();
    insta::assert_snapshot!(scene.told(Pipeline::OnSchedule).await, @"
    commit app: bumped to 1.0-1.3: libfoo.so.1 is gone, foo 2.0-1 has libfoo.so.2
    build app (rebuild)
    update refs/heads/main
    update refs/heads/state
    update refs/tags/scheduled
    ");
    let explained = scene.pkgwarden(&["explain", "other"]).await.text();
    let told = explained.lines().find(|line| line.trim_start().starts_with("libraries")).unwrap_or_default();
    assert!(told.contains("not known: its files are published elsewhere (executor.kind = \"none\")"), "{explained}");
    scene.ends().await;
}
