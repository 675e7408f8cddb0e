//! The interface between connections and what answers their requests: a [`Service`] takes requests
//! and gives responses, whatever protocol carries them.

use std::future::Future;
use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::http::{Head, Response, Status};

/// Answers requests on one shard. Each shard has its own, so it needs no locks.
pub trait Service: 'static {
    /// Answers at once what needs neither waiting nor the request's body. This
    /// is the hot path: the head is still in the receive buffer, and what is
    /// answered here is not copied.
    fn try_call(&self, head: &Head<'_>) -> Option<Response> {
        let _ = head;
        None
    }

    /// Answers a request that [`try_call`](Self::try_call) did not. The future is dropped when the
    /// client is gone.
    fn call(&self, request: Request<'_>) -> impl Future<Output = Response>;

    /// Edits a refusal that was made without it: of a request whose head could not be read (`head`
    /// is `None` then), or whose body is too large.
    fn refused(&self, head: Option<&Head<'_>>, response: Response) -> Response {
        let _ = head;
        response
    }
}

/// A request with its body still to be read.
pub struct Request<'a> {
    /// Request line and headers, parsed.
    pub head: Head<'a>,
    /// The body, of which nothing is read yet.
    pub body: Incoming<'a>,
}

/// A request body that arrives piece by piece. What the service leaves unread is read and
/// thrown away, within bounds, after the response.
pub struct Incoming<'a>(pub(super) &'a mut dyn BodySource);

impl Incoming<'_> {
    /// The next piece; `None` at the end. Only when it is called is `100 Continue` sent to a
    /// client that waits for it; a client that sends on regardless is held back by flow control
    /// after [`crate::limits::READ_AHEAD_BYTES_MAX`].
    ///
    /// # Errors
    /// Why the body can't be read to its end; [`IncomingError::response`] is the answer to it.
    pub async fn next(&mut self) -> Result<Option<Bytes>, IncomingError> {
        std::future::poll_fn(|cx| self.0.poll_piece(cx)).await
    }

    /// Bytes of the body as announced; `None` for a chunked one.
    pub fn len(&self) -> Option<u64> {
        self.0.announced()
    }

    /// Whether there is no body at all.
    pub fn is_empty(&self) -> bool {
        self.len() == Some(0)
    }
}

/// Where a request's body comes from: one implementation per protocol.
pub(super) trait BodySource {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, IncomingError>>;
    fn announced(&self) -> Option<u64>;
}

/// Why a request body could not be read to its end.
#[derive(Debug)]
pub enum IncomingError {
    /// It is longer than the server takes (413).
    TooLarge,
    /// Nothing came for too long, or too little (408).
    TimedOut,
    /// It breaks the protocol's rules (400, or 431 for its trailer).
    Malformed(Status, String),
    /// The connection is gone.
    Io(io::Error),
}

impl IncomingError {
    /// The response to send for it. The connection is closed after it.
    pub fn response(&self) -> Response {
        match self {
            Self::TooLarge => Response::error(
                Status::CONTENT_TOO_LARGE,
                "the request's body is larger than this server takes",
            ),
            Self::TimedOut => Response::error(
                Status::REQUEST_TIMEOUT,
                "the request's body did not arrive in time; send it again",
            ),
            Self::Malformed(status, why) => Response::error(*status, why),
            Self::Io(_) => {
                Response::error(Status::BAD_REQUEST, "the request's body ended too early")
            }
        }
    }
}
