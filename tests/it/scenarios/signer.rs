//! The signer as people run it: a user of its own who alone can read the key, and a controller that only asks.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use pkgwarden::sys::process::Program;

use super::full_disk::until;
use crate::support::scene::write_program;
use crate::support::serving::Serve;
use crate::support::{Pkg, Scene};

/// Who signs, who controls, and the group that both are in. None of them has to exist.
const SIGNER: u32 = 64_001;
const CONTROLLER: u32 = 64_002;
const GROUP: u32 = 64_003;
const STRANGER: u32 = 64_004;

/// A place for both of them, with a key that only one can read.
struct Desk {
    scene: Scene,
    key: String,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn folder(path: &Path, owner: u32, mode: u32) -> PathBuf {
    std::fs::create_dir_all(path).expect("made");
    chown(path, Some(owner), Some(GROUP)).expect("given");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("closed");
    path.to_owned()
}

fn give(path: &Path, owner: u32) {
    for entry in walkdir::WalkDir::new(path) {
        chown(entry.expect("listed").path(), Some(owner), Some(owner)).expect("given");
    }
}

impl Desk {
    async fn new() -> Self {
        let mut scene = Scene::of(&[Pkg::new("foo")]).await;
        scene.push("feat(foo): two", &Pkg::new("foo").release("2").changes()).await;
        // Where both of them may execute it, wherever it was built.
        std::fs::copy(env!("CARGO_BIN_EXE_pkgwarden"), scene.path("pkgwarden")).expect("copied");
        let home = folder(&scene.path("signer"), SIGNER, 0o700);
        folder(&home.join("gnupg"), SIGNER, 0o700);
        folder(&scene.path("run"), SIGNER, 0o750);
        for name in ["data", "published"] {
            folder(&scene.path(name), CONTROLLER, 0o755);
        }
        for name in ["home", "tmp", "packages.git"] {
            give(&scene.path(name), CONTROLLER);
        }
        let made =
            ["--batch", "--passphrase", "", "--quick-generate-key", "Packages <me@example.org>", "ed25519", "sign"];
        gpg(&scene, SIGNER, &made).await.expect("a key");
        let listed = gpg(&scene, SIGNER, &["--batch", "--list-keys", "--with-colons"]).await.expect("listed");
        let key = listed.lines().find_map(|line| line.strip_prefix("fpr:")).expect("a fingerprint");
        let key = key.trim_matches(':').to_owned();
        let socket = scene.path("run/socket").display().to_string();
        for (name, value) in [("SIGN", "true"), ("KEY", &key), ("SIGNER", &socket), ("NAME", "test")] {
            scene.env.insert(format!("PKGWARDEN__PUBLISH__{name}"), value.to_owned());
        }
        Self { scene, key }
    }

    /// The real program as somebody, with this scene's environment.
    fn program(&self, who: u32, args: &[&str]) -> Program {
        let path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";
        let program = Program::new(self.scene.path("pkgwarden")).env_clear().env("PATH", path);
        let places = [("HOME", "home"), ("TMPDIR", "tmp")];
        let program = places.into_iter().fold(program, |program, (name, to)| program.env(name, self.scene.path(to)));
        let program = self.scene.env.iter().fold(program, |program, (name, value)| program.env(name, value));
        program.user(who, GROUP).current_dir("/").args(args)
    }

    fn starts(&self, who: u32, args: &[&str]) -> Serve {
        Serve::of(self.program(who, args))
    }

    fn signer(&self, socket: &str) -> Serve {
        let [home, socket, folder] = ["signer/gnupg", socket, "published"].map(|to| self.scene.path(to));
        let [home, socket, folder] = [&home, &socket, &folder].map(|path| path.to_str().expect("text"));
        let (client, group) = (CONTROLLER.to_string(), GROUP.to_string());
        let place = ["signer", "--home", home, "--key", &self.key, "--socket", socket, "--folder", folder];
        self.starts(SIGNER, &[&place[..], &["--client", &client, "--group", &group]].concat())
    }

    fn controller(&self) -> Serve {
        let monorepo = self.scene.monorepo.path().to_str().expect("text").to_owned();
        let args = ["-C", &monorepo, "serve"];
        let own = [("SERVER__LISTEN", "127.0.0.1:0"), ("SERVER__POLL", "1h")];
        let program = own.into_iter().fold(self.program(CONTROLLER, &args), |program, (name, value)| {
            program.env(format!("PKGWARDEN__{name}"), value)
        });
        Serve::of(program)
    }

    /// What somebody says of what is published.
    async fn verify(&self) -> String {
        let published = self.scene.path("published").display().to_string();
        let program = self.program(CONTROLLER, &["repo", "verify", &published, "--fingerprint", &self.key]);
        text(&program.run().await.expect("it runs").stdout)
    }

    async fn ends(self) {
        give(&self.scene.path("packages.git"), 0);
        self.scene.ends().await;
    }
}

async fn gpg(scene: &Scene, who: u32, args: &[&str]) -> Result<String, String> {
    let home = scene.path("signer/gnupg");
    let program = Program::new("gpg").arg("--homedir").arg(&home).env("HOME", scene.path("signer")).args(args);
    let output = program.user(who, GROUP).current_dir("/").run().await.map_err(|error| error.to_string())?;
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(output.stderr_text()) }
}

#[tokio::test]
async fn a_controller_without_the_key_publishes_what_a_signer_of_another_user_signs() {
    if !geteuid().is_root() {
        return;
    }
    let desk = Desk::new().await;
    let refused = gpg(&desk.scene, CONTROLLER, &["--batch", "--list-secret-keys"]).await.expect_err("it is closed");
    assert!(refused.contains("Permission denied") || refused.contains("does not exist"), "{refused}");
    // Without a signer the build waits, and nothing unsigned is there to be seen.
    let mut controller = desk.controller();
    controller.says("what was built waits to be published").await;
    assert!(!desk.scene.path("published/test.db").exists());
    let mut signer = desk.signer("run/socket");
    signer.says("signing at").await;
    let published = desk.scene.path("published/test.db.sig");
    until(async || published.exists()).await;
    assert_eq!(desk.verify().await, "test, generation 1: 1 package, signed: whole\n");
    controller.signal(Signal::SIGTERM);
    assert_eq!(controller.ended().await.0, Some(0));
    signer.signal(Signal::SIGTERM);
    assert_eq!(signer.ended().await.0, Some(0));
    assert!(!desk.scene.path("run/socket").exists());
    gpg(&desk.scene, SIGNER, &["--batch", "--list-keys"]).await.expect("the key is where it was");
    stop_agent(&desk.scene).await;
    desk.ends().await;
}

/// gpg leaves an agent running that would outlive the scene.
async fn stop_agent(scene: &Scene) {
    let program = Program::new("gpgconf").arg("--homedir").arg(scene.path("signer/gnupg"));
    program.args(["--kill", "gpg-agent"]).user(SIGNER, GROUP).current_dir("/").run().await.expect("it runs");
}

#[tokio::test]
async fn a_signer_that_cannot_start_says_what_to_do() {
    if !geteuid().is_root() {
        return;
    }
    let desk = Desk::new().await;
    let (_, said) = desk.signer("nowhere/socket").ended().await;
    assert!(said.contains("there is no folder") && said.contains("/nowhere; make it first"), "{said}");
    let socket = desk.scene.path("run/socket").display().to_string();
    let home = desk.scene.path("signer/gnupg").display().to_string();
    let stranger = STRANGER.to_string();
    let args =
        ["signer", "--home", &home, "--key", &desk.key, "--socket", &socket, "--folder", "/tmp", "--group", &stranger];
    let (code, said) = desk.starts(SIGNER, &args).ended().await;
    assert_eq!(code, Some(1));
    assert!(said.contains("the user 64001, who signs, is no member of it"), "{said}");
    // A group alone lets nobody ask.
    let mut signer = desk.signer("run/socket");
    signer.says("signing at").await;
    let ask = desk.scene.path("ask");
    let request = "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
                   s.send(b'{\"key\":{}}\\n')\nprint(s.recv(4096).decode())\n";
    write_program(&ask, &format!("#!/usr/bin/env python3\n{request}"));
    let answer = async |who: u32| {
        let output = Program::new(&ask).arg(&socket).user(who, GROUP).current_dir("/").run().await.expect("it runs");
        text(&output.stdout)
    };
    assert!(answer(STRANGER).await.contains("the user 64004 may not ask"));
    assert!(answer(CONTROLLER).await.contains(&desk.key));
    signer.signal(Signal::SIGTERM);
    assert_eq!(signer.ended().await.0, Some(0));
    stop_agent(&desk.scene).await;
    desk.ends().await;
}
