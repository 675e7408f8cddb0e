//! The self-test: loads a server that pauses for a known time, which the P99 must show.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::arrivals::{Rate, Spacing};
use super::error::LoadError;
use super::kind::Progress;
use super::plan::Plan;
use super::request::{Prepared, RequestSpec};
use super::run;
use super::summary::Summary;
use super::target::Target;
use crate::load::limits;
use crate::runtime::{Listener, Running, Runtime, Stream, timeout};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const STOP_S: f64 = 1.4;
const RATE_PER_S: f64 = 1000.0;
const DURATION_S: f64 = 5.0;
const CONNECTIONS: usize = 10;
/// The server pauses at the end of this second.
const STOP_AFTER_S: f64 = 1.0;
/// By how much the P99 may be below the expected one.
const SHARE_MIN: f64 = 0.95;

/// The result of the self-test.
#[derive(Clone, Debug)]
pub struct SelfTest {
    /// The load's summary.
    pub summary: Summary,
    /// How long the server paused.
    pub stop_s: f64,
    /// The P99 of the response time that this pause causes if all other answers are quick.
    pub expected_p99_us: f64,
}

impl SelfTest {
    /// Whether the response time shows the pause.
    pub fn passed(&self) -> bool {
        self.summary.response_time_us.p99 >= SHARE_MIN * self.expected_p99_us
    }
}

/// Runs an open loop against a small server on loopback that pauses once.
///
/// Requests that are due during a pause of S seconds wait between S and 0 seconds, evenly
/// distributed. The slowest hundredth of all N requests is among them, so the P99 is S -
/// N/100/rate.
///
/// # Errors
/// As [`run::start`] and [`Load::finish`](super::Load::finish).
pub fn self_test(mut each: impl FnMut(&Progress<'_>)) -> Result<SelfTest, LoadError> {
    let server = Server::start()?;
    let target = Target {
        origin: super::Origin::tcp(server.address.ip().to_string(), server.address.port()),
        path: "/".to_owned(),
    };
    let prepared = match Prepared::new(&target, &RequestSpec::default(), 1) {
        Ok(prepared) => prepared,
        Err(_) => unreachable!("a plain GET can be sent"),
    };
    let plan = Plan {
        connections: CONNECTIONS,
        duration_ns: Some((DURATION_S * 1e9) as u64),
        rate: Some((Rate::constant(RATE_PER_S), Spacing::Constant)),
        ..Plan::new(vec![server.address.into()], vec![(prepared, 1.0)])
    };
    let mut stopped = false;
    let summary = run::start(plan, Vec::new())?.finish(|progress| {
        if progress.at_s >= STOP_AFTER_S && !std::mem::replace(&mut stopped, true) {
            server.stand_still(Duration::from_secs_f64(STOP_S));
        }
        each(progress);
    })?;
    server.end()?;
    Ok(SelfTest {
        summary,
        stop_s: STOP_S,
        expected_p99_us: (STOP_S - DURATION_S / 100.0) * 1e6,
    })
}

/// A server that answers every request with the same answer.
struct Server {
    address: SocketAddr,
    running: Running,
    handle: crate::runtime::ShardHandle,
    over: Arc<AtomicBool>,
}

impl Server {
    fn start() -> Result<Self, LoadError> {
        let fail = |error| LoadError::Io {
            what: "listening on loopback",
            error,
        };
        let listener = TcpListener::bind("127.0.0.1:0").map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let runtime = Runtime::new(vec![0])?.unpinned();
        let handle = runtime.handles()[0].clone();
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let running = runtime.start(move |shard| {
            let listener = listener.try_clone();
            let ended = Arc::clone(&ended);
            async move {
                let Ok(listener) = listener else { return };
                let mut connections = Listener::new(listener).accept();
                let look = Duration::from_millis(limits::STOP_POLL_MS);
                while !ended.load(Ordering::Relaxed) {
                    if let Ok(Ok(stream)) = timeout(look, connections.next()).await {
                        shard.spawn_detached(answer(stream));
                    }
                }
            }
        })?;
        Ok(Self {
            address,
            running,
            handle,
            over,
        })
    }

    /// Blocks the server's only thread, as a pause of the whole program would.
    fn stand_still(&self, time: Duration) {
        // If the server has ended, the load's errors show it.
        let _ = self.handle.run(move || thread::sleep(time));
    }

    fn end(self) -> Result<(), LoadError> {
        self.over.store(true, Ordering::Relaxed);
        Ok(self.running.join()?)
    }
}

/// Answers every request head; the generator's requests have no body.
async fn answer(stream: Stream) {
    let mut receiver = stream.receiver();
    while let Ok(Some(bytes)) = receiver.next().await {
        let heads = bytes.windows(4).filter(|four| four == b"\r\n\r\n").count();
        drop(bytes);
        for _ in 0..heads {
            if stream.send_all(ANSWER).await.is_err() {
                return;
            }
        }
    }
}
