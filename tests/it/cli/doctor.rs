//! What `doctor` says of a real Redis in each wrong setting.

use std::path::Path;

use pkgwarden::sys::process::Program;
use serde_json::Value;

use crate::support::Scene;
use crate::support::redis::{Redis, free_port};

/// What `doctor` finds at this address, each in a line, with how to mend it.
async fn found(scene: &Scene, url: &str, more: &[(&str, &str)]) -> String {
    let mut env = vec![("PKGWARDEN__EXECUTOR__KIND", "bullmq"), ("PKGWARDEN__EXECUTOR__BULLMQ__URL", url)];
    env.extend([("PKGWARDEN__SOURCES__AUR__METADATA_URL", "http://127.0.0.1:1/"), ("PKGWARDEN__SOURCES__AUR__MIRROR_URL", "")]);
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

/// What is not as it should be.
fn wrong(found: &str) -> String {
    let of = |part: &str| !part.starts_with("ok: ") && !part.is_empty();
    found.split_inclusive('\n').filter(|line| of(line)).collect()
}

#[tokio::test]
async fn a_redis_as_it_should_be_is_found_so() {
    let found = found_of(&[]).await;
    insta::with_settings!({filters => vec![(r"version \d[\d.]+", "version <version>")]}, {
        insta::assert_snapshot!(found, @"");
    });
}

#[tokio::test]
async fn a_redis_that_may_drop_or_forget_jobs_is_found() {
    let evicting = found_of(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]).await;
    let unlimited = found_of(&["--maxmemory-policy", "volatile-ttl"]).await;
    let snapshots = found_of(&["--appendonly", "no", "--save", "3600 1"]).await;
    let forgetful = found_of(&["--appendonly", "no", "--save", ""]).await;
    insta::assert_snapshot!([evicting, unlimited, snapshots, forgetful].map(|found| wrong(&found)).join("--\n"), @"");
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
    insta::assert_snapshot!([replica, cluster].join("--\n"), @"");
}

#[tokio::test]
async fn a_redis_that_does_not_let_us_in_is_told_from_one_that_lets_us_do_too_little() {
    let scene = Scene::of(&[]).await;
    let users = scene.path("users.acl");
    let rules = "user default off\nuser warden on >s3cret ~bull:* &* +@all -@admin\nuser narrow on >s3cret ~other:* &* +@all\n\
                 user reader on >s3cret ~* &* +@read +@connection +eval +info\nuser blind on >s3cret ~bull:* &* +@all -@dangerous\n\
                 user mute on >s3cret ~bull:* &* +@all -@scripting\n";
    std::fs::write(&users, rules).unwrap();
    let mut redis = Redis::start(&scene.path("redis"), &["--aclfile", users.to_str().unwrap()]).await;
    let url = |user: &str| redis.url().replace("redis://", &format!("redis://{user}"));
    let mut said = Vec::new();
    for login in ["warden:s3cret@", "", "warden:s3cretwrong@", "narrow:s3cret@", "reader:s3cret@", "blind:s3cret@", "mute:s3cret@"] {
        said.push(format!("{}\n{}", login.split(':').next().unwrap(), wrong(&found(&scene, &url(login), &[]).await)));
    }
    redis.kill().await;
    said.push(format!("nobody\n{}", wrong(&found(&scene, &redis.url(), &[]).await)));
    let sentinels = format!("redis-sentinel://127.0.0.1:{}/warden", free_port());
    said.push(format!("no sentinel\n{}", wrong(&found(&scene, &sentinels, &[]).await)));
    insta::assert_snapshot!(said.join("--\n"), @"");
    scene.ends().await;
}

#[tokio::test]
async fn what_is_wrong_with_tls_is_said() {
    let scene = Scene::of(&[]).await;
    let dir = scene.path("tls");
    std::fs::create_dir(&dir).unwrap();
    certificate(&dir).await;
    let (port, cert, key) = (free_port().to_string(), dir.join("ca.pem"), dir.join("key.pem"));
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let files = ["--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert, "--tls-auth-clients", "no"];
    let redis = Redis::start(&scene.path("redis"), &[&["--tls-port", &port][..], &files].concat()).await;
    let (tls, plain) = (format!("rediss://localhost:{port}/0"), redis.url());
    let ca = [("PKGWARDEN__EXECUTOR__BULLMQ__CA_FILE", cert)];
    let missing = [("PKGWARDEN__EXECUTOR__BULLMQ__CA_FILE", "/nowhere/ca.pem")];
    let said = [
        found(&scene, &tls, &ca).await,
        found(&scene, &tls, &[]).await,
        found(&scene, &tls.replace("localhost", "127.0.0.2"), &ca).await,
        found(&scene, &tls.replace("rediss", "redis"), &[]).await,
        found(&scene, &plain.replace("redis:", "rediss:"), &ca).await,
        found(&scene, &tls, &missing).await,
    ];
    insta::assert_snapshot!(said.map(|found| wrong(&found)).join("--\n"), @"");
    scene.ends().await;
}

async fn certificate(dir: &Path) {
    let words = "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out ca.pem -days 2 -subj /CN=localhost \
                 -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
    let made = Program::new("openssl").args(words.split_whitespace()).current_dir(dir).run().await.unwrap();
    assert!(made.status.success(), "{}", made.stderr_text());
}
