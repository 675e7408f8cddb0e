//! The process's inotify instance: its watches on folders, and the shards that its events go to.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use nix::errno::Errno;

use crate::limits;
use crate::sys::inotify::{self, Event, Inotify, WatchId};

/// What has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// The file of this name in a watched folder, or what the name leads to.
    File {
        /// The folder's watch.
        folder: WatchId,
        /// The name in the folder.
        name: Box<[u8]>,
        /// What happened to it.
        change: FileChange,
    },
    /// The path of a watched folder leads elsewhere, or the folder is gone.
    Folder(WatchId),
    /// A folder in a watched folder was renamed or removed: any path may lead elsewhere.
    Paths,
    /// Events were lost: anything may have changed.
    Everything,
}

/// What a report says of a file.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum FileChange {
    /// Its content was written to.
    Written,
    /// Its attributes were set, as by touch(1) and chmod(1).
    Attributes,
    /// The name came, went, or leads to another file.
    Name,
}

/// A watched folder. Held by the registry, and by what is cached of its files.
#[derive(Debug)]
pub struct Folder {
    pub watch: WatchId,
    device_and_inode: (u64, u64),
    is_over: AtomicBool,
    was_unused: AtomicBool,
}

impl Folder {
    /// Whether changes are reported no more.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }
}

/// Counters for metrics.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct WatchStats {
    /// Folders that are watched now.
    pub watches: u64,
    /// Events read since the start.
    pub events: u64,
    /// Times that events were lost: the kernel's queue or a shard's was full.
    pub overflows: u64,
    /// Files whose folder could not be watched when they were opened.
    pub unwatched: u64,
}

/// Where a shard's share of the changes waits for it.
#[derive(Default)]
pub struct Subscriber(Mutex<Inbox>);

#[derive(Default)]
struct Inbox {
    batches: VecDeque<Arc<[Change]>>,
    overflowed: bool,
    closed: bool,
    waker: Option<Waker>,
}

/// What a shard finds when it looks at its [`Subscriber`].
pub enum News {
    Changes(Arc<[Change]>),
    /// Nothing; the waker is kept.
    Nothing,
    /// The subscription has ended.
    Closed,
}

impl Subscriber {
    /// Takes the next changes.
    pub fn take(&self, waker: &Waker) -> News {
        let mut inbox = lock(&self.0);
        if inbox.closed {
            return News::Closed;
        }
        if std::mem::take(&mut inbox.overflowed) {
            return News::Changes(Arc::new([Change::Everything]));
        }
        if let Some(batch) = inbox.batches.pop_front() {
            return News::Changes(batch);
        }
        if !inbox.waker.as_ref().is_some_and(|old| old.will_wake(waker)) {
            inbox.waker = Some(waker.clone());
        }
        News::Nothing
    }

    /// Gives the changes to the shard; `false` if it is too far behind, and then everything
    /// counts as changed there.
    fn give(&self, changes: &Arc<[Change]>) -> bool {
        let mut inbox = lock(&self.0);
        let fits = inbox.batches.len() < limits::CHANGE_BATCHES_MAX;
        if fits {
            inbox.batches.push_back(Arc::clone(changes));
        } else {
            inbox.batches.clear();
            inbox.overflowed = true;
        }
        let waker = inbox.waker.take();
        drop(inbox);
        waker.into_iter().for_each(Waker::wake);
        fits
    }

    /// Ends the subscription.
    pub fn close(&self) {
        let mut inbox = lock(&self.0);
        inbox.closed = true;
        let waker = inbox.waker.take();
        drop(inbox);
        waker.into_iter().for_each(Waker::wake);
    }
}

#[derive(Default)]
struct Registry {
    folders: HashMap<WatchId, Arc<Folder>>,
    by_identity: HashMap<(u64, u64), WatchId>,
    /// Folders that are about to be watched.
    adding: usize,
    /// Watches that have ended.
    ended: u64,
    /// Devices of which the kernel does not report all changes, as far as that is remembered. Of
    /// the others nothing is remembered: another file system may get the number of one.
    unreported: HashSet<u64>,
    subscribers: Vec<Arc<Subscriber>>,
    last_purge_ms: u64,
}

/// What was found in the registry for a folder.
enum Begun {
    Known(Arc<Folder>),
    /// Nothing; `ended`: the watches that had ended by then.
    New {
        ended: u64,
    },
}

/// The watches of all shards.
pub struct Watches {
    instance: io::Result<Arc<Inotify>>,
    registry: Mutex<Registry>,
    watches_max: usize,
    events: AtomicU64,
    overflows: AtomicU64,
    unwatched: AtomicU64,
}

impl Watches {
    /// Makes the instance. Without one, nothing is watched.
    ///
    /// `watches_max`: folders that are watched at one time.
    pub fn new(watches_max: usize) -> Watches {
        Watches {
            instance: Inotify::new().map(Arc::new),
            registry: Mutex::default(),
            watches_max,
            events: AtomicU64::new(0),
            overflows: AtomicU64::new(0),
            unwatched: AtomicU64::new(0),
        }
    }

    /// Why there is no instance, if there is none.
    pub fn error(&self) -> Option<&io::Error> {
        self.instance.as_ref().err()
    }

    /// The instance, if there is one.
    pub fn instance(&self) -> Option<&Arc<Inotify>> {
        self.instance.as_ref().ok()
    }

    /// The counters.
    pub fn stats(&self) -> WatchStats {
        WatchStats {
            watches: lock(&self.registry).folders.len() as u64,
            events: self.events.load(Ordering::Relaxed),
            overflows: self.overflows.load(Ordering::Relaxed),
            unwatched: self.unwatched.load(Ordering::Relaxed),
        }
    }

    /// Counts a file whose folder is not watched.
    pub fn note_unwatched(&self) {
        self.unwatched.fetch_add(1, Ordering::Relaxed);
    }

    /// Has all changes from now on given to a new subscriber.
    pub fn subscribe(&self) -> Arc<Subscriber> {
        let subscriber = Arc::<Subscriber>::default();
        lock(&self.registry)
            .subscribers
            .push(Arc::clone(&subscriber));
        subscriber
    }

    /// Ends a subscription.
    pub fn unsubscribe(&self, subscriber: &Arc<Subscriber>) {
        lock(&self.registry)
            .subscribers
            .retain(|other| !Arc::ptr_eq(other, subscriber));
        subscriber.close();
    }

    /// Watches an open folder, unless it is watched already. `None` where that can't be: at a
    /// limit, on a file system that doesn't report all changes, without the right to read it.
    pub fn folder(
        &self,
        folder: BorrowedFd<'_>,
        device_and_inode: (u64, u64),
    ) -> Option<Arc<Folder>> {
        let instance = self.instance()?;
        self.add(
            device_and_inode,
            || inotify::reports_changes(folder).unwrap_or(false),
            || instance.watch(folder),
        )
    }

    /// The same; `reports` and `watch` ask the kernel, which may take its time on a network file
    /// system, and other shards must not wait for that. So they are called without the lock.
    fn add(
        &self,
        device_and_inode: (u64, u64),
        reports: impl Fn() -> bool,
        watch: impl Fn() -> io::Result<WatchId>,
    ) -> Option<Arc<Folder>> {
        let mut made = None;
        for _ in 0..limits::WATCH_ATTEMPTS {
            let ended = match self.begin(device_and_inode)? {
                Begun::Known(folder) => return Some(folder),
                Begun::New { ended } => ended,
            };
            let found = reports().then(&watch);
            let mut registry = lock(&self.registry);
            registry.adding -= 1;
            match found {
                None => {
                    registry.note_unreported(device_and_inode.0);
                    return None;
                }
                Some(Err(error)) if is_full(&error) => {
                    registry.remove_unused(self.instance()?, |_| true);
                }
                Some(Err(_)) => return None,
                // The kernel gives the same watch to all who ask for it, so this one may have
                // ended with another folder of the registry that was it.
                Some(Ok(watch)) if registry.ended != ended => made = Some(watch),
                Some(Ok(watch)) => return Some(registry.insert(watch, device_and_inode)),
            }
        }
        lock(&self.registry).give_up(self.instance()?, made?);
        None
    }

    /// Finds a folder in the registry, or a place for it.
    fn begin(&self, device_and_inode: (u64, u64)) -> Option<Begun> {
        let instance = self.instance()?;
        let mut registry = lock(&self.registry);
        if let Some(known) = registry.known(device_and_inode) {
            return Some(Begun::Known(known));
        }
        if registry.unreported.contains(&device_and_inode.0) {
            return None;
        }
        if registry.folders.len() + registry.adding >= self.watches_max {
            registry.remove_unused(instance, |_| true);
        }
        if registry.folders.len() + registry.adding >= self.watches_max {
            return None;
        }
        registry.adding += 1;
        Some(Begun::New {
            ended: registry.ended,
        })
    }

    /// Reads events and gives the changes to all subscribers but `own`, for which they are
    /// returned. `None` when there were none.
    pub fn read(&self, own: &Arc<Subscriber>) -> Option<Arc<[Change]>> {
        let mut buffer = [0; limits::CHANGE_READ_BYTES];
        let read = self.instance()?.read(&mut buffer).unwrap_or(0);
        if read == 0 {
            return None;
        }
        let mut registry = lock(&self.registry);
        let mut changes = Vec::new();
        for event in inotify::events(&buffer[..read]) {
            self.events.fetch_add(1, Ordering::Relaxed);
            if event.is_overflow() {
                self.overflows.fetch_add(1, Ordering::Relaxed);
            }
            let change = registry.change(&event);
            changes.extend(change.filter(|change| changes.last() != Some(change)));
        }
        let changes: Arc<[Change]> = changes.into();
        for subscriber in &registry.subscribers {
            if !Arc::ptr_eq(subscriber, own) && !subscriber.give(&changes) {
                self.overflows.fetch_add(1, Ordering::Relaxed);
            }
        }
        Some(changes)
    }

    /// Ends watches on folders that nothing cached is in, some time after that was so first.
    pub fn purge(&self, now_ms: u64) {
        let Some(instance) = self.instance() else {
            return;
        };
        let mut registry = lock(&self.registry);
        if now_ms.saturating_sub(registry.last_purge_ms) >= limits::FOLDER_WATCH_LINGER_MS {
            registry.last_purge_ms = now_ms;
            registry.unreported.clear();
            registry.remove_unused(instance, |folder| {
                folder.was_unused.swap(true, Ordering::Relaxed)
            });
        }
    }
}

impl Registry {
    fn known(&self, device_and_inode: (u64, u64)) -> Option<Arc<Folder>> {
        let watch = self.by_identity.get(&device_and_inode)?;
        self.folders.get(watch).map(Arc::clone)
    }

    fn note_unreported(&mut self, device: u64) {
        if self.unreported.len() >= limits::UNREPORTED_DEVICES_MAX {
            self.unreported.clear();
        }
        self.unreported.insert(device);
    }

    /// Ends a watch that was made and is of no folder that is known.
    fn give_up(&mut self, instance: &Inotify, watch: WatchId) {
        if !self.folders.contains_key(&watch) {
            // Fails if it has ended by itself.
            let _ = instance.unwatch(watch);
            self.ended += 1;
        }
    }

    /// Notes that a folder is watched, unless another shard has meanwhile.
    fn insert(&mut self, watch: WatchId, device_and_inode: (u64, u64)) -> Arc<Folder> {
        if let Some(known) = self.known(device_and_inode) {
            return known;
        }
        let folder = Arc::new(Folder {
            watch,
            device_and_inode,
            is_over: AtomicBool::new(false),
            was_unused: AtomicBool::new(false),
        });
        if let Some(old) = self.folders.insert(watch, Arc::clone(&folder)) {
            old.is_over.store(true, Ordering::Relaxed);
            self.by_identity.remove(&old.device_and_inode);
        }
        self.by_identity.insert(device_and_inode, watch);
        folder
    }

    /// What an event means, if it concerns a folder that is watched.
    fn change(&mut self, event: &Event<'_>) -> Option<Change> {
        if event.is_overflow() {
            return Some(Change::Everything);
        }
        let folder = self.folders.get(&event.watch)?;
        if event.name.is_empty() {
            if event.is_end() {
                folder.is_over.store(true, Ordering::Relaxed);
                self.by_identity.remove(&folder.device_and_inode);
                self.folders.remove(&event.watch);
                self.ended += 1;
            } else if !event.is_folder_moved() {
                return None;
            }
            return Some(Change::Folder(event.watch));
        }
        if event.is_of_folder() {
            return event.changes_names().then_some(Change::Paths);
        }
        Some(Change::File {
            folder: event.watch,
            name: event.name.into(),
            change: match event.is_write() {
                true => FileChange::Written,
                false if event.is_of_attributes() => FileChange::Attributes,
                false => FileChange::Name,
            },
        })
    }

    /// Ends the watches that are held here only, of those that `is_due`.
    fn remove_unused(&mut self, instance: &Inotify, is_due: impl Fn(&Folder) -> bool) {
        let (by_identity, ended) = (&mut self.by_identity, &mut self.ended);
        self.folders.retain(|_, folder| {
            if Arc::strong_count(folder) > 1 {
                folder.was_unused.store(false, Ordering::Relaxed);
                return true;
            }
            if !is_due(folder) {
                return true;
            }
            // One that ended by itself has its end reported, which then concerns nothing.
            let _ = instance.unwatch(folder.watch);
            by_identity.remove(&folder.device_and_inode);
            *ended += 1;
            false
        });
    }
}

fn is_full(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::ENOSPC as i32)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use super::*;

    fn watch(watches: &Watches, path: &Path) -> Option<Arc<Folder>> {
        let folder = File::open(path).unwrap();
        let found = folder.metadata().unwrap();
        watches.folder(folder.as_fd(), (found.dev(), found.ino()))
    }

    fn changes(subscriber: &Subscriber) -> Option<Arc<[Change]>> {
        match subscriber.take(Waker::noop()) {
            News::Changes(changes) => Some(changes),
            News::Nothing | News::Closed => None,
        }
    }

    #[test]
    fn watches_are_bounded_and_unused_ones_give_way() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["a", "b", "c"].map(|name| dir.path().join(name));
        paths.iter().for_each(|path| fs::create_dir(path).unwrap());
        let watches = Watches::new(2);
        let held = [&paths[0], &paths[1]].map(|path| watch(&watches, path).unwrap());
        assert!(Arc::ptr_eq(&held[0], &watch(&watches, &paths[0]).unwrap()));
        assert!(watch(&watches, &paths[2]).is_none());
        assert_eq!(watches.stats().watches, 2);
        drop(held);
        assert!(watch(&watches, &paths[2]).is_some());
        assert_eq!(watches.stats().watches, 1);
        watches.purge(limits::FOLDER_WATCH_LINGER_MS);
        assert_eq!(watches.stats().watches, 1, "ended at once");
        watches.purge(2 * limits::FOLDER_WATCH_LINGER_MS);
        assert_eq!(watches.stats().watches, 0);
    }

    #[test]
    fn the_reader_passes_changes_on_to_all_others() {
        let dir = tempfile::tempdir().unwrap();
        let watches = Watches::new(10);
        let (own, other) = (watches.subscribe(), watches.subscribe());
        let folder = watch(&watches, dir.path()).unwrap();
        assert!(watches.read(&own).is_none());
        fs::write(dir.path().join("a"), "1").unwrap();
        let read = watches.read(&own).unwrap();
        let write = Change::File {
            folder: folder.watch,
            name: (*b"a").into(),
            change: FileChange::Written,
        };
        assert!(read.contains(&write));
        assert_eq!(changes(&other).as_ref(), Some(&read));
        assert_eq!((changes(&other), changes(&own)), (None, None));
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::rename(dir.path().join("sub"), dir.path().join("else")).unwrap();
        assert!(watches.read(&own).unwrap().contains(&Change::Paths));
        drop(dir);
        assert!(
            watches
                .read(&own)
                .unwrap()
                .contains(&Change::Folder(folder.watch))
        );
        assert!(folder.is_over());
    }

    #[test]
    fn a_shard_that_is_far_behind_takes_everything_as_changed() {
        let dir = tempfile::tempdir().unwrap();
        let watches = Watches::new(10);
        let (own, behind) = (watches.subscribe(), watches.subscribe());
        let _folder = watch(&watches, dir.path()).unwrap();
        for _ in 0..=limits::CHANGE_BATCHES_MAX {
            fs::write(dir.path().join("a"), "1").unwrap();
            assert!(watches.read(&own).is_some());
        }
        assert_eq!(changes(&behind).as_deref(), Some(&[Change::Everything][..]));
        assert_eq!(changes(&behind), None);
        assert_eq!(watches.stats().overflows, 1);
        watches.unsubscribe(&behind);
        assert!(matches!(behind.take(Waker::noop()), News::Closed));
    }

    #[test]
    fn an_overflow_of_the_kernels_queue_is_a_change_of_everything() {
        let dir = tempfile::tempdir().unwrap();
        let watches = Watches::new(10);
        let own = watches.subscribe();
        let _folder = watch(&watches, dir.path()).unwrap();
        let queue = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
        let queue: usize = queue.trim().parse().unwrap();
        // Each is two events at least, of which none is like the one before.
        for _ in 0..queue / 2 + 1 {
            File::create(dir.path().join("a")).unwrap();
            fs::remove_file(dir.path().join("a")).unwrap();
        }
        let batches = std::iter::from_fn(|| watches.read(&own));
        let overflows = batches.filter(|batch| batch.contains(&Change::Everything));
        assert_eq!(overflows.count(), 1);
        assert_eq!(watches.stats().overflows, 1);
    }

    #[test]
    fn the_kernel_is_asked_without_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let watches = Watches::new(1);
        let folder = File::open(dir.path()).unwrap();
        let instance = watches.instance().unwrap();
        let is_free = || watches.registry.try_lock().is_ok();
        let added = watches.add(
            (1, 2),
            || {
                is_free()
                    && watches
                        .add((1, 3), || panic!("one too many"), || panic!())
                        .is_none()
            },
            || {
                assert!(is_free());
                instance.watch(folder.as_fd())
            },
        );
        assert!(added.is_some());
        assert_eq!(lock(&watches.registry).adding, 0);
    }

    /// Another shard has the same folder watched, and that watch ends before it is noted here.
    #[test]
    fn a_watch_that_ends_while_it_is_made_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let watches = Watches::new(10);
        let own = watches.subscribe();
        let folder = File::open(dir.path()).unwrap();
        let instance = watches.instance().unwrap();
        let rounds = std::cell::Cell::new(0);
        let made = watches.add(
            (1, 2),
            || true,
            || {
                let watch = instance.watch(folder.as_fd());
                rounds.set(rounds.get() + 1);
                if rounds.get() == 1 {
                    drop(watches.add((1, 2), || true, || instance.watch(folder.as_fd())));
                    watches.purge(limits::FOLDER_WATCH_LINGER_MS);
                    watches.purge(2 * limits::FOLDER_WATCH_LINGER_MS);
                    assert_eq!(watches.stats().watches, 0);
                    watches.read(&own);
                }
                watch
            },
        );
        let made = made.unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        let changes = watches.read(&own).unwrap();
        assert!(!changes.is_empty() && !made.is_over());
        // One that ends all the time is none.
        let never = watches.add(
            (1, 3),
            || true,
            || {
                lock(&watches.registry).ended += 1;
                instance.watch(folder.as_fd())
            },
        );
        assert!(never.is_none());
    }

    #[test]
    fn what_is_remembered_of_devices_is_bounded_and_forgotten() {
        let watches = Watches::new(10);
        let asked = std::cell::Cell::new(0);
        let ask = |device: u64, reports: bool| {
            let asks = || {
                asked.set(asked.get() + 1);
                reports
            };
            watches.add((device, 1), asks, || Err(Errno::EACCES.into()))
        };
        for device in 0..3 * limits::UNREPORTED_DEVICES_MAX as u64 {
            assert!(ask(device, false).is_none() && ask(device, false).is_none());
            assert_eq!(asked.get(), device + 1, "asked twice");
            let known = lock(&watches.registry).unreported.len();
            assert!(known <= limits::UNREPORTED_DEVICES_MAX);
        }
        // Another file system may have the number by now.
        watches.purge(limits::FOLDER_WATCH_LINGER_MS);
        let before = asked.get();
        for _ in 0..2 {
            ask(3 * limits::UNREPORTED_DEVICES_MAX as u64 - 1, true);
        }
        assert_eq!(asked.get(), before + 2);
    }

    #[test]
    fn what_is_not_local_is_not_watched() {
        let watches = Watches::new(10);
        assert!(watch(&watches, Path::new("/proc/self")).is_none());
    }
}
