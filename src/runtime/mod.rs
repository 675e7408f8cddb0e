//! The runtime: one shard per core, I/O as futures.
//!
//! A *shard* is a pinned thread with its own completion driver (an io_uring),
//! executor and timer wheel. Futures on it are `!Send` and share nothing with
//! other shards; a [`ShardHandle`] reaches a shard from any thread through its mailbox.
//!
//! ```no_run
//! use headwater::runtime::{Listener, Runtime, Shard};
//!
//! # fn main() -> Result<(), headwater::runtime::RuntimeError> {
//! Runtime::new(vec![0])?.run(|shard: Shard| async move {
//!     println!("shard {} runs on CPU {:?}", shard.index(), shard.cpu());
//! })
//! # }
//! ```

pub mod driver;
mod driver_choice;
mod epoll;
mod executor;
mod foreign;
mod io;
mod join;
mod mailbox;
mod precise_timer;
mod record;
mod ring;
mod send_buf;
mod shard;
mod stall_detector;
mod start;
mod stats;
mod timer;
mod waker;

pub use driver_choice::{DriverChoice, DriverUsed, UnknownDriver};
pub use epoll::EpollDriver;
pub use io::{
    Accepting, Elapsed, Leftovers, Listener, PeerEnd, PendingSend, Receiver, Sending, Sleep,
    Stream, StreamEnd, Timer, open, poll_ready, read_at, sleep, timeout, yield_now,
};
pub use join::{JoinError, JoinHandle};
pub use mailbox::MailboxError;
pub use precise_timer::{SleepUntil, sleep_until};
pub use ring::{Feature, RingDriver, RingError, RingOptions, features};
pub use send_buf::SendBuf;
pub use shard::{Pacing, Shard};
pub use stall_detector::{Stall, StallCause, StallMonitor};
pub use start::{Running, Runtime, RuntimeError, ShardHandle};
pub use stats::ShardStats;
pub use timer::TimerId;
