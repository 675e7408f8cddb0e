//! Message tags: the generator's messages. Each tells its receiver which message it is, and when it
//! was due and sent.
//!
//! ```text
//! hw1:RUN-ROOM-PUBLISHER-SEQUENCE-DUE-SENT-SIZE:PADDING;
//! ```
//!
//! Numbers are lower-case hexadecimal of fixed length: 16 digits for the sequence and for the
//! moments (nanoseconds of this host's monotonic clock), 8 for the others. SIZE counts all bytes
//! from `hw1` to the semicolon. No character of a tag needs escaping in JSON, HTML or a URL, so a
//! tag can be found in whatever format the server wraps it; one text may have several.

use std::sync::LazyLock;

use memchr::memmem::Finder;

const PREFIX: &[u8; 4] = b"hw1:";
/// Made once, since making it takes as long as a search through a few messages.
static PREFIXES: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(PREFIX));
/// Bytes before the padding.
const HEAD_BYTES: usize = 4 + 8 + 1 + 8 + 1 + 8 + 1 + 16 + 1 + 16 + 1 + 16 + 1 + 8 + 1;
/// The bytes of a tag without padding.
pub const MESSAGE_TAG_BYTES_MIN: usize = HEAD_BYTES + 1;
const END: u8 = b';';

/// The letters of the padding. It starts at a place that the sequence number selects, so that
/// messages differ.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefgijklmnopqrstuvwxyz0123456789_.~";

/// The letters repeated, so that the text from any starting place is one slice.
static LETTERS_TWICE: [u8; 2 * LETTERS.len()] = {
    let mut twice = [0; 2 * LETTERS.len()];
    let (head, tail) = twice.split_at_mut(LETTERS.len());
    head.copy_from_slice(LETTERS);
    tail.copy_from_slice(LETTERS);
    twice
};

/// The content of a tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct MessageTag {
    pub run: u32,
    pub room: u32,
    pub publisher: u32,
    pub sequence: u64,
    pub due_ns: u64,
    pub sent_ns: u64,
    pub size: u32,
}

impl MessageTag {
    /// Fills `out`, of `size` bytes.
    pub(crate) fn write(&self, out: &mut [u8]) {
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        put(PREFIX);
        for (number, end) in [(self.run, b"-"), (self.room, b"-"), (self.publisher, b"-")] {
            put(&digits(number));
            put(end);
        }
        for number in [self.sequence, self.due_ns, self.sent_ns] {
            put(&digits((number >> 32) as u32));
            put(&digits(number as u32));
            put(b"-");
        }
        put(&digits(self.size));
        put(b":");
        let last = out.len() - 1;
        self.pad(&mut out[HEAD_BYTES..last]);
        out[last] = END;
    }

    fn pad(&self, padding: &mut [u8]) {
        for (at, byte) in padding.iter_mut().enumerate() {
            *byte = letter(self.sequence, at);
        }
    }

    /// The tag whose head this is.
    #[inline]
    fn read(head: &[u8; HEAD_BYTES]) -> Option<Self> {
        let eight = |at: usize| number(&head[at..at + 8]);
        let sixteen = |at: usize| Some(u64::from(eight(at)?) << 32 | u64::from(eight(at + 8)?));
        let tag = Self {
            run: eight(4)?,
            room: eight(13)?,
            publisher: eight(22)?,
            sequence: sixteen(31)?,
            due_ns: sixteen(48)?,
            sent_ns: sixteen(65)?,
            size: eight(82)?,
        };
        let between = [12, 21, 30, 47, 64, 81].iter().all(|&at| head[at] == b'-');
        (between && head[90] == b':' && tag.size as usize >= MESSAGE_TAG_BYTES_MIN).then_some(tag)
    }
}

/// A letter of the padding.
fn letter(sequence: u64, at: usize) -> u8 {
    LETTERS[(sequence as usize).wrapping_add(at) % LETTERS.len()]
}

/// Writes eight digits at once, one in each byte of the word.
fn digits(number: u32) -> [u8; 8] {
    let mut word = u64::from(number);
    word = (word | word << 16) & 0x0000_ffff_0000_ffff;
    word = (word | word << 8) & 0x00ff_00ff_00ff_00ff;
    word = (word | word << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    letters_of(word).to_be_bytes()
}

/// The digit of each byte, which is below 16.
fn letters_of(nibbles: u64) -> u64 {
    let above_nine = (nibbles + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    nibbles + 0x3030_3030_3030_3030 + above_nine * 0x27
}

/// The number of eight digits.
#[inline]
fn number(digits: &[u8]) -> Option<u32> {
    let word = u64::from_be_bytes(digits.try_into().ok()?);
    let is_letter = word >> 6 & 0x0101_0101_0101_0101;
    let nibbles = (word & 0x0f0f_0f0f_0f0f_0f0f) + is_letter * 9;
    if nibbles & 0xf0f0_f0f0_f0f0_f0f0 != 0 || letters_of(nibbles) != word {
        return None;
    }
    let word = (nibbles | nibbles >> 4) & 0x00ff_00ff_00ff_00ff;
    let word = (word | word >> 8) & 0x0000_ffff_0000_ffff;
    Some((word | word >> 16) as u32)
}

/// A finding of the scanner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    Tag(MessageTag),
    /// The previous tag is truncated, or its padding is altered.
    Damaged,
}

/// Finds tags in a text that arrives in pieces, with any bytes between the tags.
pub(super) struct Scanner {
    /// The beginning of an incomplete head.
    held: [u8; HEAD_BYTES],
    held_len: u8,
    /// The tag whose padding is being received, and how many bytes of it were.
    inside: Option<(MessageTag, u32)>,
}

impl Default for Scanner {
    fn default() -> Self {
        Self {
            held: [0; HEAD_BYTES],
            held_len: 0,
            inside: None,
        }
    }
}

impl Scanner {
    /// Scans the next piece; returns how many of its bytes belonged to tags.
    #[inline]
    pub(crate) fn scan(&mut self, bytes: &[u8], mut each: impl FnMut(Found)) -> usize {
        let (mut at, mut of_tags) = (0, 0);
        while at < bytes.len() {
            let rest = &bytes[at..];
            let used = if self.inside.is_some() {
                let used = self.padding(rest, &mut each);
                of_tags += used;
                used
            } else if self.held_len > 0 {
                let (used, tagged) = self.hold(rest, &mut each);
                of_tags += tagged;
                used
            } else if let Some(found) = next_prefix(rest) {
                match rest[found..].first_chunk() {
                    Some(head) => match MessageTag::read(head) {
                        Some(tag) => {
                            self.inside = Some((tag, 0));
                            each(Found::Tag(tag));
                            of_tags += HEAD_BYTES;
                            found + HEAD_BYTES
                        }
                        None => found + PREFIX.len(),
                    },
                    None => {
                        let (used, tagged) = self.hold(&rest[found..], &mut each);
                        of_tags += tagged;
                        found + used
                    }
                }
            } else {
                // The piece may end in a prefix's beginning.
                let tail = rest.len().saturating_sub(PREFIX.len() - 1);
                for &byte in &rest[tail..] {
                    self.hold_byte(byte);
                }
                rest.len()
            };
            at += used;
        }
        of_tags
    }

    /// Whether a tag has begun and not ended.
    pub(crate) fn is_within(&self) -> bool {
        self.inside.is_some()
    }

    /// Ends the text: a tag does not continue in the next one.
    pub(crate) fn end(&mut self, mut each: impl FnMut(Found)) {
        self.held_len = 0;
        if self.inside.take().is_some() {
            each(Found::Damaged);
        }
    }

    /// Completes an incomplete head; returns the bytes used and how many of them belonged to a tag.
    fn hold(&mut self, bytes: &[u8], each: &mut impl FnMut(Found)) -> (usize, usize) {
        for (at, &byte) in bytes.iter().enumerate() {
            if !self.hold_byte(byte) {
                return (at + 1, 0);
            }
            if usize::from(self.held_len) == HEAD_BYTES {
                self.held_len = 0;
                let Some(tag) = MessageTag::read(&self.held) else {
                    return (at + 1, 0);
                };
                self.inside = Some((tag, 0));
                each(Found::Tag(tag));
                return (at + 1, HEAD_BYTES);
            }
        }
        (bytes.len(), 0)
    }

    /// Adds a byte to the incomplete head; returns whether it may still be one. `h` occurs only at
    /// a head's beginning.
    fn hold_byte(&mut self, byte: u8) -> bool {
        let len = usize::from(self.held_len);
        if PREFIX.get(len).is_some_and(|&wanted| wanted != byte) {
            self.held_len = 0;
            if byte != PREFIX[0] {
                return false;
            }
        }
        self.held[usize::from(self.held_len)] = byte;
        self.held_len += 1;
        true
    }

    /// Checks a tag's padding; returns the bytes used.
    #[inline]
    fn padding(&mut self, bytes: &[u8], each: &mut impl FnMut(Found)) -> usize {
        let Some((tag, had)) = self.inside else {
            return 0;
        };
        let all = tag.size as usize - MESSAGE_TAG_BYTES_MIN;
        let come = had as usize;
        let taken = (all - come).min(bytes.len());
        let from = (tag.sequence as usize).wrapping_add(come);
        let good = is_padding(&bytes[..taken], from);
        if !good || bytes.get(taken).is_some_and(|&byte| byte != END) {
            self.inside = None;
            each(Found::Damaged);
            // The bytes there may begin another tag.
            return 0;
        }
        match bytes.len() > taken {
            true => {
                self.inside = None;
                taken + 1
            }
            false => {
                self.inside = Some((tag, (come + taken) as u32));
                taken
            }
        }
    }
}

/// The offset of the next tag; usually right behind the previous one, or at the message's
/// beginning.
#[inline]
fn next_prefix(bytes: &[u8]) -> Option<usize> {
    match bytes.starts_with(PREFIX) {
        true => Some(0),
        false => PREFIXES.find(bytes),
    }
}

/// Whether `bytes` are the padding's letters from the place `from` on.
#[inline]
fn is_padding(bytes: &[u8], from: usize) -> bool {
    let period = &LETTERS_TWICE[from % LETTERS.len()..][..LETTERS.len()];
    let (whole, rest) = bytes.as_chunks::<{ LETTERS.len() }>();
    whole.iter().all(|chunk| chunk == period) && period.starts_with(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tag(sequence: u64, size: u32) -> MessageTag {
        MessageTag {
            run: 0xdead_beef,
            room: 3,
            publisher: 0x0abc_0123,
            sequence,
            due_ns: 0x0123_4567_89ab_cdef,
            sent_ns: u64::MAX,
            size,
        }
    }

    fn text(tag: MessageTag) -> Vec<u8> {
        let mut out = vec![0; tag.size as usize];
        tag.write(&mut out);
        out
    }

    fn scan(text: &[u8], cuts: &[usize]) -> Vec<Found> {
        let mut scanner = Scanner::default();
        let mut found = Vec::new();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
        ends.push(text.len());
        ends.sort_unstable();
        let mut at = 0;
        for end in ends {
            scanner.scan(&text[at..end], |one| found.push(one));
            at = end;
        }
        scanner.end(|one| found.push(one));
        found
    }

    #[test]
    fn the_format_stays() {
        let text = String::from_utf8(text(tag(7, 96))).unwrap();
        assert_eq!(
            text,
            "hw1:deadbeef-00000003-0abc0123-0000000000000007-0123456789abcdef-ffffffffffffffff-00000060:HIJK;"
        );
    }

    #[test]
    fn letters_have_no_beginning_of_a_mark() {
        assert!(!LETTERS.contains(&b'h') && !LETTERS.contains(&END));
        let mut sorted = *LETTERS;
        sorted.sort_unstable();
        assert!(sorted.windows(2).all(|two| two[0] < two[1]));
    }

    #[test]
    fn what_is_damaged_is_told_and_does_not_hide_the_next() {
        let (first, second) = (tag(1, 120), tag(2, 100));
        let (a, b) = (text(first), text(second));
        let cut = [&a[..110], &b].concat();
        assert_eq!(
            scan(&cut, &[]),
            [Found::Tag(first), Found::Damaged, Found::Tag(second)]
        );
        assert_eq!(scan(&a[..110], &[]), [Found::Tag(first), Found::Damaged]);
        let mut other = a.clone();
        other[100] ^= 1;
        assert_eq!(scan(&other, &[]), [Found::Tag(first), Found::Damaged]);
    }

    #[test]
    fn what_only_looks_like_a_mark_is_none() {
        for text in ["", "hw1:", "hhw1:hw", &"hw1:0".repeat(50), &"h".repeat(300)] {
            assert_eq!(scan(text.as_bytes(), &[]), [], "{text}");
        }
        let mut capital = text(tag(1, 96));
        capital[4] = b'D';
        assert_eq!(scan(&capital, &[]), []);
    }

    proptest! {
        #[test]
        fn numbers_come_back(number: u32) {
            let text = digits(number).map(char::from).iter().collect::<String>();
            prop_assert_eq!(text, format!("{number:08x}"));
            prop_assert_eq!(super::number(&digits(number)), Some(number));
        }

        #[test]
        fn only_digits_are_numbers(bytes: [u8; 8]) {
            let good = bytes.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            prop_assert_eq!(super::number(&bytes).is_some(), good);
        }

        #[test]
        fn marks_are_found_in_whatever_is_around_them(
            tags in prop::collection::vec((any::<u64>(), 92u32..400, "[hw1:a-f{}\", ]{0,6}"), 0..6),
            cuts in prop::collection::vec(any::<usize>(), 0..20),
        ) {
            let (mut all, mut wanted) = (Vec::new(), Vec::new());
            for (sequence, size, between) in &tags {
                all.extend_from_slice(between.as_bytes());
                all.extend_from_slice(&text(tag(*sequence, *size)));
                wanted.push(Found::Tag(tag(*sequence, *size)));
            }
            // A false beginning right before a tag may swallow that tag as part of its head.
            if tags.iter().all(|(_, _, between)| !between.contains("hw1:")) {
                prop_assert_eq!(scan(&all, &cuts), wanted);
            }
        }
    }
}
