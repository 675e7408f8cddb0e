//! One subscriber: keeps a connection open, and records which messages arrive.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use super::super::error::ErrorClass;
use super::super::message_tag::{Found, MessageTag, Scanner};
use super::super::shards::ShardEngine;
use super::engine::{Engine, Phase};
use super::record::Record;
use super::socket::Socket;
use super::track::{Arrival, Track};
use crate::load::limits;
use crate::runtime::sleep;
use crate::sys::time::monotonic_ns;

/// The state of a subscriber.
struct Subscription {
    room: usize,
    /// The sequence numbers received from each publisher of the room.
    tracks: Box<[Track]>,
    scanner: Scanner,
    /// The tags found in the message that is being received.
    seen: Seen,
}

/// Whether the message has a tag of the measured time, and one of the warm-up.
#[derive(Clone, Copy, Default)]
struct Seen {
    tag: bool,
    /// A tag of the warm-up.
    early: bool,
}

/// The classification of a tag.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Delivery,
    /// A delivery in the warm-up.
    Early,
    /// Neither: the tag was counted elsewhere, as a duplicate or an error.
    Other,
}

/// Runs a subscriber, whose `number` is among all subscribers, and reconnects it.
pub(super) async fn run(engine: Rc<Engine>, number: usize) {
    let room = number % engine.plan.rooms;
    let mut subscription = Subscription {
        room,
        tracks: vec![Track::default(); engine.plan.publishers_of(room)].into(),
        scanner: Scanner::default(),
        seen: Seen::default(),
    };
    let mut subscribed = false;
    loop {
        let open = engine.open(&engine.plan.subscribe, room);
        match engine.until(Phase::Over, open).await {
            None => break,
            Some(Ok(mut socket)) => {
                if !std::mem::replace(&mut subscribed, true) {
                    engine.subscribes(room);
                    engine.clients.tried();
                }
                let Some(end) = receive(&engine, &mut subscription, &mut socket).await else {
                    socket.close();
                    break;
                };
                engine.record.borrow_mut().tally.connections_lost += 1;
                engine.error(end);
                subscription.scanner = Scanner::default();
                subscription.seen = Seen::default();
            }
            Some(Err(class)) => {
                engine.error(class);
                if !subscribed {
                    // The messages that it would have got are unknown, so it is left out of the
                    // expected deliveries.
                    engine.unconnected.set(engine.unconnected.get() + 1);
                    engine.clients.tried();
                    break;
                }
            }
        }
        let pause = sleep(Duration::from_millis(limits::RECONNECT_MS));
        if engine.until(Phase::Over, pause).await.is_none() {
            break;
        }
    }
    if subscribed {
        let lost = subscription.lost(&engine);
        engine.lost.set(engine.lost.get() + lost);
    }
    engine.clients.ends();
}

/// Receives until the connection ends, or until the load does: `None`.
async fn receive(
    engine: &Engine,
    subscription: &mut Subscription,
    socket: &mut Socket,
) -> Option<ErrorClass> {
    poll_fn(|cx| {
        if engine.is(Phase::Over) {
            return Poll::Ready(None);
        }
        let now_ns = std::cell::Cell::new(0);
        let mut each = |bytes: &[u8], last| {
            subscription.take(engine, bytes, last, now_ns.get());
        };
        let end = socket.poll(cx, &mut each, |bytes| {
            now_ns.set(monotonic_ns());
            engine.record.borrow_mut().tally.bytes += bytes as u64;
        });
        socket.reply();
        end.map(Some)
    })
    .await
}

impl Subscription {
    /// Takes a piece of a message.
    #[inline]
    fn take(&mut self, engine: &Engine, bytes: &[u8], last: bool, now_ns: u64) {
        let record = &mut *engine.record.borrow_mut();
        let (tracks, room) = (&mut self.tracks, self.room);
        let (mut seen, mut delivered) = (self.seen, 0);
        let mut each = |found| {
            let outcome = match found {
                Found::Tag(tag) => deliver(engine, record, tracks, room, &tag, now_ns),
                Found::Damaged => {
                    record.tally.damaged += 1;
                    Outcome::Other
                }
            };
            delivered += u64::from(outcome == Outcome::Delivery);
            seen.early |= outcome == Outcome::Early;
            seen.tag |= outcome != Outcome::Early;
        };
        self.scanner.scan(bytes, &mut each);
        if last {
            self.scanner.end(&mut each);
        }
        self.seen = seen;
        if last {
            self.seen = Seen::default();
            // A late message of the warm-up does not count.
            record.tally.websocket_messages += u64::from(seen.tag || !seen.early);
            record.tally.untagged += u64::from(!seen.tag && !seen.early);
        }
        if delivered > 0 {
            engine.delivered.set(engine.delivered.get() + delivered);
            engine.last_ns.set(now_ns);
        }
    }

    /// Counts messages that the server accepted and this subscriber has not received.
    fn lost(&self, engine: &Engine) -> u64 {
        let publishers = engine.shared.publishers.iter();
        let of_room = publishers.skip(self.room).step_by(engine.plan.rooms);
        let accepted = of_room.map(|published| published.accepted.load(Ordering::Acquire));
        let tracks = self.tracks.iter().map(Track::unique);
        accepted
            .zip(tracks)
            .map(|(accepted, unique)| accepted.saturating_sub(unique))
            .sum()
    }
}

/// Classifies and records a tag.
#[inline]
fn deliver(
    engine: &Engine,
    record: &mut Record,
    tracks: &mut [Track],
    room: usize,
    tag: &MessageTag,
    now_ns: u64,
) -> Outcome {
    let (plan, shared) = (&engine.plan, &engine.shared);
    if tag.run != shared.run {
        record.tally.foreign += 1;
        return Outcome::Other;
    }
    if tag.due_ns < engine.measure_ns() {
        return Outcome::Early;
    }
    if tag.room as usize != room {
        record.tally.misrouted += 1;
        return Outcome::Other;
    }
    let publisher = tag.publisher as usize;
    let issued = shared.publishers.get(publisher);
    let track = tracks.get_mut(publisher / plan.rooms);
    let (Some(issued), Some(track)) = (issued, track) else {
        record.tally.foreign += 1;
        return Outcome::Other;
    };
    if publisher % plan.rooms != room || tag.sequence >= issued.issued.load(Ordering::Acquire) {
        record.tally.foreign += 1;
        return Outcome::Other;
    }
    match track.note(tag.sequence) {
        Arrival::New => {}
        Arrival::Late => record.tally.out_of_order += 1,
        Arrival::Duplicate => {
            record.tally.duplicates += 1;
            return Outcome::Other;
        }
        Arrival::TooLate => {
            record.tally.out_of_order += 1;
            return Outcome::Other;
        }
    }
    record.tally.deliveries += 1;
    let transit_ns = now_ns.saturating_sub(tag.sent_ns);
    record.transit.saturating_record(transit_ns);
    let delivery_ns = now_ns.saturating_sub(tag.due_ns);
    record.delivery.saturating_record(delivery_ns);
    Outcome::Delivery
}
