//! The kernel's clocks, read through the vDSO where it has them, and how exactly it wakes.

use std::io;

/// Nanoseconds of `CLOCK_MONOTONIC`: never goes back, has no relation to the date.
pub fn monotonic_ns() -> u64 {
    let (seconds, nanoseconds) = read(libc::CLOCK_MONOTONIC);
    seconds * 1_000_000_000 + u64::from(nanoseconds)
}

/// Milliseconds of `CLOCK_MONOTONIC`.
pub fn monotonic_ms() -> u64 {
    monotonic_ns() / 1_000_000
}

/// The date as (seconds since the epoch, nanoseconds) by `CLOCK_REALTIME`. The
/// coarse clock would be behind the times of files that were just written.
pub fn realtime() -> (u64, u32) {
    read(libc::CLOCK_REALTIME)
}

/// Nanoseconds of CPU time of the calling thread (`CLOCK_THREAD_CPUTIME_ID`).
pub fn thread_cpu_ns() -> u64 {
    let (seconds, nanoseconds) = read(libc::CLOCK_THREAD_CPUTIME_ID);
    seconds * 1_000_000_000 + u64::from(nanoseconds)
}

/// Nanoseconds of CPU time of all threads of this process (`CLOCK_PROCESS_CPUTIME_ID`).
pub fn process_cpu_ns() -> u64 {
    let (seconds, nanoseconds) = read(libc::CLOCK_PROCESS_CPUTIME_ID);
    seconds * 1_000_000_000 + u64::from(nanoseconds)
}

/// How much later than asked the kernel may wake the calling thread, to wake it together with
/// others (`PR_SET_TIMERSLACK`); 50 microseconds where nobody has set it.
pub fn set_timer_slack_ns(slack_ns: u64) -> io::Result<()> {
    // SAFETY: PR_SET_TIMERSLACK takes a number.
    super::check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, slack_ns) }.into())?;
    Ok(())
}

fn read(clock: libc::clockid_t) -> (u64, u32) {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec. The call fails only for a bad
    // pointer or an unknown clock, and all clocks here have been in Linux
    // since 2.6.32; `now` is initialised in any case.
    unsafe { libc::clock_gettime(clock, &mut now) };
    (now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}
