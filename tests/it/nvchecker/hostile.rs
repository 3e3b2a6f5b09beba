//! Servers and files that mean harm: each ends in bounded time and memory, and says what happened.

use std::net::SocketAddr;
use std::time::Duration;

use pkgwarden::source::nvchecker::{CheckRequest, Newest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::upstream::Upstream;
use super::{config, newest_at, request};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n";

/// How long a request may take that is given up before, however busy the machine is.
const LONG: Duration = Duration::from_mins(1);
/// And one that is not.
const SHORT: Duration = Duration::from_secs(3);

/// A server that does, for each path, what no server should.
struct Hostile {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Hostile {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // Whoever asks hangs up in the middle.
                tokio::spawn(async move { drop(serve(stream, address).await) });
            }
        });
        Self { address, server }
    }

    fn page(&self, path: &str) -> CheckRequest {
        let url = format!("http://{}/{path}", self.address);
        request(path, &format!("[{path}]\nsource = 'regex'\nurl = '{url}'\nregex = 'v([0-9]+)'\n"))
    }
}

async fn serve(mut stream: TcpStream, address: SocketAddr) -> std::io::Result<()> {
    let mut head = vec![0; 4096];
    let read = stream.read(&mut head).await?;
    let head = String::from_utf8_lossy(&head[..read]).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').split('/').next().unwrap_or_default();
    let location = |to: &str| format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
    match path {
        "claims" => stream.write_all(format!("{HEAD}content-length: 10737418240\r\n\r\nv1").as_bytes()).await?,
        "endless" => {
            stream.write_all(format!("{HEAD}\r\n").as_bytes()).await?;
            loop {
                stream.write_all(&[b'v'; 8192]).await?;
            }
        }
        "link" => stream.write_all(location("http://169.254.169.254/latest/meta-data/").as_bytes()).await?,
        "round" => stream.write_all(location(&format!("http://{address}/round")).as_bytes()).await?,
        "hangs-up" => stream.write_all(format!("{HEAD}content-length: 100\r\n\r\nv1").as_bytes()).await?,
        "endless-head" => {
            stream.write_all(HEAD.as_bytes()).await?;
            loop {
                stream.write_all(b"x-more: and more\r\n").await?;
            }
        }
        // It begins to answer, or does not, and never ends.
        other => {
            let begin = if other == "half" { format!("{HEAD}content-length: 10\r\n\r\nv1") } else { String::new() };
            stream.write_all(begin.as_bytes()).await?;
            std::future::pending::<()>().await;
        }
    }
    Ok(())
}

/// What became of them, one a line.
async fn told(requests: &[CheckRequest], hostile: &Hostile, timeout: Duration) -> String {
    let dir = tempfile::tempdir().expect("dir");
    let mut config = config(&Upstream::start(Vec::new()).await, dir.path());
    config.timeout = timeout;
    let found = newest_at(&config, requests, 1_700_000_000).await;
    let line = |(name, newest): (&String, &Newest)| match newest {
        Newest::Found(release) => format!("{name}: {}", release.version),
        Newest::Unknown { error, .. } => format!("{name}: unknown: {error}"),
    };
    let told: Vec<String> = found.iter().map(line).collect();
    let told = told.join("\n").replace(&dir.path().display().to_string(), "DIR");
    told.replace(&hostile.address.to_string(), "HOST")
}

#[tokio::test]
async fn answers_without_an_end_or_without_a_beginning_are_given_up() {
    let hostile = Hostile::start().await;
    let pages = ["claims", "endless", "endless-head", "round", "hangs-up", "link"];
    let requests: Vec<_> = pages.iter().map(|path| hostile.page(path)).collect();
    insta::assert_snapshot!(told(&requests, &hostile, LONG).await, @"
    claims: unknown: the answer of http://HOST/claims is longer than 16777216 bytes
    endless: unknown: the answer of http://HOST/endless is longer than 16777216 bytes
    endless-head: unknown: cannot reach http://HOST/endless-head: error sending request: client error (SendRequest): message head is too large
    hangs-up: unknown: cannot reach http://HOST/hangs-up: error decoding response body: request or response body error: error reading a body from connection: end of file before message length reached
    link: unknown: cannot reach http://HOST/link: error following redirect: redirect to an address of this machine or its network refused
    round: unknown: cannot reach http://HOST/round: error following redirect: too many redirects
    ");
    insta::assert_snapshot!(told(&[hostile.page("half"), hostile.page("silent")], &hostile, SHORT).await, @"
    half: unknown: http://HOST/half did not answer within 3 s
    silent: unknown: http://HOST/silent did not answer within 3 s
    ");
}

#[tokio::test]
async fn files_that_reach_for_this_machine_or_for_a_crash_are_refused() {
    let hostile = Hostile::start().await;
    let file = |name: &str, rest: &str| request(name, &format!("[{name}]\n{rest}\n"));
    let deep = |sign: &str| sign.repeat(100_000);
    let page = "source = 'regex'\nurl = 'http://127.0.0.1:1/'\n";
    let requests = [
        file("alpm", "source = 'alpm'\ndbpath = '/etc'"),
        file("deep-array", &format!("source = 'jq'\nurl = {}", deep("["))),
        file("deep-keys", &format!("source = 'regex'\na{} = 1", deep(".a"))),
        file("deep-groups", &format!("{page}regex = '{}'", deep("("))),
        file("deep-sets", &format!("{page}regex = '{}'", deep("["))),
        file("file-git", "source = 'git'\ngit = 'file:///srv/secret.git'"),
        file("file-page", "source = 'regex'\nurl = 'file:///etc/passwd'\nregex = '.+'"),
        file("header", "source = 'regex'\nurl = 'http://h/'\nregex = '.'\nuser_agent = \"x\\r\\nauthorization: y\""),
        file("large", &format!("source = 'manual' # {}", "x".repeat(300 << 10))),
        file("link-git", "source = 'git'\ngit = 'http://169.254.169.254/r'"),
        file("link-host", "source = 'gitea'\ngitea = 'a/b'\nhost = '169.254.169.254'"),
        file("link-page", "source = 'regex'\nurl = 'http://[fe80::1]/'\nregex = '.+'"),
        file("link-number", "source = 'jq'\nurl = 'http://2852039166/'\nfilter = '.'"),
        file("program", "source = 'git'\ngit = 'ext::sh -c id'\nsort_version_key = 'portage'"),
        file("repeats", &format!("{page}regex = '((a{{999}}){{999}}){{999}}'")),
        file("signs", "source = 'manual'\nmanual = \"1.0\\u001b[31m\""),
    ];
    insta::assert_snapshot!(told(&requests, &hostile, LONG).await, @r#"
    alpm: unknown: `dbpath` is not taken from the file: the databases in DIR/pacman are read, by sources.nvchecker.alpm_dir
    deep-array: unknown: nvchecker.toml:3: it is not TOML: cannot recurse further; max recursion depth met
    deep-groups: unknown: nvchecker.toml:4: [deep-groups]: `regex`: the expression `((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((` cannot be used: it is longer than 8192 bytes
    deep-keys: unknown: nvchecker.toml:1: it is not TOML: recursion limit
    deep-sets: unknown: nvchecker.toml:4: [deep-sets]: `regex`: the expression `[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[` cannot be used: it is longer than 8192 bytes
    file-git: unknown: nvchecker.toml:3: [file-git]: `git`: repositories on this machine are not asked
    file-page: unknown: nvchecker.toml:3: [file-page]: `url`: only http and https are asked
    header: unknown: nvchecker.toml:5: [header]: `user_agent` has control characters
    large: unknown: nvchecker.toml: it is larger than 262144 bytes
    link-git: unknown: nvchecker.toml:3: [link-git]: `git`: address `http://169.254.169.254/r` refused: it is link-local
    link-host: unknown: https://169.254.169.254/api/v1/repos/a/b/commits is a link-local address, which is not asked
    link-number: unknown: http://2852039166/ is a link-local address, which is not asked
    link-page: unknown: http://[fe80::1]/ is a link-local address, which is not asked
    program: unknown: sort_version_key = "portage" is only known to the program nvchecker, which is not installed: install it with `apt install nvchecker` (Debian) or `pacman -S nvchecker` (Arch)
    repeats: unknown: nvchecker.toml:4: [repeats]: `regex`: the expression `((a{999}){999}){999}` cannot be used: with its repetitions written out, it is too long
    signs: unknown: what upstream has is no version: `1.0\u{1b}[31m…`
    "#);
}

#[tokio::test]
async fn expressions_that_never_end_on_long_lists_keep_nobody_waiting_for_long() {
    let dir = tempfile::tempdir().expect("dir");
    let versions: Vec<String> = (0..20_000).map(|number| format!("{}{number}", "a".repeat(60))).collect();
    let page = super::upstream::Served::text("https://pages.example/many", versions.join("\n"));
    let upstream = Upstream::start(vec![page]).await;
    let names: Vec<String> = (0..6).map(|number| format!("p{number}")).collect();
    let explodes = "include_regex = '(?=a)(a+)+(?=\\1)b'\nexclude_regex = '(?=a)(a|a)*(?=\\1)c'";
    let file = |name: &String| {
        let file =
            format!("[{name}]\nsource = 'regex'\nurl = 'https://pages.example/many'\nregex = '(?m)^.*$'\n{explodes}\n");
        request(name, &file)
    };
    let mut config = config(&upstream, dir.path());
    config.pass = Duration::from_secs(20);
    let requests: Vec<_> = names.iter().map(file).collect();
    let found = newest_at(&config, &requests, 1_700_000_000).await;
    assert_eq!(found.len(), 6);
    assert!(found.values().all(|newest| matches!(newest, Newest::Unknown { .. })), "{found:?}");
}
