//! Repositories that were made by somebody else or under another name.

use super::*;

#[tokio::test]
async fn a_repository_made_by_hand_is_taken_over() {
    let world = world();
    let dir = world.publisher.dir().to_owned();
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("old-1-1-any.pkg.tar.zst");
    std::fs::rename(world.member("old", "old", "1-1"), &file).unwrap();
    repo_tool::add(&dir, "test.db.tar.zst", &[file]).unwrap();
    assert_eq!(world.published(), ["old 1-1"]);
    world.publish("foo", "1-1", &["foo"]).await.unwrap();
    assert_eq!(world.published(), ["foo 1-1", "old 1-1"]);
    for name in ["test.db", "test.db.tar.zst", "test.files", "test.files.tar.zst"] {
        let target = std::fs::read_link(dir.join(name)).unwrap();
        assert!(target.starts_with(".current"), "{name} leads to {}", target.display());
    }
}

/// `repo-add` makes what it is asked for: the manual and most guides show gzip, with the short name as a link.
#[tokio::test]
async fn a_repository_made_by_hand_is_taken_over_however_it_is_packed() {
    for packing in ["gz", "xz", "zst"] {
        let world = world();
        let dir = world.publisher.dir().to_owned();
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("old-1-1-any.pkg.tar.zst");
        std::fs::rename(world.member("old", "old", "1-1"), &file).unwrap();
        repo_tool::add(&dir, &format!("test.db.tar.{packing}"), &[file]).unwrap();
        assert_eq!(world.published(), ["old 1-1"], "{packing}");
        assert!(world.publisher.has_published());
        world.publish("foo", "1-1", &["foo"]).await.unwrap();
        assert_eq!(world.published(), ["foo 1-1", "old 1-1"], "{packing}");
        let proof = prove::prove(&world.publisher, &prove::Against::default()).unwrap();
        assert!(proof.findings.is_empty(), "{packing}: {:?}", proof.findings);
    }
}

#[tokio::test]
async fn a_database_of_somebody_else_that_cannot_be_read_is_not_replaced() {
    let world = world();
    let dir = world.publisher.dir().to_owned();
    std::fs::create_dir_all(&dir).unwrap();
    symlink("test.db.tar.gz", dir.join("test.db")).unwrap();
    for broken in [None, Some("no database")] {
        if let Some(text) = broken {
            std::fs::write(dir.join("test.db.tar.gz"), text).unwrap();
        }
        let error = world.publish("foo", "1-1", &["foo"]).await.unwrap_err();
        assert!(error.to_string().contains("test.db"), "{error}");
        assert_eq!(std::fs::read_link(dir.join("test.db")).unwrap(), Path::new("test.db.tar.gz"));
    }
}

#[tokio::test]
async fn a_repository_without_a_name_takes_the_first_it_is_given_and_keeps_it() {
    let world = world();
    let unnamed = || Publisher::unnamed(world.publisher.dir());
    let files = [world.member("foo", "foo", "1-1")];
    let foo = expected("foo", "1-1", &["foo"]);
    let error = unnamed().publish(&files, &foo).await.unwrap_err();
    assert!(matches!(error, PublishError::NoName(_)), "{error}");
    assert!(unnamed().current().unwrap().is_empty() && unnamed().remove(&[base("foo")]).await.unwrap().is_none());
    let first = unnamed();
    first.settle_name("monorepo");
    first.publish(&files, &foo).await.unwrap();
    assert!(first.dir().join("monorepo.db").exists());
    let later = unnamed();
    later.settle_name("renamed");
    assert_eq!((later.name(), later.current().unwrap().len()), (Some("monorepo"), 1));
}

/// A new name begins an empty database: every package that was published would be gone.
#[tokio::test]
async fn a_published_repository_is_not_renamed_by_a_setting() {
    let world = world();
    world.publish("foo", "1-1", &["foo"]).await.unwrap();
    let other = Publisher::new(world.publisher.dir(), "other");
    let files = [world.member("bar", "bar", "1-1")];
    let error = other.publish(&files, &expected("bar", "1-1", &["bar"])).await.unwrap_err();
    assert!(error.to_string().contains("is published as `test` and cannot become `other`"), "{error}");
    assert_eq!(world.published(), ["foo 1-1"]);
}
