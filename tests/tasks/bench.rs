//! The benchmarks of the task layer work: a short run in which each contender does all of the work.
//! `scripts/task_bench.py` measures.

use std::sync::Arc;

use clap::ValueEnum;

use crate::feed::{Buffers, Store};
use crate::latency::Load;
use crate::offload::Offload;
use crate::shapes::{Name, Shape};

const WORKERS: usize = 2;

#[test]
fn every_contender_does_every_shape_that_it_knows() {
    for &name in Name::value_variants() {
        let pool = crate::shapes::start(name, WORKERS);
        // No multiple of anything.
        let tasks = if name == Name::Threads { 37 } else { 10_007 };
        for &shape in Shape::value_variants() {
            let unknown = match name {
                Name::Rayon => matches!(shape, Shape::PingPong | Shape::Yield),
                Name::Threads => shape == Shape::ForkJoin,
                Name::Headwater | Name::Recorded | Name::Tokio => false,
            };
            let time = pool.time(shape, tasks);
            assert_eq!(time.is_none(), unknown, "{name:?} {shape:?}");
        }
    }
}

#[test]
fn an_open_loop_counts_every_task() {
    for &name in Name::value_variants() {
        let load = Load {
            utilisation: 0.1,
            workers: WORKERS,
            seconds: 0.1,
            long_share: 0.02,
            spins_per_us: crate::cpu::spins_per_us(WORKERS),
            seed: 7,
        };
        let found = load.offer(&Offload::start(name, WORKERS, false));
        assert_eq!(found.refused, 0, "{name:?}");
        assert!(found.lag.len() > 10 && found.cpu_busy > 0.0, "{name:?}");
        let counted = found.all().len();
        assert_eq!(counted, found.short.len() + found.long.len());
        // The first tenth of the time is for warming up.
        assert!(
            counted > found.tasks / 2 && counted <= found.tasks,
            "{name:?}"
        );
    }
}

#[test]
fn feeds_are_answered() {
    let store = Arc::new(Store::new(crate::feed::POSTS / 100));
    for &name in Name::value_variants() {
        let pool = Offload::start(name, WORKERS, true);
        for &buffers in Buffers::value_variants() {
            let found = crate::feed::ask(&pool, &store, buffers, 8, 0.5);
            assert_eq!(found.refused, 0, "{name:?}");
            assert_eq!(found.requests, found.latency.len());
            assert!(found.requests > 0 && found.cpu_us > 0.0, "{name:?}");
            assert!(found.seconds > 0.0, "{name:?}");
        }
    }
}
