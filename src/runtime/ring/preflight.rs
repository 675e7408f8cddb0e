//! Builds the ring and tries the kernel behaviour that the driver relies on. An error names the
//! cause of a failure.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use io_uring::{IoUring, Probe, opcode};

use super::{RingDriver, RingOptions};
use crate::limits;
use crate::runtime::driver::{Driver, MultishotEvent, Op, Wait};

/// Why the ring can't be built, as one sentence with advice.
#[derive(Debug)]
pub struct RingError {
    what: &'static str,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    Io(io::Error),
    Disabled(u32),
    Missing(&'static str),
    Misbehaves(&'static str),
}

impl RingError {
    pub(super) fn from_io(what: &'static str, e: io::Error) -> Self {
        Self {
            what,
            cause: Cause::Io(e),
        }
    }
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kernel = crate::sys::probe::kernel_release().unwrap_or_else(|_| "unknown".to_owned());
        match &self.cause {
            Cause::Disabled(value) => write!(
                f,
                "io_uring is switched off on this host (kernel.io_uring_disabled = {value}); \
                 run `sysctl kernel.io_uring_disabled=0`{}",
                if *value == 1 {
                    ", or run as root or in the group of kernel.io_uring_group"
                } else {
                    ""
                }
            ),
            Cause::Io(e) => match e.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => write!(
                    f,
                    "io_uring is forbidden to this process ({}: {e}), most likely by a container's \
                     seccomp profile; allow io_uring_setup, io_uring_enter and io_uring_register in it \
                     (docker: --security-opt seccomp=PROFILE.json)",
                    self.what
                ),
                Some(libc::ENOSYS) => write!(
                    f,
                    "this kernel ({kernel}) has no io_uring, or a seccomp filter hides it; \
                     the ring driver needs Linux 6.1 or newer"
                ),
                Some(libc::ENOMEM) => write!(
                    f,
                    "no memory for the ring ({}); each shard locks {} KiB, which count for all \
                     processes of this user together: raise the locked-memory limit (`ulimit -l`, \
                     LimitMEMLOCK= in systemd), or serve with fewer --cores",
                    self.what,
                    limits::RING_LOCKED_BYTES / 1024
                ),
                _ => write!(
                    f,
                    "io_uring on this kernel ({kernel}) failed while {}: {e}; the ring driver \
                     needs Linux 6.1 or newer",
                    self.what
                ),
            },
            Cause::Missing(operation) => write!(
                f,
                "io_uring on this kernel ({kernel}) lacks {operation}; the ring driver needs Linux 6.1 or newer"
            ),
            Cause::Misbehaves(how) => write!(
                f,
                "io_uring on this kernel ({kernel}) does not work as needed: {how}; \
                 the ring driver needs Linux 6.1 or newer"
            ),
        }
    }
}

impl std::error::Error for RingError {}

/// Sets up a ring for this thread alone, with the cheapest mode of running task work that the
/// kernel supports.
pub(super) fn build(options: RingOptions) -> Result<IoUring, RingError> {
    let mut builder = IoUring::builder();
    builder
        .setup_cqsize(options.completions)
        .setup_clamp()
        .setup_submit_all()
        .dontfork();
    let deferred = builder
        .clone()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(options.submissions);
    let ring = match deferred {
        // Kernels before 6.1 lack these flags.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => builder
            .setup_coop_taskrun()
            .setup_taskrun_flag()
            .build(options.submissions),
        other => other,
    }
    .map_err(explain)?;
    probe(&ring)?;
    Ok(ring)
}

fn explain(e: io::Error) -> RingError {
    let cause = match (e.raw_os_error(), crate::sys::probe::io_uring_disabled()) {
        (Some(libc::EPERM), Some(value)) if value > 0 => Cause::Disabled(value),
        _ => Cause::Io(e),
    };
    RingError {
        what: "setting up the ring",
        cause,
    }
}

fn probe(ring: &IoUring) -> Result<(), RingError> {
    const NEEDED: [(u8, &str); 9] = [
        (opcode::AcceptMulti::CODE, "accept"),
        (opcode::RecvMulti::CODE, "receive"),
        (opcode::Send::CODE, "send"),
        (opcode::SendMsg::CODE, "sendmsg"),
        (opcode::Read::CODE, "read"),
        (opcode::OpenAt2::CODE, "openat2"),
        (opcode::PollAdd::CODE, "poll"),
        (opcode::Connect::CODE, "connect"),
        (opcode::AsyncCancel::CODE, "cancel"),
    ];
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|e| RingError::from_io("asking for the ring's operations", e))?;
    match NEEDED.iter().find(|(code, _)| !probe.is_supported(*code)) {
        Some((_, name)) => Err(RingError {
            what: "probing",
            cause: Cause::Missing(name),
        }),
        None if !ring.params().is_feature_ext_arg() => Err(RingError {
            what: "probing",
            cause: Cause::Missing("timeouts on enter"),
        }),
        None => Ok(()),
    }
}

/// Bytes of a send that the socket takes only in part.
const TOO_MANY_BYTES: usize = 256 * 1024;

/// How long one turn of a trial waits.
const TRIAL_WAIT: Wait = Wait {
    timeout: Some(Duration::from_secs(1)),
    batch: 1,
    batch_wait: Duration::ZERO,
};

fn misbehaves(how: &'static str) -> RingError {
    RingError {
        what: "trying the ring out",
        cause: Cause::Misbehaves(how),
    }
}

fn socket_pair() -> Result<(UnixStream, UnixStream), RingError> {
    UnixStream::pair().map_err(|e| RingError::from_io("making a socket pair", e))
}

fn turn(driver: &mut RingDriver, what: &'static str) -> Result<(), RingError> {
    driver
        .turn(TRIAL_WAIT, &mut Vec::new())
        .map_err(|e| RingError::from_io(what, e))?;
    Ok(())
}

/// Tries the behaviours that a version number does not guarantee: a multishot receive into provided
/// buffers, and a send that posts no completion if, and only if, it succeeds.
pub(super) fn try_out(driver: &mut RingDriver) -> Result<(), RingError> {
    try_receive(driver)?;
    try_short_send(driver)?;
    while driver.in_flight() > 0 {
        turn(driver, "cancelling a receive")?;
    }
    Ok(())
}

/// Sends to a multishot receive, by a send whose success posts no completion.
fn try_receive(driver: &mut RingDriver) -> Result<(), RingError> {
    let (near, far) = socket_pair()?;
    let mut cx = Context::from_waker(Waker::noop());
    let receive = driver.start(Op::Receive {
        socket: Rc::new(near),
    });
    let send = driver.start(Op::SendNow {
        socket: Rc::new(far),
        buf: "ok".into(),
        more: false,
    });
    let mut received = false;
    for _ in 0..3 {
        turn(driver, "waiting on the ring")?;
        match driver.poll_event(receive, &mut cx) {
            Poll::Ready(MultishotEvent::Received(buf)) => received = &*buf == b"ok",
            Poll::Ready(MultishotEvent::Failed(e)) => {
                return Err(RingError::from_io("receiving into provided buffers", e));
            }
            Poll::Ready(_) => break,
            Poll::Pending => continue,
        }
        break;
    }
    if !received {
        return Err(misbehaves("a multishot receive gave nothing"));
    }
    if !matches!(driver.poll(send, &mut cx), Poll::Ready(None)) {
        return Err(misbehaves("a successful send was not silent"));
    }
    driver.abandon(receive);
    Ok(())
}

/// Sends more than a socket takes: the send must report that it was cut short.
fn try_short_send(driver: &mut RingDriver) -> Result<(), RingError> {
    let (near, _far) = socket_pair()?;
    // If the kernel keeps a larger buffer, the trial only costs more.
    let _ = socket2::SockRef::from(&near).set_send_buffer_size(4096);
    let send = driver.start(Op::SendNow {
        socket: Rc::new(near),
        buf: vec![0; TOO_MANY_BYTES].into(),
        more: false,
    });
    turn(driver, "waiting on the ring")?;
    let mut cx = Context::from_waker(Waker::noop());
    let reported = match driver.poll(send, &mut cx) {
        Poll::Ready(Some(outcome)) => match outcome.result {
            Ok(sent) => (sent as usize) < TOO_MANY_BYTES,
            Err(e) => e.kind() == io::ErrorKind::WouldBlock,
        },
        _ => false,
    };
    match reported {
        true => Ok(()),
        false => Err(misbehaves("a send that was cut short passed for a success")),
    }
}
