//! Listeners: where they listen, how they are opened, and which shard takes a connection.

pub mod activation;
pub mod address;
pub mod balance;
pub mod error;
pub mod holder;
pub mod listener;
mod local_ip;
pub mod options;
pub mod per_address;
pub mod retry;
mod tcp;
mod unix;
