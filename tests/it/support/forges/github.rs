//! GitHub's API, as far as it is used, with everything that its description requires in the answers.

use axum::http::Method;
use serde_json::{Value, json};

use super::checks;
use super::http::{Asked, Reply};
use super::world::{Issue, Line, Note, Refusal, Review, Stage, Standing, World};

/// The app that is installed in the project, and the number of its installation.
const INSTALLATION: u64 = 77;

pub async fn answer(world: &mut World, asked: &Asked) -> Reply {
    if asked.is_app {
        return app(world, asked);
    }
    match &asked.who {
        None => return error(401, "Bad credentials"),
        Some(who) if !world.people.contains_key(who) && who != "keeper-app[bot]" => {
            return error(401, "Bad credentials");
        }
        Some(_) => {}
    }
    let parts = asked.parts();
    match parts.as_slice() {
        ["user"] => Reply::of(200, account(world, asked.me(), true)),
        ["repos", owner, name, rest @ ..] if format!("{owner}/{name}") == world.project => {
            if asked.method != Method::GET && standing(world, asked.me()) == Standing::Read {
                return error(403, "Resource not accessible by personal access token");
            }
            project(world, asked, rest).await
        }
        _ => not_found(),
    }
}

fn app(world: &World, asked: &Asked) -> Reply {
    let owner = user(world, "mira");
    match asked.parts().as_slice() {
        ["app"] => Reply::of(
            200,
            json!({"id": 7, "slug": "keeper-app", "node_id": "A", "owner": owner, "name": "Keeper", "description": null,
                   "external_url": world.url, "html_url": world.url, "created_at": world.now, "updated_at": world.now,
                   "permissions": {}, "events": []}),
        ),
        ["repos", owner_name, name, "installation"] if format!("{owner_name}/{name}") == world.project => Reply::of(
            200,
            json!({"id": INSTALLATION, "app_id": 7, "app_slug": "keeper-app", "target_id": 1, "target_type": "User",
                   "single_file_name": null, "repository_selection": "selected", "access_tokens_url": world.url,
                   "html_url": world.url, "repositories_url": world.url, "events": [], "account": owner,
                   "permissions": {}, "created_at": world.now, "updated_at": world.now, "suspended_by": null,
                   "suspended_at": null}),
        ),
        ["app", "installations", "77", "access_tokens"] if asked.method == Method::POST => {
            let until = world.tokens_until.unwrap_or(world.now + jiff::SignedDuration::from_hours(24 * 3650));
            Reply::of(201, json!({"token": "token-of-keeper-app[bot]", "expires_at": until, "permissions": {}}))
        }
        _ => not_found(),
    }
}

async fn project(world: &mut World, asked: &Asked, rest: &[&str]) -> Reply {
    let number = |text: &str| text.parse::<u64>().unwrap_or(0);
    match (asked.method.as_str(), rest) {
        ("GET", []) => Reply::of(200, repository(world, true)),
        ("GET", ["pulls"]) => Reply::list(pulls(world, asked)),
        ("POST", ["pulls"]) => open(world, asked).await,
        ("GET", ["pulls", it]) => pull(world, number(it)),
        ("PATCH", ["pulls", it]) => edit_pull(world, asked, number(it)),
        ("PUT", ["pulls", it, "merge"]) => merge(world, asked, number(it)).await,
        ("GET", ["pulls", it, "reviews"]) => opinions(world, number(it)),
        ("POST", ["pulls", it, "requested_reviewers"]) => request(world, asked, number(it)),
        ("GET", ["issues"]) => Reply::list(issues(world)),
        ("POST", ["issues"]) => {
            let number = world.reports(
                asked.me(),
                asked.text("title").unwrap_or_default(),
                asked.text("body").unwrap_or_default(),
            );
            Reply::of(201, issue(world, &world.issues[&number]))
        }
        ("GET", ["issues", it]) => any_issue(world, number(it)),
        ("PATCH", ["issues", it]) => edit_issue(world, asked, number(it)),
        ("GET", ["issues", it, "comments"]) => comments(world, asked, number(it)),
        ("POST", ["issues", it, "comments"]) => {
            let id = world.says(asked.me(), number(it), asked.text("body").unwrap_or_default());
            let written = world.notes.iter().find(|note| note.id == id).expect("written");
            Reply::of(201, note(world, written))
        }
        ("PATCH", ["issues", "comments", it]) => edit_note(world, asked, number(it)),
        ("POST", ["issues", it, "labels"]) => label(world, asked, number(it)),
        ("DELETE", ["issues", it, "labels", name]) => unlabel(world, number(it), name),
        ("POST", ["issues", it, "assignees"]) => assign(world, asked, number(it)),
        ("GET", ["collaborators", who, "permission"]) => permission(world, who),
        ("GET", ["commits", commit, "check-runs"]) => checks::of_commit(world, asked, commit),
        ("POST", ["check-runs"]) => checks::create(world, asked).await,
        ("PATCH", ["check-runs", id]) => checks::update(world, asked, id),
        ("POST", ["statuses", commit]) => status(world, asked, commit).await,
        ("GET", ["commits", commit, "status"]) => combined(world, commit),
        _ => not_found(),
    }
}

pub fn error(status: u16, message: &str) -> Reply {
    Reply::of(
        status,
        json!({"message": message, "documentation_url": "https://docs.github.com/rest", "status": status.to_string()}),
    )
}

fn not_found() -> Reply {
    error(404, "Not Found")
}

fn invalid(message: &str) -> Reply {
    let body = json!({"message": "Validation Failed", "documentation_url": "https://docs.github.com/rest",
                      "errors": [{"resource": "PullRequest", "code": "custom", "message": message}]});
    Reply::of(422, body)
}

fn standing(world: &World, who: &str) -> Standing {
    world.people.get(who).map_or(Standing::Write, |person| person.standing)
}

/// Addresses below a place, by the names of the fields that hold them.
fn addresses(place: &str, fields: &[&str]) -> Value {
    let field = |name: &&str| (format!("{name}_url"), json!(format!("{place}/{name}")));
    Value::Object(fields.iter().map(field).collect())
}

fn with(mut one: Value, other: Value) -> Value {
    let (Value::Object(fields), Value::Object(more)) = (&mut one, other) else { panic!("objects") };
    fields.extend(more);
    one
}

fn user(world: &World, login: &str) -> Value {
    let fields = [
        "avatar",
        "events",
        "followers",
        "following",
        "gists",
        "organizations",
        "received_events",
        "repos",
        "starred",
        "subscriptions",
    ];
    let kind = if login.ends_with("[bot]") { "Bot" } else { "User" };
    let id = world.people.get(login).map_or(999, |person| person.id);
    let place = format!("{}/api/v3/users/{login}", world.url);
    with(
        addresses(&place, &fields),
        json!({"login": login, "id": id, "node_id": "U", "gravatar_id": "", "html_url": format!("{}/{login}", world.url),
               "site_admin": false, "type": kind, "url": place}),
    )
}

/// What somebody is told of an account.
fn account(world: &World, login: &str, is_own: bool) -> Value {
    let public = with(
        user(world, login),
        json!({"bio": null, "blog": null, "company": null, "email": null, "followers": 0, "following": 0,
               "hireable": null, "location": null, "name": null, "public_gists": 0, "public_repos": 1,
               "created_at": world.begun, "updated_at": world.begun}),
    );
    let own = json!({"collaborators": 0, "disk_usage": 0, "owned_private_repos": 0, "private_gists": 0,
                     "total_private_repos": 0, "two_factor_authentication": true});
    if is_own { with(public, own) } else { public }
}

fn repository(world: &World, is_full: bool) -> Value {
    named_repository(world, &world.project, is_full)
}

fn named_repository(world: &World, full_name: &str, is_full: bool) -> Value {
    let fields = [
        "archive",
        "assignees",
        "blobs",
        "branches",
        "collaborators",
        "comments",
        "commits",
        "compare",
        "contents",
        "contributors",
        "deployments",
        "downloads",
        "events",
        "forks",
        "git_commits",
        "git_refs",
        "git_tags",
        "hooks",
        "issue_comment",
        "issue_events",
        "issues",
        "keys",
        "labels",
        "languages",
        "merges",
        "milestones",
        "notifications",
        "pulls",
        "releases",
        "stargazers",
        "statuses",
        "subscribers",
        "subscription",
        "tags",
        "teams",
        "trees",
        "clone",
        "git",
        "svn",
        "ssh",
    ];
    let (owner, name) = full_name.split_once('/').expect("owner and name");
    let place = format!("{}/api/v3/repos/{full_name}", world.url);
    let more = json!({"name": name, "full_name": full_name, "id": 1, "node_id": "R", "private": false,
        "owner": user(world, owner), "html_url": format!("{}/{full_name}", world.url), "description": null,
        "fork": full_name != world.project, "url": place, "default_branch": "main", "forks": 0, "forks_count": 0,
        "has_downloads": true, "has_issues": true, "has_projects": false, "has_wiki": false, "has_pages": false,
        "has_discussions": false, "homepage": null, "language": null, "archived": false, "disabled": false,
        "mirror_url": null, "open_issues": 0, "open_issues_count": 0, "license": null, "pushed_at": world.begun,
        "size": 1, "stargazers_count": 0, "watchers": 0, "watchers_count": 0, "created_at": world.begun,
        "updated_at": world.begun});
    let full = json!({"network_count": 0, "subscribers_count": 0, "allow_merge_commit": true,
                      "allow_rebase_merge": true, "allow_squash_merge": true});
    let repository = with(addresses(&place, &fields), more);
    if is_full { with(repository, full) } else { repository }
}

fn labels(world: &World, names: impl IntoIterator<Item = String>) -> Vec<Value> {
    let label = |name: String| {
        json!({"id": name.len(), "node_id": "L", "url": format!("{}/labels/{name}", world.url), "name": name,
               "description": "", "color": "ededed", "default": false})
    };
    names.into_iter().map(label).collect()
}

fn users<'a>(world: &World, logins: impl IntoIterator<Item = &'a String>) -> Vec<Value> {
    logins.into_iter().map(|login| user(world, login)).collect()
}

fn end(world: &World, project: &str, branch: &str, commit: &str) -> Value {
    let owner = project.split('/').next().unwrap_or_default();
    json!({"label": format!("{owner}:{branch}"), "ref": branch, "sha": commit, "user": user(world, owner),
           "repo": named_repository(world, project, false)})
}

/// A pull request as lists have it.
fn simple(world: &World, review: &Review) -> Value {
    let number = review.number;
    let place = format!("{}/api/v3/repos/{}/pulls/{number}", world.url, world.project);
    let fields = ["comments", "commits", "diff", "issue", "patch", "review_comment", "review_comments", "statuses"];
    let link = |rest: &str| json!({"href": format!("{place}/{rest}")});
    let assignees = users(world, &review.assignees);
    with(
        addresses(&place, &fields),
        json!({"id": number, "node_id": "P", "url": place, "number": number, "title": review.title,
            "html_url": format!("{}/{}/pull/{number}", world.url, world.project),
            "state": if review.stage == Stage::Open { "open" } else { "closed" }, "locked": false,
            "user": user(world, &review.author), "body": review.body, "labels": labels(world, review.labels.clone()),
            "milestone": null, "assignee": assignees.first(), "assignees": assignees,
            "requested_reviewers": users(world, &review.reviewers), "requested_teams": [],
            "created_at": review.opened_at, "updated_at": review.updated_at, "closed_at": review.ended_at,
            "merged_at": review.ended_at.filter(|_| review.stage == Stage::Merged),
            "merge_commit_sha": review.merged_as, "author_association": "MEMBER", "auto_merge": null, "draft": false,
            "head": end(world, &review.project, &review.branch, &review.head),
            "base": end(world, &world.project, &review.base, &review.head),
            "_links": {"comments": link("comments"), "commits": link("commits"), "statuses": link("statuses"),
                       "html": link("html"), "issue": link("issue"), "review_comments": link("review_comments"),
                       "review_comment": link("review_comment"), "self": link("")}}),
    )
}

fn full(world: &World, review: &Review) -> Value {
    let is_open = review.stage == Stage::Open;
    with(
        simple(world, review),
        json!({"additions": 1, "changed_files": 1, "comments": 0, "commits": 1, "deletions": 1, "review_comments": 0,
               "mergeable": is_open.then_some(review.mergeable), "mergeable_state": "unknown",
               "merged": review.stage == Stage::Merged, "merged_by": null, "maintainer_can_modify": false}),
    )
}

fn pulls(world: &World, asked: &Asked) -> Vec<Value> {
    let is_open = asked.query("state").unwrap_or("open") == "open";
    let label = |it: &Review| format!("{}:{}", it.project.split('/').next().unwrap_or_default(), it.branch);
    let wanted =
        |it: &&Review| (it.stage == Stage::Open) == is_open && asked.query("head").is_none_or(|head| head == label(it));
    let mut found: Vec<_> = world.reviews.values().filter(wanted).collect();
    if asked.query("sort") == Some("updated") {
        found.sort_by_key(|it| it.updated_at);
    }
    if asked.query("direction").unwrap_or("desc") == "desc" {
        found.reverse();
    }
    found.into_iter().map(|it| simple(world, it)).collect()
}

fn pull(world: &World, number: u64) -> Reply {
    world.reviews.get(&number).map_or_else(not_found, |review| Reply::of(200, full(world, review)))
}

async fn open(world: &mut World, asked: &Asked) -> Reply {
    let text = |key| asked.text(key).unwrap_or_default();
    let opened = world.opens(asked.me(), (text("head"), text("base")), text("title"), text("body")).await;
    match opened {
        Ok(number) => Reply::of(201, full(world, &world.reviews[&number])),
        Err(Refusal::Exists(_)) => invalid(&format!("A pull request already exists for them:{}.", text("head"))),
        Err(_) => invalid("head is invalid"),
    }
}

fn edit_pull(world: &mut World, asked: &Asked, number: u64) -> Reply {
    let Ok(review) = world.touched(number) else { return not_found() };
    if let Some(title) = asked.text("title") {
        title.clone_into(&mut review.title);
    }
    if let Some(body) = asked.text("body") {
        body.clone_into(&mut review.body);
    }
    if asked.text("state") == Some("closed") {
        world.closes(number, asked.me()).expect("it is there");
    }
    pull(world, number)
}

async fn merge(world: &mut World, asked: &Asked, number: u64) -> Reply {
    match world.merges(number, asked.text("sha")).await {
        Ok(commit) => {
            Reply::of(200, json!({"sha": commit, "merged": true, "message": "Pull Request successfully merged"}))
        }
        Err(Refusal::NoSuch) => not_found(),
        Err(Refusal::Moved) => error(409, "Head branch was modified. Review and try the merge again."),
        Err(_) => error(405, "Pull Request is not mergeable"),
    }
}

fn opinions(world: &World, number: u64) -> Reply {
    let Some(review) = world.reviews.get(&number) else { return not_found() };
    let opinion = |it: &super::world::Opinion| {
        let place = format!("{}/api/v3/repos/{}/pulls/{number}", world.url, world.project);
        json!({"id": it.id, "node_id": "O", "user": user(world, &it.author), "body": "",
               "state": if it.approves { "APPROVED" } else { "CHANGES_REQUESTED" }, "commit_id": it.head,
               "html_url": place, "pull_request_url": place, "author_association": "MEMBER", "submitted_at": it.at,
               "_links": {"html": {"href": place}, "pull_request": {"href": place}}})
    };
    Reply::list(review.opinions.iter().map(opinion).collect())
}

fn request(world: &mut World, asked: &Asked, number: u64) -> Reply {
    let names = asked.texts("reviewers");
    let may = |name: &String| world.people.get(name).is_some_and(|person| person.standing != Standing::Read);
    if !names.iter().all(may) {
        return error(422, "Reviews may only be requested from collaborators.");
    }
    let Ok(review) = world.touched(number) else { return not_found() };
    review.reviewers.extend(names);
    Reply::of(201, simple(world, &world.reviews[&number]))
}

/// An issue of anybody, or what a pull request is as an issue.
fn issue(world: &World, issue: &Issue) -> Value {
    let place = format!("{}/api/v3/repos/{}/issues/{}", world.url, world.project, issue.number);
    with(
        addresses(&place, &["comments", "events", "labels", "repository"]),
        json!({"id": issue.number, "node_id": "I", "url": place, "number": issue.number, "title": issue.title,
               "html_url": format!("{}/{}/issues/{}", world.url, world.project, issue.number),
               "state": if issue.is_open { "open" } else { "closed" }, "locked": false, "comments": 0,
               "user": user(world, &issue.author), "body": issue.body, "labels": [], "milestone": null,
               "assignee": null, "assignees": [], "created_at": issue.opened_at, "updated_at": issue.updated_at,
               "closed_at": null, "closed_by": null, "author_association": "MEMBER"}),
    )
}

fn as_issue(world: &World, review: &Review) -> Value {
    let plain = Issue {
        number: review.number,
        author: review.author.clone(),
        title: review.title.clone(),
        body: review.body.clone(),
        is_open: review.stage == Stage::Open,
        opened_at: review.opened_at,
        updated_at: review.updated_at,
    };
    let place = format!("{}/{}/pull/{}", world.url, world.project, review.number);
    let closed_by = review.closed_by.as_ref().map(|login| user(world, login));
    with(
        issue(world, &plain),
        json!({"closed_by": closed_by, "closed_at": review.ended_at, "assignees": users(world, &review.assignees),
               "labels": labels(world, review.labels.clone()),
               "pull_request": {"url": place, "html_url": place, "diff_url": place, "patch_url": place,
                                "merged_at": null}}),
    )
}

fn issues(world: &World) -> Vec<Value> {
    let issues = world.issues.values().filter(|it| it.is_open).map(|it| (it.number, issue(world, it)));
    let reviews =
        world.reviews.values().filter(|it| it.stage == Stage::Open).map(|it| (it.number, as_issue(world, it)));
    let sorted: std::collections::BTreeMap<_, _> = issues.chain(reviews).collect();
    sorted.into_values().collect()
}

fn any_issue(world: &World, number: u64) -> Reply {
    let found = world.issues.get(&number).map(|it| issue(world, it));
    let found = found.or_else(|| Some(as_issue(world, world.reviews.get(&number)?)));
    found.map_or_else(not_found, |body| Reply::of(200, body))
}

fn edit_issue(world: &mut World, asked: &Asked, number: u64) -> Reply {
    if !super::edits_issue(world, asked, number, "body") {
        return not_found();
    }
    any_issue(world, number)
}

fn note(world: &World, note: &Note) -> Value {
    let place = format!("{}/api/v3/repos/{}/issues/comments/{}", world.url, world.project, note.id);
    json!({"id": note.id, "node_id": "C", "url": place, "html_url": place, "issue_url": place, "body": note.text,
           "user": user(world, &note.author), "created_at": note.written_at, "updated_at": note.updated_at,
           "author_association": "MEMBER"})
}

fn comments(world: &World, asked: &Asked, number: u64) -> Reply {
    let since = asked.query("since").and_then(|time| time.parse().ok());
    let notes = world.notes.iter().filter(|it| it.number == number && since.is_none_or(|time| it.updated_at >= time));
    Reply::list(notes.map(|it| note(world, it)).collect())
}

fn edit_note(world: &mut World, asked: &Asked, id: u64) -> Reply {
    let now = world.now;
    let Some(found) = world.notes.iter_mut().find(|it| it.id == id) else { return not_found() };
    (found.text, found.updated_at) = (asked.text("body").unwrap_or_default().to_owned(), now);
    let found = found.clone();
    Reply::of(200, note(world, &found))
}

fn label(world: &mut World, asked: &Asked, number: u64) -> Reply {
    let names = asked.texts("labels");
    let Ok(review) = world.touched(number) else { return not_found() };
    review.labels.extend(names);
    let all = review.labels.clone();
    Reply::of(200, labels(world, all).into())
}

fn unlabel(world: &mut World, number: u64, name: &str) -> Reply {
    let Ok(review) = world.touched(number) else { return not_found() };
    if !review.labels.remove(name) {
        return error(404, "Label does not exist");
    }
    let all = review.labels.clone();
    Reply::of(200, labels(world, all).into())
}

fn assign(world: &mut World, asked: &Asked, number: u64) -> Reply {
    let mut names = asked.texts("assignees");
    names.retain(|name| world.people.get(name).is_some_and(|person| person.standing != Standing::Read));
    let Ok(review) = world.touched(number) else { return not_found() };
    review.assignees.extend(names);
    Reply::of(201, as_issue(world, &world.reviews[&number]))
}

fn permission(world: &World, who: &str) -> Reply {
    let Some(person) = world.people.get(who) else { return error(404, "someone is not a user") };
    let word = match person.standing {
        Standing::Read => "read",
        Standing::Write => "write",
        Standing::Admin => "admin",
    };
    let user = with(user(world, who), json!({"role_name": word}));
    Reply::of(200, json!({"permission": word, "role_name": word, "user": user}))
}

async fn status(world: &mut World, asked: &Asked, commit: &str) -> Reply {
    if world.repo.id(commit).await.is_none() {
        return error(422, &format!("No commit found for SHA: {commit}"));
    }
    let line = super::puts_status(world, asked, commit, "context");
    let body = with(simple_status(world, &line), json!({"creator": user(world, &line.author)}));
    Reply::of(201, body)
}

fn simple_status(world: &World, line: &Line) -> Value {
    json!({"url": world.url, "avatar_url": world.url, "id": line.id, "node_id": "S", "state": line.state,
           "description": line.summary, "target_url": line.url, "context": line.context, "created_at": line.at,
           "updated_at": line.at})
}

fn combined(world: &World, commit: &str) -> Reply {
    let statuses: Vec<_> = world.statuses(commit).into_iter().map(|line| simple_status(world, line)).collect();
    Reply::of(
        200,
        json!({"state": "pending", "sha": commit, "total_count": statuses.len(), "statuses": statuses,
               "repository": repository(world, false), "commit_url": world.url, "url": world.url}),
    )
}
