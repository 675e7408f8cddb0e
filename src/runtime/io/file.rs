//! File operations through the ring, for those that may wait for a disk.

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;

use super::super::driver::{Handle, MultishotEvent, Op, OpenFlags, Outcome};
use super::super::shard::Shard;
use super::Operation;

/// Reads at `offset` into `buf` (whose content is replaced) up to its capacity, and gives the
/// buffer back. With `blocking` a worker thread of the kernel reads, so that not even a submission
/// to a congested disk delays the shard.
pub async fn read_at(
    shard: &Shard,
    file: Handle,
    mut buf: Vec<u8>,
    offset: u64,
    blocking: bool,
) -> (io::Result<usize>, Vec<u8>) {
    buf.clear();
    match Operation::start(
        shard,
        Op::ReadAt {
            file,
            buf,
            offset,
            blocking,
        },
    )
    .await
    {
        Some(Outcome {
            op: Op::ReadAt { buf, .. },
            result,
        }) => (result.map(|n| n as usize), buf),
        _ => (
            Err(io::Error::other("a read came back as something else")),
            Vec::new(),
        ),
    }
}

/// Opens a path below `dir` (openat2(2)) without making the shard wait for the disk.
pub async fn open(
    shard: &Shard,
    dir: Handle,
    path: CString,
    how: OpenFlags,
) -> io::Result<OwnedFd> {
    // Opening is a single operation, but its result is a descriptor, so it is taken as an event:
    // the driver closes the descriptor if this future is dropped.
    let mut opening = Opening {
        shard,
        key: Some(shard.start(Op::Open { dir, path, how })),
    };
    let event = std::future::poll_fn(|cx| match opening.key {
        Some(key) => shard.poll_event(key, cx),
        None => std::task::Poll::Pending,
    })
    .await;
    match event {
        MultishotEvent::Accepted(fd) => Ok(fd),
        MultishotEvent::Failed(e) => {
            opening.key = None;
            Err(e)
        }
        _ => {
            opening.key = None;
            Err(io::Error::from(io::ErrorKind::Interrupted))
        }
    }
}

struct Opening<'a> {
    shard: &'a Shard,
    key: Option<super::super::driver::Key>,
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            self.shard.abandon(key);
        }
    }
}
