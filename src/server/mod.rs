//! The server: listeners, connections and their service on every shard.
//!
//! ```no_run
//! use headwater::http::{Body, Response, Status};
//! use headwater::server::{Request, Server, ServerOptions, Service};
//!
//! struct Hello;
//!
//! impl Service for Hello {
//!     async fn call(&self, request: Request<'_>) -> Response {
//!         let text = format!("hello from {}\n", request.head.path());
//!         Response::new(Status::OK).with_body(Body::Bytes(text.into()))
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::bind(vec![0], &["127.0.0.1:8080".parse()?], ServerOptions::default())?;
//! server.start(|_shard| Ok(Hello))?.join()?;
//! # Ok(())
//! # }
//! ```

mod accept;
mod admin;
mod clock;
mod counters;
mod error;
mod gate;
mod h1;
mod idle;
mod inbox;
mod line;
mod observation;
mod options;
mod pace;
mod pressure;
mod residency;
mod root;
mod service;
pub mod site;
mod start;
mod state;
mod stop;
mod transfer;
mod turnstile;
mod work;

pub use error::ServeError;
pub use observation::Observation;
pub use options::ServerOptions;
pub use service::{Incoming, IncomingError, Request, Service};
pub use start::{RunningServer, Server};
pub use stop::Stopper;
