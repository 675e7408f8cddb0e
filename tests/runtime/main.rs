//! The runtime, and the system calls beneath it, over real sockets and files.

mod io;
mod kernel_behaviour;
mod observed;
mod one_shard;
mod shards;
mod sys_calls;
mod threads;
