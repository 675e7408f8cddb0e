//! A burst of messages is spread over several turns, between which the shard's other tasks run.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use headwater::limits;
use headwater::runtime::{Runtime, Shard, sleep, timeout, yield_now};

thread_local! {
    /// The turns in which the messages ran, in their order.
    static TURNS: RefCell<Vec<(usize, u64)>> = const { RefCell::new(Vec::new()) };
}

#[test]
fn a_burst_of_messages_is_handled_a_share_a_turn() {
    const SHARE: usize = limits::MAILBOX_MESSAGES_PER_TURN;
    const MESSAGES: usize = 20 * SHARE + 7;
    let runtime = Runtime::new(vec![0]).unwrap().unpinned();
    let handle = runtime.handles()[0].clone();
    for n in 0..MESSAGES {
        let note = move || {
            let turn = Shard::current().turn();
            TURNS.with_borrow_mut(|turns| turns.push((n, turn)));
        };
        handle.run(note).unwrap();
    }
    let run = runtime.run(|shard| async move {
        // Runs once a turn all the while.
        let own = shard.clone();
        let seen = Rc::new(RefCell::new(Vec::new()));
        let noted = Rc::clone(&seen);
        shard.spawn_detached(async move {
            loop {
                noted.borrow_mut().push(own.turn());
                yield_now().await;
            }
        });
        let all = async {
            while TURNS.with_borrow(Vec::len) < MESSAGES {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(10), all)
            .await
            .expect("messages are missing");
        let turns = TURNS.take();
        assert!(turns.iter().map(|(n, _)| *n).eq(0..MESSAGES), "in order");
        let mut by_turn = BTreeMap::new();
        for (_, turn) in turns {
            *by_turn.entry(turn).or_insert(0) += 1;
        }
        assert!(by_turn.values().all(|count| *count <= SHARE), "{by_turn:?}");
        assert_eq!(by_turn.len(), MESSAGES.div_ceil(SHARE));
        let (first, last) = (by_turn.keys().min(), by_turn.keys().max());
        let between = |turn: &&u64| Some(*turn) >= first && Some(*turn) <= last;
        assert!(seen.borrow().iter().filter(between).count() >= by_turn.len() - 1);
    });
    run.unwrap();
}
