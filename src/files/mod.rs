//! Files as a web resource.

pub mod listing;
