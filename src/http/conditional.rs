//! Conditional requests: whether what the client has or expects still holds (RFC 9110 section 13).

use super::known::{Known, KnownSet};
use super::{Headers, Method, date, scan};

/// The validators of the representation that a request selected.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Default)]
pub struct Validators<'a> {
    /// Its entity tag as it is sent, quotes included; weak ones begin with `W/`.
    pub etag: Option<&'a [u8]>,
    /// Its Last-Modified, in seconds since 1970.
    pub modified_s: Option<u64>,
    /// Whether Last-Modified is known to be a strong validator (section 8.8.2.2): no other content
    /// had the same date.
    pub is_date_strong: bool,
}

/// What to do with a request after its preconditions were evaluated.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Precondition {
    /// Perform the method. `use_range`: a Range field is there, the method is
    /// GET, and no If-Range speaks against it.
    Proceed {
        /// Whether Range is to be heeded.
        use_range: bool,
    },
    /// Answer 304.
    NotModified,
    /// Answer 412.
    PreconditionFailed,
}

/// The fields that make a request conditional, or ask for a part.
const CONDITIONS: KnownSet = KnownSet::of(&[
    Known::IfMatch,
    Known::IfModifiedSince,
    Known::IfNoneMatch,
    Known::IfUnmodifiedSince,
    Known::Range,
]);

/// Evaluates the preconditions of a request for a representation that exists,
/// in the order of RFC 9110 section 13.2.2.
pub fn evaluate(method: Method, headers: &Headers<'_>, current: &Validators<'_>) -> Precondition {
    // Most requests have none of these fields.
    if !headers.has_any(CONDITIONS) {
        return Precondition::Proceed { use_range: false };
    }
    if headers.has(Known::IfMatch) {
        if !lists(headers, Known::IfMatch, current, strong_match) {
            return Precondition::PreconditionFailed;
        }
    } else if let (Some(date), Some(modified)) = (
        date_of(headers, Known::IfUnmodifiedSince),
        current.modified_s,
    ) && modified > date
    {
        return Precondition::PreconditionFailed;
    }

    if headers.has(Known::IfNoneMatch) {
        if lists(headers, Known::IfNoneMatch, current, weak_match) {
            return if method.is_get_or_head() {
                Precondition::NotModified
            } else {
                Precondition::PreconditionFailed
            };
        }
    } else if method.is_get_or_head()
        && let (Some(date), Some(modified)) =
            (date_of(headers, Known::IfModifiedSince), current.modified_s)
        && modified <= date
    {
        return Precondition::NotModified;
    }

    Precondition::Proceed {
        use_range: method == Method::Get
            && headers.has(Known::Range)
            && if_range_holds(headers, current),
    }
}

/// Whether If-Range is absent or names exactly the current representation
/// (section 13.1.5): by a strong tag, or by a date that is strong and equal to Last-Modified.
fn if_range_holds(headers: &Headers<'_>, current: &Validators<'_>) -> bool {
    let mut values = headers.get_all(Known::IfRange);
    let Some(value) = values.next() else {
        return true;
    };
    if values.next().is_some() {
        return false;
    }
    match current.etag {
        Some(etag) if strong_match(value, etag) => true,
        _ => {
            current.is_date_strong
                && current.modified_s.is_some()
                && date::parse(value) == current.modified_s
        }
    }
}

/// The date in `name`; a field with no date in it, or with several, is ignored.
fn date_of(headers: &Headers<'_>, name: Known) -> Option<u64> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    date::parse(value)
}

/// Whether a list of entity tags, or `*`, includes the current representation.
/// What follows a malformed member is not looked at.
fn lists(
    headers: &Headers<'_>,
    name: Known,
    current: &Validators<'_>,
    matches: fn(&[u8], &[u8]) -> bool,
) -> bool {
    headers.get_all(name).any(|value| {
        if value == b"*" {
            return true;
        }
        let Some(etag) = current.etag else {
            return false;
        };
        let mut rest = value;
        while let Some((member, behind)) = next_tag(rest) {
            if matches(member, etag) {
                return true;
            }
            rest = behind;
        }
        false
    })
}

/// The next tag of a list and what is behind it; commas may stand within tags.
fn next_tag(mut list: &[u8]) -> Option<(&[u8], &[u8])> {
    while let [b',' | b' ' | b'\t', rest @ ..] = list {
        list = rest;
    }
    let opaque = match list {
        [b'W', b'/', b'"', ..] => 3,
        [b'"', ..] => 1,
        _ => return None,
    };
    let len = list[opaque..].iter().position(|&byte| byte == b'"')?;
    let (tag, behind) = list.split_at(opaque + len + 1);
    matches!(scan::trim(behind), [] | [b',', ..]).then_some((tag, behind))
}

/// Section 8.8.3.2: equal, and neither is weak.
fn strong_match(tag: &[u8], current: &[u8]) -> bool {
    tag == current && tag.starts_with(b"\"")
}

/// Section 8.8.3.2: equal, whether weak or not.
fn weak_match(tag: &[u8], current: &[u8]) -> bool {
    opaque(tag) == opaque(current)
}

fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests;
