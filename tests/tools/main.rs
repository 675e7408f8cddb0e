//! The command line, the documentation's examples, the host's settings and its listeners, as a user
//! sees them.

mod cli;
mod doctor;
mod listeners;
mod readme;
mod sysctl;
mod vanished;
