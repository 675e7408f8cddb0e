//! Why a WebSocket connection has to be failed.

use std::fmt;

/// A breach of the protocol by the peer. Nothing can be read after it (RFC 6455 section 7.1.7).
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum WebSocketError {
    /// A reserved bit is set: an extension that was not agreed on.
    ReservedBit,
    /// An opcode that is not defined.
    Opcode,
    /// A server's frame is masked, or a client's is not.
    Masking,
    /// A length that is not written in the shortest way, or is above 2^63.
    Length,
    /// A control frame in fragments, or with more than 125 bytes.
    Control,
    /// A continuation of nothing, or a new message inside another.
    Fragment,
    /// A Close frame with one byte, or with a code that must not be sent.
    CloseCode,
    /// A text message or a reason for closing is not UTF-8.
    Utf8,
    /// A message above the limit.
    MessageTooLarge,
    /// A message in more fragments than the limit.
    TooManyFragments,
}

impl WebSocketError {
    /// The code to close with (RFC 6455 section 7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Self::Utf8 => 1007,
            Self::MessageTooLarge | Self::TooManyFragments => 1009,
            _ => 1002,
        }
    }
}

impl fmt::Display for WebSocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservedBit => "a frame uses an extension that was not agreed on",
            Self::Opcode => "a frame has an unknown opcode",
            Self::Masking => "a frame is masked that must not be, or is not and must",
            Self::Length => "a frame's length is malformed",
            Self::Control => "a control frame is too long or in fragments",
            Self::Fragment => "a message begins inside another, or goes on before it has begun",
            Self::CloseCode => "a Close frame has no valid code",
            Self::Utf8 => "a text is not UTF-8",
            Self::MessageTooLarge => "a message is too large",
            Self::TooManyFragments => "a message comes in too many fragments",
        })
    }
}

impl std::error::Error for WebSocketError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_a_close_code_and_a_sentence_of_its_own() {
        let errors = [
            (WebSocketError::ReservedBit, 1002),
            (WebSocketError::Opcode, 1002),
            (WebSocketError::Masking, 1002),
            (WebSocketError::Length, 1002),
            (WebSocketError::Control, 1002),
            (WebSocketError::Fragment, 1002),
            (WebSocketError::CloseCode, 1002),
            (WebSocketError::Utf8, 1007),
            (WebSocketError::MessageTooLarge, 1009),
            (WebSocketError::TooManyFragments, 1009),
        ];
        let mut sentences: Vec<String> =
            errors.iter().map(|(error, _)| error.to_string()).collect();
        sentences.sort();
        sentences.dedup();
        assert_eq!(sentences.len(), errors.len());
        for (error, code) in errors {
            assert_eq!(error.close_code(), code);
        }
    }
}
