//! Places in the program's text as small numbers, which fit in a record or an atomic.
//!
//! A place is where a task was spawned (`#[track_caller]`), or a name for what is being done.
//! Both are part of the program's text, so there are few, they are entered once and never leave.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::{LazyLock, RwLock, RwLockReadGuard};

use crate::limits;

/// A place in the program's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site(u32);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Code(&'static Location<'static>),
    Name(&'static str),
}

#[derive(Default)]
struct Table {
    /// In the order of their numbers, from 1.
    places: Vec<Place>,
    numbers: HashMap<Place, u32>,
}

static TABLE: LazyLock<RwLock<Table>> = LazyLock::new(RwLock::default);

/// Locations that a thread has asked for lately, by their address: a lookup that takes no lock.
const CACHED: usize = 64;

thread_local! {
    static CACHE: [Cell<(usize, u32)>; CACHED] = const { [const { Cell::new((0, 0)) }; CACHED] };
}

impl Site {
    /// No place in particular.
    pub const UNKNOWN: Site = Site(0);

    /// A place in the code, as `#[track_caller]` gives it.
    pub fn of(location: &'static Location<'static>) -> Site {
        let address = std::ptr::from_ref(location).addr();
        // Locations are aligned to 8 bytes and lie side by side.
        let slot = (address / align_of::<Location<'_>>()) % CACHED;
        let look_up = || enter(Place::Code(location));
        CACHE
            .try_with(|cache| match cache[slot].get() {
                (cached, number) if cached == address => Site(number),
                _ => {
                    let site = look_up();
                    cache[slot].set((address, site.0));
                    site
                }
            })
            .unwrap_or_else(|_| look_up())
    }

    /// The place with this name. Takes a lock: look it up once and keep it.
    pub fn named(name: &'static str) -> Site {
        enter(Place::Name(name))
    }

    /// The number, to be kept where only numbers are.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The place of a number that [`number`](Self::number) gave.
    pub fn from_number(number: u32) -> Site {
        Site(number)
    }

    pub fn is_known(self) -> bool {
        self.0 != 0
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = (self.0 as usize).checked_sub(1);
        let place = index.and_then(|index| read().places.get(index).copied());
        match place {
            Some(Place::Name(name)) => f.pad(name),
            Some(Place::Code(location)) => f.pad(&location.to_string()),
            None => f.pad("unknown"),
        }
    }
}

fn read() -> RwLockReadGuard<'static, Table> {
    TABLE
        .read()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn enter(place: Place) -> Site {
    if let Some(&number) = read().numbers.get(&place) {
        return Site(number);
    }
    let mut table = TABLE
        .write()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(&number) = table.numbers.get(&place) {
        return Site(number);
    }
    if table.places.len() >= limits::SITES_MAX {
        return Site::UNKNOWN;
    }
    table.places.push(place);
    let number = table.places.len() as u32;
    table.numbers.insert(place, number);
    Site(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn here() -> Site {
        Site::of(Location::caller())
    }

    #[test]
    fn a_place_has_one_number_on_every_thread() {
        let ask = || (0..3).map(|_| here()).collect::<Vec<_>>();
        let first = ask();
        assert!(first[0].is_known());
        assert!(first.iter().all(|site| *site == first[0]));
        assert_eq!(std::thread::spawn(ask).join().unwrap(), first);
        assert_ne!(here(), first[0]);
        assert_eq!(Site::from_number(first[0].number()), first[0]);
    }

    #[test]
    fn a_place_says_where_it_is() {
        let site = here();
        let line = line!() - 1;
        assert_eq!(site.to_string(), format!("{}:{line}:20", file!()));
        assert_eq!(Site::named("a name").to_string(), "a name");
        assert_eq!(Site::named("a name"), Site::named("a name"));
        assert_eq!(Site::UNKNOWN.to_string(), "unknown");
        assert_eq!(Site::from_number(u32::MAX).to_string(), "unknown");
    }
}
