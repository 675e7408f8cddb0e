//! Checks of flags that several kinds of load have.

use super::error::{CommandError, usage};
use crate::cli::resolve;
use crate::load::LoadError;
use crate::sys::{cpu, process};

/// Checks that these processes exist.
pub(super) fn processes(pids: &[u32]) -> Result<(), CommandError> {
    match pids.iter().find(|&&pid| !process::exists(pid)) {
        Some(pid) => Err(usage(format_args!("--pid: there is no process {pid}"))),
        None => Ok(()),
    }
}

pub(super) fn within(flag: &str, value: usize, max: usize) -> Result<(), CommandError> {
    match (1..=max).contains(&value) {
        true => Ok(()),
        false => Err(usage(format_args!(
            "--{flag}: {value} is out of range; choose from 1 to {max}"
        ))),
    }
}

pub(super) fn cpus(list: &str) -> Result<Vec<usize>, CommandError> {
    let cpus = cpu::parse_list(list).map_err(|error| usage(format_args!("--cores: {error}")))?;
    let allowed = cpu::allowed().map_err(|error| LoadError::Io {
        what: "asking for the allowed CPUs",
        error,
    })?;
    match cpus.iter().find(|cpu| !allowed.contains(cpu)) {
        None => Ok(cpus),
        Some(cpu) => Err(usage(format_args!(
            "--cores: this process may not run on CPU {cpu}; choose from {}",
            resolve::ranges(&allowed)
        ))),
    }
}
