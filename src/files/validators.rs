//! The validators of a file: its entity tag and its Last-Modified (RFC 9110 section 8.8).
//!
//! What distinguishes two contents of a path is the size, the time of last modification (mtime),
//! the inode and the inode's time of change (ctime). The mtime alone does not: archives, package
//! managers and reproducible builds set it, often to the same value for all files. The ctime
//! can't be set, so the tag takes it in by default; [`EtagMode::Mtime`] leaves it out, for servers
//! that hold copies of the same files (docs/decisions/057-validators.md).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::http::Coding;
use crate::limits;
use crate::sys::file::Stamp;

/// Of the digest in a tag: 16 characters.
const OPAQUE_BYTES: usize = 12;
const NS_PER_S: i64 = 1_000_000_000;
const NS_PER_MS: u64 = 1_000_000;

/// What a file's entity tag is made of.
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub enum EtagMode {
    /// Size, mtime, inode and ctime: another tag for any other content of this server.
    #[default]
    Inode,
    /// Size and mtime: the same tag on every server that holds a copy with its times. Weak where
    /// the mtime is not the very moment of the last change to the inode, since equal tags may then
    /// be of other content.
    Mtime,
}

/// The validators of a file as it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FileValidators {
    /// The opaque part of the entity tag, without quotes.
    opaque: String,
    /// Whether the content may be another although the tag is the same.
    is_weak: bool,
    /// Last-Modified in seconds since 1970: the mtime, unless it is before 1970 or in the future.
    pub modified_s: Option<u64>,
    /// Whether the second of the mtime is that of the last change to the inode: nothing has set
    /// the mtime, so once that second is over no other content had this date.
    pub is_date_of_change: bool,
    /// In how many milliseconds they are to be made again; `None`: not while the file is the same.
    pub renew_in_ms: Option<u64>,
}

impl FileValidators {
    /// Those of a file with this stamp, found at `now` by the wall clock (seconds since 1970 and
    /// nanoseconds).
    ///
    /// A change so recent that another one may leave the same times gives a weak tag that no
    /// other look at the file gives. No date is given that is not the file's own: none before
    /// 1970, which HTTP recipients need not take, and none in the future, which RFC 9110 section
    /// 8.8.2.1 forbids.
    pub(crate) fn of(stamp: &Stamp, mode: EtagMode, now: (u64, u32)) -> FileValidators {
        let now_ns = i64::try_from(now.0)
            .unwrap_or(i64::MAX)
            .saturating_mul(NS_PER_S)
            .saturating_add(i64::from(now.1));
        let is_date_of_change =
            stamp.mtime_ns.div_euclid(NS_PER_S) == stamp.ctime_ns.div_euclid(NS_PER_S);
        // A write sets both to the same moment. Everything else that sets the mtime, to whatever,
        // leaves the ctime at a later one.
        let is_of_change = stamp.mtime_ns == stamp.ctime_ns;
        let unsettled_ns = unsettled_ns(stamp, now_ns);
        let mut sources = vec![stamp.mtime_ns, stamp.size.cast_signed()];
        if mode == EtagMode::Inode {
            sources.extend([stamp.ino.cast_signed(), stamp.ctime_ns]);
        }
        if unsettled_ns > 0 {
            sources.push(now_ns);
        }
        let until_past_ns = match now_ns < stamp.mtime_ns {
            true => now_ns.abs_diff(stamp.mtime_ns),
            false => 0,
        };
        let renew_in_ns = unsettled_ns.max(until_past_ns);
        FileValidators {
            opaque: opaque(&sources),
            is_weak: unsettled_ns > 0 || (mode == EtagMode::Mtime && !is_of_change),
            modified_s: u64::try_from(stamp.mtime_ns.div_euclid(NS_PER_S))
                .ok()
                .filter(|&modified_s| modified_s <= now.0),
            is_date_of_change,
            renew_in_ms: (renew_in_ns > 0).then(|| renew_in_ns / NS_PER_MS + 1),
        }
    }

    /// The entity tag of the file as it is.
    pub(crate) fn etag(&self) -> String {
        self.with_suffix("")
    }

    /// The entity tag of a form that is compressed here: it differs by coding and level, since so
    /// do the bytes.
    pub(crate) fn made_etag(&self, coding: Coding, level: usize) -> String {
        self.with_suffix(&format!("-{}{level}", coding.extension()))
    }

    /// The entity tag of a form that lies beside a file, whose own validators these are.
    pub(crate) fn sibling_etag(&self, coding: Coding) -> String {
        self.with_suffix(&format!("-{}", coding.extension()))
    }

    fn with_suffix(&self, suffix: &str) -> String {
        let prefix = if self.is_weak { "W/" } else { "" };
        format!("{prefix}\"{}{suffix}\"", self.opaque)
    }
}

/// What distinguishes contents, as one short text: every answer carries it, and a digest is half as
/// long as the numbers are. Two contents have the same with a chance of 2^-96.
fn opaque(sources: &[i64]) -> String {
    let mut digest = Sha256::new();
    for source in sources {
        digest.update(source.to_be_bytes());
    }
    URL_SAFE_NO_PAD.encode(&digest.finalize()[..OPAQUE_BYTES])
}

/// Whether another change would show in the file's times, at `now` by the wall clock.
pub(crate) fn is_settled(stamp: &Stamp, now: (u64, u32)) -> bool {
    let now_ns = i64::try_from(now.0)
        .unwrap_or(i64::MAX)
        .saturating_mul(NS_PER_S)
        .saturating_add(i64::from(now.1));
    unsettled_ns(stamp, now_ns) == 0
}

/// For how long another change may still leave the same times. A change in the future, before the
/// clock was set back, is none of now.
fn unsettled_ns(stamp: &Stamp, now_ns: i64) -> u64 {
    limits::FILE_SETTLED_NS.saturating_sub(now_ns.abs_diff(stamp.ctime_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: (u64, u32) = (1_700_000_000, 500_000_000);
    const NOW_NS: i64 = 1_700_000_000_500_000_000;

    fn stamp(mtime_ns: i64, ctime_ns: i64) -> Stamp {
        Stamp {
            dev: 1,
            ino: 2,
            links: 1,
            size: 3,
            mtime_ns,
            ctime_ns,
        }
    }

    fn of(mtime_ns: i64, ctime_ns: i64) -> FileValidators {
        FileValidators::of(&stamp(mtime_ns, ctime_ns), EtagMode::Inode, NOW)
    }

    #[test]
    fn other_content_with_the_same_mtime_and_size_has_another_tag() {
        let (first, second) = (of(NS_PER_S, 5 * NS_PER_S), of(NS_PER_S, 6 * NS_PER_S));
        assert_ne!(first.etag(), second.etag());
        assert!(first.etag().starts_with('"') && !first.is_date_of_change);
    }

    #[test]
    fn copies_have_the_same_tag_and_it_is_weak() {
        let of = |ctime_ns| FileValidators::of(&stamp(NS_PER_S, ctime_ns), EtagMode::Mtime, NOW);
        let (first, second) = (of(5 * NS_PER_S), of(6 * NS_PER_S));
        assert_eq!(first.etag(), second.etag());
        assert!(first.etag().starts_with("W/\""));
        // Also where the time was set within its own second.
        assert!(of(NS_PER_S + 7).etag().starts_with("W/\""));
        assert!(of(NS_PER_S).etag().starts_with('"'));
    }

    #[test]
    fn a_change_of_just_now_has_a_weak_tag_of_its_own_for_a_while() {
        let recent = NOW_NS - 1000;
        let (first, later) = (
            of(recent, recent),
            FileValidators::of(
                &stamp(recent, recent),
                EtagMode::Inode,
                (NOW.0, NOW.1 + 1000),
            ),
        );
        assert!(first.etag().starts_with("W/\"") && first.etag() != later.etag());
        assert!(first.renew_in_ms.is_some_and(|ms| (1..=21).contains(&ms)));
        let settled = of(recent - NS_PER_S, recent - NS_PER_S);
        assert_eq!(settled.renew_in_ms, None);
    }

    #[test]
    fn a_date_is_the_files_own_or_none() {
        let date = |mtime_ns| of(mtime_ns, 1).modified_s;
        assert_eq!(date(0), Some(0));
        assert_eq!(date(NS_PER_S), Some(1));
        assert_eq!(date(-1), None);
        assert_eq!(date(i64::MIN), None);
        assert_eq!(date(NOW_NS), Some(NOW.0));
        assert_eq!(date(NOW_NS + NS_PER_S), None);
        let future = of(NOW_NS + 3 * NS_PER_S, 1);
        assert_eq!(future.renew_in_ms, Some(3001));
        assert_eq!(date(i64::MAX), None);
    }
}
