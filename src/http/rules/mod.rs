//! Rules about responses: header lines by path and status, CORS, the operator's error pages, and
//! the fallback file for paths without a file.
//!
//! [`ResponseRules`] is one value without any input or output. The server has one today; a site
//! or a route can carry its own (`docs/decisions/065-response-rules.md`). The rules are evaluated
//! once for each file and kept with it, so that a request for a cached file costs nothing more.

mod cors;
mod header;
mod pattern;
mod statuses;

use std::collections::BTreeMap;

pub use cors::{Cors, OriginError, OriginLines, is_preflight, preflight};
pub use header::{HeaderChange, HeaderEdits, HeaderError, HeaderRule};
pub use pattern::{PathPattern, PatternError, is_hashed_name};
pub use statuses::{StatusSet, StatusSetError};

use super::Status;

/// How responses are changed before they are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseRules {
    /// Changes to header lines; of two that contradict each other the later one wins.
    pub headers: Vec<HeaderRule>,
    /// The origins that may read responses across origins; `None`: no CORS fields are sent.
    pub cors: Option<Cors>,
    /// By status, the path below the root of the file that is the body of such a response.
    pub error_pages: BTreeMap<u16, Box<str>>,
    /// The path below the root of the file that answers where there is none and HTML is accepted.
    pub fallback: Option<Box<str>>,
}

impl ResponseRules {
    /// What becomes of the header lines of a response for `path` with this status.
    pub fn edits(&self, path: &[u8], status: Status) -> HeaderEdits {
        let mut edits = HeaderEdits::of(&self.headers, path, status);
        if let Some(cors) = &self.cors {
            cors.edit(&mut edits);
        }
        edits
    }

    /// What becomes of the header lines of a response with this status for a request whose path
    /// is not known: what the rules for every path say.
    pub fn edits_of_every_path(&self, status: Status) -> HeaderEdits {
        let rules = self.headers.iter().filter(|rule| rule.is_of_every_path());
        // Such a rule matches any path.
        let mut edits = HeaderEdits::of(rules, b"/", status);
        if let Some(cors) = &self.cors {
            cors.edit(&mut edits);
        }
        edits
    }

    /// What becomes of the header lines of the responses for a file.
    pub fn file_edits(&self, path: &[u8]) -> FileEdits {
        FileEdits {
            whole: self.edits(path, Status::OK),
            part: self.edits(path, Status::PARTIAL_CONTENT),
            not_modified: self.edits(path, Status::NOT_MODIFIED),
        }
    }

    /// The file that is the body of a response with this status, if there is one.
    pub fn error_page(&self, status: Status) -> Option<&str> {
        self.error_pages.get(&status.code()).map(|path| &**path)
    }
}

/// What becomes of the header lines of the responses for one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileEdits {
    /// Of a 200.
    pub whole: HeaderEdits,
    /// Of a 206.
    pub part: HeaderEdits,
    /// Of a 304.
    pub not_modified: HeaderEdits,
}
