//! What Chaotic's own function says of the same updates: `package_major_change`, as it stands in the
//! repository, without the formatting by shfmt that the pipeline does before.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use pkgwarden::domain::folder::{FileMode, Folder};
use pkgwarden::domain::name::Oid;
use pkgwarden::git::Repository;
use pkgwarden::sys::process::Program;

use crate::updates::Update;

/// Where their functions stand, and which.
const FUNCTIONS: [&str; 3] =
    ["package_major_change_normalize", "package_major_change_sum_legal", "package_major_change"];
const FILE: &str = ".ci/on-schedule.sh";

/// Updates given to one run of bash.
const AT_ONCE: usize = 200;

/// Whether each update is major to them.
pub fn judge(git: &Repository, tip: Oid, updates: &[Update]) -> Result<Vec<bool>> {
    let text = git.file(git.tree_of(tip)?, FILE, 1 << 20)?.with_context(|| format!("there is no `{FILE}`"))?;
    let program = program(&String::from_utf8_lossy(&text))?;
    let chunks: Vec<&[Update]> = updates.chunks(AT_ONCE).collect();
    let answers = git.map(&chunks, |git, chunk| ask(git, &program, chunk))?;
    Ok(answers.concat())
}

/// Their functions, and a loop that gives them the folders `N/old` and `N/new`.
fn program(scripts: &str) -> Result<String> {
    // Their list of files that are not compared.
    let mut program =
        "UTIL_GET_EXCLUDE_LIST() { echo -x PKGBUILD -x .SRCINFO -x .gitignore -x .git -x .CI; }\n".to_owned();
    for name in FUNCTIONS {
        let start =
            scripts.find(&format!("function {name}() {{\n")).with_context(|| format!("`{name}` is not there"))?;
        let length = scripts[start..].find("\n}\n").with_context(|| format!("`{name}` has no end"))?;
        let _ = writeln!(program, "{}\n}}", &scripts[start..start + length]);
    }
    program.push_str(
        "for ((n = 0; n < $1; n++)); do\n\
         if [[ $(package_major_change \"$n/new\" \"$n/old\" 2>/dev/null) == PASS ]]; then echo minor; else echo major; fi\ndone\n",
    );
    Ok(program)
}

fn ask(git: &Repository, program: &str, updates: &[Update]) -> Result<Vec<bool>> {
    let scratch = tempfile::tempdir()?;
    for (number, update) in updates.iter().enumerate() {
        let (old, new) = update.folders(git)?;
        write(&old.from_source(), &scratch.path().join(number.to_string()).join("old"))?;
        write(&new.from_source(), &scratch.path().join(number.to_string()).join("new"))?;
    }
    let count = updates.len().to_string();
    let bash = Program::new("bash").args(["-c", program, "bash", &count]).current_dir(scratch.path());
    let output = bash.timeout(Duration::from_mins(10)).run_blocking()?;
    let answers: Vec<_> = String::from_utf8_lossy(&output.stdout).lines().map(|line| line == "major").collect();
    ensure!(answers.len() == updates.len(), "bash gave {} answers: {}", answers.len(), output.stderr_text());
    Ok(answers)
}

fn write(folder: &Folder, root: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(root)?;
    for (path, file) in folder.files.iter().filter(|(_, file)| file.mode != FileMode::Submodule) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("inside"))?;
        if file.mode == FileMode::Symlink {
            std::os::unix::fs::symlink(String::from_utf8_lossy(&file.bytes).as_ref(), &path)?;
        } else {
            std::fs::write(&path, &file.bytes)?;
        }
    }
    Ok(())
}
