//! What becomes of idle connections when descriptors or memory run short: a pure
//! decision, from how much is used to how long a connection may be idle and how many
//! are closed at a time. It remembers nothing, so it recovers with what it sees.

use crate::limits::{
    CONNECTIONS_HIGH_PERMILLE, CONNECTIONS_LOW_PERMILLE, IDLE_FLOOR_MS, IDLE_SHED_PER_LOOK,
    IDLE_SHED_PER_REFUSAL, MEMORY_HIGH_PERMILLE, MEMORY_LOW_PERMILLE,
};

/// How much of what there is is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Open connections…
    pub open: u64,
    /// …and how many there may be, as descriptors allow.
    pub open_max: u64,
    /// Memory that can't be had back by giving up caches, in thousandths.
    pub memory_permille: u64,
    /// The kernel has just refused a descriptor.
    pub refused: bool,
}

/// How tight it is: 0 changes nothing, [`Tightness::MAX`] leaves idle connections their least time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tightness(u64);

impl Tightness {
    /// As tight as can be.
    pub const MAX: Self = Self(1000);

    /// Of the scarcest of all: nothing below its low mark, everything at its high mark.
    pub fn of(load: &Load) -> Self {
        if load.refused {
            return Self::MAX;
        }
        let open = load.open.saturating_mul(1000) / load.open_max.max(1);
        let connections = between(open, CONNECTIONS_LOW_PERMILLE, CONNECTIONS_HIGH_PERMILLE);
        let memory = between(
            load.memory_permille,
            MEMORY_LOW_PERMILLE,
            MEMORY_HIGH_PERMILLE,
        );
        Self(connections.max(memory))
    }

    /// Whether anything is to be done at all.
    pub fn is_tight(self) -> bool {
        self.0 > 0
    }

    /// How long a connection may be idle, where it is `configured_ms` as long as nothing is
    /// scarce: never below [`IDLE_FLOOR_MS`], unless that is what was configured.
    pub fn idle_timeout_ms(self, configured_ms: u64) -> u64 {
        let above_floor_ms = configured_ms.saturating_sub(IDLE_FLOOR_MS);
        let cut_ms = u128::from(above_floor_ms) * u128::from(self.0) / 1000;
        configured_ms - u64::try_from(cut_ms).unwrap_or(above_floor_ms)
    }
}

/// How many idle connections one shard closes at the most in one look, of its `own` that are
/// open: its share of those above the low mark. Where memory is what is scarce, as many as is
/// bearable; where a descriptor was refused, a few.
pub fn close_max(load: &Load, own: u64) -> u64 {
    let low = load.open_max.saturating_mul(CONNECTIONS_LOW_PERMILLE) / 1000;
    let above = load.open.saturating_sub(low);
    let share = above.saturating_mul(own).div_ceil(load.open.max(1));
    let wanted = if load.memory_permille > MEMORY_LOW_PERMILLE {
        own
    } else if load.refused {
        share.max(IDLE_SHED_PER_REFUSAL.min(own))
    } else {
        share
    };
    wanted.min(IDLE_SHED_PER_LOOK)
}

/// Where `value` stands between two marks, in thousandths.
fn between(value: u64, low: u64, high: u64) -> u64 {
    (value.saturating_sub(low).saturating_mul(1000) / (high - low)).min(1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn load(open: u64, open_max: u64, memory_permille: u64) -> Load {
        Load {
            open,
            open_max,
            memory_permille,
            refused: false,
        }
    }

    #[test]
    fn marks_are_where_they_are_said_to_be() {
        let timeout = |load: &Load| Tightness::of(load).idle_timeout_ms(75_000);
        assert_eq!(timeout(&load(800, 1000, 850)), 75_000);
        assert_eq!(timeout(&load(950, 1000, 0)), IDLE_FLOOR_MS);
        assert_eq!(timeout(&load(0, 1000, 950)), IDLE_FLOOR_MS);
        assert_eq!(timeout(&load(875, 1000, 0)), 38_000);
        let refused = Load {
            refused: true,
            ..load(1, 1000, 0)
        };
        assert_eq!(timeout(&refused), IDLE_FLOOR_MS);
    }

    #[test]
    fn no_more_are_closed_than_bring_the_number_to_its_low_mark() {
        assert_eq!(close_max(&load(800, 1000, 0), 800), 0);
        assert_eq!(close_max(&load(900, 1000, 0), 900), 100);
        // Two shards, a share each.
        assert_eq!(close_max(&load(900, 1000, 0), 450), 50);
        assert_eq!(close_max(&load(10, 1000, 990), 10), 10);
        let refused = |own| Load {
            refused: true,
            ..load(own, 1000, 0)
        };
        assert_eq!(close_max(&refused(10), 10), 10);
        assert_eq!(close_max(&refused(500), 500), IDLE_SHED_PER_REFUSAL);
    }

    proptest! {
        #[test]
        fn the_more_is_used_the_shorter_and_never_below_the_floor(
            open_max in 1_u64..2_000_000,
            a in (0_u64..2_500_000, 0_u64..1200, any::<bool>()),
            b in (0_u64..2_500_000, 0_u64..1200, any::<bool>()),
            configured_ms in 1_u64..100_000_000,
        ) {
            let of = |open: u64, memory_permille: u64, refused: bool| Load {
                open,
                open_max,
                memory_permille,
                refused,
            };
            let less = of(a.0.min(b.0), a.1.min(b.1), a.2 && b.2);
            let more = of(a.0.max(b.0), a.1.max(b.1), a.2 || b.2);
            let (less_ms, more_ms) = (
                Tightness::of(&less).idle_timeout_ms(configured_ms),
                Tightness::of(&more).idle_timeout_ms(configured_ms),
            );
            prop_assert!(more_ms <= less_ms);
            prop_assert!(less_ms <= configured_ms);
            prop_assert!(more_ms >= configured_ms.min(IDLE_FLOOR_MS));
            // Whatever was before, what is free counts from now on.
            prop_assert!(close_max(&less, less.open) <= close_max(&more, more.open));
            prop_assert!(close_max(&more, more.open) <= IDLE_SHED_PER_LOOK);
        }

        #[test]
        fn without_scarcity_the_time_is_the_configured_one_and_nobody_is_closed(
            open in 0_u64..=800_000,
            memory_permille in 0_u64..=850,
            configured_ms in 1_u64..100_000_000,
        ) {
            let load = load(open, 1_000_000, memory_permille);
            let tightness = Tightness::of(&load);
            prop_assert!(!tightness.is_tight());
            prop_assert_eq!(tightness.idle_timeout_ms(configured_ms), configured_ms);
            prop_assert_eq!(close_max(&load, open), 0);
        }

        #[test]
        fn shards_together_close_no_more_than_is_above_the_mark_and_one_each(
            open_max in 1000_u64..1_000_000,
            shares in proptest::collection::vec(0_u64..2000, 1..16),
        ) {
            let open = shares.iter().sum();
            let load = load(open, open_max, 0);
            let above = open.saturating_sub(open_max * CONNECTIONS_LOW_PERMILLE / 1000);
            let closed: u64 = shares.iter().map(|&own| close_max(&load, own)).sum();
            prop_assert!(closed <= above + shares.len() as u64);
        }
    }
}
