//! The server over real sockets: valid and invalid requests, limits, and its life from the first
//! line on standard error to its exit status.

mod access_log;
mod bad_paths;
mod bad_requests;
mod changes;
mod closing;
mod crowd;
mod headers;
mod http1;
mod idle;
mod life;
mod limits;
mod messages;
mod observed;
mod panics;
mod ranges;
mod refused;
mod review;
mod splitting;
mod support;
mod timeouts;
mod waiting;
