//! What is said of mistakes, and what wins where several places say something.

use miette::{GraphicalReportHandler, GraphicalTheme};
use proptest::prelude::*;

use super::*;
use crate::config::settings::{ForgeKind, load};
use crate::config::written::WrittenRepository;

fn env(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// What a person sees.
fn rendered(text: &str, variables: &[(&str, &str)]) -> String {
    let error = load(Some(("pkgwarden.toml", text)), &env(variables)).expect_err("it is wrong");
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut output = String::new();
    for problem in &error.problems {
        handler.render_report(&mut output, problem).expect("writing to a string");
    }
    output.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// One line per problem.
fn lines(text: &str, variables: &[(&str, &str)]) -> String {
    load(Some(("pkgwarden.toml", text)), &env(variables)).expect_err("it is wrong").to_string()
}

#[test]
fn an_unknown_key_is_underlined_with_a_suggestion() {
    insta::assert_snapshot!(rendered("[server]\nlisten = \"127.0.0.1:0\"\npol = \"60s\"\n", &[]), @r#"
     × there is no setting `pol` in [server]
      ╭─[pkgwarden.toml:3:1]
    2 │ listen = "127.0.0.1:0"
    3 │ pol = "60s"
      · ───
      ╰────
     help: did you mean `poll`?
    "#);
}

#[test]
fn a_bad_cron_line_is_underlined() {
    insta::assert_snapshot!(rendered("[[schedule]]\ncron = \"every day\"\nrun = \"on-schedule\"\n", &[]), @r#"
     × `every day` is not a cron line of five fields, such as */30 * * * *: Invalid pattern: Pattern
     │ must have 5 fields when seconds are disallowed.
      ╭─[pkgwarden.toml:2:8]
    1 │ [[schedule]]
    2 │ cron = "every day"
      ·        ───────────
    3 │ run = "on-schedule"
      ╰────
    "#);
}

#[test]
fn every_problem_is_reported_at_once_and_in_order() {
    let text = "liste = 1\n[server]\nlisten = \"localhost\"\npoll = 60\nkeep = 3\n[forge]\nkind = \"githb\"\n\
         [executor]\nslots = 0\n[[schedule]]\nrun = \"on-schedule\"\n[[schedule]]\ncron = \"* * * * *\"\n\
         timezone = \"Europe/Berln\"\nrun = \"trigger\"\n[[repository]]\nname = \"a\"\nurl = \"--x\"\n";
    insta::assert_snapshot!(lines(text, &[]), @r#"
    pkgwarden.toml:1:1: there is no setting `liste` at the top; the settings here are: executor, forge, policy, publish, repository, schedule, server, sources
    pkgwarden.toml:3:10: `localhost` has no port: write an IP address and a port, such as 127.0.0.1:8080
    pkgwarden.toml:4:8: invalid type: integer `60`, expected a string; such as "1m"
    pkgwarden.toml:5:1: there is no setting `keep` in [server]; `keep` belongs in [publish]
    pkgwarden.toml:7:8: unknown variant `githb`, expected one of `local`, `github`, `gitlab`, `gitea`; did you mean "github"?
    pkgwarden.toml:9:9: 0 is out of range: from 1 to 256
    pkgwarden.toml:10:1: missing field `cron`; add cron = "*/30 * * * *"
    pkgwarden.toml:14:12: `Europe/Berln` is not a time zone: write its IANA name, such as Europe/Berlin
    pkgwarden.toml:15:7: a schedule with run = "trigger" needs the `name` of the trigger
    pkgwarden.toml:18:7: this is not the address of a git repository, such as https://host/path.git
    "#);
}

#[test]
fn mistakes_of_every_kind_are_told_at_once() {
    let text = "[server]\npol = \"1m\"\n[sources.aur]\ngit_url = \"https://h/x.git\"\n[executor]\nkind = \"command\"\n";
    let told = lines(text, &[("PKGWARDEN__PUBLISH__KEEP", "many")]);
    let places: Vec<_> = told.lines().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(places, ["pkgwarden.toml:2:1", "pkgwarden.toml:4:11", "pkgwarden.toml:6:8", "PKGWARDEN__PUBLISH__KEEP"]);
}

#[test]
fn what_is_missing_or_of_another_type_is_told_in_words_with_a_value_that_would_do() {
    let text = "[[executor.local.repository]]\nserver = \"https://mirror.example/core\"\n[[repository]]\n\
         url = \"/srv/a.git\"\n[[publish.target]]\npackages = [\"*\"]\n[publish]\nkeep = \"4\"\nmax_removals = true\n\
         official_databases = 1\n[executor.limits]\nper_repository = 0\n[policy.caches]\nrelease = true\n";
    insta::assert_snapshot!(lines(text, &[]), @r#"
    pkgwarden.toml:1:1: missing field `name`; add name = "…"
    pkgwarden.toml:3:1: missing field `name`; add name = "…"
    pkgwarden.toml:5:1: missing field `name`; add name = "…"
    pkgwarden.toml:8:8: invalid type: string "4", expected a whole number from 0 on; such as 5
    pkgwarden.toml:9:16: invalid type: boolean `true`, expected a number such as 25, or a share such as "10 %"; such as "10 %"
    pkgwarden.toml:10:22: invalid type: integer `1`, expected a list; such as ["/var/lib/pacman/sync/core.db"]
    pkgwarden.toml:12:18: 0 is out of range: at least 1
    pkgwarden.toml:14:11: this has to be text, in quotes; such as "none"
    "#);
}

#[test]
fn a_limit_of_removals_is_a_number_or_a_share() {
    let limit = |text: &str| {
        let text = format!("[publish]\nmax_removals = {text}\n");
        let settings = load(Some(("x", &text)), &BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"));
        settings.repositories[0].publish.max_removals.to_string()
    };
    assert_eq!([limit("1"), limit("\"1\""), limit("\"5%\"")], ["1", "1", "5 %"]);
    let variable = [("PKGWARDEN__PUBLISH__MAX_REMOVALS", "7")];
    let settings = load(None, &env(&variable)).expect("it is right");
    assert_eq!(settings.repositories[0].publish.max_removals.to_string(), "7");
    let negative = lines("[publish]\nmax_removals = -1\n", &[]);
    insta::assert_snapshot!(negative, @r#"pkgwarden.toml:2:16: `-1` is no limit of removals: write a number such as 25, or a share such as "10 %""#);
}

#[test]
fn days_of_kept_generations_are_a_number_of_a_few_years_at_most() {
    let days = |text: &str| load(Some(("x", text)), &BTreeMap::new()).map(|all| all.repositories[0].publish.keep_days);
    assert_eq!(days("").ok(), Some(7));
    assert_eq!(days("[publish]\nkeep_days = 0\n").ok(), Some(0));
    for (value, told) in [("4000", "4000 is out of range: from 0 to 3650"), ("\"7d\"", "expected a whole number")] {
        let said = lines(&format!("[publish]\nkeep_days = {value}\n"), &[]);
        assert!(said.starts_with("pkgwarden.toml:2:13: ") && said.contains(told), "{said}");
    }
}

#[test]
fn text_that_is_not_toml_is_reported_with_its_place() {
    insta::assert_snapshot!(lines("[server\nlisten = 1\n= 3\n", &[]), @"
    pkgwarden.toml:1:8: unclosed table, expected `]`; this is not TOML: see https://toml.io
    pkgwarden.toml:3:1: unquoted keys cannot be empty, expected letters, numbers, `-`, `_`; this is not TOML: see https://toml.io
    ");
}

#[test]
fn what_needs_nothing_else_is_fine_alone() {
    let chaotic = "executor.kind = \"chaotic\"\nexecutor.chaotic.protocol = \"bullmq\"";
    for fine in ["executor.kind = \"none\"", "executor.kind = \"local\"", chaotic, "publish.sign = false"] {
        assert!(load(Some(("x", fine)), &BTreeMap::new()).is_ok(), "{fine}");
    }
}

#[test]
fn a_chaotic_manager_is_spoken_to_in_one_of_two_ways_at_an_address_of_redis() {
    let text = "[executor.chaotic]\nprotocol = \"http\"\nurl = \"http://manager\"\nprefix = \"x\"\n";
    insta::assert_snapshot!(lines(text, &[]), @r"
    pkgwarden.toml:2:12: unknown variant `http`, expected `moleculer` or `bullmq`
    pkgwarden.toml:3:7: this is not the address of a Redis server: its scheme is not one of Redis; write redis://HOST:6379/0, rediss:// for TLS, or redis-sentinel://HOST,HOST/MASTER
    pkgwarden.toml:4:1: there is no setting `prefix` in [executor.chaotic]; `prefix` belongs in [executor.bullmq]
    ");
}

#[test]
fn what_depends_on_two_keys_is_underlined_at_the_one_that_is_there() {
    let text = "[executor]\nkind = \"command\"\nslots = 2\n[sources.aur]\ngit_url = \"https://h/x.git\"\n\
         [[schedule]]\ncron = \"@daily\"\nrun = \"trigger\"\n";
    insta::assert_snapshot!(lines(text, &[]), @r#"
    pkgwarden.toml:2:8: executor.kind = "command" needs a program; name it as program in [executor.command]
    pkgwarden.toml:5:11: the address holds no `{pkgbase}`, so that every package would have the same; write {pkgbase} where the name of the package goes
    pkgwarden.toml:8:7: a schedule with run = "trigger" needs the `name` of the trigger
    "#);
    insta::assert_snapshot!(lines("[publish]\nsign = true\n", &[]), @"pkgwarden.toml:2:8: publish.sign = true needs a key; write its fingerprint, as `gpg --fingerprint` shows it, as publish.key");
    insta::assert_snapshot!(lines("[[publish.target]]\nname = \"x\"\npackages = [\"[\"]\n", &[]), @r#"pkgwarden.toml:1:1: a pattern of the publish.target `x` cannot be read: error parsing glob '[': unclosed character class; missing ']'; give each further repository another name, and patterns such as "*-git""#);
    insta::assert_snapshot!(lines("", &[("PKGWARDEN__EXECUTOR__KIND", "command")]), @r#"PKGWARDEN__EXECUTOR__KIND: executor.kind = "command" needs a program; name it as program in [executor.command]"#);
}

#[test]
fn an_override_of_one_repository_is_underlined_there() {
    let text = "[[repository]]\nname = \"a\"\nurl = \"u\"\n[[repository]]\nname = \"a\"\nurl = \"v\"\n\
         publish.sign = true\n";
    insta::assert_snapshot!(lines(text, &[]), @r#"
    pkgwarden.toml:5:8: there are two repositories with the name `a`; give each its own name
    pkgwarden.toml:7:16: publish.sign = true needs a key; write its fingerprint, as `gpg --fingerprint` shows it, as publish.key
    "#);
}

#[test]
fn a_forge_says_what_it_needs_and_knows_its_project() {
    let text = "[[repository]]\nname = \"a\"\nurl = \"https://github.com/them/packages.git\"\n\
         forge.kind = \"github\"\nforge.app_id = 7\n[[repository]]\nname = \"b\"\nurl = \"/srv/b.git\"\n\
         forge.kind = \"gitlab\"\nforge.token_file = \"t\"\nforge.api_url = \"https://git.example\"\n\
         [[repository]]\nname = \"c\"\nurl = \"/srv/c.git\"\nforge.kind = \"github\"\nforge.token_file = \"t\"\n\
         [[repository]]\nname = \"d\"\nurl = \"/srv/d.git\"\nforge.kind = \"gitea\"\nforge.project = \"one\"\n\
         forge.api_url = \"https://h/api/v1\"\nforge.app_id = 7\nforge.app_key_file = \"k\"\n";
    insta::assert_snapshot!(lines(text, &[]), @r#"
    pkgwarden.toml:5:16: a GitHub App needs its private key; name the file with it: forge.app_key_file
    pkgwarden.toml:11:17: the address of this API ends with /api/v4; write https://HOST/api/v4 for GitLab, https://HOST/api/v1 for Gitea
    pkgwarden.toml:15:14: the project on the forge cannot be told from the address of the monorepo; write forge.project = "OWNER/NAME", as in the address of its page
    pkgwarden.toml:20:14: this kind of forge needs `forge.token_file`; name the file with an access token
    pkgwarden.toml:21:17: `one` is no project on such a forge; write forge.project = "OWNER/NAME", as in the address of its page
    pkgwarden.toml:23:16: only GitHub has apps; leave it out, and name a file with a token: forge.token_file
    "#);
    let fine = "[[repository]]\nname = \"a\"\nurl = \"git@github.com:them/packages.git\"\n\
         forge = { kind = \"github\", app_id = 7, app_key_file = \"k\" }\n";
    let settings = load(Some(("x", fine)), &BTreeMap::new()).expect("nothing is wrong");
    let forge = &settings.repositories[0].forge;
    assert_eq!((forge.project.as_deref(), forge.app.as_ref().map(|app| app.id)), (Some("them/packages"), Some(7)));
}

#[test]
fn bad_variables_are_named() {
    let variables = [
        ("PKGWARDEN__SERVER__LISTN", "x"),
        ("PKGWARDEN__SERVER__LISTEN", "99999"),
        ("PKGWARDEN__SERVER", "x"),
        ("PKGWARDEN__PUBLISH__KEEP", "many"),
        ("PKGWARDEN__PUBLISH__SIGN", "1\nserver.poll = \"1s\""),
        ("PKGWARDEN__FORGE__KIND", "gitlub"),
        ("PKGWARDEN__EXECUTOR__SLOTS", "0"),
        ("PKGWARDEN__", ""),
        ("PKGWARDEN_URL", "is another thing"),
    ];
    insta::assert_snapshot!(lines("", &variables), @r#"
    PKGWARDEN__: there is no such setting; `pkgwarden config schema` lists the settings
    PKGWARDEN__EXECUTOR__SLOTS: 0 is out of range: from 1 to 256
    PKGWARDEN__FORGE__KIND: unknown variant `gitlub`, expected one of `local`, `github`, `gitlab`, `gitea`; did you mean "github"?
    PKGWARDEN__PUBLISH__KEEP: `many` is not a number; such as 5
    PKGWARDEN__PUBLISH__SIGN: `1\nserver.poll = \"1s\"` is neither true nor false; such as true or false
    PKGWARDEN__SERVER: this names a section; add the key, such as PKGWARDEN__SERVER__DATA_DIR
    PKGWARDEN__SERVER__LISTEN: `99999` has no port: write an IP address and a port, such as 127.0.0.1:8080
    PKGWARDEN__SERVER__LISTN: there is no such setting; did you mean PKGWARDEN__SERVER__LISTEN?
    "#);
}

#[test]
fn a_password_in_a_file_is_not_shown() {
    let text = "[executor.bullmq]\nurl = \"redis://:s3cret@host:99999/0\"\n";
    assert!(!rendered(text, &[]).contains("s3cret"), "{}", rendered(text, &[]));
    let variable = [("PKGWARDEN__EXECUTOR__BULLMQ__URL", "redis://:s3cret@host:99999/0")];
    assert!(!rendered("", &variable).contains("s3cret"));
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_default() {
    let text = "[server]\nlisten = \"127.0.0.1:1\"\npoll = \"1s\"\n";
    let env = env(&[("PKGWARDEN__SERVER__LISTEN", "127.0.0.1:2"), ("PKGWARDEN__FORGE__PROJECT", "123")]);
    let settings = load(Some(("pkgwarden.toml", text)), &env).expect("it is right");
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:2");
    assert_eq!(settings.server.poll.as_secs(), 1);
    assert_eq!(settings.repositories[0].forge.project.as_deref(), Some("123"), "text stays text");
    assert_eq!(settings.repositories[0].forge.kind, ForgeKind::Local);
}

#[test]
fn the_state_directory_is_found_as_systemd_and_the_user_have_it() {
    let data_dir = |variables: &[(&str, &str)]| load(None, &env(variables)).expect("defaults").server.data_dir;
    assert_eq!(data_dir(&[]), PathBuf::from("/var/lib/pkgwarden"));
    assert_eq!(data_dir(&[("HOME", "/home/a")]), PathBuf::from("/home/a/.local/state/pkgwarden"));
    let both = [("HOME", "/home/a"), ("STATE_DIRECTORY", "/var/lib/warden")];
    assert_eq!(data_dir(&both), PathBuf::from("/var/lib/warden"));
}

/// Sections and keys that lead to each single setting, and its schema.
fn settings_of(schema: &'static Schema) -> Vec<(Vec<&'static str>, &'static Schema)> {
    let single = |(section, table): (Vec<&'static str>, &'static Schema)| {
        schema::keys(table)
            .filter(|name| !table["properties"][name]["properties"].is_object())
            .map(|name| (section.iter().copied().chain([name]).collect(), &table["properties"][name]))
            .collect::<Vec<_>>()
    };
    schema::tables(schema).into_iter().flat_map(single).collect()
}

fn sample(place: &Schema) -> Schema {
    let choices = schema::choices(place);
    match (place.get("examples"), choices.last(), place["type"].as_str()) {
        (Some(examples), _, _) => examples[0].clone(),
        (None, Some(choice), _) => (*choice).into(),
        (None, None, Some("boolean")) => true.into(),
        other => panic!("no value to try: {other:?} in {place}"),
    }
}

/// A JSON value as it is written in a variable.
fn as_variable(value: &Schema) -> String {
    match value {
        Schema::String(text) => text.clone(),
        other => toml::Value::try_from(other).expect("no null").to_string(),
    }
}

#[test]
fn every_setting_of_the_schema_can_be_given_in_the_environment() {
    let settings = settings_of(schema());
    assert!(settings.len() > 35, "only {} settings found", settings.len());
    for (path, place) in settings {
        let value = sample(place);
        let variable = format!("{PREFIX}{}", path.join("__").to_ascii_uppercase());
        let layer =
            read_variable(&variable, &as_variable(&value)).unwrap_or_else(|problem| panic!("{variable}: {problem}"));
        let layer = serde_json::to_value(layer).expect("serializable");
        let pointer = format!("/{}", path.join("/"));
        let given = layer.pointer(&pointer).unwrap_or_else(|| panic!("{variable} was lost"));
        assert_eq!(given.is_array(), value.is_array(), "{variable}");
        if !value.is_array() {
            assert_eq!(
                given.as_str().unwrap_or_default().trim_end_matches('/'),
                value.as_str().unwrap_or_default().trim_end_matches('/'),
                "{variable}"
            );
        }
    }
}

#[test]
fn every_repository_can_override_every_common_section() {
    let repository = schema();
    let sections = ["sources", "forge", "executor", "publish", "policy", "schedule"];
    let overridable = &repository["properties"]["repository"]["items"];
    for section in sections {
        assert_eq!(
            overridable["properties"][section]["properties"].is_object(),
            repository["properties"][section]["properties"].is_object(),
            "{section}"
        );
    }
    let _: fn(&WrittenRepository) -> &Option<Vec<_>> = |repository| &repository.schedule;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_document_makes_it_panic(
        lines in proptest::collection::vec(
            "(\\[{0,2}(server|sources\\.aur|schedule|repository|executor\\.local\\.repository|x)\\]{0,2}|\
              (listen|poll|cron|run|name|url|slots|kind|forge\\.kind|executor|git_url) ?= ?\
              (\"\\PC{0,8}\"|-?[0-9]{1,20}|true|\\[\\]|\\{\\}|\\[1, \"a\"\\]|\\{a = 1\\}|1979-05-27|inf)|\\PC{0,8})",
            0..10,
        )
    ) {
        let text = lines.join("\n");
        if let Err(error) = load(Some(("x", &text)), &BTreeMap::new()) {
            prop_assert!(!error.problems.is_empty());
            for problem in &error.problems {
                let mut output = String::new();
                GraphicalReportHandler::new_themed(GraphicalTheme::none()).render_report(&mut output, problem)?;
                prop_assert!(!problem.place().is_empty());
            }
        }
    }

    #[test]
    fn no_variable_makes_it_panic(key in "[A-Z_]{0,12}|SERVER__LISTEN|PUBLISH__KEEP|SCHEDULE|REPOSITORY", value in "\\PC{0,16}") {
        let variables = env(&[(&format!("{PREFIX}{key}"), &value)]);
        let _ = load(None, &variables);
    }
}
