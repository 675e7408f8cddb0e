//! Makes one measurement of one contender and prints it as a line of JSON. `scripts/task_bench.py`
//! runs many of them alternately and makes the tables.

mod cpu;
mod feed;
mod latency;
mod offload;
mod random;
mod shapes;

use std::sync::Arc;

use clap::{Parser, Subcommand};
use hdrhistogram::Histogram;

use feed::{Buffers, Store};
use latency::Load;
use offload::Offload;
use shapes::{Name, Shape};

/// Measures one task pool once and prints a line of JSON
///
/// Examples:
///     cargo bench --bench task_bench -- shape tokio fork-join
///     cargo bench --bench task_bench -- latency headwater --utilisation 0.9
///     cargo bench --bench task_bench -- feed threads --clients 256
#[derive(Parser)]
#[command(verbatim_doc_comment)]
struct Arguments {
    /// Threads that each pool works with
    #[arg(long, global = true, default_value_t = 2)]
    workers: usize,
    #[command(subcommand)]
    part: Part,
    /// Given by `cargo bench`
    #[arg(long, global = true, hide = true)]
    bench: bool,
}

#[derive(Subcommand)]
enum Part {
    /// Time per task, in nanoseconds
    Shape {
        contender: Name,
        shape: Shape,
        /// Measures at least this long
        #[arg(long, default_value_t = 0.2)]
        seconds: f64,
    },
    /// From a task's intended start to its first instruction, under an open loop of short and long tasks
    Latency {
        contender: Name,
        /// Offered work per worker
        #[arg(long, default_value_t = 0.5)]
        utilisation: f64,
        #[arg(long, default_value_t = 2.0)]
        seconds: f64,
        /// Give headwater no hints that the others don't get: one priority, no checkpoints
        #[arg(long)]
        no_hints: bool,
        /// Share of the tasks that take 1 ms instead of 10 us
        #[arg(long, default_value_t = 0.01)]
        long_share: f64,
        /// The result of `calibrate`; measured by default
        #[arg(long)]
        spins_per_us: Option<f64>,
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Requests per second and their latency, when clients request feeds in a closed loop
    Feed {
        contender: Name,
        #[arg(long, default_value_t = 256)]
        clients: u64,
        #[arg(long, value_enum, default_value_t = Buffers::Pooled)]
        buffers: Buffers,
        #[arg(long, default_value_t = 1.5)]
        seconds: f64,
    },
    /// Measures how many rounds of the benchmark's work a core does in a microsecond
    Calibrate,
}

fn main() {
    let Arguments { workers, part, .. } = Arguments::parse();
    match part {
        Part::Shape {
            contender,
            shape,
            seconds,
        } => time_shape(workers, contender, shape, seconds),
        Part::Latency {
            contender,
            utilisation,
            seconds,
            no_hints,
            long_share,
            spins_per_us,
            seed,
        } => {
            let load = Load {
                utilisation,
                workers,
                seconds,
                long_share,
                spins_per_us: spins_per_us.unwrap_or_else(|| cpu::spins_per_us(workers)),
                seed,
            };
            let pool = Offload::start(contender, workers, no_hints);
            let found = load.offer(&pool);
            println!(
                "{{\"tasks\":{},\"refused\":{},\"cpu_busy\":{:.3},{},{},{},{}}}",
                found.tasks,
                found.refused,
                found.cpu_busy,
                percentiles("lag", &found.lag),
                percentiles("all", &found.all()),
                percentiles("short", &found.short),
                percentiles("long", &found.long),
            );
        }
        Part::Feed {
            contender,
            clients,
            buffers,
            seconds,
        } => {
            let store = Arc::new(Store::new(feed::POSTS));
            let pool = Offload::start(contender, workers, false);
            let found = feed::ask(&pool, &store, buffers, clients, seconds);
            println!(
                "{{\"requests_per_s\":{:.0},\"refused\":{},\"cpu_us\":{:.2},{}}}",
                found.requests as f64 / found.seconds,
                found.refused,
                found.cpu_us,
                percentiles("latency", &found.latency),
            );
        }
        Part::Calibrate => println!("{{\"spins_per_us\":{:.1}}}", cpu::spins_per_us(workers)),
    }
}

/// Doubles the number of tasks until they take long enough, which also warms up.
fn time_shape(workers: usize, contender: Name, shape: Shape, seconds: f64) {
    let pool = shapes::start(contender, workers);
    let mut tasks = 1_000;
    loop {
        let cpu = cpu::used();
        let Some(time) = pool.time(shape, tasks) else {
            return println!("{{\"ns_per_task\":null}}");
        };
        let cpu = cpu::used() - cpu;
        if time.as_secs_f64() >= seconds {
            let per_task = |time: std::time::Duration| time.as_nanos() as f64 / tasks as f64;
            return println!(
                "{{\"ns_per_task\":{:.1},\"cpu_ns_per_task\":{:.1}}}",
                per_task(time),
                per_task(cpu)
            );
        }
        tasks *= 2;
    }
}

/// In microseconds.
fn percentiles(name: &str, histogram: &Histogram<u64>) -> String {
    let [p50, p99, p999] =
        [0.5, 0.99, 0.999].map(|share| histogram.value_at_quantile(share) as f64 / 1000.0);
    let max = histogram.max() as f64 / 1000.0;
    format!("\"{name}\":{{\"p50\":{p50:.1},\"p99\":{p99:.1},\"p999\":{p999:.1},\"max\":{max:.1}}}")
}
