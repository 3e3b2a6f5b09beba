//! What an existing Chaotic Manager is told of builds: where packages come from and go to, and the two files that its CI
//! job reads.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::build::BuildRequest;
use super::name::{Oid, PkgBase};
use super::policy::RepositorySettings;

/// The name of the file with the commands.
pub const PARAMS_FILE: &str = "schedule-params.txt";
/// The name of the file with the dependency tree.
pub const DEPTREE_FILE: &str = "deptree.txt";

/// What a Chaotic Manager calls the places that packages come from and go to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The repository that is published to.
    pub target: String,
    /// The monorepo.
    pub source: String,
    /// The `Server` line of the mirror that builds install from, where one is asked for.
    pub mirror: Option<String>,
}

impl Route {
    /// As `.ci/config` says it.
    #[must_use]
    pub fn of(settings: &RepositorySettings) -> Self {
        Self {
            target: settings.target_repository.clone().unwrap_or_else(|| DEFAULT_TARGET.to_owned()),
            source: settings.source_repository.clone(),
            mirror: mirror(&settings.library_databases),
        }
    }
}

impl Default for Route {
    fn default() -> Self {
        Self::of(&RepositorySettings::default())
    }
}

/// What the commands say.
#[derive(Debug, Clone)]
pub struct Schedule<'a> {
    /// The settings of the repository.
    pub settings: &'a RepositorySettings,
    /// The commit to build, as it will be after the push; with the pipeline, where the CI job knows it.
    pub commit: Option<Oid>,
    /// What to build.
    pub builds: &'a [BuildRequest],
    /// Every package there is, if any left: the manager removes the others.
    pub keep: Option<Vec<&'a PkgBase>>,
}

/// What Chaotic's scripts publish to without `REPO_NAME`.
const DEFAULT_TARGET: &str = "chaotic-aur";

impl Schedule<'_> {
    /// The text of [`PARAMS_FILE`]: a script of `declare` statements, as `declare -p` prints them.
    #[must_use]
    pub fn params(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.settings.manager_variables {
            let _ = writeln!(text, "declare -- {key}={}", quoted(value));
        }
        let route = Route::of(self.settings);
        let target = format!("--target-repo={}", route.target);
        if !self.builds.is_empty() {
            let mut words = vec!["schedule".to_owned(), target.clone(), format!("--source-repo={}", route.source)];
            if let Some(commit) = self.commit {
                words.extend(["--commit".to_owned(), commit.to_string()]);
            }
            words.extend(route.mirror.map(|mirror| format!("--arch-mirror={mirror}")));
            words.extend(self.builds.iter().map(|build| match &build.class {
                Some(class) => format!("{}/{class}", build.pkgbase),
                None => build.pkgbase.to_string(),
            }));
            array(&mut text, "PARAMS_SCHEDULE", &words);
        }
        if let Some(keep) = &self.keep {
            let mut words = vec!["auto-repo-remove".to_owned(), target];
            words.extend(keep.iter().map(ToString::to_string));
            array(&mut text, "PARAMS_AUTOREPOREMOVE", &words);
        }
        text
    }
}

/// The `Server` line of the mirror that the first database of an official repository lies on.
fn mirror(databases: &[String]) -> Option<String> {
    let official = |url: &&String| ["/core/os/", "/extra/os/"].iter().any(|part| url.contains(part));
    let url = databases.iter().find(official)?;
    let base = url.rsplitn(5, '/').nth(4)?;
    Some(format!("{base}/$repo/os/$arch"))
}

fn array(text: &mut String, name: &str, words: &[String]) {
    let words: Vec<String> =
        words.iter().enumerate().map(|(index, word)| format!("[{index}]={}", quoted(word))).collect();
    let _ = writeln!(text, "declare -a {name}=({})", words.join(" "));
}

/// A word in double quotes, with what bash would expand escaped.
fn quoted(word: &str) -> String {
    let mut quoted = String::from("\"");
    for character in word.chars() {
        if matches!(character, '"' | '\\' | '$' | '`') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::build::BuildReason;
    use crate::domain::policy::BuildClass;

    fn request(name: &str, class: Option<&str>) -> BuildRequest {
        BuildRequest {
            pkgbase: PkgBase::new(name).expect("legal"),
            arch: "x86_64".into(),
            class: class.map(|class| BuildClass(class.into())),
            reason: BuildReason::Changed,
            lane: crate::domain::schedule::Lane::Normal,
            after: Vec::new(),
            needs: Vec::new(),
        }
    }

    #[test]
    fn the_commands_read_as_declare_prints_them() {
        let settings = RepositorySettings {
            target_repository: Some("my-repo".into()),
            source_repository: "my-source".into(),
            library_databases: vec!["https://mirror.example/core/os/x86_64/core.db".into()],
            manager_variables: [("REDIS_PORT".to_owned(), "6379".to_owned())].into(),
            ..RepositorySettings::default()
        };
        let builds = [request("a", Some("9")), request("c++utilities", None)];
        let gone = PkgBase::new("a").expect("legal");
        let commit = Some(Oid::from_bytes([0xab; 20]));
        let schedule = Schedule { settings: &settings, commit, builds: &builds, keep: Some(vec![&gone]) };
        insta::assert_snapshot!(schedule.params(), @r#"
        declare -- REDIS_PORT="6379"
        declare -a PARAMS_SCHEDULE=([0]="schedule" [1]="--target-repo=my-repo" [2]="--source-repo=my-source" [3]="--commit" [4]="abababababababababababababababababababab" [5]="--arch-mirror=https://mirror.example/\$repo/os/\$arch" [6]="a/9" [7]="c++utilities")
        declare -a PARAMS_AUTOREPOREMOVE=([0]="auto-repo-remove" [1]="--target-repo=my-repo" [2]="a")
        "#);
    }

    #[test]
    fn nothing_of_a_value_is_expanded_when_the_script_is_read() {
        assert_eq!(quoted("a\"$(rm)`x`\\"), r#""a\"\$(rm)\`x\`\\""#);
    }
}
