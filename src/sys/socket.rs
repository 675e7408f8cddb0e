//! Socket options and addresses that the standard library does not offer.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use socket2::SockRef;

/// Sets which CPU serves this socket (`SO_INCOMING_CPU`): a hint for
/// choosing among an `SO_REUSEPORT` group (Linux 6.1).
pub fn set_incoming_cpu(fd: BorrowedFd<'_>, cpu: usize) -> io::Result<()> {
    SockRef::from(&fd).set_cpu_affinity(cpu)
}

/// The CPU that handled this socket's last packet (`SO_INCOMING_CPU`).
pub fn incoming_cpu(fd: BorrowedFd<'_>) -> io::Result<usize> {
    SockRef::from(&fd).cpu_affinity()
}

/// Steers new connections of an `SO_REUSEPORT` group by the CPU that handles their first packet:
/// one on `cpus[i]` goes to the group's socket `i`, in the order in which they began to listen. The
/// kernel's hash spreads connections of any other CPU. One call on any member applies to the whole
/// group.
///
/// Attaches a classic BPF program (`SO_ATTACH_REUSEPORT_CBPF`, Linux 4.6).
/// Errors: `EINVAL` for no CPUs or more than the program has room for.
pub fn steer_by_cpu(fd: BorrowedFd<'_>, cpus: &[usize]) -> io::Result<()> {
    let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
    let mut program = steering_program(cpus).ok_or_else(invalid)?;
    let header = libc::sock_fprog {
        len: program.len().try_into().map_err(|_| invalid())?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the header points to `len` live instructions; the kernel checks
    // and copies them during the call.
    unsafe {
        set_option(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            &header,
        )
    }
}

/// # Safety
/// `T` must be what the kernel expects for this option, with live pointers if any.
unsafe fn set_option<T>(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of a live value; the caller guarantees their
    // meaning.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    super::check(result.into())?;
    Ok(())
}

/// Lets accept(2) return a connection only once data has arrived, or after about this many seconds
/// (`TCP_DEFER_ACCEPT`).
pub fn set_defer_accept(fd: BorrowedFd<'_>, seconds: u32) -> io::Result<()> {
    let seconds = libc::c_int::try_from(seconds).unwrap_or(libc::c_int::MAX);
    // SAFETY: the option takes an int.
    unsafe { set_option(fd, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, &seconds) }
}

/// `A = this cpu; if A == cpus[0] return 0; if A == cpus[1] return 1; ...`, and for any other CPU
/// an index that no group has, for which the kernel falls back to its hash (`reuseport_select_sock`
/// in net/core/sock_reuseport.c).
fn steering_program(cpus: &[usize]) -> Option<Vec<libc::sock_filter>> {
    if cpus.is_empty() || 2 * cpus.len() + 2 > libc::BPF_MAXINSNS as usize {
        return None;
    }
    let instruction = |code: u32, jf: u8, k: u32| libc::sock_filter {
        code: code as u16,
        jt: 0,
        jf,
        k,
    };
    let this_cpu = (libc::SKF_AD_OFF + libc::SKF_AD_CPU) as u32;
    let mut program = Vec::with_capacity(2 * cpus.len() + 2);
    program.push(instruction(
        libc::BPF_LD | libc::BPF_W | libc::BPF_ABS,
        0,
        this_cpu,
    ));
    for (index, &cpu) in (0_u32..).zip(cpus) {
        let cpu = u32::try_from(cpu).ok()?;
        program.push(instruction(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            1,
            cpu,
        ));
        program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, index));
    }
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, u32::MAX));
    Some(program)
}

/// Limits the bytes that wait unsent in the socket before it stops being
/// writable (`TCP_NOTSENT_LOWAT`).
pub fn set_unsent_low_water(fd: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    SockRef::from(&fd).set_tcp_notsent_lowat(bytes)
}

/// Chooses the congestion control by its name (`TCP_CONGESTION`). Errors:
/// `ENOENT` when the kernel doesn't have it, `EPERM` when it isn't among
/// `net.ipv4.tcp_allowed_congestion_control`.
pub fn set_congestion(fd: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    SockRef::from(&fd).set_tcp_congestion(name.as_bytes())
}

/// The name of the congestion control in use.
pub fn congestion(fd: BorrowedFd<'_>) -> io::Result<String> {
    let mut name = SockRef::from(&fd).tcp_congestion()?;
    if let Some(end) = name.iter().position(|&byte| byte == 0) {
        name.truncate(end);
    }
    Ok(String::from_utf8_lossy(&name).into_owned())
}

/// Fixes the size of the send buffer (`SO_SNDBUF`), which turns off the kernel's autotuning. The
/// kernel doubles the figure and cuts it to `net.core.wmem_max`.
pub fn set_send_buffer(fd: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    SockRef::from(&fd).set_send_buffer_size(bytes)
}

/// Holds partial segments back (`true`) or sends them (`TCP_CORK`).
pub fn set_cork(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    SockRef::from(&fd).set_tcp_cork(on)
}

/// Sends small segments at once (`TCP_NODELAY`).
pub fn set_nodelay(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    SockRef::from(&fd).set_tcp_nodelay(on)
}

/// Bytes in the send queue that the peer hasn't acknowledged (`SIOCOUTQ`).
pub fn unacknowledged_bytes(fd: BorrowedFd<'_>) -> io::Result<usize> {
    queue_bytes(fd, libc::TIOCOUTQ)
}

/// Bytes in the send queue that haven't been sent even once (`SIOCOUTQNSD`).
pub fn unsent_bytes(fd: BorrowedFd<'_>) -> io::Result<usize> {
    queue_bytes(fd, libc::SIOCOUTQNSD)
}

fn queue_bytes(fd: BorrowedFd<'_>, request: libc::Ioctl) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: both requests write one int, which outlives the call.
    super::check(
        unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(&mut bytes)) }.into(),
    )?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Ends one or both directions of a connection, by `shutdown(2)`.
pub fn shutdown(fd: BorrowedFd<'_>, how: std::net::Shutdown) -> io::Result<()> {
    SockRef::from(&fd).shutdown(how)
}

/// The peer's address; `None` on a Unix socket.
pub fn peer_address(fd: BorrowedFd<'_>) -> io::Result<Option<SocketAddr>> {
    Ok(SockRef::from(&fd).peer_addr()?.as_socket())
}

/// The local address; `None` on a Unix socket.
pub fn local_address(fd: BorrowedFd<'_>) -> io::Result<Option<SocketAddr>> {
    Ok(SockRef::from(&fd).local_addr()?.as_socket())
}

/// Accepts a connection as a non-blocking, close-on-exec socket (`accept4(2)`).
///
/// Errors: `EAGAIN` where none waits and the listener is non-blocking; EMFILE, ENFILE and others of
/// accept(2).
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: null pointers ask for no address.
    let fd = super::retry(|| unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
        ) as libc::c_long
    })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Begins to connect a non-blocking socket; `false`: it will be writable when it is decided, and
/// [`take_error`] tells how.
///
/// Errors: of connect(2); `EAGAIN` on a Unix socket whose listener's queue is full.
pub fn connect(fd: BorrowedFd<'_>, address: &socket2::SockAddr) -> io::Result<bool> {
    match SockRef::from(&fd).connect(address) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether this is a TCP connection.
pub fn is_tcp(fd: BorrowedFd<'_>) -> bool {
    let protocol = SockRef::from(&fd).protocol();
    matches!(protocol, Ok(Some(socket2::Protocol::TCP)))
}

/// The error that a socket has pending (`SO_ERROR`), if there is one.
pub fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    SockRef::from(&fd).take_error()
}

/// The process at the other end of a Unix socket (`SO_PEERCRED`, unix(7)): for a client the one
/// that called listen(2), whether it still lives or not.
pub fn peer_pid(fd: BorrowedFd<'_>) -> io::Result<u32> {
    let mut peer = libc::ucred {
        pid: 0,
        uid: 0,
        gid: 0,
    };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes one ucred of the length that is passed, and both outlive the call.
    super::check(
        unsafe {
            libc::getsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                std::ptr::from_mut(&mut peer).cast(),
                &raw mut len,
            )
        }
        .into(),
    )?;
    u32::try_from(peer.pid).map_err(io::Error::other)
}

/// Whether a connection is gone in both directions: it was reset, or each side has ended its own
/// (POLLERR or POLLHUP of poll(2)). Never waits.
pub fn is_hung_up(fd: BorrowedFd<'_>) -> bool {
    poll_condition(fd, libc::POLLERR | libc::POLLHUP)
}

/// Whether a connection has failed, as by a reset (POLLERR of poll(2)); one that both sides have
/// ended has not. Never waits.
pub fn has_failed(fd: BorrowedFd<'_>) -> bool {
    poll_condition(fd, libc::POLLERR)
}

/// Whether poll(2) shows one of these conditions, which it shows whether they are asked for or not.
fn poll_condition(fd: BorrowedFd<'_>, condition: libc::c_short) -> bool {
    let mut entry = libc::pollfd {
        fd: fd.as_raw_fd(),
        events: 0,
        revents: 0,
    };
    // SAFETY: the one entry lives across the call.
    let ready = unsafe { libc::poll(&raw mut entry, 1, 0) };
    ready > 0 && entry.revents & condition != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_compare_each_cpu_then_give_up() {
        let program = steering_program(&[4, 2]).unwrap();
        assert_eq!(program.len(), 6);
        assert_eq!((program[1].k, program[1].jt, program[1].jf), (4, 0, 1));
        assert_eq!(program[2].k, 0);
        assert_eq!(program[3].k, 2);
        assert_eq!(program[4].k, 1);
        assert_eq!(program[5].k, u32::MAX);
    }

    #[test]
    fn programs_have_a_bound() {
        assert!(steering_program(&[]).is_none());
        assert!(steering_program(&vec![0; 2047]).is_some());
        assert!(steering_program(&vec![0; 2048]).is_none());
    }
}
