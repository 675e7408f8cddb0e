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
mod activity_names;
mod admin;
mod banner;
mod clock;
mod counters;
mod cut;
mod error;
pub mod file_service;
mod h1;
mod handoff_queue;
mod idle;
mod integrity;
mod lingering_close;
mod min_send_rate;
mod observation;
mod options;
mod pressure;
mod request_log;
mod residency;
mod response_rules;
mod semaphore;
mod send_budget;
mod service;
mod shard_main;
mod start;
mod state;
mod stop;
mod task_pool;
mod transfer;
mod wait_queue;

pub use banner::Banner;
pub use cut::CutConnections;
pub use error::ServeError;
pub use observation::Observation;
pub use options::ServerOptions;
pub use response_rules::RuleError;
pub use service::{Incoming, IncomingError, Request, Service};
pub use start::{RunningServer, Server, ServerEnd};
pub use stop::Stopper;
