//! A folder's listing as a response, read and rendered off the shard.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::failure::Failure;
use super::listing::{
    CONTENT_SECURITY_POLICY, Entry, HTML_CONTENT_TYPE, JSON_CONTENT_TYPE, Listing, render_html,
    render_json, wants_json,
};
use super::lookup;
use super::offload::offload;
use super::root::Served;
use crate::http::{Body, Head, Known, Precondition, Response, Status, Validators, conditional};
use crate::limits;
use crate::runtime::Shard;
use crate::sys::dir::{EntryKind, read_dir, stat_entry};
use crate::sys::file::Kind;
use crate::sys::open::{Root, open_how_dir};

/// The listing of the folder `path`, as HTML or as JSON, whichever the client prefers.
///
/// `hidden`: names that begin with a dot are shown.
pub async fn list(
    shard: &Shard,
    served: &Served,
    head: &Head<'_>,
    path: &CStr,
    hidden: bool,
) -> Result<Response, Failure> {
    let dir = lookup::open(shard, served, path, open_how_dir()).await?;
    let json = wants_json(head.headers.get(Known::Accept));
    match conditional::evaluate(head.method, &head.headers, &Validators::default()) {
        Precondition::Proceed { .. } => {}
        Precondition::NotModified => {
            // RFC 9110 section 15.4.5: a 304 has the Vary of the 200.
            return Ok(Response::new(Status::NOT_MODIFIED).with("vary", "accept"));
        }
        Precondition::PreconditionFailed => {
            return Ok(Response::error(
                Status::PRECONDITION_FAILED,
                "A listing has no entity tag; ask for it without conditions.",
            ));
        }
    }
    let root = Arc::clone(&served.root);
    let path = path.to_bytes().to_vec();
    let (body, truncated) = offload(move || render(&root, &dir, &path, hidden, json)).await??;
    let response = Response::new(Status::OK)
        .with(
            "content-type",
            if json {
                JSON_CONTENT_TYPE
            } else {
                HTML_CONTENT_TYPE
            },
        )
        .with("content-security-policy", CONTENT_SECURITY_POLICY)
        .with("vary", "accept");
    let response = match truncated {
        true => response.with("x-listing-truncated", "true"),
        false => response,
    };
    let page = Page::hold(body).ok_or(Failure::Exhausted)?;
    Ok(response.with_body(Body::Bytes(Bytes::from_owner(page))))
}

/// Bytes of all listings that are being sent.
static PAGES_BYTES: AtomicUsize = AtomicUsize::new(0);

/// A rendered listing. It can be long and is made anew for every request, so slow
/// readers of a large folder could take all memory if nobody counted.
struct Page(Vec<u8>);

impl Page {
    fn hold(page: Vec<u8>) -> Option<Page> {
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

/// The rendered listing, and whether it was cut.
fn render(
    root: &Root,
    dir: &OwnedFd,
    path: &[u8],
    hidden: bool,
    json: bool,
) -> Result<(Vec<u8>, bool), Failure> {
    let found = read_dir(dir.as_fd(), limits::LISTING_ENTRIES_MAX)?;
    let shown = |name: &[u8]| hidden || !name.starts_with(b".");
    let entries = found
        .entries
        .into_iter()
        .filter(|entry| entry.kind != EntryKind::Other && shown(&entry.name))
        // What vanished meanwhile, leaves the root, or is no file is left out.
        .filter_map(|entry| {
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
    let body = if json {
        render_json(&listing)
    } else {
        render_html(&listing)
    };
    Ok((body, found.cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_beyond_the_bound_are_refused_until_others_are_sent() {
        let half = || vec![0; limits::LISTINGS_BYTES_MAX / 2];
        let (first, second) = (Page::hold(half()), Page::hold(half()));
        assert!(first.is_some() && second.is_some());
        assert!(Page::hold(vec![0; 2]).is_none());
        drop(Bytes::from_owner(first.unwrap()).slice(1..2));
        assert!(Page::hold(vec![0; 2]).is_some());
    }
}
