//! Fixed-size buffer pools and the memory of the provided-buffer ring.

mod output;
mod receive;

pub use output::{OutputBuf, OutputPool};
pub use receive::{BufferTicket, ReceiveBuf, ReceivePool};
