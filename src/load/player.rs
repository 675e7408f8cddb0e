//! A video player as a server sees it: it opens a file, reads its movie box, fills a buffer that is
//! played out at the media's rate, seeks, and goes on to another file at the end.
//!
//! It reads no clock and has no socket: its inputs are moments and received bytes, its output is
//! which range to request next.

use super::mp4::Walker;
use super::ranges::{Piece, PlayerOptions, Ranges};
use super::record::PlayerRecord;
use crate::load::limits;

/// What a player does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlayerAction {
    /// It asks for a piece of an object.
    Ask(u32, Piece),
    /// Nothing before this moment.
    Later(u64),
}

/// One player.
pub(super) struct Player {
    random: fastrand::Rng,
    object: Option<Object>,
    /// The piece that is under way.
    asked: Option<Piece>,
    /// Bytes of that piece that were received.
    got: u64,
    /// After a wrong answer it waits.
    not_before_ns: u64,
}

struct Object {
    request: u32,
    pieces: Piece,
    opened_ns: u64,
    stage: Stage,
}

enum Stage {
    /// The movie box is looked for.
    Opening(Box<Opening>),
    Playing(Playback),
}

struct Opening {
    walker: Walker,
    /// As it was before the piece that is under way.
    before: Walker,
    /// Pieces that have come, from the first on.
    held: Piece,
}

struct Playback {
    bytes_per_s: f64,
    /// The first piece with media.
    first: Piece,
    /// The next one to ask for.
    next: Piece,
    /// Bytes in front of what is played.
    buffered: f64,
    now: Playhead,
    seek_ns: u64,
}

/// What is on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Playhead {
    Playing {
        since_ns: u64,
    },
    Waiting {
        since_ns: u64,
        why: Why,
    },
    /// The last byte was played.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Opening,
    Seek,
    /// The buffer ran dry.
    Stall,
}

impl Player {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            object: None,
            asked: None,
            got: 0,
            not_before_ns: 0,
        }
    }

    /// What to do now; a piece that was under way and has not [`come`](Self::came) was lost and is
    /// asked for again. `choose` gives another object.
    pub(crate) fn next(
        &mut self,
        now_ns: u64,
        ranges: &Ranges,
        record: &mut PlayerRecord,
        choose: impl FnOnce() -> u32,
    ) -> PlayerAction {
        if now_ns < self.not_before_ns {
            return PlayerAction::Later(self.not_before_ns);
        }
        let over = match &mut self.object {
            None => true,
            Some(Object {
                stage: Stage::Playing(playback),
                pieces,
                ..
            }) => {
                playback.advance(now_ns, *pieces, record);
                playback.now == Playhead::Ended
            }
            Some(_) => false,
        };
        if over {
            let request = choose();
            let walker = Walker::new(ranges.sizes[request as usize]);
            self.object = Some(Object {
                request,
                pieces: ranges.pieces(request),
                opened_ns: now_ns,
                stage: Stage::Opening(Box::new(Opening {
                    before: walker.clone(),
                    walker,
                    held: 0,
                })),
            });
            record.opened += 1;
        }
        let Some(object) = &mut self.object else {
            return PlayerAction::Later(now_ns);
        };
        let piece = match &mut object.stage {
            Stage::Opening(opening) => {
                if self.asked.is_some() {
                    opening.walker.clone_from(&opening.before);
                }
                opening.before.clone_from(&opening.walker);
                (opening.walker.wanted().unwrap_or(0) / ranges.spec.piece_bytes) as Piece
            }
            Stage::Playing(playback) => {
                if now_ns >= playback.seek_ns && playback.is_playing() {
                    playback.seek(now_ns, object.pieces, &mut self.random);
                    playback.seek_ns = next_seek(now_ns, &ranges.player, &mut self.random);
                    record.seeks += 1;
                }
                let (next, pieces) = (playback.next, object.pieces);
                if let Some(at_ns) = playback.full_until(now_ns, next == pieces, ranges) {
                    return PlayerAction::Later(at_ns.min(playback.seek_ns));
                }
                next
            }
        };
        self.asked = Some(piece);
        self.got = 0;
        PlayerAction::Ask(object.request, piece)
    }

    /// Takes in what comes of the piece that is under way.
    pub(crate) fn data(&mut self, bytes: &[u8], ranges: &Ranges) {
        let at = self.got;
        self.got += bytes.len() as u64;
        if let (Some(piece), Some(object)) = (self.asked, &mut self.object)
            && let Stage::Opening(opening) = &mut object.stage
        {
            opening
                .walker
                .feed(u64::from(piece) * ranges.spec.piece_bytes + at, bytes);
        }
    }

    /// The answer is complete; `good` if it has the requested bytes.
    pub(crate) fn came(
        &mut self,
        good: bool,
        now_ns: u64,
        ranges: &Ranges,
        record: &mut PlayerRecord,
    ) {
        if !good {
            // The same piece is requested again after a pause.
            self.not_before_ns = now_ns + limits::PLAYER_RETRY_MS * 1_000_000;
            return;
        }
        let (Some(piece), Some(object)) = (self.asked.take(), &mut self.object) else {
            return;
        };
        let pieces = object.pieces;
        match &mut object.stage {
            Stage::Opening(opening) => {
                let Opening { walker, held, .. } = &mut **opening;
                if piece == *held {
                    *held += 1;
                }
                if walker.wanted().is_none() {
                    let seek_ns = next_seek(now_ns, &ranges.player, &mut self.random);
                    let mut playback = Playback::begin(object.request, walker, *held, ranges);
                    playback.seek_ns = seek_ns;
                    playback.now = Playhead::Waiting {
                        since_ns: object.opened_ns,
                        why: Why::Opening,
                    };
                    record.without_moov += u64::from(!walker.found());
                    playback.play_if_enough(now_ns, pieces, record);
                    object.stage = Stage::Playing(playback);
                }
            }
            Stage::Playing(playback) => {
                playback.advance(now_ns, pieces, record);
                playback.buffered += ranges.range(object.request, piece).len as f64;
                playback.next = piece + 1;
                playback.play_if_enough(now_ns, pieces, record);
            }
        }
    }

    /// The load ends: what is on the screen is counted up to now.
    pub(crate) fn finish(&mut self, now_ns: u64, record: &mut PlayerRecord) {
        if let Some(object) = &mut self.object
            && let Stage::Playing(playback) = &mut object.stage
        {
            playback.advance(now_ns, object.pieces, record);
            if let Playhead::Waiting {
                since_ns,
                why: Why::Stall,
            } = playback.now
            {
                record.stalled(now_ns.saturating_sub(since_ns));
            }
        }
    }
}

/// The moment of the next seek.
fn next_seek(now_ns: u64, options: &PlayerOptions, random: &mut fastrand::Rng) -> u64 {
    options.seek_ms.map_or(u64::MAX, |mean_ms| {
        let gap = -(1.0 - random.f64()).ln() * mean_ms as f64 * 1e6;
        now_ns.saturating_add(gap as u64)
    })
}

impl Playback {
    /// Of a file whose first `held` pieces are there.
    fn begin(request: u32, walker: &Walker, held: Piece, ranges: &Ranges) -> Self {
        let size = ranges.sizes[request as usize];
        let stated = ranges.player.bits_per_s.map(|bits| bits / 8.0);
        let of_file = walker.duration_s().map(|seconds| size as f64 / seconds);
        let bytes_per_s = stated
            .or(of_file)
            .unwrap_or(limits::PLAYER_BITS_PER_S as f64 / 8.0);
        let media = walker.media().unwrap_or(0);
        let held_to = (u64::from(held) * ranges.spec.piece_bytes).min(size);
        let first = (media.min(size - 1) / ranges.spec.piece_bytes) as Piece;
        Self {
            bytes_per_s,
            first,
            next: first.max(held),
            buffered: held_to.saturating_sub(media) as f64,
            now: Playhead::Ended,
            seek_ns: u64::MAX,
        }
    }

    fn bytes_in(&self, ms: u64) -> f64 {
        self.bytes_per_s * ms as f64 / 1e3
    }

    /// Plays up to now.
    fn advance(&mut self, now_ns: u64, pieces: Piece, record: &mut PlayerRecord) {
        let Playhead::Playing { since_ns } = self.now else {
            return;
        };
        let passed_ns = now_ns.saturating_sub(since_ns);
        let played = self.bytes_per_s * passed_ns as f64 / 1e9;
        if played < self.buffered {
            self.buffered -= played;
            self.now = Playhead::Playing { since_ns: now_ns };
            record.played_ns += passed_ns;
            return;
        }
        let left_ns = (self.buffered / self.bytes_per_s * 1e9) as u64;
        self.buffered = 0.0;
        record.played_ns += left_ns;
        self.now = match self.next == pieces {
            true => Playhead::Ended,
            false => Playhead::Waiting {
                since_ns: since_ns + left_ns,
                why: Why::Stall,
            },
        };
        record.ended += u64::from(self.now == Playhead::Ended);
    }

    fn play_if_enough(&mut self, now_ns: u64, pieces: Piece, record: &mut PlayerRecord) {
        let Playhead::Waiting { since_ns, why } = self.now else {
            return;
        };
        let enough = self.bytes_in(limits::PLAYER_START_MS);
        if self.buffered >= enough || self.next == pieces {
            let waited_ns = now_ns.saturating_sub(since_ns);
            match why {
                Why::Opening => record.started(waited_ns),
                Why::Seek => record.found(waited_ns),
                Why::Stall => record.stalled(waited_ns),
            }
            self.now = Playhead::Playing { since_ns: now_ns };
        }
    }

    fn is_playing(&self) -> bool {
        matches!(self.now, Playhead::Playing { .. })
    }

    /// Leaves the buffer for a random place.
    fn seek(&mut self, now_ns: u64, pieces: Piece, random: &mut fastrand::Rng) {
        self.next = random.u32(self.first..pieces);
        self.buffered = 0.0;
        self.now = Playhead::Waiting {
            since_ns: now_ns,
            why: Why::Seek,
        };
    }

    /// When there is room for another piece, if there is none now; with `all` read, when it has been
    /// played.
    fn full_until(&self, now_ns: u64, all: bool, ranges: &Ranges) -> Option<u64> {
        if !self.is_playing() {
            return None;
        }
        let piece = ranges.spec.piece_bytes as f64;
        // A piece that is larger than the buffer comes while another one is played.
        let capacity = self.bytes_in(ranges.player.buffer_ms).max(2.0 * piece);
        let too_much = match all {
            true => self.buffered,
            false => self.buffered + piece - capacity,
        };
        let wait_ns = (too_much / self.bytes_per_s * 1e9).ceil();
        (all || wait_ns > 0.0).then(|| now_ns.saturating_add((wait_ns as u64).max(1)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: u64 = 1_000_000_000;
    const NOT_ASKED: fn() -> u32 = || unreachable!("no other object is needed");

    /// Ten pieces of a second each, without a movie box; as much is read ahead as `buffer_ms` holds.
    fn ranges(buffer_ms: u64) -> Ranges {
        Ranges {
            spec: "player:1000".parse().unwrap(),
            sizes: vec![10_000],
            player: PlayerOptions {
                bits_per_s: Some(8_000.0),
                seek_ms: None,
                buffer_ms,
            },
        }
    }

    /// A player that has opened the file, and been given the first piece, at the second 1.
    fn opened(ranges: &Ranges, record: &mut PlayerRecord) -> Player {
        let mut player = Player::new(1);
        assert_eq!(
            player.next(0, ranges, record, || 0),
            PlayerAction::Ask(0, 0)
        );
        player.data(&[b'x'; 1000], ranges);
        player.came(true, S, ranges, record);
        player
    }

    #[test]
    fn the_buffer_is_filled_played_and_runs_dry() {
        let (ranges, mut record) = (ranges(3000), PlayerRecord::new());
        let mut player = opened(&ranges, &mut record);
        // The first second is there, and plays.
        assert_eq!((record.opened, record.without_moov), (1, 1));
        assert_eq!(record.startup.max() / S, 1);
        for piece in [1, 2] {
            let turn = player.next(S, &ranges, &mut record, NOT_ASKED);
            assert_eq!(turn, PlayerAction::Ask(0, piece));
            player.came(true, S, &ranges, &mut record);
        }
        // Three seconds are in the buffer, and there is room for a fourth when one has been played.
        let turn = player.next(S, &ranges, &mut record, NOT_ASKED);
        assert_eq!(turn, PlayerAction::Later(2 * S));
        let turn = player.next(2 * S, &ranges, &mut record, NOT_ASKED);
        assert_eq!(turn, PlayerAction::Ask(0, 3));
        // It takes until 7; at 4 there was nothing left to play.
        player.came(true, 7 * S, &ranges, &mut record);
        assert_eq!((record.stalls, record.stalled_ns), (1, 3 * S));
        player.next(7 * S, &ranges, &mut record, NOT_ASKED);
        player.finish(10 * S, &mut record);
        assert_eq!((record.stalls, record.stalled_ns), (2, 5 * S));
        assert_eq!(record.played_ns, 4 * S);
    }

    #[test]
    fn another_file_is_opened_when_the_end_has_been_played() {
        let (ranges, mut record) = (ranges(60_000), PlayerRecord::new());
        let mut player = opened(&ranges, &mut record);
        for piece in 1..10 {
            let turn = player.next(S, &ranges, &mut record, NOT_ASKED);
            assert_eq!(turn, PlayerAction::Ask(0, piece));
            player.came(true, S, &ranges, &mut record);
        }
        let turn = player.next(2 * S, &ranges, &mut record, NOT_ASKED);
        assert_eq!(turn, PlayerAction::Later(11 * S));
        assert_eq!(
            player.next(11 * S, &ranges, &mut record, || 0),
            PlayerAction::Ask(0, 0)
        );
        assert_eq!((record.opened, record.ended, record.stalls), (2, 1, 0));
        assert_eq!(record.played_ns, 10 * S);
    }

    #[test]
    fn a_seek_leaves_the_buffer() {
        let (mut ranges, mut record) = (ranges(3000), PlayerRecord::new());
        ranges.player.seek_ms = Some(1);
        let mut player = opened(&ranges, &mut record);
        // A mean of a millisecond: the seek is due by now.
        let PlayerAction::Ask(0, piece) = player.next(S + S / 2, &ranges, &mut record, NOT_ASKED)
        else {
            panic!("it asks for where it seeks to");
        };
        assert_eq!((record.seeks, record.seek.len()), (1, 0));
        player.came(true, 2 * S, &ranges, &mut record);
        assert_eq!((record.seek.len(), record.stalls), (1, 0));
        assert!(record.seek.max().abs_diff(S / 2) < S / 500, "piece {piece}");
        assert_eq!(record.played_ns, S / 2);
    }

    #[test]
    fn what_was_refused_is_asked_for_again_after_a_while() {
        let (ranges, mut record) = (ranges(3000), PlayerRecord::new());
        let mut player = Player::new(1);
        player.next(0, &ranges, &mut record, || 0);
        player.data(b"an error page", &ranges);
        player.came(false, 5, &ranges, &mut record);
        let retry_ns = 5 + limits::PLAYER_RETRY_MS * 1_000_000;
        let turn = player.next(6, &ranges, &mut record, NOT_ASKED);
        assert_eq!(turn, PlayerAction::Later(retry_ns));
        let turn = player.next(retry_ns, &ranges, &mut record, NOT_ASKED);
        assert_eq!(turn, PlayerAction::Ask(0, 0));
        assert_eq!((record.opened, record.without_moov), (1, 0));
    }

    proptest! {
        /// With answers at any moments, a player requests only what the object has, always has a
        /// next moment, and does not play faster than time goes by.
        #[test]
        fn time_is_played_or_waited_for(
            seed: u64,
            size in 1..5000u64,
            seek_ms in proptest::option::of(1..3000u64),
            steps in proptest::collection::vec((0..3 * S, any::<bool>()), 1..100),
        ) {
            let mut ranges = ranges(2000);
            ranges.sizes = vec![size, 2 * size];
            ranges.player.seek_ms = seek_ms;
            let (mut record, mut player) = (PlayerRecord::new(), Player::new(seed));
            let mut now_ns = 0;
            for (wait_ns, good) in steps {
                match player.next(now_ns, &ranges, &mut record, || (seed % 2) as u32) {
                    PlayerAction::Later(at_ns) => {
                        prop_assert!(at_ns > now_ns);
                        now_ns = at_ns;
                    }
                    PlayerAction::Ask(request, piece) => {
                        prop_assert!(piece < ranges.pieces(request));
                        now_ns += wait_ns;
                        let bytes = ranges.range(request, piece).len as usize;
                        player.data(&vec![b'x'; bytes], &ranges);
                        player.came(good, now_ns, &ranges, &mut record);
                    }
                }
            }
            player.finish(now_ns, &mut record);
            prop_assert!(record.played_ns + record.stalled_ns <= now_ns + 1000);
        }
    }
}
