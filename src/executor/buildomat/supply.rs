//! What a job is asked to do, and is given to do it.

use std::fs;

use sha2::{Digest as _, Sha256};

use super::client::TAG;
use super::follow::{Followed, Trouble};
use super::wire::{JobAddInput, JobSubmit, TaskSubmit};
use crate::executor::api::ApiError;
use crate::sys::fs::FsError;

/// The largest piece of a file that is sent at once: 4 MiB.
const PIECE: usize = 4 << 20;
/// What the package folder is called for the job.
const PACKAGE: &str = "package.tar";
/// What a build document is called that comes as a file.
const DOCUMENT: &str = "build.json";
/// A longer build document is no variable: Linux takes none of more than 128 KiB, its name included.
const LONGEST_VARIABLE: usize = 96 << 10;
/// Where a job leaves packages; they may be none.
const OUTPUTS: &str = "/out/*";

impl Followed<'_> {
    /// The job of the build.
    pub(super) fn job(&self) -> JobSubmit {
        let making = &self.buildomat.making;
        let document = if self.is_long() {
            ("PKGWARDEN_BUILD_FILE", "/input/build.json")
        } else {
            ("PKGWARDEN_BUILD", self.record.build.as_str())
        };
        let env = [document, ("PACKAGE_TAR", "/input/package.tar"), ("OUT", "/out")];
        let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let documents = self.is_long().then(|| DOCUMENT.to_owned());
        let task = TaskSubmit { name: "build".to_owned(), script: making.script.clone(), env_clear: false, env };
        JobSubmit {
            name: self.record.name.clone(),
            target: making.target.clone(),
            output_rules: vec![OUTPUTS.to_owned()],
            tasks: vec![task],
            inputs: std::iter::once(PACKAGE.to_owned()).chain(documents).collect(),
            tags: [(TAG.to_owned(), self.attempt.id.clone())].into(),
        }
    }

    /// Whether the build document is too long for a variable.
    fn is_long(&self) -> bool {
        self.record.build.len() > LONGEST_VARIABLE
    }

    /// Gives the job the files that it waits for.
    pub(super) async fn supply(&mut self, job: &str) -> Result<(), Trouble> {
        let path = self.state.package();
        let package = fs::read(&path).map_err(|error| FsError::new("read", &path, error))?;
        let document = self.is_long().then(|| self.record.build.clone().into_bytes());
        for (name, file) in [(PACKAGE, Some(package)), (DOCUMENT, document)] {
            let Some(file) = file else { continue };
            match self.supply_one(job, name, &file).await {
                // It was given before.
                Err(Trouble::Api(ApiError::Refused { status: 409, .. })) => {}
                supplied => supplied?,
            }
        }
        Ok(())
    }

    async fn supply_one(&mut self, job: &str, name: &str, file: &[u8]) -> Result<(), Trouble> {
        let client = &self.buildomat.client;
        let mut chunks = Vec::new();
        for piece in file.chunks(PIECE) {
            chunks.push(self.patiently(|| client.add_chunk(job, piece.to_vec())).await?);
        }
        let commit_id = ulid(&chunks);
        let input = JobAddInput { name: name.to_owned(), chunks, commit_id, size: file.len() as u64 };
        while !self.attempt.reins.cancel.is_cancelled() {
            let result = self.patiently(|| client.add_input(job, &input)).await?;
            if let Some(error) = result.error {
                return Err(Trouble::Input(error));
            }
            if result.complete {
                break;
            }
            self.pause().await;
        }
        Ok(())
    }
}

/// An id in the form that buildomat wants, the same for the same pieces.
fn ulid(chunks: &[String]) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let digest = Sha256::digest(chunks.join(" "));
    let mut number = u128::from_be_bytes(digest[..16].try_into().expect("a digest has 32 bytes"));
    let mut id = [b'0'; 26];
    for place in id.iter_mut().rev() {
        *place = DIGITS[usize::try_from(number % 32).expect("a digit")];
        number /= 32;
    }
    String::from_utf8(id.into()).expect("digits are text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_128_bits_in_26_digits_and_is_that_of_its_pieces() {
        let id = ulid(&["01H".to_owned(), "01J".to_owned()]);
        assert_eq!(id, ulid(&["01H".to_owned(), "01J".to_owned()]));
        assert_ne!(id, ulid(&["01J".to_owned(), "01H".to_owned()]));
        assert!(id.len() == 26 && id.as_bytes()[0] <= b'7', "{id}");
    }
}
