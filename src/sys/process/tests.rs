//! Real programs, run as the rest of the project runs them.

use super::*;

fn sh(script: &str) -> Program {
    Program::new("sh").args(["-c", script])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Whether a process is gone, or only waits to be collected by whoever inherited it.
fn is_dead(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

async fn wait_until_dead(pid: &str) {
    tokio::time::timeout(Duration::from_mins(1), async {
        while !is_dead(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("it is killed");
}

#[tokio::test]
async fn a_child_sees_only_what_it_is_given() {
    let output = Program::new("env").env("GIVEN", "1").run().await.expect("runs");
    let allowed = |name: &str| INHERITED.contains(&name) || ["LANG", "LC_ALL", "GIVEN"].contains(&name);
    let names: Vec<String> =
        text(&output.stdout).lines().map(|line| line.split('=').next().unwrap_or_default().to_owned()).collect();
    assert!(names.contains(&"GIVEN".to_owned()) && names.contains(&"PATH".to_owned()));
    assert_eq!(names.iter().filter(|name| !allowed(name)).collect::<Vec<_>>(), Vec::<&String>::new());
    let path = inherited("PATH").expect("set");
    let env = std::env::split_paths(&path).map(|dir| dir.join("env")).find(|path| path.exists());
    let env = env.expect("env is installed");
    let output = Program::new(env).env_clear().env("ONLY", "1").run().await.expect("runs");
    assert_eq!(text(&output.stdout), "ONLY=1\n");
}

#[tokio::test]
async fn arguments_are_not_read_by_a_shell() {
    let output = Program::new("printf").args(["%s|", "a b", "$HOME", "*"]).run().await.expect("runs");
    assert_eq!(text(&output.stdout), "a b|$HOME|*|");
}

#[tokio::test]
async fn standard_input_is_empty_or_what_is_given() {
    let output = Program::new("cat").run().await.expect("runs");
    assert!(output.stdout.is_empty());
    let bytes = vec![b'x'; 1 << 20];
    let output = Program::new("cat").stdin_bytes(bytes.clone()).run().await.expect("runs");
    assert_eq!(output.stdout, bytes);
    let deaf = Program::new("true").stdin_bytes(bytes).run().await.expect("runs");
    assert!(deaf.status.success());
}

#[tokio::test]
async fn a_failing_status_is_not_an_error() {
    let output = sh("echo out; echo err >&2; exit 7").run().await.expect("runs");
    assert_eq!(output.status.code(), Some(7));
    assert_eq!((text(&output.stdout).as_str(), output.stderr_text().as_str()), ("out\n", "err"));
}

#[tokio::test]
async fn what_is_over_the_limit_is_dropped_and_flagged() {
    let program = || sh("head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2");
    let output = program().output_limit(1000).run().await.expect("runs");
    assert!(output.truncated && output.status.success());
    assert_eq!((output.stdout.len(), output.stderr.len()), (1000, 1000));
    assert!(!program().output_limit(300_000).run().await.expect("runs").truncated);
}

#[tokio::test]
async fn a_time_limit_ends_everything_the_program_started() {
    let dir = tempfile::tempdir().expect("dir");
    let script = "trap 'echo bye > said' TERM; sleep 1000 & echo $! > pid; wait";
    let mut pid = String::new();
    // On a machine that is so busy that nothing has begun by then, it is given more time.
    for after in [0.5, 5.0, 50.0] {
        let run = sh(script).current_dir(dir.path()).timeout(Duration::from_secs_f64(after)).run();
        let error = run.await.expect_err("too slow");
        assert_eq!(error.to_string(), format!("`sh` was stopped after {after} s"));
        pid = std::fs::read_to_string(dir.path().join("pid")).unwrap_or_default();
        if !pid.is_empty() {
            break;
        }
    }
    assert!(!pid.is_empty(), "it never began");
    wait_until_dead(pid.trim()).await;
    assert!(dir.path().join("said").exists(), "it was asked to end before it was killed");
}

#[tokio::test]
async fn dropping_a_child_kills_everything_it_started() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let mut child = sh("sleep 1000 & echo $!; wait").spawn().expect("starts");
    let mut line = String::new();
    BufReader::new(child.stdout().expect("piped")).read_line(&mut line).await.expect("read");
    let leader = child.id().expect("runs").to_string();
    drop(child);
    wait_until_dead(line.trim()).await;
    wait_until_dead(&leader).await;
}

#[tokio::test]
async fn a_program_left_behind_does_not_hold_the_answer_back() {
    let output = sh("sleep 1000 & echo $!").run().await.expect("runs");
    assert!(output.status.success());
    wait_until_dead(text(&output.stdout).trim()).await;
}

#[tokio::test]
async fn a_child_that_ignores_sigterm_is_killed() {
    use std::os::unix::process::ExitStatusExt as _;
    use tokio::io::AsyncReadExt as _;
    let mut child = sh("trap '' TERM; echo; while :; do sleep 1000; done").spawn().expect("starts");
    child.stdout().expect("piped").read_u8().await.expect("the trap is set");
    child.stop(Duration::from_millis(100)).await;
    assert_eq!(child.wait().await.expect("waited for").signal(), Some(9));
    assert_eq!(child.id(), None);
}

#[tokio::test]
async fn a_missing_program_says_what_to_install() {
    let missing = Program { name: "/nowhere/makepkg".into(), ..Program::new("x") };
    let error = missing.run().await.expect_err("missing");
    assert_eq!(
        error.to_string(),
        "`/nowhere/makepkg` is not installed: install it with `apt install makepkg` (Debian) or \
         `pacman -S pacman` (Arch)"
    );
    let error = Program::new("pkgwarden-no-such-program").run().await.expect_err("missing");
    assert_eq!(error.to_string(), "`pkgwarden-no-such-program` is not installed");
    let error = Program::new("true").current_dir("/no/such/folder").run().await.expect_err("no folder");
    assert_eq!(error.to_string(), "cannot run `true`: there is no folder /no/such/folder");
}

#[tokio::test]
async fn blocking_code_may_run_programs_even_inside_a_runtime() {
    let output = Program::new("echo").arg("hi").run_blocking().expect("runs");
    assert_eq!(text(&output.stdout), "hi\n");
}

#[tokio::test]
async fn root_can_run_a_program_as_somebody_else() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let output = sh("id -u; id -g; id -G").user(65_534, 65_534).run().await.expect("runs");
    assert_eq!(text(&output.stdout), "65534\n65534\n65534\n");
}
