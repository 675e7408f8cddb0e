//! The CPU time of the process, the priority of a thread, and the calibration of work.

use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use crate::shapes::spin;

/// CPU time of all threads so far.
pub(crate) fn used() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the kernel counts");
    let [user, system] = [usage.user_time(), usage.system_time()]
        .map(|time| Duration::new(time.tv_sec() as u64, time.tv_usec() as u32 * 1000));
    user + system
}

/// Gives this thread, but none that it starts, real-time priority; returns `false` if the kernel
/// does not allow it (CAP_SYS_NICE, sched(7)).
pub(crate) fn in_front() -> bool {
    let priority = libc::sched_param { sched_priority: 1 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the structure lives during the call, and 0 is this thread.
    let changed = unsafe { libc::sched_setscheduler(0, policy, &raw const priority) } == 0;
    // SAFETY: as above; it takes a number.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
    changed
}

pub(crate) fn sleep_until(time: Instant) {
    while let Some(left) = time.checked_duration_since(Instant::now()) {
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left);
    }
}

/// Rounds of [`spin`] in a microsecond, measured with as many busy threads as the benchmark uses.
pub(crate) fn spins_per_us(threads: usize) -> f64 {
    const ROUNDS: u64 = 200_000;
    let measure = || {
        let mut times: Vec<Duration> = (0..60)
            .map(|_| {
                let start = Instant::now();
                spin(ROUNDS);
                start.elapsed()
            })
            .collect();
        times.sort();
        ROUNDS as f64 / (times[times.len() / 2].as_secs_f64() * 1e6)
    };
    let rates = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(measure)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("spinning doesn't panic"))
            .collect::<Vec<_>>()
    });
    rates.iter().sum::<f64>() / rates.len() as f64
}
