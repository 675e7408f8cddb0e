//! A listing for people: one page without scripts and without requests of its own.

use super::{
    Entry, Listing, icon, order,
    text::{Grouped, HumanSize, ToMinute, Utc},
};
use crate::http::error_page::BASE_STYLE;
use crate::http::target::encode_name;
use crate::http::text::{append, push_html};

const STYLE: &str = include_str!("page.css");
const ICONS: &str = include_str!("icons.svg");
const FAVICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E\
%3Cpath fill='%233b8ee0' d='M2 6.5a2 2 0 0 1 2-2h4.7a2 2 0 0 1 1.5.7L11.8 7H20a2 2 0 0 1 2 2v8.5a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2z'/%3E%3C/svg%3E";

/// An entry with a name of usual length.
const ENTRY_BYTES: usize = 272;

/// The `Content-Security-Policy` under which [`render_html`]'s page works: its
/// one style sheet by its hash, its icon, and nothing else.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; \
style-src 'sha256-ubPKRqmf4uiLGLWYsOulpphH4+cYqq/HKxh0q4wBIXE='; img-src data:; \
base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// The listing as one self-contained HTML page in UTF-8.
///
/// Links are relative to the folder, so the page must be served at a URL that
/// ends with a slash; it then also works behind a proxy that adds a prefix.
pub fn render_html(listing: &Listing) -> Vec<u8> {
    let mut out = String::with_capacity(
        BASE_STYLE.len() + STYLE.len() + ICONS.len() + 4096 + listing.entries.len() * ENTRY_BYTES,
    );
    out.push_str(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>Index of ",
    );
    push_html(&mut out, &listing.path);
    append(
        &mut out,
        format_args!(
            "</title>\n<link rel=\"icon\" href=\"{FAVICON}\">\n<style>{BASE_STYLE}{STYLE}</style>\n</head>\n<body>\n{ICONS}"
        ),
    );
    push_breadcrumbs(&mut out, &listing.path);
    out.push_str("<main>\n");
    push_rows(&mut out, listing);
    if listing.truncated {
        append(
            &mut out,
            format_args!(
                "<p class=\"notice\" role=\"note\">This folder holds more than the {} entries shown here.</p>\n",
                Grouped(listing.entries.len() as u64)
            ),
        );
    }
    out.push_str("</main>\n");
    push_footer(&mut out, listing);
    out.push_str("</body>\n</html>\n");
    out.into_bytes()
}

/// The path as a heading, each folder above a link to it.
fn push_breadcrumbs(out: &mut String, path: &[u8]) {
    let segments: Vec<&[u8]> = path
        .split(|&byte| byte == b'/')
        .filter(|segment| !segment.is_empty())
        .collect();
    out.push_str("<nav aria-label=\"Path\"><h1>");
    // Going up by `../` cannot leave the site, where `//name/` would.
    push_crumb(out, b"Home", segments.len());
    for (index, segment) in segments.iter().enumerate() {
        out.push_str("<i>/</i>");
        push_crumb(out, segment, segments.len() - 1 - index);
    }
    out.push_str("</h1></nav>\n");
}

fn push_crumb(out: &mut String, name: &[u8], levels_up: usize) {
    if levels_up == 0 {
        out.push_str("<bdi aria-current=\"page\">");
        push_html(out, name);
        out.push_str("</bdi>");
        return;
    }
    out.push_str("<a href=\"");
    for _ in 0..levels_up {
        out.push_str("../");
    }
    out.push_str("\"><bdi>");
    push_html(out, name);
    out.push_str("</bdi></a>");
}

fn push_rows(out: &mut String, listing: &Listing) {
    if !listing.entries.is_empty() {
        out.push_str(
            "<div class=\"columns\" aria-hidden=\"true\"><span>Name</span><span>Size</span><span>Modified (UTC)</span></div>\n",
        );
    }
    if listing.parent || !listing.entries.is_empty() {
        out.push_str("<ul>\n");
        if listing.parent {
            out.push_str(
                "<li><a href=\"../\"><svg aria-hidden=\"true\"><use href=\"#up\"/></svg>Folder above</a></li>\n",
            );
        }
        for entry in order::sorted(&listing.entries) {
            push_row(out, entry);
        }
        out.push_str("</ul>\n");
    }
    if listing.entries.is_empty() {
        out.push_str("<p class=\"empty\">This folder is empty.</p>\n");
    }
}

fn push_row(out: &mut String, entry: &Entry) {
    let slash = if entry.is_dir { "/" } else { "" };
    append(
        out,
        format_args!(
            "<li><a href=\"{}{slash}\"><svg aria-hidden=\"true\"><use href=\"#{}\"/></svg><bdi>",
            encode_name(&entry.name),
            icon::icon(entry),
        ),
    );
    push_html(out, &entry.name);
    append(out, format_args!("{slash}</bdi></a>"));
    if !entry.is_dir {
        let unit = if entry.size == 1 { "byte" } else { "bytes" };
        append(
            out,
            format_args!(
                "<data value=\"{}\" title=\"{} {unit}\">{}</data>",
                entry.size,
                Grouped(entry.size),
                HumanSize(entry.size),
            ),
        );
    }
    let mtime = Utc::from_unix_s(entry.mtime_unix_s);
    append(
        out,
        format_args!(
            "<time datetime=\"{}\">{}</time></li>\n",
            mtime,
            ToMinute(mtime)
        ),
    );
}

fn push_footer(out: &mut String, listing: &Listing) {
    let folders = listing.entries.iter().filter(|entry| entry.is_dir).count();
    let files = listing.entries.len() - folders;
    let bytes = listing
        .entries
        .iter()
        .filter(|entry| !entry.is_dir)
        .fold(0u64, |sum, entry| sum.saturating_add(entry.size));
    let folder_word = if folders == 1 { "folder" } else { "folders" };
    let file_word = if files == 1 { "file" } else { "files" };
    append(
        out,
        format_args!(
            "<footer><span>{} {folder_word}, {} {file_word}",
            Grouped(folders as u64),
            Grouped(files as u64),
        ),
    );
    if files > 0 {
        append(out, format_args!(", {}", HumanSize(bytes)));
    }
    out.push_str("</span><span>headwater</span></footer>\n");
}
