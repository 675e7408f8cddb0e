//! Range requests on one shard: chooses the piece that a connection requests next, checks that the
//! answer is that range, and passes answers to the video players.

use super::engine::{ConnectionState, Due, Engine};
use super::error::ErrorClass;
use super::player::{Player, PlayerAction};
use super::ranges::{Piece, RangePattern, Ranges};
use super::record::PlayerRecord;
use crate::http::h1::response::Answer;

impl Engine {
    /// Chooses a connection's next object and piece: a random one, or the next in sequence.
    pub(crate) fn pick_piece(&self, state: &ConnectionState, ranges: &Ranges) -> (u32, Piece) {
        if ranges.spec.pattern == RangePattern::Random {
            let request = self.choice.borrow_mut().next();
            let piece = self.random.borrow_mut().u32(..ranges.pieces(request));
            return (request, piece);
        }
        let (request, piece) = match state.next.get() {
            (request, piece) if piece < ranges.pieces(request) => (request, piece),
            _ => (self.choice.borrow_mut().next(), 0),
        };
        state.next.set((request, piece + 1));
        (request, piece)
    }

    /// Whether an answer is the requested range. A successful answer that is not counts as an
    /// error.
    pub(crate) fn check_range(&self, due: Due, answer: Answer, head: &[u8]) -> bool {
        let Some(ranges) = &self.plan.ranges else {
            return true;
        };
        let good = answer.status == 206
            && ranges.is_answer(due.request, due.piece, head, answer.body_bytes);
        if !good && answer.status < 400 && due.due_ns >= self.measure_ns() {
            self.error(due, ErrorClass::BadRange);
        }
        good
    }

    /// The next action of a connection's player, if it has one.
    pub(crate) fn player_action(
        &self,
        state: &ConnectionState,
        now_ns: u64,
    ) -> Option<PlayerAction> {
        self.with_player(state, now_ns, |player, ranges, record| {
            player.next(now_ns, ranges, record, || self.choice.borrow_mut().next())
        })
    }

    /// Passes the end of an answer to a connection's player; `good` if it had the requested bytes.
    pub(crate) fn player_answered(&self, state: &ConnectionState, good: bool, now_ns: u64) {
        let now_ns = now_ns.min(self.end_ns());
        self.with_player(state, now_ns, |player, ranges, record| {
            player.piece_complete(good, now_ns, ranges, record);
        });
    }

    /// Calls `each` with a connection's player, if it has one. Discards the players' records of the
    /// warm-up once that is over.
    pub(crate) fn with_player<T>(
        &self,
        state: &ConnectionState,
        now_ns: u64,
        each: impl FnOnce(&mut Player, &Ranges, &mut PlayerRecord) -> T,
    ) -> Option<T> {
        let (player, record) = (state.player.as_ref()?, self.players.as_ref()?);
        let ranges = self.plan.ranges.as_ref()?;
        let mut record = record.borrow_mut();
        if now_ns >= self.measure_ns() && !record.measured {
            *record = PlayerRecord::new();
            record.measured = true;
        }
        Some(each(&mut player.borrow_mut(), ranges, &mut record))
    }

    /// Takes the players' records.
    pub(crate) fn take_players(&self) -> Option<PlayerRecord> {
        let players = self.players.as_ref()?;
        Some(players.replace(PlayerRecord::new()))
    }
}
