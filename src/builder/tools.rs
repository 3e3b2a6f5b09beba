//! Tools that a package needs by what it is called or asks of makepkg, whatever its `makedepends` say. Packages of other
//! build systems count on having them, as on those of `base-devel`.

use crate::domain::name::PkgBase;

use super::pacman::PackageRepository;

/// The end of a name, the program that fetches its sources, and the package that has the program.
const VERSION_CONTROL: [(&str, &str, &str); 4] = [
    ("-git", "/usr/bin/git", "git"),
    ("-svn", "/usr/bin/svn", "subversion"),
    ("-bzr", "/usr/bin/bzr", "breezy"),
    ("-hg", "/usr/bin/hg", "mercurial"),
];

/// The repository without which nothing for 32 bits is built.
const MULTILIB: &str = "multilib";

/// The packages with those tools that the system which a build sees does not have.
#[must_use]
pub fn lacking(
    pkgbase: &PkgBase,
    pkgbuild: &str,
    repositories: &[PackageRepository],
    has: impl Fn(&str) -> bool,
) -> Vec<&'static str> {
    let name = pkgbase.as_str();
    let is_needed = |(end, program, _): &&(&str, &str, &str)| name.ends_with(end) && !has(program);
    let mut packages: Vec<_> = VERSION_CONTROL.iter().filter(is_needed).map(|(.., package)| *package).collect();
    let has_multilib = repositories.iter().any(|repository| repository.name == MULTILIB);
    if name.starts_with("lib32-") && has_multilib && !has("/usr/lib32") {
        packages.push("multilib-devel");
    }
    if wants_ccache(pkgbuild) && !has("/usr/bin/ccache") {
        packages.push("ccache");
    }
    packages
}

/// Whether `ccache` stands in `options=(…)`.
fn wants_ccache(pkgbuild: &str) -> bool {
    let arrays = pkgbuild.split("\noptions=(").skip(1).filter_map(|rest| rest.split(')').next());
    arrays.flat_map(str::split_whitespace).any(|word| word.trim_matches(['\'', '"']) == "ccache")
}

#[cfg(test)]
mod tests {
    use super::super::pacman::Server;
    use super::*;

    fn of(name: &str, pkgbuild: &str, repository: &str, there: &[&str]) -> Vec<&'static str> {
        let server = Server::Url("https://mirror.example/$repo".into());
        let repository = PackageRepository { name: repository.into(), server, sig_level: None, keys: None };
        lacking(&PkgBase::new(name).unwrap(), pkgbuild, &[repository], |path| there.contains(&path))
    }

    #[test]
    fn a_package_has_the_tools_that_its_name_and_options_speak_of() {
        assert_eq!(of("foo-git", "", "core", &[]), ["git"]);
        assert_eq!(of("foo-git", "", "core", &["/usr/bin/git"]), [""; 0]);
        assert_eq!(of("foo-svn", "", "core", &[]), ["subversion"]);
        assert_eq!(of("lib32-foo-hg", "", "multilib", &[]), ["mercurial", "multilib-devel"]);
        assert_eq!(of("lib32-foo", "", "core", &[]), [""; 0], "nobody publishes it");
        let ccache = "pkgname=foo\noptions=(!strip\n  'ccache')\n";
        assert_eq!(of("foo", ccache, "core", &[]), ["ccache"]);
        assert_eq!(of("foo", "pkgname=foo\noptions=(!ccache)\n# ccache\n", "core", &[]), [""; 0]);
    }
}
