//! Access logs as loads: the common and combined formats of Apache and nginx.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use super::plan::Replay;
use crate::limits;

const SECOND_NS: f64 = 1e9;

/// The requests of an access log.
#[derive(Debug, Default)]
pub struct Log {
    /// Each different request once: method and path, with a space between.
    pub requests: Vec<String>,
    /// The log's lines: the second of each, since the epoch, and which request it is.
    lines: Vec<(i64, u32)>,
    /// Lines that ask for something that is neither GET nor HEAD, or for nothing.
    pub others: u64,
    /// Lines that are in neither format…
    pub malformed: u64,
    /// …and the number of the first of them.
    pub malformed_first: u64,
}

impl Log {
    /// Reads a log. Its lines may be out of order by their times, as servers that note when a
    /// request began write them.
    ///
    /// # Errors
    /// When it can't be read, is too long, or has no request that can be replayed.
    pub fn read(mut input: impl BufRead) -> Result<Self, LogError> {
        let mut log = Self::default();
        let mut known: HashMap<String, u32> = HashMap::new();
        let mut line = Vec::new();
        let mut number = 0;
        while read_line(&mut input, &mut line)? {
            number += 1;
            match parse(&line) {
                Line::Request { second, request } => {
                    let next = known.len() as u32;
                    let index = *known.entry(request).or_insert(next);
                    if known.len() > limits::LOAD_URLS_MAX {
                        return Err(LogError::TooManyUrls);
                    }
                    if log.lines.len() == limits::LOAD_REPLAY_MAX {
                        return Err(LogError::TooLong);
                    }
                    log.lines.push((second, index));
                }
                Line::Other => log.others += 1,
                Line::Malformed if line.trim_ascii().is_empty() => {}
                Line::Malformed => {
                    log.malformed += 1;
                    if log.malformed == 1 {
                        log.malformed_first = number;
                    }
                }
            }
        }
        if log.lines.is_empty() {
            return Err(LogError::Nothing {
                others: log.others,
                malformed: log.malformed,
                malformed_first: log.malformed_first,
            });
        }
        log.requests = vec![String::new(); known.len()];
        for (request, index) in known {
            log.requests[index as usize] = request;
        }
        log.lines.sort_by_key(|(second, _)| *second);
        Ok(log)
    }

    /// Lines that are replayed.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// There is always one.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// How long it lasts, in nanoseconds, at `speed` times its own.
    pub fn length_ns(&self, speed: f64) -> u64 {
        let (first, last) = (self.lines.first(), self.lines.last());
        let seconds = match (first, last) {
            (Some((first, _)), Some((last, _))) => last - first + 1,
            _ => 0,
        };
        ((seconds as f64 * SECOND_NS / speed) as u64).max(1)
    }

    /// The order of the log for a load at a rate.
    pub fn in_order(&self) -> Replay {
        Replay {
            requests: self.lines.iter().map(|(_, request)| *request).collect(),
            moments_ns: None,
        }
    }

    /// The log at `speed` times its own: requests of one second are spread over it evenly.
    pub fn at_its_times(&self, speed: f64) -> Replay {
        let first = self.lines.first().map_or(0, |(second, _)| *second);
        let mut moments_ns = Vec::with_capacity(self.lines.len());
        for same in self.lines.chunk_by(|a, b| a.0 == b.0) {
            let begin = (same[0].0 - first) as f64;
            let count = same.len() as f64;
            let moment = |at| ((begin + at as f64 / count) * SECOND_NS / speed) as u64;
            moments_ns.extend((0..same.len()).map(moment));
        }
        Replay {
            moments_ns: Some(Arc::from(moments_ns)),
            ..self.in_order()
        }
    }

    /// What of the log is not replayed, in words.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.others > 0 {
            notes.push(format!(
                "{} lines of the log were left out: they ask for something by another method than GET \
                 and HEAD, or for nothing",
                self.others
            ));
        }
        if self.malformed > 0 {
            notes.push(format!(
                "{} lines of the log were left out that are in neither the common nor the combined \
                 format; the first is line {}",
                self.malformed, self.malformed_first
            ));
        }
        notes
    }
}

/// Reads a line without its end; of one that is too long, its beginning. `false` at the end.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let max = limits::LOAD_LOG_LINE_BYTES_MAX;
    if input.by_ref().take(max).read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    let whole = line.len() as u64;
    if line.pop_if(|last| *last == b'\n').is_some() {
        line.pop_if(|last| *last == b'\r');
    } else if whole == max {
        line.clear();
        line.push(b'?');
        input.skip_until(b'\n')?;
    }
    Ok(true)
}

#[derive(Debug, PartialEq)]
enum Line {
    Request { second: i64, request: String },
    Other,
    Malformed,
}

/// Reads `… [time] "method target HTTP/version" …`. What stands before the time and behind the
/// request does not matter, so that formats with more fields are read too.
fn parse(line: &[u8]) -> Line {
    let opens = line.iter().enumerate().filter(|(_, byte)| **byte == b'[');
    let Some((at, second)) = opens
        .map(|(at, _)| at + 1)
        .find_map(|at| Some((at, time(line.get(at..at + TIME_BYTES)?)?)))
    else {
        return Line::Malformed;
    };
    let Some(quoted) = line[at + TIME_BYTES..].strip_prefix(b"] \"") else {
        return Line::Malformed;
    };
    let Some(request) = unquoted(quoted) else {
        return Line::Malformed;
    };
    let words: Vec<&[u8]> = request.split(|&byte| byte == b' ').collect();
    let (method, target) = match words[..] {
        [method, target] => (method, target),
        [method, target, version] if version.starts_with(b"HTTP/") => (method, target),
        // What was no request is logged too: "-", or the bytes of another protocol.
        _ => return Line::Other,
    };
    let method = match method {
        b"GET" => "GET ",
        b"HEAD" => "HEAD ",
        _ => return Line::Other,
    };
    match path(target) {
        Some(path) => Line::Request {
            second,
            request: method.to_owned() + &path,
        },
        None => Line::Other,
    }
}

/// What stands before the closing quote, which nginx writes as `\x22` within and Apache as `\"`.
fn unquoted(text: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some(&text[..at]),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The path and query of a request target, with what the log has escaped as it was sent, or
/// percent-encoded where it can't be sent.
fn path(target: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(target.len());
    let mut rest = target;
    while let [first, tail @ ..] = rest {
        let (byte, left) = match (first, tail) {
            (b'\\', [b'x', high, low, left @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                ((digit(high)? * 16 + digit(low)?) as u8, left)
            }
            (b'\\', [escaped, left @ ..]) => (*escaped, left),
            (byte, left) => (*byte, left),
        };
        match byte.is_ascii_graphic() {
            true => bytes.push(byte),
            false => bytes.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
        rest = left;
    }
    let text = String::from_utf8(bytes).ok()?;
    // A proxy's client sends the whole URL (RFC 9112 section 3.2.2).
    let path = match text.split_once("://") {
        Some(("http" | "https", rest)) => &rest[rest.find('/')?..],
        _ => &text,
    };
    path.starts_with('/').then(|| path.to_owned())
}

const TIME_BYTES: usize = 26;

/// `10/Oct/2000:13:55:36 -0700` as seconds since the epoch.
fn time(text: &[u8]) -> Option<i64> {
    const MONTHS: [&[u8]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    let between = [
        (2, b'/'),
        (6, b'/'),
        (11, b':'),
        (14, b':'),
        (17, b':'),
        (20, b' '),
    ];
    if text.len() != TIME_BYTES || between.iter().any(|&(at, byte)| text[at] != byte) {
        return None;
    }
    let number = |from: usize, to: usize, max: i64| {
        let digits = &text[from..to];
        let digit = |sum: i64, byte: &u8| {
            byte.is_ascii_digit()
                .then(|| sum * 10 + i64::from(byte - b'0'))
        };
        digits
            .iter()
            .try_fold(0, digit)
            .filter(|number| *number <= max)
    };
    let day = number(0, 2, 31)?;
    let month = MONTHS.iter().position(|month| *month == &text[3..6])? as i64 + 1;
    let year = number(7, 11, 9999)?;
    let (hour, minute, second) = (
        number(12, 14, 23)?,
        number(15, 17, 59)?,
        number(18, 20, 60)?,
    );
    let east = match text[21] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let offset = east * (number(22, 24, 23)? * 3600 + number(24, 26, 59)? * 60);
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar: years that begin in March, so that the
/// leap day is the last, in eras of 400.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Why a log can't be replayed; reads on after its name.
#[derive(Debug)]
pub enum LogError {
    Io(io::Error),
    TooLong,
    TooManyUrls,
    Nothing {
        others: u64,
        malformed: u64,
        malformed_first: u64,
    },
}

impl From<io::Error> for LogError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, ": {error}"),
            Self::TooLong => write!(
                f,
                " has more than {} requests; replay a part of it, such as with: head -n {} LOG | \
                 headwater load URL --replay -",
                limits::LOAD_REPLAY_MAX,
                limits::LOAD_REPLAY_MAX
            ),
            Self::TooManyUrls => write!(
                f,
                " asks for more than {} different things; replay a part of it",
                limits::LOAD_URLS_MAX
            ),
            Self::Nothing {
                others: 0,
                malformed: 0,
                ..
            } => write!(f, " is empty"),
            Self::Nothing {
                malformed: 0,
                others,
                ..
            } => write!(
                f,
                " has no request to replay: none of its {others} requests is a GET or HEAD"
            ),
            Self::Nothing {
                malformed,
                malformed_first,
                ..
            } => write!(
                f,
                " has no request to replay: {malformed} lines, the first of them line {malformed_first}, \
                 are in neither the common nor the combined format of Apache and nginx"
            ),
        }
    }
}

impl std::error::Error for LogError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGENT: &str = "\"-\" \"curl/7.88.1\"";

    fn request(second: i64, request: &str) -> Line {
        Line::Request {
            second,
            request: request.to_owned(),
        }
    }

    #[test]
    fn both_formats_are_read() {
        let common =
            r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" 200 2326"#;
        assert_eq!(parse(common.as_bytes()), request(971_211_336, "GET /a.gif"));
        let combined = format!("{common} {AGENT}").replace("GET", "HEAD");
        assert_eq!(
            parse(combined.as_bytes()),
            request(971_211_336, "HEAD /a.gif")
        );
        let host_before = format!("example.org:443 ::1 [x] {common}");
        assert_eq!(
            parse(host_before.as_bytes()),
            request(971_211_336, "GET /a.gif")
        );
    }

    #[test]
    fn what_was_escaped_is_sent_as_it_was() {
        let line = |target: &str| {
            let line =
                format!("- - - [01/Jan/1970:00:00:00 +0000] \"GET {target} HTTP/1.1\" 200 0");
            parse(line.as_bytes())
        };
        assert_eq!(line(r"/a\x22b\xC3\xA9?q"), request(0, "GET /a\"b%C3%A9?q"));
        assert_eq!(line(r#"/a\"b\\"#), request(0, r#"GET /a"b\"#));
        assert_eq!(line("http://h:1/p?q"), request(0, "GET /p?q"));
        for other in ["*", "http://h", r"\x", "h:443"] {
            assert_eq!(line(other), Line::Other, "{other}");
        }
    }

    #[test]
    fn lines_without_a_request_to_replay() {
        let line = |request: &str| {
            parse(format!("- - - [01/Jan/1970:00:00:00 +0000] \"{request}\" 400 0").as_bytes())
        };
        for other in [
            "POST / HTTP/1.1",
            "-",
            r"\x16\x03\x01",
            "",
            "GET /a b HTTP/1.1",
        ] {
            assert_eq!(line(other), Line::Other, "{other}");
        }
        for malformed in [
            "",
            "hello",
            "- - - [01/Jan/1970:00:00:00] \"GET / HTTP/1.1\"",
            "- - - [01/Jän/1970:00:00:00 +0000] \"GET / HTTP/1.1\"",
            "- - - [99/Jan/1970:00:00:00 +0000] \"GET / HTTP/1.1\"",
            "- - - [01/Jan/1970:00:00:00 +0000] GET / HTTP/1.1",
            "- - - [01/Jan/1970:00:00:00 +0000] \"GET / HTTP/1.1",
        ] {
            assert_eq!(parse(malformed.as_bytes()), Line::Malformed, "{malformed}");
        }
    }

    #[test]
    fn dates_agree_with_another_implementation() {
        for days_on in (0..60_000).step_by(13) {
            let when = std::time::UNIX_EPOCH + std::time::Duration::from_secs(days_on * 86_400);
            // As in `Sun, 06 Nov 1994 08:49:37 GMT`.
            let date = httpdate::fmt_http_date(when);
            let text = format!(
                "{}/{}/{}:00:00:00 +0000",
                &date[5..7],
                &date[8..11],
                &date[12..16]
            );
            assert_eq!(
                time(text.as_bytes()),
                Some(days_on as i64 * 86_400),
                "{date}"
            );
        }
    }

    #[test]
    fn a_second_is_shared_by_its_requests() {
        let line = |second: u32, path: &str| {
            format!("- - - [01/Jan/1970:00:00:{second:02} +0000] \"GET {path} HTTP/1.1\" 200 0\n")
        };
        let text = line(11, "/a") + &line(10, "/b") + "?\n\n" + &line(10, "/a") + &line(13, "/b");
        let log = Log::read(text.as_bytes()).unwrap();
        assert_eq!(log.requests, ["GET /a", "GET /b"]);
        assert_eq!((log.len(), log.malformed, log.malformed_first), (4, 1, 3));
        let replay = log.at_its_times(1.0);
        assert_eq!(replay.requests[..], [1, 0, 0, 1]);
        let moments = replay.moments_ns.unwrap();
        assert_eq!(moments[..], [0, 500_000_000, 1_000_000_000, 3_000_000_000]);
        assert_eq!(log.length_ns(1.0), 4_000_000_000);
        assert_eq!(log.length_ns(8.0), 500_000_000);
        assert_eq!(log.at_its_times(2.0).moments_ns.unwrap()[1], 250_000_000);
    }

    #[test]
    fn a_line_without_end_is_one_malformed_line() {
        let long = "x".repeat(limits::LOAD_LOG_LINE_BYTES_MAX as usize + 5);
        let text = format!("{long}\n- - - [01/Jan/1970:00:00:00 +0000] \"GET / HTTP/1.1\" 200 0");
        let log = Log::read(text.as_bytes()).unwrap();
        assert_eq!((log.len(), log.malformed), (1, 1));
        let said = Log::read(long.as_bytes()).unwrap_err().to_string();
        assert!(said.contains("1 lines, the first of them line 1"), "{said}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(line in proptest::collection::vec(any::<u8>(), 0..120)) {
            parse(&line);
            time(&line);
        }

        #[test]
        fn a_request_can_be_sent(
            target in r#"[ -~]{0,20}(\\x[0-9A-F]{2})?[^"]{0,10}"#, year in 1970..2100i64,
        ) {
            let line = format!("- - - [28/Feb/{year}:23:59:60 -1200] \"GET /{target} HTTP/1.1\" 200 0");
            if let Line::Request { request, .. } = parse(line.as_bytes()) {
                let path = request.strip_prefix("GET ").unwrap();
                prop_assert!(path.bytes().all(|byte| byte.is_ascii_graphic()), "{path}");
            }
        }
    }
}
