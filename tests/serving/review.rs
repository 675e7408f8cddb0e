//! Faults that hostile and slow clients once found in the server.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use headwater::http::{Body, Head, Prepared, Response, Status};
use headwater::net::address::ListenAddr;
use headwater::net::options::ListenOptions;
use headwater::server::{Request, Server, ServerOptions, Service};
use socket2::SockRef;

use crate::support::{Client, PATIENCE, Site, an_allowed_cpu, eventually, get, serve};

/// Small beside what is sent, and large beside a segment of the loopback: with less, TCP
/// itself stalls for longer than these tests wait.
fn small_window(client: &Client) {
    SockRef::from(&client.stream)
        .set_recv_buffer_size(128 * 1024)
        .expect("a buffer size");
}

/// Waits until the first bytes of an answer are here.
#[track_caller]
fn answer_began(client: &Client) {
    assert_eq!(client.stream.peek(&mut [0]).expect("an answer"), 1);
}

#[test]
fn a_slow_client_is_not_given_up_while_it_empties_the_sockets_buffer() {
    let large = vec![7; 16 * 1024 * 1024];
    let site = Site::with(&[("large.bin", &large)], |config| {
        config.timeouts.send_period_ms = 1000;
        config.timeouts.send_rate_bytes_per_s = 10_000;
    });
    let mut client = site.client();
    small_window(&client);
    client.send(get("/large.bin"));
    client.reply_head();
    let mut left = large.len();
    let start = Instant::now();
    // Far more than the least rate, but far too little for a socket with megabytes in
    // its buffer to become writable in each period.
    while start.elapsed() < Duration::from_millis(3500) {
        client.take(20_000);
        left -= 20_000;
        sleep(Duration::from_millis(100));
    }
    client.take(left);
    assert_eq!(client.get("/large.bin").status, 200);
}

#[test]
fn a_client_that_takes_less_than_the_least_rate_is_given_up() {
    let large = vec![7; 16 * 1024 * 1024];
    let site = Site::with(&[("large.bin", &large)], |config| {
        config.timeouts.send_period_ms = 300;
        config.timeouts.send_rate_bytes_per_s = 1_000_000;
    });
    let mut client = site.client();
    small_window(&client);
    client.send(get("/large.bin"));
    client.reply_head();
    let start = Instant::now();
    while site.connections() > 0 {
        assert!(start.elapsed() < PATIENCE, "not given up");
        client.take(2000);
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_idle_time_begins_when_the_answer_is_out() {
    let body = vec![7; 1_000_000];
    let site = Site::with(&[("body.bin", &body)], |config| {
        config.cache.body_bytes = body.len();
        config.timeouts.idle_ms = 500;
        config.socket.send_buffer_bytes = 64 * 1024;
    });
    // What has only just been written is not remembered, and what is not remembered is
    // sent in another way.
    sleep(Duration::from_millis(50));
    assert_eq!(site.client().get("/body.bin").status, 200);
    let mut client = site.client();
    small_window(&client);
    client.send(get("/body.bin"));
    answer_began(&client);
    sleep(Duration::from_millis(1000));
    assert_eq!(client.reply().body.len(), body.len());
    assert_eq!(client.get("/body.bin").status, 200);
}

#[test]
fn a_file_edited_before_its_first_byte_is_out_is_not_sent_under_its_old_tag() {
    let body = vec![b'a'; 1_000_000];
    let site = Site::with(
        &[("memory.bin", &body), ("file.bin", &body.repeat(2))],
        |config| {
            config.cache.body_bytes = body.len();
            config.socket.send_buffer_bytes = 64 * 1024;
        },
    );
    // What has only just been written is not remembered.
    sleep(Duration::from_millis(50));
    let mut client = site.client();
    assert_eq!(client.get("/memory.bin").body.len(), body.len());
    assert_eq!(client.get("/file.bin").body.len(), 2 * body.len());
    let mut client = site.client();
    small_window(&client);
    // The second answer is made at once, and then waits for room behind the first.
    client.send(get("/memory.bin") + &get("/file.bin"));
    answer_began(&client);
    sleep(Duration::from_millis(50));
    let file = OpenOptions::new()
        .write(true)
        .open(site.root().join("file.bin"))
        .expect("the file");
    file.write_all_at(&vec![b'b'; body.len()], 0)
        .expect("an edit");
    assert_eq!(client.reply().body, body);
    assert_eq!(client.reply_head().status, 200);
    assert!(!client.rest().contains(&b'b'), "new bytes under an old tag");
}

/// Answers GET at once out of memory, and reads the body of anything else.
struct Echo(Rc<Prepared>);

const MIDDLE: usize = 1_000_000;

impl Service for Echo {
    fn try_call(&self, _: &Head<'_>) -> Option<Response> {
        Some(Response {
            prepared: Some(Rc::clone(&self.0)),
            ..Response::new(Status::OK).with_body(Body::Bytes(vec![b'm'; MIDDLE].into()))
        })
    }

    async fn call(&self, mut request: Request<'_>) -> Response {
        let mut text = Vec::new();
        loop {
            match request.body.next().await {
                Ok(Some(piece)) => text.extend_from_slice(&piece),
                Ok(None) => break,
                Err(e) => return e.response(),
            }
        }
        Response::new(Status::OK).with_body(Body::Bytes(text.into()))
    }
}

#[test]
fn continue_waits_for_the_answers_before_it() {
    let listen: [ListenAddr; 1] = ["127.0.0.1:0".parse().expect("an address")];
    let small = ListenOptions {
        send_buffer_bytes: Some(64 * 1024),
        ..ListenOptions::default()
    };
    let cpus = vec![an_allowed_cpu()];
    let server = Server::bind_with(cpus, &listen, &small, ServerOptions::default());
    let server = server.expect("a listener");
    let ListenAddr::Tcp(address) = server.addresses()[0] else {
        panic!("not TCP");
    };
    let server = server.start(|_| Ok(Echo(Rc::default()))).expect("a server");
    let mut client = Client::connect(address);
    small_window(&client);
    let post = "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    client.send(get("/") + post);
    answer_began(&client);
    sleep(Duration::from_millis(100));
    assert_eq!(client.reply().body, vec![b'm'; MIDDLE]);
    assert_eq!(client.reply().status, 100);
    client.send("hello");
    assert_eq!(client.reply().text(), "hello");
    assert_eq!(client.get("/").body.len(), MIDDLE);
    server.stopper().now();
    server.join().expect("a good end");
}

/// Needs 300 ms before it looks at a body.
struct Slow;

impl Service for Slow {
    async fn call(&self, mut request: Request<'_>) -> Response {
        headwater::runtime::sleep(Duration::from_millis(300)).await;
        loop {
            match request.body.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Response::new(Status::OK),
                Err(e) => return e.response(),
            }
        }
    }
}

#[test]
fn the_services_own_time_is_not_taken_from_the_clients() {
    let options = ServerOptions {
        body_timeout_ms: 200,
        ..ServerOptions::default()
    };
    let server = serve(vec![an_allowed_cpu()], options, |_| Slow);
    let mut client = server.client();
    let post = "POST / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    assert_eq!(client.ask(post).status, 100);
    client.send("hello");
    assert_eq!(client.reply().status, 200);
}

#[test]
fn an_answer_made_while_the_server_stops_says_that_it_is_the_last() {
    let listen: [ListenAddr; 1] = ["127.0.0.1:0".parse().expect("an address")];
    let server = Server::bind(vec![an_allowed_cpu()], &listen, ServerOptions::default());
    let server = server.expect("a listener");
    let ListenAddr::Tcp(address) = server.addresses()[0] else {
        panic!("not TCP");
    };
    let server = server.start(|_| Ok(Slow)).expect("a server");
    let mut client = Client::connect(address);
    client.send(get("/"));
    eventually("the request is here", || server.connections() == 1);
    sleep(Duration::from_millis(100));
    server.stopper().drain();
    let reply = client.reply();
    assert_eq!((reply.status, reply.field("connection")), (200, "close"));
    client.expect_closed();
    server.join().expect("a good end");
}

#[test]
fn an_unwanted_body_cannot_be_dripped_for_ever() {
    let site = Site::with(&[("a.txt", b"hello\n")], |config| {
        config.timeouts.body_ms = 300;
    });
    let mut client = site.client();
    let reply = client.ask("POST /a.txt HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n");
    assert_eq!(reply.status, 405);
    let start = Instant::now();
    client.stream.set_nonblocking(true).expect("a mode");
    loop {
        match client.stream.peek(&mut [0]) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            end => break assert!(matches!(end, Ok(0) | Err(_)), "{end:?}"),
        }
        assert!(start.elapsed() < PATIENCE / 2, "still read");
        let _ = client.stream.write(b"x");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_head_that_drips_in_is_still_understood_and_refused_in_time() {
    let site = Site::new(&[("a.txt", b"hello\n")]);
    let mut client = site.client();
    for byte in get("/a.txt").bytes() {
        client.send([byte]);
    }
    assert_eq!(client.reply().text(), "hello\n");
    // A line that never ends, in pieces that end no line either.
    client.send("GET /a.txt HTTP/1.1\r\nhost: x\r\nx: ");
    for _ in 0..200 {
        let _ = client.stream.write(&[b'y'; 100]);
    }
    assert_eq!(client.reply().status, 431);
    // A target beyond its bound, although no line has ended.
    let mut client = site.client();
    client.send("GET /");
    for _ in 0..170 {
        let _ = client.stream.write(&[b'y'; 100]);
    }
    assert_eq!(client.reply().status, 414);
}

#[test]
fn an_unchanged_listing_still_varies() {
    let site = Site::with(&[("a.txt", b"hello\n")], |config| {
        config.server.browse = true;
    });
    let mut client = site.client();
    let reply = client.ask("GET / HTTP/1.1\r\nhost: x\r\nif-none-match: *\r\n\r\n");
    let vary = "accept, accept-encoding";
    assert_eq!((reply.status, reply.field("vary")), (304, vary));
}
