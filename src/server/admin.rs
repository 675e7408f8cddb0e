//! The admin pages, on a separate listener.

use std::sync::Arc;

use super::service::{Request, Service};
use super::stop::Stopper;
use crate::http::{Body, Head, Known, Method, Response, Status};
use crate::observe::metrics::Exposition;

mod metrics;
mod query;
mod shards;
mod sources;
mod tasks;
mod trace;

use query::Query;
pub(super) use sources::Sources;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PAGES: &str = "\
/healthz        ok, or 503 while the server drains
/metrics        for Prometheus
/debug/shards   the shards' loops and what has stalled them
/debug/tasks    the pool of tasks, and tasks that are old (?age=10&format=json)
/debug/trace    the last events, for ui.perfetto.dev (?seconds=2)
";

/// The service behind the admin listener, for load balancers, Prometheus and people.
pub(super) struct Admin {
    pub stopper: Stopper,
    pub sources: Arc<Sources>,
}

impl Admin {
    /// Answers the pages that are cheap enough to make on the shard.
    fn answer(&self, head: &Head<'_>) -> Option<Response> {
        if !matches!(head.method, Method::Get | Method::Head) {
            let sentence = "the admin pages are read with GET";
            let response = Response::error(Status::METHOD_NOT_ALLOWED, sentence);
            return Some(response.with("allow", "GET, HEAD"));
        }
        match head.path() {
            "/" => Some(text(PAGES.to_owned())),
            "/healthz" if self.stopper.is_draining() => Some(page(
                Status::SERVICE_UNAVAILABLE,
                TEXT,
                "draining\n".to_owned(),
            )),
            "/healthz" => Some(text("ok\n".to_owned())),
            "/debug/shards" | "/debug/tasks" | "/debug/trace" | "/metrics" => None,
            _ => Some(Response::error(
                Status::NOT_FOUND,
                "there is no such admin page; / lists them",
            )),
        }
    }

    /// Makes the other pages as tasks off the shard: a trace has tens of thousands of lines.
    async fn make(&self, head: &Head<'_>) -> Response {
        let query = match Query::of(head) {
            Ok(query) => query.accepting(head.headers.get(Known::Accept)),
            Err(sentence) => return Response::error(Status::BAD_REQUEST, &sentence),
        };
        let sources = Arc::clone(&self.sources);
        let path = head.path().to_owned();
        let exposition = Exposition::accepted(head.headers.get(Known::Accept).unwrap_or(b""));
        let work = move || match &*path {
            "/metrics" => Ok((
                exposition.content_type(),
                metrics::text(&sources, exposition),
            )),
            "/debug/shards" => Ok((TEXT, shards::text(&sources))),
            "/debug/tasks" => {
                let content_type = if query.json { JSON } else { TEXT };
                Ok((content_type, tasks::page(&sources.tasks, &query)))
            }
            _ => trace::json(&sources.observation.recorder, query.seconds).map(|json| (JSON, json)),
        };
        let unavailable = |why: &dyn std::error::Error| {
            Response::error(Status::SERVICE_UNAVAILABLE, &why.to_string()).with("retry-after", "1")
        };
        match self.sources.pages.run(work) {
            Err(busy) => unavailable(&busy),
            Ok(task) => match task.await {
                Ok(Ok((content_type, body))) => page(Status::OK, content_type, body),
                Ok(Err(sentence)) => Response::error(Status::NOT_FOUND, &sentence),
                Err(lost) => unavailable(&lost),
            },
        }
    }
}

fn text(body: String) -> Response {
    page(Status::OK, TEXT, body)
}

fn page(status: Status, content_type: &'static str, body: impl Into<Vec<u8>>) -> Response {
    Response::new(status)
        .with("content-type", content_type)
        .with("cache-control", "no-store")
        .with_body(Body::Bytes(body.into().into()))
}

impl Service for Admin {
    fn try_call(&self, head: &Head<'_>) -> Option<Response> {
        self.answer(head)
    }

    async fn call(&self, request: Request<'_>) -> Response {
        match self.answer(&request.head) {
            Some(response) => response,
            None => self.make(&request.head).await,
        }
    }
}
