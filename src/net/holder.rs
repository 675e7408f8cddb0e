//! Finds the process that holds an address in use, so that a bind waits for an address only while
//! its process is going away.
//!
//! The sockets of a killed process stay open for some milliseconds after it has been reaped, until
//! the kernel has torn down its io_uring. They still listen, and even accept connections, so a
//! connection does not prove that the server runs; but no process has a descriptor of them. A bind
//! that finds its address in use is therefore retried, unless a process holds the address
//! (docs/decisions/052-bind-retry.md).

use std::fmt;
use std::fs;
use std::net::SocketAddr;

use crate::keepalive::live;

/// A process that holds a socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// Its name (`/proc/PID/comm`).
    pub name: String,
}

impl Holder {
    /// The process with this number, unless it is gone or has ended (proc_pid_stat(5)).
    pub(super) fn living(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may contain any byte.
        let (before, after) = stat.rsplit_once(')')?;
        let (_, name) = before.split_once('(')?;
        let ended = after.trim_start().starts_with(['Z', 'X']);
        (!ended).then(|| Self {
            pid,
            name: name.to_owned(),
        })
    }

    /// A process that listens on `address` by TCP, if this one may see its descriptors.
    pub(super) fn of_tcp(address: SocketAddr) -> Option<Self> {
        let pids = live::listeners(address).ok()?;
        pids.into_iter().find_map(Self::living)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn this_process_is_found_by_what_it_listens_on() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let holder = Holder::of_tcp(address).unwrap();
        assert_eq!(holder.pid, std::process::id());
        let every = SocketAddr::from(([0, 0, 0, 0], address.port()));
        assert_eq!(Holder::of_tcp(every), Some(holder));
        drop(listener);
        assert_eq!(Holder::of_tcp(address), None);
    }

    #[test]
    fn a_process_that_has_ended_holds_nothing() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        let start = Instant::now();
        // It is a zombie until it is waited for.
        while Holder::living(pid).is_some() {
            assert!(start.elapsed() < Duration::from_secs(10));
            thread::sleep(Duration::from_millis(1));
        }
        child.wait().unwrap();
        assert_eq!(Holder::living(pid), None);
        assert!(Holder::living(std::process::id()).is_some());
    }
}
