//! A folder's listing as a response, read and rendered off the shard.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::compress::{Compressed, compress};
use super::listing::{
    CONTENT_SECURITY_POLICY, Entry, HTML_CONTENT_TYPE, JSON_CONTENT_TYPE, Listing, render_html,
    render_json, wants_json,
};
use super::lookup;
use super::offload::{Offload, WorkKind, checkpoint};
use super::options::FilesOptions;
use super::request_error::RequestError;
use super::served_root::ServedRoot;
use super::source::Source;
use crate::http::{
    AcceptEncoding, Body, Choice, Coding, Head, Known, Precondition, Response, Status, Validators,
    conditional,
};
use crate::limits;
use crate::runtime::Shard;
use crate::sys::dir::{EntryKind, read_dir, stat_entry};
use crate::sys::file::Kind;
use crate::sys::open::{Root, open_how_dir};

/// What the answer depends on besides the path.
const VARY: &str = "accept, accept-encoding";

/// How a listing is to be made.
#[derive(Copy, Clone)]
struct Form {
    json: bool,
    coding: Option<Coding>,
    hidden: bool,
    entries_max: usize,
    compress_bytes_min: u64,
}

/// A listing as it is sent.
struct Rendered {
    body: Bytes,
    truncated: bool,
    coding: Option<Coding>,
}

/// The listing of the folder `path`, as HTML or as JSON, whichever the client prefers.
pub async fn list(
    shard: &Shard,
    served: &ServedRoot,
    offload: &Offload,
    options: &FilesOptions,
    head: &Head<'_>,
    path: &CStr,
) -> Result<Response, RequestError> {
    let dir = lookup::open(shard, served, path, open_how_dir()).await?;
    match conditional::evaluate(head.method, &head.headers, &Validators::default()) {
        Precondition::Proceed { .. } => {}
        Precondition::NotModified => {
            // RFC 9110 section 15.4.5: a 304 has the Vary of the 200.
            return Ok(Response::new(Status::NOT_MODIFIED).with("vary", VARY));
        }
        Precondition::PreconditionFailed => {
            return Ok(Response::error(
                Status::PRECONDITION_FAILED,
                "A listing has no entity tag; ask for it without conditions.",
            ));
        }
    }
    let form = Form {
        json: wants_json(head.headers.get(Known::Accept)),
        coding: coding(head, options)?,
        hidden: options.hidden,
        entries_max: options.listing_entries_max,
        compress_bytes_min: options.compress_bytes_min,
    };
    let root = Arc::clone(&served.root);
    let path = path.to_bytes().to_vec();
    let work = move || render(&root, &dir, &path, form);
    let rendered = offload.run(WorkKind::Listing, work).await??;
    let response = Response::new(Status::OK)
        .with(
            "content-type",
            if form.json {
                JSON_CONTENT_TYPE
            } else {
                HTML_CONTENT_TYPE
            },
        )
        .with("content-security-policy", CONTENT_SECURITY_POLICY)
        .with("vary", VARY);
    let response = match rendered.truncated {
        true => response.with("x-listing-truncated", "true"),
        false => response,
    };
    let response = match rendered.coding {
        Some(coding) => response.with("content-encoding", coding.name()),
        None => response,
    };
    let page = Page::hold(rendered.body).ok_or(RequestError::Exhausted)?;
    Ok(response.with_body(Body::Bytes(Bytes::from_owner(page))))
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

/// Bytes of all listings that are being sent.
static PAGES_BYTES: AtomicUsize = AtomicUsize::new(0);

/// A rendered listing. It can be long and is made anew for every request, so slow
/// readers of a large folder could take all memory if nobody counted.
struct Page(Bytes);

impl Page {
    fn hold(page: Bytes) -> Option<Page> {
        let add = |held: usize| {
            let held = held.checked_add(page.len())?;
            (held <= limits::LISTINGS_BYTES_MAX).then_some(held)
        };
        PAGES_BYTES
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .ok()
            .map(|_| Page(page))
    }
}

impl AsRef<[u8]> for Page {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        PAGES_BYTES.fetch_sub(self.0.len(), Ordering::Relaxed);
    }
}

/// Reads the folder, renders and compresses its listing.
fn render(root: &Root, dir: &OwnedFd, path: &[u8], form: Form) -> Result<Rendered, RequestError> {
    let found = read_dir(dir.as_fd(), form.entries_max)?;
    let shown = |name: &[u8]| form.hidden || !name.starts_with(b".");
    let entries = found
        .entries
        .into_iter()
        .filter(|entry| entry.kind != EntryKind::Other && shown(&entry.name))
        // What vanished meanwhile, leaves the root, or is no file is left out.
        .filter_map(|entry| {
            checkpoint();
            let (kind, stamp) = stat_entry(root, dir.as_fd(), path, &entry.name).ok()?;
            (kind != Kind::Other).then(|| Entry {
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
    let body = Bytes::from(match form.json {
        true => render_json(&listing),
        false => render_html(&listing),
    });
    let plain = Rendered {
        body,
        truncated: found.cut,
        coding: None,
    };
    let size = plain.body.len() as u64;
    let Some(coding) = form.coding.filter(|_| size >= form.compress_bytes_min) else {
        return Ok(plain);
    };
    // Made for one answer only, so at the level that takes the least time.
    let source = Source::Memory(plain.body.clone());
    match compress(&source, size, coding, limits::LISTING_LEVEL) {
        Ok(Compressed::Smaller(body)) => Ok(Rendered {
            body,
            coding: Some(coding),
            ..plain
        }),
        _ => Ok(plain),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_beyond_the_bound_are_refused_until_others_are_sent() {
        let half = || Bytes::from(vec![0; limits::LISTINGS_BYTES_MAX / 2]);
        let (first, second) = (Page::hold(half()), Page::hold(half()));
        assert!(first.is_some() && second.is_some());
        assert!(Page::hold(Bytes::from_static(b"xx")).is_none());
        drop(Bytes::from_owner(first.unwrap()).slice(1..2));
        assert!(Page::hold(Bytes::from_static(b"xx")).is_some());
    }
}
