//! Sans-IO HTTP: messages, and the wire forms that carry them.
//!
//! No function here does I/O, reads a clock or depends on the runtime: each turns
//! bytes into values or values into bytes. The message types are independent of
//! the wire form, so that HTTP/1.1 and HTTP/2 share everything above the framing.

pub mod coding;
pub mod conditional;
pub mod date;
pub mod digest;
pub mod error_page;
pub mod h1;
mod head;
mod headers;
mod known;
pub mod message;
mod method;
pub mod mime;
pub mod multipart;
pub mod preference;
pub mod quality;
pub mod range;
pub mod rules;
mod scan;
mod status;
pub mod target;
pub mod text;
pub mod websocket;

pub use coding::{AcceptEncoding, Choice, Coding, Offers};
pub use conditional::{Precondition, Validators};
pub use date::DateValue;
pub use h1::parse::{ParseError, ParseLimits, Parsed, parse_request};
pub use head::Head;
pub use headers::Headers;
pub use known::{Known, KnownSet};
pub use message::{
    Body, BodyError, BodyStream, FileSlice, HeaderBlock, Part, Prepared, Rendered, Response,
};
pub use method::{Method, Version};
pub use preference::HtmlAccepted;
pub use range::{ByteRange, RangePlan};
pub use status::Status;
pub use target::{Target, TargetError};
