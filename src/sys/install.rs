//! Which packages of a distribution hold the programs we call.

/// Which packages of Debian and Arch hold the programs we call.
const PACKAGES: [(&str, &str, &str); 24] = [
    ("bsdtar", "libarchive-tools", "libarchive"),
    ("bwrap", "bubblewrap", "bubblewrap"),
    ("bzr", "bzr", "breezy"),
    ("docker", "docker.io", "docker"),
    ("fakeroot", "fakeroot", "fakeroot"),
    ("git", "git", "git"),
    ("gpg", "gnupg", "gnupg"),
    ("hg", "mercurial", "mercurial"),
    ("makepkg", "makepkg", "pacman"),
    ("nvchecker", "nvchecker", "nvchecker"),
    ("pacman", "pacman-package-manager", "pacman"),
    ("pacman-conf", "pacman-package-manager", "pacman"),
    ("patch", "patch", "patch"),
    ("podman", "podman", "podman"),
    ("prlimit", "util-linux", "util-linux"),
    ("redis-server", "redis-server", "valkey"),
    ("repo-add", "pacman-package-manager", "pacman"),
    ("repo-remove", "pacman-package-manager", "pacman"),
    ("setpriv", "util-linux", "util-linux"),
    ("shfmt", "shfmt", "shfmt"),
    ("ssh", "openssh-client", "openssh"),
    ("svn", "subversion", "subversion"),
    ("vercmp", "makepkg", "pacman"),
    ("zstd", "zstd", "zstd"),
];

/// What to install to get a program, as the rest of a sentence; empty for a program we do not know.
#[must_use]
pub fn what_to_install(program: &str) -> String {
    let name = program.rsplit('/').next().unwrap_or(program);
    match PACKAGES.iter().find(|(known, ..)| *known == name) {
        Some((_, debian, arch)) => {
            format!(": install it with `apt install {debian}` (Debian) or `pacman -S {arch}` (Arch)")
        }
        None => String::new(),
    }
}
