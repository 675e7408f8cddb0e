//! The descriptors in the epoll set, and which operations wait for each.
//!
//! A descriptor is added once, for all edges, when an operation first waits for it. The kernel
//! takes it out by itself when its last duplicate is closed. The driver gets no notice of that, and
//! the number may then be another descriptor's. So an entry remembers which [`Handle`] it was made
//! for, by a weak reference, which keeps the handle's address from being used again but not its
//! descriptor open. A token carries the entry's generation, so that an event of an earlier
//! descriptor is not taken for one of a later.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::{Rc, Weak};

use crate::runtime::driver::{Handle, Key};
use crate::sys::epoll::Epoll;

/// A descriptor in the set.
pub(super) struct WatchedFd {
    generation: u32,
    handle: Option<Weak<dyn AsFd>>,
    /// A read may give something: the kernel has reported an edge since the last that gave nothing.
    pub is_readable: bool,
    /// A read that gives less than was asked for has emptied the socket (epoll(7)): so for TCP until
    /// the end of the stream or urgent data is to be read. `None`: not looked at yet.
    pub short_read_empties: Option<bool>,
    /// The operations that wait for it.
    pub waiting: Vec<Key>,
}

/// By descriptor number.
#[derive(Default)]
pub(super) struct WatchedFds(Vec<WatchedFd>);

impl WatchedFds {
    /// The entry of a handle, if it was made for this very handle or for what the same waiting
    /// operations hold open.
    pub(crate) fn of(&mut self, handle: &Handle) -> Option<&mut WatchedFd> {
        let entry = self.0.get_mut(number(handle))?;
        entry.is_for(handle).then_some(entry)
    }

    /// Has an operation wait for a handle's descriptor, which is added to the set if it isn't there.
    ///
    /// Errors: `EPERM` for a file that is always ready, and those of epoll_ctl(2).
    pub(crate) fn wait(&mut self, epoll: &Epoll, handle: &Handle, key: Key) -> io::Result<()> {
        let number = number(handle);
        if self.0.len() <= number {
            self.0.resize_with(number + 1, WatchedFd::unused);
        }
        let entry = &mut self.0[number];
        if !entry.is_for(handle) {
            let generation = entry.generation.wrapping_add(1);
            let token = token(number, generation);
            match epoll.add((**handle).as_fd(), token) {
                // The same descriptor behind another handle, or a duplicate that keeps it open.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    epoll.modify((**handle).as_fd(), token)?;
                }
                result => result?,
            }
            entry.generation = generation;
            entry.handle = Some(Rc::downgrade(handle));
            entry.is_readable = false;
            entry.short_read_empties = None;
        }
        if !entry.waiting.contains(&key) {
            entry.waiting.push(key);
        }
        Ok(())
    }

    /// An operation does not wait any more.
    pub(crate) fn leave(&mut self, handle: &Handle, key: Key) {
        if let Some(entry) = self.0.get_mut(number(handle)) {
            entry.waiting.retain(|waiting| *waiting != key);
        }
    }

    /// Takes a descriptor out that other processes may keep open, unless an operation waits for it.
    pub(crate) fn remove(&mut self, epoll: &Epoll, handle: &Handle) {
        if let Some(entry) = self.of(handle)
            && entry.waiting.is_empty()
        {
            entry.handle = None;
            // One that can't be taken out wakes the shard for nothing, at worst.
            let _ = epoll.remove((**handle).as_fd());
        }
    }

    /// The operation at a place among those that wait.
    pub(crate) fn waiting(&mut self, token: u64, place: usize) -> Option<Key> {
        self.by_token(token)?.waiting.get(place).copied()
    }

    /// The entry that an event's token names, unless it was for an earlier descriptor.
    pub(crate) fn by_token(&mut self, token: u64) -> Option<&mut WatchedFd> {
        let (number, generation) = (token as u32 as usize, (token >> 32) as u32);
        self.0
            .get_mut(number)
            .filter(|entry| entry.generation == generation)
    }
}

impl WatchedFd {
    fn unused() -> WatchedFd {
        WatchedFd {
            generation: 0,
            handle: None,
            is_readable: false,
            short_read_empties: None,
            waiting: Vec::new(),
        }
    }

    fn is_for(&self, handle: &Handle) -> bool {
        // An operation that waits holds the descriptor open, so the number is still its.
        if !self.waiting.is_empty() {
            return true;
        }
        let address = Rc::as_ptr(handle).cast::<()>();
        self.handle.as_ref().is_some_and(|known| {
            known.strong_count() > 0 && std::ptr::eq(known.as_ptr().cast::<()>(), address)
        })
    }
}

fn number(handle: &Handle) -> usize {
    (**handle).as_fd().as_raw_fd().cast_unsigned() as usize
}

fn token(number: usize, generation: u32) -> u64 {
    u64::from(generation) << 32 | number as u64
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::sys::epoll::ReadyList;

    fn key(index: u32) -> Key {
        Key {
            index,
            generation: 0,
        }
    }

    fn handle(fd: impl Into<OwnedFd>) -> Handle {
        Rc::new(fd.into())
    }

    /// The tokens of what is ready now.
    fn ready(epoll: &Epoll) -> Vec<u64> {
        let mut list = ReadyList::new(8);
        epoll
            .wait(&mut list, Some(std::time::Duration::ZERO))
            .unwrap();
        (0..list.len())
            .filter_map(|at| list.get(at))
            .map(|(token, _)| token)
            .collect()
    }

    #[test]
    fn a_number_that_is_used_again_is_another_descriptor() {
        let epoll = Epoll::new().unwrap();
        let mut watched = WatchedFds::default();
        let (near, far) = UnixStream::pair().unwrap();
        let first = handle(near);
        let number = number(&first);
        watched.wait(&epoll, &first, key(1)).unwrap();
        let old = ready(&epoll)[0];
        watched.by_token(old).unwrap().is_readable = true;
        watched.leave(&first, key(1));
        drop(first);
        // The kernel gives the lowest number that is free.
        let second = handle(far.try_clone().unwrap());
        assert_eq!(
            super::number(&second),
            number,
            "the number was not used again"
        );
        assert!(watched.of(&second).is_none());
        watched.wait(&epoll, &second, key(2)).unwrap();
        assert!(
            watched.by_token(old).is_none(),
            "an event of the first is nobody's"
        );
        let new = ready(&epoll)[0];
        let entry = watched.by_token(new).unwrap();
        assert!(!entry.is_readable && entry.waiting == [key(2)]);
    }

    #[test]
    fn a_descriptor_that_is_in_the_set_already_is_told_of_again() {
        let epoll = Epoll::new().unwrap();
        let mut watched = WatchedFds::default();
        let (near, _far) = UnixStream::pair().unwrap();
        let near = Rc::new(OwnedFd::from(near));
        let one: Handle = Rc::clone(&near) as Handle;
        watched.wait(&epoll, &one, key(1)).unwrap();
        assert_eq!(ready(&epoll).len(), 1);
        watched.leave(&one, key(1));
        // Another handle of the same descriptor, which therefore stays in the set.
        struct Other(Rc<OwnedFd>);
        impl AsFd for Other {
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                self.0.as_fd()
            }
        }
        let other: Handle = Rc::new(Other(near));
        watched.wait(&epoll, &other, key(2)).unwrap();
        let token = ready(&epoll)[0];
        assert_eq!(watched.waiting(token, 0), Some(key(2)));
        assert_eq!(watched.waiting(token, 1), None);
    }
}
