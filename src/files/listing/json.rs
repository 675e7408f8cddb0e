//! A listing for programs, in the shape of nginx's `autoindex_format json`.

use super::{Listing, order, text::Utc};
use crate::http::target::encode_name;
use crate::http::text::{append, push_json};

/// An entry with a name of usual length.
const ENTRY_BYTES: usize = 144;

/// The listing as a JSON array, one object an entry, in the order of the HTML page.
///
/// `name` and `type` (`file` or `directory`), `mtime` (ISO 8601, UTC), a file's
/// `size` in bytes, and `href`, the entry's link relative to the folder. A name
/// that is not UTF-8 shows U+FFFD in `name`; `href` always keeps its bytes.
///
/// An array has no place to say that the listing is truncated: say it in a
/// header field.
pub fn render_json(listing: &Listing) -> Vec<u8> {
    let mut out = String::with_capacity(8 + listing.entries.len() * ENTRY_BYTES);
    out.push('[');
    for (index, entry) in order::sorted(&listing.entries).into_iter().enumerate() {
        out.push_str(if index == 0 { "\n" } else { ",\n" });
        out.push_str("{\"name\":");
        push_json(&mut out, &entry.name);
        let kind = if entry.is_dir { "directory" } else { "file" };
        let mtime = Utc::from_unix_s(entry.mtime_unix_s);
        append(
            &mut out,
            format_args!(",\"type\":\"{kind}\",\"mtime\":\"{mtime}\""),
        );
        if !entry.is_dir {
            append(&mut out, format_args!(",\"size\":{}", entry.size));
        }
        let slash = if entry.is_dir { "/" } else { "" };
        append(
            &mut out,
            format_args!(",\"href\":\"{}{slash}\"}}", encode_name(&entry.name)),
        );
    }
    out.push_str("\n]\n");
    out.into_bytes()
}
