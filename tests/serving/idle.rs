//! Idle connections are closed when descriptors run short, the longest idle first.

use std::io::Write;
use std::process::Command;

use crate::support::{Binary, Client, Site, an_allowed_cpu, eventually};

const HELLO: &[(&str, &[u8])] = &[("a.txt", b"hello\n")];
const MAX: usize = 40;
const HOUR_MS: u64 = 3_600_000;

fn few_seats(max: usize, adaptive: bool) -> Site {
    Site::with(HELLO, |config| {
        config.limits.connections = max;
        config.keepalive.adaptive = adaptive;
        config.timeouts.idle_ms = HOUR_MS;
    })
}

/// Clients that were answered one after another, so that the first is idle for longest.
fn idle_clients(site: &Site, count: usize) -> Vec<Client> {
    let clients = (0..count).map(|_| {
        let mut client = site.client();
        assert_eq!(client.get("/a.txt").status, 200);
        client
    });
    clients.collect()
}

/// Whether the server has closed it, without waiting.
fn is_closed(client: &Client) -> bool {
    client.stream.set_nonblocking(true).expect("a mode");
    let end = client.stream.peek(&mut [0]);
    client.stream.set_nonblocking(false).expect("a mode");
    matches!(end, Ok(0)) || end.is_err_and(|e| e.kind() != std::io::ErrorKind::WouldBlock)
}

#[test]
fn a_newcomer_beyond_the_limit_takes_the_place_of_the_longest_idle() {
    let site = few_seats(3, true);
    let mut clients = idle_clients(&site, 3);
    // Asked again, the first is now the last in the order.
    assert_eq!(clients[0].get("/a.txt").status, 200);
    let mut newcomer = site.client();
    assert_eq!(newcomer.get("/a.txt").status, 200);
    clients[1].expect_closed();
    for index in [2, 0] {
        assert!(!is_closed(&clients[index]), "{index}");
    }
    assert_eq!(newcomer.get("/a.txt").status, 200);
}

#[test]
fn where_that_is_switched_off_a_newcomer_is_turned_away() {
    let site = few_seats(3, false);
    let mut clients = idle_clients(&site, 3);
    assert_eq!(site.client().reply().status, 503);
    for client in &mut clients {
        assert_eq!(client.get("/a.txt").status, 200);
    }
}

#[test]
fn the_idle_time_shrinks_while_seats_are_few_and_recovers() {
    let site = few_seats(MAX, true);
    assert_eq!(site.idle_timeout_now_ms(), HOUR_MS);
    let mut clients = idle_clients(&site, MAX);
    // No new client comes, and yet the longest idle go, until what is left of the time is longer
    // than anybody has been idle.
    eventually("some are closed", || site.connections() <= MAX * 37 / 40);
    eventually("the time is short", || site.idle_timeout_now_ms() < HOUR_MS);
    let gone = usize::try_from(site.idle_closed_early()).expect("a count");
    assert!((3..=MAX / 5).contains(&gone), "{gone} closed");
    let (closed, open) = clients.split_at_mut(gone);
    for client in closed {
        client.expect_closed();
    }
    for client in &mut *open {
        assert_eq!(client.get("/a.txt").status, 200);
    }
    clients.truncate(MAX / 2);
    eventually("the time is what it was", || {
        site.idle_timeout_now_ms() == HOUR_MS
    });
    assert_eq!(clients[gone].get("/a.txt").status, 200);
    drop(clients);
    assert_eq!(site.client().get("/a.txt").status, 200);
}

#[test]
fn without_descriptors_the_longest_idle_makes_room_for_a_newcomer() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("a.txt");
    std::fs::write(&file, "hello\n").expect("a file");
    // Half of 24 descriptors are for connections, but seven are taken that the server knows
    // nothing of, and those of its own are more than the other five.
    let mut command = Command::new("sh");
    let taken = "exec 3</dev/null 4<&3 5<&3 6<&3 7<&3 8<&3 9<&3";
    let cpu = an_allowed_cpu().to_string();
    command
        .args([
            "-c",
            &format!("ulimit -n 24 && {taken} && exec \"$@\""),
            "sh",
        ])
        .args([env!("CARGO_BIN_EXE_headwater"), "serve", "--cores", &cpu])
        .args(["--listen", "127.0.0.1:0", "--admin", "off"])
        .args(["--idle-timeout=1h", "--revalidate=1h"])
        .arg(dir.path());
    let mut server = Binary::spawn(command);
    assert!(server.line("limits").starts_with("12 connections"));
    // A file that was just written is not remembered, and to open it takes a descriptor.
    let modified = std::fs::metadata(&file).and_then(|m| m.modified());
    let modified = modified.expect("a time");
    eventually("the file is settled", || {
        modified.elapsed().is_ok_and(|age| age.as_millis() > 100)
    });
    let mut first = server.client();
    assert_eq!(first.get("/a.txt").text(), "hello\n");
    let mut clients = vec![first];
    while !is_closed(&clients[0]) {
        let mut newcomer = server.client();
        assert_eq!(
            newcomer.get("/a.txt").text(),
            "hello\n",
            "{}",
            clients.len()
        );
        clients.push(newcomer);
    }
    let count = clients.len();
    assert!(
        (4..=12).contains(&count),
        "{count} is the limit on connections"
    );
    let last = clients.last_mut().expect("a newcomer");
    assert_eq!(last.get("/a.txt").text(), "hello\n");
}

#[test]
fn a_request_that_crosses_the_closing_of_its_connection_is_answered_whole_or_not_at_all() {
    let site = few_seats(1, true);
    let request = "GET /a.txt HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    for _ in 0..50 {
        let mut old = site.client();
        // Turned away while the one before is still there.
        if old.get("/a.txt").status != 200 {
            continue;
        }
        let mut new = site.client();
        let _ = old.stream.write_all(request.as_bytes());
        assert!([200, 503].contains(&new.ask(request).status));
        let rest = old.rest();
        assert!(rest.is_empty() || rest.ends_with(b"hello\n"), "{rest:?}");
        eventually("both are gone", || site.connections() == 0);
    }
}
