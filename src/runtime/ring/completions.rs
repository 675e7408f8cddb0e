//! The queue of an operation's unread completions. Every idle connection has one, so it allocates
//! nothing for the usual case of none or one completion.

use std::collections::VecDeque;

use super::operations::Completed;

#[derive(Default)]
pub(super) struct UnreadCompletions {
    first: Option<Completed>,
    /// The completions after the first; empty if there is no first one.
    #[expect(
        clippy::box_collection,
        reason = "one word in every idle operation, not four"
    )]
    rest: Option<Box<VecDeque<Completed>>>,
}

impl UnreadCompletions {
    pub(crate) fn push_back(&mut self, completed: Completed) {
        match &mut self.first {
            None => self.first = Some(completed),
            Some(_) => self.rest.get_or_insert_default().push_back(completed),
        }
    }

    pub(crate) fn pop_front(&mut self) -> Option<Completed> {
        let first = self.first.take()?;
        if let Some(rest) = &mut self.rest {
            self.first = rest.pop_front();
            if self.first.is_none() {
                self.rest = None;
            }
        }
        Some(first)
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Completed> {
        let rest = self.rest.iter_mut().flat_map(|rest| rest.iter_mut());
        self.first.iter_mut().chain(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(result: i32) -> Completed {
        Completed { result, flags: 0 }
    }

    #[test]
    fn what_comes_first_leaves_first_and_leaves_nothing_behind() {
        let mut queue = UnreadCompletions::default();
        for round in 0..3 {
            (0..5).for_each(|n| queue.push_back(completed(round * 10 + n)));
            assert_eq!(queue.len(), 5);
            assert_eq!(queue.iter_mut().count(), 5);
            for n in 0..5 {
                assert_eq!(queue.pop_front().map(|c| c.result), Some(round * 10 + n));
            }
            assert!(queue.pop_front().is_none());
            assert!(queue.rest.is_none());
        }
    }
}
