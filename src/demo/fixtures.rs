//! The packages of the demo as they are embedded in the program: templates in which the world puts
//! the address of its server and the checksums of its tarballs.

use std::fmt::Write as _;

use include_dir::{Dir, include_dir};

use super::recipe::Recipe;
use super::tarball;
use crate::domain::folder::Folder;
use crate::domain::name::PkgBase;

static DEMO: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/fixtures/demo");

/// Stands for `host:port` of the demo's server in a template.
const SERVER: &str = "@SERVER@";
/// Stands for the checksum of the package's tarball in a template.
const TARBALL_SUM: &str = "@SHA256@";
/// Stands for the version in the sources of a tarball.
const VERSION: &str = "@VERSION@";

/// One package as the world starts with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The name of its folder.
    pub pkgbase: PkgBase,
    /// What lies in the monorepo, `.CI/config` included.
    pub folder: Folder,
    /// Its source release, if it is fetched from the server.
    pub tarball: Option<Tarball>,
}

/// A source release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tarball {
    /// `NAME-VERSION.tar.gz`.
    pub name: String,
    /// The compressed archive; always the same for the same name.
    pub bytes: Vec<u8>,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

impl Package {
    /// Whether the AUR has it, and the monorepo takes it from there.
    #[must_use]
    pub fn is_from_aur(&self) -> bool {
        let config = self.folder.get(".CI/config").unwrap_or_default();
        String::from_utf8_lossy(config).lines().any(|line| line == "CI_PKGBUILD_SOURCE=aur")
    }
}

/// The packages of the demo, in alphabetical order, for a server at `address` (`host:port`).
#[must_use]
pub fn packages(address: &str) -> Vec<Package> {
    let folders = DEMO.get_dir("packages").expect("embedded").dirs();
    let mut packages: Vec<Package> = folders.map(|folder| package(folder, address)).collect();
    packages.sort_by(|a, b| a.pkgbase.cmp(&b.pkgbase));
    packages
}

fn package(folder: &Dir<'_>, address: &str) -> Package {
    let template = files(folder);
    let name = folder.path().file_name().and_then(|name| name.to_str()).expect("a fixture has a plain name");
    let version = Recipe::from_folder(&template).expect("a fixture has a recipe").version().to_owned();
    let tarball = release(name, &version);
    let sum = tarball.as_ref().map_or("", |tarball| &tarball.sha256);
    Package {
        pkgbase: PkgBase::new(name).expect("a fixture has a legal name"),
        folder: substituted(&template, &[(SERVER, address), (TARBALL_SUM, sum)]),
        tarball,
    }
}

/// The release of a project of the demo; `None` if the demo has no such project.
#[must_use]
pub fn release(project: &str, version: &str) -> Option<Tarball> {
    let sources = files(DEMO.get_dir(format!("upstream/{project}"))?);
    let news = format!("{project} {version}\n");
    let sources = substituted(&sources, &[(VERSION, version)]).with("NEWS", news);
    let stem = format!("{project}-{version}");
    let bytes = tarball::roll(&stem, &sources);
    Some(Tarball { name: format!("{stem}.tar.gz"), sha256: tarball::sha256(&bytes), bytes })
}

/// The sources of the project that the demo's `-git` package follows.
#[must_use]
pub fn upstream(project: &str) -> Folder {
    DEMO.get_dir(format!("upstream/{project}")).map(files).unwrap_or_default()
}

/// What lies in the monorepo beside the packages.
#[must_use]
pub fn monorepo() -> Folder {
    files(DEMO.get_dir("monorepo").expect("embedded"))
}

/// A small package made of shell alone; `needs` is another package, or nothing.
#[must_use]
pub fn pebble(pkgbase: &PkgBase, source: &str, needs: Option<&PkgBase>) -> Package {
    let mut pkgbuild = format!(
        "# Maintainer: Pia Sand <pia@example.org>\npkgname={pkgbase}\npkgver=1.0\npkgrel=1\n\
         pkgdesc=\"A pebble on the beach\"\narch=('any')\nurl=\"https://example.org/pebbles\"\n\
         license=('GPL-3.0-or-later')\n"
    );
    let mut srcinfo = format!(
        "pkgbase = {pkgbase}\n\tpkgdesc = A pebble on the beach\n\tpkgver = 1.0\n\tpkgrel = 1\n\
         \turl = https://example.org/pebbles\n\tarch = any\n\tlicense = GPL-3.0-or-later\n"
    );
    if let Some(needs) = needs {
        let _ = writeln!(pkgbuild, "depends=('{needs}')");
        let _ = writeln!(srcinfo, "\tdepends = {needs}");
    }
    pkgbuild.push_str(
        "\npackage() {\n  install -d \"$pkgdir/usr/share/pebbles\"\n  \
         printf '%s %s\\n' \"$pkgname\" \"$pkgver\" > \"$pkgdir/usr/share/pebbles/$pkgname\"\n}\n",
    );
    let _ = write!(srcinfo, "\npkgname = {pkgbase}\n");
    let folder = Folder::default()
        .with("PKGBUILD", pkgbuild)
        .with(".SRCINFO", srcinfo)
        .with(".CI/config", format!("CI_PKGBUILD_SOURCE={source}\n"));
    Package { pkgbase: pkgbase.clone(), folder, tarball: None }
}

/// `count` pebbles of the AUR; every third one needs an earlier one, in chains that grow with the
/// logarithm of `count`.
#[must_use]
pub fn pebbles(count: usize) -> Vec<Package> {
    let name = |number: usize| PkgBase::new(&format!("pebble-{number:04}")).expect("legal");
    let needs = |number: usize| (number > 1 && number.is_multiple_of(3)).then(|| name(number / 2));
    (1..=count).map(|number| pebble(&name(number), "aur", needs(number).as_ref())).collect()
}

fn files(dir: &Dir<'_>) -> Folder {
    let mut folder = Folder::default();
    collect(dir, dir, &mut folder);
    folder
}

fn collect(root: &Dir<'_>, dir: &Dir<'_>, folder: &mut Folder) {
    for file in dir.files() {
        let path = file.path().strip_prefix(root.path()).expect("below its root").to_str().expect("plain name");
        *folder = std::mem::take(folder).with(path, file.contents());
    }
    dir.dirs().for_each(|child| collect(root, child, folder));
}

fn substituted(folder: &Folder, values: &[(&str, &str)]) -> Folder {
    let mut result = folder.clone();
    for file in result.files.values_mut() {
        let text = std::str::from_utf8(&file.bytes).expect("a fixture is text");
        let text = values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value));
        file.bytes = text.into_bytes().into();
    }
    result
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::domain::srcinfo::Srcinfo;
    use crate::sys::process::Program;

    const ADDRESS: &str = "127.0.0.1:8999";

    fn write(folder: &Folder, to: &Path) {
        for (path, file) in &folder.files {
            let path = to.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &file.bytes).unwrap();
        }
    }

    /// makepkg refuses to work for root, so root becomes somebody else.
    fn makepkg(folder: &Path, args: &[&str]) -> Program {
        let places = ["BUILDDIR", "PKGDEST", "SRCDEST", "SRCPKGDEST", "LOGDEST"];
        let program = Program::new("makepkg").args(args).current_dir(folder);
        let program = places.iter().fold(program, |program, place| program.env(place, std::env::temp_dir()));
        if nix::unistd::geteuid().is_root() { program.user(65534, 65534) } else { program }
    }

    /// The `.SRCINFO` that makepkg makes of a PKGBUILD.
    async fn srcinfo(folder: &Folder) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        write(folder, path);
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let output = makepkg(path, &["--printsrcinfo"]).run().await.unwrap();
        assert!(output.status.success(), "{}", output.stderr_text());
        String::from_utf8(output.stdout).unwrap()
    }

    async fn assert_srcinfo(name: &str, folder: &Folder) {
        let kept = String::from_utf8_lossy(folder.get(".SRCINFO").unwrap()).into_owned();
        // Versions of makepkg differ in the empty lines at the end.
        assert_eq!(srcinfo(folder).await.trim_end(), kept.trim_end(), "{name}");
    }

    /// What the world makes of a recipe in its course.
    fn changed(package: &Package) -> Folder {
        let recipe = Recipe::from_folder(&package.folder).unwrap();
        let recipe = recipe.with_version(&recipe.next_version(), &"0".repeat(64)).released_again();
        let recipe = recipe.with_source_host(ADDRESS, "mirror.localhost:8999").with_build_line("  true");
        package.folder.clone().with("PKGBUILD", recipe.pkgbuild).with(".SRCINFO", recipe.srcinfo)
    }

    #[tokio::test]
    async fn every_srcinfo_is_what_makepkg_prints() {
        let mut all = packages(ADDRESS);
        all.extend(pebbles(3).split_off(1));
        let folders = all.iter().map(|package| (package.pkgbase.as_str(), package.folder.clone()));
        let later = all.iter().filter(|package| ["banner", "knotwork"].contains(&package.pkgbase.as_str()));
        let later = later.map(|package| ("later", changed(package)));
        let checks = folders.chain(later).map(|(name, folder)| async move { assert_srcinfo(name, &folder).await });
        futures_util::StreamExt::for_each_concurrent(futures_util::stream::iter(checks), 4, |check| check).await;
    }

    #[tokio::test]
    async fn every_recipe_is_sound_shell() {
        for package in packages(ADDRESS).into_iter().chain(pebbles(1)) {
            let text = package.folder.get("PKGBUILD").unwrap().to_vec();
            let output = Program::new("bash").args(["-n", "/dev/stdin"]).stdin_bytes(text).run().await.unwrap();
            assert!(output.status.success(), "{}: {}", package.pkgbase, output.stderr_text());
        }
    }

    #[test]
    fn local_sources_have_the_checksums_that_are_written_down() {
        for package in packages(ADDRESS) {
            let text = String::from_utf8_lossy(package.folder.get(".SRCINFO").unwrap()).into_owned();
            let values = |field: &str| {
                let lines = text.lines().filter_map(|line| line.trim().strip_prefix(field));
                lines.map(str::to_owned).collect::<Vec<_>>()
            };
            for (source, sum) in values("source = ").iter().zip(values("sha256sums = ")) {
                let local = package.folder.get(source).map(tarball::sha256);
                let released = package.tarball.as_ref().filter(|tarball| source.ends_with(&tarball.name));
                let actual = local.or_else(|| released.map(|tarball| tarball.sha256.clone()));
                assert_eq!(sum, actual.unwrap_or_else(|| "SKIP".to_owned()), "{}: {source}", package.pkgbase);
            }
        }
    }

    #[test]
    fn no_placeholder_is_left_and_no_file_is_missing() {
        for package in packages(ADDRESS).into_iter().chain(pebbles(3)) {
            for path in ["PKGBUILD", ".SRCINFO", ".CI/config"] {
                let text = String::from_utf8_lossy(package.folder.get(path).unwrap()).into_owned();
                assert!(![SERVER, TARBALL_SUM, VERSION].iter().any(|name| text.contains(name)), "{text}");
            }
            let facts = Srcinfo::parse(package.folder.get(".SRCINFO").unwrap()).unwrap();
            assert_eq!(facts.pkgbase, package.pkgbase);
        }
        assert!(monorepo().get(".ci/config").is_some());
        assert!(upstream("tidewatch").get("Makefile").is_some());
    }

    #[test]
    fn the_fixtures_hold_every_kind_of_package() {
        let packages = packages(ADDRESS);
        let facts = |name: &str| {
            let package = packages.iter().find(|package| package.pkgbase.as_str() == name).unwrap();
            Srcinfo::parse(package.folder.get(".SRCINFO").unwrap()).unwrap()
        };
        let needs = |name: &str| facts(name).dependencies.into_iter().map(|needed| needed.name).collect::<Vec<_>>();
        let chain = ["numberstation", "primebook", "tally", "libtally"];
        assert!(chain.windows(2).all(|pair| needs(pair[0]) == [pair[1]]), "a chain four deep");
        assert_eq!(facts("glyph").members.len(), 2, "a split package");
        assert_eq!(facts("banner").version.as_str(), "1:3.0.1-1", "an epoch");
        assert!(facts("tidewatch-git").has_floating_source(), "an upstream that moves");
        assert_eq!(needs("abacus++"), ["libtally"], "a plus in the name");
        assert_eq!((needs("pendulum"), needs("metronome")), (vec!["libspring".into()], vec!["libspring".into()]));
        assert_eq!(packages.iter().filter(|package| package.tarball.is_some()).count(), 5, "sources over HTTP");
    }

    #[test]
    fn the_same_release_always_has_the_same_bytes() {
        let (one, other) = (release("banner", "3.0.2").unwrap(), release("banner", "3.0.2").unwrap());
        assert_eq!(one, other);
        assert_ne!(one.sha256, release("banner", "3.0.3").unwrap().sha256);
        assert_eq!(release("no-such-project", "1"), None);
    }
}
