//! PGP signatures of sources, made and verified by the real gpg.

use super::*;
use crate::domain::keyring::PublicKeys;
use crate::domain::signature::Verification;

/// Somebody who signs.
struct Signer {
    home: tempfile::TempDir,
    fingerprint: String,
}

impl Signer {
    async fn new(name: &str) -> Self {
        let mut signer = Self { home: tempfile::tempdir().unwrap(), fingerprint: String::new() };
        let id = format!("{name} <{name}@example.invalid>");
        signer.gpg(&["--passphrase", "", "--quick-generate-key", &id, "ed25519", "sign", "never"]).await;
        let listed = String::from_utf8(signer.gpg(&["--with-colons", "--list-keys"]).await).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        signer.fingerprint = line.split(':').nth(9).unwrap().to_owned();
        signer
    }

    async fn gpg(&self, args: &[&str]) -> Vec<u8> {
        let home = self.home.path().to_str().unwrap();
        let gpg = Program::new("gpg").args(["--homedir", home, "--batch"]).args(args).current_dir(self.home.path());
        let output = gpg.run().await.unwrap();
        assert!(output.status.success(), "{}", output.stderr_text());
        output.stdout
    }

    /// A detached signature.
    async fn sign(&self, bytes: &str) -> Vec<u8> {
        let file = self.home.path().join("signed");
        fs::write(&file, bytes).unwrap();
        self.gpg(&["--detach-sign", "--output", "-", file.to_str().unwrap()]).await
    }

    async fn key(&self) -> Vec<u8> {
        self.gpg(&["--armor", "--export", &self.fingerprint]).await
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        // The agent that gpg started would outlive the test.
        let home = self.home.path().to_str().unwrap();
        let kill = Program::new("gpgconf").args(["--homedir", home, "--kill", "all"]).current_dir("/");
        kill.run_blocking().unwrap();
    }
}

/// A package with a signed source, its signature, and the key of who may sign.
async fn signed(world: &World, attempt: &str, signer: &Signer, signature: &[u8]) -> BuildOrder {
    let lines = format!("source=(x x.sig)\nsha256sums=(SKIP SKIP)\nvalidpgpkeys=({})\n{PACKAGE}", signer.fingerprint);
    let order = world.small(attempt, &lines);
    let files = order.files.clone().with("x", "content\n").with("x.sig", signature);
    let files = files.with(&format!("keys/pgp/{}.asc", signer.fingerprint), signer.key().await);
    BuildOrder { files, ..order }
}

#[tokio::test]
async fn a_good_signature_is_verified_with_the_key_of_the_folder() {
    let (world, signer) = (World::new(), Signer::new("upstream").await);
    let order = signed(&world, "a1", &signer, &signer.sign("content\n").await).await;
    world.succeed(order).await;
    let log = world.log("a1");
    assert!(log.contains("    x ... Passed") && !log.contains("signatures are not verified"), "{log}");
    assert!(!log.contains("skippgpcheck"), "{log}");
}

#[tokio::test]
async fn a_bad_signature_fails_the_build_and_says_which() {
    let (world, signer, other) = (World::new(), Signer::new("upstream").await, Signer::new("mallory").await);
    let wrong = [
        (signer.sign("other content\n").await, "bad signature from public key"),
        (other.sign("content\n").await, "unknown public key"),
        (b"garbage".to_vec(), "x ... FAILED"),
    ];
    for (number, (signature, reason)) in wrong.into_iter().enumerate() {
        let attempt = format!("a{number}");
        let report = world.build(signed(&world, &attempt, &signer, &signature).await).await;
        assert_eq!(report.ending, Ending::Done(Outcome::Failed), "{}", world.log(&attempt));
        let message = &report.message;
        assert!(message.starts_with("a signature of its sources is not what it should be: x ... "), "{message}");
        assert!(message.contains(reason), "{message}");
    }
}

#[tokio::test]
async fn a_key_that_the_pkgbuild_does_not_name_signs_nothing() {
    let (world, signer, other) = (World::new(), Signer::new("upstream").await, Signer::new("mallory").await);
    let order = signed(&world, "a1", &signer, &other.sign("content\n").await).await;
    let both = [signer.key().await, other.key().await].concat();
    let files = order.files.clone().with(&format!("keys/pgp/{}.asc", signer.fingerprint), both);
    let report = world.build(BuildOrder { files, ..order }).await;
    assert!(report.message.contains("invalid public key"), "{report:?} {}", world.log("a1"));
}

#[tokio::test]
async fn without_the_key_the_log_says_that_nothing_is_verified_and_why() {
    let (world, signer) = (World::new(), Signer::new("upstream").await);
    let mut order = signed(&world, "a1", &signer, b"garbage").await;
    let path = format!("keys/pgp/{}.asc", signer.fingerprint);
    order.files.files.remove(&path);
    world.succeed(order).await;
    let log = world.log("a1");
    let told =
        format!("==> signatures are not verified: the package folder does not bring the key {}", signer.fingerprint);
    assert!(log.contains(&told) && log.contains(&path), "{log}");
}

#[tokio::test]
async fn a_file_that_is_no_key_fails_the_build() {
    let (world, signer) = (World::new(), Signer::new("upstream").await);
    let order = signed(&world, "a1", &signer, &signer.sign("content\n").await).await;
    let files = order.files.clone().with(&format!("keys/pgp/{}.asc", signer.fingerprint), "garbage");
    let report = world.build(BuildOrder { files, ..order }).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed), "{}", world.log("a1"));
    assert!(report.message.starts_with("the keys that the package folder brings are none"), "{report:?}");
}

#[tokio::test]
async fn the_setting_makes_keys_a_duty_or_leaves_signatures_out() {
    let (mut world, signer) = (World::new(), Signer::new("upstream").await);
    world.reopen(Verification::Always);
    let mut order = signed(&world, "a1", &signer, b"garbage").await;
    order.files.files.retain(|path, _| !path.starts_with("keys/"));
    let report = world.build(order).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed));
    assert!(
        report.message.starts_with("signatures cannot be verified: the package folder does not bring"),
        "{report:?}"
    );
    world.succeed(world.small("a2", PACKAGE)).await;
    world.reopen(Verification::Never);
    world.succeed(signed(&world, "a3", &signer, b"garbage").await).await;
    assert!(world.log("a3").contains("signatures are not verified: `executor.local.pgp` is \"never\""));
}

/// Serves the files of a directory, as a mirror does.
async fn mirror(dir: std::path::PathBuf) -> Server {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::Url(format!("http://{}", listener.local_addr().unwrap()));
    let file = async move |uri: axum::http::Uri| {
        fs::read(dir.join(uri.path().trim_start_matches('/'))).map_err(|_| axum::http::StatusCode::NOT_FOUND)
    };
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(file)).await.unwrap() });
    server
}

/// A keyring as `pacman-key` makes it, that trusts nobody but one.
async fn keyring(dir: &std::path::Path, trusted: &Signer) {
    fs::create_dir(dir).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(dir.join("gpg.conf"), "no-greeting\nno-permission-warning\nlock-never\n").unwrap();
    fs::write(dir.join("pubring.gpg"), "").unwrap();
    let trust = format!("{}:6:\n", trusted.fingerprint).into_bytes();
    for (args, stdin) in [(["--import"], trusted.key().await), (["--import-ownertrust"], trust)] {
        let gpg = Program::new("gpg").arg("--homedir").arg(dir).arg("--batch").args(args).stdin_bytes(stdin);
        let output = gpg.current_dir(dir).run().await.unwrap();
        assert!(output.status.success(), "{}", output.stderr_text());
    }
    for file in fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        let mode = if file.file_type().unwrap().is_dir() { 0o700 } else { 0o644 };
        fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A mirror of a repository with one library.
struct Mirror {
    server: Server,
    package: std::path::PathBuf,
}

impl Mirror {
    async fn of(world: &World) -> Self {
        let library = world.succeed(world.order("library", "libanswer", library())).await;
        world.publish(&library).await;
        let repo = world.dir.path().join("repo");
        let package = repo.join(&library.artefacts[0].name);
        Self { server: mirror(repo).await, package }
    }

    fn signature(&self) -> String {
        format!("{}.sig", self.package.display())
    }

    async fn signed_by(&self, signer: &Signer) {
        let package = self.package.to_str().unwrap();
        signer.gpg(&["--yes", "--detach-sign", "--output", &self.signature(), package]).await;
    }

    /// Somebody gives a library with something else in it, and says so in the database.
    async fn tampered(&self, world: &World) {
        let evil = library().with("answer.c", "int answer(void) { return 666; }\n");
        let evil = world.succeed(world.order("evil", "libanswer", evil)).await;
        fs::copy(&evil.artefacts[0].path, &self.package).unwrap();
        let add = Program::new("repo-add").arg("mine.db.tar.zst").arg(&self.package);
        assert!(add.current_dir(self.package.parent().unwrap()).run().await.unwrap().status.success());
    }

    /// A package that needs the library.
    fn order(&self, world: &World, attempt: &str, level: Option<&str>, keys: Option<Vec<u8>>) -> BuildOrder {
        let (server, sig_level) = (self.server.clone(), level.map(str::to_owned));
        let keys = keys.map(|keys| PublicKeys::read(&keys).unwrap());
        let mirror = PackageRepository { name: "mine".into(), server, sig_level, keys };
        let small = world.small(attempt, &format!("depends=(libanswer)\n{PACKAGE}"));
        BuildOrder { package_repositories: vec![mirror], ..small }
    }
}

/// Builds what must not be built, for this reason.
async fn refuse(world: &World, order: BuildOrder, why: &str) {
    let attempt = order.attempt.clone();
    let report = world.build(order).await;
    assert_eq!(report.ending, Ending::Infrastructure, "{report:?}\n{}", world.log(&attempt));
    assert!(report.message.contains(why), "{report:?}\n{}", world.log(&attempt));
    assert!(report.message.contains("[[executor.local.repository]]") || report.message.contains("`server`"));
    assert!(!world.log(&attempt).contains("==> build:"), "nothing was built: {}", world.log(&attempt));
}

const UNSIGNED: &str = "what the build would install is not signed";
const UNKNOWN: &str = "is signed with a key that nobody here trusts";
const OTHERWISE: &str = "is not what was signed";

#[tokio::test]
async fn what_a_mirror_gives_is_installed_only_if_somebody_signed_it_whom_the_machine_trusts() {
    let mut world = World::new();
    world.trust(None);
    let (trusted, stranger) = (Signer::new("trusted").await, Signer::new("stranger").await);
    let mirror = Mirror::of(&world).await;
    world.succeed(mirror.order(&world, "a2", None, None)).await;

    let ring = world.dir.path().join("keyring");
    keyring(&ring, &trusted).await;
    world.trust(Some(ring));
    refuse(&world, mirror.order(&world, "a3", None, None), UNSIGNED).await;
    mirror.signed_by(&stranger).await;
    refuse(&world, mirror.order(&world, "a4", None, None), UNKNOWN).await;
    mirror.signed_by(&trusted).await;
    world.succeed(mirror.order(&world, "a5", None, None)).await;
    mirror.tampered(&world).await;
    refuse(&world, mirror.order(&world, "a6", None, None), OTHERWISE).await;
    fs::remove_file(mirror.signature()).unwrap();
    world.succeed(mirror.order(&world, "a7", Some("Never"), None)).await;
}

#[tokio::test]
async fn the_keys_of_a_repository_are_trusted_where_the_machine_knows_nobody() {
    let mut world = World::new();
    world.trust(None);
    let (trusted, stranger) = (Signer::new("trusted").await, Signer::new("stranger").await);
    let mirror = Mirror::of(&world).await;
    mirror.signed_by(&trusted).await;
    let required = Some("Required DatabaseOptional");
    // As gpg exports them without armour.
    let plain = trusted.gpg(&["--export"]).await;
    world.succeed(mirror.order(&world, "a1", required, Some(plain))).await;
    assert!(world.log("a1").contains("==> trust: "), "{}", world.log("a1"));
    let other = stranger.key().await;
    let all = [other.clone(), trusted.key().await].concat();
    world.succeed(mirror.order(&world, "a2", required, Some(all))).await;
    refuse(&world, mirror.order(&world, "a3", required, Some(other)), UNKNOWN).await;
    refuse(&world, mirror.order(&world, "a4", required, None), UNKNOWN).await;
    mirror.tampered(&world).await;
    refuse(&world, mirror.order(&world, "a5", required, Some(trusted.key().await)), OTHERWISE).await;
}

#[tokio::test]
async fn keys_that_gpg_cannot_read_are_no_keys() {
    let mut world = World::new();
    world.trust(None);
    let mirror = Mirror::of(&world).await;
    let broken = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n".to_vec();
    refuse(&world, mirror.order(&world, "a1", None, Some(broken)), "gpg cannot take the keys").await;
}
