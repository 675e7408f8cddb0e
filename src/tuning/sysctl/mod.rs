//! The kernel's settings: profiles, comparing them with the present values, applying, reverting.
//!
//! A profile is text in the form of sysctl.d(5). A plan compares it with what the kernel has;
//! applying a plan writes a snapshot first, reads every value back, and undoes all of them when one
//! is refused. The scripts `scripts/sysctl-*.sh` do the same with the same files.

mod apply;
mod expression;
mod key;
mod known;
mod persist;
mod plan;
mod profile;
mod settings;
mod snapshot;
#[cfg(test)]
mod tests;
mod value;

pub use apply::{
    Applied, ApplyError, Back, BackFrom, Obstacle, OutOfReach, Outcome, Reverted, apply, revert,
};
pub use expression::Machine;
pub use key::Key;
pub use known::{Better, Scope, refused};
pub use persist::{PERSIST_PATH, PersistError, persist, persisted, unpersist};
pub use plan::{Plan, Row, Unsafe, Verdict, unsafe_now};
pub use profile::{BUILT_IN, Profile, ProfileError, Setting};
pub use settings::{ProcSys, Settings};
pub use snapshot::{STATE_DIR, SnapshotError, State};
