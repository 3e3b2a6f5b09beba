//! HTTP clients with time limits and safe redirects.

use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};

/// How the program names itself to servers.
pub const USER_AGENT: &str = concat!("pkgwarden/", env!("CARGO_PKG_VERSION"));

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// More hops than this are a loop.
const MAX_REDIRECTS: usize = 5;

/// A client that gives up on a request after `timeout`, from the first byte sent to the last byte read,
/// and follows up to five redirects, never from `https` to anything else.
///
/// Proxies are taken from the environment. If the machine has no certificates, plain HTTP works and
/// HTTPS fails for each request with a message that says so.
pub fn client(timeout: Duration) -> reqwest::Client {
    builder(timeout).build().unwrap_or_else(|error| {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "this machine has no usable TLS certificates, so https will not work; install `ca-certificates`"
        );
        builder(timeout).tls_certs_only([]).build().expect("a client without certificates needs nothing of the machine")
    })
}

/// As [`client`], with every request going through `proxy`, whatever the environment says.
///
/// # Errors
/// If `proxy` is not the address of a proxy.
pub fn client_through(proxy: &str, timeout: Duration) -> Result<reqwest::Client, reqwest::Error> {
    let proxy = reqwest::Proxy::all(proxy)?;
    let build = |builder: reqwest::ClientBuilder| builder.proxy(proxy.clone()).build();
    build(builder(timeout)).or_else(|_| build(builder(timeout).tls_certs_only([])))
}

#[expect(clippy::disallowed_methods, reason = "this is the door to HTTP clients")]
fn builder(timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .timeout(timeout)
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .redirect(Policy::custom(follow))
}

fn follow(attempt: Attempt) -> reqwest::redirect::Action {
    let from = attempt.previous().last().map_or("", |url| url.scheme());
    if !may_follow(from, attempt.url().scheme()) {
        let message = format!("redirect from {from} to {} refused", attempt.url().scheme());
        return attempt.error(message);
    }
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("too many redirects");
    }
    attempt.follow()
}

fn may_follow(from: &str, to: &str) -> bool {
    to == "https" || (to == "http" && from == "http")
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn a_redirect_never_leaves_https() {
        assert!(may_follow("http", "https"));
        assert!(may_follow("http", "http"));
        assert!(may_follow("https", "https"));
        assert!(!may_follow("https", "http"));
        assert!(!may_follow("http", "file"));
    }

    /// A server that answers every request with `answer` and says what it was asked.
    async fn server(answer: String) -> (String, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let url = format!("http://{}", listener.local_addr().expect("address"));
        let (sender, requests) = tokio::sync::mpsc::unbounded_channel();
        let answer = answer.replace("SELF", &url);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = vec![0; 4096];
                let read = stream.read(&mut buffer).await.unwrap_or(0);
                let _ = sender.send(String::from_utf8_lossy(&buffer[..read]).into_owned());
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        (url, requests)
    }

    #[tokio::test]
    async fn servers_see_our_name() {
        let (url, mut requests) = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_owned()).await;
        let body = client(Duration::from_secs(5)).get(&url).send().await.expect("answer").text().await.expect("body");
        assert_eq!(body, "ok");
        assert!(requests.recv().await.expect("asked").to_lowercase().contains("user-agent: pkgwarden/"));
    }

    #[tokio::test]
    async fn a_redirect_loop_ends() {
        let loops = "HTTP/1.1 302 Found\r\nlocation: SELF/again\r\ncontent-length: 0\r\n\r\n".to_owned();
        let (url, mut requests) = server(loops).await;
        let error = client(Duration::from_secs(5)).get(&url).send().await.expect_err("loop");
        assert!(error.is_redirect(), "{error:?}");
        let mut asked = 0;
        while requests.try_recv().is_ok() {
            asked += 1;
        }
        assert_eq!(asked, MAX_REDIRECTS + 1);
    }
}
