//! What only shows inside: lookups that take a while, and memory that others hold.

use std::fs;
use std::future::poll_fn;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::pin::pin;
use std::task::Poll;

use super::*;
use crate::http::{Body, ParseLimits, parse_request};
use crate::runtime::{Runtime, sleep};
use crate::sys::cpu;
use crate::tasks::{Options, Pool};

/// Has a test ask a shard for the files of a folder.
pub(super) fn with_files<F: Future<Output = ()> + 'static>(
    root: &Path,
    options: FilesOptions,
    test: impl Fn(Shard, Files) -> F + Send + Sync + 'static,
) {
    let runtime = Runtime::new(vec![cpu::allowed().unwrap()[0]]);
    let pool = Pool::start(Options {
        workers: 1,
        ..Options::default()
    });
    let pool = pool.unwrap();
    let shared_work = Arc::new(SharedWork::new(&pool.handle()).unwrap());
    let root = root.to_owned();
    let test = move |shard: Shard| {
        let files = Files::new(&shard, &root, options.clone(), &shared_work).unwrap();
        test(shard, files)
    };
    runtime.unwrap().unpinned().run(test).unwrap();
}

fn for_an_hour() -> FilesOptions {
    FilesOptions {
        revalidate_ms: 3_600_000,
        ..FilesOptions::default()
    }
}

/// In sysfs every lookup is done by a worker of the kernel, so that a change can come meanwhile.
#[test]
fn a_lookup_that_began_before_paths_changed_does_not_count_as_one_after_that() {
    // Keeps its times.
    let open = fs::File::open("/sys/kernel/notes").unwrap();
    assert!(open.metadata().unwrap().size() > 0);
    with_files(
        Path::new("/sys/kernel"),
        for_an_hour(),
        async |shard, files| {
            sleep(Duration::from_nanos(2 * limits::FILE_SETTLED_NS)).await;
            let inner = &files.0;
            let served = inner.root.served().unwrap();
            let find = || inner.file(&served, c"notes".into());
            for is_known in [false, true] {
                if !is_known {
                    inner.cache.clear();
                }
                let mut finding = pin!(find());
                let first = poll_fn(|cx| Poll::Ready(finding.as_mut().poll(cx).is_pending())).await;
                assert!(first, "the lookup did not wait");
                inner.cache.recheck();
                let found = finding.await.unwrap();
                let is_fresh = || found.is_fresh(shard.now_ms(), inner.cache.era());
                assert!(!is_fresh(), "known before: {is_known}");
                assert!(Rc::ptr_eq(&find().await.unwrap(), &found) && is_fresh());
            }
        },
    );
    drop(open);
}

/// Whatever was cached may have changed, and a file that may be gone is let go of.
#[test]
fn after_a_loss_of_events_nothing_counts_as_current() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("small"), "a").unwrap();
    fs::write(folder.path().join("large"), [b'a'; 100_000]).unwrap();
    let path = folder.path().to_owned();
    with_files(folder.path(), for_an_hour(), move |shard, files| {
        let path = path.clone();
        async move {
            sleep(Duration::from_nanos(2 * limits::FILE_SETTLED_NS)).await;
            let inner = &files.0;
            let served = inner.root.served().unwrap();
            let small = inner.file(&served, c"small".into()).await.unwrap();
            let touched = inner.file(&served, c"large".into()).await.unwrap();
            let content::Content::Open(file) = &touched.plain.content else {
                panic!("a descriptor");
            };
            let mode = fs::Permissions::from_mode(0o640);
            fs::set_permissions(path.join("large"), mode).unwrap();
            let report = inner.changes.watches().read(&inner.changes.subscriber);
            inner.changes.apply(&report.unwrap());
            assert_eq!(file.was_written(), Some(false));
            let large = inner.file(&served, c"large".into()).await.unwrap();
            let is_fresh = || small.is_fresh(shard.now_ms(), inner.cache.era());
            assert!(is_fresh() && inner.cache.keeps(&large));
            inner.changes.apply(&[watch::Change::Everything]);
            assert!(!is_fresh() && inner.cache.keeps(&small));
            assert!(!inner.cache.keeps(&large) && !inner.cache.holds_descriptor(b"large"));
            assert_eq!(file.was_written(), None, "a write may have been lost");
        }
    });
}

const GET_ROOT: &[u8] = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// However often it is made, those who read it slowly hold it once.
#[test]
fn a_listing_that_comes_out_the_same_is_the_same_memory() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "a").unwrap();
    let options = FilesOptions {
        browse: true,
        revalidate_ms: 0,
        ..FilesOptions::default()
    };
    let path = folder.path().to_owned();
    with_files(folder.path(), options, move |_, files| {
        let path = path.clone();
        async move {
            let parsed = parse_request(GET_ROOT, &ParseLimits::default());
            let head = parsed.unwrap().unwrap().head;
            let body = async || match files.respond(&head).await.body {
                Body::Bytes(body) => body,
                _ => panic!("a listing in memory"),
            };
            let (first, second) = (body().await, body().await);
            assert_eq!(first.as_ptr(), second.as_ptr());
            fs::write(path.join("b"), "b").unwrap();
            let other = body().await;
            assert!(other != second && other.as_ptr() != second.as_ptr());
        }
    });
}

#[test]
fn a_listing_that_finds_no_memory_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "a").unwrap();
    let options = FilesOptions {
        browse: true,
        revalidate_ms: 0,
        ..FilesOptions::default()
    };
    with_files(folder.path(), options, async |_, files| {
        let parsed = parse_request(GET_ROOT, &ParseLimits::default());
        let head = parsed.unwrap().unwrap().head;
        // As by clients that read slowly.
        let bodies = &files.0.shared_work.listings.bodies;
        let body = vec![0; limits::LISTING_LARGE_BYTES];
        let held: Vec<_> = std::iter::from_fn(|| bodies.hold(body.clone())).collect();
        assert_eq!(held.len() * body.len(), limits::LISTINGS_SMALL_BYTES_MAX);
        let mut refused = files.respond(&head).await;
        assert_eq!(refused.status, Status::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers.get("retry-after"), Some(&b"1"[..]));
        refused.explain(|| None);
        let Body::Bytes(text) = refused.body else {
            panic!("a text");
        };
        let text = String::from_utf8_lossy(&text);
        assert!(text.contains("accept compression"), "{text}");
        drop(held);
        assert_eq!(files.respond(&head).await.status, Status::OK);
    });
}
