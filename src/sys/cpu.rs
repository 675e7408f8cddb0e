//! CPUs: which ones we may use, pinning threads to them, naming threads.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fmt;
use std::io;

use crate::limits::CPUS_MAX;

const WORD_BITS: usize = u64::BITS as usize;

/// The kernel's CPU mask, wide enough for every kernel configuration.
type Mask = [u64; CPUS_MAX / WORD_BITS];

/// The CPUs that this thread may run on, ascending: those of the machine that `taskset`, cpusets of
/// cgroups and containers allow.
pub fn allowed() -> io::Result<Vec<usize>> {
    allowed_of(0)
}

/// The CPUs that the process's first thread may run on, for a thread that a pinned one starts and
/// that must not stay pinned.
pub fn allowed_of_process() -> io::Result<Vec<usize>> {
    allowed_of(nix::unistd::getpid().as_raw())
}

fn allowed_of(thread: libc::pid_t) -> io::Result<Vec<usize>> {
    let mut mask: Mask = [0; CPUS_MAX / WORD_BITS];
    // SAFETY: the kernel writes at most the given size of the mask, which is
    // initialised and outlives the call.
    super::check(
        unsafe { libc::sched_getaffinity(thread, size_of::<Mask>(), mask.as_mut_ptr().cast()) }
            .into(),
    )?;
    Ok((0..CPUS_MAX)
        .filter(|cpu| mask[cpu / WORD_BITS] >> (cpu % WORD_BITS) & 1 == 1)
        .collect())
}

/// Binds the calling thread to these CPUs. Threads it starts later inherit the binding.
///
/// Errors: `EINVAL` when none of them exists or is allowed here.
pub fn pin_current_thread(cpus: &[usize]) -> io::Result<()> {
    let mut mask: Mask = [0; CPUS_MAX / WORD_BITS];
    for &cpu in cpus {
        let word = mask
            .get_mut(cpu / WORD_BITS)
            .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
        *word |= 1 << (cpu % WORD_BITS);
    }
    // SAFETY: the kernel reads the given size of a mask that outlives the call.
    super::check(
        unsafe { libc::sched_setaffinity(0, size_of::<Mask>(), mask.as_ptr().cast()) }.into(),
    )?;
    Ok(())
}

/// The CPU that the calling thread is on just now.
pub fn current() -> io::Result<usize> {
    Ok(nix::sched::sched_getcpu()?)
}

/// Names the calling thread as `ps -L` and `top -H` show it. The kernel keeps 15
/// bytes; a longer name is cut.
pub fn name_current_thread(name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: PR_SET_NAME reads a NUL-terminated string, which outlives the call.
    super::check(unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) }.into())?;
    Ok(())
}

/// Reads a CPU list as `taskset(1)` takes it: `0`, `0-3`, `0,2`, `0-6:2` (every
/// second). Returns the CPUs ascending, each once.
pub fn parse_list(list: &str) -> Result<Vec<usize>, CpuListError> {
    let fail = |problem| CpuListError {
        list: list.to_owned(),
        problem,
    };
    let mut cpus = BTreeSet::new();
    for part in list.split(',') {
        let (range, step) = match part.split_once(':') {
            Some((range, step)) => (range, number(step).map_err(fail)?),
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (number(first).map_err(fail)?, number(last).map_err(fail)?),
            None if part.contains(':') => return Err(fail(Problem::StepWithoutRange)),
            None => {
                let cpu = number(range).map_err(fail)?;
                (cpu, cpu)
            }
        };
        if first > last {
            return Err(fail(Problem::Backwards { first, last }));
        }
        if step == 0 {
            return Err(fail(Problem::ZeroStep));
        }
        cpus.extend((first..=last).step_by(step));
    }
    Ok(cpus.into_iter().collect())
}

fn number(text: &str) -> Result<usize, Problem> {
    let text = text.trim();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Problem::NotANumber(text.to_owned()));
    }
    match text.parse() {
        Ok(cpu) if cpu < CPUS_MAX => Ok(cpu),
        _ => Err(Problem::TooLarge(text.to_owned())),
    }
}

/// A CPU list that can't be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuListError {
    list: String,
    problem: Problem,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Problem {
    NotANumber(String),
    TooLarge(String),
    Backwards { first: usize, last: usize },
    ZeroStep,
    StepWithoutRange,
}

impl fmt::Display for CpuListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot read the CPU list \"{}\": ", self.list)?;
        match &self.problem {
            Problem::NotANumber(text) if text.is_empty() => write!(f, "a number is missing")?,
            Problem::NotANumber(text) => write!(f, "\"{text}\" is not a number")?,
            Problem::TooLarge(text) => {
                write!(f, "{text} is too large, CPUs go up to {}", CPUS_MAX - 1)?;
            }
            Problem::Backwards { first, last } => {
                write!(f, "the range {first}-{last} runs backwards")?;
            }
            Problem::ZeroStep => write!(f, "a step of 0 goes nowhere")?,
            Problem::StepWithoutRange => write!(f, "a step needs a range before the colon")?,
        }
        write!(f, "; write it like 0, 0-3, 0,2 or 0-6:2")
    }
}

impl std::error::Error for CpuListError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_taskset_are_read() {
        assert_eq!(parse_list("0"), Ok(vec![0]));
        assert_eq!(parse_list("0-3"), Ok(vec![0, 1, 2, 3]));
        assert_eq!(parse_list("2,0"), Ok(vec![0, 2]));
        assert_eq!(parse_list("0-6:2"), Ok(vec![0, 2, 4, 6]));
        assert_eq!(parse_list("0-1, 1-2,8191"), Ok(vec![0, 1, 2, 8191]));
        assert_eq!(parse_list("3-3:9"), Ok(vec![3]));
    }

    #[test]
    fn bad_lists_say_what_is_wrong() {
        for (list, words) in [
            ("", "a number is missing"),
            ("0,,1", "a number is missing"),
            ("a", "\"a\" is not a number"),
            ("+1", "\"+1\" is not a number"),
            ("-1", "a number is missing"),
            ("3-1", "runs backwards"),
            ("0-4:0", "a step of 0"),
            ("4:2", "needs a range"),
            ("8192", "too large"),
            ("99999999999999999999999", "too large"),
        ] {
            let message = parse_list(list).unwrap_err().to_string();
            assert!(message.contains(words), "{list:?}: {message}");
            assert!(message.contains("0-6:2"), "{message}");
        }
    }
}
