//! `epoll(7)`, edge-triggered: the kernel reports each change of a descriptor once.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::ready::Ready;

/// A set of descriptors that are waited for together.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

/// Where [`Epoll::wait`] puts what it finds.
pub struct ReadyList {
    events: Vec<libc::epoll_event>,
    found: usize,
}

impl ReadyList {
    /// Room for `most` descriptors; further ones are found by the next wait.
    pub fn new(most: usize) -> ReadyList {
        ReadyList {
            events: vec![libc::epoll_event { events: 0, u64: 0 }; most],
            found: 0,
        }
    }

    /// How many descriptors the last wait has found.
    pub fn len(&self) -> usize {
        self.found
    }

    /// Whether the last wait has found nothing.
    pub fn is_empty(&self) -> bool {
        self.found == 0
    }

    /// The token of the descriptor at a position, and what it is ready for.
    pub fn get(&self, at: usize) -> Option<(u64, Ready)> {
        let event = self.events[..self.found].get(at)?;
        Some((event.u64, Ready::of_bits(event.events)))
    }
}

/// Edges in both directions, urgent data, and the end of the peer's; the kernel always reports errors.
const EDGES: u32 =
    (libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLET) as u32;

impl Epoll {
    /// An empty set.
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: epoll_create1 takes no pointers.
        let fd = super::check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }.into())?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) }))
    }

    /// Adds a descriptor. If it is ready now, the next wait reports it.
    ///
    /// Errors: `EPERM` for a folder or a file of a disk, which are always ready; `EEXIST` if it is in
    /// the set already; `ENOSPC` at the user's limit (`fs.epoll.max_user_watches`).
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token)
    }

    /// Changes the token of a descriptor. If it is ready now, the next wait reports it again.
    pub fn modify(&self, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token)
    }

    /// Takes a descriptor out, as its close would if no duplicate of it is open.
    pub fn remove(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0)
    }

    fn control(&self, what: libc::c_int, fd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: EDGES,
            u64: token,
        };
        // SAFETY: the event lives across the call, and the kernel copies it.
        let result = unsafe {
            libc::epoll_ctl(
                self.0.as_raw_fd(),
                what,
                fd.as_raw_fd(),
                std::ptr::from_mut(&mut event),
            )
        };
        super::check(result.into())?;
        Ok(())
    }

    /// Waits until a descriptor is ready, at most `timeout` (`None`: without an end). A signal ends
    /// the wait with nothing found.
    ///
    /// `epoll_wait(2)` counts in milliseconds. A wait that ends between two of them is made by
    /// `ppoll(2)` on the set itself; `epoll_pwait2(2)`, which would do it in one call, needs Linux 5.11.
    pub fn wait(&self, list: &mut ReadyList, timeout: Option<Duration>) -> io::Result<()> {
        let timeout_ms = match timeout {
            None => -1,
            Some(timeout) if timeout.is_zero() => 0,
            Some(timeout) if timeout.subsec_nanos().is_multiple_of(1_000_000) => {
                timeout.as_millis().try_into().unwrap_or(i32::MAX)
            }
            Some(timeout) => {
                super::ready::wait_readable(self.0.as_fd(), timeout)?;
                0
            }
        };
        // SAFETY: the kernel writes at most as many events as the vector has.
        let found = unsafe {
            libc::epoll_wait(
                self.0.as_raw_fd(),
                list.events.as_mut_ptr(),
                list.events.len().try_into().unwrap_or(i32::MAX),
                timeout_ms,
            )
        };
        list.found = match super::check(found.into()) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_change_is_told_once_and_a_new_token_tells_it_again() {
        let epoll = Epoll::new().expect("a set");
        let (near, mut far) = UnixStream::pair().expect("a pair");
        epoll.add(near.as_fd(), 7).expect("added");
        let mut list = ReadyList::new(4);
        far.write_all(b"x").expect("written");
        let look = |list: &mut ReadyList| {
            epoll
                .wait(list, Some(Duration::from_micros(1)))
                .expect("a wait");
            list.get(0).map(|(token, ready)| (token, ready.readable))
        };
        assert_eq!(look(&mut list), Some((7, true)));
        assert_eq!(look(&mut list), None);
        epoll.modify(near.as_fd(), 8).expect("modified");
        let mut list = ReadyList::new(4);
        epoll.wait(&mut list, Some(Duration::ZERO)).expect("a wait");
        assert_eq!(list.get(0).map(|(token, _)| token), Some(8));
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn a_regular_file_is_refused_and_so_is_one_that_is_in_already() {
        let epoll = Epoll::new().expect("a set");
        let file = std::fs::File::open("/proc/self/exe").expect("a file");
        let error = epoll
            .add(file.as_fd(), 0)
            .expect_err("a file is always ready");
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        let (near, _far) = UnixStream::pair().expect("a pair");
        epoll.add(near.as_fd(), 1).expect("added");
        let error = epoll.add(near.as_fd(), 1).expect_err("it is in");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    }
}
