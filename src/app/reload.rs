//! What a running `serve` takes over when it reads its configuration again, and what it cannot.

use std::collections::BTreeSet;

use serde_json::Value;

/// Sections and keys that may change while it runs. All others are fixed at the start.
const LIVE: [&str; 9] = [
    "server.poll",
    "server.log",
    "schedule",
    "sources",
    "forge.webhook_secret_file",
    "executor.slots",
    "executor.timeout",
    "executor.limits",
    "executor.local.repository",
];

/// The keys that differ between the settings in force at the start and those that were read now, and
/// that only a new start takes over. Those of a repository in a list come after its name.
#[must_use]
pub fn fixed(started_with: &Value, now: &Value) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let (before, after) = (repositories(started_with), repositories(now));
    let names = |list: &[(&str, &Value)]| list.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
    if names(&before) == names(&after) {
        for ((name, before), (_, after)) in before.into_iter().zip(after) {
            let mut own = BTreeSet::new();
            compare("", before, after, &mut own);
            keys.extend(own.into_iter().map(|key| format!("{name}: {key}")));
        }
    } else {
        keys.insert("repository".to_owned());
    }
    compare("", started_with, now, &mut keys);
    keys
}

fn repositories(settings: &Value) -> Vec<(&str, &Value)> {
    let list = settings["repository"].as_array().into_iter().flatten();
    list.map(|repository| (repository["name"].as_str().unwrap_or_default(), repository)).collect()
}

fn compare(at: &str, before: &Value, after: &Value, keys: &mut BTreeSet<String>) {
    if before == after || at == "repository" || LIVE.contains(&at) {
        return;
    }
    let empty = serde_json::Map::new();
    let table = |value: &Value| matches!(value, Value::Object(_) | Value::Null);
    if !(table(before) && table(after)) || (before.is_null() && after.is_null()) {
        keys.insert(at.to_owned());
        return;
    }
    let (before, after) = (before.as_object().unwrap_or(&empty), after.as_object().unwrap_or(&empty));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        compare(&at, before.get(name).unwrap_or(&Value::Null), after.get(name).unwrap_or(&Value::Null), keys);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::settings;

    fn told(before: &str, after: &str) -> String {
        let value = |text| {
            let settings =
                settings::in_force(Some(("pkgwarden.toml", text)), &BTreeMap::new()).expect("right settings");
            serde_json::to_value(settings).expect("plain data")
        };
        fixed(&value(before), &value(after)).into_iter().collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn schedules_limits_and_sources_may_change_while_it_runs() {
        let after = "[server]\npoll = \"5s\"\nlog = \"debug\"\n[sources]\nparallel = 2\ntimeout = \"5s\"\n[sources.aur]\n\
                     mirror_url = \"\"\n[executor]\nslots = 3\ntimeout = \"2h\"\n[[schedule]]\ncron = \"0 1 * * *\"\n\
                     run = \"trigger\"\nname = \"daily\"\n";
        assert_eq!(told("", after), "");
        assert_eq!(told(after, ""), "");
    }

    #[test]
    fn what_needs_a_new_start_is_named_by_its_key() {
        let after = "[server]\nlisten = \"127.0.0.1:1\"\npoll = \"5s\"\n[publish]\ndir = \"/srv/p\"\nkeep = 9\n\
                     [policy]\noverlap = \"coalesce\"\n[executor]\nkind = \"none\"\n[executor.local]\nuser = \"builder\"\n";
        assert_eq!(told("", after), "executor.kind, executor.local.user, publish.dir, publish.keep, server.listen");
        assert_eq!(told(after, ""), "executor.kind, executor.local.user, publish.dir, publish.keep, server.listen");
        assert_eq!(told("", "[server]\ntoken_file = \"/etc/token\"\n"), "server.token_file", "where nothing stood");
    }

    #[test]
    fn repositories_of_a_list_are_compared_each_with_itself() {
        let list = |url: &str, slots: u32, more: &str| {
            format!(
                "[executor]\nslots = {slots}\n[[repository]]\nname = \"a\"\nurl = \"{url}\"\n\
                 [[repository]]\nname = \"b\"\nurl = \"https://example.org/b\"\n{more}"
            )
        };
        let before = list("https://example.org/a", 1, "");
        assert_eq!(told(&before, &list("https://example.org/a", 4, "")), "");
        assert_eq!(told(&before, &list("https://example.org/x", 4, "")), "a: url");
        assert_eq!(told(&before, &list("https://example.org/a", 1, "publish.keep = 1\n")), "b: publish.keep");
        let third = "[[repository]]\nname = \"c\"\nurl = \"https://example.org/c\"\n";
        assert_eq!(told(&before, &list("https://example.org/a", 1, third)), "repository");
    }
}
