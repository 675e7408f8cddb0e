//! The runtime, and the system calls below it, with real sockets and files.

mod foreign;
mod io;
mod kernel_behaviour;
mod leftovers;
mod mailbox_burst;
mod observed;
mod one_shard;
mod shards;
mod sys_calls;
mod threads;
