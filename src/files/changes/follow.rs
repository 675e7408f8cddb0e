//! The tasks of a shard that follow the changes of its files.

use std::future::poll_fn;
use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::Changes;
use crate::files::lookup;
use crate::files::request_error::RequestError;
use crate::files::root::{Look, RootWatch};
use crate::files::served_root::ServedRoot;
use crate::files::watch::{FileChange, FileWatch, News, Subscriber};
use crate::limits;
use crate::runtime::driver::{Handle, Interest};
use crate::runtime::{Shard, poll_ready, sleep, yield_now};
use crate::sys::file;
use crate::sys::open::open_how_path;

/// Applies changes as they are reported, until the subscription ends.
pub(crate) async fn follow(shard: Shard, changes: Weak<Changes>) {
    let Some((watches, subscriber)) = changes.upgrade().map(|changes| {
        (
            Arc::clone(&changes.watches),
            Arc::clone(&changes.subscriber),
        )
    }) else {
        return;
    };
    let Some(instance) = watches.instance() else {
        return;
    };
    let instance: Handle = Rc::new(Arc::clone(instance));
    loop {
        let readable = poll_ready(&shard, Rc::clone(&instance), Interest::Readable);
        let Some(ended) = apply_until_readable(&shard, &changes, &subscriber, readable).await
        else {
            return;
        };
        if ended.is_err() {
            sleep(Duration::from_millis(limits::MAILBOX_RETRY_MS)).await;
        }
        let Some(batch) = watches.read(&subscriber) else {
            continue;
        };
        let Some(changes) = changes.upgrade() else {
            return;
        };
        changes.apply(&batch);
        drop(changes);
        // Many events take many turns, in which the shard goes on serving.
        yield_now().await;
    }
}

/// Applies what other shards have read, until the instance has more; `None` at the end of the
/// subscription.
async fn apply_until_readable(
    shard: &Shard,
    changes: &Weak<Changes>,
    subscriber: &Subscriber,
    readable: impl Future<Output = io::Result<()>>,
) -> Option<io::Result<()>> {
    let mut readable = pin!(readable);
    poll_fn(|cx| {
        match subscriber.take(cx.waker()) {
            News::Changes(batch) => match changes.upgrade() {
                // One batch a turn: many of them must not hold up the shard.
                Some(changes) => {
                    changes.apply(&batch);
                    shard.wake_next_turn(cx.waker());
                }
                None => return Poll::Ready(None),
            },
            News::Closed => return Poll::Ready(None),
            News::Nothing => {}
        }
        readable.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Looks for files that are gone and were not reported as such, every `period_ms`, so that the
/// cache lets go of their descriptors also when nobody asks for them. Looks at the root's path
/// and at files whose folders are not watched.
pub(crate) async fn sweep(
    shard: Shard,
    changes: Weak<Changes>,
    root: Weak<RootWatch>,
    period_ms: u64,
) {
    loop {
        sleep(Duration::from_millis(period_ms)).await;
        let (Some(changes), Some(root)) = (changes.upgrade(), root.upgrade()) else {
            return;
        };
        let now_ms = shard.now_ms();
        if root.is_due(now_ms) && root.look(&shard, now_ms).await == Look::Changed {
            changes.cache.clear();
        }
        if let Some(served) = root.served() {
            sweep_once(&shard, &changes, &served).await;
        }
        changes.watches().purge(now_ms);
    }
}

async fn sweep_once(shard: &Shard, changes: &Changes, served: &ServedRoot) {
    let mut after = None;
    loop {
        let unwatched = changes.files.unwatched(after, limits::SWEEP_FILES_PER_TURN);
        let Some(last) = unwatched.last() else {
            return;
        };
        after = Some(last.id());
        for watch in &unwatched {
            let path = watch.path().to_bytes();
            if changes.cache.holds_descriptor(path) && is_gone(shard, served, watch).await {
                watch.note_change(FileChange::Name);
                changes.cache.forget(path);
            }
        }
        drop(unwatched);
        yield_now().await;
    }
}

/// Whether the path no longer leads to the file. What can't be said now counts as no.
async fn is_gone(shard: &Shard, served: &ServedRoot, watch: &FileWatch) -> bool {
    let found = lookup::open(shard, served, watch.path(), open_how_path()).await;
    match found.and_then(|fd| file::stamp(fd.as_fd())) {
        Ok((_, stamp)) => watch.is_other(&stamp),
        Err(error) => RequestError::from(error) == RequestError::NotFound,
    }
}
