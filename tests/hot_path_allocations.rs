//! The answer to a request for a small cached file allocates nothing.

use std::cell::Cell;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use counting::Counting;
use headwater::files::{Files, FilesOptions, SharedWork};
use headwater::http::{ParseLimits, parse_request};
use headwater::limits;
use headwater::runtime::{Runtime, sleep};
use headwater::sys::cpu;
use headwater::tasks::{Options, Pool};

#[path = "support/counting.rs"]
mod counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends may allocate after its counter is gone.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

#[global_allocator]
static ALLOCATOR: Counting = Counting(count);

/// Allocations of `work` on this thread.
fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

const REQUESTS: usize = 1000;

#[test]
fn hits_allocate_nothing() {
    let cpu = cpu::allowed().unwrap()[0];
    let runtime = Runtime::new(vec![cpu]).unwrap().unpinned();
    let ended = runtime.run(async |shard| {
        assert!(allocations(|| drop(std::hint::black_box(Box::new(1)))) > 0);
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        for name in [
            "index.html",
            "a/index.html",
            "a/large",
            "a/beside.html",
            "a/beside.html.gz",
        ] {
            let size = if name == "a/large" { 1 << 20 } else { 1024 };
            fs::write(folder.path().join(name), vec![b'x'; size]).unwrap();
        }
        sleep(Duration::from_nanos(2 * limits::FILE_SETTLED_NS)).await;
        // 0: with the look at the path that a request pays once in a while.
        for revalidate_ms in [3_600_000, 0] {
            let options = FilesOptions {
                revalidate_ms,
                work_wait_ms: 60_000,
                ..FilesOptions::default()
            };
            let pool = Pool::start(Options::default()).unwrap();
            let shared_work = Arc::new(SharedWork::new(&pool.handle()).unwrap());
            let files = Files::new(&shard, folder.path(), options, &shared_work).unwrap();
            for (method, path, accepted) in [
                ("GET", "/a/index.html", "identity"),
                ("HEAD", "/a/index.html?x", "identity"),
                ("GET", "/", "identity"),
                ("GET", "/a/", "identity"),
                ("GET", "/a/large", "gzip, br"),
                ("GET", "/a/index.html", "gzip, deflate, br"),
                ("HEAD", "/a/index.html", "gzip"),
                ("GET", "/", "zstd, *;q=0.1"),
                ("GET", "/a/beside.html", "gzip, br"),
            ] {
                let head = format!(
                    "{method} {path} HTTP/1.1\r\nhost: a\r\naccept: */*\r\nif-none-match: \"x\"\r\n\
                     accept-encoding: {accepted}\r\n\r\n"
                );
                let parsed = parse_request(head.as_bytes(), &ParseLimits::default())
                    .unwrap()
                    .unwrap();
                files.respond(&parsed.head).await;
                let response = files.try_respond(&parsed.head).expect("a cached answer");
                let lines = response.headers.as_bytes();
                let is_coded = lines
                    .windows(16)
                    .any(|window| window == b"content-encoding");
                assert_eq!(is_coded, accepted != "identity" && path != "/a/large");
                assert!(response.prepared.is_some() || path == "/a/large" || method == "HEAD");
                let counted = allocations(|| {
                    for _ in 0..REQUESTS {
                        let response = files.try_respond(&parsed.head);
                        assert!(response.is_some_and(|found| found.status.code() == 200));
                    }
                });
                assert_eq!(
                    counted, 0,
                    "{method} {path} in {accepted}, looked at after {revalidate_ms} ms"
                );
            }
        }
    });
    ended.unwrap();
}
