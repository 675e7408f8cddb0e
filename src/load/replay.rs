//! Access logs as loads: the common and combined formats of Apache and nginx, and the JSON and
//! logfmt forms of headwater's own.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufRead, Read};
use std::sync::Arc;

use serde::Deserialize;

use super::plan::Replay;
use crate::load::limits;

const SECOND_NS: f64 = 1e9;

/// The requests of an access log.
#[derive(Debug, Default)]
pub struct Log {
    /// Each different request once: method and path, with a space between.
    pub requests: Vec<String>,
    /// The log's lines: for each its second since the epoch and the index of its request.
    lines: Vec<(i64, u32)>,
    /// Lines whose method is neither GET nor HEAD, or without a request.
    pub others: u64,
    /// Lines that are in no known format.
    pub malformed: u64,
    /// Number of the first malformed line.
    pub malformed_first: u64,
}

impl Log {
    /// Reads a log. Its lines may be out of order, since some servers log the time at which a
    /// request began.
    ///
    /// # Errors
    /// When the log can't be read, is too long, or has no request that can be replayed.
    pub fn read(mut input: impl BufRead) -> Result<Self, LogError> {
        let mut log = Self::default();
        let mut known: HashMap<String, u32> = HashMap::new();
        let mut line = Vec::new();
        let mut number = 0;
        while read_line(&mut input, &mut line)? {
            number += 1;
            match parse(&line) {
                LogLine::Request { second, request } => {
                    let next = known.len() as u32;
                    let index = *known.entry(request).or_insert(next);
                    if known.len() > limits::URLS_MAX {
                        return Err(LogError::TooManyUrls);
                    }
                    if log.lines.len() == limits::REPLAY_MAX {
                        return Err(LogError::TooLong);
                    }
                    log.lines.push((second, index));
                }
                LogLine::Other => log.others += 1,
                LogLine::Malformed if line.trim_ascii().is_empty() => {}
                LogLine::Malformed => {
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

    /// There is always a first line.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The log's duration, in nanoseconds, when replayed at `speed` times its own speed.
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

    /// The log replayed at `speed` times its own speed; requests of one second are spread evenly
    /// over it.
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

    /// The lines that are not replayed, in words.
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
                "{} lines of the log were left out that are in none of the formats that \
                 are read; the first is line {}",
                self.malformed, self.malformed_first
            ));
        }
        notes
    }
}

/// Reads a line without its end; of one that is too long, its beginning. `false` at the end.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let max = limits::LOG_LINE_BYTES_MAX;
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
enum LogLine {
    Request { second: i64, request: String },
    Other,
    Malformed,
}

/// Reads `… [time] "method target HTTP/version" …`. Ignores fields before the time and behind the
/// request, so that formats with more fields can be read too.
fn parse(line: &[u8]) -> LogLine {
    match line {
        [b'{', ..] => return parse_members(serde_json::from_slice(line).ok()),
        _ if line.starts_with(LOGFMT_BEGIN) => return parse_members(logfmt_members(line)),
        _ => {}
    }
    let opens = line.iter().enumerate().filter(|(_, byte)| **byte == b'[');
    let Some((at, second)) = opens
        .map(|(at, _)| at + 1)
        .find_map(|at| Some((at, time(line.get(at..at + TIME_BYTES)?)?)))
    else {
        return LogLine::Malformed;
    };
    let Some(quoted) = line[at + TIME_BYTES..].strip_prefix(b"] \"") else {
        return LogLine::Malformed;
    };
    let Some(request) = unquoted(quoted) else {
        return LogLine::Malformed;
    };
    let words: Vec<&[u8]> = request.split(|&byte| byte == b' ').collect();
    let (method, target) = match words[..] {
        [method, target] => (method, target),
        [method, target, version] if version.starts_with(b"HTTP/") => (method, target),
        // Servers log invalid requests too: as "-", or with the bytes of another protocol.
        _ => return LogLine::Other,
    };
    match unescaped(target) {
        Some(target) => replayed(second, method, &target),
        None => LogLine::Other,
    }
}

fn replayed(second: i64, method: &[u8], target: &[u8]) -> LogLine {
    let method = match method {
        b"GET" => "GET ",
        b"HEAD" => "HEAD ",
        _ => return LogLine::Other,
    };
    match path(target) {
        Some(path) => LogLine::Request {
            second,
            request: method.to_owned() + &path,
        },
        None => LogLine::Other,
    }
}

/// The fields of a line in JSON or logfmt that a replay needs.
#[derive(Debug, Default, Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    timestamp: Cow<'a, str>,
    #[serde(rename = "http.request.method")]
    method: Option<Cow<'a, str>>,
    #[serde(rename = "url.original")]
    target: Option<Cow<'a, str>>,
}

fn parse_members(members: Option<Members<'_>>) -> LogLine {
    let Some((second, members)) =
        members.and_then(|members| Some((utc_time(members.timestamp.as_bytes())?, members)))
    else {
        return LogLine::Malformed;
    };
    match (members.method, members.target) {
        (Some(method), Some(target)) => replayed(second, method.as_bytes(), target.as_bytes()),
        _ => LogLine::Other,
    }
}

const LOGFMT_BEGIN: &[u8] = b"time=";

/// Reads `key=value` pairs, a value bare or as a JSON string.
fn logfmt_members(line: &[u8]) -> Option<Members<'_>> {
    let mut members = Members::default();
    let mut rest = std::str::from_utf8(line).ok()?;
    while let Some((key, behind)) = rest.split_once('=') {
        let value: Cow<'_, str> = if behind.starts_with('"') {
            let mut strings = serde_json::Deserializer::from_str(behind).into_iter::<String>();
            let text = strings.next()?.ok()?;
            rest = &behind[strings.byte_offset()..];
            text.into()
        } else {
            let end = behind.find(' ').unwrap_or(behind.len());
            rest = &behind[end..];
            behind[..end].into()
        };
        match key.trim_start() {
            "time" => members.timestamp = value,
            "method" => members.method = Some(value),
            "target" => members.target = Some(value),
            _ => {}
        }
    }
    Some(members)
}

/// The text before the closing quote; nginx escapes a quote within as `\x22`, Apache as `\"`.
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

/// A text without the log's escapes.
fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let (byte, left) = match (first, tail) {
            (b'\\', [b'x', high, low, left @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                ((digit(high)? * 16 + digit(low)?) as u8, left)
            }
            (b'\\', [escaped, left @ ..]) => (*escaped, left),
            (byte, left) => (*byte, left),
        };
        bytes.push(byte);
        rest = left;
    }
    Some(bytes)
}

/// The path and query of a request target as it was sent, percent-encoded where it can't be sent as
/// it is.
fn path(target: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(target.len());
    for &byte in target {
        match byte.is_ascii_graphic() {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
    }
    // The client of a proxy sends the whole URL (RFC 9112 section 3.2.2).
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
    let number = |from: usize, to: usize, max: i64| number(&text[from..to], max);
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

/// `2026-11-28T12:55:36.042Z` as whole seconds since the epoch.
fn utc_time(text: &[u8]) -> Option<i64> {
    let between = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
    let whole = text.len() >= 20 && text.last() == Some(&b'Z');
    if !whole || between.iter().any(|&(at, byte)| text[at] != byte) {
        return None;
    }
    let number = |from: usize, to: usize, max: i64| number(&text[from..to], max);
    let (year, month, day) = (number(0, 4, 9999)?, number(5, 7, 12)?, number(8, 10, 31)?);
    let (hour, minute) = (number(11, 13, 23)?, number(14, 16, 59)?);
    let second = number(17, 19, 60)?;
    Some(days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

fn number(digits: &[u8], max: i64) -> Option<i64> {
    let digit = |sum: i64, byte: &u8| {
        byte.is_ascii_digit()
            .then(|| sum * 10 + i64::from(byte - b'0'))
    };
    let number = digits.iter().try_fold(0, digit)?;
    (number <= max).then_some(number)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar: years that begin in March, so that the
/// leap day is the last, in eras of 400.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Why a log can't be replayed; the message continues after the log's name.
#[derive(Debug)]
pub enum LogError {
    /// It can't be read.
    Io(io::Error),
    /// It has more than `limits::REPLAY_MAX` requests to replay.
    TooLong,
    /// It has more than `limits::URLS_MAX` different requests.
    TooManyUrls,
    /// It has no request that can be replayed.
    Nothing {
        /// Lines whose method is neither GET nor HEAD, or without a request.
        others: u64,
        /// Lines in none of the formats; empty ones do not count.
        malformed: u64,
        /// Number of the first of those lines, from 1; 0 when there is none.
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
                limits::REPLAY_MAX,
                limits::REPLAY_MAX
            ),
            Self::TooManyUrls => write!(
                f,
                " asks for more than {} different things; replay a part of it",
                limits::URLS_MAX
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
                 are in neither the common nor the combined format of Apache and nginx, nor in headwater's \
                 JSON or logfmt"
            ),
        }
    }
}

impl std::error::Error for LogError {}

#[cfg(test)]
mod tests;
