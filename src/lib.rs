//! headwater: a file and stream server for Linux, and the networking core that it is built on.
//!
//! A *shard* is one pinned thread with one io_uring, one executor, one timer
//! wheel and its own connections, caches and counters. Shards share nothing on
//! the hot path; they talk through mailboxes.
//!
//! `ARCHITECTURE.md` describes the modules, their layers and which module may import which.

#![deny(unsafe_op_in_unsafe_fn)]

pub mod buffers;
pub mod cli;
pub mod config;
pub mod files;
pub mod http;
pub mod keepalive;
pub mod limits;
pub mod load;
pub mod net;
pub mod observe;
pub mod runtime;
pub mod server;
pub mod sys;
pub mod tasks;
pub mod tuning;

/// The pages' Rust examples, compiled by `cargo test`.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    mod readme {}
    #[doc = include_str!("../docs/runtime.md")]
    mod runtime {}
    #[doc = include_str!("../docs/tasks.md")]
    mod tasks {}
}
