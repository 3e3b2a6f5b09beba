//! Every migration is applied, in order, to a database that holds data; and its SQL keeps some rules.

use pkgwarden::store::Store;
use pkgwarden::store::schema::{MIGRATIONS, NEWEST, migrate_to};
use rusqlite::Connection;

/// Rows as a program of each schema would have written them: what the next migrations have to cope with.
/// The place in the list is the schema.
const DATA: &[&str] = &[
    "",
    "INSERT INTO runs (id, repository, pipeline, cause, started_at) VALUES ('r1', 'repo', 'on-commit', 'a push', 1);
     INSERT INTO intents (run_id, repository, status, body, recorded_at) VALUES ('r1', 'repo', 'dropped', '{}', 1);
     INSERT INTO waves (run_id, repository, commit_id, enqueued_at, answer)
        VALUES ('r1', 'repo', '0101010101010101010101010101010101010101', 1, '[]');
     INSERT INTO builds (wave, repository, arch, pkgbase, commit_id, reason, state, requested_at, changed_at)
        VALUES (1, 'repo', 'x86_64', 'a', '0101010101010101010101010101010101010101', 'changed', 'failed', 1, 2),
               (1, 'repo', 'x86_64', 'b', '0101010101010101010101010101010101010101', 'deploy', 'blocked', 1, 2);
     INSERT INTO waits (build, dependency, kind) VALUES (2, 1, 'after');
     INSERT INTO attempts (id, build, number, executor, created_at, ended_at, ending, log_length)
        VALUES ('1-1-1', 1, 1, 'local', 1, 2, 'failed', 10);
     INSERT INTO removals (run_id, repository, pkgbase, requested_at) VALUES ('r1', 'repo', 'c', 1);
     INSERT INTO outbox (repository, kind, key, payload, created_at) VALUES ('repo', 'status', 'k', '{}', 1);
     INSERT INTO events (at, kind, subject, payload) VALUES (1, 'run', 'r1', '{}');
     INSERT INTO cache (key, value, updated_at) VALUES ('etag', 'x', 1);",
    "INSERT INTO linkage (repository, file, sha256, pkgbase, version, needs, provides, recorded_at)
        VALUES ('repo', 'a-1-1-any.pkg.tar.zst', '00', 'a', '1-1', 'lib:libc.so.6', '', 1);",
    "INSERT INTO deliveries (repository, id, digest, kind, event, received_at)
        VALUES ('repo', 'd1', x'00', 'ping', '{\"kind\":\"ping\"}', 1);",
    "UPDATE waves SET told = 'each', pipeline = 5;
     INSERT INTO proposals (repository, number, head, fetch, vote, summary, judged_at)
        VALUES ('repo', 7, '0101010101010101010101010101010101010101', 'refs/pull/7/head', 'success', 'good', 1);
     INSERT INTO trials (repository, number, head, arch, pkgbase, after, state, requested_at)
        VALUES ('repo', 7, '0101010101010101010101010101010101010101', 'x86_64', 'a', '', 'waiting', 1);",
    "UPDATE builds SET lane = 0, path = 60000 WHERE id = 2;
     INSERT INTO durations (repository, arch, pkgbase, millis) VALUES ('repo', 'x86_64', 'a', 1000);",
    "UPDATE builds SET lane = 1 WHERE id = 2;",
    "UPDATE builds SET asked_lane = 3 WHERE id = 2;
     INSERT INTO turns (id, body) VALUES (1, '{}');",
];

#[tokio::test]
async fn every_migration_is_applied_in_order_over_data() {
    let directory = tempfile::tempdir().expect("a folder");
    let path = directory.path().join("record.sqlite");
    let mut connection = Connection::open(&path).expect("a database");
    connection.pragma_update(None, "foreign_keys", true).expect("set");
    for (schema, data) in (0..=NEWEST).zip(DATA) {
        migrate_to(&mut connection, "record.sqlite", schema).unwrap_or_else(|error| panic!("schema {schema}: {error}"));
        connection.execute_batch(data).unwrap_or_else(|error| panic!("data of schema {schema}: {error}"));
    }
    let broken: i64 =
        connection.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).expect("checked");
    assert_eq!(broken, 0, "a migration broke a reference");
    drop(connection);

    let store = Store::open(&path).expect("the newest schema opens");
    let queue = store.queue(Some("repo")).await.expect("read");
    assert_eq!(queue.len(), 1);
    assert_eq!(queue[0].waits.len(), 1);
    assert_eq!(store.runs(None, None, 9).await.expect("read").len(), 1);
    assert_eq!(store.cached("etag").await.expect("read").as_deref(), Some("x"));
    Store::open(&path).expect("opening again changes nothing");
}

#[test]
fn every_schema_has_data_to_migrate() {
    assert_eq!(DATA.len(), MIGRATIONS.len() + 1, "add rows of the new schema to DATA");
}

#[test]
fn every_file_in_the_folder_is_a_migration_in_order() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let entries = std::fs::read_dir(folder).expect("the folder is there");
    let mut files: Vec<_> =
        entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8")).collect();
    files.sort();
    let known: Vec<_> = MIGRATIONS.iter().map(|migration| migration.name).collect();
    assert_eq!(files, known);
    for (index, name) in known.iter().enumerate() {
        assert!(name.starts_with(&format!("{:04}_", index + 1)), "{name} is out of order");
    }
}

#[test]
fn migrations_can_be_applied_to_tables_with_rows() {
    for migration in MIGRATIONS {
        for statement in statements(migration.sql) {
            let upper = statement.to_uppercase();
            let adds = upper.starts_with("ALTER TABLE") && upper.contains(" ADD ");
            assert!(
                !adds || !upper.contains("NOT NULL") || upper.contains("DEFAULT"),
                "{}: a new column that is NOT NULL needs a DEFAULT: {statement}",
                migration.name
            );
            assert!(
                !["BEGIN", "COMMIT", "ROLLBACK", "PRAGMA", "VACUUM"].iter().any(|word| upper.starts_with(word)),
                "{}: each migration already runs in one transaction: {statement}",
                migration.name
            );
            assert!(
                !upper.starts_with("CREATE TABLE") || upper.contains("STRICT"),
                "{}: tables are STRICT: {statement}",
                migration.name
            );
        }
    }
}

fn statements(sql: &str) -> Vec<String> {
    let bare: String =
        sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
    bare.split(';')
        .map(|statement| statement.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|one| !one.is_empty())
        .collect()
}
