//! The body of an answer that says why there is nothing else: a page for people, a problem object
//! for programs (RFC 9457), or a line of text, whichever the client prefers
//! (docs/decisions/063-explanations.md).

use bytes::Bytes;

use super::preference::preferred;
use super::text::{append, push_html, push_json};
use super::{Body, Response, Status};

/// The style sheet that all pages of this server begin with: colours for light and dark, the
/// body's font and measure, the footer.
pub const BASE_STYLE: &str = include_str!("page.css");
const STYLE: &str = include_str!("error_page.css");

const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
style-src 'sha256-mWkTTjGtXBoV0qUXOoy2z/V2+/Nkv+NOdhf/EogACfQ='; \
base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// The media types of an explanation; the first for clients that do not say.
const OFFERS: [&str; 4] = [
    "text/plain",
    "text/html",
    "application/problem+json",
    "application/json",
];

impl Response {
    /// Gives the explanation of a [`Response::error`] the form that a client with these values of
    /// `Accept` prefers, with its Content-Type and Vary. Other responses stay as they are, and
    /// `accept` is not called for them.
    #[inline]
    pub fn explain<'a, I>(&mut self, accept: impl FnOnce() -> I)
    where
        I: IntoIterator<Item = &'a [u8]>,
    {
        if matches!(self.body, Body::Explanation(_)) {
            self.explain_in(accept());
        }
    }

    #[cold]
    fn explain_in<'a>(&mut self, accept: impl IntoIterator<Item = &'a [u8]>) {
        let Body::Explanation(line) = std::mem::take(&mut self.body) else {
            return;
        };
        let sentence = line.trim_ascii_end();
        let headers = &mut self.headers;
        headers.vary("accept");
        let body = match preferred(accept, OFFERS) {
            0 => {
                headers.push("content-type", "text/plain; charset=utf-8");
                line
            }
            1 => {
                headers.push("content-type", "text/html; charset=utf-8");
                // An operator's own takes its place.
                if headers.get("content-security-policy").is_none() {
                    headers.push("content-security-policy", CONTENT_SECURITY_POLICY);
                }
                html(self.status, sentence)
            }
            _ => {
                headers.push("content-type", OFFERS[2]);
                problem(self.status, sentence)
            }
        };
        self.body = Body::Bytes(body);
    }
}

fn html(status: Status, sentence: &[u8]) -> Bytes {
    let mut out = String::with_capacity(BASE_STYLE.len() + STYLE.len() + 1024);
    append(
        &mut out,
        format_args!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{status}</title>\n\
             <style>{BASE_STYLE}{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <h1><b>{}</b> {}</h1>\n<p>",
            status.code(),
            status.reason(),
        ),
    );
    push_html(&mut out, sentence);
    out.push_str(
        "</p>\n</main>\n<footer><span></span><span>headwater</span></footer>\n</body>\n</html>\n",
    );
    out.into()
}

fn problem(status: Status, sentence: &[u8]) -> Bytes {
    let mut out = String::with_capacity(128);
    append(
        &mut out,
        format_args!("{{\"status\":{},\"title\":", status.code()),
    );
    push_json(&mut out, status.reason().as_bytes());
    out.push_str(",\"detail\":");
    push_json(&mut out, sentence);
    out.push_str("}\n");
    out.into()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::http::digest::repr_digest;
    use crate::limits;

    /// Header lines and body for a client with this `Accept` field.
    fn explained(accept: Option<&str>) -> (String, String) {
        let sentence = "Nothing \"is\" <here>.";
        let response = Response::error(Status::NOT_FOUND, sentence);
        let mut response = response;
        response.explain(|| accept.map(str::as_bytes));
        let Body::Bytes(body) = response.body else {
            panic!("a body in memory");
        };
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        (text(response.headers.as_bytes()), text(&body))
    }

    #[test]
    fn programs_and_people_get_their_own_form() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for (accept, content_type) in [
            (None, "text/plain; charset=utf-8"),
            (Some("*/*"), "text/plain; charset=utf-8"),
            (
                Some("image/avif,image/webp,*/*;q=0.8"),
                "text/plain; charset=utf-8",
            ),
            (Some("text/plain, text/html"), "text/plain; charset=utf-8"),
            (Some("text/html, text/plain"), "text/html; charset=utf-8"),
            (Some(browser), "text/html; charset=utf-8"),
            (Some("text/html"), "text/html; charset=utf-8"),
            (Some("application/json"), "application/problem+json"),
            (Some("application/problem+json"), "application/problem+json"),
            (
                Some("application/json, text/plain, */*"),
                "application/problem+json",
            ),
            (
                Some("application/json;q=0.1, */*"),
                "text/plain; charset=utf-8",
            ),
            (Some("video/mp4"), "text/plain; charset=utf-8"),
        ] {
            let (lines, _) = explained(accept);
            assert!(
                lines.contains(&format!("content-type: {content_type}\r\n")),
                "{accept:?}: {lines}"
            );
            assert!(lines.contains("vary: accept\r\n"), "{lines}");
        }
    }

    #[test]
    fn a_sentence_stays_text_in_every_form() {
        assert_eq!(explained(None).1, "Nothing \"is\" <here>.\n");
        let page = explained(Some("text/html")).1;
        assert!(
            page.contains("<p>Nothing &quot;is&quot; &lt;here&gt;.</p>"),
            "{page}"
        );
        assert!(page.contains("<title>404 Not Found</title>"), "{page}");
        // It leaves in one piece with its head, also on a connection that ends with it.
        assert!(page.len() + 512 < limits::COPY_BYTES_MAX, "{}", page.len());
        assert_eq!(
            explained(Some("application/json")).1,
            "{\"status\":404,\"title\":\"Not Found\",\"detail\":\"Nothing \\\"is\\\" <here>.\"}\n"
        );
    }

    #[test]
    fn the_policy_names_the_style_sheet_and_nothing_else_is_loaded() {
        let (lines, page) = explained(Some("text/html"));
        let style = page.split_once("<style>").expect("a style sheet").1;
        let style = style.split_once("</style>").expect("its end").0;
        let hash = repr_digest(&Sha256::digest(style).into());
        let hash = hash.trim_start_matches("sha-256=:").trim_end_matches(':');
        assert!(
            lines.contains(&format!("'sha256-{hash}'")),
            "put {hash} into CONTENT_SECURITY_POLICY"
        );
        for forbidden in [" style=", "<script", "src=", "@import", "url(", "href="] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn what_explains_nothing_stays_as_it_is() {
        let mut response = Response::new(Status::OK).with_body(Body::Bytes("x".into()));
        response.explain(|| Some(&b"text/html"[..]));
        assert!(response.headers.as_bytes().is_empty());
        assert!(matches!(&response.body, Body::Bytes(bytes) if bytes == "x"));
    }
}
