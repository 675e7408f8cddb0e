//! Limits on idle connections when descriptors or memory run short: a pure function from the
//! utilisation to how long a connection may be idle and how many are closed at a time. It keeps no
//! state, so the limits recover as soon as the utilisation falls.

use crate::limits::{
    CONNECTIONS_HIGH_PERMILLE, CONNECTIONS_LOW_PERMILLE, IDLE_FLOOR_MS, IDLE_SHED_PER_LOOK,
    IDLE_SHED_PER_REFUSAL, MEMORY_HIGH_PERMILLE, MEMORY_LOW_PERMILLE,
};

/// The utilisation of connections and memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Utilisation {
    /// Open connections.
    pub open: u64,
    /// The connection limit, as far as descriptors allow it.
    pub open_max: u64,
    /// Used memory without reclaimable caches, in thousandths of all.
    pub memory_permille: u64,
    /// The kernel has just refused a descriptor.
    pub refused: bool,
}

/// How short connections or memory are: 0 changes nothing, [`Shortage::MAX`] leaves idle
/// connections [`IDLE_FLOOR_MS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shortage(u64);

impl Shortage {
    /// The greatest shortage.
    pub const MAX: Self = Self(1000);

    /// The greater of the two shortages: none below its low mark, [`Self::MAX`] at its high mark.
    pub fn of(used: &Utilisation) -> Self {
        if used.refused {
            return Self::MAX;
        }
        let open = used.open.saturating_mul(1000) / used.open_max.max(1);
        let connections = between(open, CONNECTIONS_LOW_PERMILLE, CONNECTIONS_HIGH_PERMILLE);
        let memory = between(
            used.memory_permille,
            MEMORY_LOW_PERMILLE,
            MEMORY_HIGH_PERMILLE,
        );
        Self(connections.max(memory))
    }

    /// Whether there is a shortage at all.
    pub fn any(self) -> bool {
        self.0 > 0
    }

    /// How long a connection may be idle: `configured_ms` without a shortage, less with one, but
    /// not less than [`IDLE_FLOOR_MS`] unless configured so.
    pub fn idle_timeout_ms(self, configured_ms: u64) -> u64 {
        let above_floor_ms = configured_ms.saturating_sub(IDLE_FLOOR_MS);
        let cut_ms = u128::from(above_floor_ms) * u128::from(self.0) / 1000;
        configured_ms - u64::try_from(cut_ms).unwrap_or(above_floor_ms)
    }
}

/// The most idle connections that one shard closes in one look, of its `own` open ones: its share
/// of those above the low mark. Where memory is short, up to [`IDLE_SHED_PER_LOOK`]; where a
/// descriptor was refused, at least [`IDLE_SHED_PER_REFUSAL`].
pub fn close_max(used: &Utilisation, own: u64) -> u64 {
    let low = used.open_max.saturating_mul(CONNECTIONS_LOW_PERMILLE) / 1000;
    let above = used.open.saturating_sub(low);
    let share = above.saturating_mul(own).div_ceil(used.open.max(1));
    let wanted = if used.memory_permille > MEMORY_LOW_PERMILLE {
        own
    } else if used.refused {
        share.max(IDLE_SHED_PER_REFUSAL.min(own))
    } else {
        share
    };
    wanted.min(IDLE_SHED_PER_LOOK)
}

/// The position of `value` between two marks, in thousandths.
fn between(value: u64, low: u64, high: u64) -> u64 {
    (value.saturating_sub(low).saturating_mul(1000) / (high - low)).min(1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn used(open: u64, open_max: u64, memory_permille: u64) -> Utilisation {
        Utilisation {
            open,
            open_max,
            memory_permille,
            refused: false,
        }
    }

    #[test]
    fn marks_are_where_they_are_said_to_be() {
        let timeout = |used: &Utilisation| Shortage::of(used).idle_timeout_ms(75_000);
        assert_eq!(timeout(&used(800, 1000, 850)), 75_000);
        assert_eq!(timeout(&used(950, 1000, 0)), IDLE_FLOOR_MS);
        assert_eq!(timeout(&used(0, 1000, 950)), IDLE_FLOOR_MS);
        assert_eq!(timeout(&used(875, 1000, 0)), 38_000);
        let refused = Utilisation {
            refused: true,
            ..used(1, 1000, 0)
        };
        assert_eq!(timeout(&refused), IDLE_FLOOR_MS);
    }

    #[test]
    fn no_more_are_closed_than_bring_the_number_to_its_low_mark() {
        assert_eq!(close_max(&used(800, 1000, 0), 800), 0);
        assert_eq!(close_max(&used(900, 1000, 0), 900), 100);
        // Two shards, a share each.
        assert_eq!(close_max(&used(900, 1000, 0), 450), 50);
        assert_eq!(close_max(&used(10, 1000, 990), 10), 10);
        let refused = |own| Utilisation {
            refused: true,
            ..used(own, 1000, 0)
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
            let of = |open: u64, memory_permille: u64, refused: bool| Utilisation {
                open,
                open_max,
                memory_permille,
                refused,
            };
            let less = of(a.0.min(b.0), a.1.min(b.1), a.2 && b.2);
            let more = of(a.0.max(b.0), a.1.max(b.1), a.2 || b.2);
            let (less_ms, more_ms) = (
                Shortage::of(&less).idle_timeout_ms(configured_ms),
                Shortage::of(&more).idle_timeout_ms(configured_ms),
            );
            prop_assert!(more_ms <= less_ms);
            prop_assert!(less_ms <= configured_ms);
            prop_assert!(more_ms >= configured_ms.min(IDLE_FLOOR_MS));
            // Only the present utilisation counts, whatever it was before.
            prop_assert!(close_max(&less, less.open) <= close_max(&more, more.open));
            prop_assert!(close_max(&more, more.open) <= IDLE_SHED_PER_LOOK);
        }

        #[test]
        fn without_scarcity_the_time_is_the_configured_one_and_no_connection_is_closed(
            open in 0_u64..=800_000,
            memory_permille in 0_u64..=850,
            configured_ms in 1_u64..100_000_000,
        ) {
            let used = used(open, 1_000_000, memory_permille);
            let shortage = Shortage::of(&used);
            prop_assert!(!shortage.any());
            prop_assert_eq!(shortage.idle_timeout_ms(configured_ms), configured_ms);
            prop_assert_eq!(close_max(&used, open), 0);
        }

        #[test]
        fn shards_together_close_no_more_than_is_above_the_mark_and_one_each(
            open_max in 1000_u64..1_000_000,
            shares in proptest::collection::vec(0_u64..2000, 1..16),
        ) {
            let open = shares.iter().sum();
            let used = used(open, open_max, 0);
            let above = open.saturating_sub(open_max * CONNECTIONS_LOW_PERMILLE / 1000);
            let closed: u64 = shares.iter().map(|&own| close_max(&used, own)).sum();
            prop_assert!(closed <= above + shares.len() as u64);
        }
    }
}
