//! The kernel's clocks, read through the vDSO where possible, and the timer slack.

use std::io;

/// Nanoseconds of `CLOCK_MONOTONIC`, which never goes back and has no relation to the date.
pub fn monotonic_ns() -> u64 {
    let (seconds, nanoseconds) = read(libc::CLOCK_MONOTONIC);
    seconds * 1_000_000_000 + u64::from(nanoseconds)
}

/// Milliseconds of `CLOCK_MONOTONIC`.
pub fn monotonic_ms() -> u64 {
    monotonic_ns() / 1_000_000
}

/// The date as (seconds since the epoch, nanoseconds) by `CLOCK_REALTIME`. Not the coarse clock,
/// which lags behind the times of files that were just written.
pub fn realtime() -> (u64, u32) {
    read(libc::CLOCK_REALTIME)
}

/// A moment as a calendar date and a time of day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Calendar {
    /// The year, as in 2026.
    pub year: i32,
    /// From 1.
    pub month: u8,
    /// From 1.
    pub day: u8,
    /// From 0 to 23.
    pub hour: u8,
    /// From 0 to 59.
    pub minute: u8,
    /// From 0 to 59; 60 where the time zone's table has leap seconds.
    pub second: u8,
    /// How far the zone is ahead of UTC, in seconds.
    pub offset_s: i32,
}

/// The local time at `seconds` since the epoch, by `localtime_r(3)`: the zone is that of `TZ`, or
/// of `/etc/localtime`. `None` for a year that has no number.
pub fn local(seconds: i64) -> Option<Calendar> {
    // SAFETY: `tm` consists of numbers and a pointer, for which zero is a valid value.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to locals that outlive the call. It takes the C library's own
    // lock for the zone; nothing in this program changes the environment once threads run.
    let result = unsafe { libc::localtime_r(&seconds, &mut parts) };
    (!result.is_null()).then(|| calendar(&parts))
}

/// The time in UTC at `seconds` since the epoch, by `gmtime_r(3)`.
pub fn utc(seconds: i64) -> Option<Calendar> {
    // SAFETY: `tm` consists of numbers and a pointer, for which zero is a valid value.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to locals that outlive the call.
    let result = unsafe { libc::gmtime_r(&seconds, &mut parts) };
    (!result.is_null()).then(|| calendar(&parts))
}

fn calendar(parts: &libc::tm) -> Calendar {
    Calendar {
        year: parts.tm_year.saturating_add(1900),
        month: (parts.tm_mon + 1) as u8,
        day: parts.tm_mday as u8,
        hour: parts.tm_hour as u8,
        minute: parts.tm_min as u8,
        second: parts.tm_sec as u8,
        offset_s: parts.tm_gmtoff as i32,
    }
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
/// others (`PR_SET_TIMERSLACK`); 50 microseconds by default.
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
