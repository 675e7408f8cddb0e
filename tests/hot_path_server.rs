//! A running server allocates nothing for a request for a small cached file,
//! from the receive to the send.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use counting::Counting;
use headwater::config::Config;
use headwater::net::address::ListenAddr;
use headwater::server::file_service::{self, Listen, Placement};

#[path = "support/counting.rs"]
mod counting;

/// Allocations of every thread but the client's.
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_CLIENT: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if !IS_CLIENT.try_with(Cell::get).unwrap_or(true) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting(count);

const REQUESTS: usize = 2000;
const PLAIN: &[u8] = b"GET /small.html HTTP/1.1\r\nHost: a\r\nUser-Agent: test\r\n\r\n";
const CODED: &[u8] =
    b"GET /small.html HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\r\n";

/// One request and its whole answer, of `answer_bytes` once that is known.
fn exchange(client: &mut TcpStream, request: &[u8], answer: &mut [u8], answer_bytes: usize) {
    client.write_all(request).unwrap();
    client.read_exact(&mut answer[..answer_bytes]).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

fn config(root: &std::path::Path) -> Config {
    let mut config = Config::default();
    config.server.root = root.to_owned();
    // Revalidation opens the path again: not the hot path, and not in its way here.
    config.cache.revalidate_ms = 3_600_000;
    config.timeouts.work_ms = 60_000;
    // A line of the access log allocates nothing, either.
    config.access_log.file = Some("/dev/null".to_owned());
    config
}

#[test]
fn requests_for_small_cached_files_allocate_nothing() {
    IS_CLIENT.set(true);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("small.html"), [b'x'; 1024]).unwrap();
    let config = config(folder.path());
    let place = Placement {
        listen: vec![Listen {
            address: ListenAddr::Tcp("127.0.0.1:0".parse().unwrap()),
            keepalive: config.keepalive_policy(),
        }],
        admin: None,
        cpus: headwater::sys::cpu::allowed().unwrap()[..1].to_vec(),
        task_cpus: headwater::sys::cpu::allowed().unwrap(),
    };
    let (server, banner) = file_service::start(&config, place, |_| {}).unwrap();
    let ListenAddr::Tcp(address) = banner.addresses[0] else {
        panic!("a TCP address")
    };
    for request in [PLAIN, CODED] {
        let mut client = TcpStream::connect(address).unwrap();
        client.set_nodelay(true).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut answer = vec![0; 64 * 1024];
        // A file that was just written is not cached yet, nor is it compressed: ask until the
        // answers cost nothing.
        let mut quiet = 0;
        for _ in 0..100_000 {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            client.write_all(request).unwrap();
            let answer_bytes = client.read(&mut answer).unwrap();
            assert!(answer[..answer_bytes].starts_with(b"HTTP/1.1 200 OK\r\n"));
            quiet = match ALLOCATIONS.load(Ordering::Relaxed) == before {
                true => quiet + 1,
                false => 0,
            };
            if quiet == 100 {
                break;
            }
        }
        assert_eq!(quiet, 100, "every answer allocates");
        client.write_all(request).unwrap();
        let answer_bytes = client.read(&mut answer).unwrap();
        let head = String::from_utf8_lossy(&answer[..answer_bytes]);
        assert_eq!(
            head.contains("content-encoding: br"),
            request == CODED,
            "{head}"
        );

        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..REQUESTS {
            exchange(&mut client, request, &mut answer, answer_bytes);
        }
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        // A piece with a new Date is made once a second, in a handful of allocations.
        assert!(
            allocations < 20,
            "{allocations} allocations in {REQUESTS} requests"
        );
    }

    server.stopper().drain();
    server.join().unwrap();
}
