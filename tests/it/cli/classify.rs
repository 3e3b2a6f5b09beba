//! `classify` under a policy, for people and for forges, and what `check` says about rules.

use crate::support::scene::MAIN;
use crate::support::{Change, Pkg, Scene};

const RULES: &str = "\
minimum_age = \"1 day\"

[[allow]]
package = \"foo\"
code = \"dependency-added\"
field = \"depends\"
new = \"zlib\"
because = \"it links to it\"

[[allow]]
package = \"foo\"
code = \"dependency-added\"
new = \"xz\"
because = \"perhaps later\"
";

/// A scene in which `foo` has just been given a dependency that the rules allow, and another build.
async fn with_rules() -> Scene {
    let scene = Scene::of(&[Pkg::new("foo"), Pkg::new("bar")]).await;
    let mut changes = Pkg::new("foo").version("1.1").needs(&["zlib"]).changes();
    changes.extend(Pkg::new("bar").built_by("make \u{202e}install").changes());
    changes.push(Change::put(".ci/policy.toml", RULES));
    scene.push("feat: an update and rules", &changes).await;
    std::fs::write(scene.path("policy.toml"), RULES).unwrap();
    scene
}

#[tokio::test]
async fn reasons_are_shown_with_the_rule_that_lets_them_in_and_the_diff() {
    let scene = with_rules().await;
    let policy = scene.path("policy.toml").display().to_string();
    let range = ["classify", "--from", "scheduled", "--to", MAIN, "--policy", &policy];
    let minor = scene.pkgwarden(&[&range[..], &["foo", "--exit-code"]].concat()).await;
    assert_eq!(minor.code, Some(0));
    insta::assert_snapshot!(minor.text(), @r#"
    foo: minor 1.0-1 -> 1.1-1: `depends` has a dependency that it had not; allowed by <dir>/policy.toml:3: it links to it (and 2 more reasons)
      stronger
        PKGBUILD:10: `depends` has a dependency that it had not; allowed by <dir>/policy.toml:3: it links to it [dependency-added]
          + zlib
      version
        .SRCINFO: the summary was regenerated and agrees with the PKGBUILD [srcinfo-regenerated]
        PKGBUILD:4: pkgver moved forward [version-forward]
          - 1.0
          + 1.1

    .SRCINFO (changed)
    @@ -1,9 +1,10 @@
     pkgbase = foo
     	pkgdesc = A thing
    -	pkgver = 1.0
    +	pkgver = 1.1
     	pkgrel = 1
     	url = https://example.org
     	arch = any
     	license = MIT
    +	depends = zlib
     
     pkgname = foo

    PKGBUILD (changed)
    @@ -1,12 +1,13 @@
     # Maintainer: Pia Sand <pia@example.org>
     pkgbase=foo
     pkgname=('foo')
    -pkgver=1.0
    +pkgver=1.1
     pkgrel=1
     pkgdesc="A thing"
     arch=('any')
     url="https://example.org"
     license=('MIT')
    +depends=('zlib')
     
     build() {
       true
    "#);
    let warned = minor.errors();
    assert!(warned.contains("the rule at <dir>/policy.toml:10 let nothing in (perhaps later)"), "{warned}");
    let without = scene.pkgwarden(&["classify", "--from", "scheduled", "--to", MAIN, "foo", "--exit-code"]).await;
    assert_eq!(without.code, Some(3));
    let bar = scene.pkgwarden(&[&range[..], &["bar"]].concat()).await;
    insta::assert_snapshot!(bar.text(), @r"
    bar: major at 1.0-1: the line holds U+202E, which does not show or changes what shows (and 1 more reason)
      hostile
        PKGBUILD:12: the line holds U+202E, which does not show or changes what shows [control-characters]
          +   make \u{202e}install
      review
        PKGBUILD:12: `build()` does something else than before [function-changed]
          - true
          + make \u{202e}install

    PKGBUILD (changed)
    @@ -9,7 +9,7 @@
     license=('MIT')
     
     build() {
    -  true
    +  make ⟨U+202E⟩install
     }
     
     package() {
    ");
    let wrong = scene.pkgwarden(&["classify", "--from", "scheduled", "--to", MAIN, "fooo", "--exit-code"]).await;
    assert_eq!((wrong.code, wrong.stdout.as_str()), (Some(1), ""));
    insta::assert_snapshot!(wrong.errors(), @"
    error: there is no package `fooo` in scheduled or refs/heads/main
    hint: did you mean `foo`?
    ");
    scene.ends().await;
}

#[tokio::test]
async fn forges_get_every_reason_with_its_place_as_sarif() {
    let scene = with_rules().await;
    let policy = scene.path("policy.toml").display().to_string();
    let range = ["classify", "--from", "scheduled", "--to", MAIN, "--policy", &policy, "--format", "sarif"];
    let log = scene.pkgwarden(&range).await.json();
    assert_eq!((log["version"].as_str(), log["runs"].as_array().map(Vec::len)), (Some("2.1.0"), Some(1)));
    let results = log["runs"][0]["results"].as_array().unwrap();
    let told: Vec<_> = results
        .iter()
        .map(|result| {
            let rule = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
            assert_eq!(log["runs"][0]["tool"]["driver"]["rules"][rule]["id"], result["ruleId"]);
            let place = &result["locations"][0]["physicalLocation"];
            let (uri, line) = (&place["artifactLocation"]["uri"], &place["region"]["startLine"]);
            let level = result["level"].as_str().unwrap();
            let suppressed = result["suppressions"][0]["justification"].as_str().unwrap_or_default();
            format!("{level} {} {uri} {line} {suppressed}", result["ruleId"].as_str().unwrap())
        })
        .collect();
    insta::assert_snapshot!(told.join("\n").replace(&policy, "policy.toml"), @r#"
    error control-characters "bar/PKGBUILD" 12 
    warning function-changed "bar/PKGBUILD" 12 
    note srcinfo-regenerated "foo/.SRCINFO" null 
    note version-forward "foo/PKGBUILD" 4 
    note dependency-added "foo/PKGBUILD" 10 policy.toml:3: it links to it
    "#);
    let other = scene.pkgwarden(&["check", "--format", "sarif"]).await;
    assert_eq!(other.code, Some(2));
    insta::assert_snapshot!(other.errors(), @"
    error: only `classify` writes SARIF
    hint: use --format text or --format json
    ");
    scene.ends().await;
}

#[tokio::test]
async fn check_tells_which_rules_are_wrong_have_ended_or_were_never_used() {
    let scene = with_rules().await;
    insta::assert_snapshot!(scene.pkgwarden(&["check"]).await.text(), @"
    warning: .ci/policy.toml:10: it let nothing in: not in the last 500 commits, nor in an open review [rule-unused]
      remove it, or see what it does with `pkgwarden classify --policy .ci/policy.toml`
    0 errors, 1 warning
    ");
    let wrong = format!(
        "{RULES}\n[[allow]]\ncode = \"dependency-added\"\npackge = \"foo\"\nbecause = \"x\"\n\n\
         [[allow]]\ncode = \"source-changed\"\nmatches = \"a(\"\nbecause = \"x\"\n\n\
         [[allow]]\npackage = \"foo\"\ncode = \"dependency-added\"\nbecause = \"x\"\nuntil = 2020-01-01T00:00:00Z\n"
    );
    let config = "CI_PKGBUILD_SOURCE=custom\nCI_PKGBUILD_CHANGE_ALLOW_REGEX=^source=;^depends=(\n";
    scene.push("feat: more", &[Change::put(".ci/policy.toml", wrong), Change::put("bar/.CI/config", config)]).await;
    insta::assert_snapshot!(scene.pkgwarden(&["check"]).await.text(), @"
    warning: .ci/policy.toml:10: it let nothing in: not in the last 500 commits, nor in an open review [rule-unused]
      remove it, or see what it does with `pkgwarden classify --policy .ci/policy.toml`
    error: .ci/policy.toml:18: unknown field `packge`, expected one of `package`, `code`, `field`, `file`, `old`, `new`, `matches`, `from`, `to`, `because`, `until` [policy]
      did you mean `package`?
    error: .ci/policy.toml:23: `a(` is not a regular expression: unclosed group [policy]
      docs/policy.md describes every key
    warning: .ci/policy.toml:26: it has ended at 2020-01-01T00:00:00Z [rule-expired]
      remove it
    warning: bar/.CI/config: it let nothing in: not in the last 500 commits, nor in an open review [rule-unused]
      remove it, or see what it does with `pkgwarden classify --policy .ci/policy.toml`
    warning: bar/.CI/config:2: CI_PKGBUILD_CHANGE_ALLOW_REGEX: `^depends=(` is not a regular expression: unclosed group; it is left out [config-value]
      write expressions with `;` between them
    2 errors, 4 warnings
    ");
    scene.ends().await;
}
