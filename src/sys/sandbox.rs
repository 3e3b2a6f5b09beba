//! The bubblewrap sandbox of one step of a build: a value, and the arguments it becomes.
//!
//! Inside there is the system's `/usr` read-only, a few files of `/etc`, and what the step is given;
//! nothing of `/root`, `/home`, the controller's data or its environment. Nothing can be written but what the
//! step is given for it, and small places for temporary files; and there is a limit to how many processes run.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use nix::unistd::{User, geteuid};

use super::process::Program;

/// What each of the places for temporary files may hold that are in memory: 256 MiB. Who needs more is given a
/// directory of a disk in their place.
const IN_MEMORY: u64 = 256 << 20;

/// The most processes and threads of one sandbox, where the system allows as many.
const MOST_PROCESSES: u64 = 8192;

/// The user and group a build sees itself as, whoever it is outside.
pub const INSIDE_UID: u32 = 1000;

/// Whether a step reaches the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// A network of its own, with nothing in it.
    None,
    /// The network of this machine.
    Shared,
}

/// What a step may do with a directory it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read.
    Read,
    /// Read and write.
    Write,
}

impl Access {
    const fn option(self) -> &'static str {
        match self {
            Self::Read => "--ro-bind",
            Self::Write => "--bind",
        }
    }
}

/// A file or directory of this machine that is seen inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it is on this machine.
    pub from: PathBuf,
    /// Where it is seen.
    pub to: &'static str,
    /// What may be done with it.
    pub access: Access,
}

/// The system that is seen inside: its `/usr`, and some files of its `/etc`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct System {
    root: PathBuf,
}

impl System {
    /// That of this machine.
    #[must_use]
    pub fn of_this_machine() -> Self {
        Self::at("/".into())
    }

    /// One that lies in a directory. None of [`System::paths`] may be a link there: it would lead to this machine's.
    #[must_use]
    pub const fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// What may be seen of it.
    pub fn paths() -> impl Iterator<Item = &'static str> {
        ["/usr", "/etc"].into_iter().chain(SYSTEM).chain([NAMES_OF_THE_SYSTEM])
    }

    /// Whether there is something at this path of it.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

/// One step to run in a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxSpec {
    /// The system that it runs on.
    pub system: System,
    /// Whether it reaches the network.
    pub network: Network,
    /// What it is given beside the system.
    pub mounts: Vec<Mount>,
    /// Directories of packages (from, to), read-only.
    pub repositories: Vec<(PathBuf, String)>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// Where it starts.
    pub directory: &'static str,
    /// The program and its arguments.
    pub command: Vec<String>,
}

/// Files of the system every step sees, where the system has them.
const SYSTEM: [&str; 8] = [
    "/etc/makepkg.conf",
    "/etc/makepkg.conf.d",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ssl",
    "/etc/ca-certificates",
];

/// Files of this machine a step needs to find hosts.
const NAMES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// What it needs of its system for that: how that system uses them.
const NAMES_OF_THE_SYSTEM: &str = "/etc/nsswitch.conf";

/// Compatibility links that stand in the root of a system with a merged `/usr`.
const LINKS: [(&str, &str); 4] =
    [("usr/bin", "/bin"), ("usr/lib", "/lib"), ("usr/lib64", "/lib64"), ("usr/sbin", "/sbin")];

/// Runs the command with its errors where its output is, so that both arrive in order through one pipe
/// and what is left on the pipe for errors can only be bubblewrap's.
///
/// A controller that is killed must leave no command behind. `--die-with-parent` takes hold inside only when
/// everything is set up, and does not notice a parent that is gone by then. So the shell waits until process 1
/// of the sandbox is bound, after which that process only sleeps; then it prints a line, and runs the command
/// when somebody who has read it answers with a line. Whoever answers lives after all was bound to its life.
///
/// The sandbox stays in the process group that it was started in (no `--new-session`), so that stopping the
/// group stops it at every moment of its setup: bubblewrap leaves the session before it binds the inner
/// process to the life of the outer one, and would leave that behind. What a new session protects from, a
/// build that types into the controller's terminal, has no terminal to open.
///
/// Where memory runs out, the system is to end what runs in here and not the controller.
const START: &str = r#"{ echo 1000 >/proc/self/oom_score_adj; } 2>/dev/null
while read -r _ _ state _ </proc/1/stat && [ "$state" != S ]; do :; done
echo "$0" && read -r _ && exec "$@" </dev/null 2>&1"#;

/// What the sandbox waits for after its first line of output, before it runs the command.
pub const ANSWER: &[u8] = b"\n";

impl SandboxSpec {
    /// The arguments for `bwrap`.
    #[must_use]
    pub fn arguments(&self) -> Vec<OsString> {
        self.arguments_with(super::limit::processes().min(MOST_PROCESSES), forbids_user_namespaces())
    }

    /// The arguments for a sandbox with at most so many processes and threads, which may forbid user namespaces.
    fn arguments_with(&self, processes: u64, forbids: bool) -> Vec<OsString> {
        let mut args = Arguments::default();
        args.add(["--unshare-all"]);
        if forbids {
            args.add(FORBID);
        }
        if self.network == Network::Shared {
            args.add(["--share-net"]);
        }
        let id = INSIDE_UID.to_string();
        args.add(["--uid", &id, "--gid", &id, "--hostname", "build"]);
        args.add(["--die-with-parent", "--clearenv"]);
        args.bind("--ro-bind", &self.system.path("/usr"), "/usr");
        for (target, link) in LINKS {
            args.add(["--symlink", target, link]);
        }
        args.add(["--dev", "/dev", "--dev-bind", "/dev/null", "/dev/tty", "--proc", "/proc"]);
        let size = IN_MEMORY.to_string();
        for place in ["/tmp", "/run", "/dev/shm", "/home/build"] {
            args.add(["--size", &size, "--tmpfs", place]);
        }
        args.add(["--symlink", "../tmp", "/var/tmp"]);
        for path in SYSTEM {
            args.bind("--ro-bind-try", &self.system.path(path), path);
        }
        if self.network == Network::Shared {
            for path in NAMES {
                args.bind("--ro-bind-try", Path::new(path), path);
            }
            args.bind("--ro-bind-try", &self.system.path(NAMES_OF_THE_SYSTEM), NAMES_OF_THE_SYSTEM);
        }
        for mount in &self.mounts {
            args.bind(mount.access.option(), &mount.from, mount.to);
        }
        for (from, to) in &self.repositories {
            args.bind(Access::Read.option(), from, to);
        }
        for (name, value) in &self.env {
            args.add(["--setenv", name, value]);
        }
        // Everything has its place by now.
        args.add(["--remount-ro", "/dev", "--remount-ro", "/"]);
        args.add(["--chdir", self.directory, "--", "/bin/sh", "-c", START, self.first_line()]);
        args.add(["prlimit", &format!("--nproc={processes}"), "--core=0", "--"]);
        args.add(self.command.iter().map(String::as_str));
        args.0
    }

    const fn first_line(&self) -> &'static str {
        match self.network {
            Network::None => "  -> In a sandbox without network",
            Network::Shared => "  -> In a sandbox with network",
        }
    }
}

/// Has no user namespaces made inside: in one of its own, a build would be root, and reach parts of the kernel that are
/// meant for root. bubblewrap knows it from version 0.8 on.
const FORBID: [&str; 2] = ["--unshare-user", "--disable-userns"];

/// How long bubblewrap may take to show what it can do.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether sandboxes of this process forbid that user namespaces are made in them. Where bubblewrap is too old, or may not
/// write the kernel's settings for that (as in some containers), they are set up without. Tried once.
#[must_use]
pub fn forbids_user_namespaces() -> bool {
    static FORBIDS: OnceLock<bool> = OnceLock::new();
    if let Some(known) = FORBIDS.get() {
        return *known;
    }
    let forbids = works(&FORBID);
    // Where no sandbox works, nothing is known of it.
    if !forbids && !works(&[]) {
        return false;
    }
    if !forbids {
        tracing::warn!("builds can make user namespaces, and be root in them; `pkgwarden doctor` says what helps");
    }
    *FORBIDS.get_or_init(|| forbids)
}

/// Whether a sandbox can be set up with these arguments, by somebody who is not root.
fn works(arguments: &[&str]) -> bool {
    let program = Program::new("bwrap").arg("--unshare-all").args(arguments).current_dir("/").timeout(PATIENCE);
    let program = program.args(["--uid", "1000", "--gid", "1000", "--ro-bind", "/", "/", "--proc", "/proc", "--"]);
    let nobody = geteuid().is_root().then(|| User::from_name("nobody").ok().flatten()).flatten();
    let program = match nobody {
        Some(nobody) => program.user(nobody.uid.as_raw(), nobody.gid.as_raw()),
        None => program,
    };
    program.arg("/usr/bin/true").run_blocking().is_ok_and(|output| output.status.success())
}

#[derive(Default)]
struct Arguments(Vec<OsString>);

impl Arguments {
    fn add<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        self.0.extend(words.into_iter().map(OsString::from));
    }

    fn bind(&mut self, option: &str, from: &Path, to: &str) {
        self.add([option]);
        self.0.push(from.into());
        self.add([to]);
    }
}

/// What bubblewrap's complaint means and how to mend it.
#[must_use]
pub fn explain(complaint: &str) -> String {
    let complaint = complaint.trim();
    let remedy = if ["namespace", "uid map", "setting up"].iter().any(|word| complaint.contains(word)) {
        "this machine does not let its users create namespaces: set the sysctls \
         `kernel.unprivileged_userns_clone=1` (Debian, Arch's linux-hardened), \
         `user.max_user_namespaces=10000` and, on Ubuntu, `kernel.apparmor_restrict_unprivileged_userns=0`; \
         in a container, allow `unshare` in its seccomp profile"
    } else if complaint.contains("Permission denied") || complaint.contains("Can't find source path") {
        "the build user has to be able to enter every directory above the ones it is given"
    } else {
        "`pkgwarden doctor` tries the sandbox on its own"
    };
    format!("the sandbox could not be set up: {complaint} ({remedy})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(network: Network) -> SandboxSpec {
        SandboxSpec {
            system: System::of_this_machine(),
            network,
            mounts: vec![Mount { from: "/data/work/a1/start".into(), to: "/startdir", access: Access::Write }],
            repositories: vec![("/srv/repo".into(), "/repos/mine".into())],
            env: [("PATH".to_owned(), "/usr/bin".to_owned())].into(),
            directory: "/startdir",
            command: vec!["makepkg".into(), "--verifysource".into()],
        }
    }

    fn text(spec: &SandboxSpec) -> String {
        let words: Vec<_> =
            spec.arguments_with(100, true).iter().map(|word| word.to_string_lossy().into_owned()).collect();
        words.join(" ").replace(" --", "\n--")
    }

    #[test]
    fn a_build_step_sees_only_the_system_and_what_it_is_given() {
        insta::assert_snapshot!(text(&spec(Network::None)), @r#"
        --unshare-all
        --unshare-user
        --disable-userns
        --uid 1000
        --gid 1000
        --hostname build
        --die-with-parent
        --clearenv
        --ro-bind /usr /usr
        --symlink usr/bin /bin
        --symlink usr/lib /lib
        --symlink usr/lib64 /lib64
        --symlink usr/sbin /sbin
        --dev /dev
        --dev-bind /dev/null /dev/tty
        --proc /proc
        --size 268435456
        --tmpfs /tmp
        --size 268435456
        --tmpfs /run
        --size 268435456
        --tmpfs /dev/shm
        --size 268435456
        --tmpfs /home/build
        --symlink ../tmp /var/tmp
        --ro-bind-try /etc/makepkg.conf /etc/makepkg.conf
        --ro-bind-try /etc/makepkg.conf.d /etc/makepkg.conf.d
        --ro-bind-try /etc/alternatives /etc/alternatives
        --ro-bind-try /etc/ld.so.cache /etc/ld.so.cache
        --ro-bind-try /etc/ld.so.conf /etc/ld.so.conf
        --ro-bind-try /etc/ld.so.conf.d /etc/ld.so.conf.d
        --ro-bind-try /etc/ssl /etc/ssl
        --ro-bind-try /etc/ca-certificates /etc/ca-certificates
        --bind /data/work/a1/start /startdir
        --ro-bind /srv/repo /repos/mine
        --setenv PATH /usr/bin
        --remount-ro /dev
        --remount-ro /
        --chdir /startdir
        -- /bin/sh -c { echo 1000 >/proc/self/oom_score_adj; } 2>/dev/null
        while read -r _ _ state _ </proc/1/stat && [ "$state" != S ]; do :; done
        echo "$0" && read -r _ && exec "$@" </dev/null 2>&1   -> In a sandbox without network prlimit
        --nproc=100
        --core=0
        -- makepkg
        --verifysource
        "#);
    }

    #[test]
    fn only_a_step_with_network_sees_how_to_find_hosts() {
        let (without, with) = (text(&spec(Network::None)), text(&spec(Network::Shared)));
        let added: Vec<_> = with.lines().filter(|line| !without.contains(line)).collect();
        insta::assert_snapshot!(added.join("\n"), @r#"
        --share-net
        --ro-bind-try /etc/resolv.conf /etc/resolv.conf
        --ro-bind-try /etc/hosts /etc/hosts
        --ro-bind-try /etc/nsswitch.conf /etc/nsswitch.conf
        echo "$0" && read -r _ && exec "$@" </dev/null 2>&1   -> In a sandbox with network prlimit
        "#);
    }

    /// Runs a script in a sandbox with nothing but the system.
    async fn run(script: &str, processes: u64) -> String {
        let command = ["/bin/bash", "-c", script].map(str::to_owned).into();
        let spec = SandboxSpec {
            mounts: Vec::new(),
            repositories: Vec::new(),
            directory: "/",
            command,
            ..spec(Network::None)
        };
        let arguments = spec.arguments_with(processes, forbids_user_namespaces());
        let program = Program::new("bwrap").args(arguments).current_dir("/");
        let nobody = User::from_name("nobody").unwrap().unwrap();
        let switch = geteuid().is_root();
        let program = if switch { program.user(nobody.uid.as_raw(), nobody.gid.as_raw()) } else { program };
        let output = program.stdin_bytes(ANSWER.to_vec()).run().await.unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &output.stderr_text()
    }

    #[tokio::test]
    async fn nothing_but_small_places_for_temporary_files_can_be_written() {
        let printed =
            run("for place in / /dev /etc /var /home /usr; do touch $place/x && echo \"wrote $place\"; done", 50).await;
        assert!(!printed.contains("wrote"), "{printed}");
        let fill = "for place in /tmp /run /dev/shm /home/build /var/tmp; do echo x >$place/x && echo \"wrote $place\"\n\
            df --output=size -B1 $place | tail -n1; done";
        let printed = run(fill, 50).await;
        assert_eq!(printed.matches("wrote").count(), 5, "{printed}");
        assert_eq!(printed.lines().filter(|line| line.trim() == IN_MEMORY.to_string()).count(), 5, "{printed}");
    }

    #[tokio::test]
    async fn no_user_namespace_is_made_inside() {
        assert!(forbids_user_namespaces(), "install bubblewrap 0.8 or newer");
        let printed = run("unshare -U true || echo refused; unshare -Ur id -u", 50).await;
        assert!(printed.contains("refused") && !printed.lines().any(|line| line == "0"), "{printed}");
    }

    #[tokio::test]
    async fn a_fork_bomb_ends_at_the_limit() {
        let bomb = r"perl -e '$| = 1; for (1..60) {
            my $child = fork; if (!defined $child) { print $!; kill 9, -1; exit } sleep 1000 unless $child }'";
        let printed = run(bomb, 30).await;
        assert!(printed.contains("Resource temporarily unavailable"), "{printed}");
    }

    #[test]
    fn a_machine_without_user_namespaces_is_told_the_remedy() {
        let text = explain("bwrap: No permissions to create new namespace, likely because the kernel does not allow");
        assert!(text.contains("kernel.unprivileged_userns_clone=1"), "{text}");
        assert!(explain("bwrap: Can't find source path /root/x: Permission denied").contains("enter every directory"));
    }
}
