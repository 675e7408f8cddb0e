//! The response to a GET or HEAD of one form of a file: whole, ranges, 304, 412 or 416.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::rc::Rc;

use bytes::Bytes;

use super::content::Content;
use super::representation::Representation;
use crate::http::multipart::Multipart;
use crate::http::{
    Body, ByteRange, FileSlice, Head, HeaderBlock, Known, Method, Precondition, RangePlan,
    Response, Status, conditional, range,
};

/// The answer to a GET or HEAD of this form of a file (RFC 9110 sections 13 and 14).
pub(crate) fn represent(head: &Head<'_>, form: &Representation) -> Response {
    let validators = match head.headers.has(Known::IfRange) {
        true => form.range_validators(),
        false => form.validators(),
    };
    match conditional::evaluate(head.method, &head.headers, &validators) {
        Precondition::Proceed { use_range } if !(use_range && form.has_parts) => {
            whole(head.method, form)
        }
        Precondition::Proceed { .. } => match plan(head, form.size) {
            RangePlan::Whole => whole(head.method, form),
            RangePlan::One(range) => one(form, range),
            RangePlan::Many(ranges) => many(head.method, form, &ranges),
            RangePlan::Unsatisfiable => Response::error(
                Status::RANGE_NOT_SATISFIABLE,
                "None of the ranges has a byte in the file; content-range tells its size.",
            )
            .with("content-range", range::content_range_unsatisfied(form.size)),
        },
        Precondition::NotModified => Response {
            headers: form.validator_lines.clone(),
            ..Response::new(Status::NOT_MODIFIED)
        },
        Precondition::PreconditionFailed => Response::error(
            Status::PRECONDITION_FAILED,
            "The file is not the one that the request expects; fetch it without conditions.",
        ),
    }
}

/// Several Range fields are none: they could be read in several ways.
fn plan(head: &Head<'_>, size: u64) -> RangePlan {
    let mut fields = head.headers.get_all(Known::Range);
    match (fields.next(), fields.next()) {
        (Some(field), None) => range::plan(field, size),
        _ => RangePlan::Whole,
    }
}

#[inline]
fn whole(method: Method, form: &Representation) -> Response {
    let prepared = match &form.content {
        Content::Memory(_, prepared) => prepared.clone().filter(|_| method == Method::Get),
        Content::Open(_) => None,
    };
    Response {
        status: Status::OK,
        headers: form.lines.clone(),
        appended: None,
        body: whole_body(form),
        prepared,
    }
}

/// All bytes of the form.
#[inline]
pub(crate) fn whole_body(form: &Representation) -> Body {
    match &form.content {
        Content::Memory(bytes, _) => Body::Bytes(bytes.clone()),
        Content::Open(file) => Body::File(FileSlice {
            file: Rc::clone(file),
            offset: 0,
            len: form.size,
        }),
    }
}

fn one(form: &Representation, range: ByteRange) -> Response {
    let body = match &form.content {
        Content::Memory(bytes, _) => Body::Bytes(slice(bytes, range)),
        Content::Open(file) => Body::File(FileSlice {
            file: Rc::clone(file),
            offset: range.start,
            len: range.len,
        }),
    };
    partial(form.part_lines.clone(), body).with("content-range", range.content_range(form.size))
}

/// Parts have heads of their own: where those would make the answer larger than the file, the
/// client is better served with all of it (RFC 9110 section 14.2 leaves the choice).
fn many(method: Method, form: &Representation, ranges: &[ByteRange]) -> Response {
    let parts = Multipart::new(ranges, form.size, &form.content_type, boundary());
    if parts.len > form.size {
        return whole(method, form);
    }
    let lines = form
        .parts_lines
        .clone()
        .with("content-type", &parts.content_type)
        .with("accept-ranges", "bytes");
    let body = match &form.content {
        Content::Memory(bytes, _) => parts.into_body_of_bytes(bytes),
        Content::Open(file) => parts.into_body(file),
    };
    partial(lines, body)
}

fn partial(headers: HeaderBlock, body: Body) -> Response {
    Response {
        headers,
        body,
        ..Response::new(Status::PARTIAL_CONTENT)
    }
}

/// A range that was planned for the size of `bytes`.
fn slice(bytes: &Bytes, range: ByteRange) -> Bytes {
    bytes.slice(range.start as usize..range.end() as usize)
}

/// Out of the random keys that the standard library guards its hash tables with.
fn boundary() -> u128 {
    let half = || u128::from(RandomState::new().build_hasher().finish());
    half() << 64 | half()
}
