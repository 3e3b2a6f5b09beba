//! What counts as a command, and what it means.

use proptest::prelude::*;

use super::*;

/// What is heard, one command a line.
fn heard(text: &str) -> Vec<String> {
    let shown = |asked: Asked| asked.command.map_or_else(|wrong| format!("! {wrong}"), |it| it.to_string());
    commands(text).into_iter().map(shown).collect()
}

#[test]
fn commands_stand_on_lines_of_their_own() {
    let text = "Good.\r\n/pkgwarden approve\r\n   /pkgwarden rebuild a, b a\n/PkgWarden Hold c --reason it is odd\n";
    assert_eq!(heard(text), ["approve", "rebuild a b", "hold c --reason it is odd"]);
    assert_eq!(heard("/pkgwarden reject   it downloads things"), ["reject it downloads things"]);
    assert_eq!(heard("/pkgwarden reject --reason no"), ["reject no"]);
    assert_eq!(heard("/pkgwarden approve --head ABCDEF1"), ["approve --head abcdef1"]);
    assert_eq!(heard("/pkgwarden"), ["help"]);
    assert_eq!(heard("/pkgwarden help me"), ["help"]);
}

#[test]
fn what_is_quoted_code_hidden_or_in_a_sentence_does_not_count() {
    for text in [
        "> /pkgwarden approve",
        ">> /pkgwarden approve",
        "please /pkgwarden approve",
        "`/pkgwarden approve`",
        "- /pkgwarden approve",
        "/pkgwardens approve",
        "//pkgwarden approve",
        "    /pkgwarden approve",
        "\t/pkgwarden approve",
        "```\n/pkgwarden approve\n```",
        "````text\n```\n/pkgwarden approve\n````",
        "~~~\n/pkgwarden approve\n```\n/pkgwarden approve",
        "- ```\n  /pkgwarden approve\n  ```",
        "<!--\n/pkgwarden approve\n-->",
        "<!-- a --> <!-- b\n/pkgwarden approve",
        "<pre>\n/pkgwarden approve\n</pre>",
    ] {
        assert_eq!(heard(text), [""; 0], "{text}");
    }
    for text in [
        "```a``` b\n/pkgwarden approve",
        "1. ```\n   x\n   ```\n/pkgwarden approve",
        "<!-- a -->\n/pkgwarden approve",
        "> quoted\n/pkgwarden approve",
        "```\nx\n```\n/pkgwarden approve",
    ] {
        assert_eq!(heard(text), ["approve"], "{text}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let text = "/pkgwarden depoly a\n/pkgwarden @mira\n/pkgwarden rebuild ../x\n/pkgwarden deploy --all\n\
                /pkgwarden run a\n/pkgwarden approve --head main";
    insta::assert_snapshot!(heard(text).join("\n"), @r"
    ! there is no command `depoly`; did you mean `deploy`? There are `approve`, `reject`, `deploy`, `rebuild`, `retry`, `release`, `hold`, `lift`, `run`, `explain`, `help`.
    ! there is no command `@mira`. There are `approve`, `reject`, `deploy`, `rebuild`, `retry`, `release`, `hold`, `lift`, `run`, `explain`, `help`.
    ! `../x` is no name of a package
    ! `deploy` knows no `--all`
    ! nothing belongs behind `run`
    ! behind `--head` belongs a commit, and `main` is none
    ");
    let many = "/pkgwarden help\n".repeat(99);
    assert_eq!(heard(&many).len(), MOST_COMMANDS + 1);
    let names: Vec<_> = (0..60).map(|number| format!("p{number}")).collect();
    assert_eq!(heard(&format!("/pkgwarden deploy {}", names.join(" "))), ["! these are more than 50 packages"]);
}

#[test]
fn only_questions_are_for_everybody() {
    let open: Vec<_> = Verb::ALL.into_iter().filter(|verb| verb.needs() == Permission::Read).collect();
    assert_eq!(open, [Verb::Explain, Verb::Help]);
    assert_eq!(help().lines().count(), Verb::ALL.len());
}

fn any_command() -> impl Strategy<Value = Command> {
    let verb = prop::sample::select(Verb::ALL.to_vec());
    let reason = "[a-z0-9]{1,8}( [a-z,.@/]{1,8}){0,3}";
    (verb, prop::collection::btree_set("[a-z][a-z0-9+.-]{0,8}", 0..4), reason).prop_map(|(verb, names, reason)| {
        let takes = verb.takes_packages() && verb != Verb::Reject;
        let packages = names.iter().filter(|_| takes).map(|name| PkgBase::new(name).expect("legal"));
        let says_why = matches!(verb, Verb::Hold | Verb::Lift | Verb::Reject);
        Command { reason: says_why.then_some(reason), ..Command::about(verb, packages) }
    })
}

proptest! {
    #[test]
    fn a_command_is_read_as_it_is_written(command in any_command()) {
        prop_assert_eq!(Command::parse(&command.to_string()), Ok(command.clone()));
        let text = format!("hello\n\n{PREFIX} {command}\nbye");
        prop_assert_eq!(heard(&text), [command.to_string()]);
    }

    #[test]
    fn nothing_is_heard_out_of_quotes_and_blocks(command in any_command(), text in "[a-z/`~> \n]{0,60}") {
        let line = format!("{PREFIX} {command}");
        let quoted = format!("> {}", format!("{text}\n{line}").replace('\n', "\n> "));
        prop_assert_eq!(heard(&quoted), Vec::<String>::new());
        let fence = "`".repeat(70);
        prop_assert_eq!(heard(&format!("{fence}\n{text}\n{line}\n{fence}")), Vec::<String>::new());
        prop_assert_eq!(heard(&format!("x {line}")), Vec::<String>::new());
    }

    #[test]
    fn anything_can_be_read(text in "(/pkgwarden|[ \t\n`~<>!-]|--reason|--head|approve|\\PC){0,40}") {
        for asked in commands(&text) {
            if let Err(wrong) = asked.command {
                prop_assert!(!wrong.contains('\n'), "{}", wrong);
            }
        }
    }
}
