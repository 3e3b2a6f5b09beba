//! Somebody else's pacman repositories on loopback, made by `repo-add`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use pkgwarden::sys::process::Program;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

/// A package of a repository, as its packager thinks of it.
#[derive(Debug, Clone)]
pub struct Binary {
    name: String,
    base: String,
    version: String,
    files: Vec<String>,
    needs: Vec<String>,
}

impl Binary {
    pub fn new(name: &str, version: &str) -> Self {
        let (base, version) = (name.to_owned(), version.to_owned());
        Self { name: name.to_owned(), base, version, files: Vec::new(), needs: Vec::new() }
    }

    /// The pkgbase, if it is not the name.
    pub fn base(mut self, base: &str) -> Self {
        base.clone_into(&mut self.base);
        self
    }

    pub fn files(mut self, files: &[&str]) -> Self {
        self.files = files.iter().map(|&file| file.to_owned()).collect();
        self
    }

    /// Its `depends`, as makepkg writes them.
    pub fn needs(mut self, needs: &[&str]) -> Self {
        self.needs = needs.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Writes it as makepkg would.
    fn write(&self, folder: &Path) -> PathBuf {
        let Self { name, base, version, .. } = self;
        let needs = self.needs.iter().map(|name| format!("depend = {name}\n")).collect::<Vec<_>>().concat();
        let info = format!(
            "pkgname = {name}\npkgbase = {base}\npkgver = {version}\npkgdesc = \nurl = \nbuilddate = 1700000000\n\
             packager = Nobody\nsize = 1\narch = x86_64\n{needs}"
        );
        let mut archive = tar::Builder::new(Vec::new());
        let files = self.files.iter().map(|file| (file.as_str(), ""));
        for (path, text) in std::iter::once((".PKGINFO", info.as_str())).chain(files) {
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, path, text.as_bytes()).expect("memory");
        }
        let path = folder.join(format!("{name}-{version}-x86_64.pkg.tar.zst"));
        let packed = zstd::encode_all(&*archive.into_inner().expect("memory"), 1).expect("memory");
        std::fs::write(&path, packed).expect("written");
        path
    }
}

#[derive(Debug, Default)]
struct World {
    files: BTreeMap<String, Vec<u8>>,
    broken: BTreeMap<String, (StatusCode, Vec<u8>)>,
    asked: Vec<String>,
}

/// A mirror of pacman repositories.
pub struct Mirror {
    address: SocketAddr,
    world: Arc<Mutex<World>>,
    server: JoinHandle<()>,
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Mirror {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let world = Arc::new(Mutex::new(World::default()));
        let app = axum::Router::new().fallback(answer).with_state(world.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.expect("serves") });
        Self { address, world, server }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// From now on the repository holds exactly these. `packing` is `gz`, `xz` or `zst`.
    pub async fn holds(&self, repository: &str, packing: &str, packages: &[Binary]) {
        let dir = tempfile::tempdir().expect("a folder");
        let files: Vec<PathBuf> = packages.iter().map(|package| package.write(dir.path())).collect();
        let database = dir.path().join(format!("{repository}.db.tar.{packing}"));
        let added =
            Program::new("repo-add").arg("--quiet").arg(&database).args(&files).run().await.expect("repo-add runs");
        assert!(added.status.success(), "repo-add: {}", added.stderr_text());
        for kind in ["db", "files"] {
            let name = format!("{repository}.{kind}");
            let bytes = std::fs::read(dir.path().join(&name)).expect("repo-add wrote it");
            self.world().files.insert(format!("/{name}"), bytes);
        }
    }

    /// From now on a file is answered with this, whatever it is.
    pub fn breaks(&self, file: &str, status: u16, body: &[u8]) {
        let status = StatusCode::from_u16(status).expect("a status");
        self.world().broken.insert(format!("/{file}"), (status, body.to_vec()));
    }

    /// From now on only so many bytes of a file arrive.
    pub fn cuts(&self, file: &str, length: usize) {
        let bytes = self.world().files[&format!("/{file}")][..length].to_vec();
        self.breaks(file, 200, &bytes);
    }

    /// Writes a file to where nobody has to ask for it.
    pub fn saves(&self, file: &str, path: &Path) {
        std::fs::write(path, &self.world().files[&format!("/{file}")]).expect("written");
    }

    pub fn works_again(&self) {
        self.world().broken.clear();
    }

    /// What was asked since the last call, and how it was answered.
    pub fn asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut self.world().asked);
        asked.sort();
        asked
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("nobody panics with it")
    }
}

async fn answer(State(world): State<Arc<Mutex<World>>>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let mut world = world.lock().expect("nobody panics with it");
    let known = request.headers().get("if-none-match").map(|value| value.as_bytes().to_vec());
    let (status, etag, body) = match (world.broken.get(&path), world.files.get(&path)) {
        (Some((status, body)), _) => (*status, None, body.clone()),
        (None, None) => (StatusCode::NOT_FOUND, None, Vec::new()),
        (None, Some(bytes)) => {
            let etag =
                Sha256::digest(bytes).iter().take(8).fold("\"".to_owned(), |text, byte| text + &format!("{byte:02x}"));
            let etag = etag + "\"";
            let same = known.as_deref() == Some(etag.as_bytes());
            let status = if same { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
            (status, Some(etag), if same { Vec::new() } else { bytes.clone() })
        }
    };
    world.asked.push(format!("{path} {}", status.as_u16()));
    let mut response = Response::builder().status(status);
    if let Some(etag) = etag {
        response = response.header("etag", etag);
    }
    response.body(body.into()).expect("well formed")
}
