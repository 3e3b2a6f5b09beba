//! What `doctor` says of a forge.

use std::collections::BTreeMap;
use std::sync::Arc;

use pkgwarden::app::hosting;
use pkgwarden::config::settings;
use pkgwarden::controller::doctor::{self, Status};
use pkgwarden::sys::clock::SystemClock;

use super::stage::{KINDS, Stage};
use crate::support::forges::KEEPER;
use crate::support::forges::http::Trouble;
use crate::support::forges::world::Standing;

#[tokio::test]
async fn the_settings_lead_to_the_forge_that_they_name() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        let file = tempfile::NamedTempFile::new().unwrap();
        let settings = settings::load(None, &stage.fake.env(file.path())).unwrap();
        let forge = hosting::forge(&settings.repositories[0].forge, "/srv/packages.git", stage.clock.clone());
        assert_eq!(forge.unwrap().unwrap().me().await.unwrap(), KEEPER, "{kind:?}");
    }
    let settings = settings::load(None, &BTreeMap::new()).unwrap();
    let clock = Arc::new(SystemClock);
    let local = hosting::forge(&settings.repositories[0].forge, "/srv/packages.git", clock).unwrap();
    assert!(local.is_none(), "reviews that are branches need no forge");
}

#[tokio::test]
async fn a_forge_that_knows_us_is_fine_and_one_that_does_not_says_what_to_do() {
    for kind in KINDS {
        let stage = Stage::of(kind).await;
        let checks = doctor::forge("packages", stage.forge.as_ref()).await;
        assert!(checks.iter().all(|check| check.status == Status::Ok), "{kind:?}: {checks:#?}");
        assert!(checks[0].detail.ends_with("/them/packages knows us as keeper"), "{checks:#?}");

        stage.fake.world().await.people.get_mut("keeper").unwrap().standing = Standing::Read;
        let checks = doctor::forge("packages", stage.forge.as_ref()).await;
        let last = checks.last().unwrap();
        assert_eq!(last.status, Status::Error, "{kind:?}: {checks:#?}");
        assert!(last.detail.starts_with("keeper may only read "), "{checks:#?}");

        stage.fake.spoils("GET", "/pulls", Trouble::status(403), 1).await;
        stage.fake.spoils("GET", "/merge_requests", Trouble::status(403), 1).await;
        let checks = doctor::forge("packages", stage.forge.as_ref()).await;
        assert!(checks[1].hint.starts_with("the token needs "), "{kind:?}: {checks:#?}");
    }
}
