//! `/debug/tasks`: the pool of tasks, and the tasks that have lived longest.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::query::Query;
use crate::limits;
use crate::observe::histogram::Total;
use crate::tasks::{Distributions, Handle, LiveTasks, Snapshot, TaskSnapshot, TaskState};

/// The page's content.
struct Report {
    snapshot: Snapshot,
    distributions: Distributions,
    live: LiveTasks,
    old: LiveTasks,
    age: Duration,
}

/// The page, as JSON or as text.
pub(super) fn page(pool: &Handle, query: &Query) -> String {
    let age = query
        .age
        .unwrap_or(Duration::from_millis(limits::TASK_OLD_MS));
    let report = Report {
        snapshot: pool.snapshot(),
        distributions: pool.distributions(),
        live: pool.live_tasks(Duration::ZERO, 0),
        old: pool.live_tasks(age, limits::TASKS_SHOWN_MAX),
        age,
    };
    match query.json {
        true => report.json().to_string() + "\n",
        false => {
            let mut out = String::new();
            // Writing to a string does not fail.
            let _ = report.write(&mut out);
            out
        }
    }
}

impl Report {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        let snapshot = &self.snapshot;
        write!(out, "tasks {}", self.live.count())?;
        for state in TaskState::ALL {
            write!(out, " {} {}", state.name(), self.live.in_state(state))?;
        }
        writeln!(
            out,
            "\nworkers {} idle {} searching {} threads {} queue {} background {} hand-offs {}",
            snapshot.workers,
            snapshot.idle,
            snapshot.searching,
            snapshot.threads,
            snapshot.interactive,
            snapshot.background,
            snapshot.hand_offs
        )?;
        for class in &snapshot.classes {
            writeln!(
                out,
                "class {} {} of {} refused {}",
                class.name, class.unfinished, class.limit, class.refused
            )?;
        }
        write_quantiles(out, "scheduling latency", &self.distributions.latency, true)?;
        write_quantiles(out, "run time", &self.distributions.run_time, true)?;
        write_quantiles(out, "queue depth", &self.distributions.queue_depth, false)?;
        writeln!(out, "overruns {}", snapshot.overruns)?;
        for (site, count) in &snapshot.overrun_sites {
            writeln!(out, "  {count} from {site}")?;
        }
        writeln!(out, "older than {:?} {}", self.age, self.old.count())?;
        for task in &self.old.oldest {
            writeln!(out, "  {task}")?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let snapshot = &self.snapshot;
        let mut tasks: Map<String, Value> = TaskState::ALL
            .map(|state| (state.name().to_owned(), self.live.in_state(state).into()))
            .into_iter()
            .collect();
        tasks.insert("live".to_owned(), self.live.count().into());
        let classes = snapshot.classes.iter().map(|class| {
            json!({
                "name": class.name,
                "unfinished": class.unfinished,
                "limit": class.limit,
                "refused": class.refused,
            })
        });
        let overruns = snapshot
            .overrun_sites
            .iter()
            .map(|(site, count)| json!({"site": site.to_string(), "count": count}));
        json!({
            "tasks": tasks,
            "workers": {
                "count": snapshot.workers,
                "idle": snapshot.idle,
                "searching": snapshot.searching,
                "threads": snapshot.threads,
                "hand_offs": snapshot.hand_offs,
            },
            "queue": {"interactive": snapshot.interactive, "background": snapshot.background},
            "classes": classes.collect::<Vec<_>>(),
            "scheduling_latency_ns": quantiles(&self.distributions.latency),
            "run_time_ns": quantiles(&self.distributions.run_time),
            "queue_depth": quantiles(&self.distributions.queue_depth),
            "overruns": {"count": snapshot.overruns, "sites": overruns.collect::<Vec<_>>()},
            "old": {
                "age_ms": self.age.as_millis() as u64,
                "count": self.old.count(),
                "tasks": self.old.oldest.iter().map(task).collect::<Vec<_>>(),
            },
        })
    }
}

fn task(task: &TaskSnapshot) -> Value {
    json!({
        "id": task.id,
        "state": task.state.name(),
        "class": task.class,
        "site": task.site.to_string(),
        "age_ms": task.age.as_millis() as u64,
        "overrun": task.overrun,
    })
}

/// `p99.9` for 0.999.
fn name(quantile: f64) -> String {
    format!("p{}", (1000.0 * quantile).round() / 10.0)
}

fn quantiles(total: &Total) -> Value {
    let mut map: Map<String, Value> = total
        .quantiles()
        .map(|(quantile, value)| (name(quantile), value.into()))
        .collect();
    map.insert("count".to_owned(), total.count().into());
    map.into()
}

fn write_quantiles(out: &mut String, what: &str, total: &Total, time: bool) -> std::fmt::Result {
    write!(out, "{what}")?;
    for (quantile, value) in total.quantiles() {
        match time {
            true => write!(out, " {} {:?}", name(quantile), Duration::from_nanos(value))?,
            false => write!(out, " {} {value}", name(quantile))?,
        }
    }
    writeln!(out, " of {}", total.count())
}
