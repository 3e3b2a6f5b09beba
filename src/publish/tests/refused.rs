//! Files that are no packages, or not those of the build.

use super::*;

#[tokio::test]
async fn what_is_not_the_builds_is_refused_with_the_file_and_the_field() {
    let world = world();
    world.publish("victim", "1-1", &["victim"]).await.unwrap();
    let good = pkginfo("foo", "foo", "1-1");
    let file = "foo-1-1-any.pkg.tar.zst";
    let cases = [
        (file, good.replace("pkgbase = foo", "pkgbase = bar"), "package-base"),
        (file, good.replace("pkgver = 1-1", "pkgver = 1-2"), "package-version"),
        (file, good.replace("arch = any", "arch = aarch64"), "package-arch"),
        (file, good.replace("1700000000", "9999999999999999"), "package-build-date"),
        (file, good.replace("1700000000", "soon"), "package-build-date"),
        (file, good.replace("pkgname = foo", "pkgname = ../foo"), "package-name"),
        (file, good.replace("pkgname = foo", "pkgname = victim"), "package-file-name"),
        ("foo-1-1.pkg.tar.zst", good.clone(), "package-file-name"),
        ("victim-1-1-any.pkg.tar.zst", good.replace("pkgname = foo", "pkgname = victim"), "package-not-its-own"),
        (file, format!("{good}a[$(touch${{IFS}}/tmp/pwned)] = x\n"), "package-unreadable"),
        (
            file,
            format!("{good}license = A\nlicense = \nlicense = %REPLACES%\nlicense = victim\n"),
            "package-unreadable",
        ),
        (file, good.replace("pkgver = 1-1", "pkgver = 1-1\r"), "package-unreadable"),
        (file, format!("{good}{}", "license = A\n".repeat(2_000)), "package-unreadable"),
        (file, format!("{good}group = base-devel\n"), "package-prohibited-field"),
        (file, format!("{good}replaces = victim\n"), "package-prohibited-field"),
    ];
    for (file, pkginfo, wanted) in cases {
        let bad = world.pack(file, &pkginfo, "x");
        let sound = world.member("foo", "foo-docs", "1-1");
        let all = expected("foo", "1-1", &["foo", "foo-docs"]);
        let error = world.publisher.publish(&[sound, bad], &all).await.unwrap_err();
        assert!(codes(&error).contains(&wanted), "{error}");
        assert!(error.to_string().contains(file) && error.is_the_builds_fault(), "{error}");
        assert_eq!(world.published(), ["victim 1-1"]);
        assert_eq!(world.files(), ["victim-1-1-any.pkg.tar.zst"]);
    }
}

#[tokio::test]
async fn files_that_are_no_packages_are_refused() {
    let world = world();
    let path = world.root.path().join("foo-1-1-any.pkg.tar.zst");
    for bytes in [&b""[..], b"not a package", &zstd::encode_all(&b"not an archive"[..], 1).unwrap()] {
        std::fs::write(&path, bytes).unwrap();
        let error = world.publisher.publish(&[&path], &expected("foo", "1-1", &["foo"])).await.unwrap_err();
        assert_eq!(codes(&error), ["package-unreadable"], "{error}");
    }
    let none: [&Path; 0] = [];
    let error = world.publisher.publish(&none, &expected("foo", "1-1", &[])).await.unwrap_err();
    assert!(matches!(error, PublishError::Nothing(_)));
}

/// A file of some hundred kilobytes, which a reader of archives takes into memory as what it says it is.
#[tokio::test]
async fn a_package_with_a_huge_header_is_the_packages_fault_and_costs_no_memory() {
    let world = world();
    let mut archive = tar::Builder::new(Vec::new());
    let info = pkginfo("foo", "foo", "1-1");
    let mut header = tar::Header::new_gnu();
    header.set_size(info.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, ".PKGINFO", info.as_bytes()).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_path("././@LongLink").unwrap();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(256 << 20);
    header.set_cksum();
    archive.append(&header, std::io::Read::take(std::io::repeat(0), 256 << 20)).unwrap();
    let path = world.root.path().join("foo-1-1-any.pkg.tar.zst");
    std::fs::write(&path, zstd::encode_all(&*archive.into_inner().unwrap(), 1).unwrap()).unwrap();
    let error = world.publisher.publish(&[&path], &expected("foo", "1-1", &["foo"])).await.unwrap_err();
    assert_eq!(codes(&error), ["package-unreadable"], "{error}");
    assert!(error.to_string().contains("one of its headers is larger than any real one"), "{error}");
    assert!(linkage::read(&path).is_err());
}

/// Whose clock it is that is wrong is not known, and nobody's package fails for it; but nobody gets what is from the future.
#[tokio::test]
async fn a_file_from_the_future_is_not_published_and_nobodys_fault() {
    const DAY: SignedDuration = SignedDuration::from_hours(24);
    let mut world = world();
    let clock = Arc::new(ManualClock::new(Timestamp::from_second(NOW).unwrap()));
    world.publisher = world.publisher.clone().with_clock(clock.clone());
    let built = |days: i64| {
        let info = pkginfo("foo", "foo", "1-1").replace("1700000000", &(NOW + days * 24 * 3600).to_string());
        world.pack("foo-1-1-any.pkg.tar.zst", &info, "x")
    };
    let publish = async |days| world.publisher.publish(&[built(days)], &expected("foo", "1-1", &["foo"])).await;
    let error = publish(3).await.unwrap_err();
    assert!(error.asks_for_another_build() && !error.is_the_builds_fault(), "{error:?}");
    insta::assert_snapshot!(error, @"what was built is not published, because a clock is wrong: foo-1-1-any.pkg.tar.zst: it says that it was built at 2026-01-04T00:00:00Z, and it is 2026-01-01T00:00:00Z by the clock of this machine; set the clock that is wrong: of this machine, of the builder, or of whoever made the commit, whose time makepkg writes; then build it again");
    assert!(publish(100_000).await.unwrap_err().asks_for_another_build(), "a lie is no better");
    assert!(!world.publisher.has_published());
    // What is wrong besides is the build's fault.
    let other = world.publisher.publish(&[built(3)], &expected("bar", "1-1", &["foo"])).await.unwrap_err();
    assert!(other.is_the_builds_fault() && codes(&other).contains(&"package-build-ahead"), "{other}");

    // A clock that is set back is known by what was published before: then there is nothing to build again.
    clock.advance(3 * DAY);
    world.publish("bar", "1-1", &["bar"]).await.unwrap();
    clock.set(Timestamp::from_second(NOW).unwrap());
    let error = publish(3).await.unwrap_err();
    assert!(!error.asks_for_another_build() && !error.is_the_builds_fault(), "{error:?}");
    let said = "by which something was published at 2026-01-04T00:00:00Z; set the clock of this machine";
    assert!(error.to_string().ends_with(said), "{error}");
    clock.advance(3 * DAY);
    publish(3).await.unwrap();
    assert_eq!(world.published(), ["bar 1-1", "foo 1-1"]);
}
