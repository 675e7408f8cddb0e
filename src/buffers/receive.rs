//! The receive buffers that a shard provides to the kernel.
//!
//! The layout is that of io_uring's provided-buffer ring (io_uring_register(2),
//! IORING_REGISTER_PBUF_RING): an array of 16-byte entries (address, length,
//! buffer id), whose first entry's last two bytes are the ring's tail. We
//! publish a buffer by writing the entry at the tail and moving the tail on;
//! the kernel takes entries from the head, which only it knows.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::task::Waker;

use crate::limits::RECV_BUFFER_BYTES_CEILING;

/// One entry of the ring, as the kernel defines it (`struct io_uring_buf`).
#[repr(C)]
struct BufferEntry {
    addr: u64,
    len: u32,
    id: u16,
    tail: u16,
}

/// An anonymous private mapping, unmapped on drop.
struct Mapping {
    at: NonNull<u8>,
    len: usize,
}

impl Mapping {
    fn new(len: usize) -> io::Result<Self> {
        // SAFETY: a fresh anonymous mapping touches no memory of ours; the result is checked.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        match NonNull::new(at.cast()) {
            Some(at) => Ok(Self { at, len }),
            None => Err(io::Error::other("mmap returned address zero")),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `at` and `len` are exactly what mmap gave us, and this is the only owner.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.len) };
    }
}

/// A fixed number of equal receive buffers, lent to the kernel and taken back filled.
///
/// The pool must outlive the kernel's use of it: a driver keeps an `Rc` of it
/// until its ring is gone.
pub struct ReceivePool {
    entries: Mapping,
    memory: Mapping,
    buffers: u16,
    buffer_bytes: usize,
    tail: Cell<u16>,
    /// The kernel may have the ring's address, and takes buffers from it.
    is_shared: Cell<bool>,
    /// Buffers that the kernel may fill.
    lent: Cell<usize>,
    /// Which buffers the program holds, so that none is given back twice.
    held: RefCell<Vec<bool>>,
    held_count: Cell<usize>,
    /// Receivers that found the pool empty, woken when a buffer comes back.
    starved: RefCell<WaitingReceivers>,
}

/// A queue for buffers. Ticket numbers only grow, so a ticket shows whether it is still to be
/// served.
struct WaitingReceivers {
    wakers: VecDeque<Waker>,
    /// The ticket at the head of the queue.
    first: u64,
}

/// A ticket in the queue for buffers; the default one is none.
#[derive(Clone, Copy, Debug, Default)]
pub struct BufferTicket(u64);

impl ReceivePool {
    /// A pool of `buffers` (a power of two, at most 32,768) of `buffer_bytes` each (at most
    /// [`RECV_BUFFER_BYTES_CEILING`]), all lent.
    pub fn new(buffers: u16, buffer_bytes: usize) -> io::Result<Rc<Self>> {
        let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if !buffers.is_power_of_two() || buffers > 1 << 15 {
            return invalid(format!(
                "{buffers} receive buffers: a power of two up to 32768 is needed"
            ));
        }
        if buffer_bytes == 0 || buffer_bytes > RECV_BUFFER_BYTES_CEILING {
            return invalid(format!(
                "receive buffers of {buffer_bytes} bytes: 1 to {RECV_BUFFER_BYTES_CEILING} are possible"
            ));
        }
        let pool = Rc::new(Self {
            entries: Mapping::new(usize::from(buffers) * size_of::<BufferEntry>())?,
            memory: Mapping::new(usize::from(buffers) * buffer_bytes)?,
            buffers,
            buffer_bytes,
            tail: Cell::new(0),
            is_shared: Cell::new(false),
            lent: Cell::new(0),
            held: RefCell::new(vec![false; usize::from(buffers)]),
            held_count: Cell::new(0),
            starved: RefCell::new(WaitingReceivers {
                wakers: VecDeque::new(),
                first: 1,
            }),
        });
        for id in 0..buffers {
            pool.lend(id);
        }
        Ok(pool)
    }

    /// Where the ring of entries begins, for registering it. From then on the kernel alone takes
    /// buffers.
    pub fn ring_addr(&self) -> u64 {
        self.is_shared.set(true);
        self.entries.at.as_ptr() as u64
    }

    /// Entries in the ring.
    pub fn buffers(&self) -> u16 {
        self.buffers
    }

    /// Buffers that the program holds at the moment.
    pub fn held(&self) -> usize {
        self.held_count.get()
    }

    /// Buffers that the kernel may still fill: all but the held ones and those
    /// whose completions wait to be looked at.
    pub fn lent(&self) -> usize {
        self.lent.get()
    }

    /// Notes that a completion has handed a buffer out, before anyone asks for it with
    /// [`filled`](Self::filled).
    pub fn handed_out(&self) {
        self.lent.set(self.lent.get() - 1);
    }

    /// Takes buffer `id`, which the kernel has filled with `len` bytes.
    ///
    /// # Safety
    /// The kernel must just have handed this buffer out (a completion with
    /// IORING_CQE_F_BUFFER, noted with [`handed_out`](Self::handed_out)), and each such completion
    /// must be passed here once.
    pub unsafe fn filled(self: &Rc<Self>, id: u16, len: usize) -> ReceiveBuf {
        assert!(id < self.buffers && len <= self.buffer_bytes);
        let was_held = std::mem::replace(&mut self.held.borrow_mut()[usize::from(id)], true);
        assert!(!was_held, "receive buffer {id} was handed out twice");
        self.held_count.set(self.held_count.get() + 1);
        ReceiveBuf {
            bytes: Bytes::Lent {
                pool: Rc::clone(self),
                id,
                len: len as u32,
            },
            start: 0,
        }
    }

    /// Lets `fill` write into a lent buffer, for a driver that receives by itself; `None` if all
    /// are in use. `fill` returns how many bytes it has written; where it fails or writes none, the
    /// buffer stays lent. The buffer that came back last is taken first: the CPU's cache has it.
    ///
    /// # Panics
    /// If the ring's address was given away, or if `fill` says more than the buffer holds.
    pub fn fill(
        self: &Rc<Self>,
        fill: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> Option<io::Result<Option<ReceiveBuf>>> {
        assert!(!self.is_shared.get(), "the kernel takes these buffers");
        if self.lent.get() == 0 {
            return None;
        }
        // Without a kernel that takes from the head, the ring is a stack of the lent buffers.
        let top = self.tail.get().wrapping_sub(1);
        let base = self.entries.at.as_ptr().cast::<BufferEntry>();
        let index = usize::from(top & (self.buffers - 1));
        // SAFETY: the entry is inside the mapping, and `lend` has written it.
        let id = unsafe { (&raw const (*base.add(index)).id).read() };
        let offset = usize::from(id) * self.buffer_bytes;
        // SAFETY: the buffer is inside the mapping, which is zeroed at first and lives as long as
        // the pool. It is lent, so no `ReceiveBuf` refers to it, and no kernel has its address.
        let buffer = unsafe {
            let at = self.memory.at.as_ptr().add(offset);
            std::slice::from_raw_parts_mut(at, self.buffer_bytes)
        };
        // Taken off the stack meanwhile, in case `fill` comes here again.
        self.tail.set(top);
        self.handed_out();
        let filled = fill(buffer);
        Some(match filled {
            // SAFETY: the buffer was taken off the stack just now.
            Ok(len @ 1..) => Ok(Some(unsafe { self.filled(id, len) })),
            result => {
                self.lend(id);
                result.map(|_| None)
            }
        })
    }

    /// Registers `waker` for a buffer that comes back. A receiver that waits already keeps its ticket.
    pub fn wait_for_buffer(&self, ticket: &mut BufferTicket, waker: &Waker) {
        // Dropped last: its destructor may use the pool.
        let _replaced;
        let mut starved = self.starved.borrow_mut();
        let at = ticket.0.checked_sub(starved.first).map(|at| at as usize);
        match at.and_then(|at| starved.wakers.get_mut(at)) {
            Some(old) if old.will_wake(waker) => {}
            Some(old) => _replaced = std::mem::replace(old, waker.clone()),
            None => {
                *ticket = BufferTicket(starved.first + starved.wakers.len() as u64);
                starved.wakers.push_back(waker.clone());
            }
        }
    }

    /// Whether `ticket` is still to be served.
    pub fn is_waiting(&self, ticket: BufferTicket) -> bool {
        ticket.0 >= self.starved.borrow().first
    }

    /// Gives a buffer to the kernel.
    fn lend(&self, id: u16) {
        let tail = self.tail.get();
        let index = usize::from(tail & (self.buffers - 1));
        let base = self.entries.at.as_ptr().cast::<BufferEntry>();
        let addr = self.memory.at.as_ptr() as u64 + (usize::from(id) * self.buffer_bytes) as u64;
        // SAFETY: `index` is below `buffers`, so the entry is inside the mapping, which is
        // page-aligned. The kernel reads an entry only after the tail below has passed it. The
        // `tail` field of entry 0 shares its entry with a buffer and is written by the atomic
        // store alone, so the other fields are written one by one.
        unsafe {
            let entry = base.add(index);
            (&raw mut (*entry).addr).write(addr);
            (&raw mut (*entry).len).write(self.buffer_bytes as u32);
            (&raw mut (*entry).id).write(id);
            let published = AtomicU16::from_ptr(&raw mut (*base).tail);
            published.store(tail.wrapping_add(1), Ordering::Release);
        }
        self.tail.set(tail.wrapping_add(1));
        self.lent.set(self.lent.get() + 1);
    }

    fn give_back(&self, id: u16) {
        self.held.borrow_mut()[usize::from(id)] = false;
        self.held_count.set(self.held_count.get() - 1);
        self.lend(id);
    }

    /// Takes the wakers of all receivers that wait for a buffer, for the end of the shard.
    pub(crate) fn take_waiting(&self, wakers: &mut Vec<Waker>) {
        let mut starved = self.starved.borrow_mut();
        starved.first += starved.wakers.len() as u64;
        wakers.extend(starved.wakers.drain(..));
    }

    /// Takes the wakers of as many starved receivers as there are buffers for
    /// now, longest waiting first. One that doesn't come leaves its buffer to the next.
    pub fn take_starved(&self, wakers: &mut Vec<Waker>) {
        let mut starved = self.starved.borrow_mut();
        let fed = starved.wakers.len().min(self.lent.get());
        starved.first += fed as u64;
        wakers.extend(starved.wakers.drain(..fed));
    }
}

/// Received bytes, as a rule in a buffer that goes back to its pool when dropped.
///
/// A shard has few such buffers for all its streams: copy the bytes before waiting with them.
pub struct ReceiveBuf {
    bytes: Bytes,
    start: u32,
}

enum Bytes {
    Lent {
        pool: Rc<ReceivePool>,
        id: u16,
        len: u32,
    },
    /// Copied out of their buffer, since the stream did not read them within a turn.
    Copied(Box<[u8]>),
}

impl ReceiveBuf {
    /// Drops the first `count` bytes from view.
    ///
    /// # Panics
    /// If there are fewer.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len(), "advance beyond the received bytes");
        self.start += count as u32;
    }

    /// Bytes that are no longer in a lent buffer.
    pub(crate) fn copied(bytes: Box<[u8]>) -> Self {
        Self {
            bytes: Bytes::Copied(bytes),
            start: 0,
        }
    }
}

impl Deref for ReceiveBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all = match &self.bytes {
            Bytes::Copied(bytes) => bytes,
            Bytes::Lent { pool, id, len } => {
                let offset = usize::from(*id) * pool.buffer_bytes;
                // SAFETY: `filled` checked that the buffer and the length are inside the mapping,
                // which lives as long as `pool`; the kernel wrote the bytes before the completion
                // and does not touch the buffer until `give_back` lends it again.
                unsafe {
                    let at = pool.memory.at.as_ptr().add(offset);
                    std::slice::from_raw_parts(at, *len as usize)
                }
            }
        };
        &all[self.start as usize..]
    }
}

impl DerefMut for ReceiveBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        let all = match &mut self.bytes {
            Bytes::Copied(bytes) => &mut **bytes,
            Bytes::Lent { pool, id, len } => {
                let offset = usize::from(*id) * pool.buffer_bytes;
                // SAFETY: as in `deref`; and `held` lets no other `ReceiveBuf` have this buffer,
                // so that `&mut self` makes this the only reference to its bytes.
                unsafe {
                    let at = pool.memory.at.as_ptr().add(offset);
                    std::slice::from_raw_parts_mut(at, *len as usize)
                }
            }
        };
        &mut all[self.start as usize..]
    }
}

impl Drop for ReceiveBuf {
    fn drop(&mut self) {
        if let Bytes::Lent { pool, id, .. } = &self.bytes {
            pool.give_back(*id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(pool: &ReceivePool) -> u16 {
        let base = pool.entries.at.as_ptr().cast::<BufferEntry>();
        // SAFETY: the mapping holds at least one entry and nobody else writes it here.
        unsafe { (*base).tail }
    }

    #[test]
    fn all_buffers_are_lent_at_first_and_again_after_use() {
        let pool = ReceivePool::new(4, 64).unwrap();
        assert_eq!(tail(&pool), 4);
        pool.handed_out();
        // SAFETY: no kernel is involved; each id is taken once.
        let mut buf = unsafe { pool.filled(2, 10) };
        assert_eq!((buf.len(), pool.held(), pool.lent()), (10, 1, 3));
        buf.advance(4);
        assert_eq!(buf.len(), 6);
        buf.fill(7);
        assert_eq!(buf[..], [7; 6]);
        drop(buf);
        assert_eq!((tail(&pool), pool.held(), pool.lent()), (5, 0, 4));
    }

    #[test]
    fn a_pool_that_no_kernel_has_is_a_stack() {
        let pool = ReceivePool::new(2, 64).unwrap();
        let write = |byte| {
            move |buffer: &mut [u8]| {
                buffer[..3].fill(byte);
                Ok(3)
            }
        };
        let first = pool.fill(write(1)).unwrap().unwrap().unwrap();
        let second = pool.fill(write(2)).unwrap().unwrap().unwrap();
        assert!(pool.fill(|_| unreachable!("all are in use")).is_none());
        assert_eq!((&first[..], &second[..]), (&[1; 3][..], &[2; 3][..]));
        let at = first.as_ptr();
        drop(first);
        let error = pool
            .fill(|_| Err(io::ErrorKind::WouldBlock.into()))
            .unwrap();
        assert!(error.is_err());
        assert!(pool.fill(|_| Ok(0)).unwrap().unwrap().is_none());
        assert_eq!((pool.lent(), pool.held()), (1, 1));
        let again = pool.fill(write(3)).unwrap().unwrap().unwrap();
        assert_eq!((again.as_ptr(), &second[..]), (at, &[2; 3][..]));
    }

    #[test]
    #[should_panic(expected = "the kernel takes these buffers")]
    fn a_pool_that_the_kernel_has_is_filled_by_it_alone() {
        let pool = ReceivePool::new(2, 64).unwrap();
        pool.ring_addr();
        let _ = pool.fill(|_| Ok(1));
    }

    #[test]
    #[should_panic(expected = "handed out twice")]
    fn a_buffer_cannot_be_held_twice() {
        let pool = ReceivePool::new(4, 64).unwrap();
        // SAFETY: deliberately wrong, to see the check.
        let _both = unsafe { (pool.filled(1, 1), pool.filled(1, 1)) };
    }

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        assert!(ReceivePool::new(4, 0).is_err());
        // Their sum is 0 in 64 bits.
        assert!(ReceivePool::new(4, 1 << 62).is_err());
    }

    #[test]
    fn a_waiting_receiver_has_one_ticket_until_it_is_served() {
        let pool = ReceivePool::new(2, 64).unwrap();
        let (mut first, mut second) = (BufferTicket::default(), BufferTicket::default());
        assert!(!pool.is_waiting(first));
        for _ in 0..100 {
            pool.wait_for_buffer(&mut first, Waker::noop());
        }
        pool.wait_for_buffer(&mut second, Waker::noop());
        pool.handed_out();
        let mut wakers = Vec::new();
        pool.take_starved(&mut wakers);
        assert_eq!(wakers.len(), 1, "there is one buffer");
        assert!(!pool.is_waiting(first) && pool.is_waiting(second));
        pool.wait_for_buffer(&mut first, Waker::noop());
        pool.take_starved(&mut wakers);
        assert!(!pool.is_waiting(second) && pool.is_waiting(first));
    }

    #[test]
    fn a_count_that_is_no_power_of_two_is_refused() {
        assert!(ReceivePool::new(3, 64).is_err());
    }
}
