//! A tiny HTTP service: answers every request with a greeting, and counts the bytes of request
//! bodies.
//!
//! Run it with `cargo run --release --example hello -- 127.0.0.1:7008`, then
//! `curl 127.0.0.1:7008/you` or `curl -d "some words" 127.0.0.1:7008/count`.

use headwater::http::{Body, Head, Method, Response, Status};
use headwater::server::{Request, Server, ServerOptions, Service};

struct Hello;

impl Service for Hello {
    /// Requests that need no waiting are answered here, with the head still in the receive buffer.
    fn try_call(&self, head: &Head<'_>) -> Option<Response> {
        (head.method == Method::Get).then(|| text(format!("hello, {}\n", &head.path()[1..])))
    }

    async fn call(&self, mut request: Request<'_>) -> Response {
        let mut bytes = 0;
        loop {
            match request.body.next().await {
                Ok(Some(piece)) => bytes += piece.len(),
                Ok(None) => return text(format!("{bytes} bytes\n")),
                Err(e) => return e.response(),
            }
        }
    }
}

fn text(body: String) -> Response {
    Response::new(Status::OK)
        .with("content-type", "text/plain; charset=utf-8")
        .with_body(Body::Bytes(body.into()))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:7008".into());
    let cpus = headwater::sys::cpu::allowed()?;
    let server = Server::bind(cpus, &[address.parse()?], ServerOptions::default())?;
    println!("listening on {}", server.addresses()[0]);
    server.start(|_shard| Ok(Hello))?.join()?;
    Ok(())
}
