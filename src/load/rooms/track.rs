//! Tracks which messages of one publisher a subscriber has received.

use crate::load::limits;

/// A message's place relative to those received before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Arrival {
    /// The next message, or one after a gap.
    New,
    /// A missing message: a later one arrived before it.
    Late,
    /// A message that was received already.
    Duplicate,
    /// Too old for the window: it was counted as lost, or is a duplicate.
    TooLate,
}

/// The received sequence numbers: all below `next` except those whose bits in the window are 0, and
/// `missing` numbers below the window.
#[derive(Clone, Copy)]
pub(super) struct Track {
    next: u64,
    /// Bit `i`: number `next - 1 - i` was received.
    window: u64,
    missing: u64,
}

const _: () = assert!(limits::REORDER_WINDOW == u64::BITS);

impl Default for Track {
    fn default() -> Self {
        Self {
            next: 0,
            // No number before the first one is missing.
            window: u64::MAX,
            missing: 0,
        }
    }
}

impl Track {
    /// Notes that a number was received.
    #[inline]
    pub(crate) fn note(&mut self, sequence: u64) -> Arrival {
        if sequence == self.next {
            self.missing += u64::from(self.window >> 63 == 0);
            self.window = self.window << 1 | 1;
            self.next += 1;
            return Arrival::New;
        }
        if sequence > self.next {
            let shift = sequence - self.next + 1;
            let window = u64::from(limits::REORDER_WINDOW);
            if shift >= window {
                self.missing += u64::from(self.window.count_zeros()) + (shift - window);
                self.window = 1;
            } else {
                let leaving = self.window >> (window - shift);
                self.missing += shift - u64::from(leaving.count_ones());
                self.window = self.window << shift | 1;
            }
            self.next = sequence + 1;
            return Arrival::New;
        }
        let back = self.next - 1 - sequence;
        match 1_u64.checked_shl(u32::try_from(back).unwrap_or(u32::MAX)) {
            None => Arrival::TooLate,
            Some(bit) if self.window & bit != 0 => Arrival::Duplicate,
            Some(bit) => {
                self.window |= bit;
                Arrival::Late
            }
        }
    }

    /// How many different numbers were received.
    pub(crate) fn unique(&self) -> u64 {
        self.next - self.missing - u64::from(self.window.count_zeros())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn gaps_late_ones_and_duplicates() {
        let mut track = Track::default();
        let seen: Vec<Arrival> = [0, 1, 4, 2, 2, 5, 100, 3].map(|n| track.note(n)).into();
        use Arrival::{Duplicate, Late, New, TooLate};
        assert_eq!(seen, [New, New, New, Late, Duplicate, New, New, TooLate]);
        // 0, 1, 2, 4, 5 and 100.
        assert_eq!(track.unique(), 6);
    }

    proptest! {
        #[test]
        fn counts_as_a_set_does(
            steps in prop::collection::vec((0u64..80, prop::bool::weighted(0.3)), 0..200),
        ) {
            let (mut track, mut set, mut next) = (Track::default(), HashSet::new(), 0_u64);
            for (step, back) in steps {
                let number = if back { next.saturating_sub(step) } else { next + step % 70 };
                let wanted = match next.checked_sub(number + 1) {
                    None => Arrival::New,
                    Some(back) if back >= 64 => Arrival::TooLate,
                    Some(_) if set.contains(&number) => Arrival::Duplicate,
                    Some(_) => Arrival::Late,
                };
                prop_assert_eq!(track.note(number), wanted);
                if wanted != Arrival::TooLate {
                    set.insert(number);
                }
                next = next.max(number + 1);
                prop_assert_eq!(track.unique(), set.len() as u64);
            }
        }
    }
}
