//! Builders that do what they may not, against the real `serve`: nothing of it is published, the controller goes on, and
//! nothing is left.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;
use pkgwarden::builder::artefact::Artefact;
use pkgwarden::builder::remote::{Client, RemoteError, Unwanted};
use pkgwarden::domain::cache::told::Told;
use pkgwarden::domain::job::Job;
use pkgwarden::store::queries::BuildFilter;
use tar::EntryType;

use crate::support::Pkg;
use crate::support::elsewhere::{Elsewhere, archive, as_whole, digest, sha256, told};
use crate::support::scene::names_in;

const FOO: &str = "foo-1.0-2-any.pkg.tar.zst";

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "it is a table of requests, one beside the other")]
async fn requests_that_no_builder_makes_are_refused_and_an_honest_one_is_served_after_them_all() {
    let elsewhere = Elsewhere::of(&["bar", "foo"]).await;
    let mut serve = elsewhere.serve();
    let ended = elsewhere.job().await;
    elsewhere.end(r#"{"status":"failed"}"#).await;
    serve.says("a build ended").await;
    let job = elsewhere.job().await;
    assert_eq!((ended.pkgbase.as_str(), job.pkgbase.as_str()), ("bar", "foo"));
    let (mut told_of, good) = (String::new(), b"not quite a package, but the right bytes".as_slice());
    let mut note = |what: &str, (status, _): (u16, String)| writeln!(told_of, "{what}: {status}").unwrap();

    let address = format!("/api/v1/attempts/{}", job.attempt);
    let (mine, others) = (job.token.as_ref().unwrap().reveal(), ended.token.as_ref().unwrap().reveal());
    for (what, token) in [("no token", ""), ("a wrong token", "Bearer x"), ("not a bearer", &format!("Basic {mine}"))] {
        let head = format!("GET {address}/files HTTP/1.1\r\nAuthorization: {token}");
        note(what, elsewhere.raw(&head, b"").await);
    }
    for (what, method, path) in [
        ("the files with the token of another build", "GET", format!("{address}/files")),
        ("its wish", "GET", format!("{address}/wish")),
        ("its log", "PUT", format!("{address}/log?offset=0")),
        ("its artefacts", "HEAD", format!("{address}/artefacts/{FOO}")),
        ("a build that has ended", "GET", format!("/api/v1/attempts/{}/files", ended.attempt)),
        ("a build that never was", "GET", "/api/v1/attempts/..%2F..%2Frecord/files".to_owned()),
    ] {
        let head = format!("{method} {path} HTTP/1.1\r\nAuthorization: Bearer {others}\r\nContent-Length: 0");
        note(what, elsewhere.raw(&head, b"").await);
    }

    for name in [
        "glibc-9-1-any.pkg.tar.zst",
        "foo-1.0-2-aarch64.pkg.tar.zst",
        "foo-1.0-2-any.pkg.tar.zst.sig",
        "test.db",
        "..",
        "../../../../record.sqlite",
        "%2e%2e%2f%2e%2e%2fattempts.key",
        "..%2f..%2frecord.json",
        "%2fetc%2fpasswd",
        "%5c..%5cfoo-1-1-any.pkg.tar.zst",
        "foo-1.0-2-any.pkg.tar.zst%00",
        "foo-%0a-2-any.pkg.tar.zst",
        "%ff-1.0-2-any.pkg.tar.zst",
        &format!("foo-{}-2-any.pkg.tar.zst", "1".repeat(300)),
    ] {
        let short: String = name.chars().take(40).collect();
        note(&short, elsewhere.put(&job, name, &as_whole(good), good).await);
    }

    let range =
        |text: &str| format!("Content-Length: {}\r\nContent-Range: bytes {text}\r\n{}", good.len(), digest(good));
    let huge = format!("Content-Length: 99999999999\r\n{}", digest(good));
    for (what, headers, body) in [
        ("too large, and says so", huge.as_str(), good),
        ("too large in parts", &range("0-39/99999999999"), good),
        ("a gap", &range("5-44/45"), good),
        ("a range that is none", &range("9-3/40"), good),
        ("a length that is another", &range("0-9/40"), good),
        ("no checksum", "Content-Length: 4\r\n", b"some"),
        ("a checksum that is none", "Content-Length: 4\r\nRepr-Digest: sha-256=:AAAA:\r\n", b"some"),
        ("a checksum of something else", &as_whole(b"these are forty bytes, but other forty. "), good),
        (
            "half of it, called all",
            &format!("Content-Length: 9\r\nContent-Range: bytes 0-8/9\r\n{}", digest(good)),
            &good[..9],
        ),
    ] {
        note(what, elsewhere.put(&job, FOO, headers, body).await);
    }
    elsewhere.put_and_hang_up(&job, FOO, &as_whole(good), &good[..9]).await;
    note("all of it", elsewhere.put(&job, FOO, &as_whole(good), good).await);
    note("once more", elsewhere.put(&job, FOO, &as_whole(good), good).await);
    note("something else in its place", elsewhere.put(&job, FOO, &as_whole(b"evil"), b"evil").await);
    insta::assert_snapshot!(told_of, @r"
    no token: 401
    a wrong token: 401
    not a bearer: 401
    the files with the token of another build: 401
    its wish: 401
    its log: 401
    its artefacts: 401
    a build that has ended: 410
    a build that never was: 401
    glibc-9-1-any.pkg.tar.zst: 403
    foo-1.0-2-aarch64.pkg.tar.zst: 403
    foo-1.0-2-any.pkg.tar.zst.sig: 403
    test.db: 403
    ..: 403
    ../../../../record.sqlite: 404
    %2e%2e%2f%2e%2e%2fattempts.key: 403
    ..%2f..%2frecord.json: 403
    %2fetc%2fpasswd: 403
    %5c..%5cfoo-1-1-any.pkg.tar.zst: 403
    foo-1.0-2-any.pkg.tar.zst%00: 403
    foo-%0a-2-any.pkg.tar.zst: 403
    %ff-1.0-2-any.pkg.tar.zst: 400
    foo-111111111111111111111111111111111111: 403
    too large, and says so: 413
    too large in parts: 413
    a gap: 409
    a range that is none: 400
    a length that is another: 400
    no checksum: 400
    a checksum that is none: 400
    a checksum of something else: 422
    half of it, called all: 422
    all of it: 201
    once more: 200
    something else in its place: 409
    ");

    let files = elsewhere.scene.path(&format!("data/attempts/{}/done", job.attempt));
    assert_eq!(names_in(&files), [FOO]);
    let mode = |path: &str| elsewhere.scene.path(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("data/attempts.key"), mode("data/attempts")), (0o600, 0o700));
    // Honest, though what it has made is no package.
    elsewhere.end(&told(FOO, good)).await;
    serve.says("a build ended").await;
    assert!(
        elsewhere
            .ended("foo")
            .await
            .starts_with("failed (what was built is not published: foo-1.0-2-any.pkg.tar.zst: "),
        "{}",
        elsewhere.ended("foo").await
    );
    assert_eq!(elsewhere.published(), [""; 0]);
    for secret in [mine, others] {
        assert!(!serve.heard.contains(secret), "a token is in the log of the controller");
    }
    elsewhere.is_well().await;
    elsewhere.stops(serve).await;
}

#[tokio::test]
async fn what_is_more_than_the_settings_allow_is_refused_and_what_is_within_them_is_not() {
    const MIB: usize = 1 << 20;
    let mut elsewhere = Elsewhere::of(&["foo"]).await;
    for (name, value) in [("FILE_MIB", "1"), ("BUILD_MIB", "2"), ("FILES", "3")] {
        elsewhere.scene.env.insert(format!("PKGWARDEN__EXECUTOR__UPLOADS__{name}"), value.to_owned());
    }
    let mut serve = elsewhere.serve();
    let job = elsewhere.job().await;
    let put = async |name: &str, length: usize| {
        let bytes = vec![b'x'; length];
        elsewhere.put(&job, name, &as_whole(&bytes), &bytes).await.0
    };
    let [two, three] = ["foo-2-1-any.pkg.tar.zst", "foo-3-1-any.pkg.tar.zst"];
    assert_eq!((put(FOO, MIB + 1).await, put(FOO, MIB).await), (413, 201), "one file");
    assert_eq!((put(two, MIB - 1).await, put(three, 2).await, put(three, 1).await), (201, 413, 201), "all files");
    assert_eq!(put("foo-4-1-any.pkg.tar.zst", 0).await, 413, "how many");
    // Our own builder tells its people which setting it was.
    let large = elsewhere.scene.path(FOO);
    std::fs::write(&large, vec![b'y'; MIB + 1]).unwrap();
    let artefact =
        Artefact { name: two.to_owned(), path: large, size: MIB as u64 + 1, sha256: sha256(&vec![b'y'; MIB + 1]) };
    let refused = Client::of(&job).unwrap().bring(&artefact).await.unwrap_err();
    assert!(matches!(refused, RemoteError::TooLarge { .. }), "it would be as large next time: {refused:?}");
    let refused = refused.to_string();
    assert!(refused.contains("a file may have 1048576 bytes; executor.uploads.file_mib"), "{refused}");
    elsewhere.end(r#"{"status":"failed"}"#).await;
    serve.says("a build ended").await;
    elsewhere.is_well().await;
    elsewhere.stops(serve).await;
}

/// Prints two MiB.
const TALKATIVE: &str = r"#!/bin/sh
head -c 2097152 /dev/zero | tr '\0' x
";

#[tokio::test]
async fn a_log_is_as_long_as_the_settings_allow_and_no_longer() {
    let mut elsewhere = Elsewhere::built_by(&["foo"], TALKATIVE).await;
    elsewhere.scene.env.insert("PKGWARDEN__EXECUTOR__LOG_MIB".to_owned(), "1".to_owned());
    let mut serve = elsewhere.serve();
    serve.says("a build ended").await;
    assert_eq!(elsewhere.ended("foo").await, "failed (the build printed more than a log may hold)");
    elsewhere.stops(serve).await;
}

/// Builds of each package, what is brought for it, and what is told of it.
#[tokio::test]
async fn packages_that_are_not_what_was_ordered_reach_nobody() {
    let names = ["arch", "base", "device", "escape", "foreign", "link", "other", "version", "void"];
    let elsewhere = Elsewhere::of(&names).await;
    let mut serve = elsewhere.serve();
    let evil = elsewhere.make("evil", &Pkg::new("glibc").version("9").folder()).await;
    let evil = std::fs::read(evil).unwrap();
    let mut how = String::new();
    for package in names {
        let job = elsewhere.job().await;
        assert_eq!(job.pkgbase, package);
        let name = format!("{package}-1.0-2-any.pkg.tar.zst");
        let info = |base: &str, version: &str, arch: &str| {
            format!(
                "pkgname = {package}\npkgbase = {base}\npkgver = {version}\npkgdesc = x\nurl = \nbuilddate = 1700000000\n\
                 packager = Nobody\nsize = 1\narch = {arch}\n"
            )
        };
        let (right, file) = (info(package, "1.0-2", "any"), EntryType::Regular);
        let other_info = match package {
            "arch" => info(package, "1.0-2", "aarch64"),
            "base" => info("glibc", "1.0-2", "any"),
            "version" => info(package, "9.0-1", "any"),
            _ => right.clone(),
        };
        let info = (".PKGINFO", file, other_info.as_bytes());
        let entries = match package {
            "link" => vec![(".PKGINFO", EntryType::Symlink, b"".as_slice())],
            "device" => vec![(".PKGINFO", EntryType::Char, b"".as_slice()), info],
            // Two readers would see two packages.
            "escape" => {
                vec![("./.PKGINFO", file, b"pkgname = glibc\n".as_slice()), ("../../etc/passwd", file, b"x"), info]
            }
            _ => vec![info],
        };
        let bytes = match package {
            // A real package of something else, under our name.
            "other" => evil.clone(),
            _ => archive(&elsewhere.scene.path("crafted"), &entries),
        };
        let foreign = "glibc-9-1-any.pkg.tar.zst";
        if package != "void" {
            assert_eq!(elsewhere.put(&job, &name, &as_whole(&bytes), &bytes).await.0, 201, "{package}");
        }
        elsewhere.end(&told(if package == "foreign" { foreign } else { &name }, &bytes)).await;
        serve.says("a build ended").await;
        writeln!(how, "{package}: {}", elsewhere.ended(package).await).unwrap();
        assert_eq!(elsewhere.published(), [""; 0], "{package}");
    }
    insta::assert_snapshot!(how, @r"
    arch: failed (what was built is not published: arch-1.0-2-any.pkg.tar.zst: its architecture is `aarch64`, not `x86_64`; build it for the repository's; arch-1.0-2-any.pkg.tar.zst: its name is `arch-1.0-2-any.pkg.tar.zst`, not `arch-1.0-2-aarch64.pkg.tar.zst`; leave it as makepkg named it)
    base: failed (what was built is not published: base-1.0-2-any.pkg.tar.zst: its pkgbase is `glibc`, not `base`; a build yields only its own package)
    device: failed (what was built is not published: device-1.0-2-any.pkg.tar.zst: its .PKGINFO cannot be read: its .PKGINFO is no ordinary file; build it with makepkg, packed with zstd)
    escape: failed (what was built is not published: escape-1.0-2-any.pkg.tar.zst: its .PKGINFO is not the same to every reader of the archive; build it with makepkg, packed with zstd)
    foreign: failed (this build does not make `glibc-9-1-any.pkg.tar.zst`)
    link: failed (what was built is not published: link-1.0-2-any.pkg.tar.zst: its .PKGINFO cannot be read: its .PKGINFO is no ordinary file; build it with makepkg, packed with zstd)
    other: failed (what was built is not published: other-1.0-2-any.pkg.tar.zst: its pkgbase is `glibc`, not `other`; a build yields only its own package; other-1.0-2-any.pkg.tar.zst: its version is `9-1`, not `1.0-2`; the version is that of the commit, with its bump; other-1.0-2-any.pkg.tar.zst: its name is `other-1.0-2-any.pkg.tar.zst`, not `glibc-9-1-any.pkg.tar.zst`; leave it as makepkg named it)
    version: failed (what was built is not published: version-1.0-2-any.pkg.tar.zst: its version is `9.0-1`, not `1.0-2`; the version is that of the commit, with its bump; version-1.0-2-any.pkg.tar.zst: its name is `version-1.0-2-any.pkg.tar.zst`, not `version-9.0-1-any.pkg.tar.zst`; leave it as makepkg named it)
    void: ready (`void-1.0-2-any.pkg.tar.zst` was told of, but not brought)
    ");
    elsewhere.is_well().await;
    elsewhere.stops(serve).await;
}

#[tokio::test]
async fn what_builders_keep_of_a_package_counts_no_more_when_a_build_of_it_made_another_one() {
    let elsewhere = Elsewhere::of(&["foo"]).await;
    let mut serve = elsewhere.serve();
    let job = elsewhere.job().await;
    assert_eq!(job.caches.condemned, 0);
    let bytes = archive(&elsewhere.scene.path("crafted"), &[(".PKGINFO", EntryType::Symlink, b"".as_slice())]);
    assert_eq!(elsewhere.put(&job, FOO, &as_whole(&bytes), &bytes).await.0, 201);
    elsewhere.end(&told(FOO, &bytes)).await;
    serve.says("what its builds kept for the next one is not found any more").await;
    serve.says("a build ended").await;

    let keeps = Pkg::new("foo").release("3").config("BUILDER_CACHE_SOURCES=true\n");
    elsewhere.scene.push("feat(foo): keep sources", &keeps.changes()).await;
    let job = elsewhere.job().await;
    assert_eq!((job.caches.sets.len(), job.caches.condemned), (1, 1), "it is told so with what it may keep");
    elsewhere.end(r#"{"status":"failed"}"#).await;
    serve.says("a build ended").await;
    elsewhere.stops(serve).await;
}

#[tokio::test]
async fn what_builders_keep_of_a_set_counts_no_more_when_it_is_invalidated_at_the_controller() {
    let elsewhere = Elsewhere::of(&["foo"]).await;
    let mut serve = elsewhere.serve();
    let invalidate = async |name: &str| elsewhere.scene.pkgwarden(&["ctl", "cache", "invalidate", name]).await;
    let first = elsewhere.job().await;
    let digest = "ab".repeat(32);
    let used = serde_json::json!([{
        "action": "used", "repository": "packages", "pkgbase": "foo", "name": "srcdest", "class": "release",
        "key": digest, "sha256": digest, "size": 3, "files": 1, "bytes": 9, "origin": "0-1-x",
        "created": "2026-01-01T00:00:00Z"
    }]);
    Client::of(&first).unwrap().tell_caches(&serde_json::from_value::<Vec<Told>>(used).unwrap()).await.unwrap();
    let (mistyped, known) = (invalidate("scrdest").await, invalidate("srcdest").await);
    assert!(mistyped.code != Some(0) && mistyped.stderr.contains("nothing was kept"), "{}", mistyped.stderr);
    assert_eq!(known.code, Some(0), "{}", known.stderr);
    elsewhere.end(r#"{"status":"failed"}"#).await;
    serve.says("a build ended").await;

    let keeps = Pkg::new("foo").release("3").config("BUILDER_CACHE_SOURCES=true\n");
    elsewhere.scene.push("feat(foo): keep sources", &keeps.changes()).await;
    let job = elsewhere.job().await;
    let told: Vec<_> = job.caches.invalidated.iter().map(|(set, times)| (set.as_str(), *times)).collect();
    assert_eq!(told, [("scrdest", 1), ("srcdest", 1)]);
    elsewhere.end(r#"{"status":"failed"}"#).await;
    serve.says("a build ended").await;
    elsewhere.stops(serve).await;
}

/// An artefact as a builder has it, with random bytes behind the package that count for nothing.
async fn artefact(elsewhere: &Elsewhere, job: &Job) -> Artefact {
    let files = Client::of(job).unwrap().files().await.unwrap();
    let path = elsewhere.make("build", &files).await;
    let bytes = std::fs::read(&path).unwrap();
    let sha256 = sha256(&bytes);
    Artefact { name: path.file_name().unwrap().to_str().unwrap().to_owned(), size: bytes.len() as u64, sha256, path }
}

#[tokio::test]
async fn an_upload_goes_on_after_the_controller_was_killed_in_the_middle_of_it_without_a_build() {
    let elsewhere = Elsewhere::of(&["foo"]).await;
    let mut killed = elsewhere.serve();
    let job = elsewhere.job().await;
    killed.says("a build began").await;
    let made = artefact(&elsewhere, &job).await;
    let bytes = std::fs::read(&made.path).unwrap();
    let half = bytes.len() / 2;
    let headers =
        format!("Content-Length: {half}\r\nContent-Range: bytes 0-{}/{}\r\n{}", half - 1, bytes.len(), digest(&bytes));
    let (status, head) = elsewhere.put(&job, FOO, &headers, &bytes[..half]).await;
    assert!(status == 202 && head.contains(&format!("upload-offset: {half}")), "{head}");
    // Another request is on its way when it dies.
    let rest = format!(
        "Content-Length: {}\r\nContent-Range: bytes {half}-{}/{}\r\n{}",
        bytes.len() - half,
        bytes.len() - 1,
        bytes.len(),
        digest(&bytes)
    );
    let sent = bytes.len() - 5;
    tokio::join!(elsewhere.put(&job, FOO, &rest, &bytes[half..sent]), async { killed.signal(Signal::SIGKILL) });
    assert_eq!(killed.ended().await.0, None);

    // The client waits for the next controller, and goes on.
    let client = Client::of(&job).unwrap();
    let bringing = tokio::spawn({
        let (client, made) = (client.clone(), made.clone());
        async move { client.bring(&made).await }
    });
    let mut serve = elsewhere.serve();
    let claim = bringing.await.unwrap().unwrap();
    let there = elsewhere.scene.path(&format!("data/attempts/{}/done/{FOO}", job.attempt));
    assert!(std::fs::read(there).unwrap() == bytes, "the bytes are the same");
    assert_eq!((claim.name.as_str(), claim.size), (FOO, bytes.len() as u64));
    elsewhere.end(&told(FOO, &bytes)).await;
    serve.says("a build ended").await;
    assert_eq!(elsewhere.ended("foo").await, "succeeded ()");
    assert_eq!(elsewhere.published(), [FOO]);
    assert!(std::fs::read(elsewhere.scene.path("published/packages").join(FOO)).unwrap() == bytes);
    let builds = elsewhere.scene.store().builds(BuildFilter::default(), 9).await.unwrap();
    assert_eq!(
        elsewhere.scene.store().build(builds[0].id).await.unwrap().unwrap().attempts.len(),
        1,
        "it was built once"
    );
    elsewhere.is_well().await;
    assert_eq!(client.until_unwanted().await, Unwanted::Over);
    elsewhere.stops(serve).await;
}
