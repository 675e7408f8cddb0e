//! Services that panic: what their clients, the access log and the server's end say of it.

use std::fs;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use headwater::http::{Body, BodyError, BodyStream, Head, Response, Status};
use headwater::observe::access_log::{AccessLog, Format, Options, QueryRule, Rotation};
use headwater::server::{Request, Server, ServerOptions, Service};

use crate::support::{Client, an_allowed_cpu, eventually, get};

/// Panics where the path says, without a word from the panic hook.
struct Panics;

fn panic_now() -> ! {
    resume_unwind(Box::new(()))
}

impl Service for Panics {
    fn try_call(&self, head: &Head<'_>) -> Option<Response> {
        match head.target {
            "/at-once" => panic_now(),
            "/good" => Some(Response::new(Status::OK)),
            _ => None,
        }
    }

    async fn call(&self, request: Request<'_>) -> Response {
        match request.head.target {
            "/body" => Response::new(Status::OK).with_body(Body::Stream(Box::new(Broken(false)))),
            _ => panic_now(),
        }
    }
}

/// A piece, and then a panic.
struct Broken(bool);

impl BodyStream for Broken {
    fn poll_next(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match std::mem::replace(&mut self.0, true) {
            false => Poll::Ready(Some(Ok(Bytes::from_static(b"piece")))),
            true => panic_now(),
        }
    }

    fn len(&self) -> Option<u64> {
        None
    }
}

#[test]
fn a_request_whose_service_panics_is_not_said_to_be_answered_nor_cut_by_the_end() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("log");
    let options = Options {
        destination: path.clone().into(),
        format: Format::parse("$connection_requests $status $cut $request").expect("a format"),
        query: QueryRule::Keep,
        rotation: Rotation::default(),
    };
    let log = AccessLog::start(options, 1, Arc::new(|_| {})).expect("a log");
    let listen = ["127.0.0.1:0".parse().expect("an address")];
    let server = Server::bind(vec![an_allowed_cpu()], &listen, ServerOptions::default());
    let server = server.expect("a listener").with_access_log(log);
    let address = server.addresses()[0].to_string();
    let address = address.parse().expect("an address");
    let server = server.start(|_| Ok(Panics)).expect("a server");
    for (panics, begins) in [("/at-once", ""), ("/later", ""), ("/body", "HTTP/1.1 200 ")] {
        let mut client = Client::connect(address);
        assert_eq!(client.get("/good").status, 200);
        client.send(get(panics));
        let answer = client.rest();
        assert!(answer.starts_with(begins.as_bytes()), "{panics}");
        assert_eq!(answer.is_empty(), begins.is_empty(), "{panics}");
    }
    eventually("nobody is counted", || server.connections() == 0);
    // The shard goes on.
    assert_eq!(Client::connect(address).get("/good").status, 200);
    server.stopper().drain();
    let end = server.join().expect("a good end");
    assert_eq!(end.cut.total(), 0, "{}", end.cut);
    let text = fs::read_to_string(&path).expect("the log");
    let mut lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("/good"))
        .collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "2 000 panicked GET /at-once HTTP/1.1",
            "2 000 panicked GET /later HTTP/1.1",
            "2 200 panicked GET /body HTTP/1.1"
        ]
    );
}
