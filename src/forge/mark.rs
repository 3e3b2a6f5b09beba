//! What is hidden in our comments and issues, so that we find them again.

/// The text with a key hidden in it, as Markdown comments hide it.
pub fn with_key(key: &str, text: &str) -> String {
    format!("{}\n\n{}", text.trim_end(), mark(key))
}

/// Whether a text holds this key.
pub fn has_key(text: &str, key: &str) -> bool {
    // Some forges end lines as browsers do.
    text.trim_end().ends_with(&mark(key))
}

/// Whether two texts are the same to a reader: forges change line ends.
pub fn same(one: &str, other: &str) -> bool {
    one.trim_end().lines().eq(other.trim_end().lines())
}

fn mark(key: &str) -> String {
    format!("<!-- pkgwarden:{key} -->")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_in_its_own_text_only() {
        let text = with_key("answer-7", "Done.\n");
        assert_eq!(text, "Done.\n\n<!-- pkgwarden:answer-7 -->");
        assert!(has_key(&text, "answer-7") && has_key(&format!("{text}\r\n"), "answer-7"));
        assert!(!has_key(&text, "answer") && !has_key(&text, "7"));
        assert!(!has_key(&format!("{text} quoted by somebody"), "answer-7"));
    }

    #[test]
    fn line_ends_make_no_difference() {
        assert!(same("a\nb\n", "a\r\nb"));
        assert!(!same("a\nb", "a\n\nb"));
    }
}
