//! Publishing with signatures of a real gpg, read by a real pacman that requires them.

use super::*;
use crate::publish::prove::{Against, prove};
use crate::publish::signer::{SUFFIX, gpg};
use crate::publish::testing::Key;

fn own() -> Vec<u32> {
    vec![nix::unistd::geteuid().as_raw()]
}

struct Signed {
    world: World,
    key: Key,
    stop: tokio_util::sync::CancellationToken,
}

impl Drop for Signed {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Signed {
    async fn new() -> Self {
        let (mut world, key) = (world(), Key::new());
        let socket = world.root.path().join("s");
        let (signing, stop) = key.serves(&socket, &[world.publisher.dir().to_owned()], own()).await;
        world.publisher = world.publisher.clone().signed_by(Some(signing));
        Self { world, key, stop }
    }

    /// Signs with another key from now on, until the token is cancelled.
    async fn changes_key(&mut self) -> tokio_util::sync::CancellationToken {
        let (key, socket) = (Key::new(), self.world.root.path().join("n"));
        let (signing, stop) = key.serves(&socket, &[self.world.publisher.dir().to_owned()], own()).await;
        self.world.publisher = self.world.publisher.clone().signed_by(Some(signing));
        self.key = key;
        stop
    }

    /// Whether everything that is published is signed, by gpgv and with the public key that is published.
    fn whole(&self) -> Vec<String> {
        let publisher = &self.world.publisher;
        let against = Against { key: Some(self.key.fingerprint.clone()), ..Against::default() };
        let proof = prove(publisher, &against).unwrap();
        assert!(proof.signed, "the public key is published");
        proof.findings.iter().map(ToString::to_string).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packages_and_databases_are_signed_and_the_public_key_is_published() {
    let signed = Signed::new().await;
    signed.world.publish("foo", "1-1", &["foo", "foo-docs"]).await.unwrap();
    signed.world.publish("bar", "1-1", &["bar"]).await.unwrap();
    signed.world.publisher.remove(&[base("bar")]).await.unwrap().unwrap();
    assert_eq!(signed.whole(), Vec::<String>::new());
    let dir = signed.world.publisher.dir();
    for name in ["test.db.sig", "test.files.sig", "test.db.tar.zst.sig", "foo-1-1-any.pkg.tar.zst.sig", "test.gpg"] {
        assert!(dir.join(name).is_file(), "{name}");
    }
    let files = std::fs::read_to_string(dir.join("pkgs.files.txt")).unwrap();
    assert_eq!(
        files,
        "foo-1-1-any.pkg.tar.zst\nfoo-1-1-any.pkg.tar.zst.sig\nfoo-docs-1-1-any.pkg.tar.zst\nfoo-docs-1-1-any.pkg.tar.zst.sig\n"
    );
    assert_eq!(std::fs::read_to_string(dir.join("pkgs.txt")).unwrap(), "foo-1-1/\nfoo-docs-1-1/\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_unsigned_is_signed_with_the_next_publication() {
    let mut signed = Signed::new().await;
    let with = signed.world.publisher.clone();
    signed.world.publisher = with.clone().signed_by(None);
    signed.world.publish("old", "1-1", &["old"]).await.unwrap();
    // Whoever changed a published file does not get it signed.
    let old = with.dir().join("old-1-1-any.pkg.tar.zst");
    let sound = std::fs::read(&old).unwrap();
    signed.world.publisher = with;
    std::fs::write(&old, "evil").unwrap();
    let error = signed.world.publish("foo", "1-1", &["foo"]).await.unwrap_err();
    assert!(matches!(error, PublishError::Damaged { .. }), "{error}");
    assert!(!old.with_extension("zst.sig").exists());
    std::fs::write(&old, sound).unwrap();
    signed.world.publish("foo", "1-1", &["foo"]).await.unwrap();
    assert_eq!(signed.whole(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_a_builder_brings_is_never_published() {
    let signed = Signed::new().await;
    let file = signed.world.member("foo", "foo", "1-1");
    let forged = PathBuf::from(format!("{}{SUFFIX}", file.display()));
    std::fs::write(&forged, "forged").unwrap();
    let dir = signed.world.publisher.dir().to_owned();
    std::fs::create_dir_all(&dir).unwrap();
    // And one that somebody had put where ours will be.
    std::fs::write(dir.join("foo-1-1-any.pkg.tar.zst.sig"), "forged").unwrap();
    let foo = expected("foo", "1-1", &["foo"]);
    signed.world.publisher.publish(&[file.clone(), forged.clone()], &foo).await.unwrap();
    assert_eq!(signed.whole(), Vec::<String>::new());
    let error = signed.world.publisher.publish(std::slice::from_ref(&forged), &foo).await.unwrap_err();
    assert!(matches!(error, PublishError::Nothing(_)), "{error}");
    // Where nothing is signed, there is none either.
    let unsigned = world();
    std::fs::create_dir_all(unsigned.publisher.dir()).unwrap();
    std::fs::write(unsigned.publisher.dir().join("foo-1-1-any.pkg.tar.zst.sig"), "forged").unwrap();
    unsigned.publisher.publish(&[file, forged], &foo).await.unwrap();
    assert!(!unsigned.publisher.dir().join("foo-1-1-any.pkg.tar.zst.sig").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_signer_is_away_nothing_changes_and_afterwards_it_goes_on() {
    let signed = Signed::new().await;
    signed.world.publish("foo", "1-1", &["foo"]).await.unwrap();
    signed.stop.cancel();
    let socket = signed.world.root.path().join("s");
    while socket.exists() {
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        let error = signed.world.publish("foo", "2-1", &["foo"]).await.unwrap_err();
        assert!(error.has_to_wait() && !error.is_the_builds_fault(), "{error}");
        let error = signed.world.publisher.remove(&[base("foo")]).await.unwrap_err();
        assert!(error.has_to_wait(), "{error}");
        assert_eq!(signed.world.published(), ["foo 1-1"]);
        assert_eq!(signed.world.files(), ["foo-1-1-any.pkg.tar.zst", "foo-1-1-any.pkg.tar.zst.sig"]);
        assert_eq!(signed.whole(), Vec::<String>::new());
    }
    let (_, stop) = signed.key.serves(&socket, &[signed.world.publisher.dir().to_owned()], own()).await;
    signed.world.publish("foo", "2-1", &["foo"]).await.unwrap();
    assert_eq!((signed.world.published(), signed.whole()), (vec!["foo 2-1".to_owned()], Vec::new()));
    stop.cancel();
}

/// A signer that answers so many requests and then hangs up.
fn dies_after(world: &World, answers: usize) -> PathBuf {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (real, flaky) = (world.root.path().join("s"), world.root.path().join(format!("f{answers}")));
    let listener = tokio::net::UnixListener::bind(&flaky).unwrap();
    tokio::spawn(async move {
        for served in 0.. {
            let Ok((mut asking, _)) = listener.accept().await else { return };
            if served >= answers {
                continue;
            }
            let mut signer = tokio::net::UnixStream::connect(&real).await.unwrap();
            let mut request = vec![0; 1 << 16];
            let length = asking.read(&mut request).await.unwrap();
            signer.write_all(&request[..length]).await.unwrap();
            let mut answer = Vec::new();
            signer.read_to_end(&mut answer).await.unwrap();
            asking.write_all(&answer).await.unwrap();
        }
    });
    flaky
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_that_dies_at_any_signature_leaves_the_old_generation_whole() {
    let mut signed = Signed::new().await;
    signed.world.publish("foo", "1-1", &["foo", "foo-docs"]).await.unwrap();
    let sound = signed.world.publisher.clone();
    // The key, two packages, two databases.
    for answers in 0..5 {
        let socket = dies_after(&signed.world, answers);
        let signing = Signing { key: signed.key.fingerprint.clone(), socket };
        signed.world.publisher = sound.clone().signed_by(Some(signing));
        let error = signed.world.publish("foo", "2-1", &["foo", "foo-docs"]).await.unwrap_err();
        assert!(error.has_to_wait(), "{answers}: {error}");
        assert_eq!(signed.world.published(), ["foo 1-1", "foo-docs 1-1"], "{answers}");
        assert_eq!(signed.whole(), Vec::<String>::new(), "{answers}");
        assert_eq!(signed.world.files().len(), 4, "{answers}");
    }
    signed.world.publisher = sound;
    signed.world.publish("foo", "2-1", &["foo", "foo-docs"]).await.unwrap();
    assert_eq!(signed.whole(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_with_another_key_is_noticed_and_a_new_key_signs_everything_again() {
    let mut signed = Signed::new().await;
    signed.world.publish("foo", "1-1", &["foo"]).await.unwrap();
    let (sound, other) = (signed.world.publisher.clone(), Key::new());
    let socket = signed.world.root.path().join("o");
    let (theirs, stop) = other.serves(&socket, &[sound.dir().to_owned()], own()).await;
    let wrong = Signing { key: signed.key.fingerprint.clone(), socket };
    signed.world.publisher = sound.clone().signed_by(Some(wrong));
    let error = signed.world.publish("bar", "1-1", &["bar"]).await.unwrap_err();
    assert!(error.has_to_wait() && error.to_string().contains("it signs with"), "{error}");
    assert_eq!(signed.world.published(), ["foo 1-1"]);
    signed.world.publisher = sound.clone().signed_by(Some(theirs));
    signed.world.publish("bar", "1-1", &["bar"]).await.unwrap();
    let ring = sound.dir().join("test.gpg");
    for file in ["foo-1-1-any.pkg.tar.zst", "bar-1-1-any.pkg.tar.zst", "test.db", "test.files"] {
        let path = sound.dir().join(file);
        let signature = PathBuf::from(format!("{}{SUFFIX}", path.display()));
        gpg::verify(&path, &signature, &ring, Some(&other.fingerprint)).unwrap();
    }
    stop.cancel();
}

/// A machine with a pacman that installs only what is signed by a key it was told.
struct Machine {
    root: PathBuf,
    conf: PathBuf,
}

impl Machine {
    fn new(root: &Path, server: &str, key: &Path, trusted: bool) -> Self {
        let target = root.join(if trusted { "trusting" } else { "strange" });
        for folder in ["var/lib/pacman", "var/cache/pacman/pkg", "var/log", "etc/hooks", "gpg"] {
            std::fs::create_dir_all(target.join(folder)).unwrap();
        }
        std::fs::set_permissions(target.join("gpg"), std::fs::Permissions::from_mode(0o700)).unwrap();
        let gpg = |args: &[&str], stdin: Vec<u8>| {
            let program = Program::new("gpg").args(["--batch", "--homedir"]).arg(target.join("gpg")).args(args);
            assert!(program.stdin_bytes(stdin).run_blocking().unwrap().status.success(), "{args:?}");
        };
        if trusted {
            gpg(&["--import"], std::fs::read(key).unwrap());
            let known = Program::new("gpg").args(["--batch", "--homedir"]).arg(target.join("gpg"));
            let known = known.args(["--with-colons", "--list-keys"]).run_blocking().unwrap();
            let known = String::from_utf8(known.stdout).unwrap();
            let line = known.lines().find(|line| line.starts_with("fpr:")).unwrap();
            let fingerprint = line.split(':').nth(9).unwrap();
            gpg(&["--import-ownertrust"], format!("{fingerprint}:6:\n").into_bytes());
        } else {
            gpg(&["--list-keys"], Vec::new());
        }
        let at = target.display();
        let conf = format!(
            "[options]\nArchitecture = x86_64\nSigLevel = Required DatabaseRequired\nCacheDir = {at}/var/cache/pacman/pkg\n\
             LogFile = {at}/var/log/pacman.log\nHookDir = {at}/etc/hooks\nGPGDir = {at}/gpg\n[test]\nServer = {server}\n"
        );
        std::fs::write(target.join("pacman.conf"), conf).unwrap();
        Self { conf: target.join("pacman.conf"), root: target }
    }

    fn pacman(&self, args: &[&str]) -> Result<String, String> {
        let program = Program::new("fakeroot").arg("pacman").arg("--config").arg(&self.conf).arg("--noconfirm");
        let program = program.arg("--root").arg(&self.root).arg("--dbpath").arg(self.root.join("var/lib/pacman"));
        let output = program.args(args).run_blocking().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), output.stderr_text());
        if output.status.success() { Ok(said) } else { Err(said) }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_is_signed_by_the_key_of_today() {
    let mut signed = Signed::new().await;
    let with = signed.world.publisher.clone();
    signed.world.publisher = with.clone().signed_by(None);
    signed.world.publish("foo", "1-1", &["foo"]).await.unwrap();
    signed.world.publish("foo", "2-1", &["foo"]).await.unwrap();
    signed.world.publisher = with;
    // The old file is published again, not the one that was made now.
    let other = signed.world.pack("foo-1-1-any.pkg.tar.zst", &pkginfo("foo", "foo", "1-1"), "other content");
    signed.world.publisher.publish(&[other], &expected("foo", "1-1", &["foo"])).await.unwrap();
    assert_eq!((signed.world.published(), signed.whole()), (vec!["foo 1-1".to_owned()], Vec::new()));
    signed.world.publish("foo", "3-1", &["foo"]).await.unwrap();
    let stop = signed.changes_key().await;
    signed.world.publish("bar", "1-1", &["bar"]).await.unwrap();
    signed.world.publisher.roll_back(3).await.unwrap();
    assert_eq!((signed.world.published(), signed.whole()), (vec!["foo 1-1".to_owned()], Vec::new()));
    stop.cancel();
}

/// Of five thousand packages, those that are signed already are not signed again because the signer went away.
#[tokio::test(flavor = "multi_thread")]
async fn signing_everything_goes_on_where_it_was_left() {
    let mut signed = Signed::new().await;
    let with = signed.world.publisher.clone();
    signed.world.publisher = with.clone().signed_by(None);
    signed.world.publish("old", "1-1", &["a", "b", "c"]).await.unwrap();
    // The key, the new package, three old ones and two databases: seven answers.
    for (answers, goes_well) in [(4, false), (5, true)] {
        let socket = dies_after(&signed.world, answers);
        let signing = Signing { key: signed.key.fingerprint.clone(), socket };
        signed.world.publisher = with.clone().signed_by(Some(signing));
        assert_eq!(signed.world.publish("foo", "1-1", &["foo"]).await.is_ok(), goes_well, "{answers}");
    }
    assert_eq!(signed.whole(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn pacman_that_requires_signatures_installs_what_we_published_and_refuses_what_others_changed() {
    let signed = Signed::new().await;
    let root = signed.world.root.path();
    std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o755)).unwrap();
    signed.world.publish("foo", "1-1", &["foo"]).await.unwrap();
    let dir = signed.world.publisher.dir().to_owned();
    let ring = dir.join("test.gpg");

    let files = axum::Router::new().fallback(serve_file).with_state(dir.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, files).await.unwrap() });

    for server in [format!("file://{}", dir.display()), http] {
        let machine = tempfile::tempdir_in(root).unwrap();
        std::fs::set_permissions(machine.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let trusting = Machine::new(machine.path(), &server, &ring, true);
        trusting.pacman(&["-Sy"]).unwrap();
        trusting.pacman(&["-S", "foo"]).unwrap();
        assert_eq!(trusting.pacman(&["-Q"]).unwrap().lines().next(), Some("foo 1-1"));
        trusting.pacman(&["-Fy"]).unwrap();
        // Who does not know the key gets nothing.
        let strange = Machine::new(machine.path(), &server, &ring, false);
        assert!(strange.pacman(&["-Sy"]).is_err());
    }
    // A mirror that changes a file is found out by its signature, even if the database were changed with it.
    let machine = tempfile::tempdir_in(root).unwrap();
    std::fs::set_permissions(machine.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let trusting = Machine::new(machine.path(), &format!("file://{}", dir.display()), &ring, true);
    let database = std::fs::canonicalize(dir.join("test.db")).unwrap();
    let evil = pack(&root.join("foo-1-1-any.pkg.tar.zst"), &pkginfo("foo", "foo", "1-1"), "evil");
    std::fs::copy(&evil, dir.join("foo-1-1-any.pkg.tar.zst")).unwrap();
    repo_tool::add(database.parent().unwrap(), "test.db.tar.zst", &[dir.join("foo-1-1-any.pkg.tar.zst")]).unwrap();
    assert!(trusting.pacman(&["-Sy"]).is_err());
}

/// Some versions of `repo-add` put signatures into the database, and pacman goes by those.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_change_of_the_key_pacman_installs_what_was_published_before() {
    let mut signed = Signed::new().await;
    let root = signed.world.root.path().to_owned();
    std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o755)).unwrap();
    signed.world.publish("foo", "1-1", &["foo", "foo-docs"]).await.unwrap();
    let dir = signed.world.publisher.dir().to_owned();
    let stop = signed.changes_key().await;
    signed.world.publish("bar", "1-1", &["bar"]).await.unwrap();
    assert_eq!(signed.whole(), Vec::<String>::new());
    let trusting = Machine::new(&root, &format!("file://{}", dir.display()), &dir.join("test.gpg"), true);
    trusting.pacman(&["-Sy"]).unwrap();
    // They have a file in common.
    for name in ["foo", "foo-docs", "bar"] {
        trusting.pacman(&["-S", "--overwrite", "*", name]).unwrap();
    }
    // What went back to a time before the change is read by pacman, too.
    signed.world.publisher.roll_back(1).await.unwrap();
    assert_eq!(signed.whole(), Vec::<String>::new());
    stop.cancel();
}

async fn serve_file(
    axum::extract::State(dir): axum::extract::State<PathBuf>,
    uri: axum::http::Uri,
) -> Result<Vec<u8>, axum::http::StatusCode> {
    std::fs::read(dir.join(uri.path().trim_start_matches('/'))).map_err(|_| axum::http::StatusCode::NOT_FOUND)
}
