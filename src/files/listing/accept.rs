//! Which of a listing's two forms a client asked for (RFC 9110, section 12.5.1).

use crate::http::quality::{Thousandths, weight};

/// How well the `Accept` field likes one media type.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Preference {
    /// How exactly the deciding range names the type: 0 not at all, 1 `*/*`, 2 `type/*`, 3 `type/subtype`.
    precision: u8,
    quality: Thousandths,
}

/// Whether a client with this `Accept` field gets a listing as JSON.
///
/// HTML is the default: without the field, when it is malformed, and when both
/// are liked alike. JSON also wins a draw in which the client named it and
/// took HTML only by a wildcard, as in `application/json, */*`.
pub fn wants_json(accept: Option<&[u8]>) -> bool {
    let Some(accept) = accept else { return false };
    let mut html = Preference::default();
    let mut json = Preference::default();
    for range in split_unquoted(accept, b',') {
        let mut parts = split_unquoted(range, b';');
        let media_type = parts.next().unwrap_or_default().trim_ascii();
        let Some(quality) = weight(parts) else {
            continue;
        };
        for (preference, kind, full) in [
            (&mut html, b"text/*".as_slice(), b"text/html".as_slice()),
            (&mut json, b"application/*", b"application/json"),
        ] {
            let precision = match media_type {
                m if m.eq_ignore_ascii_case(full) => 3,
                m if m.eq_ignore_ascii_case(kind) => 2,
                b"*/*" => 1,
                _ => continue,
            };
            let seen = Preference { precision, quality };
            *preference = seen.max(*preference);
        }
    }
    match json.quality.cmp(&html.quality) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => json.quality > 0 && json.precision == 3 && html.precision < 3,
    }
}

/// Splits at `separator` outside quoted strings.
fn split_unquoted(field: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    field.split(move |&byte| {
        if escaped {
            escaped = false;
        } else if quoted && byte == b'\\' {
            escaped = true;
        } else if byte == b'"' {
            quoted = !quoted;
        } else {
            return byte == separator && !quoted;
        }
        false
    })
}
