//! The main function of a shard: accept, serve, drain, end.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use super::accept::{accept_loop, adopt_loop, welcome};
use super::handoff_queue::HandoffQueue;
use super::pressure;
use super::service::Service;
use super::state::{ShardState, Shared};
use super::stop::Stopper;
use crate::net::listener::Listener;
use crate::observe::CallSite;
use crate::runtime::{Shard, Timer, yield_now};

/// What a shard needs to serve.
pub(super) struct ShardSetup {
    pub listeners: Vec<Listener>,
    pub shared: Arc<Shared>,
    pub handoff_queues: Arc<[HandoffQueue]>,
    pub stopper: Stopper,
}

/// Serves on this shard until a stop is asked for and the shard has drained.
pub(super) async fn serve<S: Service>(shard: Shard, setup: ShardSetup, service: S) {
    let state = ShardState::new(&shard, setup.shared);
    let service = Rc::new(service);
    for listener in setup.listeners {
        let (state, service) = (Rc::clone(&state), Rc::clone(&service));
        let handoff_queues = Arc::clone(&setup.handoff_queues);
        shard.spawn_as(
            CallSite::named("accept"),
            accept_loop(listener, state, service, handoff_queues),
        );
    }
    if setup.handoff_queues.len() > 1 {
        let (state, service) = (Rc::clone(&state), Rc::clone(&service));
        shard.spawn_as(
            CallSite::named("hand-over"),
            adopt_loop(state, service, Arc::clone(&setup.handoff_queues)),
        );
    }
    if state.options().adaptive_idle {
        shard.spawn_detached(pressure::watch(Rc::clone(&state)));
    }
    poll_fn(|cx| setup.stopper.poll_drain(cx)).await;
    state.drain();
    // In this turn the accepting tasks take what was accepted before the drain.
    yield_now().await;
    if let Some(queue) = setup.handoff_queues.get(shard.index()) {
        for accepted in queue.close() {
            welcome(accepted, &state, &service);
        }
    }
    let deadline = Timer::after(&shard, state.options().drain_timeout_ms);
    poll_fn(|cx| {
        let over = setup.stopper.poll_now(cx).is_ready() || deadline.poll_elapsed(cx).is_ready();
        if over || state.poll_departure(1, cx).is_ready() {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
    // Sends handed over in this turn still reach the kernel.
    yield_now().await;
}
