//! Sets of status codes.

use std::str::FromStr;

use crate::http::Status;

const FIRST: u16 = 100;
const WORDS: usize = 8;

/// A set of status codes, as a rule applies to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusSet([u64; WORDS]);

/// A text that names neither a status (`404`) nor a class of them (`4xx`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusSetError;

impl StatusSet {
    /// No status.
    pub const NONE: StatusSet = StatusSet([0; WORDS]);
    /// Every status.
    pub const ALL: StatusSet = StatusSet([u64::MAX; WORDS]);

    /// Success and redirection: the statuses that nginx's `add_header` applies to without
    /// `always`. No error is among them, so that none is cached for a year.
    pub fn usual() -> StatusSet {
        let mut set = StatusSet::NONE;
        for code in [200, 201, 204, 206, 301, 302, 303, 304, 307, 308] {
            set.insert(code);
        }
        set
    }

    fn insert(&mut self, code: u16) {
        let at = usize::from(code.saturating_sub(FIRST));
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    /// Whether a status is in the set.
    pub fn contains(&self, status: Status) -> bool {
        let at = usize::from(status.code().saturating_sub(FIRST));
        self.0
            .get(at / 64)
            .is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    /// All statuses of both sets.
    #[must_use]
    pub fn union(self, other: StatusSet) -> StatusSet {
        let mut words = self.0;
        for (word, more) in words.iter_mut().zip(other.0) {
            *word |= more;
        }
        StatusSet(words)
    }
}

/// One status, `404`, or a class of them, `4xx`.
impl FromStr for StatusSet {
    type Err = StatusSetError;

    fn from_str(text: &str) -> Result<StatusSet, StatusSetError> {
        let mut set = StatusSet::NONE;
        match text.as_bytes() {
            [class @ b'1'..=b'5', b'x' | b'X', b'x' | b'X'] => {
                let first = u16::from(class - b'0') * 100;
                (first..first + 100).for_each(|code| set.insert(code));
            }
            [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => {
                set.insert(text.parse().map_err(|_| StatusSetError)?);
            }
            _ => return Err(StatusSetError),
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(set: StatusSet) -> Vec<u16> {
        let all = (100..600).filter_map(Status::new);
        all.filter(|status| set.contains(*status))
            .map(Status::code)
            .collect()
    }

    #[test]
    fn a_text_names_one_status_or_a_class() {
        assert_eq!(codes("404".parse().unwrap()), [404]);
        assert_eq!(
            codes("5xx".parse().unwrap()),
            (500..600).collect::<Vec<_>>()
        );
        assert_eq!(codes("1XX".parse().unwrap()).len(), 100);
        for text in [
            "", "4", "44", "4040", "600", "099", "6xx", "xxx", "4x4", "+04", "always",
        ] {
            assert_eq!(text.parse::<StatusSet>(), Err(StatusSetError), "{text}");
        }
    }

    #[test]
    fn usual_is_nginxs_list_and_sets_add_up() {
        assert!(StatusSet::usual().contains(Status::NOT_MODIFIED));
        assert!(codes(StatusSet::usual()).iter().all(|code| *code < 400));
        let both = StatusSet::usual().union("404".parse().unwrap());
        assert!(both.contains(Status::NOT_FOUND) && both.contains(Status::OK));
        assert_eq!(codes(StatusSet::ALL).len(), 500);
    }
}
