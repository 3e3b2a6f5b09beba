//! HTTP clients with time limits and safe redirects.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use url::{Host, Url};

/// How the program names itself to servers.
pub const USER_AGENT: &str = concat!("pkgwarden/", env!("CARGO_PKG_VERSION"));

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// What a server asks for is waited for, but no longer than this.
const LONGEST_WAIT: Duration = Duration::from_mins(10);

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

/// As [`client`], which follows no redirect: for whoever has to see where it leads.
pub fn client_without_redirects(timeout: Duration) -> reqwest::Client {
    let build = |builder: reqwest::ClientBuilder| builder.redirect(Policy::none()).build();
    build(builder(timeout)).unwrap_or_else(|_| {
        build(builder(timeout).tls_certs_only([])).expect("a client without certificates needs nothing of the machine")
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

/// How long to wait by the seconds of a header `Retry-After`, within reason.
#[must_use]
pub fn retry_after(value: &str) -> Option<Duration> {
    let seconds = value.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

#[expect(clippy::disallowed_methods, reason = "this is the door to HTTP clients")]
fn builder(timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(USER_AGENT)
        .timeout(timeout)
        .connect_timeout(CONNECT_TIMEOUT.min(timeout))
        .dns_resolver(Resolver)
        .redirect(Policy::custom(follow))
}

fn follow(attempt: Attempt) -> reqwest::redirect::Action {
    let from = attempt.previous().last().map_or("", |url| url.scheme());
    if !may_follow(from, attempt.url().scheme()) {
        let message = format!("redirect from {from} to {} refused", attempt.url().scheme());
        return attempt.error(message);
    }
    let came_from_inside = attempt.previous().last().is_some_and(is_inside);
    if is_link_local(attempt.url()) || (is_inside(attempt.url()) && !came_from_inside) {
        return attempt.error("redirect to an address of this machine or its network refused");
    }
    if attempt.previous().len() > MAX_REDIRECTS {
        return attempt.error("too many redirects");
    }
    attempt.follow()
}

/// Whether an address is of the link itself. There, clouds hand out the keys of a machine to whoever asks.
#[must_use]
pub fn is_link_local(url: &Url) -> bool {
    address(url).is_some_and(is_link_local_address)
}

/// Whether an address is, as it is written, one of this machine or its network.
fn is_inside(url: &Url) -> bool {
    let is_private = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unspecified(),
    };
    let named = url.host_str().is_some_and(|host| host == "localhost" || host.ends_with(".localhost"));
    named || is_link_local(url) || address(url).is_some_and(is_private)
}

fn address(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(ip) => Some(ip.into()),
        Host::Ipv6(ip) => Some(IpAddr::V6(ip).to_canonical()),
        Host::Domain(_) => None,
    }
}

const fn is_link_local_address(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// The system's resolver, without link-local addresses: any name can be made to lead there.
struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let usable: Vec<_> = found.filter(|it| !is_link_local_address(it.ip().to_canonical())).collect();
            if usable.is_empty() {
                return Err(format!("{} has only link-local addresses, which are not asked", name.as_str()).into());
            }
            let addresses: Addrs = Box::new(usable.into_iter());
            Ok(addresses)
        })
    }
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
    fn what_a_server_asks_for_is_waited_for_within_reason() {
        assert_eq!(retry_after(" 7 "), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("18446744073709551615"), Some(Duration::from_mins(10)));
        assert_eq!(retry_after("soon"), None);
    }

    #[test]
    fn a_redirect_never_leaves_https() {
        assert!(may_follow("http", "https"));
        assert!(may_follow("http", "http"));
        assert!(may_follow("https", "https"));
        assert!(!may_follow("https", "http"));
        assert!(!may_follow("http", "file"));
    }

    #[test]
    fn addresses_of_this_machine_its_network_and_the_link_are_told_from_others() {
        let url = |text: &str| Url::parse(text).expect(text);
        let link_local = [
            "http://169.254.169.254/latest",
            "http://2852039166/",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.1.1]/",
        ];
        assert!(link_local.iter().all(|text| is_link_local(&url(text)) && is_inside(&url(text))));
        let inside =
            ["http://127.0.0.1:8080/", "http://0x7f.1/", "http://10.1.2.3/", "http://[::1]/", "http://a.localhost/"];
        assert!(inside.iter().all(|text| is_inside(&url(text)) && !is_link_local(&url(text))));
        let outside = ["http://192.0.2.1/", "http://localhost.example/", "http://[2001:db8::1]/"];
        assert!(outside.iter().all(|text| !is_inside(&url(text))));
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
        let body = client(Duration::from_mins(1)).get(&url).send().await.expect("answer").text().await.expect("body");
        assert_eq!(body, "ok");
        assert!(requests.recv().await.expect("asked").to_lowercase().contains("user-agent: pkgwarden/"));
    }

    #[tokio::test]
    async fn a_redirect_loop_ends() {
        let loops = "HTTP/1.1 302 Found\r\nlocation: SELF/again\r\ncontent-length: 0\r\n\r\n".to_owned();
        let (url, mut requests) = server(loops).await;
        let error = client(Duration::from_mins(1)).get(&url).send().await.expect_err("loop");
        assert!(error.is_redirect(), "{error:?}");
        let mut asked = 0;
        while requests.try_recv().is_ok() {
            asked += 1;
        }
        assert_eq!(asked, MAX_REDIRECTS + 1);
    }
}
