//! The latency from the time at which a task is due to its first instruction, in an open loop:
//! arrival times are drawn beforehand and do not depend on the pool, and the time by which a task
//! is handed over late is included (no coordinated omission).
//!
//! Tasks arrive in batches, one for each turn, as from a shard's loop: turns are a Poisson process,
//! and so are the tasks, spread over the turns. The generator sleeps between turns; it has
//! real-time priority if the kernel allows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::cpu;
use crate::offload::{Length, Offload};
use crate::random::Random;
use crate::shapes::spin;

const SHORT_US: f64 = 10.0;
const LONG_US: f64 = 1000.0;
/// How often a long task yields.
const SLICE_US: f64 = 20.0;
/// Turns of the generator a second, at most: a wake-up costs up to 20 us of CPU.
const TURNS_PER_S_MAX: f64 = 5_000.0;
/// Left out of the figures, while threads, memory and clocks warm up.
const WARM_UP: Duration = Duration::from_millis(200);
/// Time for the remaining tasks at the end.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Load {
    /// Offered work per worker, 0 to 1.
    pub utilisation: f64,
    pub workers: usize,
    pub seconds: f64,
    /// Share of the tasks that take [`LONG_US`].
    pub long_share: f64,
    pub spins_per_us: f64,
    pub seed: u64,
}

/// When the tasks of one turn arrive, and the length of each.
struct Turn {
    at: Duration,
    tasks: Vec<Length>,
}

pub(crate) struct Figures {
    pub tasks: u64,
    pub refused: u64,
    pub cpu_busy: f64,
    /// Of the generator, in nanoseconds, as all others.
    pub lag: Histogram<u64>,
    pub short: Histogram<u64>,
    pub long: Histogram<u64>,
}

impl Load {
    fn turns(&self) -> Vec<Turn> {
        let mut random = Random::new(self.seed);
        let mean_us = SHORT_US + self.long_share * (LONG_US - SHORT_US);
        let tasks_per_s = self.utilisation * self.workers as f64 * 1e6 / mean_us;
        let turns_per_s = tasks_per_s.min(TURNS_PER_S_MAX);
        let (mut turns, mut at) = (Vec::new(), 0.0);
        // A turn of one task has exactly one; otherwise the number has a Poisson distribution too.
        let mean = tasks_per_s / turns_per_s;
        loop {
            at += random.gap(turns_per_s);
            if at > self.seconds {
                return turns;
            }
            let (mut count, mut sum) = (0, random.gap(1.0));
            while mean > 1.0 && sum < mean {
                count += 1;
                sum += random.gap(1.0);
            }
            let length = |random: &mut Random| match random.share() <= self.long_share {
                true => Length::Long,
                false => Length::Short,
            };
            let count = if mean > 1.0 { count } else { 1 };
            turns.push(Turn {
                at: Duration::from_secs_f64(at),
                tasks: (0..count).map(|_| length(&mut random)).collect(),
            });
        }
    }

    /// Offers this load to a pool and waits until all tasks have begun.
    pub(crate) fn offer(&self, pool: &Offload) -> Figures {
        let turns = self.turns();
        let count = turns.iter().map(|turn| turn.tasks.len()).sum();
        // When each task began, in nanoseconds from the start, and 0 before that.
        let begun: Arc<[AtomicU64]> = (0..count).map(|_| AtomicU64::new(0)).collect();
        let (short, long) = self.jobs(pool);
        let (mut lag, mut refused, mut next) = (histogram(), 0, 0);
        cpu::in_front();
        let before = cpu::used();
        let start = Instant::now();
        for turn in &turns {
            cpu::sleep_until(start + turn.at);
            record(&mut lag, start.elapsed().saturating_sub(turn.at));
            for &length in &turn.tasks {
                let (slots, index) = (Arc::clone(&begun), next);
                let work = match length {
                    Length::Short => short.clone(),
                    Length::Long => long.clone(),
                };
                let job = move || {
                    let at = start.elapsed().as_nanos() as u64;
                    slots[index].store(at, Ordering::Relaxed);
                    work.run();
                };
                if !pool.submit(length, Box::new(job)) {
                    begun[next].store(u64::MAX, Ordering::Relaxed);
                    refused += 1;
                }
                next += 1;
            }
        }
        let cpu_busy = (cpu::used() - before).as_secs_f64() / start.elapsed().as_secs_f64();
        let end = Instant::now() + PATIENCE;
        while begun.iter().any(|at| at.load(Ordering::Acquire) == 0) {
            assert!(Instant::now() < end, "the pool never began all tasks");
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut figures = Figures {
            tasks: count as u64,
            refused,
            cpu_busy,
            lag,
            short: histogram(),
            long: histogram(),
        };
        figures.sort(&turns, &begun, self.seconds);
        figures
    }

    fn jobs(&self, pool: &Offload) -> (Work, Work) {
        let work = |us: f64, slice_us: f64| Work {
            slices: (us / slice_us) as u64,
            spins: (slice_us * self.spins_per_us) as u64,
            checkpoint: pool.checkpoint(),
        };
        (work(SHORT_US, SHORT_US), work(LONG_US, SLICE_US))
    }
}

#[derive(Clone)]
struct Work {
    slices: u64,
    spins: u64,
    checkpoint: fn(),
}

impl Work {
    fn run(&self) {
        for slice in 0..self.slices {
            if slice > 0 {
                (self.checkpoint)();
            }
            spin(self.spins);
        }
    }
}

impl Figures {
    fn sort(&mut self, turns: &[Turn], begun: &[AtomicU64], seconds: f64) {
        let warm_up = WARM_UP.min(Duration::from_secs_f64(seconds / 10.0));
        let mut begun = begun.iter().map(|at| at.load(Ordering::Relaxed));
        for turn in turns {
            for (length, at) in turn.tasks.iter().zip(&mut begun) {
                if at == u64::MAX || turn.at < warm_up {
                    continue;
                }
                let latency = Duration::from_nanos(at).saturating_sub(turn.at);
                match length {
                    Length::Short => record(&mut self.short, latency),
                    Length::Long => record(&mut self.long, latency),
                }
            }
        }
    }

    pub(crate) fn all(&self) -> Histogram<u64> {
        let mut all = self.short.clone();
        all.add(&self.long).expect("both have the same bounds");
        all
    }
}

pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60_000_000_000, 3).expect("three digits are allowed")
}

pub(crate) fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(time.as_nanos() as u64);
}
