//! Accepting: admission, hand-over to a shard with fewer connections, refusal at the connection
//! limit, and the pause when descriptors run out.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use super::h1::Connection;
use super::handoff_queue::{AcceptedConnection, HandoffQueue};
use super::lingering_close::lingering_close;
use super::service::Service;
use super::state::{AdmitError, ShardState};
use crate::http::Status;
use crate::limits;
use crate::net::listener;
use crate::runtime::{Listener, Stream, Timer};

/// The answer to a connection beyond the limit. It is sent only if the socket takes it at once,
/// which that of a new connection does.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
content-type: text/plain; charset=utf-8\r\ncontent-length: 52\r\nconnection: close\r\n\r\n\
too many connections at the moment; try again later\n";
/// As its Content-Length says.
const TOO_MANY_BODY_BYTES: usize = 52;

/// Accepts on one listener until the shard drains.
pub(super) async fn accept_loop<S: Service>(
    listener: listener::Listener,
    state: Rc<ShardState>,
    service: Rc<S>,
    handoff_queues: Arc<[HandoffQueue]>,
) {
    let idle_timeout_ms = match listener.keepalive {
        Some(policy) => policy.http_idle_ms,
        None => state.options().idle_timeout_ms,
    };
    let listener = Listener::new(listener.fd);
    let mut accepting = listener.accept();
    loop {
        // What has been accepted before a drain is served.
        let next = poll_fn(|cx| match accepting.poll_next_fd(cx) {
            Poll::Pending if state.is_draining() => Poll::Ready(None),
            poll => poll.map(Some),
        });
        match next.await {
            None => return,
            Some(Err(_)) if state.is_draining() => return,
            Some(Ok(socket)) => {
                let accepted = AcceptedConnection {
                    socket,
                    idle_timeout_ms,
                };
                let accepted = match state.better_shard(&handoff_queues) {
                    Some(other) => match handoff_queues[other].put(accepted) {
                        Some(back) => back,
                        None => continue,
                    },
                    None => accepted,
                };
                welcome(accepted, &state, &service);
            }
            Some(Err(e)) if concerns_one_connection(&e) => {}
            Some(Err(_)) => {
                state.shared.note_refusal(state.shard.now_ms());
                state.shed(limits::IDLE_SHED_PER_REFUSAL, 0);
                pause(&state).await;
            }
        }
    }
}

/// Serves what other shards hand over, until the shard drains. What is in the queue then is left
/// to the shard's main function.
pub(super) async fn adopt_loop<S: Service>(
    state: Rc<ShardState>,
    service: Rc<S>,
    handoff_queues: Arc<[HandoffQueue]>,
) {
    let queue = &handoff_queues[state.shard.index()];
    loop {
        let next = poll_fn(|cx| match state.is_draining() {
            true => Poll::Ready(None),
            false => queue.poll_take(cx).map(Some),
        });
        match next.await {
            None => return,
            Some(accepted) => welcome(accepted, &state, &service),
        }
    }
}

/// Serves a connection, or refuses it at a connection limit.
pub(super) fn welcome<S: Service>(
    accepted: AcceptedConnection,
    state: &Rc<ShardState>,
    service: &Rc<S>,
) {
    let idle_timeout_ms = accepted.idle_timeout_ms;
    let stream = Stream::accepted(accepted.socket);
    match state.admit(&stream) {
        Ok(guard) => {
            let mut connection = Connection::new(
                stream,
                Rc::clone(state),
                Rc::clone(service),
                idle_timeout_ms,
            );
            state.shard.spawn_as(state.shared.kind, async move {
                connection.run().await;
                drop(guard);
            });
        }
        Err(refusal) => {
            let counters = &state.counters;
            match refusal {
                AdmitError::Total => counters.refused_total.add(1),
                AdmitError::PerAddress => counters.refused_per_address.add(1),
            }
            refuse(stream, state);
        }
    }
}

/// Answers 503 and closes so that the answer arrives: the client's request is on its way, and to
/// close over it would be a reset.
fn refuse(stream: Stream, state: &Rc<ShardState>) {
    let sent = stream.try_send(TOO_MANY, false);
    if let Some(log) = &state.access_log {
        let sent_bytes = sent.as_ref().map_or(0, |sent| sent.unwrap_or(0));
        let status = Status::SERVICE_UNAVAILABLE.code();
        log.refused(
            &stream,
            status,
            TOO_MANY.len() - TOO_MANY_BODY_BYTES,
            sent_bytes,
        );
    }
    if sent.is_err() {
        return;
    }
    let Some(lingering) = state.linger_refused() else {
        return;
    };
    let options = Rc::clone(state);
    state.shard.spawn_as(state.refused, async move {
        let mut receiver = stream.receiver();
        let timeout_ms = limits::REFUSED_LINGER_TIMEOUT_MS;
        lingering_close(&stream, options.options(), timeout_ms, |cx| {
            receiver.poll_next(cx)
        })
        .await;
        drop(lingering);
    });
}

/// The client was gone again, or its network had an error: accept(2) says to go on. After any
/// other error (descriptors or memory ran out, the listener is broken) that would spin.
fn concerns_one_connection(e: &io::Error) -> bool {
    use nix::errno::Errno;
    let passing = [
        Errno::ECONNABORTED,
        Errno::EINTR,
        Errno::EAGAIN,
        Errno::EPERM,
        Errno::EPROTO,
        Errno::ENOPROTOOPT,
        Errno::EOPNOTSUPP,
        Errno::ENETDOWN,
        Errno::ENETUNREACH,
        Errno::EHOSTDOWN,
        Errno::EHOSTUNREACH,
        Errno::ENONET,
    ];
    e.raw_os_error()
        .is_some_and(|code| passing.contains(&Errno::from_raw(code)))
}

/// Until a connection has ended here, or for a while: another process, or a
/// file that was closed, may have given descriptors back as well.
async fn pause(state: &ShardState) {
    let connections = state.connections();
    let timer = Timer::after(&state.shard, limits::ACCEPT_RETRY_MS);
    poll_fn(|cx| {
        if state.is_draining() || state.poll_departure(connections, cx).is_ready() {
            return Poll::Ready(());
        }
        timer.poll_elapsed(cx)
    })
    .await;
}
