//! Limits on connections and on the requests of one connection.

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::support::{Client, PATIENCE, Site, eventually, get};

#[track_caller]
fn turned_away(mut client: Client) {
    let reply = client.reply();
    assert_eq!(reply.status, 503);
    assert_eq!(reply.field("connection"), "close");
    assert_eq!(reply.field("retry-after"), "1");
    client.expect_closed();
}

#[test]
fn connections_beyond_the_limit_are_turned_away() {
    let site = Site::with(&[("a.txt", b"hello\n")], |config| {
        config.limits.connections = 3;
        config.timeouts.header_ms = 60_000;
    });
    let mut inside: Vec<Client> = (0..3).map(|_| busy(site.client())).collect();
    turned_away(site.client());
    for client in &mut inside {
        assert_eq!(client.ask("host: x\r\n\r\n").status, 200);
    }
    let mut inside: Vec<Client> = inside.into_iter().map(busy).collect();
    turned_away(site.client());
    inside.pop();
    eventually("a seat is free", || site.connections() == 2);
    assert_eq!(site.client().get("/a.txt").status, 200);
}

/// A client in the middle of a request, who can't be closed for the sake of another.
fn busy(mut client: Client) -> Client {
    // In one piece: a client that has the answer knows that the half behind it was looked at.
    let reply = client.ask(get("/a.txt") + "GET /a.txt HTTP/1.1\r\n");
    assert_eq!(reply.status, 200);
    client
}

#[test]
fn a_client_that_has_asked_already_hears_why_it_is_turned_away() {
    let site = Site::with(&[("a.txt", b"hello\n")], |config| {
        config.limits.connections = 1;
        config.timeouts.header_ms = 60_000;
    });
    let mut inside = busy(site.client());
    for _ in 0..50 {
        let mut client = site.client();
        // The server may be done with us before this is out.
        let sent = client.stream.write_all(get("/a.txt").as_bytes());
        assert!(sent.is_ok() || sent.is_err_and(|e| e.kind() != ErrorKind::TimedOut));
        assert_eq!(client.reply().status, 503);
    }
    assert_eq!(inside.ask("host: x\r\n\r\n").status, 200);
}

/// A connection from another address of the loopback.
fn connect_from(from: [u8; 4], to: SocketAddr) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from = SocketAddr::from((from, 0));
    socket
        .bind(&from.into())
        .expect("an address of the loopback");
    socket.connect(&to.into()).expect("a connection");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    Client::on(stream)
}

#[test]
fn each_address_has_its_own_limit() {
    let site = Site::with(&[("a.txt", b"hello\n")], |config| {
        config.limits.connections_per_address = 2;
    });
    let mut inside: Vec<Client> = (0..2)
        .map(|_| connect_from([127, 0, 0, 2], site.address))
        .collect();
    for client in &mut inside {
        assert_eq!(client.get("/a.txt").status, 200);
    }
    turned_away(connect_from([127, 0, 0, 2], site.address));
    let mut other = connect_from([127, 0, 0, 3], site.address);
    assert_eq!(other.get("/a.txt").status, 200);
    inside.pop();
    eventually("a seat is free", || site.connections() == 2);
    let mut again = connect_from([127, 0, 0, 2], site.address);
    assert_eq!(again.get("/a.txt").status, 200);
}

#[test]
fn a_connection_has_so_many_requests() {
    let site = Site::with(&[("a.txt", b"hello\n")], |config| {
        config.limits.requests_per_connection = 3;
    });
    let mut client = site.client();
    for left in [2, 1, 0] {
        let reply = client.get("/a.txt");
        assert_eq!(reply.status, 200);
        let last = if left == 0 { "close" } else { "" };
        assert_eq!(reply.field("connection"), last);
    }
    client.expect_closed();
}

#[test]
fn what_was_pipelined_behind_the_last_request_does_not_cost_its_answer() {
    let site = Site::with(
        &[("a.txt", b"hello\n"), ("large.bin", &[7; 3_000_000])],
        |config| {
            config.limits.requests_per_connection = 3;
        },
    );
    for last in ["/a.txt", "/large.bin"] {
        let mut client = site.client();
        // More than the server takes in one go: some is unread when it closes, and
        // a close then would be a reset, which may overtake the answers.
        let burst = get("/a.txt").repeat(2) + &get(last) + &get("/a.txt").repeat(6_000);
        client.stream.set_nonblocking(true).expect("a mode");
        let _ = client.stream.write(burst.as_bytes());
        client.stream.set_nonblocking(false).expect("a mode");
        for _ in 0..2 {
            assert_eq!(client.reply().text(), "hello\n");
        }
        let reply = client.reply();
        assert_eq!(reply.field("connection"), "close");
        let mut byte = [0];
        let end = client.stream.peek(&mut byte);
        assert!(matches!(end, Ok(0)), "{last}: {end:?}");
        client.expect_closed();
    }
}

#[test]
fn a_body_beyond_the_bound_is_refused() {
    let site = Site::with(&[("a.txt", b"hello\n")], |config| {
        config.limits.body_bytes = 1000;
    });
    let post =
        |length: u64| format!("GET /a.txt HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    let mut client = site.client();
    let reply = client.ask(post(u64::MAX));
    assert_eq!((reply.status, reply.field("connection")), (413, "close"));
    client.expect_closed();
    // The answer arrives although the client is still sending.
    let mut client = site.client();
    let body = vec![b'x'; 1_000_000];
    client.send(post(1_000_000));
    client.stream.set_nonblocking(true).expect("a mode");
    let _ = client.stream.write(&body);
    client.stream.set_nonblocking(false).expect("a mode");
    assert_eq!(client.reply().status, 413);
    client.expect_closed();
    // A short one is thrown away, and the connection goes on.
    let mut client = site.client();
    client.send(post(1001));
    client.send(&body[..1001]);
    assert_eq!(client.reply().status, 413);
    assert_eq!(client.get("/a.txt").status, 200);
    // At the bound it is read, and the connection goes on.
    let mut client = site.client();
    client.send(post(1000));
    client.send(&body[..1000]);
    assert_eq!(client.reply().status, 200);
    assert_eq!(client.get("/a.txt").status, 200);
}

#[test]
fn bodies_may_be_forbidden() {
    let site = Site::with(&[("a.txt", b"hello\n")], |config| {
        config.limits.body_bytes = 0;
    });
    let mut client = site.client();
    let empty = "GET /a.txt HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(client.ask(empty).status, 200);
    let one = "GET /a.txt HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx";
    assert_eq!(client.ask(one).status, 413);
    assert_eq!(client.ask(empty).status, 200);
}
