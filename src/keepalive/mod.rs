//! Decides when a connection counts as dead, or as no longer needed: TCP keepalive,
//! TCP_USER_TIMEOUT and the HTTP idle time-out as one [`Policy`].
//!
//! Pure decisions, then the socket options that carry them out ([`options`]): [`preset`] has named
//! policies, [`check`] finds contradictions in one, [`detect`] computes when a dead peer is noticed
//! and what probes cost, [`adapt`] decides which idle connections are closed when descriptors or
//! memory run short. [`live`] reads back what the connections of a running process have.

pub mod adapt;
pub mod check;
pub mod detect;
pub mod live;
pub mod options;
mod policy;
pub mod preset;

pub use policy::{OutOfRange, Policy, Probes, shown};
pub use preset::Preset;
