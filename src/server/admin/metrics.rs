//! `/metrics`: all counters, for Prometheus.

use std::time::Duration;

use super::Sources;
use crate::files::Watches;
use crate::observe::access_log::AccessLog;
use crate::observe::histogram::Total;
use crate::observe::metrics::{Exposition, Family};
use crate::tasks::{Handle, TaskState};

pub(super) fn text(sources: &Sources, exposition: Exposition) -> String {
    let mut families = vec![
        Family::gauge("headwater_build_info", "The version that runs; always 1")
            .value(&[("version", &env!("CARGO_PKG_VERSION"))], 1),
    ];
    families.extend(server(sources));
    families.extend(sources.observation.watches.iter().flat_map(|w| watches(w)));
    families.extend(shards(sources));
    families.extend(tasks(&sources.tasks));
    families.extend(task_distributions(&sources.tasks));
    families.extend(sources.access_log.iter().flat_map(access_log));
    exposition.write(families)
}

/// Connections, requests and responses.
fn server(sources: &Sources) -> Vec<Family> {
    let mut open = Family::gauge("headwater_connections_open", "Open connections");
    let mut accepted = Family::counter("headwater_connections", "Connections admitted");
    let mut refused = Family::counter(
        "headwater_connections_refused",
        "Connections answered with 503, by the limit that was reached",
    );
    let mut requests = Family::counter("headwater_requests", "Requests understood");
    let mut rejected = Family::counter(
        "headwater_requests_rejected",
        "Request heads that were malformed or too slow",
    );
    let mut responses = Family::counter("headwater_responses", "Responses by class of status");
    let mut file_bytes = Family::counter(
        "headwater_sent_file",
        "Bytes sent from files to sockets by sendfile",
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
        "Idle connections closed for lack of descriptors or memory",
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

/// The watches for changes to cached files.
fn watches(watches: &Watches) -> [Family; 4] {
    let stats = watches.stats();
    [
        Family::gauge(
            "headwater_watches",
            "Folders of cached files that are watched for changes",
        )
        .value(&[], stats.watches),
        Family::counter("headwater_watch_events", "Changes in watched folders")
            .value(&[], stats.events),
        Family::counter(
            "headwater_watch_overflows",
            "Times that change events were lost and all cached files were checked again",
        )
        .value(&[], stats.overflows),
        Family::counter(
            "headwater_watch_fallbacks",
            "Files opened whose folder could not be watched, so that changes are found only by checking",
        )
        .value(&[], stats.unwatched),
    ]
}

/// The shards' loops.
fn shards(sources: &Sources) -> Vec<Family> {
    let mut enters = Family::counter(
        "headwater_shard_enters",
        "Calls of io_uring_enter, or of epoll_wait",
    );
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
        Family::counter("headwater_shard_stalled", "Time spent in stalled turns").seconds();
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

/// The pool of tasks.
fn tasks(pool: &Handle) -> Vec<Family> {
    let snapshot = pool.snapshot();
    let live = pool.live_tasks(Duration::ZERO, 0);
    let mut states = Family::gauge("headwater_tasks", "Live tasks by state");
    for state in TaskState::ALL {
        states = states.value(&[("state", &state.name())], live.in_state(state) as u64);
    }
    let gauge = |name, help, value: usize| Family::gauge(name, help).value(&[], value as u64);
    let mut queue = Family::gauge("headwater_tasks_queue", "Tasks in the global queue");
    for (priority, count) in [
        ("interactive", snapshot.interactive),
        ("background", snapshot.background),
    ] {
        queue = queue.value(&[("priority", &priority)], count as u64);
    }
    let mut unfinished = Family::gauge("headwater_tasks_unfinished", "Unfinished tasks by class");
    let mut refused = Family::counter(
        "headwater_tasks_refused",
        "Tasks refused because their class had reached its limit",
    );
    for class in &snapshot.classes {
        unfinished = unfinished.value(&[("class", &class.name)], class.unfinished as u64);
        refused = refused.value(&[("class", &class.name)], class.refused);
    }
    vec![
        states,
        queue,
        unfinished,
        refused,
        gauge("headwater_tasks_workers", "Workers", snapshot.workers),
        gauge(
            "headwater_tasks_workers_idle",
            "Parked workers",
            snapshot.idle,
        ),
        gauge(
            "headwater_tasks_threads",
            "Threads of the pool",
            snapshot.threads,
        ),
        Family::counter(
            "headwater_tasks_overruns",
            "Tasks that held their worker for more than 10 ms",
        )
        .value(&[], snapshot.overruns),
        Family::counter(
            "headwater_tasks_hand_offs",
            "Times another thread took the processor of a held worker",
        )
        .value(&[], snapshot.hand_offs),
    ]
}

/// The distributions of the pool's times and queue lengths.
fn task_distributions(pool: &Handle) -> Vec<Family> {
    let distributions = pool.distributions();
    vec![
        Family::histogram(
            "headwater_tasks_scheduling_latency",
            "Time from runnable to running",
        )
        .seconds()
        .times(&[], distributions.latency.clone()),
        Family::histogram("headwater_tasks_run_time", "Duration of one poll of a task")
            .seconds()
            .times(&[], distributions.run_time.clone()),
        Family::histogram("headwater_tasks_queue_depth", "Tasks in a worker's queue")
            .numbers(&[], distributions.queue_depth.clone()),
        percentiles(
            "headwater_tasks_scheduling_latency_percentile",
            &distributions.latency,
        ),
        percentiles(
            "headwater_tasks_run_time_percentile",
            &distributions.run_time,
        ),
    ]
}

/// The access log, where there is one.
fn access_log(log: &AccessLog) -> Vec<Family> {
    let stats = log.stats();
    let mut dropped = Family::counter(
        "headwater_access_log_dropped",
        "Requests without a line, because the log was not written fast enough",
    );
    for (shard, count) in stats.shed.iter().enumerate() {
        dropped = dropped.value(&[("shard", &shard)], *count);
    }
    vec![
        Family::counter("headwater_access_log_lines", "Lines written").value(&[], stats.lines),
        Family::counter("headwater_access_log_written", "Bytes written")
            .bytes()
            .value(&[], stats.bytes),
        Family::counter(
            "headwater_access_log_errors",
            "Attempts to write, open or rotate the log that failed",
        )
        .value(&[], stats.errors),
        dropped,
    ]
}

/// The percentiles that the admin pages show, since the start; more exact than the buckets of the
/// histogram. The label is not `quantile`, which is reserved for summaries.
fn percentiles(name: &'static str, total: &Total) -> Family {
    let mut family = Family::gauge(name, "Percentiles since the start").seconds();
    for (quantile, ns) in total.quantiles() {
        let percent = (1000.0 * quantile).round() / 10.0;
        family = family.real(&[("percentile", &percent)], ns as f64 / 1e9);
    }
    family
}
