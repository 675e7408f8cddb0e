//! While a request waits for its service, or for the next piece of a streamed answer, its
//! connection stays active: output is sent, a client that leaves is noticed, and pipelined requests
//! are bounded.

use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use headwater::http::{Body, BodyError, BodyStream, Head, Prepared, Response, Status};
use headwater::limits;
use headwater::runtime::{Shard, sleep};
use headwater::server::{Request, ServerOptions, Service};
use socket2::SockRef;

use crate::support::{Client, PATIENCE, Running, an_allowed_cpu, eventually, get, serve};

/// Pieces of a body with a pause before each.
struct Pieces {
    left: usize,
    pause: Duration,
    sleeping: Option<Pin<Box<dyn Future<Output = ()>>>>,
    alive: Alive,
}

impl BodyStream for Pieces {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let _ = &self.alive;
        if self.left == 0 {
            return Poll::Ready(None);
        }
        if !self.pause.is_zero() {
            let pause = self.pause;
            let sleeping = self.sleeping.get_or_insert_with(|| Box::pin(sleep(pause)));
            std::task::ready!(sleeping.as_mut().poll(cx));
            self.sleeping = None;
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Bytes::from_static(b"piece"))))
    }

    fn len(&self) -> Option<u64> {
        None
    }
}

/// Counts the services and bodies that are at work.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

const NEVER: Duration = Duration::from_secs(3600);

/// Answers at once, late or never, as the path says.
struct Paths {
    alive: Arc<AtomicUsize>,
    prepared: Rc<Prepared>,
}

impl Service for Paths {
    fn try_call(&self, head: &Head<'_>) -> Option<Response> {
        let body = |bytes: Vec<u8>| Response::new(Status::OK).with_body(Body::Bytes(bytes.into()));
        match head.target {
            "/fast" => Some(body(b"x".to_vec())),
            // Leaves as one ready piece, so that what follows is queued behind it.
            "/big" => Some(Response {
                prepared: Some(Rc::clone(&self.prepared)),
                ..body(vec![b'm'; 8000])
            }),
            "/polls" => Some(body(Shard::current().stats().polls.to_string().into())),
            _ => None,
        }
    }

    async fn call(&self, mut request: Request<'_>) -> Response {
        let alive = Alive::new(&self.alive);
        let stream = |left: usize, pause: Duration| {
            let pieces = Pieces {
                left,
                pause,
                sleeping: None,
                alive: Alive::new(&self.alive),
            };
            Response::new(Status::OK).with_body(Body::Stream(Box::new(pieces)))
        };
        let path = request.head.target;
        match path {
            "/never" => sleep(NEVER).await,
            "/late" => sleep(Duration::from_millis(700)).await,
            "/stream-never" => return stream(1, NEVER),
            "/stream-slow" => return stream(3, Duration::from_millis(450)),
            "/stream-ready" => return stream(3, Duration::ZERO),
            "/joined" => {
                // The body is polled with a waker of the join's own.
                let mut reading = Box::pin(request.body.next());
                let mut others = futures_of(&mut reading);
                let piece = others.as_mut().await;
                return Response::new(Status::OK).with("x-bytes", piece.to_string());
            }
            _ => {}
        }
        drop(alive);
        Response::new(Status::OK)
    }
}

/// Polls `inner` only when its own waker was woken, as joins of many futures do.
fn futures_of<'f, F, T, E>(inner: &'f mut Pin<Box<F>>) -> Pin<Box<dyn Future<Output = usize> + 'f>>
where
    F: Future<Output = Result<Option<T>, E>>,
    T: AsRef<[u8]>,
{
    struct Woken(
        std::sync::atomic::AtomicBool,
        std::sync::Mutex<Option<std::task::Waker>>,
    );
    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
            if let Some(outer) = &*self.1.lock().expect("a waker") {
                outer.wake_by_ref();
            }
        }
    }
    let woken = Arc::new(Woken(true.into(), std::sync::Mutex::new(None)));
    Box::pin(std::future::poll_fn(move |cx| {
        *woken.1.lock().expect("a waker") = Some(cx.waker().clone());
        if !woken.0.swap(false, Ordering::SeqCst) {
            return Poll::Pending;
        }
        let waker = Arc::clone(&woken).into();
        let poll = inner.as_mut().poll(&mut Context::from_waker(&waker));
        poll.map(|piece| match piece {
            Ok(Some(piece)) => piece.as_ref().len(),
            _ => 0,
        })
    }))
}

fn server(options: ServerOptions) -> (Running, Arc<AtomicUsize>) {
    let alive = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&alive);
    let running = serve(vec![an_allowed_cpu()], options, move |_| Paths {
        alive: Arc::clone(&count),
        prepared: Rc::default(),
    });
    (running, alive)
}

#[test]
fn an_answer_does_not_wait_for_a_slow_one_behind_it() {
    let (server, _) = server(ServerOptions::default());
    for ahead in ["/fast", "/big"] {
        let mut client = server.client();
        client.send(get(ahead) + &get("/fast") + &get("/never"));
        assert_eq!(client.reply().status, 200, "{ahead}");
        // Without a flush it would arrive with the third, which is never.
        assert_eq!(client.reply().body, b"x", "{ahead}");
    }
}

#[test]
fn a_pipelined_burst_over_several_buffers_does_not_spin() {
    let (server, _) = server(ServerOptions::default());
    let mut control = server.client();
    let mut polls = || -> u64 { control.get("/polls").text().parse().expect("a number") };
    let mut client = server.client();
    const REQUESTS: usize = 330;
    const BURSTS: u64 = 20;
    let before = polls();
    for _ in 0..BURSTS {
        client.send(get("/fast").repeat(REQUESTS));
        for _ in 0..REQUESTS {
            assert_eq!(client.reply().status, 200);
        }
    }
    let each = (polls() - before) / BURSTS;
    // Four to ten, by how the burst is cut; a spinning one takes the turn's budget of 256.
    assert!(each < 60, "{each} polls for a burst");
}

#[test]
fn the_head_of_a_stream_does_not_wait_for_its_first_piece() {
    let (server, _) = server(ServerOptions::default());
    let mut client = server.client();
    client.send(get("/stream-never"));
    client.stream.set_nonblocking(true).expect("a mode");
    let start = Instant::now();
    let mut byte = [0];
    while client.stream.peek(&mut byte).is_err() {
        assert!(start.elapsed() < PATIENCE, "no head");
        std::thread::sleep(Duration::from_millis(1));
    }
    // The kernel lets a corked head go after 200 ms. The fastest of some is taken for a loaded host.
    let mut fastest = start.elapsed();
    for _ in 0..20 {
        let mut client = server.client();
        let start = Instant::now();
        client.send(get("/stream-never"));
        client.reply_head();
        fastest = fastest.min(start.elapsed());
    }
    assert!(fastest < Duration::from_millis(150), "{fastest:?}");
}

fn chunked(client: &mut Client) -> Vec<u8> {
    assert_eq!(client.reply_head().field("transfer-encoding"), "chunked");
    let mut body = Vec::new();
    loop {
        let mut size = client.take(1);
        while !size.ends_with(b"\r\n") {
            size.extend(client.take(1));
        }
        let size = std::str::from_utf8(&size).expect("a size").trim();
        let size = usize::from_str_radix(size, 16).expect("a size");
        body.extend(client.take(size));
        assert_eq!(client.take(2), b"\r\n");
        if size == 0 {
            return body;
        }
    }
}

#[test]
fn a_stream_arrives_whole_and_its_pauses_are_not_the_clients() {
    let options = ServerOptions {
        send_period_ms: 300,
        send_rate_bytes_per_s_min: 1_000_000,
        ..ServerOptions::default()
    };
    let (server, alive) = server(options);
    for path in ["/stream-ready", "/stream-slow"] {
        let mut client = server.client();
        client.send(get(path) + &get("/fast"));
        assert_eq!(chunked(&mut client), b"piecepiecepiece", "{path}");
        assert_eq!(client.reply().body, b"x");
    }
    eventually("the bodies are dropped", || {
        alive.load(Ordering::SeqCst) == 0
    });
}

#[test]
fn a_vanished_client_is_noticed_and_its_service_cancelled() {
    let options = ServerOptions {
        half_close_timeout_ms: 300,
        ..ServerOptions::default()
    };
    let (server, alive) = server(options);
    for path in ["/never", "/stream-never"] {
        for reset in [false, true] {
            let mut client = server.client();
            client.send(get(path));
            eventually("it is served", || alive.load(Ordering::SeqCst) > 0);
            if reset {
                let linger = Some(Duration::ZERO);
                SockRef::from(&client.stream)
                    .set_linger(linger)
                    .expect("an option");
            }
            drop(client);
            eventually("the service is cancelled", || {
                alive.load(Ordering::SeqCst) == 0
            });
            eventually("nobody is counted", || server.connections() == 0);
        }
    }
}

#[test]
fn a_client_that_has_only_ended_its_own_side_gets_its_answer() {
    let (server, _) = server(ServerOptions::default());
    for path in ["/fast", "/late", "/stream-slow"] {
        let mut client = TcpStream::connect(server.address).expect("a connection");
        client.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        client.write_all(get(path).as_bytes()).expect("sent");
        client.shutdown(Shutdown::Write).expect("an end");
        let mut answer = Vec::new();
        client
            .read_to_end(&mut answer)
            .expect("an answer and an end");
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}");
        assert!(path != "/stream-slow" || answer.ends_with(b"\r\n0\r\n\r\n"));
    }
}

#[test]
fn a_half_close_cancels_at_once_where_the_operator_wants_it() {
    let options = ServerOptions {
        half_close_timeout_ms: 0,
        ..ServerOptions::default()
    };
    let (server, alive) = server(options);
    let mut client = server.client();
    client.send(get("/never"));
    eventually("it is served", || alive.load(Ordering::SeqCst) == 1);
    client.stream.shutdown(Shutdown::Write).expect("an end");
    client.expect_closed();
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn what_is_sent_while_a_service_works_is_bounded_and_kept() {
    let (server, alive) = server(ServerOptions::default());
    let mut client = server.client();
    client.send(get("/never"));
    eventually("it is served", || alive.load(Ordering::SeqCst) == 1);
    client.stream.set_nonblocking(true).expect("a mode");
    let burst = get("/fast").repeat(1000);
    let mut sent = 0_usize;
    let mut refused = 0;
    // Until the client has found the way full for a while.
    while refused < 50 {
        match client.stream.write(burst.as_bytes()) {
            Ok(n) => (sent, refused) = (sent + n, 0),
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                refused += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(e) => panic!("{e}"),
        }
        assert!(sent < 256 << 20, "the server takes whatever it is sent");
    }
    // A client that is gone is noticed behind all that is unread.
    let linger = Some(Duration::ZERO);
    SockRef::from(&client.stream)
        .set_linger(linger)
        .expect("an option");
    drop(client);
    eventually("nobody is counted", || server.connections() == 0);

    let mut client = server.client();
    client.send(get("/late") + &get("/fast").repeat(20));
    for _ in 0..21 {
        assert_eq!(client.reply().status, 200);
    }
}

#[test]
fn a_client_that_ends_behind_what_nobody_reads_is_noticed() {
    let options = ServerOptions {
        half_close_timeout_ms: 300,
        ..ServerOptions::default()
    };
    let (server, alive) = server(options);
    for path in ["/never", "/stream-never"] {
        let mut client = server.client();
        // More than is received ahead, and less than fills the kernel's buffer: the FIN arrives.
        let ahead = get("/fast").repeat(2 * limits::READ_AHEAD_BYTES_MAX / get("/fast").len());
        client.send(get(path) + &ahead);
        eventually("it is served", || alive.load(Ordering::SeqCst) > 0);
        client.stream.shutdown(Shutdown::Write).expect("an end");
        eventually("the service is cancelled", || {
            alive.load(Ordering::SeqCst) == 0
        });
        eventually("nobody is counted", || server.connections() == 0);
    }
}

#[test]
fn a_body_is_read_by_a_future_with_a_waker_of_its_own() {
    let (server, _) = server(ServerOptions::default());
    let mut client = server.client();
    client.send(
        "POST /joined HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.reply_head().status, 100);
    client.send("hello");
    assert_eq!(client.reply().field("x-bytes"), "5");
}
