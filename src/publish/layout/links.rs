//! The names that clients ask for: links that lead to the published generation.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{Layout, TEXTS, failed, gone, sync};
use crate::publish::PublishError;
use crate::publish::signer::SUFFIX;

impl Layout {
    /// Publishes a generation: database and list of files change in one step.
    pub fn swap(&self, number: u64) -> Result<(), PublishError> {
        self.set_link(".current", &format!(".generations/{number}"))?;
        sync(&self.dir)
    }

    /// Sees to the names that pacman asks for. Before the first swap, `replace` is false: files of
    /// somebody else are served until then.
    pub fn link(&self, replace: bool) -> Result<(), PublishError> {
        let (name, database, files) = (self.known_name()?, self.database_name()?, self.files_name()?);
        let same = |name: &str| (name.to_owned(), name.to_owned());
        let mut wanted = vec![
            (format!("{name}.db"), database.clone()),
            same(&database),
            (format!("{name}.files"), files.clone()),
            same(&files),
        ];
        let signatures: Vec<_> =
            wanted.iter().map(|(link, target)| (format!("{link}{SUFFIX}"), format!("{target}{SUFFIX}"))).collect();
        wanted.extend(TEXTS.map(same));
        for (name, target) in wanted {
            self.link_to(&name, &format!(".current/{target}"), replace)?;
        }
        for (name, target) in signatures {
            let target = format!(".current/{target}");
            if self.dir.join(&target).exists() || !replace {
                self.link_to(&name, &target, replace)?;
            } else {
                // A signature of a database that is not there any more would be one of another.
                gone(fs::remove_file(self.dir.join(&name))).map_err(failed("remove", &self.dir))?;
            }
        }
        Ok(())
    }

    fn link_to(&self, name: &str, target: &str, replace: bool) -> Result<(), PublishError> {
        match fs::read_link(self.dir.join(name)) {
            Ok(found) if found == Path::new(target) => Ok(()),
            Err(error) if error.kind() != ErrorKind::NotFound && !replace => Ok(()),
            Ok(_) if !replace => Ok(()),
            _ => self.set_link(name, target),
        }
    }

    fn set_link(&self, name: &str, target: &str) -> Result<(), PublishError> {
        let (link, new) = (self.dir.join(name), self.dir.join(format!(".{name}.new")));
        gone(fs::remove_file(&new)).map_err(failed("clear", &new))?;
        symlink(target, &new).map_err(failed("link", &new))?;
        fs::rename(&new, &link).map_err(failed("link", &link))
    }
}
