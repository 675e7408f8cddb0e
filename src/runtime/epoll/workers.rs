//! Threads for what may wait for a disk: reading a file that is not in the page cache, and opening
//! a path whose lookup is not.
//!
//! A job has a duplicate of its descriptor and owns its buffer, so a thread that hangs on a dead
//! disk keeps nothing of the shard, and the shard can end without it.

use std::collections::VecDeque;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use crate::runtime::driver::Key;
use crate::sys::cpu;
use crate::sys::eventfd::EventFd;
use crate::sys::open::{OpenHow, openat2};
use crate::sys::sync::lock;
use crate::sys::transfer::read_waiting;

/// What a worker is to do.
pub(super) enum Work {
    Read {
        file: OwnedFd,
        buf: Vec<u8>,
        offset: u64,
    },
    Open {
        dir: OwnedFd,
        path: CString,
        how: OpenHow,
    },
}

/// What became of it.
pub(super) enum Worked {
    Read(io::Result<usize>, Vec<u8>),
    Opened(io::Result<OwnedFd>),
}

/// The threads of one shard: as many as there is work for, up to a bound.
pub(super) struct Workers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    threads_max: usize,
}

struct Shared {
    jobs: Mutex<Jobs>,
    has_job: Condvar,
    done: Mutex<Vec<(Key, Worked)>>,
    /// Readable while something is done that was not taken.
    notifier: EventFd,
}

#[derive(Default)]
struct Jobs {
    queue: VecDeque<(Key, Work)>,
    /// Threads that wait for a job.
    idle: usize,
    /// Threads that do one.
    busy: usize,
    /// The shard has ended.
    closed: bool,
}

impl Workers {
    /// No thread yet, and at most `threads_max`.
    pub(crate) fn new(threads_max: usize) -> io::Result<Workers> {
        Ok(Workers {
            shared: Arc::new(Shared {
                jobs: Mutex::default(),
                has_job: Condvar::new(),
                done: Mutex::default(),
                notifier: EventFd::new()?,
            }),
            threads: Vec::new(),
            threads_max: threads_max.max(1),
        })
    }

    /// Readable when [`take_done`](Self::take_done) has something.
    pub(crate) fn notifier(&self) -> BorrowedFd<'_> {
        self.shared.notifier.as_fd()
    }

    /// Queues a job, and starts a thread if none is idle.
    ///
    /// Errors: no thread could be started, and there is none; with the job.
    pub(crate) fn start(&mut self, key: Key, work: Work) -> Result<(), (io::Error, Option<Work>)> {
        let needs_thread = {
            let mut jobs = lock(&self.shared.jobs);
            jobs.queue.push_back((key, work));
            jobs.queue.len() > jobs.idle && self.threads.len() < self.threads_max
        };
        if needs_thread {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new()
                .name("blocking".to_owned())
                .spawn(move || run(&shared));
            match thread {
                Ok(thread) => self.threads.push(thread),
                Err(error) if self.threads.is_empty() => {
                    return Err((error, self.cancel(key)));
                }
                // Those that there are do it.
                Err(_) => {}
            }
        }
        self.shared.has_job.notify_one();
        Ok(())
    }

    /// Takes a job back; `None` if a thread has it.
    pub(crate) fn cancel(&mut self, key: Key) -> Option<Work> {
        let mut jobs = lock(&self.shared.jobs);
        let at = jobs.queue.iter().position(|(queued, _)| *queued == key)?;
        jobs.queue.remove(at).map(|(_, work)| work)
    }

    /// What was done since the last time.
    pub(crate) fn take_done(&self) -> Vec<(Key, Worked)> {
        // An eventfd that can't be drained is looked at again with the next edge.
        let _ = self.shared.notifier.drain();
        std::mem::take(&mut lock(&self.shared.done))
    }
}

impl Drop for Workers {
    /// Ends the threads, and waits for them, unless one still waits for a disk.
    fn drop(&mut self) {
        let mut jobs = lock(&self.shared.jobs);
        jobs.closed = true;
        jobs.queue.clear();
        let busy = jobs.busy;
        drop(jobs);
        self.shared.has_job.notify_all();
        if busy == 0 {
            // A panic of a thread was reported by the panic hook.
            self.threads
                .drain(..)
                .for_each(|thread| drop(thread.join()));
        }
    }
}

fn run(shared: &Shared) {
    // Not on the shard's CPU alone, to which the thread that starts this one is pinned. Where that
    // fails it stays there, which only costs time.
    let _ = cpu::allowed_of_process().and_then(|cpus| cpu::pin_current_thread(&cpus));
    let mut jobs = lock(&shared.jobs);
    loop {
        if jobs.closed {
            return;
        }
        let Some((key, work)) = jobs.queue.pop_front() else {
            jobs.idle += 1;
            jobs = match shared.has_job.wait(jobs) {
                Ok(jobs) => jobs,
                Err(poisoned) => poisoned.into_inner(),
            };
            jobs.idle -= 1;
            continue;
        };
        jobs.busy += 1;
        drop(jobs);
        let worked = match work {
            Work::Read {
                file,
                mut buf,
                offset,
            } => Worked::Read(read_waiting(file.as_fd(), &mut buf, offset), buf),
            Work::Open { dir, path, how } => Worked::Opened(openat2(dir.as_fd(), &path, &how)),
        };
        // Before the result is known, so that who waits for it finds no thread busy.
        lock(&shared.jobs).busy -= 1;
        lock(&shared.done).push((key, worked));
        // An eventfd refuses only beyond 2^64 - 2 unread wake-ups.
        let _ = shared.notifier.write(1);
        jobs = lock(&shared.jobs);
    }
}
