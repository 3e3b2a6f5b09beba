//! `[executor.uploads]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Layer;

section! {
    /// How much may be brought for one build that is carried out elsewhere (`bullmq`, `command`, `buildomat`). A build that
    /// makes more fails.
    WrittenUploads {
        /// The most MiB of one package.
        #[schemars(range(min = 1, max = 1_048_576), example = 4096)]
        file_mib: u64,
        /// The most MiB of all packages of a build; not less than of one.
        #[schemars(range(min = 1, max = 1_048_576), example = 8192)]
        build_mib: u64,
        /// The most packages of a build. One with more members may bring all of them.
        #[schemars(range(min = 1, max = 65536), example = 64)]
        files: usize,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::settings::{Executor, load};
    use crate::domain::upload::Limits;

    fn executor(text: &str) -> Result<Executor, String> {
        let settings = load(Some(("pkgwarden.toml", text)), &BTreeMap::new()).map_err(|error| error.to_string())?;
        Ok(settings.repositories[0].executor.clone())
    }

    #[test]
    fn what_is_written_counts_and_the_rest_is_as_usual() {
        let usual = executor("").unwrap();
        assert_eq!((usual.uploads, usual.log_bytes), (Limits::default(), 64 << 20));
        let set =
            executor("[executor]\nlog_mib = 1\n[executor.uploads]\nfile_mib = 2\nbuild_mib = 3\nfiles = 4\n").unwrap();
        assert_eq!(set.uploads, Limits { file: 2 << 20, attempt: 3 << 20, files: 4 });
        assert_eq!(set.log_bytes, 1 << 20);
        let one = executor("[executor.uploads]\nbuild_mib = 4096\n").unwrap();
        assert_eq!(one.uploads, Limits { attempt: 4 << 30, ..Limits::default() });
    }

    #[test]
    fn limits_that_nothing_could_keep_to_are_refused_with_what_to_write() {
        for (text, wrong) in [
            ("[executor]\nlog_mib = 0\n", "0 is out of range: from 1 to 65536"),
            ("[executor.uploads]\nfile_mib = 0\n", "0 is out of range: from 1 to 1048576"),
            ("[executor.uploads]\nbuild_mib = 1048577\n", "1048577 is out of range"),
            ("[executor.uploads]\nfiles = -1\n", "-1 is out of range"),
            ("[executor.uploads]\nfile_mib = \"4 GiB\"\n", "such as 4096"),
            ("[executor.uploads]\nfile_mb = 4\n", "file_mb"),
            ("[executor.uploads]\nbuild_mib = 4095\n", "let build_mib be as much as file_mib, or more"),
            ("[executor.uploads]\nfile_mib = 8193\n", "let build_mib be as much as file_mib, or more"),
        ] {
            let said = executor(text).expect_err(text);
            assert!(said.contains(wrong), "{text}: {said}");
        }
    }
}
