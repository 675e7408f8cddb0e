//! Secrets in URLs: the values of a query's parameters that are named like one, and a URL's
//! user and password. What stands in their place is OpenTelemetry's `REDACTED`.

use std::ops::Range;

use memchr::{memchr, memchr2, memchr3, memmem, memrchr};

use crate::limits;

/// What the log keeps of queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueryRule {
    /// All of them as they came.
    Keep,
    /// Values of parameters whose names say that they are secret are replaced.
    #[default]
    Redact,
    /// Nothing from the question mark on.
    Drop,
}

impl QueryRule {
    /// The rule called `name`: `keep`, `redact` or `drop`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "keep" => Some(Self::Keep),
            "redact" => Some(Self::Redact),
            "drop" => Some(Self::Drop),
            _ => None,
        }
    }
}

const REDACTED: &[u8] = b"REDACTED";
/// A parameter whose name contains one of these, in upper or lower case, is redacted.
const CONTAINED: &[&[u8]] = &[
    b"token",
    b"secret",
    b"passw",
    b"pwd",
    b"passphrase",
    b"signature",
    b"credential",
    b"session",
    b"authorization",
    b"jwt",
];
/// A parameter whose name ends in one of these is redacted.
const ENDINGS: &[&[u8]] = &[b"key", b"keyid", b"auth"];
/// A parameter whose name is one of these is redacted.
const WHOLE: &[&[u8]] = &[b"sig", b"sid", b"pass", b"pin", b"otp"];
/// The shortest of all these; a shorter name is no secret's.
const WORD_BYTES_MIN: usize = 3;
/// Bytes of a name that are compared; the rest of a longer one is ignored.
const NAME_BYTES_MAX: usize = 64;

/// The three parts of a request line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestParts {
    pub method: Range<usize>,
    pub target: Range<usize>,
    pub protocol: Range<usize>,
}

/// Splits `METHOD target HTTP/version`; `None` for what has not that form.
#[inline]
pub(super) fn split_request(request: &[u8]) -> Option<RequestParts> {
    let first = memchr(b' ', request)?;
    let last = memrchr(b' ', request)?;
    let whole = first < last && request[last + 1..].starts_with(b"HTTP/");
    whole.then(|| RequestParts {
        method: 0..first,
        target: first + 1..last,
        protocol: last + 1..request.len(),
    })
}

/// A request line as the rule leaves it: `text` itself, or what was made of it in `scratch`.
/// What is no request line may be part of anything, such as a form that was sent as a body, so
/// all of it is taken for a query then.
#[inline]
pub(super) fn request<'a>(text: &'a [u8], rule: QueryRule, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    if rule == QueryRule::Keep || memchr3(b'?', b'@', b'=', text).is_none() {
        return text;
    }
    scratch.clear();
    match split_request(text) {
        Some(parts) => {
            scratch.extend_from_slice(&text[..parts.target.start]);
            put_url(scratch, &text[parts.target.clone()], rule);
            scratch.extend_from_slice(&text[parts.target.end..]);
        }
        None if rule == QueryRule::Drop => {
            let end = memchr3(b'?', b'@', b'=', text).unwrap_or(text.len());
            scratch.extend_from_slice(&text[..end]);
        }
        None => put_query(scratch, text),
    }
    scratch
}

/// A URL, or a request's target, as the rule leaves it.
#[inline]
pub(super) fn url<'a>(text: &'a [u8], rule: QueryRule, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    if rule == QueryRule::Keep || memchr3(b'?', b'@', b'#', text).is_none() {
        return text;
    }
    scratch.clear();
    put_url(scratch, text, rule);
    scratch
}

fn put_url(out: &mut Vec<u8>, url: &[u8], rule: QueryRule) {
    let query = memchr2(b'?', b'#', url).unwrap_or(url.len());
    let (mut before, query) = url.split_at(query);
    if let Some(scheme_end) = memmem::find(before, b"://") {
        let authority = scheme_end + 3;
        let path = memchr(b'/', &before[authority..]).map_or(before.len(), |at| authority + at);
        if let Some(at) = memrchr(b'@', &before[authority..path]) {
            out.extend_from_slice(&before[..authority]);
            out.extend_from_slice(REDACTED);
            before = &before[authority + at..];
        }
    }
    out.extend_from_slice(before);
    if rule == QueryRule::Redact {
        put_query(out, query);
    }
}

/// Copies a query with the values of its secret parameters replaced, and with all that follows
/// [`limits::ACCESS_LOG_PARAMETERS_MAX`] names.
fn put_query(out: &mut Vec<u8>, query: &[u8]) {
    let mut rest = query;
    let mut names_left = limits::ACCESS_LOG_PARAMETERS_MAX;
    while let Some(equals) = memchr(b'=', rest) {
        if names_left == 0 {
            // With what separates it from the parameter before it.
            out.extend_from_slice(&rest[..1]);
            return out.extend_from_slice(REDACTED);
        }
        names_left -= 1;
        let ends_before = |&byte: &u8| separates(byte) || byte == b' ';
        let name_from = rest[..equals].iter().rposition(ends_before);
        let name = &rest[name_from.map_or(0, |at| at + 1)..equals];
        let value = &rest[equals + 1..];
        let value_end = value.iter().position(|&byte| separates(byte));
        let value_end = value_end.unwrap_or(value.len());
        out.extend_from_slice(&rest[..=equals]);
        match value_end > 0 && is_secret(name) {
            true => out.extend_from_slice(REDACTED),
            false => out.extend_from_slice(&value[..value_end]),
        }
        rest = &value[value_end..];
    }
    out.extend_from_slice(rest);
}

/// What may stand between two parameters.
fn separates(byte: u8) -> bool {
    matches!(byte, b'&' | b';' | b'?' | b'#')
}

fn is_secret(name: &[u8]) -> bool {
    #[cfg(test)]
    tests::NAMES_READ.set(tests::NAMES_READ.get() + 1);
    if name.len() < WORD_BYTES_MIN {
        return false;
    }
    let mut buffer = [0; NAME_BYTES_MAX];
    let name = decoded(name, &mut buffer);
    contains_word(name) || ENDINGS.iter().any(|word| name.ends_with(word)) || WHOLE.contains(&name)
}

/// Whether one of [`CONTAINED`] is in a name: in one pass, since names are so short that a search
/// for each word would cost more to prepare than to do.
fn contains_word(name: &[u8]) -> bool {
    (0..name.len()).any(|at| {
        let rest = &name[at..];
        // Every word's first letter, so that most bytes cost one comparison.
        matches!(rest[0], b't' | b's' | b'p' | b'c' | b'a' | b'j')
            && CONTAINED.iter().any(|word| rest.starts_with(word))
    })
}

/// A name in lower case and without percent-encoding, which could hide what it says.
fn decoded<'b>(name: &[u8], buffer: &'b mut [u8; NAME_BYTES_MAX]) -> &'b [u8] {
    let (mut rest, mut length) = (name, 0);
    let digit = |byte: u8| char::from(byte).to_digit(16);
    while let ([first, tail @ ..], Some(place)) = (rest, buffer.get_mut(length)) {
        let escaped = match (first, tail) {
            (b'%', [high, low, left @ ..]) => digit(*high)
                .zip(digit(*low))
                .map(|(high, low)| ((high * 16 + low) as u8, left)),
            _ => None,
        };
        let (byte, left) = escaped.unwrap_or((*first, tail));
        *place = byte.to_ascii_lowercase();
        rest = left;
        length += 1;
    }
    &buffer[..length]
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    thread_local! {
        /// Names of parameters that this thread has compared.
        pub(in super::super) static NAMES_READ: Cell<usize> = const { Cell::new(0) };
    }

    fn of_request(text: &str, rule: QueryRule) -> String {
        let mut scratch = Vec::new();
        String::from_utf8(request(text.as_bytes(), rule, &mut scratch).to_vec()).unwrap()
    }

    fn of_url(text: &str, rule: QueryRule) -> String {
        let mut scratch = Vec::new();
        String::from_utf8(url(text.as_bytes(), rule, &mut scratch).to_vec()).unwrap()
    }

    #[test]
    fn secret_values_are_replaced_and_others_stay() {
        for (before, after) in [
            ("/a?b=c&d", "/a?b=c&d"),
            ("/a?token=x&b=c", "/a?token=REDACTED&b=c"),
            ("/a?b=c&Access_Token=x=y", "/a?b=c&Access_Token=REDACTED"),
            ("/a?api_key=1;sig=2", "/a?api_key=REDACTED;sig=REDACTED"),
            ("/a?tok%65n=x", "/a?tok%65n=REDACTED"),
            (
                "/a?%50assWord=x#key=y",
                "/a?%50assWord=REDACTED#key=REDACTED",
            ),
            (
                "/a?X-Amz-Signature=x&AWSAccessKeyId=y",
                "/a?X-Amz-Signature=REDACTED&AWSAccessKeyId=REDACTED",
            ),
            (
                "/a?keyword=x&author=y&token=",
                "/a?keyword=x&author=y&token=",
            ),
            ("/a?=x&token&token==", "/a?=x&token&token=REDACTED"),
            ("/token=x", "/token=x"),
        ] {
            let line = |target: &str| format!("GET {target} HTTP/1.1");
            assert_eq!(of_request(&line(before), QueryRule::Redact), line(after));
            assert_eq!(of_request(&line(before), QueryRule::Keep), line(before));
            assert_eq!(of_url(before, QueryRule::Redact), after);
        }
        assert_eq!(
            of_request("GET /a?b=c HTTP/1.1", QueryRule::Drop),
            "GET /a HTTP/1.1"
        );
        assert_eq!(of_url("/a#b", QueryRule::Drop), "/a");
    }

    #[test]
    fn a_urls_user_is_replaced() {
        let redact = |text| of_url(text, QueryRule::Redact);
        assert_eq!(redact("https://u:p@h/a?b"), "https://REDACTED@h/a?b");
        assert_eq!(redact("https://u:p@h"), "https://REDACTED@h");
        assert_eq!(redact("https://h/@a"), "https://h/@a");
        assert_eq!(
            of_request("GET http://u:p@h/?a HTTP/1.1", QueryRule::Drop),
            "GET http://REDACTED@h/ HTTP/1.1"
        );
    }

    #[test]
    fn what_is_no_request_line_is_taken_for_a_query() {
        let garbage = "user=me&password=hunter2&x=1";
        assert_eq!(
            of_request(garbage, QueryRule::Redact),
            "user=me&password=REDACTED&x=1"
        );
        assert_eq!(of_request(garbage, QueryRule::Drop), "user");
        assert_eq!(
            of_request("GET /a?key=b c", QueryRule::Redact),
            "GET /a?key=REDACTED"
        );
    }

    #[test]
    fn a_request_line_is_split_at_its_first_and_last_space() {
        let parts = split_request(b"GET /a b HTTP/1.1").unwrap();
        assert_eq!((parts.target, parts.protocol), (4..8, 9..17));
        for other in ["", "GET", "GET /", "GET / HTP", " HTTP/1.1"] {
            assert_eq!(split_request(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn every_word_begins_with_a_letter_that_is_looked_for() {
        for word in CONTAINED {
            assert!(contains_word(word) && contains_word(&[b"x_", *word].concat()));
            assert!(!contains_word(&word[..word.len() - 1]));
        }
        let words = [CONTAINED, ENDINGS, WHOLE].concat();
        assert!(words.iter().all(|word| word.len() >= WORD_BYTES_MIN));
        assert!(words.iter().all(|word| is_secret(word)));
    }

    #[test]
    fn so_many_parameters_are_looked_at_and_the_rest_is_not_shown() {
        const MAX: usize = limits::ACCESS_LOG_PARAMETERS_MAX;
        let few = format!("/a?{}token", "b=c&".repeat(MAX));
        assert_eq!(of_url(&few, QueryRule::Redact), few);
        let more = format!("/a?{}d=e&token=S3CRET&f=g", "b=c&".repeat(MAX));
        let shown = of_url(&more, QueryRule::Redact);
        assert_eq!(shown, format!("/a?{}REDACTED", "b=c&".repeat(MAX)));
        NAMES_READ.set(0);
        of_url(
            &format!("/a?{}", "b=c&".repeat(10 * MAX)),
            QueryRule::Redact,
        );
        assert_eq!(NAMES_READ.get(), MAX);
    }

    proptest! {
        #[test]
        fn a_secret_never_shows(
            before in "[a-z=&?;%]{0,12}", name in "(token|my-Key|PassWord|sig)",
            after in "([&;][a-z=&%]{0,9})?",
        ) {
            let line = format!("GET /p?{before}&{name}=S3CRET{after} HTTP/1.1");
            let shown = of_request(&line, QueryRule::Redact);
            prop_assert!(!shown.contains("S3CRET"), "{}", shown);
            prop_assert!(!of_request(&line, QueryRule::Drop).contains("S3CRET"));
        }

        #[test]
        fn any_bytes_are_taken(text in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut scratch = Vec::new();
            for rule in [QueryRule::Keep, QueryRule::Redact, QueryRule::Drop] {
                request(&text, rule, &mut scratch);
                url(&text, rule, &mut scratch);
            }
        }
    }
}
