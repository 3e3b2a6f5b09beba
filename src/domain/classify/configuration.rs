//! What changed in the configuration of a kernel.

use super::text::new_lines;
use crate::domain::folder::File;

/// Whether a file has a name that configurations of kernels have.
pub(super) fn is_configuration(path: &str) -> bool {
    path == "config"
        || path.strip_prefix("config.").is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}

/// Words in the names of options that protect a system.
const PROTECTS: [&str; 20] = [
    "SECUR",
    "SIG",
    "KEY",
    "TRUST",
    "LOCKDOWN",
    "HARDEN",
    "PROTECT",
    "RANDOMIZE",
    "SELINUX",
    "APPARMOR",
    "FORTIFY",
    "MITIGATION",
    "DEVMEM",
    "CMDLINE",
    "INITRAMFS",
    "KEXEC",
    "STACK",
    "AUDIT",
    "INTEGRITY",
    "PATH",
];

/// Whether every line that differs switches an option that does not protect, between `y`, `m`, `n` and numbers.
pub(super) fn only_drivers_changed(old: &[u8], new: &[u8]) -> bool {
    let changed =
        |ours: &[u8], theirs: &[u8]| new_lines(theirs, ours).into_iter().all(|(_, line)| is_harmless_option(line));
    changed(old, new) && changed(new, old)
}

fn is_harmless_option(line: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let option = |name: &str| {
        let plain = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
        plain && !PROTECTS.iter().any(|word| name.contains(word))
    };
    if let Some(comment) = line.strip_prefix('#') {
        let name = comment.strip_prefix(" CONFIG_").and_then(|rest| rest.strip_suffix(" is not set"));
        return name.is_none_or(|name| name.contains(' ') || option(name));
    }
    let Some((name, value)) = line.strip_prefix("CONFIG_").and_then(|rest| rest.split_once('=')) else {
        return line.is_empty();
    };
    let version = name == "CC_VERSION_TEXT" || name == "RUSTC_VERSION_TEXT" || name == "BINDGEN_VERSION_TEXT";
    option(name) && (version || matches!(value, "y" | "m" | "n") || value.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Options in which Kconfig only notes what wrote the file. It works them out anew whenever it reads one.
const NOTED: [&str; 12] = [
    "AS_VERSION",
    "BINDGEN_VERSION_TEXT",
    "CC_VERSION_TEXT",
    "CLANG_VERSION",
    "GCC_VERSION",
    "LD_VERSION",
    "LLD_VERSION",
    "PAHOLE_VERSION",
    "RUSTC_LLVM_MAJOR_VERSION",
    "RUSTC_LLVM_VERSION",
    "RUSTC_VERSION",
    "RUSTC_VERSION_TEXT",
];

/// Whether only comments and notes changed: everything that Kconfig takes from the file is the same, in order.
pub(super) fn only_noted(path: &str, old: &File, new: &File) -> bool {
    is_configuration(path) && old.mode == new.mode && tell_the_same(&old.bytes, &new.bytes)
}

/// Whether two files are the same apart from notes. Almost all lines are the same and in the same places.
fn tell_the_same(old: &[u8], new: &[u8]) -> bool {
    let lines = |bytes| <[u8]>::split(bytes, |&byte| byte == b'\n').peekable();
    let (mut before, mut after) = (lines(old), lines(new));
    loop {
        match (before.peek(), after.peek()) {
            (None, None) => return true,
            (Some(was), Some(is)) if was == is => {
                before.next();
                after.next();
            }
            (Some(was), _) if is_note(was) => drop(before.next()),
            (_, Some(is)) if is_note(is) => drop(after.next()),
            _ => return false,
        }
    }
}

fn is_note(line: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let plain = line.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if let Some(comment) = line.strip_prefix('#') {
        return plain && !comment.contains("CONFIG_");
    }
    let Some((name, value)) = line.strip_prefix("CONFIG_").and_then(|rest| rest.split_once('=')) else { return false };
    let text = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b" .,:()+-_~/".contains(&byte);
    NOTED.contains(&name) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::folder::FileMode;

    fn noted(old: &str, new: &str) -> bool {
        let file = |text: &str| File { mode: FileMode::Regular, bytes: text.as_bytes().into() };
        only_noted("config.x86_64", &file(old), &file(new))
    }

    #[test]
    fn comments_and_versions_of_tools_are_notes_and_options_are_not() {
        let old =
            "# Linux/x86 7.1.8 Kernel Configuration\nCONFIG_GCC_VERSION=160201\nCONFIG_A=y\n# CONFIG_B is not set\n";
        assert!(noted(old, &old.replace("7.1.8", "7.1.9").replace("160201", "160202")));
        assert!(!noted(old, &old.replace("A=y", "A=n")));
        assert!(!noted(old, &old.replace("# CONFIG_B is not set\n", "")));
        assert!(!noted(old, &format!("{old}# CONFIG_A is not set\n")));
        assert!(!noted(old, &old.replace("160201", "$(id)")));
    }

    #[test]
    fn the_order_of_options_counts_because_the_last_wins() {
        assert!(!noted("CONFIG_A=y\nCONFIG_A=n\n", "CONFIG_A=n\nCONFIG_A=y\n"));
    }
}
