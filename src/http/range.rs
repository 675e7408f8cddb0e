//! Range requests: what a Range field asks of a file (RFC 9110 section 14).

use super::scan;
use crate::limits;

/// A run of bytes that lies within its file.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct ByteRange {
    /// The first byte's offset.
    pub start: u64,
    /// The number of bytes, at least 1.
    pub len: u64,
}

impl ByteRange {
    /// The offset behind the last byte.
    pub fn end(&self) -> u64 {
        self.start + self.len
    }

    /// The value of a part's Content-Range in a file of `size` bytes (RFC 9110 section 14.4).
    pub fn content_range(&self, size: u64) -> String {
        format!("bytes {}-{}/{size}", self.start, self.end() - 1)
    }
}

/// The value of Content-Range in a 416 answer about a file of `size` bytes.
pub fn content_range_unsatisfied(size: u64) -> String {
    format!("bytes */{size}")
}

/// What to answer a Range field with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RangePlan {
    /// The whole file (200): the field is malformed, has another unit, or too many ranges.
    Whole,
    /// One part (206).
    One(ByteRange),
    /// Two or more parts (206, multipart/byteranges): disjoint, with gaps
    /// between them, each where the client first asked for a byte of it.
    Many(Vec<ByteRange>),
    /// None of the ranges has a byte in the file (416).
    Unsatisfiable,
}

/// What `field`, a Range field's value, asks of a file of `size` bytes.
///
/// Overlapping and adjacent ranges are joined (RFC 9110 section 15.3.7.2), so
/// that no byte is sent twice. A set of more than
/// [`limits::RANGES_MAX`] ranges is ignored, as section 14.2 allows.
pub fn plan(field: &[u8], size: u64) -> RangePlan {
    let Some(set) = byte_range_set(field) else {
        return RangePlan::Whole;
    };
    // The common case, without the vector.
    if !set.contains(&b',') {
        return match resolve(scan::trim(set), size) {
            Resolved::Malformed | Resolved::Nothing => RangePlan::Whole,
            Resolved::Beyond => RangePlan::Unsatisfiable,
            Resolved::Part(range) => RangePlan::One(range),
        };
    }
    plan_set(set, size)
}

/// What follows `bytes=`; `None` for another unit.
fn byte_range_set(field: &[u8]) -> Option<&[u8]> {
    let (unit, set) = field.split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(set)
}

fn plan_set(set: &[u8], size: u64) -> RangePlan {
    let mut ranges = Vec::new();
    let mut specs = 0;
    let mut empty_file = false;
    for spec in set.split(|&byte| byte == b',').map(scan::trim) {
        specs += 1;
        if specs > limits::RANGES_MAX {
            return RangePlan::Whole;
        }
        // A recipient takes empty list elements (RFC 9110 section 5.6.1.2).
        if spec.is_empty() {
            continue;
        }
        match resolve(spec, size) {
            Resolved::Malformed => return RangePlan::Whole,
            Resolved::Nothing => empty_file = true,
            Resolved::Beyond => {}
            Resolved::Part(range) => ranges.push(range),
        }
    }
    let asked = set.iter().any(|&byte| !matches!(byte, b',' | b' ' | b'\t'));
    let mut joined = join(ranges);
    match (joined.pop(), joined.is_empty()) {
        (None, _) if empty_file || !asked => RangePlan::Whole,
        (None, _) => RangePlan::Unsatisfiable,
        (Some(only), true) => RangePlan::One(only),
        (Some(last), false) => {
            joined.push(last);
            RangePlan::Many(joined)
        }
    }
}

/// One range of a set, measured against the file.
enum Resolved {
    /// Malformed, which makes the whole field invalid.
    Malformed,
    /// All of an empty file: a suffix is satisfiable, but no 206 can express it, and a range from
    /// its first byte on is what players ask for that want the whole (nginx answers it as well).
    Nothing,
    /// No byte of it is in the file.
    Beyond,
    Part(ByteRange),
}

fn resolve(spec: &[u8], size: u64) -> Resolved {
    let Some(dash) = spec.iter().position(|&byte| byte == b'-') else {
        return Resolved::Malformed;
    };
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    if first.is_empty() {
        return match position(last) {
            None => Resolved::Malformed,
            Some(0) => Resolved::Beyond,
            Some(_) if size == 0 => Resolved::Nothing,
            Some(suffix) => {
                let len = suffix.min(size);
                Resolved::Part(ByteRange {
                    start: size - len,
                    len,
                })
            }
        };
    }
    let Some(start) = position(first) else {
        return Resolved::Malformed;
    };
    let last = match last {
        b"" => u64::MAX,
        digits => match position(digits) {
            Some(last) if last >= start => last,
            _ => return Resolved::Malformed,
        },
    };
    if start >= size {
        return match start {
            0 => Resolved::Nothing,
            _ => Resolved::Beyond,
        };
    }
    let last = last.min(size - 1);
    Resolved::Part(ByteRange {
        start,
        len: last - start + 1,
    })
}

/// A position in digits; one beyond `u64` lies behind the end of every file.
fn position(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(scan::decimal(digits).unwrap_or(u64::MAX))
}

/// Joins overlapping and adjacent ranges; each result takes the position of the first of its
/// members.
fn join(ranges: Vec<ByteRange>) -> Vec<ByteRange> {
    let mut ordered: Vec<(usize, ByteRange)> = ranges.into_iter().enumerate().collect();
    ordered.sort_unstable_by_key(|(_, range)| range.start);
    let mut joined: Vec<(usize, ByteRange)> = Vec::with_capacity(ordered.len());
    for (place, range) in ordered {
        match joined.last_mut() {
            Some((first_place, last)) if range.start <= last.end() => {
                *first_place = place.min(*first_place);
                last.len = range.end().max(last.end()) - last.start;
            }
            _ => joined.push((place, range)),
        }
    }
    joined.sort_unstable_by_key(|(place, _)| *place);
    joined.into_iter().map(|(_, range)| range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(start: u64, len: u64) -> RangePlan {
        RangePlan::One(ByteRange { start, len })
    }

    fn many(ranges: &[(u64, u64)]) -> RangePlan {
        let range = |&(start, len)| ByteRange { start, len };
        RangePlan::Many(ranges.iter().map(range).collect())
    }

    #[test]
    fn one_range() {
        assert_eq!(plan(b"bytes=0-0", 10), one(0, 1));
        assert_eq!(plan(b"bytes=0-", 10), one(0, 10));
        assert_eq!(plan(b"BYTES= 2-5 ", 10), one(2, 4));
        assert_eq!(plan(b"bytes=9-99", 10), one(9, 1));
        assert_eq!(plan(b"bytes=-3", 10), one(7, 3));
        assert_eq!(plan(b"bytes=-99", 10), one(0, 10));
        assert_eq!(plan(b"bytes=10-", 10), RangePlan::Unsatisfiable);
        assert_eq!(plan(b"bytes=-0", 10), RangePlan::Unsatisfiable);
    }

    #[test]
    fn what_is_malformed_is_ignored() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-",
            "bytes=1",
            "bytes=5-2",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes=1 -2",
            "bytes=0x1-",
            "items=0-1",
            "bytes:0-1",
            "bytes =0-1",
            "bytes=0-1,x",
            "bytes=,",
            "bytes=--1",
            "bytes=0-1;2-3",
        ] {
            assert_eq!(plan(field.as_bytes(), 10), RangePlan::Whole, "{field}");
        }
    }

    #[test]
    fn an_empty_file() {
        assert_eq!(plan(b"bytes=0-", 0), RangePlan::Whole);
        assert_eq!(plan(b"bytes=0-0,1-1", 0), RangePlan::Whole);
        assert_eq!(plan(b"bytes=1-", 0), RangePlan::Unsatisfiable);
        assert_eq!(plan(b"bytes=1-1,2-", 0), RangePlan::Unsatisfiable);
        assert_eq!(plan(b"bytes=-5", 0), RangePlan::Whole);
        assert_eq!(plan(b"bytes=0-,-5", 0), RangePlan::Whole);
    }

    #[test]
    fn numbers_beyond_u64() {
        let huge = "99999999999999999999999";
        let field = |text: String| text.into_bytes();
        assert_eq!(plan(&field(format!("bytes=1-{huge}")), 10), one(1, 9));
        assert_eq!(plan(&field(format!("bytes=-{huge}")), 10), one(0, 10));
        assert_eq!(
            plan(&field(format!("bytes={huge}-")), u64::MAX),
            RangePlan::Unsatisfiable
        );
        assert_eq!(
            plan(b"bytes=1-18446744073709551615", u64::MAX),
            one(1, u64::MAX - 1)
        );
    }

    #[test]
    fn several_ranges_keep_the_clients_order() {
        assert_eq!(plan(b"bytes=8-8,0-1", 10), many(&[(8, 1), (0, 2)]));
        assert_eq!(plan(b"bytes=0-1, -1,", 10), many(&[(0, 2), (9, 1)]));
        assert_eq!(plan(b"bytes=0-1,50-60", 10), one(0, 2));
        assert_eq!(plan(b"bytes=20-30,50-60", 10), RangePlan::Unsatisfiable);
    }

    #[test]
    fn overlapping_and_adjacent_ranges_are_joined() {
        assert_eq!(plan(b"bytes=0-4,5-9", 10), one(0, 10));
        assert_eq!(plan(b"bytes=0-,0-,0-,-1", 10), one(0, 10));
        assert_eq!(plan(b"bytes=9-,0-1,4-6,1-3", 10), many(&[(9, 1), (0, 7)]));
        assert_eq!(plan(b"bytes=0-9,2-3", 20), one(0, 10));
    }

    #[test]
    fn too_many_ranges_are_ignored() {
        let set = |count: usize| {
            let specs: Vec<_> = (0..count)
                .map(|at| format!("{}-{}", at * 2, at * 2))
                .collect();
            format!("bytes={}", specs.join(",")).into_bytes()
        };
        let RangePlan::Many(ranges) = plan(&set(limits::RANGES_MAX), 1000) else {
            panic!("within the limit");
        };
        assert_eq!(ranges.len(), limits::RANGES_MAX);
        assert_eq!(plan(&set(limits::RANGES_MAX + 1), 1000), RangePlan::Whole);
    }

    #[test]
    fn content_range_values() {
        let range = ByteRange { start: 5, len: 3 };
        assert_eq!(range.content_range(10), "bytes 5-7/10");
        assert_eq!(content_range_unsatisfied(10), "bytes */10");
    }
}
