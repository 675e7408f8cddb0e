//! The requests before a load of ranges: does the server support them, and how large are the objects?

use std::io::{self, Read, Write};
use std::time::Duration;

use super::address::{Address, BlockingStream};
use super::error::LoadError;
use super::ranges::{self, RangeSpec, WHOLE};
use super::request::Prepared;
use crate::http::ByteRange;
use crate::http::h1::response::ResponseReader;
use crate::load::limits;

/// Requests the first byte of each of `requests`; returns the objects' sizes. Blocks, up to
/// `timeout_ms` for each.
///
/// # Errors
/// When the server can't be reached or does not support ranges, or an object is empty or has too
/// many pieces.
pub fn ask_sizes(
    addresses: &[Address],
    requests: &[(Prepared, f64)],
    spec: RangeSpec,
    timeout_ms: u64,
) -> Result<Vec<u64>, LoadError> {
    let mut connection = None;
    let wait = Duration::from_millis(timeout_ms);
    let mut sizes = Vec::with_capacity(requests.len());
    for (request, _) in requests {
        let found = match connection.take() {
            // The server may have closed a kept connection meanwhile.
            Some(kept) => first_byte(kept, request).ok(),
            None => None,
        };
        let found = match found {
            Some(found) => found,
            None => {
                first_byte(connect(addresses, wait)?, request).map_err(|error| LoadError::Io {
                    what: "requesting the size of an object",
                    error,
                })?
            }
        };
        let refuse = |status| LoadError::NoRanges {
            path: request.path().to_owned(),
            status,
        };
        let size = found.size.ok_or_else(|| refuse(found.status))?;
        if size.div_ceil(spec.piece_bytes) >= u64::from(WHOLE) {
            return Err(LoadError::Pieces {
                path: request.path().to_owned(),
                size,
                piece_bytes: spec.piece_bytes,
            });
        }
        sizes.push(size);
        connection = found.connection;
    }
    Ok(sizes)
}

/// Connects to the first of `addresses` that accepts, each within `timeout`.
///
/// # Errors
/// With the first address's error when none does.
pub(super) fn connect(
    addresses: &[Address],
    timeout: Duration,
) -> Result<BlockingStream, LoadError> {
    let mut failed = None;
    for address in addresses {
        match address.connect_blocking(timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                failed.get_or_insert_with(|| LoadError::Connect {
                    address: address.clone(),
                    error,
                });
            }
        }
    }
    Err(failed.unwrap_or(LoadError::Io {
        what: "connecting",
        error: io::ErrorKind::AddrNotAvailable.into(),
    }))
}

struct FirstByte {
    status: u16,
    /// The object's size, if the answer is its first byte.
    size: Option<u64>,
    /// The connection, if it can be used again.
    connection: Option<BlockingStream>,
}

fn first_byte(mut connection: BlockingStream, request: &Prepared) -> io::Result<FirstByte> {
    let mut bytes = Vec::new();
    let first = ByteRange { start: 0, len: 1 };
    ranges::encode(&mut bytes, request.one(), first);
    connection.write_all(&bytes)?;
    let mut reader = ResponseReader::default();
    let mut piece = vec![0; limits::RECV_BUFFER_BYTES];
    let no_http = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    loop {
        let count = connection.read(&mut piece)?;
        if count == 0 {
            return match reader.end() {
                Some(answer) => Ok(first_byte_of(answer.status, &reader, None)),
                None => Err(io::ErrorKind::UnexpectedEof.into()),
            };
        }
        let step = reader
            .read(&piece[..count], false, |_| {})
            .map_err(no_http)?;
        if let Some(answer) = step.answer {
            let kept = answer.keep_alive.then_some(connection);
            return Ok(first_byte_of(answer.status, &reader, kept));
        }
        // The body of an answer that is not a range may be long and is not needed.
        match status(reader.last_head()) {
            Some(status) if (200..600).contains(&status) && status != 206 => {
                return Ok(first_byte_of(status, &reader, None));
            }
            _ => {}
        }
    }
}

fn first_byte_of(
    status: u16,
    reader: &ResponseReader,
    connection: Option<BlockingStream>,
) -> FirstByte {
    let said = ranges::content_range(reader.last_head());
    FirstByte {
        status,
        size: match (status, said) {
            (206, Some((0, 0, size))) => size,
            _ => None,
        },
        connection,
    }
}

/// `HTTP/1.1 206 …`
fn status(head: &[u8]) -> Option<u16> {
    str::from_utf8(head.get(9..12)?).ok()?.parse().ok()
}
