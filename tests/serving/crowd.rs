//! Very many clients, too few descriptors, and what remains after they have left.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use headwater::sys::rlimit;
use socket2::SockRef;
use tempfile::TempDir;

use crate::support::{
    Binary, Client, an_allowed_cpu, cpu_time, descriptor_numbers, descriptors, eventually, get,
    memory_bytes,
};

fn folder() -> TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("a.txt"), "hello\n").expect("a file");
    dir
}

/// As many connections as the limit on descriptors leaves room for, up to 10,000.
fn as_many_as_possible() -> usize {
    let (_, limit) = rlimit::raise_open_files().expect("a limit");
    let room = usize::try_from(limit).expect("a limit") - 1000;
    if room < 10_000 {
        eprintln!("RLIMIT_NOFILE is {limit}: {room} connections instead of 10000");
    }
    room.min(10_000)
}

#[test]
fn ten_thousand_connections_are_served_and_leave_nothing() {
    let dir = folder();
    let mut server = Binary::serve(dir.path(), &[]);
    let count = as_many_as_possible();
    // One file cached, buffers in use, threads up: what a server at work holds.
    assert_eq!(server.client().get("/a.txt").text(), "hello\n");
    let address = server.address();
    let mut memory = 0;
    for _ in 0..2 {
        let mut clients: Vec<Client> = (0..count).map(|_| Client::connect(address)).collect();
        for client in &mut clients {
            client.send(get("/a.txt"));
        }
        for client in &mut clients {
            assert_eq!(client.reply().text(), "hello\n");
        }
        assert!(descriptors(server.pid) >= count);
        assert_eq!(Client::connect(address).get("/a.txt").status, 200);
        drop(clients);
        eventually("they are gone", || only_listeners(server.pid));
        // What the first crowd made it allocate serves the second one.
        let now = memory_bytes(server.pid);
        assert!(
            memory == 0 || now <= memory + memory / 10 + (1 << 20),
            "{memory} to {now}"
        );
        memory = now;
    }
    assert_eq!(Client::connect(address).get("/a.txt").status, 200);
}

#[test]
fn bad_clients_leave_nothing_behind() {
    let dir = folder();
    fs::write(dir.path().join("large.bin"), vec![7; 4 << 20]).expect("a file");
    let quick = [
        "--header-timeout=200ms",
        "--idle-timeout=200ms",
        "--send-period=200ms",
    ];
    let mut server = Binary::serve(dir.path(), &quick);
    let address = server.address();
    let round = || {
        for i in 0..400 {
            let mut stream = TcpStream::connect(address).expect("a connection");
            let sent = match i % 8 {
                0 => stream.write_all(b"GET /a.txt HTTP/1.1\r\nho"),
                1 => stream.write_all(&[0x16, 3, 1, 2, 0, 1]),
                2 => {
                    stream.write_all(format!("GET /{} HTTP/1.1\r\n", "a".repeat(12_000)).as_bytes())
                }
                3 => stream.write_all(get("/large.bin").as_bytes()),
                4 => stream.write_all(get("/a.txt").repeat(300).as_bytes()),
                5 => stream.write_all(
                    b"POST /a.txt HTTP/1.1\r\nhost: x\r\ncontent-length: 900000\r\n\r\nx",
                ),
                6 => stream.write_all(
                    b"GET /a.txt HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz",
                ),
                _ => Ok(()),
            };
            sent.expect("sent");
            if i % 3 == 0 {
                let socket = SockRef::from(&stream);
                socket.set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
            }
            if i % 50 == 0 {
                assert_eq!(Client::connect(address).get("/a.txt").status, 200);
            }
        }
    };
    // What a crowd made it allocate is kept for the next one.
    for _ in 0..4 {
        round();
    }
    assert_eq!(server.client().get("/large.bin").status, 200);
    eventually("they are gone", || only_listeners(server.pid));
    let (before, memory) = (descriptors(server.pid), memory_bytes(server.pid));
    for _ in 0..6 {
        round();
    }
    eventually("they are gone", || descriptors(server.pid) <= before);
    let after = memory_bytes(server.pid);
    assert!(after <= memory + (4 << 20), "{memory} to {after}");
    assert_eq!(Client::connect(address).get("/a.txt").text(), "hello\n");
}

/// Whether the process has no sockets but those that listen: one for each CPU, and the admin's.
/// (Its other descriptors come when they are first needed, so their count says less.)
fn only_listeners(pid: u32) -> bool {
    let cpus = headwater::sys::cpu::allowed().expect("the affinity").len();
    let sockets = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |fds| {
        fds.flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count()
    });
    sockets <= 1 + cpus
}

/// Connections that a server has descriptors for.
const SPARE: u64 = 4;

/// The first client of a server, and the server's descriptors while that one is there.
fn first_client(server: &mut Binary) -> (Client, Vec<u64>) {
    let mut client = server.client();
    assert_eq!(client.get("/a.txt").status, 200);
    let numbers = descriptor_numbers(server.pid);
    (client, numbers)
}

#[test]
fn without_descriptors_accepting_pauses_and_recovers() {
    let dir = folder();
    // A file that was just written is not remembered.
    let modified = fs::metadata(dir.path().join("a.txt")).and_then(|m| m.modified());
    let modified = modified.expect("a time");
    eventually("the file is settled", || {
        modified.elapsed().is_ok_and(|age| age.as_millis() > 100)
    });
    let cores = format!("--cores={}", an_allowed_cpu());
    let args = [cores.as_str(), "--keepalive-adaptive=false"];
    // What a server has open depends on what it inherits from the process that runs the tests, so
    // one without a limit shows where it must be for the next one. (It can't be lowered later: an
    // accept keeps to the limit that it was submitted under.)
    let mut model = Binary::serve(dir.path(), &args);
    let (_client, numbers) = first_client(&mut model);
    let used_below = |limit: u64| numbers.iter().filter(|&&n| n < limit).count() as u64;
    let limit = (0..).find(|&limit| limit == used_below(limit) + SPARE);
    let limit = limit.expect("a limit");
    assert!(
        limit / 2 > SPARE + 1,
        "the limit on connections comes first"
    );
    let mut server = Binary::serve_within(limit, dir.path(), &args);
    let address = server.address();
    let (mut first, numbers) = first_client(&mut server);
    let own = numbers.len() - 1;
    // The kernel completes these, whether they are accepted or not.
    let mut waiting: Vec<Client> = (0..60).map(|_| Client::connect(address)).collect();
    for client in &mut waiting {
        client.send(get("/a.txt"));
    }
    assert_eq!(first.get("/a.txt").status, 200);
    eventually("none is left", || {
        let open = descriptor_numbers(server.pid);
        open.iter().filter(|&&n| n < limit).count() as u64 == limit
    });
    assert!(descriptors(server.pid) < own + waiting.len());
    let (start, used) = (Instant::now(), cpu_time(server.pid));
    while start.elapsed() < Duration::from_millis(1500) {
        assert_eq!(first.get("/a.txt").status, 200);
        std::thread::sleep(Duration::from_millis(50));
    }
    let used = cpu_time(server.pid) - used;
    assert!(
        used < start.elapsed() / 4,
        "{used:?} of CPU in {:?}",
        start.elapsed()
    );
    assert!(!server.has_ended());
    drop(waiting);
    eventually("it accepts again", || {
        let mut client = Client::connect(address);
        client.send(get("/a.txt"));
        client.reply().status == 200
    });
    drop(first);
    eventually("all is given back", || descriptors(server.pid) <= own);
}

#[test]
fn cached_files_leave_descriptors_for_others() {
    let dir = folder();
    for i in 0..200 {
        fs::write(dir.path().join(format!("{i}.bin")), vec![7; 70_000]).expect("a file");
    }
    let mut server = Binary::serve_within(100, dir.path(), &[]);
    let mut client = server.client();
    for i in 0..200 {
        assert_eq!(client.get(&format!("/{i}.bin")).status, 200, "file {i}");
    }
    assert_eq!(server.client().get("/a.txt").status, 200);
}
