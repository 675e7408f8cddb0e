//! Which driver a shard gets.

use std::fmt;
use std::io;
use std::rc::Rc;
use std::str::FromStr;

use super::driver::Driver;
use super::epoll::EpollDriver;
use super::ring::{RingDriver, RingError, RingOptions};
use super::start::RuntimeError;
use crate::observe::Writer;

/// Which driver the shards use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverChoice {
    /// What the environment's [`DriverChoice::VARIABLE`] says; without it io_uring where the host
    /// allows it, else epoll.
    #[default]
    Auto,
    /// io_uring, or an error.
    IoUring,
    /// epoll, which works in every container and costs more CPU.
    Epoll,
}

impl DriverChoice {
    /// The environment variable that [`DriverChoice::Auto`] heeds. A name that is no driver's counts
    /// as none.
    pub const VARIABLE: &'static str = "HEADWATER_DRIVER";

    /// All choices, by the names that [`FromStr`] takes.
    pub const NAMES: [(&'static str, DriverChoice); 3] = [
        ("auto", DriverChoice::Auto),
        ("io_uring", DriverChoice::IoUring),
        ("epoll", DriverChoice::Epoll),
    ];
}

impl fmt::Display for DriverChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = DriverChoice::NAMES.iter();
        let name = names.clone().find(|(_, choice)| choice == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

/// A name that is no driver's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownDriver(String);

impl fmt::Display for UnknownDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "there is no driver {:?}; choose auto, io_uring or epoll",
            self.0
        )
    }
}

impl std::error::Error for UnknownDriver {}

impl FromStr for DriverChoice {
    type Err = UnknownDriver;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let mut names = DriverChoice::NAMES.iter();
        let found = names.find(|(known, _)| *known == name);
        found
            .map(|(_, choice)| *choice)
            .ok_or_else(|| UnknownDriver(name.to_owned()))
    }
}

impl DriverChoice {
    fn resolved(self) -> DriverChoice {
        let named = || std::env::var(DriverChoice::VARIABLE).ok()?.parse().ok();
        match self {
            DriverChoice::Auto => named().unwrap_or(DriverChoice::Auto),
            choice => choice,
        }
    }
}

/// Which driver a shard has got.
#[derive(Clone, Debug)]
pub struct DriverUsed {
    /// Its name.
    pub name: &'static str,
    /// Why it is not io_uring, where that was tried: a sentence.
    pub fallback: Option<String>,
}

/// A driver, and what is reported of it.
pub(super) struct Chosen {
    pub driver: Box<dyn Driver>,
    pub used: DriverUsed,
}

/// Builds the driver for the calling thread's shard.
pub(super) fn build(
    choice: DriverChoice,
    options: RingOptions,
    writer: &Rc<Writer>,
) -> Result<Chosen, RuntimeError> {
    let ring = || RingDriver::new(options, Rc::clone(writer));
    let epoll = || -> Result<Box<dyn Driver>, RuntimeError> {
        let driver = EpollDriver::new(options, Rc::clone(writer));
        let driver = driver.map_err(|error: io::Error| RuntimeError::Io {
            what: "setting up epoll",
            error,
        })?;
        Ok(Box::new(driver))
    };
    let (driver, fallback): (Box<dyn Driver>, _) = match choice.resolved() {
        DriverChoice::IoUring => (Box::new(ring().map_err(RuntimeError::Ring)?), None),
        DriverChoice::Epoll => (epoll()?, None),
        DriverChoice::Auto => match ring() {
            Ok(driver) => (Box::new(driver), None),
            Err(error) => (epoll()?, Some(error)),
        },
    };
    let used = DriverUsed {
        name: driver.name(),
        fallback: fallback.map(|error: RingError| error.to_string()),
    };
    Ok(Chosen { driver, used })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_has_a_name_that_reads_back() {
        for (name, choice) in DriverChoice::NAMES {
            assert_eq!(name.parse(), Ok(choice));
            assert_eq!(choice.to_string(), name);
        }
        let error = "kqueue".parse::<DriverChoice>().unwrap_err();
        assert!(error.to_string().contains("auto, io_uring or epoll"));
    }
}
