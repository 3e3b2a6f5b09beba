//! A signer with a real key of gpg, asked by those who may and those who may not.

use std::os::unix::fs::symlink;

use super::super::{Signing, signature_of};
use super::*;
use crate::publish::PublishError;
use crate::publish::signer::gpg::verify;
use crate::publish::testing::{Key, package, pkginfo};

struct Stage {
    root: tempfile::TempDir,
    key: Key,
    signing: Signing,
    stop: tokio_util::sync::CancellationToken,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Stage {
    async fn new(clients: Vec<u32>) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("repo")).unwrap();
        let key = Key::new();
        let socket = root.path().join("sock");
        let (signing, stop) = key.serves(&socket, &[root.path().join("repo")], clients).await;
        Self { root, key, signing, stop }
    }

    fn package(&self, name: &str) -> PathBuf {
        package(&self.root.path().join(format!("repo/{name}-1-1-any.pkg.tar.zst")), &pkginfo(name, name, "1-1"))
    }

    /// Asks from a thread that may wait.
    async fn sign(&self, file: &Path) -> Result<(), PublishError> {
        let (signing, file, ring) = (self.signing.clone(), file.to_owned(), self.keyring());
        tokio::task::spawn_blocking(move || signing.sign(&file, &signature_of(&file), &ring)).await.unwrap()
    }

    async fn ask(&self, request: Request) -> Answer {
        let signing = self.signing.clone();
        tokio::task::spawn_blocking(move || signing.exchange(&request).unwrap()).await.unwrap()
    }

    fn keyring(&self) -> PathBuf {
        self.key.keyring(self.root.path())
    }
}

fn own() -> Vec<u32> {
    vec![nix::unistd::geteuid().as_raw()]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_is_signed_so_that_gpgv_finds_it_good_and_a_changed_one_is_not() {
    let stage = Stage::new(own()).await;
    let file = stage.package("foo");
    stage.sign(&file).await.unwrap();
    let (ring, signature) = (stage.keyring(), signature_of(&file));
    verify(&file, &signature, &ring, Some(&stage.signing.key)).unwrap();
    let other: crate::domain::publication::key::Fingerprint = "0".repeat(40).parse().unwrap();
    assert!(verify(&file, &signature, &ring, Some(&other)).unwrap_err().contains("it was made with"));
    std::fs::write(&file, "changed").unwrap();
    assert!(verify(&file, &signature, &ring, None).is_err());
    assert_eq!(std::fs::metadata(&stage.signing.socket).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outside_its_folders_is_signed_whatever_leads_there() {
    let stage = Stage::new(own()).await;
    let outside = package(&stage.root.path().join("evil-1-1-any.pkg.tar.zst"), &pkginfo("evil", "evil", "1-1"));
    let name = outside.file_name().unwrap();
    let repo = stage.root.path().join("repo");
    symlink(&outside, repo.join(name)).unwrap();
    symlink(stage.root.path(), repo.join("up")).unwrap();
    let paths = [outside.clone(), repo.join(name), repo.join("up").join(name), repo.join("..").join(name)];
    for path in paths {
        let sum = crate::publish::difference::sha256(&outside).unwrap();
        let answer = stage.ask(Request::Sign { path: path.clone(), sha256: sum }).await;
        assert!(matches!(answer, Answer::Refused { .. }), "{}: {answer:?}", path.display());
    }
}

/// What was checked has a checksum; whatever lies there when the signer looks, it signs that and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_changed_between_check_and_signature_is_not_signed() {
    let stage = Stage::new(own()).await;
    let file = stage.package("foo");
    let checked = crate::publish::difference::sha256(&file).unwrap();
    let other = package(&file.with_file_name("other"), &pkginfo("foo", "foo", "1-1").replace("Nobody", "Mallory"));
    std::fs::rename(&other, &file).unwrap();
    let answer = stage.ask(Request::Sign { path: file, sha256: checked }).await;
    assert!(matches!(&answer, Answer::Refused { why } if why.contains("it was changed")), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_packages_and_databases_are_signed() {
    let stage = Stage::new(own()).await;
    let repo = stage.root.path().join("repo");
    let good = std::fs::read(stage.package("foo")).unwrap();
    let cases: [(&str, &[u8]); 6] = [
        ("notes.txt", b"I owe you a million"),
        ("bar-1-1-any.pkg.tar.zst", &good),
        ("foo-1-1-any.pkg.tar.gz", &good),
        ("x-1-1-any.pkg.tar.zst", b"no package"),
        ("x.db.tar.zst", b"no database"),
        ("x.files.tar.zst", &zstd::encode_all(&b"no archive"[..], 1).unwrap()),
    ];
    for (name, content) in cases {
        let path = repo.join(name);
        std::fs::write(&path, content).unwrap();
        let error = stage.sign(&path).await.unwrap_err();
        assert!(matches!(&error, PublishError::NotSigned { why, .. } if why.contains(name)), "{error}");
        assert!(!signature_of(&path).exists());
    }
    let fifo = repo.join("p-1-1-any.pkg.tar.zst");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let answer = stage.ask(Request::Sign { path: fifo, sha256: String::new() }).await;
    assert!(matches!(&answer, Answer::Refused { why } if why.contains("no ordinary file")), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_was_not_named_gets_nothing_signed() {
    let stage = Stage::new(vec![own()[0] + 1]).await;
    let file = stage.package("foo");
    let error = stage.sign(&file).await.unwrap_err();
    assert!(error.has_to_wait() && error.to_string().contains("may not ask"), "{error}");
    assert!(!signature_of(&file).exists());
    assert!(matches!(stage.ask(Request::Key {}).await, Answer::Unable { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_and_the_next_is_heard() {
    let stage = Stage::new(own()).await;
    for bytes in [
        &b"{}\n"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        b"{\"sign\":{\"path\":\"/x\",\"sha256\":\"\",\"more\":1}}\n",
        &vec![b'x'; 20_000],
    ] {
        let mut stream = UnixStream::connect(&stage.signing.socket).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut line = String::new();
        // One that sends too much may be cut off without an answer.
        let _ = stream.read_to_string(&mut line).await;
        assert!(line.is_empty() || line.contains("refused"), "{line}");
    }
    stage.sign(&stage.package("foo")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_socket_has_one_signer_and_a_dead_one_is_replaced() {
    let stage = Stage::new(own()).await;
    let options =
        |socket: PathBuf| Options { socket, folders: Vec::new(), gpg: stage.key.gpg(), clients: own(), group: None };
    let error = Signer::bind(options(stage.signing.socket.clone())).await.unwrap_err();
    assert!(error.to_string().contains("another signer listens"), "{error}");
    let dead = stage.root.path().join("dead");
    drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
    drop(Signer::bind(options(dead.clone())).await.unwrap());
    assert!(!dead.exists());
    let mut unknown = options(dead);
    unknown.gpg.key = "0".repeat(40).parse().unwrap();
    assert!(Signer::bind(unknown).await.unwrap_err().to_string().contains("no secret key"));
}
