//! Sources `git` and `vcs`: tags of a repository, or the commit of a branch.

use super::options::Options;
use super::release::{Release, Said};
use crate::domain::name::Oid;
use crate::domain::srcinfo::SourceEntry;
use crate::source::lsremote;

/// What is asked of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Git {
    /// Its address, before mirrors.
    pub url: String,
    /// What of it.
    pub wanted: Wanted,
}

/// What of a repository is its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Its tags.
    Tags,
    /// The commit of this ref (`HEAD` or a full name).
    Commit(String),
}

impl Git {
    /// Reads the options of `git`.
    ///
    /// # Errors
    /// The option that is wrong.
    pub fn read(options: Options<'_>) -> Result<Self, String> {
        let url = options.needed("git")?;
        let wanted =
            if options.flag("use_commit")? { Wanted::Commit(branch(options.text("branch")?)?) } else { Wanted::Tags };
        Self::checked("git", url, wanted)
    }

    /// Reads the options of `vcs`: an address as in a PKGBUILD.
    ///
    /// # Errors
    /// The option that is wrong.
    pub fn read_vcs(options: Options<'_>) -> Result<Self, String> {
        let written = options.needed("vcs")?.to_owned();
        let entry = SourceEntry { written, arch: None };
        let pinned = "`vcs` names a fixed commit or tag, which has no newer version";
        let floating = entry.floating().ok_or(pinned)?;
        if floating.protocol != "git" {
            return Err(format!("`vcs`: only git is asked, and this is {}", floating.protocol));
        }
        let wanted = if options.flag("use_max_tag")? { Wanted::Tags } else { Wanted::Commit(branch(floating.branch)?) };
        Self::checked("vcs", floating.url, wanted)
    }

    fn checked(key: &str, url: &str, wanted: Wanted) -> Result<Self, String> {
        lsremote::check(url).map_err(|error| format!("`{key}`: {error}"))?;
        if url.starts_with("file:") {
            return Err(format!("`{key}`: repositories on this machine are not asked"));
        }
        Ok(Self { url: url.to_owned(), wanted })
    }

    /// What the tags of the repository say.
    #[must_use]
    pub fn tags(found: Vec<(String, Oid)>) -> Said {
        let release = |(gitref, id): (String, Oid)| {
            let version = gitref.strip_prefix("refs/tags/").unwrap_or(&gitref).to_owned();
            Release { version, revision: Some(id.to_string()), gitref: Some(gitref), ..Release::default() }
        };
        Said::Many(found.into_iter().map(release).collect())
    }

    /// What the commit of a ref says.
    #[must_use]
    pub fn commit(gitref: &str, id: Oid) -> Said {
        let gitref = (gitref != "HEAD").then(|| gitref.to_owned());
        Said::One(Release { revision: Some(id.to_string()), gitref, ..Release::new(id.to_string()) })
    }
}

fn branch(name: Option<&str>) -> Result<String, String> {
    match name {
        None => Ok("HEAD".to_owned()),
        Some(name)
            if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control() || "*?[".contains(c)) =>
        {
            Err(format!("`branch`: `{}` is not the name of a branch", name.escape_debug()))
        }
        Some(name) => Ok(format!("refs/heads/{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(options: &str, vcs: bool) -> Result<Git, String> {
        let table = options.parse().expect("TOML");
        let options = Options::new(&table);
        if vcs { Git::read_vcs(options) } else { Git::read(options) }
    }

    #[test]
    fn tags_are_asked_unless_a_commit_is_wanted() {
        let git = |rest: &str| read(&format!("git = 'https://h/r.git'\n{rest}"), false).map(|git| git.wanted);
        assert_eq!(git(""), Ok(Wanted::Tags));
        assert_eq!(git("use_commit = true"), Ok(Wanted::Commit("HEAD".to_owned())));
        assert_eq!(git("use_commit = true\nbranch = 'dev'"), Ok(Wanted::Commit("refs/heads/dev".to_owned())));
        assert!(git("use_commit = true\nbranch = '*'").is_err());
    }

    #[test]
    fn a_source_of_a_pkgbuild_is_an_address_too() {
        let vcs = |written: &str| read(&format!("vcs = '{written}'"), true);
        let dev = Git { url: "https://h/r".to_owned(), wanted: Wanted::Commit("refs/heads/dev".to_owned()) };
        assert_eq!(vcs("x::git+https://h/r#branch=dev"), Ok(dev));
        for wrong in
            ["hg+https://h/r", "git+https://h/r#tag=v1", "https://h/r", "git+--upload-pack=x", "git+file:///srv/r"]
        {
            assert!(vcs(wrong).is_err(), "{wrong}");
        }
    }
}
