//! The API of Gitea and Forgejo, as far as it is used.

use axum::http::Method;
use serde_json::{Value, json};

use super::http::{Asked, Reply};
use super::world::{Issue, Line, Note, Opinion, Refusal, Review, Stage, Standing, World};

pub async fn answer(world: &mut World, asked: &Asked) -> Reply {
    let known = asked.who.as_ref().is_some_and(|who| world.people.contains_key(who));
    if !known {
        return error(401, "invalid username, password or token");
    }
    match asked.parts().as_slice() {
        ["user"] => Reply::of(200, user(world, asked.me())),
        ["repos", owner, name, rest @ ..] if format!("{owner}/{name}") == world.project => {
            if asked.method != Method::GET && world.people[asked.me()].standing == Standing::Read {
                return error(403, "user should have a permission to write to the repository");
            }
            in_project(world, asked, rest).await
        }
        _ => missing(),
    }
}

async fn in_project(world: &mut World, asked: &Asked, rest: &[&str]) -> Reply {
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    let text = |key: &str| asked.text(key).unwrap_or_default();
    match (asked.method.as_str(), rest) {
        ("GET", ["pulls"]) => Reply::list(pulls(world, asked)),
        ("POST", ["pulls"]) => open(world, asked).await,
        ("GET", ["pulls", it]) => one(world, number(it)),
        ("PATCH", ["pulls", it]) => edit(world, asked, number(it)),
        ("POST", ["pulls", it, "merge"]) => merge(world, asked, number(it)).await,
        ("GET", ["pulls", it, "reviews"]) => opinions(world, number(it)),
        ("POST", ["pulls", it, "requested_reviewers"]) => request(world, asked, number(it)),
        ("GET", ["issues", it, "timeline"]) => timeline(world, number(it)),
        ("GET", ["issues", it, "comments"]) => comments(world, asked, number(it)),
        ("POST", ["issues", it, "comments"]) => {
            let id = world.says(asked.me(), number(it), text("body"));
            let written = world.notes.iter().find(|note| note.id == id).expect("written");
            Reply::of(201, note(world, written))
        }
        ("PATCH", ["issues", "comments", it]) => edit_note(world, asked, number(it)),
        ("POST", ["issues", it, "labels"]) => put_labels(world, asked, number(it)),
        ("DELETE", ["issues", it, "labels", id]) => take_label(world, number(it), number(id)),
        ("GET", ["labels"]) => Reply::list(world.labels.iter().map(|(name, id)| label(world, name, *id)).collect()),
        ("POST", ["labels"]) => {
            let id = world.id();
            world.labels.insert(text("name").to_owned(), id);
            Reply::of(201, label(world, text("name"), id))
        }
        ("GET", ["collaborators", who, "permission"]) => permission(world, who),
        ("GET", ["issues"]) => {
            let by = asked.query("created_by").unwrap_or_default();
            let found = world.issues.values().rev().filter(|it| it.is_open && it.author == by);
            Reply::list(found.map(|it| issue(world, it)).collect())
        }
        ("POST", ["issues"]) => {
            let number = world.reports(asked.me(), text("title"), text("body"));
            Reply::of(201, issue(world, &world.issues[&number]))
        }
        ("PATCH", ["issues", it]) => edit_issue(world, asked, number(it)),
        ("GET", ["commits", commit, "status"]) => combined(world, commit).await,
        ("POST", ["statuses", commit]) => status(world, asked, commit).await,
        _ => missing(),
    }
}

fn error(status: u16, message: &str) -> Reply {
    Reply::of(status, json!({"message": message, "url": "https://forge.example/api/swagger"}))
}

fn missing() -> Reply {
    error(404, "The target couldn't be found.")
}

fn user(world: &World, login: &str) -> Value {
    let id = world.people.get(login).map_or(999, |person| person.id);
    json!({"id": id, "login": login, "login_name": "", "full_name": "", "email": format!("{login}@example.org"),
           "avatar_url": world.url, "language": "", "is_admin": false, "created": world.begun, "restricted": false,
           "active": false, "prohibit_login": false, "location": "", "website": "", "description": "",
           "visibility": "public", "html_url": format!("{}/{login}", world.url)})
}

fn users<'a>(world: &World, logins: impl IntoIterator<Item = &'a String>) -> Vec<Value> {
    logins.into_iter().map(|login| user(world, login)).collect()
}

fn label(world: &World, name: &str, id: u64) -> Value {
    json!({"id": id, "name": name, "color": "ededed", "description": "", "exclusive": false, "is_archived": false,
           "url": format!("{}/labels/{id}", world.url)})
}

fn labels(world: &World, review: &Review) -> Vec<Value> {
    review.labels.iter().map(|name| label(world, name, world.labels.get(name).copied().unwrap_or(1))).collect()
}

fn end(world: &World, project: &str, branch: &str, commit: &str) -> Value {
    let (owner, name) = project.split_once('/').expect("owner and name");
    json!({"label": branch, "ref": branch, "sha": commit, "repo_id": 1,
           "repo": {"id": 1, "owner": user(world, owner), "name": name, "full_name": project, "description": "",
                    "empty": false, "private": false, "fork": project != world.project, "default_branch": "main",
                    "created_at": world.begun, "updated_at": world.begun,
                    "html_url": format!("{}/{project}", world.url)}})
}

fn pull(world: &World, review: &Review) -> Value {
    let number = review.number;
    let assignees = users(world, &review.assignees);
    let mut head = end(world, &review.project, &review.branch, &review.head);
    if review.stage != Stage::Open {
        // As it is once the branch is gone.
        head["ref"] = format!("refs/pull/{number}/head").into();
    }
    json!({"id": number, "url": format!("{}/{}/pulls/{number}", world.url, world.project), "number": number,
        "user": user(world, &review.author), "title": review.title, "body": review.body,
        "labels": labels(world, review), "milestone": null, "assignee": assignees.first(), "assignees": assignees,
        "requested_reviewers": users(world, &review.reviewers),
        "state": if review.stage == Stage::Open { "open" } else { "closed" }, "is_locked": false, "comments": 0,
        "html_url": format!("{}/{}/pulls/{number}", world.url, world.project), "mergeable": review.mergeable,
        "merged": review.stage == Stage::Merged,
        "merged_at": review.ended_at.filter(|_| review.stage == Stage::Merged),
        "merge_commit_sha": review.merged_as, "merged_by": null, "allow_maintainer_edit": false,
        "base": end(world, &world.project, &review.base, &review.head), "head": head, "merge_base": review.head,
        "due_date": null, "created_at": review.opened_at, "updated_at": review.updated_at,
        "closed_at": review.ended_at})
}

fn pulls(world: &World, asked: &Asked) -> Vec<Value> {
    let is_open = asked.query("state").unwrap_or("open") == "open";
    let mut found: Vec<_> = world.reviews.values().filter(|it| (it.stage == Stage::Open) == is_open).collect();
    if asked.query("sort") == Some("recentupdate") {
        found.sort_by_key(|it| std::cmp::Reverse(it.updated_at));
    }
    found.into_iter().map(|it| pull(world, it)).collect()
}

async fn open(world: &mut World, asked: &Asked) -> Reply {
    let text = |key| asked.text(key).unwrap_or_default();
    let opened = world.opens(asked.me(), (text("head"), text("base")), text("title"), text("body")).await;
    match opened {
        Ok(number) => Reply::of(201, pull(world, &world.reviews[&number])),
        Err(Refusal::Exists(_)) => error(409, "pull request already exists for these targets"),
        Err(_) => missing(),
    }
}

fn one(world: &World, number: u64) -> Reply {
    world.reviews.get(&number).map_or_else(missing, |review| Reply::of(200, pull(world, review)))
}

fn edit(world: &mut World, asked: &Asked, number: u64) -> Reply {
    let assignees = asked.body.get("assignees").map(|_| asked.texts("assignees"));
    if let Some(name) = assignees.iter().flatten().find(|name| !world.people.contains_key(*name)) {
        return error(422, &format!("Assignee does not exist: [name: {name}]"));
    }
    let Ok(review) = world.touched(number) else { return missing() };
    if let Some(title) = asked.text("title") {
        title.clone_into(&mut review.title);
    }
    if let Some(body) = asked.text("body") {
        body.clone_into(&mut review.body);
    }
    if let Some(assignees) = assignees {
        review.assignees = assignees.into_iter().collect();
    }
    if asked.text("state") == Some("closed") {
        world.closes(number, asked.me()).expect("it is there");
    }
    Reply { status: 201, ..one(world, number) }
}

async fn merge(world: &mut World, asked: &Asked, number: u64) -> Reply {
    match world.merges(number, asked.text("head_commit_id")).await {
        Ok(_) => Reply::of(200, Value::Null),
        Err(Refusal::NoSuch) => missing(),
        Err(Refusal::Moved) => error(409, "head out of date"),
        Err(_) => error(405, "Please try again later"),
    }
}

fn opinions(world: &World, number: u64) -> Reply {
    let Some(review) = world.reviews.get(&number) else { return missing() };
    let opinion = |it: &Opinion| {
        json!({"id": it.id, "user": user(world, &it.author), "team": null, "body": "", "commit_id": it.head,
               "state": if it.approves { "APPROVED" } else { "REQUEST_CHANGES" }, "stale": it.head != review.head,
               "official": true, "dismissed": false, "comments_count": 0, "submitted_at": it.at, "updated_at": it.at,
               "html_url": world.url, "pull_request_url": world.url})
    };
    Reply::list(review.opinions.iter().map(opinion).collect())
}

fn request(world: &mut World, asked: &Asked, number: u64) -> Reply {
    let names = asked.texts("reviewers");
    if !names.iter().all(|name| world.people.contains_key(name)) {
        return error(404, "user does not exist");
    }
    let Ok(review) = world.touched(number) else { return missing() };
    review.reviewers.extend(names);
    Reply::of(201, json!([]))
}

fn timeline(world: &World, number: u64) -> Reply {
    let Some(review) = world.reviews.get(&number) else { return missing() };
    let closed = review.closed_by.as_ref().map(|login| {
        json!({"id": 1, "type": "close", "html_url": "", "pull_request_url": "", "issue_url": "", "body": "",
               "user": user(world, login), "created_at": review.ended_at, "updated_at": review.ended_at})
    });
    Reply::list(closed.into_iter().collect())
}

fn note(world: &World, note: &Note) -> Value {
    json!({"id": note.id, "html_url": world.url, "pull_request_url": world.url, "issue_url": "", "body": note.text,
           "user": user(world, &note.author), "original_author": "", "original_author_id": 0, "assets": [],
           "created_at": note.written_at, "updated_at": note.updated_at})
}

fn comments(world: &World, asked: &Asked, number: u64) -> Reply {
    let since = asked.query("since").and_then(|time| time.parse().ok());
    let notes = world.notes.iter().filter(|it| it.number == number && since.is_none_or(|time| it.updated_at >= time));
    Reply::of(200, notes.map(|it| note(world, it)).collect::<Vec<_>>().into())
}

fn edit_note(world: &mut World, asked: &Asked, id: u64) -> Reply {
    let now = world.now;
    let Some(found) = world.notes.iter_mut().find(|it| it.id == id) else { return missing() };
    (found.text, found.updated_at) = (asked.text("body").unwrap_or_default().to_owned(), now);
    let found = found.clone();
    Reply::of(200, note(world, &found))
}

fn put_labels(world: &mut World, asked: &Asked, number: u64) -> Reply {
    let ids: Vec<_> = asked.body["labels"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    let names: Vec<_> = world.labels.iter().filter(|(_, id)| ids.contains(id)).map(|(name, _)| name.clone()).collect();
    let Ok(review) = world.touched(number) else { return missing() };
    review.labels.extend(names);
    Reply::of(200, labels(world, &world.reviews[&number]).into())
}

fn take_label(world: &mut World, number: u64, id: u64) -> Reply {
    let name = world.labels.iter().find(|(_, known)| **known == id).map(|(name, _)| name.clone());
    let Some(name) = name else { return missing() };
    let Ok(review) = world.touched(number) else { return missing() };
    review.labels.remove(&name);
    Reply::of(204, Value::Null)
}

fn permission(world: &World, who: &str) -> Reply {
    let Some(person) = world.people.get(who) else { return missing() };
    let word = match person.standing {
        Standing::Read => "read",
        Standing::Write => "write",
        Standing::Admin => "admin",
    };
    Reply::of(200, json!({"permission": word, "role_name": word, "user": user(world, who)}))
}

fn issue(world: &World, issue: &Issue) -> Value {
    json!({"id": issue.number, "url": world.url, "html_url": world.url, "number": issue.number,
           "user": user(world, &issue.author), "original_author": "", "original_author_id": 0, "title": issue.title,
           "body": issue.body, "ref": "", "assets": [], "labels": [], "milestone": null, "assignee": null,
           "assignees": null, "state": "open", "is_locked": false, "comments": 0, "created_at": issue.opened_at,
           "updated_at": issue.updated_at, "closed_at": null, "due_date": null, "pull_request": null, "pin_order": 0})
}

fn edit_issue(world: &mut World, asked: &Asked, number: u64) -> Reply {
    if !super::edits_issue(world, asked, number, "body") {
        return missing();
    }
    Reply::of(201, issue(world, &world.issues[&number]))
}

fn line(world: &World, line: &Line) -> Value {
    json!({"id": line.id, "status": line.state, "target_url": line.url.clone().unwrap_or_default(),
           "description": line.summary, "url": world.url, "context": line.context,
           "creator": user(world, &line.author), "created_at": line.at, "updated_at": line.at})
}

async fn combined(world: &World, commit: &str) -> Reply {
    if world.repo.id(commit).await.is_none() {
        return missing();
    }
    let statuses: Vec<_> = world.statuses(commit).into_iter().map(|it| line(world, it)).collect();
    Reply::of(
        200,
        json!({"state": "pending", "sha": commit, "total_count": statuses.len(), "statuses": statuses,
                          "repository": null, "commit_url": world.url, "url": world.url}),
    )
}

async fn status(world: &mut World, asked: &Asked, commit: &str) -> Reply {
    if world.repo.id(commit).await.is_none() {
        return missing();
    }
    let new = super::puts_status(world, asked, commit, "context");
    let body = line(world, &new);
    Reply::of(201, body)
}
