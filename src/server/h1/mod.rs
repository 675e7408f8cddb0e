//! HTTP/1.1 connections: the protocol code of `http::h1` joined to a stream.

mod body;
mod connection;
mod inbound;
mod input;
mod link;
mod output;
mod write;

pub(super) use connection::Connection;
