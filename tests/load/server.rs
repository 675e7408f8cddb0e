//! Small servers on separate threads, which behave as a test needs.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// What follows an answer.
pub(crate) enum Then {
    /// The next request.
    Next,
    Close,
    Reset,
}

/// [`Then::Next`], unless the client has closed.
pub(crate) fn next_if(sent: std::io::Result<()>) -> Then {
    match sent {
        Ok(()) => Then::Next,
        Err(_) => Then::Reset,
    }
}

/// A listener on loopback that ends when it is dropped.
pub(crate) struct Listener {
    pub address: SocketAddr,
    over: Arc<AtomicBool>,
}

impl Listener {
    /// Calls `serve` on a new thread for each connection.
    pub(crate) fn new(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let over = Arc::new(AtomicBool::new(false));
        let (serve, is_over) = (Arc::new(serve), Arc::clone(&over));
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                let serve = Arc::clone(&serve);
                thread::spawn(move || serve(connection));
            }
        });
        Self { address, over }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
    }
}

/// A server whose connections are each given to a function.
pub(crate) struct Server {
    pub address: SocketAddr,
    requests: Arc<AtomicUsize>,
    _listener: Listener,
}

impl Server {
    /// `each` gets a connection whenever a request's head has been received.
    pub(crate) fn new(each: impl Fn(&mut TcpStream) -> Then + Send + Sync + 'static) -> Self {
        Self::reading(move |_, connection| each(connection))
    }

    /// `each` gets a request's head, and the connection.
    pub(crate) fn reading(
        each: impl Fn(&str, &mut TcpStream) -> Then + Send + Sync + 'static,
    ) -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&requests);
        let listener = Listener::new(move |connection| serve(connection, &each, &seen));
        Self {
            address: listener.address,
            requests,
            _listener: listener,
        }
    }

    /// Answers everything with `answer`, byte for byte.
    pub(crate) fn answering(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::new(move |connection| next_if(connection.write_all(answer.as_bytes())))
    }

    /// Answers with `answer` and closes.
    pub(crate) fn answering_once(answer: &'static str) -> Self {
        Self::new(move |connection| {
            let _ = connection.write_all(answer.as_bytes());
            Then::Close
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// Waits until this many requests have been received.
    pub(crate) fn wait_for_requests(&self, count: usize) {
        let patience = Instant::now() + Duration::from_secs(60);
        while self.requests() < count {
            assert!(
                Instant::now() < patience,
                "only {} requests came",
                self.requests()
            );
            thread::yield_now();
        }
    }
}

fn serve(
    mut connection: TcpStream,
    each: &dyn Fn(&str, &mut TcpStream) -> Then,
    seen: &AtomicUsize,
) {
    let _ = connection.set_nodelay(true);
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        while let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head: Vec<u8> = bytes.drain(..end + 4).collect();
            seen.fetch_add(1, Ordering::Relaxed);
            match each(&String::from_utf8_lossy(&head), &mut connection) {
                Then::Next => {}
                Then::Close => {
                    // Unread bytes would make a reset of the close.
                    let _ = connection.shutdown(Shutdown::Write);
                    while connection.read(&mut piece).is_ok_and(|count| count > 0) {}
                    return;
                }
                Then::Reset => {
                    let socket = socket2::SockRef::from(&connection);
                    let _ = socket.set_linger(Some(Duration::ZERO));
                    return;
                }
            }
        }
        match connection.read(&mut piece) {
            Ok(count) if count > 0 => bytes.extend_from_slice(&piece[..count]),
            _ => return,
        }
    }
}
