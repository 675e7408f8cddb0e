//! The opening handshake (RFC 6455 section 4), from the client's side.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::http::h1::response::{ResponseError, read_lines, unfold};
use crate::http::known::Known;
use crate::http::{ParseError, ParseLimits, scan};

/// What is appended to a key before it is hashed (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The value of `Sec-WebSocket-Accept` that answers a `Sec-WebSocket-Key`.
pub fn accept_value(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// A client's nonce.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientKey(String);

impl ClientKey {
    /// The key of 16 random bytes.
    pub fn new(random: [u8; 16]) -> Self {
        Self(STANDARD.encode(random))
    }

    /// The header lines of a request, besides its own, that asks for WebSocket.
    pub fn lines(&self) -> String {
        format!(
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {}\r\n",
            self.0
        )
    }

    /// Reads the server's answer: the length of its head when it agrees, `None` when more bytes
    /// are needed.
    ///
    /// # Errors
    /// When the server does not agree, or answers something else.
    pub fn read_answer(&self, bytes: &[u8]) -> Result<Option<usize>, HandshakeError> {
        match self.read_unfolded(bytes) {
            Err(HandshakeError::Malformed(ResponseError::Head(ParseError::Folded))) => {
                self.read_unfolded(&unfold(bytes, &ParseLimits::response()))
            }
            read => read,
        }
    }

    fn read_unfolded(&self, bytes: &[u8]) -> Result<Option<usize>, HandshakeError> {
        let (mut upgrade, mut connection, mut accept, mut more) = (false, false, 0, false);
        let wanted = accept_value(self.0.as_bytes());
        let head = read_lines(bytes, &ParseLimits::response(), |_, name, value| {
            let value = scan::trim(value);
            match Known::of(name) {
                Some(Known::Upgrade) => upgrade |= value.eq_ignore_ascii_case(b"websocket"),
                Some(Known::Connection) => {
                    let mut tokens = value.split(|&byte| byte == b',').map(scan::trim);
                    connection |= tokens.any(|token| token.eq_ignore_ascii_case(b"upgrade"));
                }
                _ if name.eq_ignore_ascii_case(b"sec-websocket-accept") => {
                    accept += if value == wanted.as_bytes() { 1 } else { 2 };
                }
                // Neither was offered.
                _ if name.eq_ignore_ascii_case(b"sec-websocket-extensions")
                    || name.eq_ignore_ascii_case(b"sec-websocket-protocol") =>
                {
                    more |= !value.is_empty();
                }
                _ => {}
            }
            Ok(())
        });
        let Some((_, status, head_bytes)) = head.map_err(HandshakeError::Malformed)? else {
            return Ok(None);
        };
        match status {
            101 if !(upgrade && connection) => Err(HandshakeError::NotUpgraded),
            101 if accept != 1 => Err(HandshakeError::Accept),
            101 if more => Err(HandshakeError::NotOffered),
            101 => Ok(Some(head_bytes)),
            status => Err(HandshakeError::Refused(status)),
        }
    }
}

/// Why there is no WebSocket connection.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum HandshakeError {
    /// The server answered with this status and not with 101.
    Refused(u16),
    /// The answer is no HTTP/1.1.
    Malformed(ResponseError),
    /// It switches to something else than WebSocket.
    NotUpgraded,
    /// `Sec-WebSocket-Accept` is missing or is another key's.
    Accept,
    /// It chose an extension or a subprotocol that was not offered.
    NotOffered,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status) => write!(
                f,
                "the server answered {status} and not 101 Switching Protocols"
            ),
            Self::Malformed(error) => error.fmt(f),
            Self::NotUpgraded => f.write_str("the server's 101 does not switch to WebSocket"),
            Self::Accept => {
                f.write_str("the server's Sec-WebSocket-Accept does not answer the key")
            }
            Self::NotOffered => {
                f.write_str("the server chose an extension or subprotocol that was not offered")
            }
        }
    }
}

impl std::error::Error for HandshakeError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ClientKey {
        ClientKey::new(*b"the sample nonce")
    }

    fn answer(lines: &str) -> String {
        format!("HTTP/1.1 101 Switching Protocols\r\n{lines}\r\n")
    }

    const GOOD: &str = "upgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 6455 section 1.3.
        assert_eq!(key().0, "dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(
            accept_value(key().0.as_bytes()),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        let head = answer(GOOD);
        let bytes = format!("{head}\u{1}rest");
        assert_eq!(key().read_answer(bytes.as_bytes()), Ok(Some(head.len())));
        for cut in 0..head.len() {
            assert_eq!(key().read_answer(&head.as_bytes()[..cut]), Ok(None));
        }
    }

    #[test]
    fn servers_that_do_not_agree() {
        use HandshakeError as E;
        for (answer, error) in [
            ("HTTP/1.1 200 OK\r\n\r\n".to_owned(), E::Refused(200)),
            ("HTTP/1.1 404 No\r\n\r\n".to_owned(), E::Refused(404)),
            (
                "SSH-2.0".to_owned(),
                E::Malformed(ResponseError::StatusLine),
            ),
            (answer(""), E::NotUpgraded),
            (answer(&GOOD.replace("WebSocket", "h2c")), E::NotUpgraded),
            (answer(&GOOD.replace("xOo=", "xOO=")), E::Accept),
            (
                answer("Upgrade: websocket\r\nConnection: upgrade\r\n"),
                E::Accept,
            ),
            (
                answer(&format!("{GOOD}Sec-WebSocket-Protocol: chat\r\n")),
                E::NotOffered,
            ),
        ] {
            assert_eq!(key().read_answer(answer.as_bytes()), Err(error), "{answer}");
        }
    }
}
