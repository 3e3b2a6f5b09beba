//! How numbers of things are written in sentences that people read.

/// How many there are of something, as people say it: `1 build`, `2 builds`.
#[must_use]
pub fn number_of(number: usize, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        assert_eq!([0, 1, 2].map(|number| number_of(number, "build")), ["0 builds", "1 build", "2 builds"]);
    }
}
