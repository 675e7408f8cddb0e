//! One form of a file as it is sent: its bytes, their validators and the header lines of its answers.

use std::borrow::Cow;
use std::cell::Cell;
use std::os::fd::AsFd;
use std::rc::Rc;

use super::content::Content;
use super::validators::FileValidators;
use super::weight::Weight;
use crate::http::digest::Sha256;
use crate::http::rules::{FileEdits, HeaderEdits};
use crate::http::{Coding, DateValue, HeaderBlock, Validators};
use crate::sys;
use crate::sys::file::Stamp;

/// Identifies the bytes of a representation.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Identity {
    /// The file that they are, or are made of.
    pub stamp: Stamp,
    /// The coding that they were compressed with here.
    pub made: Option<Coding>,
}

/// One form of a file as it is sent (RFC 9110 section 3.2).
#[derive(Debug)]
pub(crate) struct Representation {
    /// Identifies its bytes.
    pub identity: Identity,
    /// Where its bytes are.
    pub content: Content,
    /// Their number.
    pub size: u64,
    /// Whether ranges of it are served.
    pub has_parts: bool,
    /// The value of Content-Type.
    pub content_type: Cow<'static, str>,
    /// The lines of a 200.
    pub lines: HeaderBlock,
    /// The lines of a 206 with one part, without Content-Range.
    pub part_lines: HeaderBlock,
    /// The lines of a 206 with several parts, without those that say so.
    pub parts_lines: HeaderBlock,
    /// The lines of a 304: the validators, and Vary where there are several forms.
    pub validator_lines: HeaderBlock,
    /// The digest of its bytes, once it is known.
    pub digest: Cell<Option<Sha256>>,
    etag: String,
    modified_s: Option<u64>,
    is_date_of_change: bool,
    edits: Rc<FileEdits>,
}

impl Representation {
    /// A file as it is.
    ///
    /// `varies`: there may be coded forms of it. `edits`: what the rules make of its lines.
    pub(crate) fn plain(
        stamp: Stamp,
        content: Content,
        content_type: Cow<'static, str>,
        validators: &FileValidators,
        varies: bool,
        edits: Rc<FileEdits>,
    ) -> Representation {
        let etag = validators.etag();
        let modified_s = validators.modified_s;
        let validator_lines = validator_lines(&etag, modified_s, varies);
        let lines = validator_lines
            .clone()
            .with("content-type", content_type.as_bytes())
            .with("accept-ranges", "bytes");
        Representation {
            identity: Identity { stamp, made: None },
            size: stamp.size,
            has_parts: true,
            content,
            content_type,
            part_lines: edited(&edits.part, &lines),
            parts_lines: edited(&edits.part, &validator_lines),
            lines: edited(&edits.whole, &lines),
            validator_lines: edited(&edits.not_modified, &validator_lines),
            digest: Cell::default(),
            etag,
            modified_s,
            is_date_of_change: validators.is_date_of_change,
            edits,
        }
    }

    /// A coded form of `self`. Ranges of it are not served, so Accept-Ranges is left out.
    pub(crate) fn coded(
        &self,
        coding: Coding,
        etag: String,
        identity: Identity,
        content: Content,
        size: u64,
    ) -> Representation {
        let validator_lines = validator_lines(&etag, self.modified_s, true);
        let lines = validator_lines
            .clone()
            .with("content-type", self.content_type.as_bytes())
            .with("content-encoding", coding.name());
        Representation {
            identity,
            content,
            size,
            has_parts: false,
            content_type: self.content_type.clone(),
            // No part of it is ever sent.
            part_lines: HeaderBlock::new(),
            parts_lines: HeaderBlock::new(),
            lines: edited(&self.edits.whole, &lines),
            validator_lines: edited(&self.edits.not_modified, &validator_lines),
            digest: Cell::default(),
            etag,
            modified_s: self.modified_s,
            is_date_of_change: self.is_date_of_change,
            edits: Rc::clone(&self.edits),
        }
    }

    /// What conditional requests are evaluated against.
    pub(crate) fn validators(&self) -> Validators<'_> {
        self.validators_with(&self.etag)
    }

    /// The same for a request with If-Range, for which a date must be strong (RFC 9110 section
    /// 8.8.2.2): its second is over, and nothing but a change of the content has set it.
    pub(crate) fn range_validators(&self) -> Validators<'_> {
        let now_s = sys::time::realtime().0;
        Validators {
            is_date_strong: self.is_date_of_change && self.modified_s.is_some_and(|s| s < now_s),
            ..self.validators()
        }
    }

    /// Whether its Last-Modified, if it has one, is not in the future.
    pub(crate) fn is_date_past(&self, now_s: u64) -> bool {
        self.modified_s.is_none_or(|modified_s| modified_s <= now_s)
    }

    /// The same for a form with this tag.
    pub(crate) fn validators_with<'a>(&self, etag: &'a str) -> Validators<'a> {
        Validators {
            etag: Some(etag.as_bytes()),
            modified_s: self.modified_s,
            is_date_strong: false,
        }
    }

    /// The lines of a 304 for a coded form with this tag.
    pub(crate) fn validator_lines_with(&self, etag: &str) -> HeaderBlock {
        let lines = validator_lines(etag, self.modified_s, true);
        self.edits.not_modified.apply(lines)
    }

    /// Whether the open file is still as it was found; content in memory is.
    /// Costs an `fstat(2)` for an open file, and so catches an edit in place,
    /// and also its removal (which changes the time of the inode), at once.
    pub(crate) fn is_intact(&self) -> bool {
        match &self.content {
            Content::Memory(..) => true,
            Content::Open(file) => {
                let stamp = &self.identity.stamp;
                matches!(sys::file::stamp(file.as_fd()), Ok((_, found)) if found == *stamp)
            }
        }
    }

    /// Whether it is behind a descriptor.
    pub(crate) fn holds_descriptor(&self) -> bool {
        matches!(&self.content, Content::Open(_))
    }

    /// Whether it has a descriptor that the cache alone holds.
    pub(crate) fn holds_idle_descriptor(&self) -> bool {
        matches!(&self.content, Content::Open(file) if Rc::strong_count(file) == 1)
    }

    /// Its share of the cache: the body, twice if there is a prepared response with a copy of it;
    /// or a descriptor.
    pub(crate) fn weight(&self) -> Weight {
        match &self.content {
            Content::Memory(body, None) => Weight::of_bytes(body.len()),
            Content::Memory(body, Some(_)) => Weight::of_bytes(body.len().saturating_mul(2)),
            Content::Open(_) => Weight::DESCRIPTOR,
        }
    }
}

/// The lines as they are kept, with the edits made.
fn edited(edits: &HeaderEdits, lines: &HeaderBlock) -> HeaderBlock {
    edits.apply(lines.clone()).into_shared()
}

fn validator_lines(etag: &str, modified_s: Option<u64>, varies: bool) -> HeaderBlock {
    let lines = HeaderBlock::new().with("etag", etag);
    let lines = match modified_s {
        Some(seconds) => lines.with("last-modified", DateValue::from_unix(seconds).as_bytes()),
        None => lines,
    };
    match varies {
        true => lines.with("vary", "accept-encoding"),
        false => lines,
    }
}
