//! Tracks what one reader has read of the object: which pieces, in which order, and when.

use super::super::message_tag::{Found, MessageTag, Scanner};
use super::record::Record;

/// The object that grows, as far as readers know it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Object {
    pub run: u32,
    pub start_ns: u64,
    pub interval_ns: u64,
    pub piece_bytes: usize,
    pub stall_ns: u64,
    /// Pieces that were written, or are being written.
    pub issued: u64,
}

impl Object {
    /// When a piece is due.
    pub(crate) fn due_ns(&self, sequence: u64) -> u64 {
        self.start_ns + sequence * self.interval_ns
    }

    /// The tag of a piece.
    pub(crate) fn tag(&self, sequence: u64, sent_ns: u64) -> MessageTag {
        MessageTag {
            run: self.run,
            room: 0,
            publisher: 0,
            sequence,
            due_ns: self.due_ns(sequence),
            sent_ns,
            size: self.piece_bytes as u32,
        }
    }

    /// Whether a tag of this run has the content that the writer gave it.
    fn wrote(&self, tag: &MessageTag, now_ns: u64) -> bool {
        tag.sequence < self.issued
            && (tag.due_ns..=now_ns).contains(&tag.sent_ns)
            && *tag == self.tag(tag.sequence, tag.sent_ns)
    }
}

/// The state of one reader. Of the bytes read it keeps at most the beginning of one tag's head.
pub(super) struct Viewer {
    scanner: Scanner,
    seen: Seen,
}

struct Seen {
    /// The piece that is being received.
    open: Option<MessageTag>,
    /// The next piece; `None`: any piece may be the first.
    next: Option<u64>,
    /// An answer has begun that may repeat earlier bytes.
    again: bool,
    started: bool,
    asked_ns: u64,
    /// When the last whole piece was received.
    new_ns: u64,
}

impl Viewer {
    /// A reader that sent its first request at `asked_ns`.
    pub(crate) fn new(from_start: bool, asked_ns: u64) -> Self {
        Self {
            scanner: Scanner::default(),
            seen: Seen {
                open: None,
                next: from_start.then_some(0),
                again: false,
                started: false,
                asked_ns,
                new_ns: asked_ns,
            },
        }
    }

    /// Takes the next bytes of the object.
    #[inline]
    pub(crate) fn take(&mut self, bytes: &[u8], now_ns: u64, object: &Object, record: &mut Record) {
        let Self { scanner, seen } = self;
        scanner.scan(bytes, |found| match found {
            Found::Tag(tag) => {
                // The previous piece was complete.
                seen.whole(now_ns, object, record);
                seen.head(tag, now_ns, object, record);
            }
            Found::Damaged => {
                seen.open = None;
                record.tally.damaged += 1;
            }
        });
        if !scanner.is_within() {
            seen.whole(now_ns, object, record);
        }
    }

    /// Notes that another answer begins, so that the next bytes need not follow the last ones.
    pub(crate) fn begin_again(&mut self) {
        self.scanner = Scanner::default();
        self.seen.again = true;
        // A piece that the end of its answer truncated is expected again.
        if let Some(tag) = self.seen.open.take() {
            self.seen.next = Some(tag.sequence);
        }
    }

    /// Whether the reader has all pieces that were written.
    pub(crate) fn has_all(&self, object: &Object) -> bool {
        self.seen.open.is_none() && self.seen.next.is_some_and(|next| next >= object.issued)
    }

    /// Whether the reader has received a whole piece.
    pub(crate) fn has_started(&self) -> bool {
        self.seen.started
    }

    /// Returns the number of pieces that it has not read, and records the stall if it still waits
    /// for them.
    pub(crate) fn unread(&self, now_ns: u64, object: &Object, record: &mut Record) -> u64 {
        let seen = &self.seen;
        let open = seen.open.map(|tag| tag.sequence);
        let unread_from = open.or(seen.next).unwrap_or(object.issued);
        let unread = object.issued.saturating_sub(unread_from);
        if unread > 0 {
            seen.waited(object.due_ns(unread_from), now_ns, object, record);
        }
        unread
    }
}

impl Seen {
    fn head(&mut self, tag: MessageTag, now_ns: u64, object: &Object, record: &mut Record) {
        let tally = &mut record.tally;
        if tag.run != object.run {
            tally.foreign += 1;
            return;
        }
        if !object.wrote(&tag, now_ns) {
            tally.damaged += 1;
            return;
        }
        let next = self.next.unwrap_or(tag.sequence);
        if tag.sequence < next {
            tally.repeated += u64::from(!self.again);
            return;
        }
        tally.gap += tag.sequence - next;
        self.again = false;
        self.next = Some(tag.sequence + 1);
        self.open = Some(tag);
    }

    /// Records the piece that is being received as complete, if there is one.
    fn whole(&mut self, now_ns: u64, object: &Object, record: &mut Record) {
        let Some(tag) = self.open.take() else {
            return;
        };
        record.tally.pieces += 1;
        self.waited(tag.sent_ns, now_ns, object, record);
        self.new_ns = now_ns;
        if !std::mem::replace(&mut self.started, true) {
            let took_ns = now_ns.saturating_sub(self.asked_ns);
            record.startup.saturating_record(took_ns);
        }
        // For a piece written before the reader's first request, this time is the age of the object
        // and not a delay.
        if tag.sent_ns >= self.asked_ns {
            let written_ns = now_ns.saturating_sub(tag.sent_ns);
            record.written.saturating_record(written_ns);
            let due_ns = now_ns.saturating_sub(tag.due_ns);
            record.due.saturating_record(due_ns);
        }
    }

    /// Records a stall: no new piece for long, although one was written at `written_ns`.
    fn waited(&self, written_ns: u64, now_ns: u64, object: &Object, record: &mut Record) {
        let waited_ns = now_ns.saturating_sub(self.new_ns.max(written_ns));
        if waited_ns > object.stall_ns {
            record.tally.stalls += 1;
            record.tally.stalled_ns += waited_ns;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::intervals::Recorded;
    use super::*;

    const OBJECT: Object = Object {
        run: 7,
        start_ns: 1_000,
        interval_ns: 100,
        piece_bytes: 200,
        stall_ns: 1_000,
        issued: 50,
    };

    fn piece(sequence: u64) -> Vec<u8> {
        let mut bytes = vec![0; OBJECT.piece_bytes];
        let sent_ns = OBJECT.due_ns(sequence) + 1;
        OBJECT.tag(sequence, sent_ns).write(&mut bytes);
        bytes
    }

    /// A viewer that sent its first request at 0, fed `bytes` in parts of `cut`, at `now_ns`.
    fn seen(from_start: bool, bytes: &[u8], cut: usize, now_ns: u64) -> (Viewer, Record) {
        let (mut viewer, mut record) = (Viewer::new(from_start, 0), Record::new());
        for part in bytes.chunks(cut) {
            viewer.take(part, now_ns, &OBJECT, &mut record);
        }
        (viewer, record)
    }

    fn counts(record: &Record) -> (u64, u64, u64, u64) {
        let tally = &record.tally;
        (tally.pieces, tally.gap, tally.repeated, tally.damaged)
    }

    #[test]
    fn a_piece_counts_when_it_is_whole() {
        let bytes = [piece(3), piece(4), piece(5)].concat();
        for cut in [1, 7, 199, 200, 201, 1000] {
            let (viewer, record) = seen(false, &bytes, cut, 10_000);
            assert_eq!(counts(&record), (3, 0, 0, 0), "{cut}");
            assert_eq!((record.written.len(), record.startup.len()), (3, 1));
            assert_eq!(viewer.unread(10_000, &OBJECT, &mut Record::new()), 44);
        }
        let (viewer, record) = seen(false, &bytes[..599], 600, 10_000);
        assert_eq!(counts(&record), (2, 0, 0, 0));
        assert_eq!(viewer.unread(10_000, &OBJECT, &mut Record::new()), 45);
    }

    #[test]
    fn who_comes_in_the_middle_of_a_piece_begins_with_the_next() {
        let bytes = [piece(3), piece(4)].concat();
        let (_, record) = seen(false, &bytes[50..], 64, 10_000);
        assert_eq!(counts(&record), (1, 0, 0, 0));
        let (_, record) = seen(true, &bytes, 64, 10_000);
        assert_eq!(counts(&record), (2, 3, 0, 0), "pieces 0 to 2 are missing");
    }

    #[test]
    fn what_is_missing_comes_again_or_is_changed_is_counted() {
        let bytes = [piece(3), piece(6), piece(6), piece(5), piece(7)].concat();
        let (_, record) = seen(false, &bytes, 90, 10_000);
        assert_eq!(counts(&record), (3, 2, 2, 0));
        // A letter of the padding; a digit of the moment at which it was due.
        for at in [150, 55] {
            let mut bytes = [piece(3), piece(4), piece(5)].concat();
            bytes[200 + at] ^= 1;
            let (_, record) = seen(false, &bytes, 90, 10_000);
            let (pieces, gap, _, damaged) = counts(&record);
            assert_eq!((pieces, damaged), (2, 1), "at {at}");
            assert_eq!(gap, u64::from(at == 55), "at {at}");
        }
    }

    #[test]
    fn another_answer_may_begin_before_what_is_known() {
        let (mut viewer, mut record) = seen(true, &[piece(0), piece(1)].concat()[..350], 90, 9_000);
        viewer.begin_again();
        let again = [piece(0), piece(1), piece(2)].concat();
        viewer.take(&again, 9_000, &OBJECT, &mut record);
        assert_eq!(counts(&record), (3, 0, 0, 0));
    }

    #[test]
    fn a_stall_needs_something_to_read() {
        let (mut viewer, mut record) = seen(false, &piece(0), 1000, 1_500);
        assert_eq!(record.tally.stalls, 0);
        // Piece 40 was written at 5,001: before that, the reader waited for a piece that was not
        // written.
        viewer.take(&piece(1), 2_600, &OBJECT, &mut record);
        assert_eq!((record.tally.stalls, record.tally.stalled_ns), (1, 1_100));
        viewer.take(&piece(40), 5_900, &OBJECT, &mut record);
        assert_eq!((record.tally.stalls, record.tally.gap), (1, 38));
    }

    #[test]
    fn what_was_there_before_a_reader_has_no_part_in_the_times() {
        let mut viewer = Viewer::new(true, OBJECT.due_ns(2));
        let mut record = Record::new();
        let bytes = [piece(0), piece(1), piece(2)].concat();
        viewer.take(&bytes, 1_300, &OBJECT, &mut record);
        assert_eq!((record.tally.pieces, record.written.len()), (3, 1));
        // Histograms are exact to 64 ns.
        assert!(record.written.max() < 1_300 - 1_101);
    }
}
