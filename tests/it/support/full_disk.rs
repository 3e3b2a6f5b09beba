//! A disk of our own that can be filled: a small tmpfs that only the test and what it starts can see.
//!
//! Mounting needs a mount namespace of one's own, so the test runs in a process of its own: this test program,
//! started again for one test. Root unshares just that; anybody else gets a user namespace to mount in, whose
//! powers are given up before the test begins.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pkgwarden::sys::env;
use pkgwarden::sys::process::Program;

/// Where the process with the disk finds it.
const DISK: &str = "PKGWARDEN_TEST_DISK";
/// Large enough for a build, which wants 64 MiB before it begins.
const SIZE: &str = "96m";
/// Mounts the disk on the first argument and becomes the rest.
const AS_ROOT: &str = r#"mount -t tmpfs -o size="$0",mode=755 disk "$1" && shift && exec "$@""#;
/// Likewise, and gives up what it took to mount.
const AS_USER: &str = r#"mount -t tmpfs -o size="$0",mode=755 disk "$1" && shift &&
    exec setpriv --inh-caps=-all --ambient-caps=-all "$@""#;

/// Runs an ignored test of this program, named with its modules, that begins with [`Disk::given`].
pub async fn on_a_disk_of_its_own(test: &str) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let (more, script): (&[&str], _) =
        if env::is_root() { (&[], AS_ROOT) } else { (&["--user", "--map-current-user", "--keep-caps"], AS_USER) };
    let child = Program::new("unshare").arg("--mount").args(more).args(["sh", "-c", script, SIZE]).arg(dir.path());
    let child = child.arg(std::env::current_exe().unwrap()).args(["--exact", test, "--ignored", "--nocapture"]);
    let ended = child.env(DISK, dir.path()).run().await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), ended.stderr_text());
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
}

/// The disk of this process.
pub struct Disk(PathBuf);

impl Disk {
    /// The one that [`on_a_disk_of_its_own`] has made.
    pub fn given() -> Self {
        Self(env::var(DISK).expect("started by `on_a_disk_of_its_own`").into())
    }

    /// A place on it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Leaves room for so many bytes, more or less a page.
    pub fn fill_but(&self, left: usize) {
        let mut ballast = fs::File::create(self.ballast()).unwrap();
        while ballast.write_all(&[0; 4096]).is_ok() {}
        let filled = ballast.metadata().unwrap().len();
        ballast.set_len(filled.saturating_sub(left as u64)).unwrap();
    }

    /// Makes room again.
    pub fn empty(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        Path::new(&self.0).join("ballast")
    }
}

/// Takes whatever room appears, until it is dropped.
pub struct KeptFull {
    stop: Arc<AtomicBool>,
    filling: Option<JoinHandle<()>>,
    ballast: PathBuf,
}

impl Disk {
    /// Fills the disk and keeps it full.
    pub fn keep_full(&self) -> KeptFull {
        self.fill_but(0);
        let (stop, ballast) = (Arc::new(AtomicBool::new(false)), self.ballast());
        let (stopped, mut file) = (stop.clone(), fs::File::options().append(true).open(&ballast).unwrap());
        let filling = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if file.write_all(&[0; 4096]).is_err() {
                    thread::park_timeout(Duration::from_millis(1));
                }
            }
        });
        KeptFull { stop, filling: Some(filling), ballast }
    }
}

impl Drop for KeptFull {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.filling.take().expect("it is stopped once").join().expect("it does not panic");
        fs::remove_file(&self.ballast).expect("it is there");
    }
}
