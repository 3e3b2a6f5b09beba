//! Where packages go back to, and how.

use std::path::Path;
use std::time::Duration;

use crate::config::Settings;
use crate::config::settings;
use crate::controller::handback::{AurPush, HandBack};

/// How long pushing one package may take.
const PUSH: Duration = Duration::from_mins(1);
/// The host of the AUR.
const REAL_AUR: &str = "aur.archlinux.org";

/// Where packages go back to. The real AUR is pushed to only by whoever has a key for it.
pub(super) fn hand_back(aur: &settings::Aur, settings: &Settings) -> HandBack {
    let is_real = aur.git_url.contains(REAL_AUR);
    let url = match &aur.push_url {
        Some(url) if url.is_empty() => return HandBack::Off,
        Some(url) => url.clone(),
        None if is_real && aur.push_key_file.is_none() => return HandBack::Unset,
        None if is_real => format!("ssh://aur@{REAL_AUR}/{{pkgbase}}.git"),
        None => aur.git_url.clone(),
    };
    let ssh = aur.push_ssh_command.as_deref();
    let ssh = (ssh.is_some() || aur.push_key_file.is_some()).then(|| {
        let key = aur.push_key_file.as_deref();
        ssh_command(ssh.unwrap_or("ssh"), key)
    });
    let pages = settings.server.public_url.as_ref().map(ToString::to_string);
    HandBack::To(AurPush { url, ssh, pages, timeout: PUSH })
}

/// The command by which git reaches a host: it asks no questions, and uses this key and no other.
fn ssh_command(ssh: &str, key: Option<&Path>) -> String {
    let key = key.map(|key| format!(" -oIdentitiesOnly=yes -i '{}'", key.display().to_string().replace('\'', r"'\''")));
    format!("{ssh} -oBatchMode=yes -oConnectTimeout=20 -oStrictHostKeyChecking=accept-new{}", key.unwrap_or_default())
}
