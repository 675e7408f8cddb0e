//! The admin pages, on a listener of their own.

use std::fmt::Write;
use std::sync::Arc;

use super::service::{Request, Service};
use super::state::Shared;
use super::stop::Stopper;
use crate::http::{Body, Head, Method, Response, Status};
use crate::runtime::ShardHandle;

const TEXT: &str = "text/plain; charset=utf-8";

/// `/healthz` for load balancers, `/debug/shards` for people.
pub(super) struct Admin {
    pub stopper: Stopper,
    pub shards: Vec<ShardHandle>,
    pub shared: Arc<Shared>,
}

impl Admin {
    fn answer(&self, head: &Head<'_>) -> Response {
        if !matches!(head.method, Method::Get | Method::Head) {
            return Response::error(
                Status::METHOD_NOT_ALLOWED,
                "the admin pages are read with GET",
            )
            .with("allow", "GET, HEAD");
        }
        match head.path() {
            "/healthz" if self.stopper.is_draining() => {
                text(Status::SERVICE_UNAVAILABLE, "draining\n".to_owned())
            }
            "/healthz" => text(Status::OK, "ok\n".to_owned()),
            "/debug/shards" => text(Status::OK, self.shards()),
            _ => Response::error(
                Status::NOT_FOUND,
                "the admin pages are /healthz and /debug/shards",
            ),
        }
    }

    /// Counters of each shard's loop, one line a shard; then what concerns all.
    fn shards(&self) -> String {
        let mut out = String::new();
        for shard in &self.shards {
            let s = shard.stats();
            let _ = writeln!(
                out,
                "shard {} enters {} submissions {} completions {} overflows {} polls {} panics {} tasks {}",
                shard.index(),
                s.enters,
                s.submissions,
                s.completions,
                s.overflows,
                s.polls,
                s.panics,
                s.tasks
            );
        }
        let shared = &self.shared;
        let _ = writeln!(
            out,
            "connections {} idle-timeout-ms {} idle-closed-early {}",
            shared.connections(),
            shared.idle_timeout_now_ms(),
            shared.sheds()
        );
        out
    }
}

fn text(status: Status, body: String) -> Response {
    Response::new(status)
        .with("content-type", TEXT)
        .with("cache-control", "no-store")
        .with_body(Body::Bytes(body.into()))
}

impl Service for Admin {
    fn try_call(&self, head: &Head<'_>) -> Option<Response> {
        Some(self.answer(head))
    }

    async fn call(&self, request: Request<'_>) -> Response {
        self.answer(&request.head)
    }
}
