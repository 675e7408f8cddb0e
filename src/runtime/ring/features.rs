//! Probes io_uring's features by using them, for `headwater doctor`. The driver doesn't depend on
//! this: it tries what it needs itself.

use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::{RingDriver, RingError, RingOptions};
use crate::observe::Writer;

/// A feature, and whether it worked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// What reports call it, such as `multishot accept`.
    pub name: &'static str,
    /// The first kernel that has it.
    pub since: &'static str,
    /// The benefit of the feature.
    pub use_: &'static str,
    /// The result of trying it: a remark, or why it does not work.
    pub works: Result<Option<String>, String>,
}

/// Sizes of the trial ring.
const TRIAL: RingOptions = RingOptions {
    submissions: 8,
    completions: 16,
    receive_buffers: 4,
    receive_buffer_bytes: 256,
    blocking_workers: 1,
};

/// Builds a ring as a shard does and tries what the driver relies on, then other features of
/// io_uring that matter to a server.
///
/// # Errors
/// When the driver can't work on this host.
pub fn features() -> Result<Vec<Feature>, RingError> {
    drop(RingDriver::new(TRIAL, Rc::new(Writer::off()))?);
    let feature = |name, since, use_, tried: io::Result<Option<String>>| Feature {
        name,
        since,
        use_,
        works: tried.map_err(|e| e.to_string()),
    };
    Ok(vec![
        feature(
            "deferred task work",
            "6.1",
            "completions run on the shard, when it asks",
            deferred(),
        ),
        feature(
            "multishot accept",
            "5.19",
            "one operation for all connections",
            accept_multi(),
        ),
        feature(
            "batched waiting",
            "6.12",
            "waits for several completions, but not for long",
            min_wait(),
        ),
        feature(
            "registered files",
            "5.1",
            "operations without a look-up of the descriptor",
            files(),
        ),
        feature(
            "messages between rings",
            "5.18",
            "one shard wakes another without a system call",
            message(),
        ),
        feature(
            "splice",
            "5.7",
            "cold files into the page cache, by a worker",
            splice(),
        ),
        feature(
            "zero-copy send",
            "6.0",
            "large bodies straight from memory on real cards",
            send_zc(),
        ),
        feature(
            "receive bundles",
            "6.10",
            "several buffers filled by one completion",
            bundles(),
        ),
        feature(
            "NAPI busy polling",
            "6.9",
            "the ring polls the card instead of waiting for it",
            napi(),
        ),
    ])
}

fn plain() -> io::Result<IoUring> {
    IoUring::builder().dontfork().build(8)
}

/// Submits one entry and waits for `count` completions: results and flags.
///
/// # Safety
/// What `entry` points to must live until this returns, and no completion may be left after it.
unsafe fn run(
    ring: &mut IoUring,
    entry: &squeue::Entry,
    count: usize,
) -> io::Result<Vec<(i32, u32)>> {
    // SAFETY: the caller guarantees that what `entry` points to outlives this call.
    unsafe { ring.submission().push(entry) }
        .map_err(|_| io::Error::other("the submission queue is full"))?;
    let mut done = Vec::new();
    // A kernel that posts fewer completions than expected must not hang the command.
    let limit = types::Timespec::new().sec(1);
    for _ in 0..=count {
        let args = types::SubmitArgs::new().timespec(&limit);
        match ring.submitter().submit_with_args(1, &args) {
            Err(e) if e.raw_os_error() == Some(libc::ETIME) => break,
            Err(e) => return Err(e),
            Ok(_) => done.extend(ring.completion().map(|c| (c.result(), c.flags()))),
        }
        if done.len() >= count {
            break;
        }
    }
    match done.first() {
        None => Err(io::Error::other("it gave no completion")),
        Some((result, _)) if *result < 0 => Err(io::Error::from_raw_os_error(-result)),
        Some(_) => Ok(done),
    }
}

fn deferred() -> io::Result<Option<String>> {
    let ring: io::Result<IoUring> = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(8);
    ring.map(|_| None)
}

fn min_wait() -> io::Result<Option<String>> {
    has(plain()?.params().is_feature_min_timeout())
}

fn bundles() -> io::Result<Option<String>> {
    has(plain()?.params().is_feature_recvsend_bundle())
}

fn has(flag: bool) -> io::Result<Option<String>> {
    match flag {
        true => Ok(None),
        false => Err(io::Error::other("the kernel does not announce it")),
    }
}

fn files() -> io::Result<Option<String>> {
    plain()?.submitter().register_files_sparse(4).map(|()| None)
}

fn napi() -> io::Result<Option<String>> {
    let mut napi = types::Napi::new();
    plain()?.submitter().register_napi(&mut napi).map(|()| None)
}

fn accept_multi() -> io::Result<Option<String>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let _client = TcpStream::connect(listener.local_addr()?)?;
    let mut ring = plain()?;
    let entry = opcode::AcceptMulti::new(types::Fd(listener.as_raw_fd())).build();
    // SAFETY: the entry points to nothing, and the ring is dropped before the listener.
    let done = unsafe { run(&mut ring, &entry, 1) }?;
    let (descriptor, flags) = done[0];
    // SAFETY: the kernel has just made this descriptor for us.
    drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
    match cqueue::more(flags) {
        true => Ok(None),
        false => Err(io::Error::other("it ended after one connection")),
    }
}

fn message() -> io::Result<Option<String>> {
    let mut ring = plain()?;
    let other = plain()?;
    let entry = opcode::MsgRingData::new(types::Fd(other.as_raw_fd()), 7, 7, None).build();
    // SAFETY: the entry points to nothing.
    unsafe { run(&mut ring, &entry, 1) }.map(|_| None)
}

fn splice() -> io::Result<Option<String>> {
    let (from, into) = io::pipe()?;
    let (to, out) = io::pipe()?;
    io::Write::write_all(&mut &into, b"ok")?;
    let mut ring = plain()?;
    let (input, output) = (types::Fd(from.as_raw_fd()), types::Fd(out.as_raw_fd()));
    let entry = opcode::Splice::new(input, -1, output, -1, 2).build();
    // SAFETY: the entry points to nothing.
    unsafe { run(&mut ring, &entry, 1) }?;
    let mut bytes = [0; 2];
    io::Read::read_exact(&mut &to, &mut bytes)?;
    match &bytes == b"ok" {
        true => Ok(None),
        false => Err(io::Error::other("it moved other bytes")),
    }
}

fn send_zc() -> io::Result<Option<String>> {
    /// IORING_SEND_ZC_REPORT_USAGE, and its answer IORING_NOTIF_USAGE_ZC_COPIED.
    const REPORT_USAGE: u16 = 1 << 3;
    const COPIED: u32 = 1 << 31;
    static BYTES: [u8; 16 * 1024] = [0; 16 * 1024];
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    // The notification comes once the bytes were read.
    let reader = std::thread::spawn(move || {
        let mut bytes = vec![0; BYTES.len()];
        io::Read::read_exact(&mut server, &mut bytes)
    });
    let mut ring = plain()?;
    let entry = opcode::SendZc::new(
        types::Fd(client.as_raw_fd()),
        BYTES.as_ptr(),
        BYTES.len() as u32,
    )
    .zc_flags(REPORT_USAGE)
    .build();
    // SAFETY: the entry points to a static.
    let done = unsafe { run(&mut ring, &entry, 2) };
    drop(client);
    let _ = reader.join();
    let copied = done?
        .get(1)
        .is_some_and(|(usage, _)| *usage as u32 & COPIED != 0);
    Ok(copied.then(|| "copied all the same on loopback, as it always is there".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_kernel_has_works() {
        let features = features().expect("the driver works where the tests do");
        let names: Vec<_> = features.iter().map(|feature| feature.name).collect();
        assert!(names.contains(&"multishot accept"));
        // The driver itself needs it.
        let accept = features.iter().find(|f| f.name == "multishot accept");
        assert_eq!(accept.map(|f| f.works.clone()), Some(Ok(None)));
    }
}
