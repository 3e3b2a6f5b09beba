//! The web server with the logs, with its quirks.

use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode};

use super::{Asked, Build, Fault, Log, Style, World, broken, cut, status};

pub fn answer(world: &mut World, asked: &Asked) -> Response<Body> {
    let style = world.style;
    let Some((log, is_packed)) = log_at(world, &asked.path) else { return plain(404) };
    log.asked += 1;
    let fault = log.faults.pop_front();
    match &fault {
        None | Some(Fault::Stale(_) | Fault::Whole | Fault::Reset(_)) => {}
        Some(fault) => return broken(fault, Bytes::new()),
    }
    if is_packed { packed(log, fault.as_ref()) } else { raw(log, style, asked, fault.as_ref()) }
}

/// `/results/me/tools/f42/00000101-small/builder-live.log.gz`
fn log_at<'a>(world: &'a mut World, path: &str) -> Option<(&'a mut Log, bool)> {
    let parts: Vec<_> = path.trim_start_matches("/results/").split('/').collect();
    let [owner, dirname, chroot, build, file] = parts.as_slice() else { return None };
    let number = build.split('-').next().filter(|number| number.len() == 8)?;
    let is_it =
        |build: &&mut Build| number.parse() == Ok(build.id) && build.project.0 == *owner && build.dirname == *dirname;
    let build = world.builds.iter_mut().find(is_it)?;
    let chroot = if *chroot == "srpm-builds" {
        &mut build.source
    } else {
        build.chroots.iter_mut().find(|it| it.name == *chroot)?
    };
    let (name, is_packed) = file.strip_suffix(".gz").map_or((*file, false), |name| (name, true));
    match name {
        "builder-live.log" => Some((&mut chroot.live, is_packed)),
        "backend.log" => Some((&mut chroot.backend, is_packed)),
        _ => None,
    }
}

fn plain(code: u16) -> Response<Body> {
    Response::builder().status(code).header("content-type", "text/html").body(Body::from("<html></html>")).unwrap()
}

/// The whole packed file, whatever range was asked for.
fn packed(log: &Log, fault: Option<&Fault>) -> Response<Body> {
    let Some(gz) = log.gz.clone().map(Bytes::from) else { return plain(404) };
    let response = Response::builder().header("content-type", "text/plain").header("content-encoding", "gzip");
    let body = if let Some(Fault::Reset(after)) = fault { cut(&gz, *after) } else { Body::from(gz) };
    response.body(body).unwrap()
}

fn raw(log: &Log, style: Style, asked: &Asked, fault: Option<&Fault>) -> Response<Body> {
    let Some(text) = log.raw.clone().map(Bytes::from) else {
        if style == Style::Nginx {
            return plain(404);
        }
        let to = format!("{}.gz", asked.path);
        return Response::builder().status(301).header("location", to).body(Body::empty()).unwrap();
    };
    let text = if let Some(Fault::Stale(length)) = fault { text.slice(..(*length).min(text.len())) } else { text };
    let from = asked.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let from: Option<usize> = from.filter(|_| fault != Some(&Fault::Whole));
    let size = text.len();
    let response = Response::builder().header("content-type", "text/plain");
    let (response, body) = match from {
        Some(from) if from >= size => {
            let response = response.status(StatusCode::RANGE_NOT_SATISFIABLE);
            let response = match style {
                Style::Lighttpd => response,
                Style::Nginx => response.header("content-range", format!("bytes */{size}")),
            };
            (response, Bytes::new())
        }
        Some(from) => {
            let range = format!("bytes {from}-{}/{size}", size - 1);
            (response.status(status(206)).header("content-range", range), text.slice(from..))
        }
        None => (response, text),
    };
    let body = if let Some(Fault::Reset(after)) = fault { cut(&body, *after) } else { Body::from(body) };
    response.body(body).unwrap()
}
