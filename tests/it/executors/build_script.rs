//! `examples/command/build.sh` as a runner has it: as root of a machine of its own, with variables that are nobody's business.
//! The machine is this one behind bubblewrap; only what a package needs is not really installed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pkgwarden::sys::process::Program;
use serde_json::json;

use crate::support::scene::{names_in, write_program};
use crate::support::signing::SigningKey;

/// What stands in the place of the machine's own programs. What is asked of pacman is written down.
const PACMAN: &str = "#!/bin/sh\necho \"$(id -un): $*\" >>/tmp/world/pacman\n\
                      [ \"$1\" != -T ] || [ -e /tmp/world/installed ] || { echo 'lib>=2'; exit 127; }\n\
                      [ \"$1\" != -S ] || touch /tmp/world/installed\n";
const USERADD: &str = "#!/bin/sh\nmkdir /home/build && /bin/chown nobody /home/build\n";
const RUNUSER: &str = "#!/bin/sh\nshift 3\nexec setpriv --reuid=nobody --regid=nogroup --clear-groups \"$@\"\n";
const CHOWN: &str = "#!/bin/sh\nshift 2\nexec /bin/chown -R nobody \"$@\"\n";

const PKGBUILD: &str = "pkgname=small\npkgver=1\npkgrel=1\narch=(any)\nmakedepends=('lib>=2')\n\
                        package() {\n  mkdir \"$pkgdir/usr\"\n  echo SEEN\n  env\n  cat /proc/1/environ /proc/$PPID/environ | tr '\\0' '\\n'\n\
                        ln -s /etc/shadow \"$PKGDEST/small-2-1-any.pkg.tar.zst\"\n}\n";

/// Runs it with this document, and gives its status with what it printed.
async fn run(world: &Path, document: &str) -> (Option<i32>, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/command/build.sh");
    let inside = Program::new("bwrap")
        .args([
            "--unshare-pid",
            "--unshare-net",
            "--cap-add",
            "ALL",
            "--ro-bind",
            "/",
            "/",
            "--dev",
            "/dev",
            "--proc",
            "/proc",
            "--tmpfs",
            "/tmp",
        ])
        .args(["--tmpfs", "/home", "--bind"])
        .arg(world)
        .args(["/tmp/world", "--bind"])
        .arg(world.join("etc"))
        .args(["/etc", "--ro-bind"])
        .arg(world.join("bin/pacman"))
        .args(["/usr/bin/pacman", "--ro-bind"])
        .arg(script)
        .args(["/tmp/build.sh", "--chdir", "/tmp/world", "/bin/bash", "/tmp/build.sh"]);
    let path = pkgwarden::sys::env::var("PATH").unwrap_or_default();
    let inside = inside.env("PATH", format!("/tmp/world/bin:{path}")).env("CI_JOB_TOKEN", "s3cret");
    let inside = if document.len() > 96 << 10 {
        fs::write(world.join("build.json"), document).unwrap();
        inside.env("PKGWARDEN_BUILD_FILE", "/tmp/world/build.json")
    } else {
        inside.env("PKGWARDEN_BUILD", document)
    };
    let inside = inside.env("PACKAGE_TAR", "/tmp/world/package.tar");
    let ran = inside.run().await.unwrap();
    (ran.status.code(), String::from_utf8_lossy(&ran.stdout).into_owned() + &ran.stderr_text())
}

async fn world(dir: &Path) {
    world_with(dir, &[]).await;
}

/// A machine whose package has these files, too.
async fn world_with(dir: &Path, more: &[(&str, &str)]) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(dir.join("bin")).unwrap();
    for (name, text) in [("pacman", PACMAN), ("useradd", USERADD), ("runuser", RUNUSER), ("chown", CHOWN)] {
        write_program(&dir.join("bin").join(name), text);
    }
    let copied = Program::new("cp").args(["-a", "/etc"]).arg(dir.join("etc")).run().await.unwrap();
    assert!(copied.status.success(), "{}", copied.stderr_text());
    fs::write(dir.join("etc/pacman.conf"), "# pacman\n[options]\n[core]\nServer = file:///nowhere\n").unwrap();
    // Asked by both users.
    fs::write(dir.join("pacman"), "").unwrap();
    fs::set_permissions(dir.join("pacman"), fs::Permissions::from_mode(0o666)).unwrap();
    let mut package = tar::Builder::new(fs::File::create(dir.join("package.tar")).unwrap());
    for (path, text) in [("PKGBUILD", PKGBUILD)].iter().chain(more) {
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        package.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    package.finish().unwrap();
}

#[tokio::test]
async fn the_keys_of_the_document_are_trusted_by_pacman() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let (told, dir) = (SigningKey::new(), tempfile::tempdir().unwrap());
    world(dir.path()).await;
    let document = json!({
        "pkgbase": "small", "arch": "any", "timeout_s": 60, "source_date_epoch": 1_700_000_000,
        "pacman_repositories": [{"name": "mine", "server": "https://m.example/$repo", "sig_level": "Required"}],
        "pacman_keyrings": [{"name": "mine", "keys": told.public()}],
    });
    let (status, said) = run(dir.path(), &document.to_string()).await;
    assert_eq!(status, Some(0), "{said}");
    let list = Program::new("gpg").args(["--batch", "--no-autostart", "--with-colons", "--list-keys", "--homedir"]);
    let listed = list.arg(dir.path().join("etc/pacman.d/gnupg")).run().await.unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let trusted = |line: &str| line.starts_with("pub:f:") && line.contains(&told.fingerprint[24..]);
    assert!(listed.lines().any(trusted), "{listed}\n{said}");
    let config = fs::read_to_string(dir.path().join("etc/pacman.conf")).unwrap();
    assert!(config.contains("[mine]\nServer = https://m.example/$repo\nSigLevel = Required\n"), "{config}");
}

#[tokio::test]
async fn a_document_that_is_too_long_for_a_variable_is_read_from_its_file() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    world(dir.path()).await;
    let published: Vec<_> = (0..5000).map(|number| format!("package-{number}-1.0-1-any.pkg.tar.zst")).collect();
    let document = json!({
        "pkgbase": "small", "arch": "any", "timeout_s": 60, "source_date_epoch": 1_700_000_000,
        "pacman_repositories": [], "pacman_keyrings": [], "published": published,
    });
    let (status, said) = run(dir.path(), &document.to_string()).await;
    assert_eq!(status, Some(0), "{said}");
}

#[tokio::test]
async fn what_is_built_sees_no_secret_of_the_runner_and_installs_nothing() {
    if !nix::unistd::geteuid().is_root() {
        // Runners are root in a container of their own; somebody else cannot become another user here.
        return;
    }
    let document = json!({
        "pkgbase": "small", "arch": "any", "timeout_s": 60, "source_date_epoch": 1_700_000_000,
        "pacman_repositories": [{"name": "mine", "server": "https://m.example/$repo"}],
    });
    let document = document.to_string();
    for document in [document.clone(), STANDARD.encode(document)] {
        let dir = tempfile::tempdir().unwrap();
        world(dir.path()).await;
        let (status, said) = run(dir.path(), &document).await;
        assert_eq!(status, Some(0), "{said}");
        assert!(said.contains("SEEN") && said.contains("HOME=/home/build"), "{said}");
        assert!(!said.contains("s3cret") && !said.contains("PKGWARDEN_BUILD"), "{said}");
        let out = dir.path().join("out");
        assert_eq!(names_in(&out), ["small-1-1-any.pkg.tar.zst", "status"], "{said}");
        assert_eq!(fs::read_to_string(out.join("status")).unwrap(), "0\n");
        let asked = fs::read_to_string(dir.path().join("pacman")).unwrap();
        assert!(asked.contains("root: -S --noconfirm --needed --asdeps -- lib>=2\n"), "{asked}");
        assert!(!asked.contains("nobody: -S"), "{asked}");
        let config = fs::read_to_string(dir.path().join("etc/pacman.conf")).unwrap();
        assert!(config.contains("[mine]\nServer = https://m.example/$repo\n\n[core]"), "{config}");
    }
}

#[tokio::test]
async fn what_the_monorepo_changes_is_changed_before_the_build() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let changes = [
        (".CI/prepare", "[[ ! -e stop ]] || return \"$CI_CODE_SKIP\"\necho 'echo PREPARED' >>PKGBUILD\n"),
        (".CI/PKGBUILD.prepend", "pkgdesc=before"),
        (".CI/PKGBUILD.append", "echo \"APPENDED with $pkgdesc\""),
    ];
    let stop = [changes.as_slice(), &[("stop", "")]].concat();
    for (files, bump_of, status, made) in [
        (changes.as_slice(), "1-1", 0, "small-1-1.2-any.pkg.tar.zst"),
        (changes.as_slice(), "1-7", 0, "small-1-1-any.pkg.tar.zst"),
        (stop.as_slice(), "1-1", 99, ""),
    ] {
        let dir = tempfile::tempdir().unwrap();
        world_with(dir.path(), files).await;
        let document = json!({
            "pkgbase": "small", "arch": "any", "timeout_s": 60, "source_date_epoch": 1_700_000_000,
            "pacman_repositories": [], "pacman_keyrings": [], "bump": 2, "bump_of": bump_of, "skip_exit_code": 99,
        });
        let (ended, said) = run(dir.path(), &document.to_string()).await;
        assert_eq!(ended, Some(status), "{said}");
        let names = names_in(&dir.path().join("out"));
        assert_eq!(
            names.iter().map(String::as_str).filter(|name| *name != "status").collect::<String>(),
            made,
            "{said}"
        );
        assert!(made.is_empty() || said.contains("PREPARED") && said.contains("APPENDED with before"), "{said}");
    }
}
