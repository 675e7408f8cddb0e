//! A folder's listing as a response, read and rendered off the shard.

use std::ffi::CStr;
use std::hash::{DefaultHasher, Hasher};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;

use super::compress::{Compressed, compress};
use super::listing::{
    CONTENT_SECURITY_POLICY, Entry, HTML_CONTENT_TYPE, JSON_CONTENT_TYPE, Listing, render_html,
    render_json,
};
use super::listing_cache::{Ask, BodyBudget, Key, Made};
use super::lookup;
use super::offload::{WorkKind, block_in_place, checkpoint};
use super::options::FilesOptions;
use super::request_error::RequestError;
use super::served_root::ServedRoot;
use super::shared_work::SharedWork;
use super::source::Source;
use super::validators::is_settled;
use crate::http::preference::preferred;
use crate::http::{
    AcceptEncoding, Body, Choice, Coding, DateValue, Head, HeaderBlock, Known, Precondition,
    Response, Status, Validators, conditional,
};
use crate::limits;
use crate::runtime::Shard;
use crate::sys;
use crate::sys::dir::{EntryKind, EntryStat, read_dir, stat_entry};
use crate::sys::file::Kind;
use crate::sys::open::{Root, open_how_path};

/// What the answer depends on besides the path.
const VARY: &str = "accept, accept-encoding";

/// The media types of a listing; the first for clients that state no preference.
const FORMS: [&str; 2] = ["text/html", "application/json"];

/// The listing of the folder `path`, as HTML or as JSON, whichever the client prefers.
///
/// See [`super::listing_cache`] for how current it is.
pub(crate) async fn list(
    shard: &Shard,
    served: &ServedRoot,
    shared: &SharedWork,
    options: &FilesOptions,
    head: &Head<'_>,
    path: &CStr,
) -> Result<Response, RequestError> {
    let found = lookup::open(shard, served, path, open_how_path()).await?;
    let (kind, stamp) = sys::file::stamp(found.as_fd())?;
    drop(found);
    if kind != Kind::Directory {
        return Err(RequestError::NotFound);
    }
    let key = Key {
        root: served.device_and_inode(),
        folder: (stamp.dev, stamp.ino),
        path: path.to_bytes().into(),
        json: preferred(head.headers.get_all(Known::Accept), FORMS) == 1,
        coding: coding(head, options)?,
        hidden: options.hidden,
        entries_max: options.listing_entries_max,
    };
    let is_json = key.json;
    let offload = shared.offload.clone();
    let start = move |work: Box<dyn FnOnce() + Send>| {
        // Without room for it the work is dropped, and those that wait for it get an error.
        let _ = offload.start(WorkKind::Listing, work);
    };
    let make = || {
        let (key, root) = (key.clone(), Arc::clone(&served.root));
        let bodies = Arc::clone(&shared.listings.bodies);
        let compress_bytes_min = options.compress_bytes_min;
        move |last| make_listing(&root, &key, compress_bytes_min, &bodies, last)
    };
    let ask = Ask {
        shard,
        key: key.clone(),
        stamp,
        max_age_ms: options.revalidate_ms,
    };
    let made = shared.listings.get(ask, start, make).await?;
    Ok(respond(head, made, is_json))
}

/// The answer to a GET or HEAD of this listing (RFC 9110 section 13).
fn respond(head: &Head<'_>, made: Made, is_json: bool) -> Response {
    let validators = Validators {
        etag: Some(made.etag.as_bytes()),
        modified_s: made.modified_s,
        is_date_strong: false,
    };
    // Without no-cache, a Last-Modified would let caches keep the listing by a rule of thumb
    // (RFC 9111 section 4.2.2).
    let mut lines = HeaderBlock::new()
        .with("etag", &made.etag)
        .with("cache-control", "no-cache")
        .with("vary", VARY);
    if let Some(modified_s) = made.modified_s {
        lines.push("last-modified", DateValue::from_unix(modified_s).as_bytes());
    }
    let status = match conditional::evaluate(head.method, &head.headers, &validators) {
        Precondition::Proceed { .. } => Status::OK,
        Precondition::NotModified => Status::NOT_MODIFIED,
        Precondition::PreconditionFailed => {
            return Response::error(
                Status::PRECONDITION_FAILED,
                "The listing is not the one that the request expects; ask for it without conditions.",
            );
        }
    };
    let response = Response {
        headers: lines,
        ..Response::new(status)
    };
    if status == Status::NOT_MODIFIED {
        return response;
    }
    let content_type = match is_json {
        true => JSON_CONTENT_TYPE,
        false => HTML_CONTENT_TYPE,
    };
    let mut response = response
        .with("content-type", content_type)
        .with("content-security-policy", CONTENT_SECURITY_POLICY);
    if made.truncated {
        response = response.with("x-listing-truncated", "true");
    }
    if let Some(coding) = made.coding {
        response = response.with("content-encoding", coding.name());
    }
    response.with_body(Body::Bytes(made.body))
}

/// The coding that the client likes best.
fn coding(head: &Head<'_>, options: &FilesOptions) -> Result<Option<Coding>, RequestError> {
    let can_make = |coding| options.compress && options.level(coding) > 0;
    let offers = Coding::ALL.map(|coding| can_make(coding).then_some(0));
    match AcceptEncoding::of(&head.headers).choose(&offers) {
        Choice::Coded(coding) => Ok(Some(coding)),
        Choice::Identity => Ok(None),
        Choice::NotAcceptable => Err(RequestError::NotAcceptable),
    }
}

/// Reads the folder, renders and compresses its listing. Runs on a thread of the pool.
///
/// A listing that is the same as the `last` one becomes that very body, so that clients who read
/// it slowly hold one body however often it was made.
fn make_listing(
    root: &Root,
    key: &Key,
    compress_bytes_min: u64,
    bodies: &Arc<BodyBudget>,
    last: Option<Made>,
) -> Result<Made, RequestError> {
    let path = std::ffi::CString::new(&*key.path).map_err(|_| RequestError::NotFound)?;
    let dir = block_in_place(|| root.open_dir(&path, false))?;
    let (_, stamp) = sys::file::stamp(dir.as_fd())?;
    let is_settled = is_settled(&stamp, sys::time::realtime());
    let (listing, changed_ns) = read(root, &dir, key)?;
    let changed_ns = changed_ns.max(stamp.mtime_ns).max(stamp.ctime_ns);
    let plain = match key.json {
        true => render_json(&listing),
        false => render_html(&listing),
    };
    let truncated = listing.truncated;
    drop(listing);
    checkpoint();
    let coding = key
        .coding
        .filter(|_| plain.len() as u64 >= compress_bytes_min);
    let etag = etag(&plain, coding);
    let made = |body, coding, etag| Made {
        body,
        etag,
        modified_s: modified_s(changed_ns),
        truncated,
        coding,
        stamp,
        is_settled,
    };
    // One that did not become smaller is still tagged for its coding, and so found here as well.
    if let Some(last) = last.filter(|last| last.etag == etag) {
        return Ok(made(last.body, last.coding, etag));
    }
    if let Some(coding) = coding {
        let plain = Bytes::from(plain);
        let size = plain.len() as u64;
        let source = Source::Memory(plain.clone());
        return match compress(&source, size, coding, limits::LISTING_LEVEL) {
            Ok(Compressed::Smaller(body)) => bodies
                .hold(body.into())
                .map(|body| made(body, Some(coding), etag)),
            _ => bodies
                .hold(plain.to_vec())
                .map(|body| made(body, None, etag)),
        }
        .ok_or(RequestError::ListingsRead);
    }
    let body = bodies.hold(plain).ok_or(RequestError::ListingsRead)?;
    Ok(made(body, None, etag))
}

/// What the folder has to show, and the last change of any of it in nanoseconds since 1970.
fn read(root: &Root, dir: &OwnedFd, key: &Key) -> Result<(Listing, i64), RequestError> {
    let path = &key.path;
    let found = read_dir(dir.as_fd(), key.entries_max)?;
    let shown = |name: &[u8]| key.hidden || !name.starts_with(b".");
    let mut changed_ns = i64::MIN;
    let entries = found
        .entries
        .into_iter()
        .filter(|entry| entry.kind != EntryKind::Other && shown(&entry.name))
        // What vanished meanwhile, leaves the root, is no file or can't be read is left out.
        .filter_map(|entry| {
            checkpoint();
            let EntryStat {
                kind,
                stamp,
                is_readable,
            } = stat_entry(root, dir.as_fd(), path, &entry.name).ok()?;
            changed_ns = changed_ns.max(stamp.mtime_ns).max(stamp.ctime_ns);
            (kind != Kind::Other && is_readable).then(|| Entry {
                name: entry.name,
                is_dir: kind == Kind::Directory,
                size: stamp.size,
                mtime_unix_s: stamp.mtime_ns.div_euclid(1_000_000_000),
            })
        })
        .collect();
    let mut url_path = Vec::with_capacity(path.len() + 2);
    url_path.push(b'/');
    url_path.extend_from_slice(path);
    if !path.is_empty() {
        url_path.push(b'/');
    }
    let listing = Listing {
        path: url_path,
        entries,
        truncated: found.cut,
        parent: !path.is_empty(),
    };
    Ok((listing, changed_ns))
}

/// The entity tag of a listing in a coding: of its bytes, so that it outlives its making anew.
fn etag(plain: &[u8], coding: Option<Coding>) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(plain);
    let (hash, len) = (hasher.finish(), plain.len());
    match coding {
        Some(coding) => format!("\"{hash:x}-{len:x}-{}\"", coding.extension()),
        None => format!("\"{hash:x}-{len:x}\""),
    }
}

/// Last-Modified for a last change at `changed_ns`. None for one so late, or in the future, that
/// the next could carry the same second.
fn modified_s(changed_ns: i64) -> Option<u64> {
    let changed_s = u64::try_from(changed_ns.div_euclid(1_000_000_000)).ok()?;
    let (now_s, _) = sys::time::realtime();
    (changed_s + 1 < now_s).then_some(changed_s)
}
