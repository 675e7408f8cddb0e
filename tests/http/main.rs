//! HTTP and WebSocket without I/O: properties over generated and random input.

mod negotiation;
mod properties;
mod websocket;
