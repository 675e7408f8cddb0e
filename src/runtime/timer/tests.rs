use super::*;
use proptest::prelude::*;

fn fired(wheel: &mut Wheel, key: TimerId) -> bool {
    wheel.poll(key, Waker::noop()).elapsed
}

#[test]
fn a_timer_fires_at_its_deadline_and_not_before() {
    let mut wheel = Wheel::new(1000);
    let key = wheel.insert(1100);
    wheel.advance(1099, &mut Vec::new());
    assert!(!fired(&mut wheel, key));
    let mut wakers = Vec::new();
    wheel.advance(1100, &mut wakers);
    assert!(fired(&mut wheel, key));
    assert_eq!(wakers.len(), 1);
}

#[test]
fn a_timer_pushed_back_fires_at_the_later_deadline_only() {
    let mut wheel = Wheel::new(0);
    let key = wheel.insert(50);
    wheel.reset(key, 5000);
    wheel.advance(4999, &mut Vec::new());
    assert!(!fired(&mut wheel, key));
    wheel.advance(5000, &mut Vec::new());
    assert!(fired(&mut wheel, key));
    wheel.reset(key, 5001);
    assert!(!fired(&mut wheel, key));
}

#[test]
fn a_timer_brought_forward_fires_early() {
    let mut wheel = Wheel::new(7);
    let key = wheel.insert(100_000);
    wheel.reset(key, 20);
    wheel.advance(20, &mut Vec::new());
    assert!(fired(&mut wheel, key));
}

#[test]
fn removing_the_last_timer_leaves_nothing_to_wait_for() {
    let mut wheel = Wheel::new(0);
    let key = wheel.insert(10);
    assert_eq!(wheel.next_ms(0), Some(10));
    wheel.remove(key);
    assert_eq!(wheel.next_ms(0), None);
}

#[test]
fn the_longest_waits_neither_overflow_nor_fire() {
    for start in [0, 1, (1 << 24) - 1, 1 << 40] {
        let mut wheel = Wheel::new(start);
        let never = wheel.insert(u64::MAX);
        let far = wheel.insert(start + 3 * SPAN_MS + 5);
        let mut now = start;
        // As a shard does: it sleeps until a bucket is due, then advances.
        while !fired(&mut wheel, far) {
            let next = wheel.next_ms(now).unwrap();
            assert!(next > 0, "the shard would spin at {now}");
            now += next;
            wheel.advance(now, &mut Vec::new());
        }
        assert_eq!(now, start + 3 * SPAN_MS + 5);
        assert!(!fired(&mut wheel, never));
        wheel.reset(never, now + 1);
        wheel.advance(now + 1, &mut Vec::new());
        assert!(fired(&mut wheel, never));
    }
}

proptest! {
    /// Over waits of any length, in as few steps as the wheel allows.
    #[test]
    fn long_waits_end_on_time(
        start in 0u64..1 << 26,
        waits in proptest::collection::vec(0u64..1 << 26, 1..20),
        step in 1u64..1 << 25,
    ) {
        let mut wheel = Wheel::new(start);
        let timers: Vec<_> = waits.iter().map(|wait| (wheel.insert(start + wait), start + wait)).collect();
        let mut now = start;
        while wheel.armed > 0 {
            let due = timers.iter().filter(|(_, d)| *d > now).map(|(_, d)| d - now).min();
            let next = wheel.next_ms(now).unwrap();
            prop_assert!(due.is_none_or(|due| next <= due));
            now += next.clamp(1, step);
            wheel.advance(now, &mut Vec::new());
            for (key, deadline) in &timers {
                prop_assert_eq!(wheel.poll(*key, Waker::noop()).elapsed, *deadline <= now);
            }
        }
    }

    /// Against the obvious model: a timer has fired if and only if its deadline is reached, and
    /// `next_ms` never sleeps past one.
    #[test]
    fn agrees_with_a_plain_list(
        start in 0u64..10_000_000,
        steps in proptest::collection::vec((0u8..4, 0u64..300_000, 0usize..8), 1..200),
    ) {
        let mut wheel = Wheel::new(start);
        let mut now = start;
        let mut model: Vec<(TimerId, u64)> = Vec::new();
        for (what, amount, which) in steps {
            match what {
                0 => model.push((wheel.insert(now + amount), now + amount)),
                1 if !model.is_empty() => {
                    let at = which % model.len();
                    let deadline = now + amount;
                    wheel.reset(model[at].0, deadline);
                    model[at].1 = deadline;
                }
                2 if !model.is_empty() => {
                    let (key, _) = model.swap_remove(which % model.len());
                    wheel.remove(key);
                }
                _ => {
                    let waits = model.iter().filter(|(_, d)| *d > now).map(|(_, d)| d - now).min();
                    if let (Some(next), Some(due)) = (wheel.next_ms(now), waits) {
                        prop_assert!(next <= due, "sleeps {next} past a deadline {due} away");
                    }
                    now += amount / (1 + which as u64 * 50);
                    wheel.advance(now, &mut Vec::new());
                    for (key, deadline) in &model {
                        prop_assert_eq!(wheel.poll(*key, Waker::noop()).elapsed, *deadline <= now);
                    }
                }
            }
        }
    }
}
