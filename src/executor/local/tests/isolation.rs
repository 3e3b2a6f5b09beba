//! What builds see of the machine and of the network.

use super::*;

/// Serves the files of a directory over HTTP until the test ends; says where.
async fn serve(dir: &Path) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, dir) = (listener.local_addr().unwrap(), dir.to_owned());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap_or_default();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = request.split([' ', '?']).nth(1).unwrap_or_default().trim_start_matches('/');
            let (status, body) = match fs::read(dir.join(path)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
        }
    });
    address
}

async fn git(dir: &Path, args: &[&str]) {
    let identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"];
    let output = Program::new("git").args(identity).args(args).current_dir(dir).run().await.unwrap();
    assert!(output.status.success(), "{}", output.stderr_text());
}

#[tokio::test]
async fn sources_are_fetched_with_the_network_and_the_build_has_none() {
    let site = tempfile::tempdir().unwrap();
    fs::write(site.path().join("hello.txt"), "hello\n").unwrap();
    let address = serve(site.path()).await;
    let world = World::new();
    let source = format!(
        "source=(http://{address}/hello.txt)\nsha256sums=(5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03)"
    );
    let good = format!("{source}\npackage() {{ install -D hello.txt \"$pkgdir/usr/share/hello.txt\"; }}");
    let report = world.succeed(world.small("a1", &good)).await;
    assert_eq!(member(&report.artefacts[0].path, "usr/share/hello.txt").await, "hello\n");
    let curious = format!("{source}\nbuild() {{ curl -sS --max-time 5 http://{address}/; }}\n{PACKAGE}");
    let report = world.build(world.small("a2", &curious)).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed), "{}", world.log("a2"));
    assert_eq!(report.exit_code, Some(4));
    assert!(world.log("a2").contains("curl: (7)"), "{}", world.log("a2"));
}

#[tokio::test]
async fn a_vcs_package_is_cloned_with_the_network_and_built_without_it() {
    let site = tempfile::tempdir().unwrap();
    let (upstream, work) = (site.path().join("upstream.git"), site.path().join("work"));
    git(site.path(), &["init", "-q", "-b", "main", "--bare", "upstream.git"]).await;
    git(site.path(), &["init", "-q", "-b", "main", "work"]).await;
    let world = World::new();
    let address = serve(site.path()).await;
    let lines = format!(
        "source=(git+http://{address}/upstream.git)\nsha256sums=(SKIP)\n\
         pkgver() {{ cd upstream; echo \"r$(git rev-list --count HEAD).$(git rev-parse --short=7 HEAD)\"; }}\n\
         package() {{ install -D upstream/file \"$pkgdir/usr/share/file\"; }}"
    );
    for (attempt, content) in [("a1", "one"), ("a2", "two")] {
        fs::write(work.join("file"), content).unwrap();
        git(&work, &["add", "file"]).await;
        git(&work, &["commit", "-qm", content]).await;
        git(&work, &["push", "-q", "../upstream.git", "main"]).await;
        git(&upstream, &["update-server-info"]).await;
        // Nothing checks what is in a repository: it is kept only where everything may be.
        let caches = crate::domain::cache::Plan {
            sets: vec![crate::domain::cache::ready::srcdest()],
            commands: false,
            ..crate::domain::cache::Plan::default()
        };
        let order = BuildOrder { caches, ..world.small(attempt, &lines) };
        let report = world.succeed(order).await;
        let count = if attempt == "a1" { "r1" } else { "r2" };
        assert!(report.artefacts[0].name.starts_with(&format!("small-{count}.")), "{report:?}");
        assert_eq!(member(&report.artefacts[0].path, "usr/share/file").await, content);
    }
    assert!(world.log("a1").contains("Cloning upstream") && world.log("a2").contains("Updating upstream"));
}

#[tokio::test]
async fn an_unreachable_source_is_not_the_packages_fault_and_a_wrong_checksum_is() {
    let world = World::new();
    // Taken, so that nobody else comes to listen there.
    let taken = tokio::net::TcpSocket::new_v4().unwrap();
    taken.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let closed = taken.local_addr().unwrap();
    let lines = format!(
        "source=(http://{closed}/x)\nsha256sums=(SKIP)\nDLAGENTS=('http::/usr/bin/curl -sS -o %o %u')\n{PACKAGE}"
    );
    let report = world.build(world.small("a1", &lines)).await;
    assert_eq!(report.ending, Ending::Infrastructure, "{report:?} {}", world.log("a1"));
    let wrong = format!("source=(x)\nsha256sums=({})\n{PACKAGE}", "0".repeat(64));
    let order = world.small("a2", &wrong);
    let report = world.build(BuildOrder { files: order.files.clone().with("x", "x"), ..order }).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed));
    assert!(report.message.contains("did not pass the validity check"), "{report:?}");
}

#[tokio::test]
async fn the_build_sees_no_secret_and_is_not_root() {
    let world = World::new();
    let lines = format!(
        "source=(marker)\nsha256sums=(SKIP)\nbuild() {{\n\
         echo \"id=$(id -u)\"; ls /root /home /work {dir} 2>&1 || true; env | sort; cat /proc/1/environ 2>&1 | tr '\\0' '\\n' || true\n\
         cat /etc/shadow 2>&1 || true; touch /usr/evil 2>&1 || true; ls /\n}}\n{PACKAGE}",
        dir = world.dir.path().display()
    );
    let order = world.small("a1", &lines);
    let order = BuildOrder { files: order.files.clone().with("marker", ""), cache_sources: true, ..order };
    world.succeed(order).await;
    let log = world.log("a1");
    assert!(log.contains("id=1000"), "{log}");
    for unseen in ["CARGO", "TOKEN", "SECRET", "root:", "/logs", "NEXTEST"] {
        assert!(!log.contains(unseen), "`{unseen}` is in {log}");
    }
    assert!(log.contains("ls: cannot access '/root'") && log.contains("touch: cannot touch '/usr/evil'"), "{log}");
    let cache = fs::metadata(world.dir.path().join("caches")).unwrap();
    assert_eq!(cache.mode() & 0o777, 0o700, "no build looks into what others keep");
}

#[tokio::test]
async fn an_order_that_would_lead_out_of_our_directories_is_refused() {
    let world = World::new();
    let order = world.small("a1", PACKAGE);
    for bad in [
        BuildOrder { attempt: "../a".into(), ..order.clone() },
        BuildOrder { repository: "..".into(), ..order.clone() },
        BuildOrder { arch: "x/../y".into(), ..order.clone() },
    ] {
        assert!(world.executor.submit(bad).await.is_err());
    }
    let files = order.files.clone().with("../../evil", "x");
    let report = world.build(BuildOrder { attempt: "a2".into(), files, ..order }).await;
    assert_eq!(report.ending, Ending::Done(Outcome::Failed));
    assert_eq!(report.message, "`../../evil` cannot be a file of a package folder");
}

#[tokio::test]
async fn a_directory_the_build_user_cannot_enter_is_named() {
    let world = World::new();
    if !world.executor.inner.user.switch {
        return;
    }
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let later = world.executor.submit(world.small("a1", PACKAGE)).await.unwrap_err().to_string();
    let at_once = LocalExecutor::open(LocalConfig::under(world.dir.path()), world.logs.clone()).unwrap_err();
    assert_eq!(later, at_once.to_string());
    let dir = world.dir.path().canonicalize().unwrap().display().to_string();
    let user = world.executor.inner.user.to_string();
    insta::assert_snapshot!(later.replace(&dir, "<dir>").replace(&user, "<user>"), @"the build user <user> cannot enter <dir>, which is above <dir>/work: set `server.data_dir` (and `publish.dir`, if given) to a directory that everybody can enter, such as /var/lib/pkgwarden, or `chmod o+x <dir>`");
}

#[tokio::test]
async fn a_build_makes_no_user_namespace() {
    let world = World::new();
    let lines = format!("build() {{ unshare -U true || echo refused; unshare -Ur id -u || :; }}\n{PACKAGE}");
    world.succeed(world.small("a1", &lines)).await;
    let log = world.log("a1");
    assert!(log.contains("refused") && !log.lines().any(|line| line.trim() == "0"), "{log}");
}
