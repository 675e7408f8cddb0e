//! Tasks of one shard that wait in line, first come, first served.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

#[derive(Default)]
pub(super) struct Line {
    waiting: RefCell<VecDeque<(u64, Waker)>>,
    next_ticket: Cell<u64>,
}

impl Line {
    /// The one whose turn it is next.
    pub fn first(&self) -> Option<Waker> {
        self.waiting
            .borrow()
            .front()
            .map(|(_, waker)| waker.clone())
    }

    /// A place that is taken at the first poll that has to wait.
    pub fn place(&self) -> Place<'_> {
        Place {
            line: self,
            ticket: None,
        }
    }
}

/// A place in the line; dropping it leaves the line.
pub(super) struct Place<'l> {
    line: &'l Line,
    ticket: Option<u64>,
}

impl Place<'_> {
    /// Whether nobody is before this one.
    pub fn is_first(&self) -> bool {
        let waiting = self.line.waiting.borrow();
        match (self.ticket, waiting.front()) {
            (Some(ticket), Some((first, _))) => ticket == *first,
            (_, first) => first.is_none(),
        }
    }

    /// Ready, and out of the line, when it is first and `open`.
    pub fn poll_leave(&mut self, open: bool, cx: &mut Context<'_>) -> Poll<()> {
        if open && self.is_first() {
            self.leave();
            return Poll::Ready(());
        }
        let mut waiting = self.line.waiting.borrow_mut();
        match self.ticket {
            Some(ticket) => {
                if let Some((_, waker)) = waiting.iter_mut().find(|(t, _)| *t == ticket) {
                    waker.clone_from(cx.waker());
                }
            }
            None => {
                let ticket = self.line.next_ticket.get();
                self.line.next_ticket.set(ticket + 1);
                waiting.push_back((ticket, cx.waker().clone()));
                self.ticket = Some(ticket);
            }
        }
        Poll::Pending
    }

    /// Leaves the line; whether this one was in it.
    pub fn leave(&mut self) -> bool {
        let Some(ticket) = self.ticket.take() else {
            return false;
        };
        self.line.waiting.borrow_mut().retain(|(t, _)| *t != ticket);
        true
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}
