//! Builds in images, with the real podman and the real docker: the system that they see is not this machine's.

use super::*;
use crate::executor::local::image::{ImageConfig, ImageError};
use crate::sys::env;
use crate::sys::process::Child;

/// Makes a small system in `$1` of those programs of this machine that makepkg needs, with what they are linked to.
const SYSTEM: &str = r#"
set -eu
root=$1
put() { mkdir -p "$root/usr/${2%/*}"; cp -L "$1" "$root/usr/$2"; }
below_usr() { local path; path=$(readlink -f "${1%/*}")/${1##*/}; path=${path#/usr/}; echo "${path#/}"; }
for program in bash sh env cat cp mv rm ln ls mkdir rmdir touch chmod chown date dirname basename head tail cut sort uniq tr tee \
    wc id stat install mktemp readlink realpath sed grep awk find xargs gzip bzip2 xz zstd bsdtar file fakeroot faked faked-sysv faked-tcp getopt tput \
    gettext makepkg pacman pacman-conf vercmp prlimit strip objcopy readelf ldd nproc uname cksum md5sum \
    sha1sum sha224sum sha256sum sha384sum sha512sum b2sum true false printf expr du seq od cmp diff tac sleep sync; do
    path=$(command -v "$program" || true)
    case $path in /*) ;; *) continue ;; esac
    put "$path" "bin/$program"
    ldd "$(readlink -f "$path")" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
        put "$library" "$(below_usr "$library")"
    done
done
for tree in /usr/share/makepkg /usr/lib/*/libfakeroot /usr/lib/libfakeroot /usr/share/misc /usr/lib/file; do
    [ ! -d "$tree" ] || { mkdir -p "$root${tree%/*}"; cp -RL "$tree" "$root${tree%/*}"; }
done
mkdir -p "$root/etc" "$root/var/lib/pacman/local/thing-1-1"
cp -L /etc/makepkg.conf "$root/etc/"
printf '%%NAME%%\nthing\n\n%%VERSION%%\n1-1\n\n%%ARCH%%\nany\n' >"$root/var/lib/pacman/local/thing-1-1/desc"
printf '%%FILES%%\n' >"$root/var/lib/pacman/local/thing-1-1/files"
echo 9 >"$root/var/lib/pacman/local/ALPM_DB_VERSION"
"#;

const NAME: &str = "localhost/build:latest";

/// A daemon of docker that nobody else has, in `$1`: nothing of it is seen or changed outside, and its mounts go with it.
const DAEMON: &str = r#"
echo '{}' >"$1/daemon.json"
exec unshare --mount --propagation private dockerd --config-file "$1/daemon.json" \
    --bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false --storage-driver=vfs \
    --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" -H "unix://$1/socket" >"$1/log" 2>&1
"#;

/// The same cases with each engine.
macro_rules! with_each_engine {
    ($($case:ident)*) => {
        mod podman {
            $(#[tokio::test]
            async fn $case() {
                super::$case(super::Engine::podman().await).await;
            })*
        }

        mod docker {
            $(#[tokio::test]
            async fn $case() {
                if let Some(engine) = super::Engine::docker().await {
                    super::$case(engine).await;
                }
            })*
        }
    };
}

with_each_engine! {
    a_build_sees_the_system_of_the_image_as_it_is_when_it_begins
    an_image_that_leads_out_of_itself_or_has_no_makepkg_is_refused
    an_image_that_nobody_has_is_said_to_be_missing
}

/// A machine with an engine of its own.
struct Engine {
    world: World,
    program: PathBuf,
    daemon: Option<Child>,
}

impl Engine {
    async fn podman() -> Self {
        let containers = "podman --root \"$0.d/root\" --runroot \"$0.d/run\" --storage-driver vfs";
        Self::with(World::new(), "podman", containers, None).await
    }

    /// Docker with a daemon of its own; where there can be none, says why.
    async fn docker() -> Option<Self> {
        let world = World::new();
        let dir = world.dir.path().join("docker.d");
        fs::create_dir(&dir).unwrap();
        let program = "docker --config \"$0.d/config\" -H \"unix://$0.d/socket\"";
        let daemon = match start_docker(&dir).await {
            Ok(daemon) => daemon,
            Err(why) => {
                skipped(&why);
                return None;
            }
        };
        Some(Self::with(world, "docker", program, Some(daemon)).await)
    }

    async fn with(world: World, name: &str, command: &str, daemon: Option<Child>) -> Self {
        let program = world.dir.path().join(name);
        fs::write(&program, format!("#!/bin/sh\nexec {command} \"$@\"\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let engine = Self { world, program, daemon };
        engine.sh(SYSTEM, &engine.system()).await;
        engine
    }

    /// Nothing is left in it, and it is gone.
    async fn ends(mut self) {
        assert_eq!(self.ask(&["ps", "--all", "--quiet"]).await, "", "no container is left");
        assert_eq!(self.ask(&["volume", "ls", "--quiet"]).await, "", "nor a volume of one");
        if let Some(daemon) = &mut self.daemon {
            daemon.stop(Duration::from_secs(20)).await;
        }
    }

    fn system(&self) -> PathBuf {
        self.world.dir.path().join("system")
    }

    async fn sh(&self, script: &str, argument: &Path) {
        let run = Program::new("bash").args(["-c", script, "sh"]).arg(argument).run().await.unwrap();
        assert!(run.status.success(), "{}", run.stderr_text());
    }

    async fn ask(&self, arguments: &[&str]) -> String {
        let output = Program::new(&self.program).args(arguments).run().await.unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", output.stderr_text());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes an image of the system as it is, with this in one file of it.
    async fn import(&self, mark: &str) {
        fs::write(self.system().join("usr/share/mark"), mark).unwrap();
        let packed = self.world.dir.path().join("system.tar");
        let pack = Program::new("bsdtar").arg("-cf").arg(&packed).arg("-C").arg(self.system()).arg(".");
        assert!(pack.run().await.unwrap().status.success());
        self.ask(&["import", "--change", "VOLUME /data", packed.to_str().unwrap(), NAME]).await;
        fs::remove_file(packed).unwrap();
    }

    fn config(&self) -> ImageConfig {
        let dir = self.world.dir.path().join("images");
        ImageConfig { engine: self.program.display().to_string(), name: NAME.to_owned(), dir }
    }

    fn executor(&self) -> LocalExecutor {
        let config = LocalConfig { image: Some(self.config()), ..LocalConfig::under(self.world.dir.path()) };
        LocalExecutor::open(config, self.world.logs.clone()).unwrap()
    }

    fn images(&self) -> Vec<String> {
        let entries = fs::read_dir(self.config().dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

/// Starts a daemon of docker, and waits until it answers; why there is none, if there can be none.
async fn start_docker(dir: &Path) -> Result<Child, String> {
    if !env::is_root() {
        return Err("only root can run its daemon".to_owned());
    }
    for program in ["docker", "dockerd"] {
        let found = Program::new(program).arg("--version").run().await;
        found.map_err(|error| format!("{error}; `.ci/setup --tests` installs it"))?;
    }
    let mut daemon = Program::new("sh").args(["-c", DAEMON, "sh"]).arg(dir).spawn().unwrap();
    let socket = format!("unix://{}", dir.join("socket").display());
    let up = async {
        while !Program::new("docker").args(["-H", &socket, "version"]).run().await.unwrap().status.success() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ended = tokio::select! {
        () = up => None,
        ended = daemon.wait() => Some(ended.unwrap()),
        () = tokio::time::sleep(Duration::from_mins(1)) => panic!("it does not answer"),
    };
    let Some(ended) = ended else { return Ok(daemon) };
    let log = fs::read_to_string(dir.join("log")).unwrap();
    Err(format!("its daemon cannot run here ({ended}): {}", log.lines().last().unwrap_or_default()))
}

/// nextest shows this at the end.
fn skipped(why: &str) {
    eprintln!("SKIPPED, docker was not tried: {why}");
}

async fn finish(executor: &LocalExecutor, order: BuildOrder) -> AttemptReport {
    let handle = executor.submit(order).await.unwrap();
    executor.finished(&handle).await.unwrap()
}

async fn a_build_sees_the_system_of_the_image_as_it_is_when_it_begins(mut engine: Engine) {
    engine.import("first").await;
    let executor = engine.executor();
    engine.world.executor = executor.clone();
    let lines = "depends=(thing)\npackage() {\n\
        [[ ! -e /usr/bin/perl && ! -e /usr/bin/gcc ]]\n\
        install -Dm644 /usr/share/mark \"$pkgdir/usr/share/mark\"\n}";
    let report = engine.world.succeed(engine.world.small("a1", lines)).await;
    let package = &report.artefacts[0].path;
    assert_eq!(member(package, "usr/share/mark").await, "first");
    assert!(member(package, ".BUILDINFO").await.contains("installed = thing-1-1-any"));
    let first = engine.images();
    assert!(engine.world.log("a1").contains(&format!("==> in the image {NAME} ({})", first[0])));

    engine.import("second").await;
    let report = engine.world.succeed(engine.world.small("a2", lines)).await;
    assert_eq!(member(&report.artefacts[0].path, "usr/share/mark").await, "second");
    assert_eq!((first.len(), engine.images().len()), (1, 1));
    assert_ne!(engine.images(), first, "the one that nobody builds in any more is not kept");
    engine.ends().await;
}

async fn an_image_that_leads_out_of_itself_or_has_no_makepkg_is_refused(engine: Engine) {
    engine.sh("cd \"$1\" && rm -rf etc/ssl && ln -s /root etc/ssl", &engine.system()).await;
    engine.import("x").await;
    let executor = engine.executor();
    let report = finish(&executor, engine.world.small("a1", PACKAGE)).await;
    assert_eq!(report.ending, Ending::Infrastructure);
    assert!(report.message.ends_with("cannot be built in: its /etc/ssl is a link"), "{}", report.message);

    engine.sh("cd \"$1\" && rm etc/ssl usr/bin/makepkg", &engine.system()).await;
    engine.import("x").await;
    let report = finish(&executor, engine.world.small("a2", PACKAGE)).await;
    assert!(report.message.contains("it has no makepkg; an image with"), "{}", report.message);
    let half: Vec<_> = engine.images().into_iter().filter(|name| !name.starts_with('.')).collect();
    assert!(half.is_empty(), "nothing is built in what is not whole: {half:?}");
    engine.executor();
    assert!(engine.images().is_empty(), "and it is cleaned up");
    engine.ends().await;
}

async fn an_image_that_nobody_has_is_said_to_be_missing(engine: Engine) {
    let config = ImageConfig { name: "localhost:9/nowhere".into(), ..engine.config() };
    assert!(!config.is_there().await.unwrap());
    let images = image::Images::open(config).unwrap();
    let error = images.current().await.unwrap_err();
    assert!(matches!(&error, ImageError::Refused { what: "fetch", .. }), "{error}");
    let config = ImageConfig { engine: "no-such-engine".into(), ..engine.config() };
    let error = LocalExecutor::open(
        LocalConfig { image: Some(config), ..LocalConfig::under(engine.world.dir.path()) },
        engine.world.logs.clone(),
    )
    .unwrap()
    .submit(engine.world.small("a1", PACKAGE))
    .await
    .unwrap_err();
    assert!(error.to_string().contains("no-such-engine is not installed; builds are done in an image"), "{error}");
    engine.ends().await;
}

/// The program of docker is there, and its daemon is not.
#[tokio::test]
async fn a_daemon_that_is_not_there_is_no_image_that_is_not_there() {
    let world = World::new();
    let dir = world.dir.path().join("images");
    let program = world.dir.path().join("docker");
    fs::write(&program, "#!/bin/sh\nexec docker -H \"unix://$0.socket\" \"$@\"\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    if let Err(error) = Program::new("docker").arg("--version").run().await {
        return skipped(&error.to_string());
    }
    let config = ImageConfig { engine: program.display().to_string(), name: NAME.to_owned(), dir };
    let error = config.is_there().await.unwrap_err();
    assert!(error.to_string().contains("docker.socket"), "{error}");
    let error = image::Images::open(config).unwrap().current().await.unwrap_err();
    assert!(error.to_string().contains("docker.socket"), "{error}");
}
