//! Rebuilds of a package whose own version stands still: how `CI_PACKAGE_BUMP` counts, and what it
//! makes of a version. How the value is written stands with [`Bump`] itself.

use super::policy::Bump;
use super::version::Version;

/// The bump that asks for one more rebuild, which comes out with a version that was never published.
///
/// `written` is the version of the `.SRCINFO`, `published` the one that builds against it found last. Where
/// upstream commits decide about the version, what is written down is older than what was built: `follows` says
/// that the published version is the one to build again. A `current` bump that was meant for another version is
/// stale, and counting starts anew.
#[must_use]
pub fn next_bump(current: Option<&Bump>, written: &Version, published: Option<&Version>, follows: bool) -> Bump {
    let (_, _, release) = written.parts();
    let built = published.map(|published| unbumped(published, release.unwrap_or("1")));
    let base = match &built {
        Some((base, _)) if follows => base.clone(),
        _ => written.clone(),
    };
    let asked = current.filter(|bump| is_meant_for(bump, &base)).map_or(0, |bump| bump.count);
    let taken = built.filter(|(version, _)| *version == base).map_or(0, |(_, count)| count);
    Bump { version: base, count: asked.max(taken).saturating_add(1) }
}

/// The version that was built, without the bump it was built with, and the count of that. `release` is the pkgrel
/// that the PKGBUILD has.
fn unbumped(published: &Version, release: &str) -> (Version, u32) {
    let Some((front, built)) = published.as_str().rsplit_once('-') else { return (published.clone(), 0) };
    let count = match (release.split_once('.'), built.split_once('.')) {
        // A pkgrel with a part after the dot has that part raised.
        (Some((major, minor)), Some((same, raised))) if same == major => {
            raised.parse::<u32>().ok().zip(minor.parse().ok()).and_then(|(raised, minor)| raised.checked_sub(minor))
        }
        (None, Some((same, count))) if same == release => count.parse().ok(),
        _ => None,
    };
    match (count, release.split_once('.'), built.split_once('.')) {
        (Some(count), ..) => (Version::new(format!("{front}-{release}")), count),
        // Of another pkgrel than the one that is written down now.
        (None, None, Some((major, count))) => (Version::new(format!("{front}-{major}")), count.parse().unwrap_or(0)),
        (None, ..) => (published.clone(), 0),
    }
}

fn is_meant_for(bump: &Bump, version: &Version) -> bool {
    bump.version == *version || effective_version(&bump.version, Some(bump)) == *version
}

/// The version a build of `version` comes out with.
///
/// While the bump still names that version, its pkgrel becomes `pkgrel.N`. A pkgrel that has a part
/// after the dot already gets that part raised by N, because makepkg refuses `1.1.1`.
#[must_use]
pub fn effective_version(version: &Version, bump: Option<&Bump>) -> Version {
    let Some(bump) = bump.filter(|bump| bump.version == *version) else {
        return version.clone();
    };
    let Some((front, release)) = version.as_str().rsplit_once('-') else {
        return version.clone();
    };
    Version::new(format!("{front}-{}", bumped_release(release, bump.count)))
}

fn bumped_release(release: &str, count: u32) -> String {
    let raised = release.split_once('.').and_then(|(major, minor)| {
        let minor = minor.parse::<u64>().ok()?.checked_add(count.into())?;
        Some(format!("{major}.{minor}"))
    });
    raised.unwrap_or_else(|| format!("{release}.{count}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bump(text: &str) -> Bump {
        Bump::parse(text).expect("valid")
    }

    fn version(text: &str) -> Version {
        Version::new(text)
    }

    /// Where nothing is known to be published.
    fn counted(current: Option<&Bump>, written: &str) -> Bump {
        next_bump(current, &version(written), None, false)
    }

    #[test]
    fn both_ways_of_writing_a_bump_are_read() {
        assert_eq!(bump("1.0-1").to_text(), "1.0-1/1");
        assert_eq!(bump("1.0-1/12").to_text(), "1.0-1/12");
        assert_eq!(bump(" 1:r12.abc-3.1/2 ").to_text(), "1:r12.abc-3.1/2");
    }

    #[test]
    fn what_is_not_a_bump_is_refused_with_the_remedy() {
        for text in
            ["", "3", "1.0", "1.0-1/", "1.0-1/0", "1.0-1/+2", "1.0-1/x", "-1", "1.0-x", "1.0-1.", "a:1-1", "1 0-1"]
        {
            let error = Bump::parse(text).expect_err(text);
            assert!(error.to_string().contains("pkgver-pkgrel/N"), "{error}");
        }
    }

    /// Chaotic's `cut -d: -f2` takes the epoch for the version, so these packages are never bumped (D4).
    #[test]
    fn a_package_with_an_epoch_is_bumped_like_any_other() {
        let first = counted(None, "2:1.0-1");
        assert_eq!(first.to_text(), "2:1.0-1/1");
        assert_eq!(effective_version(&version("2:1.0-1"), Some(&first)).as_str(), "2:1.0-1.1");
        let second = counted(Some(&bump(&first.to_text())), "2:1.0-1");
        assert_eq!(second.to_text(), "2:1.0-1/2");
        assert_eq!(counted(Some(&second), "2:1.1-1").to_text(), "2:1.1-1/1");
    }

    #[test]
    fn the_epoch_is_part_of_the_version_a_bump_is_meant_for() {
        let meant = bump("1.0-1/3");
        assert_eq!(effective_version(&version("1:1.0-1"), Some(&meant)).as_str(), "1:1.0-1");
        assert_eq!(effective_version(&version("0:1.0-1"), Some(&meant)).as_str(), "0:1.0-1.3");
        assert_eq!(counted(Some(&meant), "1:1.0-1").to_text(), "1:1.0-1/1");
    }

    #[test]
    fn a_stale_bump_changes_nothing() {
        assert_eq!(effective_version(&version("1.1-1"), Some(&bump("1.0-1/3"))).as_str(), "1.1-1");
        assert_eq!(effective_version(&version("1.0-2"), Some(&bump("1.0-1/3"))).as_str(), "1.0-2");
        assert_eq!(effective_version(&version("1.0-1"), None).as_str(), "1.0-1");
    }

    /// Chaotic's fix 22: the count was taken from a version that was out of date, so the same pkgrel came out again.
    #[test]
    fn a_rebuild_never_comes_out_with_a_version_that_is_published() {
        let cases = [
            // current, written, published, whether upstream decides, the bump
            ("", "1.0-1", "", false, "1.0-1/1"),
            ("1.0-1/2", "1.0-1", "1.0-1.1", false, "1.0-1/3"),
            ("1.0-1/2", "1.0-1", "1.0-1.5", false, "1.0-1/6"),
            ("", "2:1.0-1", "2:1.0-1.3", false, "2:1.0-1/4"),
            ("1.0-1/9", "1.1-1", "1.0-1.9", false, "1.1-1/1"),
            ("", "1.0-2.1", "1.0-2.4", false, "1.0-2.1/4"),
            ("", "r1.a-1", "r9.f-1", true, "r9.f-1/1"),
            ("r9.f-1/1", "r1.a-1", "r9.f-1.1", true, "r9.f-1/2"),
            ("r1.a-1/7", "r1.a-1", "1:r9.f-1.2", true, "1:r9.f-1/3"),
            ("r9.f-1/4", "r1.a-1", "r9.f-1.1", true, "r9.f-1/5"),
            ("", "r1.a-2", "r9.f-1.3", true, "r9.f-1/4"),
            ("", "r1.a-1", "", true, "r1.a-1/1"),
        ];
        for (current, written, published, follows, expected) in cases {
            let current = Bump::parse(current).ok();
            let published = Some(version(published)).filter(|it| !it.as_str().is_empty());
            let next = next_bump(current.as_ref(), &version(written), published.as_ref(), follows);
            assert_eq!(next.to_text(), expected, "{written} {published:?}");
            if let Some(published) = published.filter(|_| follows || !written.starts_with("1.1")) {
                assert!(effective_version(&next.version, Some(&next)) > published, "{written} {published}");
            }
        }
    }

    #[test]
    fn a_release_with_a_dot_stays_one_that_makepkg_takes() {
        assert_eq!(effective_version(&version("1.0-2.1"), Some(&bump("1.0-2.1/2"))).as_str(), "1.0-2.3");
    }

    proptest! {
        #[test]
        fn reading_never_panics_and_round_trips(text in "[0-9:a-z./-]{0,16}|\\PC{0,12}") {
            if let Ok(bump) = Bump::parse(&text) {
                prop_assert_eq!(Bump::parse(&bump.to_text()).expect("its own text"), bump);
            }
        }

        #[test]
        fn every_bump_makes_a_newer_version_than_the_one_before(
            version in "([1-3]:)?[0-9]{1,3}\\.[0-9a-z]{1,4}-[1-9](\\.[0-9])?",
        ) {
            let version = Version::new(version);
            let first = next_bump(None, &version, None, false);
            let second = next_bump(Some(&first), &version, None, false);
            prop_assert!(version < effective_version(&version, Some(&first)));
            prop_assert!(effective_version(&version, Some(&first)) < effective_version(&version, Some(&second)));
        }
    }
}
