//! What `doctor` says of a forge.

use pkgwarden::controller::doctor::{self, Status};

use super::stage::{KINDS, Stage};
use crate::support::forges::http::Trouble;
use crate::support::forges::world::Standing;

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
