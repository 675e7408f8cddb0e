//! The main function of a shard: accept, serve, drain, end.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use super::accept::{accept_loop, adopt_loop, welcome};
use super::handoff_queue::HandoffQueue;
use super::pressure;
use super::request_log::RequestLog;
use super::service::Service;
use super::state::{ShardState, Shared};
use super::stop::Stopper;
use crate::limits;
use crate::net::listener::Listener;
use crate::observe::CallSite;
use crate::observe::access_log::ShardLog;
use crate::runtime::{Shard, Timer, yield_now};

/// What a shard needs to serve.
pub(super) struct ShardSetup {
    pub listeners: Vec<Listener>,
    pub shared: Arc<Shared>,
    pub handoff_queues: Arc<[HandoffQueue]>,
    pub stopper: Stopper,
    pub access_log: Option<ShardLog>,
}

/// Serves on this shard until it is stopped and has drained.
pub(super) async fn serve<S: Service>(shard: Shard, setup: ShardSetup, service: S) {
    let state = ShardState::new(&shard, setup.shared, setup.access_log);
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
    if let Some(log) = &state.access_log {
        let task = hand_over_records(shard.clone(), Rc::clone(log));
        shard.spawn_as(CallSite::named("access log"), task);
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

/// Hands records over to the access log's writer, as long as there are any.
async fn hand_over_records(shard: Shard, log: Rc<RequestLog>) {
    let log = log.shard_log();
    let timer = Timer::after(&shard, limits::ACCESS_LOG_TICK_MS);
    loop {
        poll_fn(|cx| log.poll_any(cx)).await;
        let mut left = true;
        while left {
            timer.reset(limits::ACCESS_LOG_TICK_MS);
            poll_fn(|cx| timer.poll_elapsed(cx)).await;
            left = log.tick();
        }
    }
}
