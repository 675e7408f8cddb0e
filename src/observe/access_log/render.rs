//! A record as a line of the log.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::format::{Field, Format, Style};
use super::moment::{Moments, put_number, put_seconds};
use super::record::{Batch, Cut, NO_BYTE, Record, Texts};
use super::redact::{self, QueryRule, RequestParts, split_request};
use super::text::{put_json, put_logfmt, put_nginx};
use crate::http::target;

/// Makes lines of records.
pub(super) struct Renderer {
    format: Format,
    rule: QueryRule,
    moments: Moments,
    /// The request line of the record at hand as the rule leaves it.
    request: Vec<u8>,
    scratch: Vec<u8>,
    pid: u32,
}

/// A record in its batch.
#[derive(Clone, Copy)]
struct View<'a> {
    record: &'a Record,
    texts: Texts<'a>,
    shard: usize,
    started_ms: i64,
}

impl View<'_> {
    fn ended_ms(&self) -> i64 {
        self.started_ms + i64::from(self.record.duration_ms)
    }
}

impl Renderer {
    pub(crate) fn new(format: Format, rule: QueryRule) -> Self {
        Self {
            format,
            rule,
            moments: Moments::default(),
            request: Vec::new(),
            scratch: Vec::new(),
            pid: std::process::id(),
        }
    }

    /// Appends a line for each record.
    pub(crate) fn put_batch(&mut self, out: &mut Vec<u8>, batch: &Batch) {
        for (record, texts) in batch.iter() {
            let view = View {
                record,
                texts,
                shard: batch.shard,
                started_ms: (record.started_ms as i64).saturating_add(batch.epoch_ms),
            };
            self.put_line(out, view);
        }
    }

    fn put_line(&mut self, out: &mut Vec<u8>, view: View<'_>) {
        let Self {
            format,
            rule,
            moments,
            request: redacted,
            scratch,
            pid,
        } = self;
        // Once for all fields that are made of it.
        let request = match format.has_request {
            true => view.texts.get(0),
            false => None,
        };
        let request = request.map(|line| redact::request(line, *rule, redacted));
        let mut value = Value {
            out,
            style: format.style,
            request,
            parts: request.and_then(split_request),
            is_url: &format.is_url,
            rule: *rule,
            moments,
            scratch,
            pid: *pid,
        };
        for piece in &format.pieces {
            let before = value.out.len();
            value.out.extend_from_slice(&piece.before);
            if value.put(piece.field, view) {
                continue;
            }
            match value.style {
                Style::Nginx => value.out.push(b'-'),
                Style::Json | Style::Logfmt => value.out.truncate(before),
            }
        }
        out.extend_from_slice(&format.end);
    }
}

/// What writes one field's value.
struct Value<'a> {
    out: &'a mut Vec<u8>,
    style: Style,
    /// The request line, as the rule leaves it, and where its parts stand.
    request: Option<&'a [u8]>,
    parts: Option<RequestParts>,
    is_url: &'a [bool],
    rule: QueryRule,
    moments: &'a mut Moments,
    scratch: &'a mut Vec<u8>,
    pid: u32,
}

impl Value<'_> {
    /// Writes the value; `false` where there is none.
    #[inline]
    fn put(&mut self, field: Field, view: View<'_>) -> bool {
        let record = view.record;
        match field {
            Field::RemoteAddr => return self.address(record),
            Field::RemoteUser => return false,
            Field::RemotePort => match record.peer {
                Some(peer) => put_number(self.out, peer.port().into()),
                None => return false,
            },
            Field::TimeLocal => {
                let text = self.moments.local(view.ended_ms());
                self.out.extend_from_slice(text);
            }
            Field::TimeIso8601 => {
                let text = self.moments.iso(view.ended_ms());
                self.out.extend_from_slice(text);
            }
            Field::StartUtc => {
                let quote = self.style == Style::Json;
                self.out.extend(quote.then_some(b'"'));
                self.moments.put_utc(self.out, view.started_ms);
                self.out.extend(quote.then_some(b'"'));
            }
            Field::Msec => put_seconds(self.out, view.ended_ms().max(0).unsigned_abs()),
            Field::StartMsec => put_seconds(self.out, view.started_ms.max(0).unsigned_abs()),
            Field::Status => return self.status(record),
            Field::BodyBytes => put_number(self.out, record.body_bytes),
            Field::SentBytes => put_number(self.out, record.sent_bytes),
            Field::HeadBytes => put_number(self.out, record.head_bytes.into()),
            Field::Duration => put_seconds(self.out, record.duration_ms.into()),
            Field::FirstByte if record.first_byte_ms == NO_BYTE => return false,
            Field::FirstByte => put_seconds(self.out, record.first_byte_ms.into()),
            Field::Connection => put_number(self.out, record.connection),
            Field::ConnectionRequests => put_number(self.out, record.request),
            Field::Shard => put_number(self.out, view.shard as u64),
            Field::Pid => put_number(self.out, self.pid.into()),
            Field::Cut => match record.cut {
                Some(cut) => self.text(cut.name().as_bytes()),
                None => return false,
            },
            Field::Completion => match record.cut {
                None => self.text(b"OK"),
                Some(_) => return false,
            },
            Field::Header(index) => return self.header(index, view),
            _ => return self.request(field),
        }
        true
    }

    /// What the request's first line says.
    #[inline]
    fn request(&mut self, field: Field) -> bool {
        let Some(request) = self.request else {
            return false;
        };
        match (field, &self.parts) {
            (Field::Request, _) | (Field::Unparsed, None) => self.text(request),
            (_, None) => return false,
            (Field::Uri, Some(parts)) => {
                let path = path(request, parts);
                let Some(uri) = normalised(&request[path]) else {
                    return false;
                };
                self.text(&uri);
            }
            (_, Some(parts)) => match part(field, request, parts) {
                Some(range) => self.text(&request[range]),
                None => return false,
            },
        }
        true
    }

    fn header(&mut self, index: u8, view: View<'_>) -> bool {
        let index = usize::from(index);
        let Some(text) = view.texts.get(index + 1) else {
            return false;
        };
        match self.is_url.get(index) {
            Some(true) => {
                let mut scratch = std::mem::take(self.scratch);
                self.text(redact::url(text, self.rule, &mut scratch));
                *self.scratch = scratch;
            }
            _ => self.text(text),
        }
        true
    }

    #[inline]
    fn text(&mut self, text: &[u8]) {
        match self.style {
            Style::Nginx => put_nginx(self.out, text),
            Style::Logfmt => put_logfmt(self.out, text),
            Style::Json => {
                self.out.push(b'"');
                put_json(self.out, text);
                self.out.push(b'"');
            }
        }
    }

    /// Where there was no answer, nginx writes 499 if the client went away, and else 000.
    fn status(&mut self, record: &Record) -> bool {
        match (record.status, self.style) {
            (0, Style::Nginx) => {
                let gone = matches!(record.cut, Some(Cut::ClientClosed | Cut::ClientReset));
                let status: &[u8] = if gone { b"499" } else { b"000" };
                self.out.extend_from_slice(status);
            }
            (0, _) => return false,
            (status, _) => put_number(self.out, status.into()),
        }
        true
    }

    fn address(&mut self, record: &Record) -> bool {
        let quote = self.style == Style::Json;
        self.out.extend(quote.then_some(b'"'));
        match record.peer {
            Some(peer) => put_address(self.out, peer.ip()),
            None => self.out.extend_from_slice(b"unix:"),
        }
        self.out.extend(quote.then_some(b'"'));
        true
    }
}

/// Where a part of a request line stands in it.
fn part(field: Field, request: &[u8], parts: &RequestParts) -> Option<Range<usize>> {
    match field {
        Field::Method => Some(parts.method.clone()),
        Field::Target => Some(parts.target.clone()),
        Field::Path => Some(path(request, parts)),
        Field::Args => {
            let path_end = path(request, parts).end;
            (path_end < parts.target.end).then(|| path_end + 1..parts.target.end)
        }
        Field::Protocol => Some(parts.protocol.clone()),
        Field::ProtocolVersion => Some(parts.protocol.start + b"HTTP/".len()..parts.protocol.end),
        _ => None,
    }
}

/// Where the target without its query stands.
fn path(request: &[u8], parts: &RequestParts) -> Range<usize> {
    let target = &parts.target;
    let query = memchr::memchr(b'?', &request[target.clone()]);
    target.start..query.map_or(target.end, |at| target.start + at)
}

/// A path as the server resolves it: decoded, without dot segments and doubled slashes. Of a target
/// in absolute form, what follows its authority. `None` for what has no path beneath the root.
fn normalised(path: &[u8]) -> Option<Vec<u8>> {
    let text = str::from_utf8(path).ok()?;
    let text = match text.split_once("://") {
        Some((_, rest)) if !text.starts_with('/') => rest.find('/').map_or("/", |at| &rest[at..]),
        _ => text,
    };
    let target = target::resolve(text).ok()?;
    let mut uri = Vec::with_capacity(target.path.len() + 2);
    uri.push(b'/');
    uri.extend_from_slice(&target.path);
    if target.is_dir && !target.path.is_empty() {
        uri.push(b'/');
    }
    Some(uri)
}

/// Appends an address; of an IPv4 client on an IPv6 socket its IPv4 address.
fn put_address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(v4) => put_v4(out, v4),
        IpAddr::V6(v6) => put_v6(out, v6),
    }
}

#[inline]
fn put_v4(out: &mut Vec<u8>, address: Ipv4Addr) {
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        put_number(out, octet.into());
    }
}

/// RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups, the first
/// of equals, as `::`.
fn put_v6(out: &mut Vec<u8>, address: Ipv6Addr) {
    let groups = address.segments();
    let (mut from, mut count) = (8, 1);
    for start in 0..8 {
        let zeros = groups[start..].iter().take_while(|&&g| g == 0).count();
        if zeros > count {
            (from, count) = (start, zeros);
        }
    }
    let mut at = 0;
    while at < 8 {
        if at == from {
            out.extend_from_slice(b"::");
            at += count;
            continue;
        }
        if at > 0 && at != from + count {
            out.push(b':');
        }
        put_hex(out, groups[at]);
        at += 1;
    }
}

fn put_hex(out: &mut Vec<u8>, group: u16) {
    let digits = [group >> 12, group >> 8 & 15, group >> 4 & 15, group & 15];
    let first = digits.iter().position(|&digit| digit != 0).unwrap_or(3);
    let digit = |&digit: &u16| b"0123456789abcdef"[usize::from(digit)];
    out.extend(digits[first..].iter().map(digit));
}

#[cfg(test)]
mod tests;
