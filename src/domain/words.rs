//! How numbers of things are written in sentences that people read.

/// How many there are of something, as people say it: `1 build`, `2 builds`.
#[must_use]
pub fn number_of(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// A number of bytes, as people say it.
#[must_use]
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        assert_eq!([0, 1, 2].map(|number| number_of(number, "build")), ["0 builds", "1 build", "2 builds"]);
    }

    #[test]
    fn sizes_are_said_in_units() {
        assert_eq!([0, 1023, 1024, 5 << 20, 3 << 30].map(size), ["0 B", "1023 B", "1 KiB", "5 MiB", "3072 MiB"]);
    }
}
