//! HTTP/1.1 and HTTP/1.0 on the wire (RFC 9112).

pub mod chunked;
pub mod encode;
mod error;
mod framing;
pub mod parse;
mod request_target;
pub mod response;
