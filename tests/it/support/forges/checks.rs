//! Check runs of GitHub Apps; they are kept with the statuses, which are what people see of them.

use serde_json::{Value, json};

use super::github::error;
use super::http::{Asked, Reply};
use super::world::{Line, World};

/// The check runs of a commit, the newest of each name.
pub fn of_commit(world: &World, asked: &Asked, commit: &str) -> Reply {
    let named = |it: &&&Line| asked.query("check_name").is_none_or(|name| name == it.context);
    let runs: Vec<Value> = world.statuses(commit).iter().filter(named).map(|line| run(world, line)).collect();
    Reply::of(200, json!({"total_count": runs.len(), "check_runs": runs}))
}

pub async fn create(world: &mut World, asked: &Asked) -> Reply {
    let commit = asked.text("head_sha").unwrap_or_default().to_owned();
    if world.repo.id(&commit).await.is_none() {
        return error(422, &format!("No commit found for SHA: {commit}"));
    }
    let (id, author, at) = (world.id(), asked.me().to_owned(), world.now);
    let context = asked.text("name").unwrap_or_default().to_owned();
    let (state, summary, url, pipeline) = (String::new(), String::new(), None, None);
    let line = Line { id, commit, state, context, summary, url, pipeline, author, at };
    world.lines.push(said(line, asked));
    Reply::of(201, run(world, &world.lines[world.lines.len() - 1]))
}

pub fn update(world: &mut World, asked: &Asked, id: &str) -> Reply {
    let Some(at) = world.lines.iter().position(|line| line.id.to_string() == id) else {
        return error(404, "Not Found");
    };
    world.lines[at] = said(world.lines[at].clone(), asked);
    Reply::of(200, run(world, &world.lines[at]))
}

/// A run as it is said to be: its state is its conclusion, once it has one.
fn said(line: Line, asked: &Asked) -> Line {
    let state = asked.text("conclusion").unwrap_or("pending").to_owned();
    let summary = asked.body["output"]["title"].as_str().unwrap_or_default().to_owned();
    Line { state, summary, url: asked.text("details_url").map(str::to_owned), ..line }
}

fn run(world: &World, line: &Line) -> Value {
    let conclusion = Some(line.state.as_str()).filter(|state| *state != "pending");
    let status = if conclusion.is_some() { "completed" } else { "in_progress" };
    let place = format!("{}/api/v3/repos/{}/check-runs/{}", world.url, world.project, line.id);
    let output = json!({"title": line.summary, "summary": line.summary, "text": null, "annotations_count": 0,
                        "annotations_url": format!("{place}/annotations")});
    json!({"id": line.id, "head_sha": line.commit, "node_id": "C", "external_id": "", "url": place,
           "html_url": place, "details_url": line.url, "status": status, "conclusion": conclusion,
           "started_at": line.at, "completed_at": conclusion.map(|_| line.at), "output": output, "name": line.context,
           "check_suite": {"id": 1}, "app": null, "pull_requests": []})
}
