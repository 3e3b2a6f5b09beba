//! By which names the server may be called.
//!
//! A page of a stranger can have its own name point at this machine (DNS rebinding), and its scripts then read
//! what we answer as if it were theirs. Their requests carry that name. An address instead of a name cannot be
//! made to point elsewhere, so any address will do.

use std::collections::BTreeSet;
use std::net::IpAddr;

use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::HOST;

use super::access::Arrival;
use crate::web::fault::Fault;

/// Whether what is answered there tells nothing: to who watches the process, and to forges, who sign what they send.
fn is_blind(path: &str) -> bool {
    ["/healthz", "/readyz"].contains(&path) || path.starts_with("/hooks/")
}

/// The names that are ours, beside addresses and those of this machine.
#[derive(Debug)]
pub struct Hosts(BTreeSet<String>);

impl Hosts {
    /// The host of the address that people use, and further names.
    #[must_use]
    pub fn new(public_url: Option<&str>, names: &[String]) -> Self {
        let public = public_url.and_then(|url| reqwest::Url::parse(url).ok());
        let public = public.as_ref().and_then(|url| url.host_str()).map(str::to_owned);
        Self(public.iter().chain(names).map(|name| plain(name)).collect())
    }

    /// Refuses a request that calls us by a name that is not ours.
    pub fn check(&self, arrival: Arrival, request: &Request) -> Result<(), Fault> {
        let written = request.headers().get(HOST).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        // Over HTTP/2 the name is part of the address; a request without any is no browser's.
        let Some(written) = written.or_else(|| request.uri().authority().map(ToString::to_string)) else {
            return Ok(());
        };
        if arrival == Arrival::Socket || is_blind(request.uri().path()) || self.has(&written) {
            return Ok(());
        }
        let message = format!("this controller is not called `{}`", plain(&written));
        Err(Fault::new(StatusCode::MISDIRECTED_REQUEST, message)
            .hint("add the name to `server.hosts` in pkgwarden.toml if it is right, or use the address"))
    }

    fn has(&self, written: &str) -> bool {
        let name = plain(written);
        let is_local = name == "localhost" || name.ends_with(".localhost");
        is_local || name.parse::<IpAddr>().is_ok() || self.0.contains(&name)
    }
}

/// A name as it is compared: without port, brackets, and a dot at its end.
fn plain(host: &str) -> String {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None if host.matches(':').count() > 1 => host,
        None => host.split(':').next().unwrap_or_default(),
    };
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(hosts: &Hosts, arrival: Arrival, host: &str, path: &str) -> Option<u16> {
        let request = Request::builder().uri(path).header(HOST, host).body(axum::body::Body::empty()).unwrap();
        hosts.check(arrival, &request).err().map(|fault| fault.status.as_u16())
    }

    #[test]
    fn addresses_names_of_this_machine_and_names_that_were_given_are_ours() {
        let hosts = Hosts::new(Some("https://Packages.example/"), &["builder.lan".to_owned()]);
        let tcp = Arrival::Tcp;
        for host in [
            "127.0.0.1:8080",
            "[::1]:8080",
            "192.0.2.7",
            "LOCALHOST:8080",
            "a.localhost",
            "packages.example",
            "packages.example.:443",
            "builder.lan:8080",
        ] {
            assert_eq!(status(&hosts, tcp, host, "/api/v1/packages"), None, "{host}");
        }
        for host in ["rebound.example:8080", "localhost.rebound.example", "127.0.0.1.rebound.example", "", "[", "lan"] {
            assert_eq!(status(&hosts, tcp, host, "/api/v1/packages"), Some(421), "{host}");
            assert_eq!(status(&hosts, tcp, host, "/healthz"), None, "{host}");
            assert_eq!(status(&hosts, tcp, host, "/hooks/packages"), None, "{host}");
            assert_eq!(status(&hosts, Arrival::Socket, host, "/"), None, "{host}");
        }
    }
}
