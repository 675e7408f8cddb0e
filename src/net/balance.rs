//! Chooses the shard for an accepted connection when the kernel's hash has spread connections
//! unevenly.

use crate::limits::{BALANCE_LEAD_MIN, BALANCE_MEAN_PERCENT};

/// The shard to hand an accepted connection to, or `None` to keep it.
///
/// `connections` are the connections of each shard and `own_index` is the shard that accepted. A
/// shard hands a connection over only when it has clearly more than both the mean and the shard
/// with the fewest, since the hand-over costs a message between cores.
pub fn hand_over_to(own_index: usize, connections: &[u32]) -> Option<usize> {
    let own = *connections.get(own_index)?;
    let (fewest_index, &fewest) = connections
        .iter()
        .enumerate()
        .min_by_key(|&(_, count)| count)?;
    let sum: u64 = connections.iter().copied().map(u64::from).sum();
    let above_mean = 100 * u64::from(own) * connections.len() as u64 > BALANCE_MEAN_PERCENT * sum;
    (own - fewest >= BALANCE_LEAD_MIN && above_mean).then_some(fewest_index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_counts_stay() {
        assert_eq!(hand_over_to(0, &[100, 100]), None);
        assert_eq!(hand_over_to(0, &[0, 0, 0]), None);
        assert_eq!(hand_over_to(0, &[5]), None);
    }

    #[test]
    fn small_leads_stay() {
        assert_eq!(hand_over_to(0, &[15, 0]), None);
        assert_eq!(hand_over_to(0, &[16, 0]), Some(1));
    }

    #[test]
    fn a_lead_must_also_be_large_for_the_mean() {
        assert_eq!(hand_over_to(0, &[1000, 900]), None);
        // Exactly 1.25 x the mean is not above the bound.
        assert_eq!(hand_over_to(0, &[125, 75]), None);
        assert_eq!(hand_over_to(0, &[126, 74]), Some(1));
    }

    #[test]
    fn the_shard_with_the_fewest_takes_it() {
        assert_eq!(hand_over_to(1, &[50, 300, 10, 20]), Some(2));
        assert_eq!(hand_over_to(2, &[50, 300, 10, 20]), None);
        assert_eq!(hand_over_to(0, &[u32::MAX, 0]), Some(1));
    }

    #[test]
    fn an_unknown_shard_keeps_it() {
        assert_eq!(hand_over_to(2, &[50, 0]), None);
        assert_eq!(hand_over_to(0, &[]), None);
    }

    #[test]
    fn handing_over_bounds_the_lead() {
        let mut connections = [0_u32; 4];
        for _ in 0..1000 {
            let taker = hand_over_to(0, &connections).unwrap_or(0);
            connections[taker] += 1;
        }
        // All connections arrive at shard 0, which keeps 1.25 x the mean.
        assert_eq!(connections, [313, 229, 229, 229]);
    }
}
