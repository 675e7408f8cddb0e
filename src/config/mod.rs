//! The configuration: flags, environment and a TOML file become one validated,
//! typed [`Config`] of plain data.
//!
//! Precedence, highest first: flags, environment (`HEADWATER_*`, then `PORT`),
//! the TOML file, the defaults of [`crate::limits`]. The table [`FIELDS`]
//! names every field once; flags, variables, keys, help and printing all come
//! from it.

mod effective;
mod error;
mod field;
mod file;
mod file_headers;
mod model;
mod nearest;
mod print;
mod quantity;
mod raw;
mod read;
mod responses;
mod validate;
mod value;

#[cfg(test)]
mod tests;

pub use effective::{Effective, PORT_ENV, PRESET_FIELDS};
pub use error::{ConfigError, Problem, ValueSource};
pub use field::{FIELDS, Field, FieldKind};
pub use model::{
    AccessLog, CONGESTION_AUTO, Cache, Compression, Config, ETAG_MTIME, Keepalive, Limits, Observe,
    QUERY_DROP, QUERY_KEEP, SCHEDULING_BATCH, SCHEDULING_IDLE, Server, Socket, Tasks, Timeouts,
};
pub use quantity::{QuantityError, Unit};
pub use read::{CONFIG_ENV, FlagValue, read};
pub use responses::{HeaderRule, Responses};
pub use value::Value;
