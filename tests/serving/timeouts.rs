//! Clients that send too slowly, and clients that receive too slowly.

use std::io::Write;
use std::time::{Duration, Instant};

use headwater::http::{Head, Response, Status};
use headwater::server::{Request, ServerOptions, Service};
use socket2::SockRef;

use crate::support::{Client, PATIENCE, Site, an_allowed_cpu, eventually, get, is_reset, serve};

const HEADER: Duration = Duration::from_millis(400);
const IDLE: Duration = Duration::from_millis(300);
const BODY: Duration = Duration::from_millis(350);
/// A shard's clock stands still while it works, and a time-out is counted from there.
const EARLY: Duration = Duration::from_millis(50);

fn site() -> Site {
    Site::with(&[("a.txt", b"hello\n")], |config| {
        config.timeouts.header_ms = 400;
        config.timeouts.idle_ms = 300;
    })
}

#[track_caller]
fn late(client: &mut Client) {
    let reply = client.reply();
    assert_eq!(reply.status, 408);
    assert_eq!(reply.field("connection"), "close");
    client.expect_closed();
}

#[test]
fn half_a_request_is_waited_for_so_long() {
    let site = site();
    let start = Instant::now();
    let mut fresh = site.client();
    fresh.send("GET /a.txt HTTP/1.1\r\nho");
    let mut used = site.client();
    assert_eq!(used.get("/a.txt").status, 200);
    used.send("GET /a.txt HTTP/1.1\r\nhost: x\r\n");
    late(&mut fresh);
    assert!(start.elapsed() + EARLY >= HEADER);
    late(&mut used);
    assert!(start.elapsed() < 10 * HEADER);
}

#[test]
fn a_drip_does_not_push_the_time_back() {
    let site = site();
    let start = Instant::now();
    let mut client = site.client();
    client.send("GET /a.txt HTTP/1.1\r\nhost: x\r\nx: ");
    // A byte comes every 20 ms, and others are served meanwhile.
    let pause = Some(Duration::from_millis(20));
    client.stream.set_read_timeout(pause).expect("a time-out");
    while client.stream.peek(&mut [0]).is_err() {
        assert!(start.elapsed() < 10 * HEADER, "its time is pushed back");
        client.send("y");
        assert_eq!(site.client().get("/a.txt").status, 200);
    }
    late(&mut client);
    assert!(start.elapsed() + EARLY >= HEADER);
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let site = site();
    let start = Instant::now();
    let mut client = site.client();
    assert_eq!(client.get("/a.txt").status, 200);
    client.expect_closed();
    assert!(start.elapsed() + EARLY >= IDLE);
    // One that never asked anything is given the time of a head.
    let start = Instant::now();
    site.client().expect_closed();
    assert!(start.elapsed() + EARLY >= HEADER);
}

/// Reads the whole body, or says why it can't.
struct Reader;

impl Service for Reader {
    async fn call(&self, mut request: Request<'_>) -> Response {
        let mut bytes = 0;
        loop {
            match request.body.next().await {
                Ok(Some(piece)) => bytes += piece.len(),
                Ok(None) => break,
                Err(e) => return e.response(),
            }
        }
        Response::new(Status::OK).with("x-bytes", bytes.to_string())
    }
}

#[test]
fn a_body_is_waited_for_so_long() {
    let options = ServerOptions {
        body_timeout_ms: 350,
        ..ServerOptions::default()
    };
    let server = serve(vec![an_allowed_cpu()], options, |_| Reader);
    for framing in ["content-length: 10", "transfer-encoding: chunked"] {
        let start = Instant::now();
        let mut client = server.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n5\r\n"
        ));
        late(&mut client);
        assert!(start.elapsed() + EARLY >= BODY);
    }
    let mut client = server.client();
    let reply = client.ask("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc");
    assert_eq!(reply.field("x-bytes"), "3");
}

#[test]
fn a_body_that_drips_is_given_up() {
    let options = |rate| ServerOptions {
        body_timeout_ms: 350,
        body_rate_bytes_per_s_min: rate,
        ..ServerOptions::default()
    };
    for framing in ["content-length: 1000000", "transfer-encoding: chunked"] {
        let server = serve(vec![an_allowed_cpu()], options(1000), |_| Reader);
        let start = Instant::now();
        let mut client = server.client();
        client.send(format!("POST / HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n"));
        // Each piece is well within the time-out.
        let pause = Some(Duration::from_millis(20));
        client.stream.set_read_timeout(pause).expect("a time-out");
        while client.stream.peek(&mut [0]).is_err() {
            assert!(
                start.elapsed() < 10 * BODY,
                "it may drip for ever: {framing}"
            );
            client.send("1\r\ny\r\n");
        }
        client
            .stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time-out");
        late(&mut client);
        assert!(start.elapsed() + EARLY >= BODY);
    }
    // Where any rate will do, it takes as long as it takes.
    let server = serve(vec![an_allowed_cpu()], options(0), |_| Reader);
    let mut client = server.client();
    client.send("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 40\r\n\r\n");
    for _ in 0..40 {
        std::thread::sleep(Duration::from_millis(20));
        client.send("y");
    }
    assert_eq!(client.reply().field("x-bytes"), "40");
}

fn small_window(client: &Client) {
    SockRef::from(&client.stream)
        .set_recv_buffer_size(4096)
        .expect("a buffer size");
}

fn slow_readers() -> Site {
    let large = vec![7; 8 * 1024 * 1024];
    Site::with(
        &[
            ("large.bin", &large),
            ("a.txt", b"hello\n"),
            ("middle.bin", &large[..60_000]),
        ],
        |config| {
            config.timeouts.send_period_ms = 300;
            config.timeouts.send_rate_bytes_per_s = 1_000_000;
            config.timeouts.idle_ms = 60_000;
            config.socket.send_buffer_bytes = 64 * 1024;
        },
    )
}

#[test]
fn a_client_that_never_reads_is_given_up() {
    let site = slow_readers();
    // One file, pipelined bodies out of memory, and a burst of small answers.
    let mut clients = Vec::new();
    for requests in [
        get("/large.bin"),
        get("/middle.bin").repeat(100),
        get("/a.txt").repeat(20_000),
    ] {
        let mut client = site.client();
        small_window(&client);
        client.stream.set_nonblocking(true).expect("a mode");
        // As much as the server lets in.
        let _ = client.stream.write(requests.as_bytes());
        clients.push(client);
    }
    eventually("all three are being served", || site.connections() >= 3);
    assert_eq!(site.client().get("/a.txt").status, 200);
    eventually("they are given up", || site.connections() == 0);
    for mut client in clients {
        client.stream.set_nonblocking(false).expect("a mode");
        client.rest();
    }
}

#[test]
fn a_client_that_reads_fast_enough_is_not_given_up() {
    let site = slow_readers();
    let mut client = site.client();
    client.send(get("/large.bin"));
    client.reply_head();
    let mut left = 8 * 1024 * 1024;
    // About 5 MB/s over several periods.
    while left > 0 {
        let piece = left.min(256 * 1024);
        client.take(piece);
        left -= piece;
        std::thread::sleep(Duration::from_millis(40));
    }
    assert_eq!(client.get("/a.txt").status, 200);
}

#[test]
fn a_client_that_resets_in_the_middle_of_a_file_harms_nobody() {
    let site = slow_readers();
    for _ in 0..50 {
        let mut client = site.client();
        client.send(get("/large.bin"));
        client.take(10_000);
        let socket = SockRef::from(&client.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
        drop(client);
        assert_eq!(site.client().get("/a.txt").status, 200);
    }
    eventually("nobody is left", || site.connections() == 0);
}

#[test]
fn a_client_that_only_closes_its_own_side_still_gets_its_answers() {
    let site = slow_readers();
    let mut client = site.client();
    client.send(get("/a.txt") + &get("/large.bin") + &get("/a.txt"));
    client
        .stream
        .shutdown(std::net::Shutdown::Write)
        .expect("a half close");
    assert_eq!(client.reply().text(), "hello\n");
    assert_eq!(client.reply().body.len(), 8 * 1024 * 1024);
    assert_eq!(client.reply().text(), "hello\n");
    client.expect_closed();
}

/// Answers late, so that the client can be gone by then.
struct Late;

impl Service for Late {
    fn try_call(&self, _: &Head<'_>) -> Option<Response> {
        None
    }

    async fn call(&self, _: Request<'_>) -> Response {
        headwater::runtime::sleep(Duration::from_millis(50)).await;
        Response::new(Status::OK)
    }
}

#[test]
fn a_client_that_is_gone_before_its_answer_harms_nobody() {
    let server = serve(vec![an_allowed_cpu()], ServerOptions::default(), |_| Late);
    for _ in 0..20 {
        let mut client = server.client();
        client.send(get("/"));
        let socket = SockRef::from(&client.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("SO_LINGER");
    }
    let mut client = server.client();
    assert_eq!(client.get("/").status, 200);
    drop(client);
    eventually("nobody is left", || server.connections() == 0);
    // A write to a connection that was reset must not end the process either.
    let mut client = server.client();
    client.send(get("/"));
    client
        .stream
        .shutdown(std::net::Shutdown::Both)
        .expect("closed");
    let error = client.stream.write_all(b"x").expect_err("closed");
    assert!(is_reset(&error));
}
