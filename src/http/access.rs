//! Who may change something: decided from how a request arrived and what it carries. No I/O but the
//! one draw of randomness at the start.
//!
//! - Over the unix socket everybody may: its mode lets in only the user of the controller and root.
//! - The API over TCP wants the token; without a configured token it changes nothing.
//! - Forms want a request from our own pages that sends back the key of this process, and a signed-in
//!   browser; without a configured token a browser on this machine, talking to a loopback address
//!   without a proxy between.

use std::net::IpAddr;

use axum::http::header::{AUTHORIZATION, COOKIE, FORWARDED, HOST, HeaderName, ORIGIN, VIA};
use axum::http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::sys::secret::{ExposeSecret, SecretString};
use crate::web::fault::Fault;
use crate::web::frame::Visitor;
use crate::web::text::hex;

/// The cookie of a signed-in browser.
const COOKIE_NAME: &str = "pkgwarden-session";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Headers that only a proxy adds.
const FORWARDING: [HeaderName; 4] =
    [FORWARDED, VIA, HeaderName::from_static("x-forwarded-for"), HeaderName::from_static("x-real-ip")];

/// How a request arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Over the unix socket.
    Socket,
    /// Over TCP.
    Tcp {
        /// To a loopback address.
        loopback: bool,
    },
}

/// What a request may do is measured against this.
pub struct Access {
    token: Option<[u8; 32]>,
    form_key: String,
    session: String,
    secure_cookies: bool,
}

impl Access {
    /// `seed` is drawn at random for each process; `https` says that browsers come over TLS.
    #[must_use]
    pub fn new(token: Option<&SecretString>, seed: &[u8; 32], https: bool) -> Self {
        let derive = |purpose: &str| {
            let token = token.map(|token| token.expose_secret().as_bytes()).unwrap_or_default();
            let digest = Sha256::new().chain_update(seed).chain_update(purpose).chain_update(token).finalize();
            hex(&digest)
        };
        Self {
            token: token.map(|token| Sha256::digest(token.expose_secret()).into()),
            form_key: derive("form"),
            session: derive("session"),
            secure_cookies: https,
        }
    }

    /// Whether the API may change something for this request.
    pub fn check_api(&self, arrival: Arrival, headers: &HeaderMap) -> Result<(), Fault> {
        if arrival == Arrival::Socket {
            return Ok(());
        }
        if self.token.is_none() {
            return Err(Fault::new(
                StatusCode::FORBIDDEN,
                "no token is configured, so nothing can be changed over TCP",
            )
            .hint("set `server.token_file`, or use the unix socket in the data directory"));
        }
        let given = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer =
            given.and_then(|value| value.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        match bearer {
            None => Err(Fault::new(StatusCode::UNAUTHORIZED, "changing something needs the token")
                .hint("send `Authorization: Bearer TOKEN`; for `pkgwarden ctl` set PKGWARDEN_TOKEN")),
            Some((_, token)) if self.is_token(token.trim()) => Ok(()),
            Some(_) => Err(Fault::new(StatusCode::UNAUTHORIZED, "that is not the token")
                .hint("the token stands in the file that `server.token_file` names")),
        }
    }

    /// Whether a form may change something: `key` is what it sent back.
    pub fn check_form(&self, arrival: Arrival, headers: &HeaderMap, key: &str) -> Result<(), Fault> {
        check_origin(headers)?;
        if !self.may_use_forms(arrival, headers) {
            return Err(self.form_refusal());
        }
        if !equal(key.as_bytes(), self.form_key.as_bytes()) {
            return Err(Fault::new(StatusCode::FORBIDDEN, "this form is from before the controller started")
                .hint("load the page again and repeat"));
        }
        Ok(())
    }

    fn form_refusal(&self) -> Fault {
        if self.token.is_some() {
            Fault::new(StatusCode::FORBIDDEN, "changing something needs a signed-in browser").hint("sign in on /login")
        } else {
            Fault::new(StatusCode::FORBIDDEN, "pages change nothing here: no token is configured")
                .hint("set `server.token_file`, open the page on the machine itself, or use `pkgwarden ctl`")
        }
    }

    /// What a page may offer to who looks at it.
    #[must_use]
    pub fn visitor(&self, arrival: Arrival, headers: &HeaderMap) -> Visitor {
        Visitor {
            form_key: self.may_use_forms(arrival, headers).then(|| self.form_key.clone()),
            can_sign_in: self.token.is_some(),
            signed_in: self.is_signed_in(headers),
        }
    }

    fn may_use_forms(&self, arrival: Arrival, headers: &HeaderMap) -> bool {
        match (arrival, self.token) {
            (Arrival::Socket, _) => true,
            (Arrival::Tcp { .. }, Some(_)) => self.is_signed_in(headers),
            (Arrival::Tcp { loopback }, None) => loopback && is_direct(headers),
        }
    }

    fn is_signed_in(&self, headers: &HeaderMap) -> bool {
        self.token.is_some()
            && cookies(headers)
                .any(|(name, value)| name == COOKIE_NAME && equal(value.as_bytes(), self.session.as_bytes()))
    }

    /// Whether this is the token; takes the same time whatever it is.
    #[must_use]
    pub fn is_token(&self, text: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(text).into();
        self.token.is_some_and(|token| equal(&token, &given))
    }

    /// The cookie that signs a browser in.
    #[must_use]
    pub fn session_cookie(&self) -> String {
        self.cookie(&self.session, 30 * 86_400)
    }

    /// The cookie that signs it out.
    #[must_use]
    pub fn no_session_cookie(&self) -> String {
        self.cookie("", 0)
    }

    fn cookie(&self, value: &str, age: u32) -> String {
        let secure = if self.secure_cookies { "; Secure" } else { "" };
        format!("{COOKIE_NAME}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
    }
}

/// Refuses a form that another site sent.
pub fn check_origin(headers: &HeaderMap) -> Result<(), Fault> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let ours = match text(SEC_FETCH_SITE) {
        Some(site) => site == "same-origin",
        // Older browsers say only where the page is from.
        None => match (text(ORIGIN).and_then(|origin| origin.split_once("://")), text(HOST)) {
            (Some((_, origin)), Some(host)) => origin.eq_ignore_ascii_case(host),
            _ => false,
        },
    };
    if ours {
        Ok(())
    } else {
        Err(Fault::new(StatusCode::FORBIDDEN, "this form was not sent by a page of this controller")
            .hint("open the page itself and repeat"))
    }
}

/// Whether a browser talks to this machine by a loopback name. A name that an attacker made point here
/// is none of these, and a proxy in between would bring strangers.
fn is_direct(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let proxied = FORWARDING.iter().any(|name| headers.contains_key(name));
    !proxied && is_loopback_name(host)
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: Arrival = Arrival::Tcp { loopback: true };

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn with_token() -> Access {
        Access::new(Some(&"hunter22".into()), &[7; 32], false)
    }

    #[test]
    fn the_api_wants_the_token_and_nothing_else() {
        let access = with_token();
        let status = |pairs: &[_]| access.check_api(TCP, &headers(pairs)).map_err(|fault| fault.status.as_u16());
        assert_eq!(status(&[("authorization", "Bearer hunter22")]), Ok(()));
        assert_eq!(status(&[("authorization", "Bearer hunter2")]), Err(401));
        assert_eq!(status(&[("authorization", "Basic hunter22")]), Err(401));
        assert_eq!(status(&[("cookie", &access.session_cookie())]), Err(401));
        assert_eq!(access.check_api(Arrival::Socket, &HeaderMap::new()), Ok(()));
    }

    #[test]
    fn without_a_token_tcp_changes_nothing() {
        let access = Access::new(None, &[7; 32], false);
        let empty = access.check_api(TCP, &headers(&[("authorization", "Bearer ")]));
        assert_eq!(empty.unwrap_err().status, StatusCode::FORBIDDEN);
        assert_eq!(access.check_api(Arrival::Socket, &HeaderMap::new()), Ok(()));
        assert!(!access.is_token(""));
    }

    #[test]
    fn a_form_needs_our_page_our_key_and_a_signed_in_browser() {
        let access = with_token();
        let cookie = access.session_cookie();
        let signed_in = [("sec-fetch-site", "same-origin"), ("cookie", cookie.split(';').next().unwrap())];
        let key = access.visitor(TCP, &headers(&signed_in)).form_key.expect("signed in");
        assert_eq!(access.check_form(TCP, &headers(&signed_in), &key), Ok(()));
        assert!(access.check_form(TCP, &headers(&signed_in), "wrong").is_err());
        assert!(access.check_form(TCP, &headers(&signed_in[..1]), &key).is_err());
        assert!(access.check_form(TCP, &headers(&[("sec-fetch-site", "cross-site"), signed_in[1]]), &key).is_err());
        assert!(access.check_form(TCP, &headers(&signed_in[1..]), &key).is_err(), "no word about the origin");
        let old = [("origin", "http://a.example:1"), ("host", "a.example:1"), signed_in[1]];
        assert_eq!(access.check_form(TCP, &headers(&old), &key), Ok(()));
        let foreign = [("origin", "http://b.example"), ("host", "a.example:1"), signed_in[1]];
        assert!(access.check_form(TCP, &headers(&foreign), &key).is_err());
    }

    #[test]
    fn without_a_token_only_a_browser_on_this_machine_sees_forms() {
        let access = Access::new(None, &[7; 32], false);
        let offers = |arrival, pairs: &[_]| access.visitor(arrival, &headers(pairs)).form_key.is_some();
        assert!(offers(TCP, &[("host", "127.0.0.1:8080")]));
        assert!(offers(TCP, &[("host", "[::1]:8080")]));
        assert!(offers(TCP, &[("host", "localhost")]));
        assert!(!offers(TCP, &[("host", "rebound.example")]));
        assert!(!offers(TCP, &[("host", "localhost"), ("x-forwarded-for", "203.0.113.9")]));
        assert!(!offers(Arrival::Tcp { loopback: false }, &[("host", "localhost")]));
    }
}
