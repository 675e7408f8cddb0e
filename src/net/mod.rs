//! Listeners: where they are, how they are opened, and who takes a connection.

pub mod activation;
pub mod address;
pub mod balance;
pub mod listener;
pub mod per_address;
mod tcp;
mod unix;
