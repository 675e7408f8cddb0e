//! Call sites and operation names as small numbers, which fit in a record or an atomic.
//!
//! A call site is the source location that spawned a task (`#[track_caller]`) or the static name of
//! an operation. Both are fixed in the program's source, so the table stays small; it never
//! shrinks.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::{LazyLock, RwLock, RwLockReadGuard};

use crate::limits;
use crate::sys::sync;

/// The number of a source location or of a static operation name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallSite(u32);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Origin {
    Code(&'static Location<'static>),
    Name(&'static str),
}

#[derive(Default)]
struct Table {
    /// In the order of their numbers, from 1.
    origins: Vec<Origin>,
    numbers: HashMap<Origin, u32>,
}

static TABLE: LazyLock<RwLock<Table>> = LazyLock::new(RwLock::default);

/// Entries of each thread's cache of locations, keyed by address, which saves the table's lock.
const CACHED: usize = 64;

thread_local! {
    static CACHE: [Cell<(usize, u32)>; CACHED] = const { [const { Cell::new((0, 0)) }; CACHED] };
}

impl CallSite {
    /// Neither location nor name is known.
    pub const UNKNOWN: CallSite = CallSite(0);

    /// The call site of a source location, as `#[track_caller]` gives it. Takes no lock when this
    /// thread has looked the location up recently.
    pub fn of(location: &'static Location<'static>) -> CallSite {
        let address = std::ptr::from_ref(location).addr();
        // Locations are aligned to 8 bytes and lie side by side.
        let at = (address / align_of::<Location<'_>>()) % CACHED;
        let look_up = || enter(Origin::Code(location));
        CACHE
            .try_with(|cache| match cache[at].get() {
                (cached, number) if cached == address => CallSite(number),
                _ => {
                    let site = look_up();
                    cache[at].set((address, site.0));
                    site
                }
            })
            .unwrap_or_else(|_| look_up())
    }

    /// The call site of a static name. Takes a lock: look it up once and keep the result.
    pub fn named(name: &'static str) -> CallSite {
        enter(Origin::Name(name))
    }

    /// The number, for records and atomics.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The call site with a number that [`number`](Self::number) gave.
    pub fn from_number(number: u32) -> CallSite {
        CallSite(number)
    }

    /// Whether this is not [`UNKNOWN`](Self::UNKNOWN).
    pub fn is_known(self) -> bool {
        self.0 != 0
    }
}

impl fmt::Display for CallSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = (self.0 as usize).checked_sub(1);
        let origin = index.and_then(|index| read().origins.get(index).copied());
        match origin {
            Some(Origin::Name(name)) => f.pad(name),
            Some(Origin::Code(location)) => f.pad(&location.to_string()),
            None => f.pad("unknown"),
        }
    }
}

fn read() -> RwLockReadGuard<'static, Table> {
    sync::read(&TABLE)
}

fn enter(origin: Origin) -> CallSite {
    if let Some(&number) = read().numbers.get(&origin) {
        return CallSite(number);
    }
    let mut table = sync::write(&TABLE);
    if let Some(&number) = table.numbers.get(&origin) {
        return CallSite(number);
    }
    if table.origins.len() >= limits::CALL_SITES_MAX {
        return CallSite::UNKNOWN;
    }
    table.origins.push(origin);
    let number = table.origins.len() as u32;
    table.numbers.insert(origin, number);
    CallSite(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn here() -> CallSite {
        CallSite::of(Location::caller())
    }

    #[test]
    fn a_call_site_has_one_number_on_every_thread() {
        let ask = || (0..3).map(|_| here()).collect::<Vec<_>>();
        let first = ask();
        assert!(first[0].is_known());
        assert!(first.iter().all(|site| *site == first[0]));
        assert_eq!(std::thread::spawn(ask).join().unwrap(), first);
        assert_ne!(here(), first[0]);
        assert_eq!(CallSite::from_number(first[0].number()), first[0]);
    }

    #[test]
    fn a_call_site_displays_its_location_or_name() {
        let site = here();
        let line = line!() - 1;
        assert_eq!(site.to_string(), format!("{}:{line}:20", file!()));
        assert_eq!(CallSite::named("a name").to_string(), "a name");
        assert_eq!(CallSite::named("a name"), CallSite::named("a name"));
        assert_eq!(CallSite::UNKNOWN.to_string(), "unknown");
        assert_eq!(CallSite::from_number(u32::MAX).to_string(), "unknown");
    }
}
