//! The work-stealing pool: results, work that misbehaves, what it publishes, and its end.

mod bench;
mod held;
mod join;
mod observed;
mod pool;
mod results;
mod reuse;
mod stop;

// The benchmarks' own modules, which name each other from the root of their program.
#[path = "../../benches/task_bench/cpu.rs"]
mod cpu;
#[path = "../../benches/task_bench/feed.rs"]
mod feed;
#[path = "../../benches/task_bench/latency.rs"]
mod latency;
#[path = "../../benches/task_bench/offload.rs"]
mod offload;
#[path = "../../benches/task_bench/random.rs"]
mod random;
#[path = "../../benches/task_bench/shapes/mod.rs"]
mod shapes;
