//! Accepting: admission, hand-over to a shard with less to do, and what
//! happens when descriptors run out.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use super::h1::Connection;
use super::inbox::{Fresh, Inbox};
use super::service::Service;
use super::state::{Refusal, ShardState};
use crate::limits;
use crate::net::listener;
use crate::runtime::{Listener, Stream, Timer};

/// The answer to a connection beyond the limit. It is sent if the socket takes
/// it at once; nobody waits for it.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
content-type: text/plain; charset=utf-8\r\ncontent-length: 52\r\nconnection: close\r\n\r\n\
too many connections at the moment; try again later\n";

/// Accepts on one listener until the shard drains.
pub(super) async fn accept_loop<S: Service>(
    listener: listener::Listener,
    state: Rc<ShardState>,
    service: Rc<S>,
    inboxes: Arc<[Inbox]>,
) {
    let idle_timeout_ms = match listener.keepalive {
        Some(policy) => policy.http_idle_ms,
        None => state.options().idle_timeout_ms,
    };
    let listener = Listener::new(listener.fd);
    let mut accepting = listener.accept();
    loop {
        let next = poll_fn(|cx| match state.is_draining() {
            true => Poll::Ready(None),
            false => accepting.poll_next_fd(cx).map(Some),
        });
        match next.await {
            None => return,
            Some(Ok(socket)) => {
                let fresh = Fresh {
                    socket,
                    idle_timeout_ms,
                };
                let fresh = match state.better_shard(&inboxes) {
                    Some(other) => match inboxes[other].put(fresh) {
                        Some(back) => back,
                        None => continue,
                    },
                    None => fresh,
                };
                welcome(fresh, &state, &service);
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

/// Serves what other shards hand over, until the shard drains.
pub(super) async fn adopt_loop<S: Service>(
    state: Rc<ShardState>,
    service: Rc<S>,
    inboxes: Arc<[Inbox]>,
) {
    let inbox = &inboxes[state.shard.index()];
    loop {
        let next = poll_fn(|cx| match state.is_draining() {
            true => Poll::Ready(None),
            false => inbox.poll_take(cx).map(Some),
        });
        match next.await {
            None => return inbox.close(),
            Some(fresh) => welcome(fresh, &state, &service),
        }
    }
}

fn welcome<S: Service>(fresh: Fresh, state: &Rc<ShardState>, service: &Rc<S>) {
    let idle_timeout_ms = fresh.idle_timeout_ms;
    let stream = Stream::accepted(fresh.socket);
    match state.admit(&stream) {
        Ok(seat) => {
            let mut connection = Connection::new(
                stream,
                Rc::clone(state),
                Rc::clone(service),
                idle_timeout_ms,
            );
            state.shard.spawn_as(state.shared.kind, async move {
                connection.run().await;
                drop(seat);
            });
        }
        Err(refusal) => {
            let counters = &state.counters;
            match refusal {
                Refusal::Total => counters.refused_total.add(1),
                Refusal::PerAddress => counters.refused_per_address.add(1),
            }
            let _ = stream.try_send(TOO_MANY, false);
        }
    }
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
