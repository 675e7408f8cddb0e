//! A video player as a server sees it: it opens a file, reads its movie box, fills a buffer that
//! drains at the media's bit rate, seeks, and opens another file at the end.
//!
//! It reads no clock and has no socket: its inputs are moments and received bytes, its output is
//! which range to request next.

use super::mp4::MovieBoxScanner;
use super::ranges::{Piece, PlayerOptions, Ranges};
use super::record::PlayerRecord;
use crate::load::limits;

/// The next action of a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PlayerAction {
    /// Request this piece of this object.
    Request(u32, Piece),
    /// Do nothing before this moment.
    WaitUntil(u64),
}

/// One player.
pub(super) struct Player {
    random: fastrand::Rng,
    object: Option<Object>,
    /// The piece that was requested and is not complete.
    requested: Option<Piece>,
    /// Bytes of that piece that were received.
    received: u64,
    /// When the next request may be sent, after a wrong answer.
    not_before_ns: u64,
}

struct Object {
    request: u32,
    pieces: Piece,
    opened_ns: u64,
    stage: Stage,
}

enum Stage {
    /// The player reads the file up to its movie box.
    Opening(Box<Opening>),
    Playing(Playback),
}

struct Opening {
    scanner: MovieBoxScanner,
    /// The scanner's state before the requested piece.
    before: MovieBoxScanner,
    /// Pieces that were received without a gap, from the first on.
    pieces_read: Piece,
}

struct Playback {
    bytes_per_s: f64,
    /// The first piece that contains media.
    first: Piece,
    /// The next piece to request.
    next: Piece,
    /// Bytes that are buffered and not played.
    buffered: f64,
    now: Playhead,
    seek_ns: u64,
}

/// The state of playback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Playhead {
    Playing {
        since_ns: u64,
    },
    Waiting {
        since_ns: u64,
        cause: WaitCause,
    },
    /// The last byte was played.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitCause {
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
            requested: None,
            received: 0,
            not_before_ns: 0,
        }
    }

    /// Decides what to do now. If a requested piece was not [completed](Self::piece_complete), its
    /// connection was lost, and it is requested again. `choose` returns the next object.
    pub(crate) fn next(
        &mut self,
        now_ns: u64,
        ranges: &Ranges,
        record: &mut PlayerRecord,
        choose: impl FnOnce() -> u32,
    ) -> PlayerAction {
        if now_ns < self.not_before_ns {
            return PlayerAction::WaitUntil(self.not_before_ns);
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
            let scanner = MovieBoxScanner::new(ranges.sizes[request as usize]);
            self.object = Some(Object {
                request,
                pieces: ranges.pieces(request),
                opened_ns: now_ns,
                stage: Stage::Opening(Box::new(Opening {
                    before: scanner.clone(),
                    scanner,
                    pieces_read: 0,
                })),
            });
            record.opened += 1;
        }
        let Some(object) = &mut self.object else {
            return PlayerAction::WaitUntil(now_ns);
        };
        let piece = match &mut object.stage {
            Stage::Opening(opening) => {
                if self.requested.is_some() {
                    opening.scanner.clone_from(&opening.before);
                }
                opening.before.clone_from(&opening.scanner);
                (opening.scanner.wanted().unwrap_or(0) / ranges.spec.piece_bytes) as Piece
            }
            Stage::Playing(playback) => {
                if now_ns >= playback.seek_ns && playback.is_playing() {
                    playback.seek(now_ns, object.pieces, &mut self.random);
                    playback.seek_ns = next_seek(now_ns, &ranges.player, &mut self.random);
                    record.seeks += 1;
                }
                let (next, pieces) = (playback.next, object.pieces);
                if let Some(at_ns) = playback.full_until(now_ns, next == pieces, ranges) {
                    return PlayerAction::WaitUntil(at_ns.min(playback.seek_ns));
                }
                next
            }
        };
        self.requested = Some(piece);
        self.received = 0;
        PlayerAction::Request(object.request, piece)
    }

    /// Takes received bytes of the requested piece.
    pub(crate) fn data(&mut self, bytes: &[u8], ranges: &Ranges) {
        let at = self.received;
        self.received += bytes.len() as u64;
        if let (Some(piece), Some(object)) = (self.requested, &mut self.object)
            && let Stage::Opening(opening) = &mut object.stage
        {
            opening
                .scanner
                .feed(u64::from(piece) * ranges.spec.piece_bytes + at, bytes);
        }
    }

    /// The answer is complete; `good` if it has the requested bytes.
    pub(crate) fn piece_complete(
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
        let (Some(piece), Some(object)) = (self.requested.take(), &mut self.object) else {
            return;
        };
        let pieces = object.pieces;
        match &mut object.stage {
            Stage::Opening(opening) => {
                let Opening {
                    scanner,
                    pieces_read,
                    ..
                } = &mut **opening;
                if piece == *pieces_read {
                    *pieces_read += 1;
                }
                if scanner.wanted().is_none() {
                    let seek_ns = next_seek(now_ns, &ranges.player, &mut self.random);
                    let mut playback =
                        Playback::begin(object.request, scanner, *pieces_read, ranges);
                    playback.seek_ns = seek_ns;
                    playback.now = Playhead::Waiting {
                        since_ns: object.opened_ns,
                        cause: WaitCause::Opening,
                    };
                    record.without_moov += u64::from(!scanner.found());
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

    /// Ends the player with the load: counts playing and stall times up to now.
    pub(crate) fn finish(&mut self, now_ns: u64, record: &mut PlayerRecord) {
        if let Some(object) = &mut self.object
            && let Stage::Playing(playback) = &mut object.stage
        {
            playback.advance(now_ns, object.pieces, record);
            if let Playhead::Waiting {
                since_ns,
                cause: WaitCause::Stall,
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
    /// Starts a file whose first `pieces_read` pieces were received.
    fn begin(request: u32, scanner: &MovieBoxScanner, pieces_read: Piece, ranges: &Ranges) -> Self {
        let size = ranges.sizes[request as usize];
        let stated = ranges.player.bits_per_s.map(|bits| bits / 8.0);
        let of_file = scanner.duration_s().map(|seconds| size as f64 / seconds);
        let bytes_per_s = stated
            .or(of_file)
            .unwrap_or(limits::PLAYER_BITS_PER_S as f64 / 8.0);
        let media_at = scanner.media_at().unwrap_or(0);
        let held_to = (u64::from(pieces_read) * ranges.spec.piece_bytes).min(size);
        let first = (media_at.min(size - 1) / ranges.spec.piece_bytes) as Piece;
        Self {
            bytes_per_s,
            first,
            next: first.max(pieces_read),
            buffered: held_to.saturating_sub(media_at) as f64,
            now: Playhead::Ended,
            seek_ns: u64::MAX,
        }
    }

    fn bytes_in(&self, ms: u64) -> f64 {
        self.bytes_per_s * ms as f64 / 1e3
    }

    /// Advances playback to `now_ns`.
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
                cause: WaitCause::Stall,
            },
        };
        record.ended += u64::from(self.now == Playhead::Ended);
    }

    fn play_if_enough(&mut self, now_ns: u64, pieces: Piece, record: &mut PlayerRecord) {
        let Playhead::Waiting { since_ns, cause } = self.now else {
            return;
        };
        let enough = self.bytes_in(limits::PLAYER_START_MS);
        if self.buffered >= enough || self.next == pieces {
            let waited_ns = now_ns.saturating_sub(since_ns);
            match cause {
                WaitCause::Opening => record.started(waited_ns),
                WaitCause::Seek => record.found(waited_ns),
                WaitCause::Stall => record.stalled(waited_ns),
            }
            self.now = Playhead::Playing { since_ns: now_ns };
        }
    }

    fn is_playing(&self) -> bool {
        matches!(self.now, Playhead::Playing { .. })
    }

    /// Seeks to a random piece, which empties the buffer.
    fn seek(&mut self, now_ns: u64, pieces: Piece, random: &mut fastrand::Rng) {
        self.next = random.u32(self.first..pieces);
        self.buffered = 0.0;
        self.now = Playhead::Waiting {
            since_ns: now_ns,
            cause: WaitCause::Seek,
        };
    }

    /// If the buffer has no room for another piece, the moment at which it will; if `all` pieces
    /// were read, the moment at which they have been played.
    fn full_until(&self, now_ns: u64, all: bool, ranges: &Ranges) -> Option<u64> {
        if !self.is_playing() {
            return None;
        }
        let piece = ranges.spec.piece_bytes as f64;
        // If pieces are larger than the buffer, one is received while another one is played.
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

    /// An object of ten pieces, each of one second and without a movie box; players have a buffer
    /// of `buffer_ms`.
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
            PlayerAction::Request(0, 0)
        );
        player.data(&[b'x'; 1000], ranges);
        player.piece_complete(true, S, ranges, record);
        player
    }

    #[test]
    fn the_buffer_is_filled_played_and_runs_dry() {
        let (ranges, mut record) = (ranges(3000), PlayerRecord::new());
        let mut player = opened(&ranges, &mut record);
        // The first piece is buffered, and plays.
        assert_eq!((record.opened, record.without_moov), (1, 1));
        assert_eq!(record.startup.max() / S, 1);
        for piece in [1, 2] {
            let turn = player.next(S, &ranges, &mut record, NOT_ASKED);
            assert_eq!(turn, PlayerAction::Request(0, piece));
            player.piece_complete(true, S, &ranges, &mut record);
        }
        // The buffer holds three seconds; there is room for a fourth piece when one has been
        // played.
        let turn = player.next(S, &ranges, &mut record, NOT_ASKED);
        assert_eq!(turn, PlayerAction::WaitUntil(2 * S));
        let turn = player.next(2 * S, &ranges, &mut record, NOT_ASKED);
        assert_eq!(turn, PlayerAction::Request(0, 3));
        // The piece arrives at second 7; the buffer was empty at 4.
        player.piece_complete(true, 7 * S, &ranges, &mut record);
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
            assert_eq!(turn, PlayerAction::Request(0, piece));
            player.piece_complete(true, S, &ranges, &mut record);
        }
        let turn = player.next(2 * S, &ranges, &mut record, NOT_ASKED);
        assert_eq!(turn, PlayerAction::WaitUntil(11 * S));
        assert_eq!(
            player.next(11 * S, &ranges, &mut record, || 0),
            PlayerAction::Request(0, 0)
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
        let PlayerAction::Request(0, piece) =
            player.next(S + S / 2, &ranges, &mut record, NOT_ASKED)
        else {
            panic!("it asks for where it seeks to");
        };
        assert_eq!((record.seeks, record.seek.len()), (1, 0));
        player.piece_complete(true, 2 * S, &ranges, &mut record);
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
        player.piece_complete(false, 5, &ranges, &mut record);
        let retry_ns = 5 + limits::PLAYER_RETRY_MS * 1_000_000;
        let turn = player.next(6, &ranges, &mut record, NOT_ASKED);
        assert_eq!(turn, PlayerAction::WaitUntil(retry_ns));
        let turn = player.next(retry_ns, &ranges, &mut record, NOT_ASKED);
        assert_eq!(turn, PlayerAction::Request(0, 0));
        assert_eq!((record.opened, record.without_moov), (1, 0));
    }

    proptest! {
        /// With answers at any moments, a player requests only what the object has, always has a
        /// next moment, and does not play faster than real time.
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
                    PlayerAction::WaitUntil(at_ns) => {
                        prop_assert!(at_ns > now_ns);
                        now_ns = at_ns;
                    }
                    PlayerAction::Request(request, piece) => {
                        prop_assert!(piece < ranges.pieces(request));
                        now_ns += wait_ns;
                        let bytes = ranges.range(request, piece).len as usize;
                        player.data(&vec![b'x'; bytes], &ranges);
                        player.piece_complete(good, now_ns, &ranges, &mut record);
                    }
                }
            }
            player.finish(now_ns, &mut record);
            prop_assert!(record.played_ns + record.stalled_ns <= now_ns + 1000);
        }
    }
}
