//! Properties of the HTTP code, over generated messages and over garbage.

use std::time::{Duration, UNIX_EPOCH};

use headwater::http::h1::chunked::{ChunkError, ChunkedDecoder};
use headwater::http::h1::encode::{
    BodyFraming, CHUNK_END, LAST_CHUNK, encode_chunk_head, encode_head,
};
use headwater::http::h1::parse::Framing;
use headwater::http::multipart::Multipart;
use headwater::http::{
    Body, DateValue, HeaderBlock, Known, Method, ParseLimits, Part, RangePlan, Status, Version,
    conditional, date, parse_request, range, target,
};
use proptest::prelude::*;
use proptest::sample::select;

/// What a request was made of, to compare with what was parsed.
#[derive(Clone, Debug)]
struct Made {
    method: &'static str,
    target: String,
    lines: Vec<(String, String)>,
    body: Vec<u8>,
    close: bool,
}

impl Made {
    fn bytes(&self) -> Vec<u8> {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nhOsT: a.b:80\r\n",
            self.method, self.target
        );
        for (name, value) in &self.lines {
            text += &format!("X-{name}: \t{value} \r\n");
        }
        if self.close {
            text += "Connection: close\r\n";
        }
        if !self.body.is_empty() {
            text += &format!("Content-Length: {}\r\n", self.body.len());
        }
        let mut bytes = (text + "\r\n").into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

fn made() -> impl Strategy<Value = Made> {
    (
        select(vec!["GET", "HEAD", "POST", "DELETE", "PURGE"]),
        "/[!-\"$-~]{0,30}",
        prop::collection::vec(
            (
                "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}",
                "([!-~\u{80}-\u{ff}]([ !-~\t]{0,40}[!-~])?)?",
            ),
            0..6,
        ),
        prop::collection::vec(any::<u8>(), 0..20),
        any::<bool>(),
    )
        .prop_map(|(method, target, lines, body, close)| Made {
            method,
            target,
            lines,
            body,
            close,
        })
}

/// The requests in `stream`, rendered, and the bytes they took.
fn parse_all(stream: &[u8]) -> (Vec<String>, usize) {
    let limits = ParseLimits::default();
    let mut requests = Vec::new();
    let mut at = 0;
    while let Ok(Some(parsed)) = parse_request(&stream[at..], &limits) {
        let body = match parsed.framing {
            Framing::Length(length) => length as usize,
            _ => 0,
        };
        if stream.len() < at + parsed.head_bytes + body {
            break;
        }
        requests.push(format!("{parsed:?}"));
        at += parsed.head_bytes + body;
    }
    (requests, at)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_request_parses_to_what_it_was_made_of(made in made()) {
        let bytes = made.bytes();
        let parsed = parse_request(&bytes, &ParseLimits::default()).unwrap().unwrap();
        prop_assert_eq!(parsed.head.method_name, made.method);
        prop_assert_eq!(parsed.head.method, Method::of(made.method.as_bytes()));
        prop_assert_eq!(parsed.head.target, &made.target);
        prop_assert_eq!(parsed.head.authority, b"a.b:80");
        prop_assert_eq!(parsed.keep_alive, !made.close);
        prop_assert_eq!(parsed.head_bytes + made.body.len(), bytes.len());
        let lines: Vec<_> = parsed
            .head
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("X-"))
            .map(|(name, value)| (name[2..].to_owned(), String::from_utf8(value.to_vec()).unwrap()))
            .collect();
        prop_assert_eq!(&lines, &made.lines);
        prop_assert_eq!(parsed.head.headers.has(Known::Connection), made.close);
        for (name, _) in &made.lines {
            let first = made.lines.iter().find(|line| line.0.eq_ignore_ascii_case(name)).unwrap();
            prop_assert_eq!(parsed.head.headers.find(&format!("x-{name}")), Some(first.1.as_bytes()));
        }
    }

    #[test]
    fn a_stream_parses_alike_however_it_arrives(
        stream in prop::collection::vec(made(), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let bytes: Vec<u8> = stream.iter().flat_map(Made::bytes).collect();
        let (wanted, consumed) = parse_all(&bytes);
        prop_assert_eq!(wanted.len(), stream.len());
        prop_assert_eq!(consumed, bytes.len());

        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let mut got = Vec::new();
        let mut at = 0;
        for end in ends {
            if end > at {
                let (requests, taken) = parse_all(&bytes[at..end]);
                got.extend(requests);
                at += taken;
            }
        }
        prop_assert_eq!(got, wanted);
    }

    /// A request with one byte changed is refused, or it is a whole request at
    /// one length and at every length above.
    #[test]
    fn every_longer_prefix_agrees(
        made in made(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = made.bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let limits = ParseLimits { uri_bytes_max: 20, headers_max: 4, head_bytes_max: 150 };
        let mut settled = None;
        for length in 0..=bytes.len() {
            let outcome = match parse_request(&bytes[..length], &limits) {
                Ok(None) => None,
                Ok(Some(parsed)) => {
                    prop_assert!(parsed.head_bytes <= length);
                    Some(format!("{parsed:?}"))
                }
                Err(error) => Some(error.to_string()),
            };
            if settled.is_some() {
                prop_assert_eq!(&outcome, &settled);
            }
            settled = outcome;
        }
    }

    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(Some(parsed)) = parse_request(&bytes, &ParseLimits::default()) {
            prop_assert!(parsed.head_bytes <= bytes.len());
        }
        let mut decoder = ChunkedDecoder::new();
        let mut rest = &bytes[..];
        while let Ok(step) = decoder.decode(rest) {
            prop_assert!(step.data.end <= step.consumed && step.consumed <= rest.len());
            prop_assert!(step.done || !step.data.is_empty() || step.consumed == rest.len());
            rest = &rest[step.consumed..];
            if step.done || rest.is_empty() {
                break;
            }
        }
        range::plan(&bytes, 100);
        date::parse(&bytes);
    }

    /// Requests with soup in their fields: what is parsed must survive evaluation.
    #[test]
    fn conditions_never_panic(
        fields in prop::collection::vec(
            (
                select(vec!["If-Match", "If-None-Match", "If-Range", "If-Modified-Since", "Range"]),
                "[W/\",* a-]{0,12}",
            ),
            0..5,
        ),
    ) {
        let mut text = String::from("GET / HTTP/1.0\r\n");
        for (name, value) in &fields {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        let head = parse_request(text.as_bytes(), &ParseLimits::default()).unwrap().unwrap().head;
        let current = headwater::http::Validators { etag: Some(b"\"a\""), modified_s: Some(1), is_date_strong: true };
        conditional::evaluate(head.method, &head.headers, &current);
    }

    #[test]
    fn chunks_decode_alike_however_they_arrive(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        piece in 1..50usize,
        behind in prop::collection::vec(any::<u8>(), 0..10),
    ) {
        let mut wire = Vec::new();
        for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
            encode_chunk_head(&mut wire, chunk.len());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(CHUNK_END);
        }
        wire.extend_from_slice(LAST_CHUNK);
        let body_bytes = wire.len();
        wire.extend_from_slice(&behind);

        let mut decoder = ChunkedDecoder::new();
        let mut data = Vec::new();
        let mut at = 0;
        loop {
            let end = wire.len().min(at + piece);
            let step = decoder.decode(&wire[at..end]).unwrap();
            data.extend_from_slice(&wire[at..end][step.data.clone()]);
            at += step.consumed;
            if step.done {
                break;
            }
            prop_assert!(at < wire.len());
        }
        prop_assert_eq!(at, body_bytes);
        prop_assert_eq!(data, chunks.concat());
    }

    /// A chunked body with one byte changed: the same data or the same error, in any pieces.
    #[test]
    fn broken_chunks_break_alike(
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        piece in 1..9usize,
    ) {
        let mut wire = b"5;a=b\r\nhello\r\n10 ;c\r\n0123456789abcdef\r\n0\r\nA: b\r\n\r\n".to_vec();
        let place = place.index(wire.len());
        wire[place] = byte;
        prop_assert_eq!(decode_in(&wire, piece), decode_in(&wire, wire.len()));
    }

    #[test]
    fn ranges_agree_with_a_set_of_bytes(
        size in 0..60u64,
        specs in prop::collection::vec(
            prop_oneof![
                (0..70u64, 0..70u64).prop_map(|(first, more)| format!("{first}-{}", first + more)),
                (0..70u64).prop_map(|first| format!("{first}-")),
                (0..70u64).prop_map(|suffix| format!("-{suffix}")),
            ],
            1..6,
        ),
    ) {
        let mut wanted = vec![false; size as usize];
        let mut all_of_nothing = false;
        for spec in &specs {
            let (first, last) = spec.split_once('-').unwrap();
            let (first, last): (Option<u64>, Option<u64>) = (first.parse().ok(), last.parse().ok());
            all_of_nothing |= size == 0
                && match (first, last) {
                    (None, last) => last != Some(0),
                    (Some(first), _) => first == 0,
                };
            for byte in 0..size {
                wanted[byte as usize] |= match (first, last) {
                    (Some(first), last) => first <= byte && byte <= last.unwrap_or(u64::MAX),
                    (None, last) => byte + last.unwrap_or(0) >= size,
                };
            }
        }
        let field = format!("bytes={}", specs.join(", "));
        let ranges = match range::plan(field.as_bytes(), size) {
            RangePlan::Whole => {
                prop_assert!(all_of_nothing, "{} ignored", field);
                return Ok(());
            }
            RangePlan::Unsatisfiable => Vec::new(),
            RangePlan::One(range) => vec![range],
            RangePlan::Many(ranges) => {
                prop_assert!(ranges.len() > 1);
                ranges
            }
        };
        let mut got = vec![false; size as usize];
        for range in &ranges {
            prop_assert!(range.len > 0 && range.end() <= size);
            for byte in range.start..range.end() {
                prop_assert!(!got[byte as usize], "byte {} twice", byte);
                got[byte as usize] = true;
            }
            prop_assert!(!ranges.iter().any(|other| other.end() == range.start), "not joined");
        }
        prop_assert_eq!(got, wanted);
    }

    #[test]
    fn multipart_bodies_have_the_length_they_announce(
        size in 1..5000u64,
        specs in prop::collection::vec((0..5000u64, 0..300u64), 2..8),
    ) {
        let specs: Vec<_> = specs.iter().map(|(first, more)| format!("{first}-{}", first + more)).collect();
        let field = format!("bytes={}", specs.join(","));
        if let RangePlan::Many(ranges) = range::plan(field.as_bytes(), size) {
            let plan = Multipart::new(&ranges, size, "video/mp4", 7);
            let announced = plan.len;
            let file: Vec<u8> = (0..size).map(|at| at as u8).collect();
            let Body::Parts(parts) = plan.into_body_of_bytes(&file.into()) else {
                return Err(TestCaseError::fail("a body in parts"));
            };
            prop_assert_eq!(parts.iter().map(Part::len).sum::<u64>(), announced);
            prop_assert_eq!(parts.len(), 2 * ranges.len() + 1);
            for (range, part) in ranges.iter().zip(parts.iter().skip(1).step_by(2)) {
                let Part::Bytes(bytes) = part else {
                    return Err(TestCaseError::fail("bytes"));
                };
                prop_assert_eq!(bytes.len() as u64, range.len);
                prop_assert_eq!(bytes[0], range.start as u8);
            }
        }
    }

    #[test]
    fn response_heads_round_trip(
        code in 100..600u16,
        lines in prop::collection::vec("[ -~\r\n\0]{0,30}", 0..4),
        length in any::<u64>(),
        seconds in 0..253_402_300_800u64,
        keep_alive in any::<bool>(),
    ) {
        let status = Status::new(code).unwrap();
        let mut block = HeaderBlock::new();
        for value in &lines {
            block.push("x-line", value);
        }
        let mut out = Vec::new();
        let now = DateValue::from_unix(seconds);
        let framing = BodyFraming::Length(length);
        encode_head(&mut out, Version::Http11, status, [block.as_bytes(), b""], &now, framing, keep_alive);

        let text = String::from_utf8(out).unwrap();
        let head = text.strip_suffix("\r\n\r\n").unwrap();
        let mut got = head.split("\r\n");
        prop_assert_eq!(got.next().unwrap(), format!("HTTP/1.1 {code} {}", status.reason()));
        let mut wanted = vec![format!(
            "date: {}",
            httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
        )];
        wanted.extend(lines.iter().map(|value| format!("x-line: {}", value.replace(['\r', '\n', '\0'], " "))));
        wanted.push(format!("content-length: {length}"));
        if !keep_alive {
            wanted.push("connection: close".to_owned());
        }
        prop_assert_eq!(got.collect::<Vec<_>>(), wanted);
        prop_assert_eq!(date::parse(now.as_bytes()), Some(seconds));
    }

    #[test]
    fn resolved_paths_stay_below_the_root(
        path in prop_oneof![
            "(/|\\.|%2e|%2E|a|b|%41|%ff){0,16}".prop_map(|tail| format!("/{tail}")),
            "/[ -~]{0,30}",
        ],
    ) {
        if let Ok(resolved) = target::resolve(&path) {
            let bytes = &resolved.path[..];
            if !bytes.is_empty() {
                for segment in bytes.split(|&byte| byte == b'/') {
                    prop_assert!(!matches!(segment, b"" | b"." | b".."), "{:?}", resolved);
                }
            }
            // `.well-known` is too long to come up.
            let dotted = bytes.split(|&byte| byte == b'/').any(|segment| segment.starts_with(b"."));
            prop_assert_eq!(resolved.has_dotfile, dotted);
            // What it was resolved to resolves to itself.
            let mut again = String::new();
            for segment in bytes.split(|&byte| byte == b'/') {
                again = format!("{again}/{}", target::encode_name(segment));
            }
            if resolved.is_dir && !bytes.is_empty() {
                again.push('/');
            }
            prop_assert_eq!(target::resolve(&again).unwrap(), resolved);
        }
    }
}

/// The decoded data and the bytes consumed, or the error, fed in pieces.
fn decode_in(wire: &[u8], piece: usize) -> Result<(Vec<u8>, usize), ChunkError> {
    let mut decoder = ChunkedDecoder::new();
    let mut data = Vec::new();
    let mut at = 0;
    while at < wire.len() {
        let end = wire.len().min(at + piece);
        let step = decoder.decode(&wire[at..end])?;
        data.extend_from_slice(&wire[at..end][step.data.clone()]);
        at += step.consumed;
        if step.done {
            break;
        }
    }
    Ok((data, at))
}
