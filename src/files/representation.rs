//! One form of a file as it is sent: its bytes, their validators and the header lines of its answers.

use std::borrow::Cow;
use std::cell::Cell;
use std::os::fd::AsFd;
use std::rc::Rc;

use super::cache::Weight;
use super::entry::Content;
use crate::http::digest::Sha256;
use crate::http::{Coding, DateValue, HeaderBlock, Validators};
use crate::sys;
use crate::sys::file::Stamp;

/// What makes a representation's bytes these and no others.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    /// The file that they are, or are made of.
    pub stamp: Stamp,
    /// What was done to them here.
    pub made: Option<Coding>,
}

/// One form of a file as it is sent (RFC 9110 section 3.2).
#[derive(Debug)]
pub struct Representation {
    /// What makes its bytes these.
    pub identity: Identity,
    /// Where its bytes are.
    pub content: Content,
    /// How many they are.
    pub size: u64,
    /// Whether parts of it can be had.
    pub has_parts: bool,
    /// The value of Content-Type.
    pub content_type: Cow<'static, str>,
    /// The lines of a 200.
    pub lines: HeaderBlock,
    /// The lines of a 304: the validators, and Vary where there are several forms.
    pub validator_lines: HeaderBlock,
    /// The digest of its bytes, once it is known.
    pub digest: Cell<Option<Sha256>>,
    etag: String,
    modified_s: u64,
}

impl Representation {
    /// A file as it is.
    ///
    /// The entity tag is made of the time of last modification and the size: the same on every
    /// server that holds a faithful copy (`rsync -t`), and another one after any edit that the
    /// file system's clock can tell apart. It is strong, as ranges need it to be: nothing on the
    /// way to the client changes the bytes.
    ///
    /// `varies`: there may be coded forms of it.
    pub fn plain(
        stamp: Stamp,
        content: Content,
        content_type: Cow<'static, str>,
        varies: bool,
    ) -> Representation {
        // No Last-Modified may lie in the future (RFC 9110 section 8.8.2.1).
        let modified_s = u64::try_from(stamp.mtime_ns / 1_000_000_000)
            .unwrap_or(0)
            .min(sys::time::realtime().0);
        let etag = format!("\"{}\"", opaque_tag(&stamp));
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
            lines: lines.into_shared(),
            validator_lines: validator_lines.into_shared(),
            digest: Cell::default(),
            etag,
            modified_s,
        }
    }

    /// A coded form of `self`. Parts of it are not to be had, so nothing is said of ranges.
    pub fn coded(
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
            lines: lines.into_shared(),
            validator_lines: validator_lines.into_shared(),
            digest: Cell::default(),
            etag,
            modified_s: self.modified_s,
        }
    }

    /// What conditional requests are measured against.
    pub fn validators(&self) -> Validators<'_> {
        self.validators_with(&self.etag)
    }

    /// The same for a form with this tag.
    pub fn validators_with<'a>(&self, etag: &'a str) -> Validators<'a> {
        Validators {
            etag: Some(etag.as_bytes()),
            modified_s: Some(self.modified_s),
        }
    }

    /// The lines of a 304 for a coded form with this tag.
    pub fn validator_lines_with(&self, etag: &str) -> HeaderBlock {
        validator_lines(etag, self.modified_s, true)
    }

    /// Whether the open file is still as it was found; content in memory is.
    /// Costs an `fstat(2)` for an open file, and so catches an edit in place,
    /// and also its removal (which changes the time of the inode), at once.
    pub fn is_intact(&self) -> bool {
        match &self.content {
            Content::Memory(..) => true,
            Content::Open(file) => {
                let stamp = &self.identity.stamp;
                matches!(sys::file::stamp(file.as_fd()), Ok((_, found)) if found == *stamp)
            }
        }
    }

    /// Whether to drop it, were it only in the cache, would close a descriptor.
    pub fn holds_idle_descriptor(&self) -> bool {
        matches!(&self.content, Content::Open(file) if Rc::strong_count(file) == 1)
    }

    /// What it takes of a cache: the body, and once more where there is a prepared piece; or a
    /// descriptor.
    pub fn weight(&self) -> Weight {
        match &self.content {
            Content::Memory(body, None) => Weight::of_bytes(body.len()),
            Content::Memory(body, Some(_)) => Weight::of_bytes(body.len().saturating_mul(2)),
            Content::Open(_) => Weight::DESCRIPTOR,
        }
    }
}

/// The tag of a form that is compressed here: it differs by coding and level, since so do the bytes.
pub fn made_etag(stamp: &Stamp, coding: Coding, level: usize) -> String {
    format!("\"{}-{}{level}\"", opaque_tag(stamp), coding.extension())
}

/// The tag of a form that lies beside the file, which `stamp` is that of.
pub fn sibling_etag(stamp: &Stamp, coding: Coding) -> String {
    format!("\"{}-{}\"", opaque_tag(stamp), coding.extension())
}

fn opaque_tag(stamp: &Stamp) -> String {
    format!("{:x}-{:x}", stamp.mtime_ns, stamp.size)
}

fn validator_lines(etag: &str, modified_s: u64, varies: bool) -> HeaderBlock {
    let lines = HeaderBlock::new()
        .with("etag", etag)
        .with("last-modified", DateValue::from_unix(modified_s).as_bytes());
    match varies {
        true => lines.with("vary", "accept-encoding"),
        false => lines,
    }
}
