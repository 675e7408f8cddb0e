//! Sans-IO HTTP: messages, and the wire forms that carry them.
//!
//! Nothing in this room reads a socket, looks at a clock or knows the runtime:
//! every function turns bytes into values or values into bytes. The message
//! types do not know which wire form they came from, so that HTTP/2 and
//! HTTP/1.1 share everything above the framing.

pub mod coding;
pub mod conditional;
pub mod date;
pub mod digest;
pub mod h1;
mod head;
mod headers;
mod known;
pub mod message;
mod method;
pub mod mime;
pub mod multipart;
pub mod quality;
pub mod range;
mod scan;
mod status;
pub mod target;
pub mod websocket;

pub use coding::{AcceptEncoding, Choice, Coding, Offers};
pub use conditional::{Precondition, Validators};
pub use date::DateValue;
pub use h1::parse::{ParseError, ParseLimits, Parsed, parse_request};
pub use head::Head;
pub use headers::Headers;
pub use known::{Known, KnownSet};
pub use message::{Body, BodyError, BodyStream, FileSlice, HeaderBlock, Part, Prepared, Response};
pub use method::{Method, Version};
pub use range::{ByteRange, RangePlan};
pub use status::Status;
pub use target::{Target, TargetError};
