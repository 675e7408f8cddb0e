//! The last steps of every answer: what the rules about responses say of it.
//!
//! The lines of a file's own answers (200, 206, 304) were edited when the file was found and are
//! kept with it. What is left here are those that depend on the request's origin, answers that
//! are no file's, and errors that have a page of their own.

use std::sync::Arc;

use super::represent::whole_body;
use super::representation::Representation;
use crate::http::rules::{Cors, OriginLines, ResponseRules, is_preflight, preflight};
use crate::http::{
    Head, HeaderBlock, HtmlAccepted, Known, Method, Response, Status, Target, target,
};

/// The methods that files answer to.
pub(crate) const ALLOW: &str = "GET, HEAD, OPTIONS";

/// The rules as one shard applies them to its answers.
pub(crate) struct Finish {
    rules: Arc<ResponseRules>,
    /// Header lines for each origin that may read what is served.
    origin_lines: OriginLines,
}

impl Finish {
    /// Prepares what depends on the request's origin.
    pub(crate) fn new(rules: &Arc<ResponseRules>) -> Finish {
        Finish {
            rules: Arc::clone(rules),
            origin_lines: rules
                .cors
                .as_ref()
                .map(Cors::origin_lines)
                .unwrap_or_default(),
        }
    }

    /// The path of the file that is the body of answers with this status, if there is one.
    #[inline]
    pub(crate) fn page(&self, status: Status) -> Option<&str> {
        match is_of_file(status) {
            true => None,
            false => self.rules.error_page(status),
        }
    }

    /// The last step of an answer; `page` is its error page, where there is one.
    #[inline]
    pub(crate) fn finish(
        &self,
        head: &Head<'_>,
        response: Response,
        page: Option<&Representation>,
    ) -> Response {
        if is_of_file(response.status) {
            return self.for_origin(head, response);
        }
        let response = match page {
            Some(page) => with_page(response, page),
            None => response,
        };
        self.edit(head, response)
    }

    /// The answer to OPTIONS, and to a preflight from an origin that may read what is served.
    pub(crate) fn options(&self, head: &Head<'_>) -> Response {
        let response = Response::new(Status::NO_CONTENT).with("allow", ALLOW);
        let allows = |cors: &Cors| cors.allows(head);
        match is_preflight(head) && self.rules.cors.as_ref().is_some_and(allows) {
            true => preflight(response, head, ALLOW),
            false => response,
        }
    }

    /// The path of the file that answers this request if there is none at its own path. It is a
    /// page, so a script, style or picture that is missing must not get it. A browser that opens
    /// a page names HTML; a client that takes anything gets it for names without an extension.
    pub(crate) fn fallback(&self, head: &Head<'_>, target: &Target<'_>) -> Option<&str> {
        let fallback = self.rules.fallback.as_deref()?;
        let name = target.path.rsplit(|byte| *byte == b'/').next();
        let accepted = match HtmlAccepted::of(head.headers.get_all(Known::Accept)) {
            HtmlAccepted::ByName => true,
            HtmlAccepted::ByWildcard => !name.is_some_and(|name| name.contains(&b'.')),
            HtmlAccepted::No => false,
        };
        accepted.then_some(fallback)
    }

    /// The edits of a listing, which has the statuses of a file but no lines that are ready.
    pub(crate) fn edit_listing(&self, head: &Head<'_>, mut response: Response) -> Response {
        if is_of_file(response.status) {
            let edits = self.rules.edits(&asked_path(head), response.status);
            response.headers = edits.apply(response.headers);
        }
        response
    }

    /// Makes the edits for the path that was asked for.
    fn edit(&self, head: &Head<'_>, mut response: Response) -> Response {
        let edits = self.rules.edits(&asked_path(head), response.status);
        response.headers = edits.apply(response.headers);
        if response.status == Status::NOT_FOUND && self.rules.fallback.is_some() {
            response.headers.vary("accept");
        }
        self.for_origin(head, response)
    }

    /// The edits of the answer to a request that could not be read: those for every path.
    #[cold]
    pub(crate) fn edit_unread(&self, mut response: Response) -> Response {
        let edits = self.rules.edits_of_every_path(response.status);
        response.headers = edits.apply(response.headers);
        response
    }

    /// Adds the lines for the origin that the request comes from.
    #[inline]
    fn for_origin(&self, head: &Head<'_>, mut response: Response) -> Response {
        if let Some(lines) = self.origin_lines.of(head) {
            append(&mut response, lines);
        }
        response
    }
}

/// Puts the operator's page in the place of an error's body. The error keeps its status and the
/// lines that go with it; no validator or caching rule of the page's file goes with it.
fn with_page(response: Response, page: &Representation) -> Response {
    let mut headers = response.headers;
    headers.remove("content-type");
    headers.remove("content-security-policy");
    headers.push("content-type", page.content_type.as_bytes());
    Response {
        headers,
        body: whole_body(page),
        ..response
    }
}

/// Adds lines to those that depend on the request.
pub(crate) fn append(response: &mut Response, lines: HeaderBlock) {
    response.appended = Some(match response.appended.take() {
        None => lines,
        Some(before) => before.followed_by(&lines),
    });
}

/// Whether answers with this status are made of a file's form, whose lines are ready.
#[inline]
fn is_of_file(status: Status) -> bool {
    matches!(
        status,
        Status::OK | Status::PARTIAL_CONTENT | Status::NOT_MODIFIED
    )
}

/// The path that was asked for as patterns see it: decoded, with a slash at its beginning, and at
/// its end for a folder. One that can't be resolved is taken as it was sent.
fn asked_path(head: &Head<'_>) -> Vec<u8> {
    match target::resolve(head.path()) {
        Ok(target) => {
            let mut path = Vec::with_capacity(target.path.len() + 2);
            path.push(b'/');
            path.extend_from_slice(&target.path);
            if target.is_dir && !target.path.is_empty() {
                path.push(b'/');
            }
            path
        }
        Err(_) if head.method == Method::Options => b"/".to_vec(),
        Err(_) => head.path().as_bytes().to_vec(),
    }
}
