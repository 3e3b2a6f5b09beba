//! PGP signatures of sources, made and verified by the real gpg.

use super::*;
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
