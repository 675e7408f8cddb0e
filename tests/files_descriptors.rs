//! Files in a process that runs out of descriptors. The test lowers the limit of its process, so it
//! is alone in it.

use std::fs;
use std::sync::Arc;

use headwater::files::{Files, FilesOptions, SharedWork};
use headwater::http::{ParseLimits, Response, Status, parse_request};
use headwater::runtime::{Runtime, Shard};
use headwater::sys::cpu;
use headwater::tasks::{Options, Pool};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

async fn get(files: &Files, path: &str) -> Response {
    let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
    let parsed = parse_request(head.as_bytes(), &ParseLimits::default())
        .unwrap()
        .unwrap();
    match files.try_respond(&parsed.head) {
        Some(response) => response,
        None => files.respond(&parsed.head).await,
    }
}

async fn descriptors_run_out(shard: Shard) {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..20 {
        fs::write(folder.path().join(format!("f{number}")), "hello").unwrap();
    }
    let options = FilesOptions {
        cache_body_bytes: 0,
        revalidate_ms: 3_600_000,
        ..FilesOptions::default()
    };
    let pool = Pool::start(Options::default()).unwrap();
    let shared_work = Arc::new(SharedWork::new(&pool.handle()).unwrap());
    let files = Files::new(&shard, folder.path(), options, &shared_work).unwrap();
    for number in 0..10 {
        assert_eq!(get(&files, &format!("/f{number}")).await.status, Status::OK);
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = fs::File::open("/dev/null") {
        taken.push(file);
    }
    // The cache gives up what is not in use, one descriptor at a time.
    let mut in_use = Vec::new();
    for number in 10..20 {
        let response = get(&files, &format!("/f{number}")).await;
        assert_eq!(response.status, Status::OK, "{number}");
        in_use.push(response);
    }
    // With nothing left to give up, a client is asked to come again.
    let response = get(&files, "/f0").await;
    assert_eq!(response.status, Status::SERVICE_UNAVAILABLE);
    let lines = std::str::from_utf8(response.headers.as_bytes()).unwrap();
    assert!(lines.contains("retry-after: 1\r\n"), "{lines}");
    assert_eq!(get(&files, "/f19").await.status, Status::OK);
    in_use.clear();
    assert_eq!(get(&files, "/f0").await.status, Status::OK);
    drop(taken);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
}

#[test]
fn descriptors_run_out_and_come_back() {
    let cpu = cpu::allowed().unwrap()[0];
    let runtime = Runtime::new(vec![cpu]).unwrap().unpinned();
    runtime.run(descriptors_run_out).unwrap();
}
