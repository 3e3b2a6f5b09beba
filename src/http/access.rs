//! Who may change something: decided from how a request arrived and what it carries. No I/O but the
//! one draw of randomness at the start.
//!
//! - Over the unix socket everybody may: its mode lets in only the user of the controller and root.
//! - The API over TCP wants the token; without a configured token it changes nothing.
//! - Forms want a request from our own pages that sends back the key of this process, and a browser that
//!   signed in with the token or, without a configured one, with the key of the pages. That a request comes
//!   from this machine says nothing: code of packages that fetches its sources is there, too.

use axum::http::header::{AUTHORIZATION, COOKIE, HOST, HeaderName, ORIGIN};
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

/// How a request arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Over the unix socket.
    Socket,
    /// Over TCP.
    Tcp,
}

/// What lets a request change something over TCP.
#[derive(Debug, Default)]
pub struct Keys {
    /// The token that the operator has configured: for the API and the pages.
    pub token: Option<SecretString>,
    /// Where there is none, what browsers sign in with: for the pages only.
    pub pages: Option<SecretString>,
}

/// What a request may do is measured against this.
pub struct Access {
    token: Option<[u8; 32]>,
    /// What browsers sign in with.
    signs_in: Option<[u8; 32]>,
    form_key: String,
    session: String,
    secure_cookies: bool,
}

impl Access {
    /// `seed` is drawn at random for each process; `https` says that browsers come over TLS.
    #[must_use]
    pub fn new(keys: &Keys, seed: &[u8; 32], https: bool) -> Self {
        let signs_in = keys.token.as_ref().or(keys.pages.as_ref());
        let derive = |purpose: &str| {
            let key = signs_in.map(|key| key.expose_secret().as_bytes()).unwrap_or_default();
            let digest = Sha256::new().chain_update(seed).chain_update(purpose).chain_update(key).finalize();
            hex(&digest)
        };
        let digest = |key: &SecretString| -> [u8; 32] { Sha256::digest(key.expose_secret()).into() };
        Self {
            token: keys.token.as_ref().map(digest),
            signs_in: signs_in.map(digest),
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
            return Err(Fault::new(StatusCode::FORBIDDEN, "changing something needs a signed-in browser")
                .hint("sign in on /login"));
        }
        if !equal(key.as_bytes(), self.form_key.as_bytes()) {
            return Err(Fault::new(StatusCode::FORBIDDEN, "this form is from before the controller started")
                .hint("load the page again and repeat"));
        }
        Ok(())
    }

    /// What a page may offer to who looks at it.
    #[must_use]
    pub fn visitor(&self, arrival: Arrival, headers: &HeaderMap) -> Visitor {
        Visitor {
            form_key: self.may_use_forms(arrival, headers).then(|| self.form_key.clone()),
            can_sign_in: self.signs_in.is_some(),
            signed_in: self.is_signed_in(headers),
        }
    }

    fn may_use_forms(&self, arrival: Arrival, headers: &HeaderMap) -> bool {
        match arrival {
            Arrival::Socket => true,
            Arrival::Tcp => self.is_signed_in(headers),
        }
    }

    fn is_signed_in(&self, headers: &HeaderMap) -> bool {
        self.signs_in.is_some()
            && cookies(headers)
                .any(|(name, value)| name == COOKIE_NAME && equal(value.as_bytes(), self.session.as_bytes()))
    }

    fn is_token(&self, text: &str) -> bool {
        is_same(self.token, text)
    }

    /// Whether a browser that shows this is signed in; takes the same time whatever it is.
    #[must_use]
    pub fn signs_in(&self, text: &str) -> bool {
        is_same(self.signs_in, text)
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

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='))
}

fn is_same(known: Option<[u8; 32]>, text: &str) -> bool {
    let given: [u8; 32] = Sha256::digest(text).into();
    known.is_some_and(|known| equal(&known, &given))
}

fn equal(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: Arrival = Arrival::Tcp;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn with_token() -> Access {
        Access::new(&Keys { token: Some("hunter22".into()), pages: None }, &[7; 32], false)
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
        let access = Access::new(&Keys { token: None, pages: Some("drawn".into()) }, &[7; 32], false);
        let pages = access.check_api(TCP, &headers(&[("authorization", "Bearer drawn")]));
        assert_eq!(pages.unwrap_err().status, StatusCode::FORBIDDEN, "that is for the pages");
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
    fn without_a_token_only_the_key_of_the_pages_gives_forms() {
        let access = Access::new(&Keys { token: None, pages: Some("drawn".into()) }, &[7; 32], false);
        let offers = |arrival, pairs: &[_]| access.visitor(arrival, &headers(pairs)).form_key.is_some();
        let ours = [("host", "127.0.0.1:8080"), ("sec-fetch-site", "same-origin")];
        assert!(!offers(TCP, &ours), "whatever is said, code of a package can say it");
        assert!(access.signs_in("drawn") && !access.signs_in("") && !access.signs_in("other"));
        let cookie = access.session_cookie();
        assert!(offers(TCP, &[ours[0], ours[1], ("cookie", cookie.split(';').next().unwrap())]));
        assert!(offers(Arrival::Socket, &[]));

        let none = Access::new(&Keys::default(), &[7; 32], false);
        let cookie = none.session_cookie();
        assert!(!none.signs_in(""));
        assert_eq!(none.visitor(TCP, &headers(&[("cookie", cookie.split(';').next().unwrap())])), Visitor::default());
    }
}
