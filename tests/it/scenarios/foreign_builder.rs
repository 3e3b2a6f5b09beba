//! The builder of `docs/builders.md`, as it stands there: a shell, curl, and the real makepkg.

use crate::support::elsewhere::Elsewhere;
use crate::support::scene::write_program;

/// The programs of the document, in order.
fn scripts() -> Vec<String> {
    let document = include_str!("../../../docs/builders.md");
    let after_fence = document.split("```sh\n").skip(1);
    let scripts = after_fence.map(|rest| rest.split("```").next().unwrap().to_owned());
    scripts.filter(|script| script.starts_with("#!")).collect()
}

#[tokio::test]
async fn the_documented_builder_builds_with_the_real_makepkg_and_what_it_brings_is_published() {
    let [builder, program] = scripts().try_into().expect("a builder, and a program that runs it");
    let elsewhere = Elsewhere::built_by(&["foo"], "").await;
    let place = elsewhere.scene.path("build-and-bring");
    write_program(&place, &builder);
    let program = program.replace("ssh builder.example build-and-bring", &place.display().to_string());
    write_program(&elsewhere.scene.path("program"), &program);
    let mut serve = elsewhere.serve();
    serve.says("a build ended").await;
    elsewhere.is_well().await;
    let build = &elsewhere.scene.store().builds(pkgwarden::store::queries::BuildFilter::default(), 1).await.unwrap()[0];
    let attempt = &elsewhere.scene.store().build(build.id).await.unwrap().unwrap().attempts[0];
    let log = std::fs::read_to_string(elsewhere.scene.path(&format!("data/logs/{}.log", attempt.id))).unwrap();
    insta::assert_snapshot!(elsewhere.scene.builds().await, @"foo changed succeeded");
    assert!(log.contains("==> Finished making: foo 1.0-2") && log.ends_with("==> succeeded\n"), "{log}");
    assert_eq!(elsewhere.published(), ["foo-1.0-2-any.pkg.tar.zst"]);

    let bumped = elsewhere.scene.pkgwarden(&["ctl", "bump", "foo"]).await;
    assert_eq!(bumped.code, Some(0), "{}", bumped.stderr);
    serve.says("a build ended").await;
    assert_eq!(elsewhere.published(), ["foo-1.0-2-any.pkg.tar.zst", "foo-1.0-2.1-any.pkg.tar.zst"]);
    elsewhere.stops(serve).await;
}
