//! The receiving direction of a connection.

use std::io;
use std::task::{Context, Poll, Waker};

use super::input::Input;
use crate::buffers::ReceiveBuf;
use crate::limits;
use crate::runtime::Receiver;

/// What was received and not used yet, and where more comes from.
pub(super) struct Inbound {
    receiver: Receiver,
    pub input: Input,
    /// The client has ended its sending direction (FIN).
    ended: bool,
    /// Wakes the part of a service that waits for more of the request's body.
    reader: Option<Waker>,
}

impl Inbound {
    pub(crate) fn new(receiver: Receiver) -> Self {
        Self {
            receiver,
            input: Input::Empty,
            ended: false,
            reader: None,
        }
    }

    /// The next bytes from the socket; `None` after the client's FIN.
    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<ReceiveBuf>>> {
        if self.ended {
            return Poll::Ready(Ok(None));
        }
        let poll = self.receiver.poll_next(cx);
        self.ended = matches!(poll, Poll::Ready(Ok(None)));
        poll
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether enough was received ahead of its use, so that the client has to wait (flow control).
    pub(crate) fn is_full(&self) -> bool {
        self.input.bytes().len() >= limits::READ_AHEAD_BYTES_MAX
    }

    /// Has the reader of a request's body woken when more has come.
    pub(crate) fn wait_for_more(&mut self, reader: &Waker) {
        match &mut self.reader {
            Some(old) => old.clone_from(reader),
            none => *none = Some(reader.clone()),
        }
    }

    /// Wakes the reader of a request's body; returns whether there is one.
    pub(crate) fn wake_reader(&mut self) -> bool {
        match self.reader.take() {
            Some(reader) => {
                reader.wake();
                true
            }
            None => false,
        }
    }
}
