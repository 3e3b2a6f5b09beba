//! What the settings of a forge need of each other, and of the address of the monorepo.

use super::settings::{App, Forge, ForgeKind};
use super::value::Address;
use super::written::WrittenForge;

/// Something that is missing or does not fit: the key that it is shown at, what is wrong, and what to do.
type Fault = (&'static str, String, &'static str);

/// What is wrong with the settings of the forge of a monorepo, whose address is known unless it is a clone's.
pub(super) fn faults(forge: &WrittenForge, address: Option<&str>) -> Vec<Fault> {
    let Some(kind) = forge.kind.filter(|kind| *kind != ForgeKind::Local) else { return Vec::new() };
    // Its webhooks are heard, and nothing is asked of it.
    let has_token = forge.token_file.is_some() || forge.token_variable.is_some();
    let acts = has_token || forge.app_id.is_some() || forge.app_key_file.is_some();
    if !acts && forge.webhook_secret_file.is_some() {
        return Vec::new();
    }
    let mut faults = identity_faults(forge, kind);
    let api = forge.api_url.as_ref().map(Address::as_str);
    match (suffix(kind), api) {
        (Some(suffix), Some(api)) if !api.trim_end_matches('/').ends_with(suffix) => {
            let message = format!("the address of this API ends with {suffix}");
            faults.push(("api_url", message, "write https://HOST/api/v4 for GitLab, https://HOST/api/v1 for Gitea"));
        }
        (_, None) if usual_api(kind).is_none() => {
            let message = "this kind of forge needs `forge.api_url`".to_owned();
            faults.push(("kind", message, "write forge.api_url = \"https://HOST/api/v1\""));
        }
        _ => {}
    }
    let hint = "write forge.project = \"OWNER/NAME\", as in the address of its page";
    match (&forge.project, address) {
        (Some(project), _) if !is_project(kind, project) => {
            faults.push(("project", format!("`{project}` is no project on such a forge"), hint));
        }
        (None, Some(address)) if faults.is_empty() && project(&resolve(forge.clone(), None), address).is_none() => {
            let message = "the project on the forge cannot be told from the address of the monorepo".to_owned();
            faults.push(("kind", message, hint));
        }
        _ => {}
    }
    faults
}

fn identity_faults(forge: &WrittenForge, kind: ForgeKind) -> Vec<Fault> {
    let mut faults = Vec::new();
    match (forge.app_id, &forge.app_key_file) {
        (Some(_), Some(_)) if kind == ForgeKind::Github => return faults,
        (None, None) => {}
        (Some(_), None) => {
            let message = "a GitHub App needs its private key".to_owned();
            faults.push(("app_id", message, "name the file with it: forge.app_key_file"));
            return faults;
        }
        (None, Some(_)) => {
            let message = "a GitHub App needs its number".to_owned();
            faults.push(("app_key_file", message, "write it as forge.app_id; its page shows it"));
            return faults;
        }
        (Some(_), Some(_)) => {
            let message = "only GitHub has apps".to_owned();
            faults.push(("app_id", message, "leave it out, and name a file with a token: forge.token_file"));
        }
    }
    if forge.token_file.is_none() && forge.token_variable.is_none() {
        let message = "this kind of forge needs `forge.token_file`".to_owned();
        faults.push(("kind", message, "name the file with an access token"));
    }
    faults
}

/// The settings in force for a monorepo with this address.
pub(super) fn resolve(forge: WrittenForge, address: Option<&str>) -> Forge {
    let app = forge.app_id.zip(forge.app_key_file).map(|(id, key_file)| App { id, key_file });
    let mut resolved = Forge {
        kind: forge.kind.unwrap_or(ForgeKind::Local),
        api_url: forge.api_url,
        project: forge.project,
        token_file: forge.token_file,
        token_variable: forge.token_variable,
        app,
        webhook_secret_file: forge.webhook_secret_file,
    };
    if resolved.kind != ForgeKind::Local && resolved.project.is_none() {
        resolved.project = address.and_then(|address| project(&resolved, address));
    }
    resolved
}

/// The address of the API where nobody writes one.
const fn usual_api(kind: ForgeKind) -> Option<&'static str> {
    match kind {
        ForgeKind::Github => Some("https://api.github.com"),
        ForgeKind::Gitlab => Some("https://gitlab.com/api/v4"),
        ForgeKind::Gitea | ForgeKind::Local => None,
    }
}

/// What the addresses of APIs end with. GitHub's own has a host for itself.
const fn suffix(kind: ForgeKind) -> Option<&'static str> {
    match kind {
        ForgeKind::Gitlab => Some("/api/v4"),
        ForgeKind::Gitea => Some("/api/v1"),
        ForgeKind::Github | ForgeKind::Local => None,
    }
}

/// The base of the API of a forge, without a slash at the end; `None` if there is no forge.
#[must_use]
pub fn api(forge: &Forge) -> Option<&str> {
    let usual = usual_api(forge.kind);
    let written = forge.api_url.as_ref().map(|url| url.as_str().trim_end_matches('/'));
    if forge.kind == ForgeKind::Local { None } else { written.or(usual) }
}

/// The project that the address of a git repository is of, if it is one on this forge: `https://HOST/OWNER/NAME.git`,
/// `ssh://git@HOST/OWNER/NAME`, `git@HOST:OWNER/NAME.git`.
#[must_use]
pub fn project(forge: &Forge, address: &str) -> Option<String> {
    let (is_web, (host, path)) = match address.split_once("://") {
        Some((scheme @ ("http" | "https" | "ssh" | "git"), rest)) => {
            (scheme.starts_with("http"), rest.split_once('/')?)
        }
        Some(_) => return None,
        None => (false, address.split_once(':')?),
    };
    let plain = |host: &str| {
        let host = host.rsplit('@').next().unwrap_or_default().split(':').next().unwrap_or_default();
        host.to_ascii_lowercase()
    };
    let api = api(forge)?.split_once("://")?.1;
    let (api_host, api_path) = api.split_once('/').unwrap_or((api, ""));
    let api_host = plain(api_host);
    let forge_host = if api_host == "api.github.com" { "github.com".to_owned() } else { api_host };
    let path = path.trim_matches('/').trim_end_matches(".git");
    // A forge below a path of its host has its projects there as well: https://HOST/gitlab/GROUP/NAME.
    let below = api_path.split_once("api/v").map_or("", |(below, _)| below.trim_matches('/'));
    let path = match path.strip_prefix(below).filter(|_| is_web && !below.is_empty()) {
        Some(inside) => inside.strip_prefix('/')?,
        None if is_web && !below.is_empty() => return None,
        None => path,
    };
    (plain(host) == forge_host && is_project(forge.kind, path)).then(|| path.to_owned())
}

fn is_project(kind: ForgeKind, path: &str) -> bool {
    let parts: Vec<_> = path.split('/').collect();
    let is_name = |part: &&str| {
        !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c))
            && !part.is_empty()
    };
    let enough = if kind == ForgeKind::Gitlab { parts.len() >= 2 } else { parts.len() == 2 };
    enough && parts.iter().all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forge(kind: ForgeKind, api_url: Option<&str>) -> Forge {
        let api_url = api_url.map(|url| serde_json::from_value(url.into()).expect("an address"));
        Forge {
            kind,
            api_url,
            project: None,
            token_file: None,
            token_variable: None,
            app: None,
            webhook_secret_file: None,
        }
    }

    #[test]
    fn the_project_is_told_from_the_address_of_the_monorepo() {
        let github = forge(ForgeKind::Github, None);
        for address in [
            "https://github.com/them/packages.git",
            "https://user:secret@GitHub.com/them/packages",
            "git@github.com:them/packages.git",
            "ssh://git@github.com:22/them/packages.git/",
        ] {
            assert_eq!(project(&github, address).as_deref(), Some("them/packages"), "{address}");
        }
        for address in [
            "https://gitlab.com/them/packages.git",
            "https://github.com/them",
            "https://github.com/a/b/c",
            "https://github.com.evil.example/them/packages",
            "/srv/packages.git",
            "file:///srv/them/packages.git",
            "https://github.com/../packages",
        ] {
            assert_eq!(project(&github, address), None, "{address}");
        }
        let own = forge(ForgeKind::Gitlab, Some("https://git.example:8443/api/v4/"));
        let nested = project(&own, "git@git.example:group/sub/packages.git");
        assert_eq!(nested.as_deref(), Some("group/sub/packages"));
    }

    #[test]
    fn a_forge_below_a_path_of_its_host_has_its_projects_there() {
        let below = forge(ForgeKind::Gitlab, Some("https://example.org/gitlab/api/v4/"));
        for address in ["https://example.org/gitlab/them/packages.git", "git@example.org:them/packages.git"] {
            assert_eq!(project(&below, address).as_deref(), Some("them/packages"), "{address}");
        }
        for address in ["https://example.org/them/packages.git", "https://example.org/gitlabs/them/packages.git"] {
            assert_eq!(project(&below, address), None, "{address}");
        }
        let enterprise = forge(ForgeKind::Github, Some("https://ghe.example/api/v3"));
        assert_eq!(project(&enterprise, "https://ghe.example/them/packages").as_deref(), Some("them/packages"));
    }

    #[test]
    fn each_kind_has_its_usual_api() {
        assert_eq!(api(&forge(ForgeKind::Github, None)), Some("https://api.github.com"));
        assert_eq!(api(&forge(ForgeKind::Gitlab, None)), Some("https://gitlab.com/api/v4"));
        assert_eq!(api(&forge(ForgeKind::Gitea, None)), None);
        assert_eq!(api(&forge(ForgeKind::Local, Some("https://x/"))), None);
        assert_eq!(
            api(&forge(ForgeKind::Github, Some("https://ghe.example/api/v3/"))),
            Some("https://ghe.example/api/v3")
        );
    }
}
