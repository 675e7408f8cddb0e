//! Records operations and completions in the flight recorder.
//!
//! An operation is recorded with the time of the poll that started it, a completion with the time
//! at which `io_uring_enter` returned.

use std::rc::Rc;

use crate::observe::{CallSite, Event, Writer};
use crate::runtime::driver::Op;

pub(super) struct Records {
    writer: Rc<Writer>,
    kinds: [CallSite; Op::KINDS.len()],
}

impl Records {
    pub(crate) fn off() -> Self {
        Self::new(Rc::new(Writer::off()))
    }

    pub(crate) fn new(writer: Rc<Writer>) -> Self {
        Self {
            writer,
            kinds: Op::KINDS.map(CallSite::named),
        }
    }

    pub(crate) fn are_kept(&self) -> bool {
        self.writer.is_on()
    }

    /// The thread is back from the kernel.
    pub(crate) fn tick(&self) -> u64 {
        self.writer.tick()
    }

    pub(crate) fn submitted(&self, user_data: u64, kind: usize) {
        self.note(Event::Submit, user_data, Some(kind), 0);
    }

    pub(crate) fn completed(&self, user_data: u64, kind: Option<usize>, result: i32, more: bool) {
        let event = match more {
            true => Event::Progress,
            false => Event::Complete,
        };
        self.note(event, user_data, kind, i64::from(result) as u64);
    }

    fn note(&self, event: Event, user_data: u64, kind: Option<usize>, value: u64) {
        let site = kind.map_or(CallSite::UNKNOWN, |kind| self.kinds[kind]);
        let now_ns = self.writer.now_ns();
        self.writer.record(now_ns, event, site, user_data, value);
    }
}
