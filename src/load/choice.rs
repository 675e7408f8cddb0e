//! Chooses which request is sent next.

use std::sync::Arc;

use super::arrivals::Share;
use super::plan::Plan;

/// Chooses the requests of one shard.
pub(super) enum Choice {
    One,
    Weighted(Weighted, fastrand::Rng),
    /// Takes every `step`-th request of a log, and starts again at its end.
    Ordered {
        requests: Arc<[u32]>,
        at: usize,
        step: usize,
    },
}

impl Choice {
    pub(crate) fn new(plan: &Plan, share: Share, seed: u64) -> Self {
        match &plan.replay {
            Some(replay) => Self::Ordered {
                requests: Arc::clone(&replay.requests),
                at: share.index % replay.requests.len().max(1),
                step: share.of,
            },
            None if plan.requests.len() <= 1 => Self::One,
            None => {
                let weights = plan.requests.iter().map(|(_, weight)| *weight);
                Self::Weighted(
                    Weighted::new(weights.collect()),
                    fastrand::Rng::with_seed(seed),
                )
            }
        }
    }

    /// Index of [`Plan::requests`].
    #[inline]
    pub(crate) fn next(&mut self) -> u32 {
        match self {
            Self::One => 0,
            Self::Weighted(weighted, random) => weighted.pick(random),
            Self::Ordered { requests, at, step } => {
                let request = requests[*at];
                *at = (*at + *step) % requests.len();
                request
            }
        }
    }
}

/// Chooses by weight in constant time, by the alias method (Walker 1974, built as by Vose 1991).
pub(super) struct Weighted {
    /// For each slot the share that keeps its own index; the rest goes to its alias.
    own: Vec<f64>,
    alias: Vec<u32>,
}

impl Weighted {
    /// A table of `weights`, which are positive and finite.
    fn new(mut weights: Vec<f64>) -> Self {
        let total: f64 = weights.iter().sum();
        let scale = weights.len() as f64 / total;
        weights.iter_mut().for_each(|weight| *weight *= scale);
        let mut alias: Vec<u32> = (0..weights.len() as u32).collect();
        let (mut small, mut large): (Vec<_>, Vec<_>) =
            alias.iter().partition(|&&at| weights[at as usize] < 1.0);
        while let (Some(less), Some(&more)) = (small.pop(), large.last()) {
            alias[less as usize] = more;
            let left = weights[more as usize] - (1.0 - weights[less as usize]);
            weights[more as usize] = left;
            if left < 1.0 {
                large.pop();
                small.push(more);
            }
        }
        // Slots left over on either side have a share of 1, except for rounding, and are their own
        // alias.
        Self {
            own: weights,
            alias,
        }
    }

    fn pick(&self, random: &mut fastrand::Rng) -> u32 {
        let at = random.usize(..self.own.len());
        match random.f64() < self.own[at] {
            true => at as u32,
            false => self.alias[at],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The shares in the table add up to the weights.
        #[test]
        fn shares_are_the_weights(weights in proptest::collection::vec(0.001..1000.0f64, 1..50)) {
            let table = Weighted::new(weights.clone());
            let total: f64 = weights.iter().sum();
            let mut shares = vec![0.0; weights.len()];
            for (at, &own) in table.own.iter().enumerate() {
                let own = own.min(1.0);
                shares[at] += own;
                shares[table.alias[at] as usize] += 1.0 - own;
            }
            for (share, weight) in shares.iter().zip(&weights) {
                let share = share / weights.len() as f64;
                prop_assert!((share - weight / total).abs() < 1e-9, "{weights:?}: {shares:?}");
            }
        }
    }

    #[test]
    fn a_heavy_one_comes_most() {
        let table = Weighted::new(vec![1.0, 98.0, 1.0]);
        let mut random = fastrand::Rng::with_seed(1);
        let picked = (0..10_000).filter(|_| table.pick(&mut random) == 1).count();
        assert!((9_700..9_900).contains(&picked), "{picked}");
    }
}
