//! A monorepo whose builds the test carries out, as somebody on another machine would: over HTTP, with the token.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use pkgwarden::domain::folder::Folder;
use pkgwarden::domain::job::Job;
use pkgwarden::store::queries::BuildFilter;
use pkgwarden::sys::http;
use pkgwarden::sys::process::Program;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::redis::free_port;
use super::scene::{names_in, write_program};
use super::serving::Serve;
use super::{Pkg, Scene};

/// Tells the test of each build, and says how it ended what the test wants it to say.
const PROGRAM: &str = r#"#!/bin/sh
printf '@pkgwarden 1\n@ begun\n'
cat >"$DESK/job"
read -r end <"$DESK/end"
printf '%s\n' "$end"
"#;

/// Makes a package of the files in a directory, as a builder does.
const MAKE: &str = r#"set -e
as=; [ "$(id -u)" != 0 ] || { chown -R nobody .; as='setpriv --reuid=nobody --regid=nogroup --clear-groups'; }
env HOME="$PWD" PKGDEST="$PWD" PKGEXT=.pkg.tar.zst $as makepkg --nodeps
"#;

/// A scene with builders elsewhere.
pub struct Elsewhere {
    pub scene: Scene,
    address: String,
}

impl Elsewhere {
    /// A monorepo with these packages, all of them to be built anew, one at a time.
    pub async fn of(packages: &[&str]) -> Self {
        Self::built_by(packages, PROGRAM).await
    }

    /// The same, built by another program.
    pub async fn built_by(packages: &[&str], program: &str) -> Self {
        let all: Vec<_> = packages.iter().map(|name| Pkg::new(name)).collect();
        let mut scene = Scene::of(&all).await;
        // Builders find it there also when it has been started anew.
        let address = format!("127.0.0.1:{}", free_port());
        let desk = scene.path("desk");
        std::fs::create_dir(&desk).unwrap();
        for name in ["job", "end"] {
            nix::unistd::mkfifo(&desk.join(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
        }
        write_program(&scene.path("program"), program);
        let url = scene.monorepo.path().display().to_string();
        let config = format!(
            "[[repository]]\nname = \"packages\"\nurl = \"{url}\"\n[server]\nlisten = \"{address}\"\npoll = \"1s\"\n\
             [executor]\nkind = \"command\"\nslots = 1\n[executor.command]\nprogram = \"{}\"\nenv = [\"DESK\"]\n",
            scene.path("program").display()
        );
        std::fs::write(scene.path("pkgwarden.toml"), config).unwrap();
        scene.env.retain(|key, _| !key.starts_with("PKGWARDEN__EXECUTOR"));
        scene.env.insert("DESK".to_owned(), desk.display().to_string());
        let changes: Vec<_> = packages.iter().flat_map(|name| Pkg::new(name).release("2").changes()).collect();
        scene.push("feat: two", &changes).await;
        Self { scene, address }
    }

    pub fn serve(&self) -> Serve {
        self.scene.serve(&["-v", "--config", self.scene.path("pkgwarden.toml").to_str().unwrap()], &[])
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next build that is handed out.
    pub async fn job(&self) -> Job {
        let path = self.scene.path("desk/job");
        let text = tokio::task::spawn_blocking(move || std::fs::read(path)).await.unwrap().unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    /// The program says how the build ended.
    pub async fn end(&self, frame: &str) {
        let (path, line) = (self.scene.path("desk/end"), format!("@ end {frame}\n"));
        tokio::task::spawn_blocking(move || std::fs::write(path, line)).await.unwrap().unwrap();
    }

    /// A package that makepkg makes of these files.
    pub async fn make(&self, place: &str, files: &Folder) -> PathBuf {
        let dir = self.scene.path(place);
        std::fs::create_dir(&dir).unwrap();
        for (path, file) in &files.files {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &file.bytes).unwrap();
        }
        let made = Program::new("sh").args(["-c", MAKE]).current_dir(&dir).run().await.unwrap();
        assert!(made.status.success(), "{}", made.stderr_text());
        let mut packages = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
        packages.find(|path| path.to_string_lossy().ends_with(".pkg.tar.zst")).expect("a package")
    }

    /// Sends exactly these bytes, and returns status and head of what is answered before the connection closes.
    pub async fn raw(&self, head: &str, body: &[u8]) -> (u16, String) {
        self.send(head, body, false).await
    }

    async fn send(&self, head: &str, body: &[u8], hangs_up: bool) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!("{head}\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        // Who refuses early does not read all of it.
        let _ = stream.write_all(body).await;
        if hangs_up {
            let _ = stream.shutdown().await;
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, answer.split("\r\n\r\n").next().unwrap_or_default().to_lowercase())
    }

    /// Sends a file, or what is called one, in the name of a build.
    pub async fn put(&self, job: &Job, name: &str, more: &str, body: &[u8]) -> (u16, String) {
        self.raw(&Self::head(job, name, more), body).await
    }

    /// Begins to send a file, and hangs up.
    pub async fn put_and_hang_up(&self, job: &Job, name: &str, more: &str, body: &[u8]) {
        self.send(&Self::head(job, name, more), body, true).await;
    }

    fn head(job: &Job, name: &str, more: &str) -> String {
        let token = job.token.as_ref().unwrap().reveal();
        let head = format!(
            "PUT /api/v1/attempts/{}/artefacts/{name} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n{more}",
            job.attempt
        );
        head.trim_end().to_owned()
    }
}

impl Elsewhere {
    /// The packages that pacman sees.
    pub fn published(&self) -> Vec<String> {
        let mut names = names_in(&self.scene.path("published/packages"));
        names.retain(|name| name.contains(".pkg."));
        names
    }

    /// The controller answers, nothing is there of any attempt, and nothing lies around.
    pub async fn is_well(&self) {
        let health = http::client(Duration::from_secs(20)).get(self.url("/readyz")).send().await.unwrap();
        assert_eq!(health.status(), 200);
        for place in ["data/attempts", "data/commands"] {
            while !names_in(&self.scene.path(place)).is_empty() {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(names_in(&self.scene.path("published/packages/.incoming")), [""; 0]);
    }

    /// The controller ends, and nothing is left over.
    pub async fn stops(self, serve: Serve) {
        serve.signal(Signal::SIGTERM);
        assert_eq!(serve.ended().await.0, Some(0));
        self.scene.ends().await;
    }

    /// How the last attempt of a package ended, and why.
    pub async fn ended(&self, package: &str) -> String {
        let store = self.scene.store();
        let builds = store.builds(BuildFilter::default(), 99).await.unwrap();
        let build = builds.iter().find(|build| build.pkgbase.as_str() == package).unwrap();
        let attempts = store.build(build.id).await.unwrap().unwrap().attempts;
        format!("{} ({})", build.state.as_str(), attempts.last().unwrap().message.as_deref().unwrap_or_default())
    }
}

/// The headers of a file that is sent as a whole.
pub fn as_whole(bytes: &[u8]) -> String {
    format!("Content-Length: {}\r\n{}", bytes.len(), digest(bytes))
}

/// The header with the checksum of a file.
pub fn digest(bytes: &[u8]) -> String {
    format!("Repr-Digest: sha-256=:{}:\r\n", STANDARD.encode(Sha256::digest(bytes)))
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// What is told of a file at the end.
pub fn told(name: &str, bytes: &[u8]) -> String {
    let sha256 = sha256(bytes);
    format!(r#"{{"status":"succeeded","artefacts":[{{"name":"{name}","size":{},"sha256":"{sha256}"}}]}}"#, bytes.len())
}

/// A package file with these entries, whatever they are.
pub fn archive(path: &Path, entries: &[(&str, tar::EntryType, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, kind, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        if kind.is_symlink() {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, *content).unwrap();
    }
    let packed = zstd::encode_all(&*archive.into_inner().unwrap(), 1).unwrap();
    std::fs::File::create(path).unwrap().write_all(&packed).unwrap();
    packed
}
