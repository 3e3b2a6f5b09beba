//! What `doctor` says of a real Redis in each wrong setting.

use std::collections::BTreeSet;
use std::path::Path;

use pkgwarden::sys::process::Program;
use serde_json::Value;

use crate::support::Scene;
use crate::support::redis::{Redis, free_port};

/// What `doctor` finds at this address, each in a line, with how to mend it.
async fn found(scene: &Scene, url: &str, more: &[(&str, &str)]) -> String {
    let mut env = vec![("PKGWARDEN__EXECUTOR__KIND", "bullmq"), ("PKGWARDEN__EXECUTOR__BULLMQ__URL", url)];
    env.extend([
        ("PKGWARDEN__SOURCES__AUR__METADATA_URL", "http://127.0.0.1:1/"),
        ("PKGWARDEN__SOURCES__AUR__MIRROR_URL", ""),
    ]);
    env.extend(more);
    let ran = scene.pkgwarden_in(scene.monorepo.path(), &["--format", "json", "doctor"], &env).await;
    assert!(!ran.stdout.contains("s3cret") && !ran.stderr.contains("s3cret"), "{}{}", ran.stdout, ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stderr));
    let checks = report["checks"].as_array().unwrap().iter().filter(|check| check["area"] == "redis");
    let line = |check: &Value| {
        let text = |field: &str| check[field].as_str().unwrap().to_owned();
        let hint = if check["hint"] == "" { String::new() } else { format!("\n    {}", text("hint")) };
        let (detail, shown) = (text("detail"), text("subject"));
        format!("{}: {}{hint}\n", text("status"), detail.replace(&shown, "<url>"))
    };
    checks.map(line).collect()
}

/// The same of a server that is started with these arguments.
async fn found_of(arguments: &[&str]) -> String {
    let scene = Scene::of(&[]).await;
    let redis = Redis::start(&scene.path("redis"), arguments).await;
    let found = found(&scene, &redis.url(), &[]).await;
    scene.ends().await;
    found
}

#[tokio::test]
async fn a_machine_that_only_builds_is_asked_for_no_more_than_it_needs() {
    let scene = Scene::of(&[]).await;
    let redis = Redis::start(&scene.path("redis"), &[]).await;
    let env = [("PKGWARDEN__EXECUTOR__BULLMQ__URL", &*redis.url())];
    let ran = scene.pkgwarden_in(&scene.path("home"), &["--format", "json", "doctor", "--builder"], &env).await;
    let report: Value = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stderr));
    let checks = report["checks"].as_array().unwrap();
    let areas: BTreeSet<&str> = checks.iter().map(|check| check["area"].as_str().unwrap()).collect();
    assert_eq!(areas, BTreeSet::from(["configuration", "directory", "redis", "sandbox", "tool"]), "{checks:#?}");
    assert_eq!(report["errors"], 0, "{checks:#?}");
    scene.ends().await;
}

/// What is not as it should be.
fn wrong(found: &str) -> String {
    let of = |part: &str| !part.starts_with("ok: ") && !part.is_empty();
    found.split_inclusive('\n').filter(|line| of(line)).collect()
}

#[tokio::test]
async fn a_redis_as_it_should_be_is_found_so() {
    let found = found_of(&[]).await;
    insta::with_settings!({filters => vec![(r"version \d[\d.]+", "version <version>")]}, {
        insta::assert_snapshot!(found, @"
        ok: it is of version <version>
        ok: it keeps every key (maxmemory-policy noeviction)
        ok: it keeps what it has on disk (appendonly yes)
        ok: its user may do all that queues need
        ");
    });
}

#[tokio::test]
async fn a_redis_that_may_drop_or_forget_jobs_is_found() {
    let evicting = found_of(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]).await;
    let unlimited = found_of(&["--maxmemory-policy", "volatile-ttl"]).await;
    let snapshots = found_of(&["--appendonly", "no", "--save", "3600 1"]).await;
    let forgetful = found_of(&["--appendonly", "no", "--save", ""]).await;
    insta::assert_snapshot!([evicting, unlimited, snapshots, forgetful].map(|found| wrong(&found)).join("--\n"), @"
    error: maxmemory-policy is allkeys-lru: it drops jobs when its memory is full
        set `maxmemory-policy noeviction` in redis.conf, and with `CONFIG SET` now
    --
    warning: maxmemory-policy is volatile-ttl, which does nothing as long as maxmemory is 0
        set `maxmemory-policy noeviction` in redis.conf, and with `CONFIG SET` now
    --
    warning: it writes snapshots only: a restart brings back what was true then
        set `appendonly yes` in redis.conf, and with `CONFIG SET` now
    --
    warning: it keeps nothing on disk: what waits is put back after a restart
        set `appendonly yes` in redis.conf, and with `CONFIG SET` now
    ");
}

#[tokio::test]
async fn a_redis_that_is_not_alone_is_found() {
    let scene = Scene::of(&[]).await;
    let master = Redis::start(&scene.path("master"), &[]).await;
    let of = master.port.to_string();
    let replica = Redis::start(&scene.path("replica"), &["--replicaof", "127.0.0.1", &of]).await;
    let replica = wrong(&found(&scene, &replica.url(), &[]).await);
    scene.ends().await;
    let cluster = wrong(&found_of(&["--cluster-enabled", "yes"]).await);
    insta::assert_snapshot!([replica, cluster].join("--\n"), @"
    error: it is a replica, which takes nothing
        name the master in executor.bullmq.url, or sentinels: redis-sentinel://HOST,HOST/MASTER
    --
    error: it is part of a cluster, where the keys of a queue would lie on several servers
        use a server that is none, with sentinels if it may not be away
    ");
}

#[tokio::test]
async fn a_redis_that_does_not_let_us_in_is_told_from_one_that_lets_us_do_too_little() {
    let scene = Scene::of(&[]).await;
    let users = scene.path("users.acl");
    let rules = "user default off\nuser warden on >s3cret ~bull:* &* +@all -@admin +client|list\nuser narrow on >s3cret ~other:* &* +@all\n\
                 user reader on >s3cret ~* &* +@read +@connection +eval +info\nuser blind on >s3cret ~bull:* &* +@all -@dangerous\n\
                 user mute on >s3cret ~bull:* &* +@all -@scripting\n";
    std::fs::write(&users, rules).unwrap();
    let mut redis = Redis::start(&scene.path("redis"), &["--aclfile", users.to_str().unwrap()]).await;
    let url = |user: &str| redis.url().replace("redis://", &format!("redis://{user}"));
    let expected: [(&str, &[&str]); 7] = [
        ("warden:s3cret@", &[]),
        ("", &["Authentication required", "it wants a password"]),
        ("warden:s3cretwrong@", &["check the user in executor.bullmq.url and the password"]),
        ("narrow:s3cret@", &["scripts are refused there", "~PREFIX:*"]),
        ("reader:s3cret@", &["its user may not: hset, del, set", "+@all -@admin"]),
        ("blind:s3cret@", &["warning: its user may not ask for INFO", "warning: its user may not list clients"]),
        ("mute:s3cret@", &["scripts are refused there", "+@all -@admin"]),
    ];
    for (login, words) in expected {
        says(&wrong(&found(&scene, &url(login), &[]).await), words);
    }
    redis.kill().await;
    says(
        &wrong(&found(&scene, &redis.url(), &[]).await),
        &["check host and port in executor.bullmq.url, that it runs"],
    );
    let sentinels = format!("redis-sentinel://127.0.0.1:{}/warden", free_port());
    says(
        &wrong(&found(&scene, &sentinels, &[]).await),
        &["none of the sentinels", "check hosts and ports of the sentinels"],
    );
    scene.ends().await;
}

/// All of these, and nothing at all if there are none.
fn says(found: &str, words: &[&str]) {
    assert_eq!(found.is_empty(), words.is_empty(), "{words:?}: {found}");
    assert!(words.iter().all(|word| found.contains(word)), "{words:?}: {found}");
}

#[tokio::test]
async fn what_is_wrong_with_tls_is_said() {
    let scene = Scene::of(&[]).await;
    let dir = scene.path("tls");
    std::fs::create_dir(&dir).unwrap();
    certificate(&dir).await;
    let (port, cert, key) = (free_port().to_string(), dir.join("ca.pem"), dir.join("key.pem"));
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let files =
        ["--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no"];
    let redis = Redis::start(&scene.path("redis"), &[&["--tls-port", &port][..], &files].concat()).await;
    let (tls, plain) = (format!("rediss://localhost:{port}/0"), redis.url());
    let ca = [("PKGWARDEN__EXECUTOR__BULLMQ__CA_FILE", cert)];
    let missing = [("PKGWARDEN__EXECUTOR__BULLMQ__CA_FILE", "/nowhere/ca.pem")];
    says(&wrong(&found(&scene, &tls, &ca).await), &[]);
    says(&wrong(&found(&scene, &tls, &[]).await), &["for TLS: name the certificates that vouch for it"]);
    says(
        &wrong(&found(&scene, &tls.replace("rediss", "redis"), &[]).await),
        &["if it speaks TLS only, write rediss://"],
    );
    says(
        &wrong(&found(&scene, &plain.replace("redis:", "rediss:"), &ca).await),
        &["if it speaks no TLS, write redis://"],
    );
    says(&wrong(&found(&scene, &tls, &missing).await), &["cannot read executor.bullmq.ca_file /nowhere/ca.pem"]);
    scene.ends().await;
}

async fn certificate(dir: &Path) {
    let words = "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out ca.pem -days 2 -subj /CN=localhost \
                 -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
    let made = Program::new("openssl").args(words.split_whitespace()).current_dir(dir).run().await.unwrap();
    assert!(made.status.success(), "{}", made.stderr_text());
}
