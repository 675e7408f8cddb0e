//! Response heads and chunk framing, written by copying prepared pieces.

use crate::http::{DateValue, Status, Version};

/// The interim answer to `expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What ends each chunk's data.
pub const CHUNK_END: &[u8] = b"\r\n";

/// The last chunk and an empty trailer section.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How a response's body is delimited.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum BodyFraming {
    /// `content-length`, in bytes; also the answer to HEAD, where no body follows.
    Length(u64),
    /// `transfer-encoding: chunked`. HTTP/1.0 knows no chunks:
    /// [`BodyFraming::of_stream`] does not choose this for it.
    Chunked,
    /// The end of the connection ends the body; `connection: close` is written.
    UntilClose,
    /// Neither body nor length (1xx, 204, 304).
    None,
}

impl BodyFraming {
    /// The framing for a body of `length` bytes, or of a length not known before its end.
    pub fn of_stream(length: Option<u64>, version: Version) -> BodyFraming {
        match (length, version) {
            (Some(length), _) => BodyFraming::Length(length),
            (None, Version::Http10) => BodyFraming::UntilClose,
            (None, _) => BodyFraming::Chunked,
        }
    }
}

/// Appends a whole response head to `out`.
///
/// `header_blocks` are `name: value\r\n` lines, one block after the other, without `date`,
/// `connection`, `content-length` and `transfer-encoding`, which are written here. `version`
/// is the request's: the status line always says HTTP/1.1 (RFC 9110 section
/// 2.5), but an HTTP/1.0 client needs `connection: keep-alive` for a connection that stays open.
pub fn encode_head(
    out: &mut Vec<u8>,
    version: Version,
    status: Status,
    header_blocks: [&[u8]; 2],
    date: &DateValue,
    framing: BodyFraming,
    keep_alive: bool,
) {
    let [lines, appended] = header_blocks;
    out.reserve(lines.len() + appended.len() + 192);
    match status.line() {
        Some(line) => out.extend_from_slice(line.as_bytes()),
        None => unnamed_status_line(out, status),
    }
    out.extend_from_slice(&date_line(date));
    out.extend_from_slice(lines);
    out.extend_from_slice(appended);
    match framing {
        BodyFraming::Length(length) => {
            out.extend_from_slice(b"content-length: ");
            let mut digits = Digits::default();
            out.extend_from_slice(digits.decimal(length));
            out.extend_from_slice(b"\r\n");
        }
        BodyFraming::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        BodyFraming::UntilClose | BodyFraming::None => {}
    }
    let end: &[u8] = match (keep_alive && framing != BodyFraming::UntilClose, version) {
        (false, _) => b"connection: close\r\n\r\n",
        (true, Version::Http10) => b"connection: keep-alive\r\n\r\n",
        (true, _) => b"\r\n",
    };
    out.extend_from_slice(end);
}

/// The date field as an array, so that copying it has a fixed size.
fn date_line(date: &DateValue) -> [u8; 37] {
    let mut line = *b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
    line[6..35].copy_from_slice(date.as_bytes());
    line
}

#[cold]
fn unnamed_status_line(out: &mut Vec<u8>, status: Status) {
    let mut digits = Digits::default();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(digits.decimal(u64::from(status.code())));
    // The space stays even where the reason phrase is empty (RFC 9112 section 4).
    out.extend_from_slice(b" \r\n");
}

/// Appends the line that opens a chunk of `data_bytes` bytes. The data and
/// [`CHUNK_END`] follow it. Nothing is written for an empty chunk, which would
/// end the body.
pub fn encode_chunk_head(out: &mut Vec<u8>, data_bytes: usize) {
    if data_bytes == 0 {
        return;
    }
    let mut digits = Digits::default();
    out.extend_from_slice(digits.hexadecimal(data_bytes as u64));
    out.extend_from_slice(b"\r\n");
}

/// Room for the digits of any `u64`.
#[derive(Default)]
struct Digits([u8; 20]);

impl Digits {
    fn decimal(&mut self, mut number: u64) -> &[u8] {
        let mut at = self.0.len();
        loop {
            at -= 1;
            self.0[at] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return &self.0[at..];
            }
        }
    }

    fn hexadecimal(&mut self, mut number: u64) -> &[u8] {
        let mut at = self.0.len();
        loop {
            at -= 1;
            self.0[at] = b"0123456789abcdef"[(number % 16) as usize];
            number /= 16;
            if number == 0 {
                return &self.0[at..];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(version: Version, status: Status, framing: BodyFraming, keep_alive: bool) -> String {
        let mut out = Vec::new();
        let date = DateValue::from_unix(784_111_777);
        encode_head(
            &mut out,
            version,
            status,
            [b"etag: \"a\"\r\n", b""],
            &date,
            framing,
            keep_alive,
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_head_with_a_length() {
        assert_eq!(
            encoded(Version::Http11, Status::OK, BodyFraming::Length(1024), true),
            "HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\netag: \"a\"\r\n\
             content-length: 1024\r\n\r\n"
        );
    }

    #[test]
    fn a_chunked_head_that_closes() {
        assert_eq!(
            encoded(Version::Http11, Status::OK, BodyFraming::Chunked, false),
            "HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\netag: \"a\"\r\n\
             transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
        );
    }

    #[test]
    fn http10_is_told_that_the_connection_stays() {
        let head = encoded(Version::Http10, Status::OK, BodyFraming::Length(0), true);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
        assert!(head.ends_with("content-length: 0\r\nconnection: keep-alive\r\n\r\n"));
    }

    #[test]
    fn a_body_until_close_closes_whatever_was_asked() {
        let framing = BodyFraming::of_stream(None, Version::Http10);
        let head = encoded(Version::Http10, Status::OK, framing, true);
        assert!(head.ends_with("etag: \"a\"\r\nconnection: close\r\n\r\n"));
        assert_eq!(
            BodyFraming::of_stream(None, Version::Http11),
            BodyFraming::Chunked
        );
        assert_eq!(
            BodyFraming::of_stream(Some(5), Version::Http10),
            BodyFraming::Length(5)
        );
    }

    #[test]
    fn no_body_no_length() {
        assert_eq!(
            encoded(
                Version::Http11,
                Status::NOT_MODIFIED,
                BodyFraming::None,
                true
            ),
            "HTTP/1.1 304 Not Modified\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\netag: \"a\"\r\n\r\n"
        );
    }

    #[test]
    fn an_unnamed_status_keeps_its_space() {
        let teapot = Status::new(418).unwrap();
        assert!(
            encoded(Version::Http11, teapot, BodyFraming::None, true)
                .starts_with("HTTP/1.1 418 \r\n")
        );
    }

    #[test]
    fn digits_at_the_ends_of_their_range() {
        for number in [0, 9, 10, 99, 100, 65_535, u64::MAX] {
            let mut digits = Digits::default();
            assert_eq!(digits.decimal(number), number.to_string().as_bytes());
            let mut digits = Digits::default();
            assert_eq!(digits.hexadecimal(number), format!("{number:x}").as_bytes());
        }
    }

    #[test]
    fn an_empty_chunk_writes_nothing() {
        let mut out = Vec::new();
        encode_chunk_head(&mut out, 0);
        assert!(out.is_empty());
        encode_chunk_head(&mut out, 4096);
        assert_eq!(out, b"1000\r\n");
    }
}
