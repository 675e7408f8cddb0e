//! How connections end: with a regular close where the client did nothing wrong, with a reset where
//! it was too slow.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use headwater::http::{Body, Head, Response, Status};
use headwater::server::{Request, ServerOptions, Service};
use headwater::sys::tcp_table;
use socket2::SockRef;

use crate::support::{Client, PATIENCE, Running, Site, an_allowed_cpu, eventually, get, serve};

const ROUNDS: usize = 50;

/// Sends `requests` piece by piece, and then reads to the end of the connection.
///
/// # Errors
/// A reset, in place of the end or before it.
fn exchange(address: SocketAddr, requests: &[&str]) -> Result<String, String> {
    let mut client = TcpStream::connect(address).map_err(|e| format!("connecting: {e}"))?;
    client.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    for request in requests {
        // The answer may be there, and the end of the connection, before it is asked for.
        std::thread::sleep(Duration::from_millis(1));
        let sent = client.write_all(request.as_bytes());
        sent.map_err(|e| format!("sending: {e}"))?;
    }
    std::thread::sleep(Duration::from_millis(1));
    let mut answer = String::new();
    let read = client.read_to_string(&mut answer);
    read.map_err(|e| format!("reading: {e} after {answer:?}"))?;
    Ok(answer)
}

struct Hello;

impl Service for Hello {
    fn try_call(&self, _: &Head<'_>) -> Option<Response> {
        Some(Response::new(Status::OK).with_body(Body::Bytes("x".into())))
    }

    async fn call(&self, _: Request<'_>) -> Response {
        Response::new(Status::NOT_FOUND)
    }
}

/// A server of one connection, and the client that has it.
fn full_server() -> (Running, Client) {
    let options = ServerOptions {
        connections_max: 1,
        adaptive_idle: false,
        ..ServerOptions::default()
    };
    let server = serve(vec![an_allowed_cpu()], options, |_| Hello);
    let mut first = server.client();
    assert_eq!(first.get("/").status, 200);
    (server, first)
}

#[test]
fn a_client_beyond_the_limit_reads_why() {
    let (server, first) = full_server();
    for _ in 0..ROUNDS {
        let answer = exchange(server.address, &[&get("/")]).expect("an answer and an end");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.ends_with("try again later\n"), "{answer}");
    }
    drop(first);
    eventually("there is room again", || {
        exchange(server.address, &["GET / HTTP/1.0\r\n\r\n"])
            .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
    });
}

#[test]
fn more_are_refused_at_once_than_are_closed_politely() {
    let (server, _first) = full_server();
    // None of them closes.
    let crowd: Vec<_> = (0..3 * headwater::limits::REFUSED_LINGERING_MAX)
        .map(|_| TcpStream::connect(server.address).expect("a connection"))
        .collect();
    for mut client in crowd {
        client.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        let mut answer = String::new();
        client
            .read_to_string(&mut answer)
            .expect("an answer and an end");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
    eventually("its descriptors are free", || {
        exchange(server.address, &[&get("/")]).is_ok_and(|answer| answer.contains(" 503 "))
    });
}

#[test]
fn what_comes_after_the_last_answer_does_not_destroy_it() {
    let options = ServerOptions {
        requests_per_connection_max: 1,
        ..ServerOptions::default()
    };
    let server = serve(vec![an_allowed_cpu()], options, |_| Hello);
    // The second would be answered by a reset, if it met a closed socket, and the third could not
    // be sent then.
    let requests = [&*get("/"), &*get("/"), &*get("/")];
    for _ in 0..ROUNDS {
        let answer = exchange(server.address, &requests).expect("an answer and an end");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

#[test]
fn a_refused_request_reads_why_although_more_of_it_comes() {
    let options = ServerOptions {
        body_bytes_max: 1000,
        ..ServerOptions::default()
    };
    let server = serve(vec![an_allowed_cpu()], options, |_| Hello);
    let more = "y".repeat(2000);
    let long_head = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(20_000));
    let large = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 900000\r\n\r\n";
    for (status, request) in [
        ("400", "GET / HTTP/1.1\r\n\r\n"),
        ("431", &long_head),
        ("413", large),
    ] {
        for _ in 0..ROUNDS {
            let answer = exchange(server.address, &[request, &more, &more]);
            let answer = answer.expect("an answer and an end");
            assert_eq!(answer.get(9..12), Some(status), "{answer}");
        }
    }
}

/// Sockets of `port` that no process holds and that still have bytes to send.
fn orphans(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the table");
    let all = tcp_table::parse(&table);
    let orphan = |e: &&tcp_table::Entry| e.local.port() == port && e.state.name() == "fin-wait-1";
    all.iter().filter(orphan).count()
}

/// Takes a first part of `path` and then, in `until`, nothing.
fn stalled(site: &Site, request: &str) -> TcpStream {
    let domain = socket2::Domain::for_address(site.address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a size");
    socket.connect(&site.address.into()).expect("a connection");
    let mut client = TcpStream::from(socket);
    client.write_all(request.as_bytes()).expect("sent");
    client
}

#[test]
fn a_client_that_is_let_go_for_slowness_leaves_no_buffer_behind() {
    let large = vec![7; 8 * 1024 * 1024];
    // The last is small enough to be in the socket's buffer as a whole.
    let site = Site::with(
        &[
            ("large.bin", &large),
            ("fits.bin", &large[..400_000]),
            ("small.bin", &large[..60_000]),
        ],
        |config| {
            config.timeouts.send_period_ms = 300;
            config.timeouts.send_rate_bytes_per_s = 1_000_000;
            config.timeouts.idle_ms = 300;
        },
    );
    let keep = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    let close = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    for request in [
        keep("/large.bin"),
        close("/large.bin"),
        keep("/fits.bin"),
        close("/fits.bin"),
        keep("/small.bin").repeat(6),
        keep("/small.bin").repeat(5) + &close("/small.bin"),
    ] {
        let clients: Vec<_> = (0..4).map(|_| stalled(&site, &request)).collect();
        eventually("they are served", || site.connections() > 0);
        eventually("they are let go", || site.connections() == 0);
        eventually("no buffer is left", || orphans(site.address.port()) == 0);
        for client in &clients {
            // Small pieces that were acknowledged before may be read; then it is a reset.
            let mut client = client;
            let error = std::io::copy(&mut client, &mut std::io::sink()).expect_err("a reset");
            assert_eq!(
                error.kind(),
                std::io::ErrorKind::ConnectionReset,
                "{request}"
            );
        }
    }
}

/// The state of the server's end of this client's connection.
fn state_of(client: &TcpStream) -> Option<&'static str> {
    let peer = client.local_addr().expect("an address");
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the table");
    let all = tcp_table::parse(&table);
    let entry = all.iter().find(|entry| entry.peer == peer);
    entry.map(|entry| entry.state.name())
}

#[test]
fn a_reset_behind_the_clients_end_is_noticed_during_the_close() {
    let site = Site::with(&[("fits.bin", &vec![7; 400_000][..])], |config| {
        config.timeouts.send_period_ms = 600_000;
    });
    let client = stalled(
        &site,
        "GET /fits.bin HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    );
    // The server has given all to its socket and ended its side; now the client does the same.
    eventually("it is closing", || state_of(&client) == Some("fin-wait-1"));
    client.shutdown(std::net::Shutdown::Write).expect("an end");
    eventually("both have ended", || state_of(&client) == Some("closing"));
    // The shard has seen that by the time it answers another.
    assert_eq!(site.client().get("/none").status, 404);
    SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .expect("an option");
    drop(client);
    eventually("nobody is counted", || site.connections() == 0);
}

#[test]
fn a_slow_reader_that_keeps_the_least_rate_gets_all_before_the_close() {
    let site = Site::with(&[("fits.bin", &vec![7; 400_000][..])], |config| {
        config.timeouts.send_period_ms = 1000;
        config.timeouts.send_rate_bytes_per_s = 1000;
    });
    let mut client = stalled(
        &site,
        "GET /fits.bin HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    );
    SockRef::from(&client)
        .set_read_timeout(Some(PATIENCE))
        .expect("a time-out");
    let mut piece = [0; 16 * 1024];
    let mut bytes = 0;
    loop {
        match client.read(&mut piece).expect("more") {
            0 => break,
            n => bytes += n,
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(bytes > 400_000, "{bytes}");
    drop(client);
    eventually("nobody is counted", || site.connections() == 0);
}
