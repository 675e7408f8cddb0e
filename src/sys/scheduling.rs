//! A thread's scheduling policy and niceness: `sched_setscheduler(2)`, `setpriority(2)`.

use std::io;

/// The kernel's policies for threads without real-time priority (`sched(7)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheduling {
    /// `SCHED_OTHER`.
    #[default]
    Normal,
    /// `SCHED_BATCH`: its wake-ups preempt no other thread.
    Batch,
    /// `SCHED_IDLE`: any normal thread that becomes runnable preempts it at once, and it gets
    /// little of a contended CPU.
    Idle,
}

/// Sets the calling thread's policy. None of these policies needs a privilege, but leaving `Idle`
/// needs one where RLIMIT_NICE forbids it.
pub fn set_current_thread(scheduling: Scheduling) -> io::Result<()> {
    let policy = match scheduling {
        Scheduling::Normal => libc::SCHED_OTHER,
        Scheduling::Batch => libc::SCHED_BATCH,
        Scheduling::Idle => libc::SCHED_IDLE,
    };
    let parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads one sched_param, which outlives the call; 0 is the calling thread.
    super::check(unsafe { libc::sched_setscheduler(0, policy, &parameters) }.into())?;
    Ok(())
}

/// Sets the calling thread's niceness, -20 to 19; on Linux, 0 names the thread, not the process.
///
/// Errors: `EACCES` for less than it has, without CAP_SYS_NICE or room in RLIMIT_NICE.
pub fn nice_current_thread(nice: i32) -> io::Result<()> {
    // SAFETY: no memory is passed.
    super::check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) }.into())?;
    Ok(())
}

/// The calling thread's policy, and its niceness.
pub fn current_thread() -> io::Result<(Scheduling, i32)> {
    // SAFETY: no memory is passed.
    let policy = super::check(unsafe { libc::sched_getscheduler(0) }.into())?;
    // SAFETY: no memory is passed. It fails only for a thread that does not exist.
    let nice = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    let scheduling = match policy as i32 {
        libc::SCHED_BATCH => Scheduling::Batch,
        libc::SCHED_IDLE => Scheduling::Idle,
        _ => Scheduling::Normal,
    };
    Ok((scheduling, nice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_scheduled_as_asked() {
        let asked = std::thread::spawn(|| {
            set_current_thread(Scheduling::Batch)?;
            nice_current_thread(19)?;
            let batch = current_thread()?;
            set_current_thread(Scheduling::Idle)?;
            io::Result::Ok((batch, current_thread()?))
        });
        let expected = ((Scheduling::Batch, 19), (Scheduling::Idle, 19));
        assert_eq!(asked.join().unwrap().unwrap(), expected);
    }
}
