//! Values that depend on the host, as `#@ compute` lines write them: `EXPRESSION [at least N] [at
//! most N]`, several of them with commas between for a setting of several numbers. An expression is
//! a whole number or `memory_kib` or `cpus`, followed by any number of `* N` and `/ N`, evaluated
//! from left to right. The form is so simple that a POSIX shell can evaluate it.

use std::fs;
use std::io;
use std::path::Path;

/// The host's figures from which values are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// MemTotal of proc_meminfo(5).
    pub memory_kib: u64,
    /// CPUs of the host (the `processor` lines of `/proc/cpuinfo`, or `cpuN` of `/proc/stat`).
    pub cpus: u64,
}

impl Machine {
    /// Reads `meminfo` and `stat` of a `/proc`.
    pub fn read(proc: &Path) -> io::Result<Self> {
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let meminfo = fs::read_to_string(proc.join("meminfo"))?;
        let memory_kib = meminfo
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok())
            .ok_or_else(|| invalid("no MemTotal in meminfo"))?;
        let stat = fs::read_to_string(proc.join("stat"))?;
        let of_one = |line: &&str| {
            let rest = line.strip_prefix("cpu");
            rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        };
        let cpus = stat.lines().filter(of_one).count().max(1) as u64;
        Ok(Self { memory_kib, cpus })
    }
}

/// Evaluates `text`. The error names the part that can't be parsed.
pub(super) fn evaluate(text: &str, machine: Machine) -> Result<String, String> {
    let values: Result<Vec<String>, String> = text
        .split(',')
        .map(|element| Ok(one(element, machine)?.to_string()))
        .collect();
    Ok(values?.join(" "))
}

fn one(text: &str, machine: Machine) -> Result<u64, String> {
    let mut words = text.split_whitespace();
    let first = words.next().ok_or("a number is missing")?;
    let mut value = match first {
        "memory_kib" => machine.memory_kib,
        "cpus" => machine.cpus,
        number => parse(number)?,
    };
    while let Some(word) = words.next() {
        let bound = match word {
            "at" => Some(words.next().ok_or("\"at\" wants \"least\" or \"most\"")?),
            _ => None,
        };
        let number = parse(words.next().ok_or(format!("\"{word}\" wants a number"))?)?;
        value = match (word, bound) {
            ("*", None) => value.saturating_mul(number),
            ("/", None) => value
                .checked_div(number)
                .ok_or("nothing can be divided by 0")?,
            ("at", Some("least")) => value.max(number),
            ("at", Some("most")) => value.min(number),
            _ => return Err(format!("\"{word}\" is none of *, /, at least, at most")),
        };
    }
    Ok(value)
}

fn parse(text: &str) -> Result<u64, String> {
    let number = text.parse();
    number.map_err(|_| format!("\"{text}\" is neither a number nor memory_kib nor cpus"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: Machine = Machine {
        memory_kib: 24 << 20,
        cpus: 2,
    };

    #[test]
    fn expressions_are_worked_off_from_left_to_right() {
        for (text, value) in [
            ("7", "7"),
            ("memory_kib / 4", "6291456"),
            ("memory_kib / 64 at least 262144 at most 300000", "300000"),
            ("cpus * 3 / 2", "3"),
            (
                "4096, 16384, memory_kib at most 67108864",
                "4096 16384 25165824",
            ),
            ("cpus at least 16", "16"),
        ] {
            assert_eq!(evaluate(text, MACHINE).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_named() {
        for (text, words) in [
            ("", "missing"),
            ("1,", "missing"),
            ("x", "\"x\" is neither"),
            ("1 + 1", "\"+\" is none of"),
            ("1 *", "\"*\" wants a number"),
            ("1 / 0", "divided by 0"),
            ("1 at", "least"),
            ("1 at first 2", "none of"),
            ("-1", "neither"),
        ] {
            let error = evaluate(text, MACHINE).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}
