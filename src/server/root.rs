//! A shard's life: accept, serve, drain, end.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use super::accept::{accept_loop, adopt_loop};
use super::inbox::Inbox;
use super::pressure;
use super::service::Service;
use super::state::{ShardState, Shared};
use super::stop::Stopper;
use crate::net::listener::Listener;
use crate::observe::CallSite;
use crate::runtime::{Shard, Timer, yield_now};

/// What a shard needs to serve.
pub(super) struct Seat {
    pub listeners: Vec<Listener>,
    pub shared: Arc<Shared>,
    pub inboxes: Arc<[Inbox]>,
    pub stopper: Stopper,
}

/// Serves on this shard until it is told to stop and has drained.
pub(super) async fn serve<S: Service>(shard: Shard, seat: Seat, service: S) {
    let state = ShardState::new(&shard, seat.shared);
    let service = Rc::new(service);
    for listener in seat.listeners {
        let (state, service) = (Rc::clone(&state), Rc::clone(&service));
        let inboxes = Arc::clone(&seat.inboxes);
        shard.spawn_as(
            CallSite::named("accept"),
            accept_loop(listener, state, service, inboxes),
        );
    }
    if seat.inboxes.len() > 1 {
        let (state, service) = (Rc::clone(&state), Rc::clone(&service));
        shard.spawn_as(
            CallSite::named("hand-over"),
            adopt_loop(state, service, Arc::clone(&seat.inboxes)),
        );
    }
    if state.options().adaptive_idle {
        shard.spawn_detached(pressure::watch(Rc::clone(&state)));
    }
    poll_fn(|cx| seat.stopper.poll_drain(cx)).await;
    state.drain();
    let deadline = Timer::after(&shard, state.options().drain_timeout_ms);
    poll_fn(|cx| {
        let over = seat.stopper.poll_now(cx).is_ready() || deadline.poll_elapsed(cx).is_ready();
        if over || state.poll_departure(1, cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
    // Sends handed over in this turn still reach the kernel.
    yield_now().await;
}
