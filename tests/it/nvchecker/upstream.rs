//! Services that packages are looked up in, on loopback: for whoever asks over plain HTTP, and through a proxy
//! for whoever insists on the services' own names and on TLS.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use pkgwarden::sys::process::Program;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What one address answers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Served {
    pub url: String,
    /// The body, which is sent as UTF-8 unless `latin1` is set.
    pub body: String,
    pub latin1: bool,
    /// Sent in place of `body`.
    #[serde(skip)]
    pub bytes: Vec<u8>,
    pub kind: Option<String>,
    pub status: Option<u16>,
    pub location: Option<String>,
    /// What has to be in the body of the request.
    pub post: Option<String>,
    /// Who has to ask.
    pub agent: Option<String>,
    pub headers: Vec<(String, String)>,
}

impl Served {
    pub fn text(url: impl Into<String>, body: impl Into<String>) -> Self {
        Self { url: url.into(), body: body.into(), ..Self::default() }
    }

    fn host(&self) -> &str {
        self.url.split('/').nth(2).expect("a host")
    }

    fn bytes(&self) -> Vec<u8> {
        match (self.bytes.is_empty(), self.latin1) {
            (false, _) => self.bytes.clone(),
            (true, false) => self.body.clone().into_bytes(),
            (true, true) => self.body.chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect(),
        }
    }
}

struct Inner {
    served: Mutex<Vec<Served>>,
    log: Mutex<Vec<String>>,
}

/// The services.
pub struct Upstream {
    url: String,
    inner: Arc<Inner>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Upstream {
    pub async fn start(served: Vec<Served>) -> Self {
        let inner = Arc::new(Inner { served: Mutex::new(served), log: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&inner));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        Self { url, inner, tasks: vec![serving] }
    }

    /// Where each of the services is served over plain HTTP.
    pub fn mirrors(&self) -> Vec<(String, String)> {
        let served = self.inner.served.lock().expect("sound");
        served.iter().map(|it| (format!("https://{}", it.host()), format!("{}/at/{}", self.url, it.host()))).collect()
    }

    /// What was asked so far: method, address, and the token that came along.
    pub fn asked(&self) -> Vec<String> {
        self.inner.log.lock().expect("sound").clone()
    }

    /// Another answer, before all others.
    pub fn serve(&self, served: Served) {
        self.inner.served.lock().expect("sound").insert(0, served);
    }

    /// A proxy through which the services have their own names; its address, and the certificate it shows.
    pub async fn proxy(&mut self, dir: &Path) -> (String, PathBuf) {
        let hosts: Vec<String> = self.mirrors().into_iter().map(|(from, _)| from.replace("https://", "DNS:")).collect();
        let (certificate, key) = certify(dir, &hosts).await;
        let chain = vec![CertificateDer::from_pem_file(&certificate).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_file(&key).expect("a key");
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("they fit");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound").to_string();
        let to = self.url.trim_start_matches("http://").to_owned();
        self.tasks.push(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(pass_on(stream, acceptor.clone(), to.clone()));
            }
        }));
        (address, certificate)
    }
}

/// A certificate for these hosts, and its key.
async fn certify(dir: &Path, hosts: &[String]) -> (PathBuf, PathBuf) {
    let (certificate, key) = (dir.join("certificate.pem"), dir.join("key.pem"));
    let names = format!("subjectAltName={}", hosts.join(","));
    let output = Program::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=upstream", "-addext", &names])
        .arg("-out")
        .arg(&certificate)
        .arg("-keyout")
        .arg(&key)
        .run()
        .await
        .expect("openssl runs");
    assert!(output.status.success(), "{}", output.stderr_text());
    (certificate, key)
}

/// One connection: whoever it was meant for, our server answers.
async fn pass_on(mut stream: TcpStream, acceptor: TlsAcceptor, to: String) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    assert!(head.starts_with(b"CONNECT "), "only TLS is asked for: {}", String::from_utf8_lossy(&head));
    stream.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await.ok()?;
    let mut inside = acceptor.accept(stream).await.ok()?;
    let mut server = TcpStream::connect(to).await.ok()?;
    tokio::io::copy_bidirectional(&mut inside, &mut server).await.ok()?;
    Some(())
}

async fn answer(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.expect("readable");
    let path = parts.uri.path_and_query().expect("a path").as_str().to_owned();
    // Over plain HTTP, the service is named in the path.
    let (host, path, below) = match path.strip_prefix("/at/").and_then(|rest| rest.split_once('/')) {
        Some((host, rest)) => (host.to_owned(), format!("/{rest}"), format!("/at/{host}")),
        None => (text(&parts.headers, header::HOST), path, String::new()),
    };
    let url = format!("https://{host}{path}");
    let token = text(&parts.headers, header::AUTHORIZATION);
    let token = if token.is_empty() { token } else { format!(" with {token}") };
    inner.log.lock().expect("sound").push(format!("{} {url}{token}", parts.method));
    let served = inner.served.lock().expect("sound").clone();
    let found = find(&served, &url, &body, &text(&parts.headers, header::USER_AGENT));
    found.map_or_else(
        || response(StatusCode::NOT_FOUND).body(Body::from("not here")).expect("well formed"),
        |found| reply(found, &below, &parts.headers),
    )
}

/// What is served at this very address or, if nothing is, whatever its query is.
fn find<'a>(served: &'a [Served], url: &str, body: &Bytes, agent: &str) -> Option<&'a Served> {
    let body = String::from_utf8_lossy(body);
    let fits = |it: &&Served| {
        it.post.as_ref().is_none_or(|post| body.contains(post)) && it.agent.as_ref().is_none_or(|it| it == agent)
    };
    let without_query = url.split('?').next().expect("a first part");
    let at = |url: &str| served.iter().filter(|it| it.url == url).find(fits);
    at(url).or_else(|| at(without_query))
}

fn reply(served: &Served, below: &str, asked: &HeaderMap) -> Response {
    let header = |name: &str| served.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    if let Some(tag) = header("etag")
        && text(asked, header::IF_NONE_MATCH) == tag
    {
        return response(StatusCode::NOT_MODIFIED).body(Body::empty()).expect("well formed");
    }
    let mut built = response(StatusCode::from_u16(served.status.unwrap_or(200)).expect("a status"));
    if let Some(location) = &served.location {
        let path = location.split_once("://").expect("an address").1.split_once('/').expect("a path").1;
        let there = if below.is_empty() { location.clone() } else { format!("{below}/{path}") };
        built = built.header(header::LOCATION, there);
    }
    for (name, value) in &served.headers {
        built = built.header(name, value);
    }
    built = built.header(header::CONTENT_TYPE, served.kind.as_deref().unwrap_or("text/plain"));
    // A stream does not know its length, and so may claim any.
    let stream = futures_util::stream::once(std::future::ready(Ok::<_, std::io::Error>(served.bytes())));
    built.body(Body::from_stream(stream)).expect("well formed")
}

fn response(status: StatusCode) -> axum::http::response::Builder {
    Response::builder().status(status)
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}
