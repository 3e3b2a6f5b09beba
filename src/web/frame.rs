//! What stands around every page, and who looks at it.

use std::sync::Arc;

use jiff::Timestamp;

use super::assets;
use super::fault::Fault;
use super::time;
use crate::controller::face::Face;
use crate::controller::view::RepositoryView;
use crate::sys::clock::Clock;

/// What pages are made from.
#[derive(Clone)]
pub struct Pages {
    /// Whom to ask.
    pub face: Arc<dyn Face>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// Who looks, as far as it changes what is shown. [`crate::http`] finds it out for each request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Visitor {
    /// What forms have to send back; `None` if this visitor may change nothing.
    pub form_key: Option<String>,
    /// Whether there is anything to sign in with.
    pub can_sign_in: bool,
    /// Whether this visitor has.
    pub signed_in: bool,
}

/// A link of the navigation.
#[derive(Debug)]
pub struct NavLink {
    /// Where it leads.
    pub href: &'static str,
    /// Its text.
    pub label: &'static str,
    /// Whether the page belongs to it.
    pub current: bool,
    /// How much waits there.
    pub count: usize,
}

/// What stands around a page.
#[derive(Debug)]
pub struct Frame {
    /// Who looks.
    pub visitor: Visitor,
    /// The navigation.
    pub links: Vec<NavLink>,
    /// Names of repositories that are paused.
    pub paused: String,
    /// When the page was made.
    pub now: Timestamp,
    /// That, as text.
    pub shown_at: String,
    /// Version of the program.
    pub program: &'static str,
    /// Changes whenever a style or script does.
    pub assets: &'static str,
}

impl Frame {
    /// The frame over these repositories; `section` is the link that is current.
    #[must_use]
    pub fn new(visitor: Visitor, repositories: &[RepositoryView], section: &str, now: Timestamp) -> Self {
        let reviews = repositories.iter().map(|repository| repository.reviews).sum();
        let link = |href, label| {
            let count = if href == "/reviews" { reviews } else { 0 };
            NavLink { href, label, current: section == href, count }
        };
        let paused: Vec<_> =
            repositories.iter().filter(|repository| repository.paused).map(|repository| &*repository.name).collect();
        Self {
            visitor,
            links: vec![
                link("/", "Overview"),
                link("/packages", "Packages"),
                link("/queue", "Queue"),
                link("/reviews", "Reviews"),
                link("/generations", "Published"),
                link("/graph", "Order"),
            ],
            paused: paused.join(", "),
            now,
            shown_at: time::moment(now),
            program: env!("CARGO_PKG_VERSION"),
            assets: assets::fingerprint(),
        }
    }
}

impl Pages {
    /// The frame of a page, and the repositories it was made from.
    pub async fn frame(&self, visitor: Visitor, section: &str) -> Result<(Frame, Vec<RepositoryView>), Fault> {
        let repositories = self.face.repositories().await?;
        Ok((Frame::new(visitor, &repositories, section, self.clock.now()), repositories))
    }
}
