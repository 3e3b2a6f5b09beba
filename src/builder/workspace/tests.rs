//! Nothing is read, written or removed outside, whatever a build left.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::*;

fn workspace(dir: &tempfile::TempDir) -> Workspace {
    Workspace::create(dir.path().join("a1"), BuildUser::resolve("nobody").unwrap()).unwrap()
}

#[test]
fn a_folder_is_written_as_it_is_and_nothing_outside() {
    let dir = tempfile::tempdir().unwrap();
    let workspace = workspace(&dir);
    let folder = Folder::default().with("PKGBUILD", "x").with("deep/er/file", "y");
    workspace.write_package(&folder).unwrap();
    assert_eq!(fs::read(workspace.path("start/deep/er/file")).unwrap(), b"y");
    for bad in ["../x", "/etc/x", "a//b", "a/./b", "", "PKGBUILD/x"] {
        let folder = Folder::default().with("PKGBUILD", "x").with(bad, "y");
        assert!(matches!(workspace.write_package(&folder), Err(WorkspaceError::BadPath(_))), "{bad:?}");
        fs::remove_file(workspace.path("start/PKGBUILD")).unwrap_or_default();
    }
}

#[test]
fn a_pkgbuild_that_became_a_link_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let workspace = workspace(&dir);
    symlink("/etc/passwd", workspace.path("start/PKGBUILD")).unwrap();
    assert_eq!(workspace.pkgbuild().unwrap(), None);
    workspace.replace_pkgbuild(b"new").unwrap();
    assert_eq!(workspace.pkgbuild().unwrap().as_deref(), Some(&b"new"[..]));
    assert!(fs::read_to_string("/etc/passwd").unwrap().starts_with("root:"));
}

#[test]
fn removing_follows_no_link_and_opens_closed_directories() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept");
    fs::create_dir(&kept).unwrap();
    fs::write(kept.join("file"), "x").unwrap();
    let workspace = workspace(&dir);
    symlink(&kept, workspace.path("build/link")).unwrap();
    let closed = workspace.path("build/closed");
    fs::create_dir_all(closed.join("inner")).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
    workspace.remove().unwrap();
    workspace.remove().unwrap();
    symlink(&kept, workspace.tree().parent().unwrap()).unwrap();
    workspace.remove().unwrap();
    assert!(kept.join("file").exists() && !workspace.tree().parent().unwrap().is_symlink());
}

/// What a build left running may put a link in the place of a directory at any moment.
#[test]
fn nothing_is_done_where_a_link_leads_that_takes_the_place_of_a_directory_meanwhile() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let dir = tempfile::tempdir().unwrap();
    let [ours, tree] = ["ours", "tree"].map(|name| dir.path().join(name));
    fs::create_dir(&ours).unwrap();
    fs::write(ours.join("file"), "x").unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let flags = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
                let _ = nix::fcntl::renameat2(
                    nix::fcntl::AT_FDCWD,
                    &tree.join("directory"),
                    nix::fcntl::AT_FDCWD,
                    &tree.join("link"),
                    flags,
                );
            }
        });
        for _ in 0..2_000 {
            fs::create_dir(&tree).unwrap();
            symlink(&ours, tree.join("link")).unwrap();
            fs::create_dir(tree.join("directory")).unwrap();
            fs::write(tree.join("directory/file"), "y").unwrap();
            // It may find something else than it saw before; then it is tried again.
            while remove_all(&tree).is_err() {}
        }
        is_over.store(true, Ordering::Relaxed);
    });
    assert!(ours.join("file").exists());
    assert_eq!(fs::metadata(&ours).unwrap().permissions().mode() & 0o777, 0o755, "nor was it opened or closed");
}

#[test]
fn a_published_name_cannot_lead_out_of_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let workspace = workspace(&dir);
    workspace.mark_published(&["../evil".into(), "a-1-1-any.pkg.tar.zst".into(), ".x".into()]).unwrap();
    assert!(workspace.path("pkgdest/a-1-1-any.pkg.tar.zst").exists());
    assert!(!workspace.path("evil").exists());
}

#[test]
fn what_a_build_left_is_removed_however_deep_it_is_and_whatever_it_is_called() {
    let dir = tempfile::tempdir().unwrap();
    let [tree, deep, above] = ["tree", "tree/deep", "tree/above"].map(|name| dir.path().join(name));
    fs::create_dir_all(&deep).unwrap();
    // As on most machines: fewer than there are directories in each other.
    let may_be_open = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, may_be_open.0.min(1024), may_be_open.1).unwrap();
    for _ in 0..2_500 {
        fs::create_dir(&above).unwrap();
        fs::rename(&deep, above.join("1")).unwrap();
        fs::rename(&above, &deep).unwrap();
    }
    fs::create_dir(tree.join("0")).unwrap();
    fs::write(tree.join("0/file"), "").unwrap();
    fs::write(tree.join("2"), "").unwrap();
    symlink("/", tree.join("root")).unwrap();
    symlink("/", deep.join("root")).unwrap();
    remove_all(&tree).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    remove_all(&tree).expect("it may be gone already");
}
