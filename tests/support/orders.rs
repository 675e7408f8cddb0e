//! Runs a model over the orders in which the steps of its threads can fall (loom).

/// More switches in the middle of a thread than these have never been needed to show a fault,
/// and to try them would take hours.
const PREEMPTIONS_MAX: usize = 2;

pub fn every_order(test: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(PREEMPTIONS_MAX);
    model.check(test);
}
