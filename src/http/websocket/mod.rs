//! WebSocket without I/O (RFC 6455): the opening handshake, and frames in both directions.
//!
//! Extensions are not supported: none is offered, and a frame that uses one is an error.

mod decode;
mod error;
pub mod frame;
pub mod handshake;
pub mod mask;
mod utf8;

pub use decode::{Close, Decoder, Event, Kind, Limits, Step};
pub use error::WebSocketError;
pub use frame::{Header, Opcode, Role};
pub use handshake::{ClientKey, HandshakeError};
