use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::*;

/// Prints every variable that is asked for, as bash has it after reading the file.
const DRIVER: &str = r#"
cd /box
for file in *.pkgbuild; do
  env -i PATH=/usr/bin:/bin timeout 5 bash --norc --noprofile -c '
    exec 3>&1 >/dev/null 2>&1
    shopt -s extglob
    source "./$0"
    while read -r _pkgwarden_name; do
      declare -n _pkgwarden_value=$_pkgwarden_name
      _pkgwarden_kind=$(declare -p "$_pkgwarden_name" 2>/dev/null) || { printf "%s\0-\0" "$_pkgwarden_name" >&3; continue; }
      case $_pkgwarden_kind in
        "declare -a"*) printf "%s\0a\0%s\0" "$_pkgwarden_name" "${#_pkgwarden_value[@]}" >&3
          ((${#_pkgwarden_value[@]})) && printf "%s\0" "${_pkgwarden_value[@]}" >&3 ;;
        *) printf "%s\0s\0%s\0" "$_pkgwarden_name" "$_pkgwarden_value" >&3 ;;
      esac
    done < "./$0.names"' "$file" > "$file.out" < /dev/null
done
true
"#;

#[test]
fn a_here_document_belongs_to_the_command_that_reads_it() {
    let read = |text: &'static str| Pkgbuild::read(text.as_bytes()).expect("bash reads it");
    let one = read("a=1\nread -r _x <<E\none\nE\nb=2\n");
    let other = read("a=1\nread -r _x <<E\n$(two)\nE\nb=2\n");
    let texts = |file: &Pkgbuild<'_>| -> Vec<String> {
        file.statements.iter().map(|statement| render(file.events(statement))).collect()
    };
    let (one, other) = (texts(&one), texts(&other));
    assert_eq!((one.len(), &one[0], &one[2]), (3, &other[0], &other[2]));
    assert_ne!(one[1], other[1]);
    let beside = Pkgbuild::read(b"cat <<E; a=1\none\nE\n");
    assert!(beside.is_err(), "{beside:?}");
}

/// What bash gives for the named variables of each text, in a sandbox without network.
#[expect(clippy::disallowed_methods, reason = "the reference is another program, and only tests ask it")]
fn bash(texts: &[(String, Vec<u8>, Vec<String>)]) -> Vec<BTreeMap<String, Option<Value>>> {
    let box_ = tempfile::tempdir().expect("a folder");
    for (index, (_, text, names)) in texts.iter().enumerate() {
        std::fs::write(box_.path().join(format!("{index:05}.pkgbuild")), text).expect("written");
        let mut list = String::new();
        for name in names {
            writeln!(list, "{name}").expect("a string");
        }
        std::fs::write(box_.path().join(format!("{index:05}.pkgbuild.names")), list).expect("written");
    }
    let mut command = std::process::Command::new("bwrap");
    command.args(["--unshare-all", "--die-with-parent", "--clearenv", "--ro-bind", "/usr", "/usr"]);
    command.args(["--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"]);
    command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--bind"]).arg(box_.path()).arg("/box");
    let status = command.args(["/usr/bin/bash", "-c", DRIVER]).status().expect("bubblewrap is installed");
    assert!(status.success(), "the sandbox ended with {status}");
    (0..texts.len()).map(|index| answers(&box_.path().join(format!("{index:05}.pkgbuild.out")))).collect()
}

fn answers(path: &Path) -> BTreeMap<String, Option<Value>> {
    let bytes = std::fs::read(path).expect("written by bash");
    let text = String::from_utf8_lossy(&bytes);
    let mut parts = text.split_terminator('\0').map(str::to_owned);
    let mut found = BTreeMap::new();
    while let (Some(name), Some(kind)) = (parts.next(), parts.next()) {
        let value = match kind.as_str() {
            "s" => parts.next().map(Value::Scalar),
            "a" => {
                let count = parts.next().and_then(|count| count.parse().ok()).expect("a count");
                Some(Value::Array(parts.by_ref().take(count).collect()))
            }
            _ => None,
        };
        found.insert(name, value);
    }
    found
}

/// Compares everything that is claimed to be known; gives the number of values compared and what differs.
fn compare(texts: Vec<(String, Vec<u8>)>) -> (usize, Vec<String>) {
    let mut asked = Vec::new();
    let mut claims = Vec::new();
    for (name, text) in texts {
        let claimed: BTreeMap<String, Value> = {
            let Ok(pkgbuild) = Pkgbuild::read(&text) else { continue };
            let values = pkgbuild.evaluate().values;
            let known = values.into_iter().filter(|(_, value)| value.is_known());
            known.map(|(name, value)| (name.to_owned(), Value::clone(&value))).collect()
        };
        asked.push((name, text, claimed.keys().cloned().collect()));
        claims.push(claimed);
    }
    let mut differs = Vec::new();
    let mut count = 0;
    for (((file, ..), claimed), found) in asked.iter().zip(&claims).zip(bash(&asked)) {
        for (name, value) in claimed {
            // A file that ends early leaves nothing to compare with.
            if let Some(found) = found.get(name) {
                count += 1;
                if found.as_ref() != Some(value) {
                    differs.push(format!("{file}: {name}: bash {found:?}, we {value:?}"));
                }
            }
        }
    }
    (count, differs)
}

/// The PKGBUILDs of the repository named in the environment.
#[expect(clippy::disallowed_methods, reason = "which repository to read is told to tests by the environment")]
fn real() -> Option<Vec<(String, Vec<u8>)>> {
    let repository = std::env::var("PKGWARDEN_GATE_REPOSITORY").ok()?;
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").arg("-C").arg(&repository).args(arguments).output();
        output.expect("git is installed").stdout
    };
    let listing = String::from_utf8(git(&["ls-tree", "-r", "HEAD"])).expect("names are text");
    let entries = listing.lines().filter_map(|line| line.split_once('\t'));
    let pkgbuilds = entries.filter(|(_, path)| path.ends_with("/PKGBUILD") && path.matches('/').count() == 1);
    let read = |(entry, path): (&str, &str)| {
        let id = entry.split(' ').nth(2).expect("mode, kind, id");
        (path.to_owned(), git(&["cat-file", "blob", id]))
    };
    Some(pkgbuilds.map(read).collect())
}

#[test]
fn what_is_claimed_of_real_packages_is_what_bash_has() {
    let Some(texts) = real() else { return };
    let total = texts.len();
    let read = texts.iter().filter(|(_, text)| Pkgbuild::read(text).is_ok()).count();
    assert!(read * 200 >= total * 199, "only {read} of {total} could be read");
    let (count, differs) = compare(texts);
    println!("{count} values of {read} packages, of {total}, compared with bash; {} differ", differs.len());
    assert!(differs.is_empty(), "{} of {count} differ:\n{}", differs.len(), differs.join("\n"));
    assert!(count > 5 * total, "only {count} values of {total} packages were known");
}

#[test]
fn what_is_claimed_of_every_fixture_is_what_bash_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gate/base");
    let folders = std::fs::read_dir(root).expect("there are bases").map(|entry| entry.expect("readable").path());
    let read = |folder: std::path::PathBuf| {
        let text = std::fs::read(folder.join("PKGBUILD")).ok()?;
        Some((folder.display().to_string(), text))
    };
    let texts: Vec<_> = folders.filter_map(read).collect();
    let total = texts.len();
    let (count, differs) = compare(texts);
    assert!(differs.is_empty(), "{} of {count} differ:\n{}", differs.len(), differs.join("\n"));
    assert!(count > 5 * total, "only {count} values of {total} packages were known");
}

const IDIOMS: &[&str] = &[
    "pkgname=a pkgver=1.2 ; pkgrel=1",
    "_a='x y'\nb=(\"$_a\" $_a ${_a}z 'q'$'\\n')",
    "v=1.2.3\na=${v%.*} b=${v%%.*} c=${v#*.} d=${v##*.} e=${v//./_} f=${v/./} g=${v:0:3} h=${v: -1} i=${v^^} j=${v:2}",
    "v=1.2.3\na=${v/#1/x} b=${v/%3/y} c=${v/[0-9]/z} d=${v//[!0-9]/-} e=${v//?/q} f=${v/*/w}",
    "a=(1 2 3)\na+=(4)\nb=${a[1]} c=${#a[@]} d=\"${a[*]}\" e=(\"${a[@]/#/x}\" z) f=$a g=${#b}",
    "a=({b,c}.{d,e} x{1..3} '{a,b}' \"{c,d}\" {x} a{,b})",
    "x=; a=${x:-d} b=${x-e} c=${x:+f} y=1 d=${y:+g}",
    "a=1\nif true; then a=2; fi\nb=$a",
    "f() { a=2; }\na=1\nf\nb=$a",
    ": ${a:=5}\nb=$a\na=6",
    "a=x\\\n\nb=\"a\\\nb\"\nc='a\\\nb'",
    "a=(x # comment\n  y) # other\nb=a#b",
    "declare -i n=1+1\nn=2+2\nm=$n",
    "export X=1\nX=2\nunset y\ny=3",
    "a=(x)\na=y\nb=\"${a[0]}\"",
    "a=~/x b=a:~/y c='~'",
    "a=(*.nothing '*' \"*\")\nb=*",
    "a=(\"${none[@]}\")\ne=()\nb=(\"${e[@]}\") c=(${e[@]}) d=\"${e[@]}\"",
    "cat <<EOF >/dev/null\na=1\nEOF\nb=2",
    "a=$'x\\ty\\x41' b=$\"t\"",
    "a=1 b=$((1+1)) c=$(echo hi) d=`echo ho`\ne=$a",
    "case x in x) a=1;; esac\nfor i in 1 2; do b=$i; done\ni=4",
    "a=(\"x\"'y'z)\nb=${a}\nc=\\$a d=\"\\$a\" e='$a'",
    "a[0]=x\na[2]=y\nb=(\"${a[@]}\")\nc=([1]=x)",
    "shopt -s nocasematch\na=ABC\nb=${a/b/x}",
    "IFS=.\nv=1.2\na=($v)",
    "v=1.2.3; _m=${v%.${v##*.}}; _n=${v%\"${v#*.}\"}",
    "a=1; a+=2; a+=(3); b+=x; c+=(y)",
    "printf -v a %s x\na=y\nread b <<< z\nb=w\neval c=1\nd=$c",
    "[[ a == a ]] && a=1\na=2\n[ -n \"$a\" ] || b=2\nc=$b",
    "a=\"${x:-it's}\" b=${y:-'q'}",
    "v='a b'\nb=(pre$v) c=(\"pre$v\") d=$v",
    "alias x=y\na=1",
    "source /dev/null\na=1",
    "a=x; readonly a; a=y; b=$a",
    "let a=1\n((b=2))\na=3; c=$((a=7)); d=$a",
    "while read -r l; do a=$l; done < /dev/null; b=1",
    "x=(a b); y=(\"${x[@]}\" \"${x[@]:1}\"); z=\"${x[@]}\"; w=${x[-1]}",
    "f() { local a=5; b=2; }\na=1 b=1 c=1\nf\nd=$a$c",
    "g() { a=2; }\nf() { g; }\na=1 b=1\nf\nc=$b",
    "f() { f; }\na=1\n[[ x ]] || f\nb=$a",
    "f() { read -r a <<< 9; }\na=1\nf\nb=$a",
    "f() { local -n r=a; r=7; }\na=1\nf\nb=$a",
    "f() { unset a; }\na=1\nf\nb=${a-unset}",
    "f() { a=3; } \na=1\ncd /tmp\nx=$(f)\nb=$a\ncommand -v true\nc=$b",
    "f() { eval a=3; }\na=1\nf\nb=2\nc=$b",
    "a=(x y z)\na[1]=q\na[0]=\nb=${a[1]}\nc=(\"${a[@]}\")",
    "a=(x y)\na[5]=q\nb=(\"${a[@]}\")\nc=x\nc[1]=y\nd[0]=z\ne=(x)\ne[01]=q\ne[-1]=r\ne[0]+=s",
    "a=(x)\nif true; then a+=(y); fi\na[1]=z\nb=(\"${a[@]}\")",
    "f() { a+=(y); }\na=(x)\nf\na+=(z)\nb=${a[0]}",
];

#[test]
fn what_is_claimed_of_every_idiom_is_what_bash_has() {
    let texts = IDIOMS.iter().map(|text| ((*text).to_owned(), text.as_bytes().to_vec())).collect();
    let (count, differs) = compare(texts);
    assert!(differs.is_empty(), "{}", differs.join("\n"));
    assert!(count > 60, "{count}");
}

#[test]
fn dress_and_layout_leave_no_trace() {
    let events = |text: &'static str| {
        let pkgbuild = Pkgbuild::read(text.as_bytes()).expect(text);
        let of = |statement| {
            let events = pkgbuild.events(statement).iter();
            events.map(|event| (event.kind, event.text.to_string())).collect::<Vec<_>>()
        };
        pkgbuild.statements.iter().map(of).collect::<Vec<_>>()
    };
    for (one, other) in [
        ("f() {\n  make 'install' \"DESTDIR=$pkgdir\"\n}", "f()\n{ make install DESTDIR=\"${pkgdir}\"; }"),
        ("if a; then b; fi", "# x\nif a\nthen\n  b # y\nfi\n"),
        ("a=(x y)", "a=(\n  'x'\n  \"y\"\n)"),
        ("f() { a \\\n  b; }", "function f {\n a b\n}"),
        ("case $a in x|y) b;; esac", "case $a in\n  (x | y)\n    b\n    ;;\nesac"),
    ] {
        assert_eq!(events(one), events(other), "{one}");
    }
    for (one, other) in [
        ("a # b", "a \\# b"),
        ("cat <<E\n$(x)\nE", "cat <<'E'\n$(x)\nE"),
        ("a 'if'", "a $x"),
        ("'if' x", "a x"),
        ("a $x", "a \"$x\""),
        ("a {b,c}", "a '{b,c}'"),
        ("a *", "a '*'"),
        ("[[ a =~ . ]]", "[[ a =~ '.' ]]"),
        ("a ''", "a"),
        ("a; b", "a && b"),
        ("a\nb", "a b"),
        ("(a)", "{ a; }"),
        ("a & b", "a; b"),
        ("a $(b)", "a \"$(b)\""),
        ("a=1", "'a'=1"),
        ("a '~'", "a ~"),
    ] {
        assert_ne!(events(one), events(other), "{one}");
    }
}

#[test]
fn what_bash_would_read_in_another_way_or_refuse_is_not_read() {
    for text in [
        "a=(x)b=(y)",
        "a=1)",
        "f() { a",
        "if a; then b",
        "a 'b",
        "pkg\\\nver=1",
        "cat <<E\nx",
        "a $(b",
        "a ${b",
        "} a",
        "fi",
        "a ;; b",
        "a=$\"x\"",
        "echo $[1+1]",
        "echo a(b)",
        "x\0y",
        "a=\u{1}x",
        "a && ",
        "| a",
        "case x in a) b",
        "[[ a",
        "((a",
    ] {
        assert!(Pkgbuild::read(text.as_bytes()).is_err(), "{text:?}");
    }
}

#[test]
fn hostile_sizes_are_refused_in_bounded_time() {
    for open in ["(", "$(", "${a:-", "\"$(", "{ ", "if ", "[[ ", "((", "$((", "a=(", "case x in x) ", "<("] {
        let text = open.repeat(100_000);
        assert!(Pkgbuild::read(&text.as_bytes()[..text.len().min(LARGEST)]).is_err(), "{open}");
    }
    assert!(Pkgbuild::read("x".repeat(1_000_000).as_bytes()).is_err());
    let line = format!("a=({})", "x ".repeat(100_000));
    assert!(Pkgbuild::read(line.as_bytes()).is_ok_and(|pkgbuild| pkgbuild.evaluate().values.len() == 1));
    let doubling = (0..40).map(|_| "a=\"$a$a\"\n").collect::<String>();
    let text = format!("a=xxxx\n{doubling}");
    let pkgbuild = Pkgbuild::read(text.as_bytes()).expect("plain");
    assert!(pkgbuild.evaluate().values["a"].elements()[0].len() < 2 * 64 * 1024);
}
