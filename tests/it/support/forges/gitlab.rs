//! GitLab's API, as far as it is used.

use axum::http::Method;
use serde_json::{Value, json};

use super::http::{Asked, Reply};
use super::world::{Issue, Line, Note, Refusal, Review, Stage, Standing, World};

pub async fn answer(world: &mut World, asked: &Asked) -> Reply {
    let known = asked.who.as_ref().is_some_and(|who| world.people.contains_key(who));
    if !known {
        return error(401, "401 Unauthorized");
    }
    match asked.parts().as_slice() {
        ["user"] => Reply::of(200, user(world, asked.me())),
        ["users"] => {
            let name = asked.query("username").unwrap_or_default();
            Reply::list(world.people.keys().filter(|it| *it == name).map(|it| user(world, it)).collect())
        }
        ["projects", project, rest @ ..] if *project == world.project => {
            if asked.method != Method::GET && world.people[asked.me()].standing == Standing::Read {
                return error(403, "403 Forbidden");
            }
            in_project(world, asked, rest).await
        }
        _ => error(404, "404 Project Not Found"),
    }
}

async fn in_project(world: &mut World, asked: &Asked, rest: &[&str]) -> Reply {
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let text = |key: &str| asked.text(key).unwrap_or_default();
    match (asked.method.as_str(), rest) {
        ("GET", ["merge_requests"]) => Reply::list(requests(world, asked)),
        ("POST", ["merge_requests"]) => open(world, asked).await,
        ("GET", ["merge_requests", it]) => one(world, number(it)),
        ("PUT", ["merge_requests", it]) => edit(world, asked, number(it)),
        ("PUT", ["merge_requests", it, "merge"]) => merge(world, asked, number(it)).await,
        ("GET", ["merge_requests", it, "approvals"]) => approvals(world, number(it)),
        ("GET", ["merge_requests", it, "versions"]) => versions(world, number(it)),
        ("GET", ["merge_requests", it, "notes"]) => notes(world, number(it), false),
        ("GET", ["issues", it, "notes"]) => notes(world, number(it), true),
        ("POST", ["issues", it, "notes"]) => {
            if !world.issues.contains_key(&number(it)) {
                return missing();
            }
            let id = world.says_on_issue(asked.me(), number(it), text("body"));
            let written = world.notes.iter().find(|note| note.id == id).expect("written");
            Reply::of(201, note(world, written))
        }
        ("POST", ["merge_requests", it, "notes"]) => {
            if !world.reviews.contains_key(&number(it)) {
                return missing();
            }
            let id = world.says(asked.me(), number(it), text("body"));
            let written = world.notes.iter().find(|note| note.id == id).expect("written");
            Reply::of(201, note(world, written))
        }
        ("PUT", ["merge_requests" | "issues", _, "notes", it]) => edit_note(world, asked, number(it)),
        ("GET", ["members", "all", it]) => member(world, number(it)),
        ("GET", ["issues"]) => {
            Reply::list(world.issues.values().rev().filter(|it| it.is_open).map(|it| issue(world, it)).collect())
        }
        ("POST", ["issues"]) => {
            let number = world.reports(asked.me(), text("title"), text("description"));
            Reply::of(201, issue(world, &world.issues[&number]))
        }
        ("PUT", ["issues", it]) => edit_issue(world, asked, number(it)),
        ("GET", ["repository", "commits", commit, "statuses"]) => statuses(world, asked, commit),
        ("POST", ["statuses", commit]) => status(world, asked, commit).await,
        _ => missing(),
    }
}

fn error(status: u16, message: &str) -> Reply {
    Reply::of(status, json!({ "message": message }))
}

fn missing() -> Reply {
    error(404, "404 Not found")
}

fn user(world: &World, name: &str) -> Value {
    let id = world.people.get(name).map_or(999, |person| person.id);
    json!({"id": id, "username": name, "public_email": null, "name": name, "state": "active", "locked": false,
           "avatar_url": null, "web_url": format!("{}/{name}", world.url)})
}

fn users<'a>(world: &World, names: impl IntoIterator<Item = &'a String>) -> Vec<Value> {
    names.into_iter().map(|name| user(world, name)).collect()
}

fn request(world: &World, review: &Review) -> Value {
    let state = match review.stage {
        Stage::Open => "opened",
        Stage::Closed => "closed",
        Stage::Merged => "merged",
    };
    let status = match (review.stage, review.mergeable) {
        (Stage::Open, true) => "mergeable",
        (Stage::Open, false) => "conflict",
        _ => "not_open",
    };
    let source = if review.project == world.project { 1 } else { 2 };
    let ended = |stage| review.ended_at.filter(|_| review.stage == stage);
    json!({
        "id": 1000 + review.number, "iid": review.number, "project_id": 1, "title": review.title,
        "description": review.body, "state": state, "created_at": review.opened_at, "updated_at": review.updated_at,
        "merged_at": ended(Stage::Merged), "closed_at": ended(Stage::Closed),
        "closed_by": review.closed_by.as_ref().map(|name| user(world, name)),
        "target_branch": review.base, "source_branch": review.branch, "source_project_id": source,
        "target_project_id": 1, "labels": review.labels, "author": user(world, &review.author),
        "assignees": users(world, &review.assignees), "reviewers": users(world, &review.reviewers), "draft": false,
        "sha": review.head, "merge_commit_sha": review.merged_as, "detailed_merge_status": status,
        "has_conflicts": review.stage == Stage::Open && !review.mergeable,
        "web_url": format!("{}/{}/-/merge_requests/{}", world.url, world.project, review.number),
        "references": {"short": format!("!{}", review.number), "relative": format!("!{}", review.number),
                       "full": format!("{}!{}", world.project, review.number)},
    })
}

fn requests(world: &World, asked: &Asked) -> Vec<Value> {
    let since = asked.query("updated_after").and_then(|time| time.parse().ok());
    let state = asked.query("state").unwrap_or("all");
    let wanted = |it: &&Review| {
        (state == "all" || it.stage == Stage::Open)
            && asked.query("source_branch").is_none_or(|branch| branch == it.branch)
            && since.is_none_or(|since| it.updated_at >= since)
    };
    let mut found: Vec<_> = world.reviews.values().filter(wanted).collect();
    if asked.query("sort") != Some("asc") {
        found.reverse();
    }
    found.into_iter().map(|it| request(world, it)).collect()
}

async fn open(world: &mut World, asked: &Asked) -> Reply {
    let text = |key| asked.text(key).unwrap_or_default();
    let branches = (text("source_branch"), text("target_branch"));
    match world.opens(asked.me(), branches, text("title"), text("description")).await {
        Ok(number) => {
            let labels = text("labels").split(',').filter(|label| !label.is_empty()).map(str::to_owned);
            world.reviews.get_mut(&number).expect("opened").labels.extend(labels);
            Reply::of(201, request(world, &world.reviews[&number]))
        }
        Err(Refusal::Exists(number)) => {
            let message = format!("Another open merge request already exists for this source branch: !{number}");
            Reply::of(409, json!({ "message": [message] }))
        }
        Err(_) => Reply::of(400, json!({"message": {"source_branch": ["does not exist"]}})),
    }
}

fn one(world: &World, number: u64) -> Reply {
    world.reviews.get(&number).map_or_else(missing, |review| Reply::of(200, request(world, review)))
}

/// The people with these numbers.
fn named(world: &World, asked: &Asked, key: &str) -> Option<std::collections::BTreeSet<String>> {
    asked.body.get(key)?;
    let ids: Vec<u64> = asked.texts(key).iter().filter_map(|id| id.parse().ok()).collect();
    Some(world.people.iter().filter(|(_, it)| ids.contains(&it.id)).map(|(name, _)| name.clone()).collect())
}

fn edit(world: &mut World, asked: &Asked, number: u64) -> Reply {
    let (assignees, reviewers) = (named(world, asked, "assignee_ids"), named(world, asked, "reviewer_ids"));
    let Ok(review) = world.touched(number) else { return missing() };
    if let Some(title) = asked.text("title") {
        title.clone_into(&mut review.title);
    }
    if let Some(body) = asked.text("description") {
        body.clone_into(&mut review.body);
    }
    review.labels.extend(asked.text("add_labels").into_iter().flat_map(|it| it.split(',')).map(str::to_owned));
    let off: Vec<_> = asked.text("remove_labels").into_iter().flat_map(|it| it.split(',')).collect();
    review.labels.retain(|label| !off.contains(&label.as_str()));
    review.assignees = assignees.unwrap_or_else(|| review.assignees.clone());
    review.reviewers = reviewers.unwrap_or_else(|| review.reviewers.clone());
    if asked.text("state_event") == Some("close") {
        world.closes(number, asked.me()).expect("it is there");
    }
    one(world, number)
}

async fn merge(world: &mut World, asked: &Asked, number: u64) -> Reply {
    match world.merges(number, asked.text("sha")).await {
        Ok(_) => one(world, number),
        Err(Refusal::NoSuch) => missing(),
        Err(Refusal::Moved) => error(409, "SHA does not match HEAD of source branch"),
        Err(Refusal::Conflict) => error(406, "Branch cannot be merged"),
        Err(_) => error(405, "405 Method Not Allowed"),
    }
}

fn approvals(world: &World, number: u64) -> Reply {
    let Some(review) = world.reviews.get(&number) else { return missing() };
    let approved: Vec<_> = review.opinions.iter().filter(|it| it.approves).collect();
    let by: Vec<_> = approved.iter().map(|it| json!({"user": user(world, &it.author), "approved_at": it.at})).collect();
    Reply::of(
        200,
        json!({"id": review.number, "iid": review.number, "project_id": 1, "approved": true,
                          "approvals_required": 0, "approvals_left": 0, "approved_by": by}),
    )
}

fn versions(world: &World, number: u64) -> Reply {
    let Some(review) = world.reviews.get(&number) else { return missing() };
    Reply::list(vec![json!({"id": 1, "head_commit_sha": review.head, "base_commit_sha": review.head,
                            "start_commit_sha": review.head, "created_at": review.pushed_at,
                            "merge_request_id": 1000 + number, "state": "collected", "real_size": "1"})])
}

fn note(world: &World, note: &Note) -> Value {
    json!({"id": note.id, "type": null, "body": note.text, "author": user(world, &note.author), "system": false,
           "created_at": note.written_at, "updated_at": note.updated_at, "noteable_id": 1000 + note.number,
           "noteable_type": if note.on_issue { "Issue" } else { "MergeRequest" }, "noteable_iid": note.number,
           "resolvable": false, "confidential": false, "internal": false})
}

fn notes(world: &World, number: u64, on_issue: bool) -> Reply {
    let written = world.notes.iter().filter(|it| it.number == number && it.on_issue == on_issue);
    let written = written.map(|it| note(world, it));
    if on_issue {
        return if world.issues.contains_key(&number) { Reply::list(written.collect()) } else { missing() };
    }
    let Some(review) = world.reviews.get(&number) else { return missing() };
    let system = json!({"id": 1, "type": null, "body": "assigned to @mira", "author": user(world, &review.author),
        "system": true, "created_at": review.opened_at, "updated_at": review.opened_at,
        "noteable_id": 1000 + number, "noteable_type": "MergeRequest", "noteable_iid": number, "resolvable": false,
        "confidential": false, "internal": false});
    Reply::list([system].into_iter().chain(written).collect())
}

fn edit_note(world: &mut World, asked: &Asked, id: u64) -> Reply {
    let now = world.now;
    let Some(found) = world.notes.iter_mut().find(|it| it.id == id) else { return missing() };
    (found.text, found.updated_at) = (asked.text("body").unwrap_or_default().to_owned(), now);
    let found = found.clone();
    Reply::of(200, note(world, &found))
}

fn member(world: &World, id: u64) -> Reply {
    let Some((name, person)) = world.people.iter().find(|(_, person)| person.id == id) else { return missing() };
    let level = match person.standing {
        // No member at all: anybody may read.
        Standing::Read => return missing(),
        Standing::Write => 30,
        Standing::Admin => 40,
    };
    let mut body = user(world, name);
    body["access_level"] = level.into();
    body["expires_at"] = Value::Null;
    Reply::of(200, body)
}

fn issue(world: &World, issue: &Issue) -> Value {
    json!({"id": 2000 + issue.number, "iid": issue.number, "project_id": 1, "title": issue.title,
           "description": issue.body, "state": if issue.is_open { "opened" } else { "closed" },
           "created_at": issue.opened_at, "updated_at": issue.updated_at, "closed_at": null, "labels": [],
           "assignees": [], "author": user(world, &issue.author),
           "web_url": format!("{}/{}/-/issues/{}", world.url, world.project, issue.number)})
}

fn edit_issue(world: &mut World, asked: &Asked, number: u64) -> Reply {
    if !super::edits_issue(world, asked, number, "description") {
        return missing();
    }
    Reply::of(200, issue(world, &world.issues[&number]))
}

fn line(world: &World, line: &Line) -> Value {
    json!({"id": line.id, "sha": line.commit, "ref": "main", "status": line.state, "name": line.context,
           "target_url": line.url, "description": line.summary, "created_at": line.at, "started_at": null,
           "finished_at": null, "allow_failure": false, "coverage": null, "author": user(world, &line.author)})
}

fn statuses(world: &World, asked: &Asked, commit: &str) -> Reply {
    let named = |it: &&&Line| asked.query("name").is_none_or(|name| name == it.context);
    Reply::list(world.statuses(commit).iter().filter(named).map(|it| line(world, it)).collect())
}

async fn status(world: &mut World, asked: &Asked, commit: &str) -> Reply {
    if world.repo.id(commit).await.is_none() {
        return error(404, "404 Commit Not Found");
    }
    let new = super::puts_status(world, asked, commit, "name");
    let body = line(world, &new);
    Reply::of(201, body)
}
