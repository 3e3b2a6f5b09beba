//! The value of `CI_PKGBUILD_SOURCE`: where the files of a package, or its versions, come from.

use super::package::Unreadable;
use crate::domain::policy::{GitFolder, Project, SourceKind};

const KINDS: &str = "write aur, custom, the URL of a git repository, gitlab:<project id>, github:<owner>/<repository>, \
                     gitea:<host>/<owner>/<repository>, or tags:<URL of a git repository>";

/// Reads it.
pub(super) fn parse_source(text: &str) -> Result<SourceKind, Unreadable> {
    match text {
        "aur" => return Ok(SourceKind::Aur),
        "custom" => return Ok(SourceKind::Custom),
        _ => {}
    }
    match text.split_once(':') {
        Some(("gitlab", rest)) => gitlab(rest).map(SourceKind::Release),
        Some(("github", rest)) => github(rest).map(SourceKind::Release),
        Some(("gitea", rest)) => gitea(rest).map(SourceKind::Release),
        Some(("tags", url)) if is_git_address(url) && !url.contains('#') => {
            Ok(SourceKind::Release(Project::Git { url: url.to_owned() }))
        }
        Some(("tags", url)) => Err((format!("`{url}` is not the URL of a git repository"), KINDS)),
        _ if is_git_address(text) => git_folder(text).map(SourceKind::Git),
        _ => Err((format!("`{text}` is no source that can be followed"), KINDS)),
    }
}

/// `ID`, `group/project`, or either behind the address of a GitLab.
fn gitlab(text: &str) -> Result<Project, Unreadable> {
    let (base, project) = match base_of(text) {
        Some((base, project)) => (Some(base), project),
        None => (None, text),
    };
    let is_id = !project.is_empty() && project.bytes().all(|byte| byte.is_ascii_digit());
    if is_id || is_path(project, 2..=20) {
        return Ok(Project::Gitlab { base, project: project.to_owned() });
    }
    Err((format!("`{project}` is neither the numeric id nor the path of a GitLab project"), KINDS))
}

fn github(text: &str) -> Result<Project, Unreadable> {
    if is_path(text, 2..=2) {
        return Ok(Project::Github { project: text.to_owned() });
    }
    Err((format!("`{text}` is not the owner and the name of a GitHub repository"), KINDS))
}

fn gitea(text: &str) -> Result<Project, Unreadable> {
    match base_of(text) {
        Some((base, project)) if is_path(project, 2..=2) => Ok(Project::Gitea { base, project: project.to_owned() }),
        _ => Err((format!("`{text}` is not the host, the owner and the name of a Gitea repository"), KINDS)),
    }
}

/// The address of a forge and what stands behind it: `host.example/rest`, `host:3000/rest`, `http://host/rest`.
fn base_of(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (scheme, rest),
        Some(_) => return None,
        None => ("https", text),
    };
    let (host, project) = rest.split_once('/')?;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let is_name = !name.is_empty() && !name.starts_with(['-', '.']) && name.bytes().all(legal);
    let is_host = is_name && port.parse::<u16>().is_ok();
    let is_named = rest.len() < text.len() || host.contains(['.', ':']) || host == "localhost";
    (is_host && is_named).then(|| (format!("{scheme}://{host}"), project))
}

/// Names with `/` between them, as forges allow them.
fn is_path(text: &str, parts: std::ops::RangeInclusive<usize>) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
    let is_name = |part: &str| !part.is_empty() && !part.starts_with(['-', '.']) && part.bytes().all(legal);
    parts.contains(&text.split('/').count()) && text.split('/').all(is_name)
}

/// `URL`, with `#branch=NAME`, `#subfolder=PATH` or both (`&` between them).
fn git_folder(text: &str) -> Result<GitFolder, Unreadable> {
    const FORM: &str = "write #branch=NAME, #subfolder=PATH, or #branch=NAME&subfolder=PATH behind the URL";
    let (url, fragment) = text.split_once('#').map_or((text, None), |(url, fragment)| (url, Some(fragment)));
    let mut found = GitFolder { url: url.to_owned(), branch: None, folder: None };
    for part in fragment.into_iter().flat_map(|fragment| fragment.split('&')) {
        let slot = match part.split_once('=') {
            Some(("branch", name)) if is_branch(name) => (&mut found.branch, name),
            Some(("subfolder", path)) if is_folder(path.trim_end_matches('/')) => {
                (&mut found.folder, path.trim_end_matches('/'))
            }
            _ => return Err((format!("`#{part}` says nothing about a git repository that can be followed"), FORM)),
        };
        if slot.0.replace(slot.1.to_owned()).is_some() {
            return Err((format!("`#{part}` is there twice"), FORM));
        }
    }
    Ok(found)
}

/// Whether git takes it as a branch and nothing takes it for an option or a pattern.
fn is_branch(name: &str) -> bool {
    let bad_end = ["/", ".", ".lock"].into_iter().any(|end| name.ends_with(end));
    let strange = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let bad = name.is_empty() || name.starts_with(['-', '/', '.']) || name.contains("..") || name.contains("@{");
    !(bad || bad_end || name.contains(strange))
}

fn is_folder(path: &str) -> bool {
    let is_name = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
    path.split('/').all(is_name)
}

/// Whether git can be given this address. Transports that run a program (`ext::`), options in disguise
/// and addresses with white space are not.
fn is_git_address(text: &str) -> bool {
    const SCHEMES: [&str; 5] = ["https://", "http://", "git://", "ssh://", "file:///"];
    if text.starts_with('-') || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return false;
    }
    let has_host = |rest: &str| !rest.is_empty() && !rest.starts_with(['/', '-']);
    if let Some(rest) = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        return has_host(rest);
    }
    // The short form of ssh: `git@host:path`.
    let Some((host, path)) = text.split_once(':') else { return false };
    host.contains('@') && !host.contains('/') && !path.is_empty() && !path.starts_with(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(text: &str) -> Project {
        match parse_source(text) {
            Ok(SourceKind::Release(project)) => project,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn folder(text: &str) -> (String, Option<String>, Option<String>) {
        match parse_source(text) {
            Ok(SourceKind::Git(GitFolder { url, branch, folder })) => (url, branch, folder),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_gitlab_project_is_named_as_chaotic_does_or_with_its_host() {
        let gitlab = |base: Option<&str>, project: &str| Project::Gitlab {
            base: base.map(str::to_owned),
            project: project.to_owned(),
        };
        assert_eq!(project("gitlab:48461688"), gitlab(None, "48461688"));
        assert_eq!(project("gitlab:garuda-linux/tools"), gitlab(None, "garuda-linux/tools"));
        assert_eq!(project("gitlab:git.example.org/12"), gitlab(Some("https://git.example.org"), "12"));
        assert_eq!(project("gitlab:git.example.org/a/b/c"), gitlab(Some("https://git.example.org"), "a/b/c"));
        assert_eq!(project("gitlab:http://127.0.0.1:80/12"), gitlab(Some("http://127.0.0.1:80"), "12"));
        for wrong in ["gitlab:", "gitlab:abc", "gitlab:../..", "gitlab:a//b", "gitlab:ext::sh/1", "gitlab:-a/b"] {
            assert!(parse_source(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn projects_of_other_forges_and_plain_repositories_are_named() {
        assert_eq!(project("github:owner/repo").to_string(), "github:owner/repo");
        let gitea = Project::Gitea { base: "https://codeberg.org".into(), project: "dnkl/foot".into() };
        assert_eq!(project("gitea:codeberg.org/dnkl/foot"), gitea);
        assert_eq!(project("tags:https://h/r.git"), Project::Git { url: "https://h/r.git".into() });
        for wrong in ["github:owner", "github:a/b/c", "gitea:owner/repo", "tags:--upload-pack=x", "tags:https://h/r#b"]
        {
            assert!(parse_source(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_branch_and_a_folder_stand_behind_the_url() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(folder("https://h/r.git"), ("https://h/r.git".into(), None, None));
        assert_eq!(folder("https://h/r#branch=a/b"), ("https://h/r".into(), some("a/b"), None));
        assert_eq!(folder("https://h/r#subfolder=x/y/"), ("https://h/r".into(), None, some("x/y")));
        assert_eq!(folder("git@h:r#branch=a&subfolder=x"), ("git@h:r".into(), some("a"), some("x")));
        for wrong in [
            "#",
            "#branch=",
            "#branch=-x",
            "#branch=a&branch=b",
            "#subfolder=../x",
            "#subfolder=/",
            "#commit=abc",
            "#branch=a..b",
        ] {
            assert!(parse_source(&format!("https://h/r{wrong}")).is_err(), "{wrong}");
        }
    }
}
