//! `/metrics`: all counters, for Prometheus.

use super::Sources;
use crate::observe::metrics::{Exposition, Family};

pub(super) fn text(sources: &Sources, exposition: Exposition) -> String {
    let mut families = vec![
        Family::gauge("headwater_build_info", "The version that runs; always 1")
            .value(&[("version", &env!("CARGO_PKG_VERSION"))], 1),
    ];
    families.extend(server(sources));
    families.extend(shards(sources));
    exposition.write(families)
}

/// What was served.
fn server(sources: &Sources) -> Vec<Family> {
    let mut open = Family::gauge("headwater_connections_open", "Open connections");
    let mut accepted = Family::counter("headwater_connections", "Connections admitted");
    let mut refused = Family::counter(
        "headwater_connections_refused",
        "Connections answered with 503, by what there were too many of",
    );
    let mut requests = Family::counter("headwater_requests", "Requests understood");
    let mut rejected = Family::counter(
        "headwater_requests_rejected",
        "Request heads that were malformed or late",
    );
    let mut responses = Family::counter("headwater_responses", "Responses by class of status");
    let mut file_bytes = Family::counter(
        "headwater_sent_file",
        "Bytes that went from files to sockets by sendfile",
    )
    .bytes();
    for (shard, (counters, load)) in sources.shared.by_shard().enumerate() {
        let shard = ("shard", &shard as &dyn std::fmt::Display);
        open = open.value(&[shard], load.into());
        accepted = accepted.value(&[shard], counters.connections.get());
        refused = refused
            .value(&[shard, ("limit", &"total")], counters.refused_total.get())
            .value(
                &[shard, ("limit", &"address")],
                counters.refused_per_address.get(),
            );
        requests = requests.value(&[shard], counters.requests.get());
        rejected = rejected
            .value(&[shard, ("reason", &"malformed")], counters.malformed.get())
            .value(&[shard, ("reason", &"timeout")], counters.late.get());
        for (class, count) in (1..).zip(&counters.responses) {
            responses = responses.value(&[shard, ("class", &format!("{class}xx"))], count.get());
        }
        file_bytes = file_bytes.value(&[shard], counters.file_bytes.get());
    }
    let shared = &sources.shared;
    let idle = Family::gauge(
        "headwater_idle_timeout",
        "How long a connection may be idle at the moment",
    )
    .seconds()
    .real(&[], shared.idle_timeout_now_ms() as f64 / 1000.0);
    let closed_early = Family::counter(
        "headwater_connections_idle_closed_early",
        "Idle connections closed for want of descriptors or memory",
    )
    .value(&[], shared.sheds());
    vec![
        open,
        accepted,
        refused,
        idle,
        closed_early,
        requests,
        rejected,
        responses,
        file_bytes,
    ]
}

/// The shards' loops.
fn shards(sources: &Sources) -> Vec<Family> {
    let mut enters = Family::counter("headwater_shard_enters", "Calls of io_uring_enter");
    let mut submissions = Family::counter(
        "headwater_shard_submissions",
        "Operations handed to the kernel",
    );
    let mut completions = Family::counter(
        "headwater_shard_completions",
        "Completions taken from the kernel",
    );
    let mut overflows = Family::counter(
        "headwater_shard_overflows",
        "Turns in which the completion queue had overflowed",
    );
    let mut polls = Family::counter("headwater_shard_polls", "Task polls");
    let mut panics = Family::counter("headwater_shard_panics", "Tasks that ended in a panic");
    let mut tasks = Family::gauge("headwater_shard_tasks", "Live tasks");
    let mut turns = Family::histogram(
        "headwater_shard_turn",
        "How long a turn of the loop took between two waits",
    )
    .seconds();
    let mut stalls = Family::counter(
        "headwater_shard_stalls",
        "Turns that took longer than the limit, by the task and what it was doing",
    );
    let mut stalled =
        Family::counter("headwater_shard_stalled", "Time spent in such turns").seconds();
    for handle in &sources.shards {
        let index = handle.index();
        let shard = ("shard", &index as &dyn std::fmt::Display);
        let stats = handle.stats();
        enters = enters.value(&[shard], stats.enters);
        submissions = submissions.value(&[shard], stats.submissions);
        completions = completions.value(&[shard], stats.completions);
        overflows = overflows.value(&[shard], stats.overflows);
        polls = polls.value(&[shard], stats.polls);
        panics = panics.value(&[shard], stats.panics);
        tasks = tasks.value(&[shard], stats.tasks);
        turns = turns.times(&[shard], handle.turns());
        for cause in handle.stalls() {
            let labels = [
                shard,
                ("task", &cause.task as _),
                ("doing", &cause.doing as _),
            ];
            stalls = stalls.value(&labels, cause.count);
        }
        stalled = stalled.real(&[shard], handle.stalled().1.as_secs_f64());
    }
    vec![
        enters,
        submissions,
        completions,
        overflows,
        polls,
        panics,
        tasks,
        turns,
        stalls,
        stalled,
    ]
}
