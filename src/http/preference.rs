//! Which media types a client accepts, and which it likes best (RFC 9110 section 12.5.1).

use super::quality::{Thousandths, weight};
use super::scan;

/// The precision of a range that is a media type.
const BY_NAME: u8 = 3;

/// How well the `Accept` field likes one media type.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Preference {
    /// How exactly the deciding range names the type: 0 not at all, 1 `*/*`, 2 `type/*`,
    /// [`BY_NAME`] `type/subtype`.
    precision: u8,
    quality: Thousandths,
    /// The deciding range's place in the field, counted from behind.
    earliness: usize,
}

/// The index of the media type among `offers`, such as `text/html`, that a client with this
/// `Accept` field likes best.
///
/// A draw is decided by how exactly the field names the types, as in `application/json, */*`, then
/// by which it names first, and then by the order of the offers. The first of those is the default:
/// without the field, when it is malformed, and when it takes none.
pub fn preferred<'a, const N: usize>(
    accept: impl IntoIterator<Item = &'a [u8]>,
    offers: [&str; N],
) -> usize {
    let (preferences, _) = preferences(accept, offers);
    let mut best = 0;
    for (index, preference) in preferences.iter().enumerate() {
        let rank = |preference: &Preference| match preference.quality {
            0 => (0, 0, 0),
            quality => (quality, preference.precision, preference.earliness),
        };
        if rank(preference) > rank(&preferences[best]) {
            best = index;
        }
    }
    best
}

/// How far a client accepts HTML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HtmlAccepted {
    /// Not at all.
    No,
    /// Only by `*/*` or `text/*`, or because it sends no Accept at all.
    ByWildcard,
    /// It names HTML, as browsers do for a navigation.
    ByName,
}

impl HtmlAccepted {
    /// From the values of Accept.
    pub fn of<'a>(accept: impl IntoIterator<Item = &'a [u8]>) -> HtmlAccepted {
        let (preferences, names_any) = preferences(accept, ["text/html", "application/xhtml+xml"]);
        let accepts = |preference: &Preference| preference.quality > 0;
        let is_named = |preference: &&Preference| preference.precision == BY_NAME;
        match preferences.iter().find(is_named) {
            _ if !names_any => HtmlAccepted::ByWildcard,
            Some(named) if accepts(named) => HtmlAccepted::ByName,
            None if accepts(&preferences[0]) => HtmlAccepted::ByWildcard,
            _ => HtmlAccepted::No,
        }
    }
}

/// How well the values of Accept like each of the offers, and whether they have any member.
fn preferences<'a, const N: usize>(
    accept: impl IntoIterator<Item = &'a [u8]>,
    offers: [&str; N],
) -> ([Preference; N], bool) {
    let mut preferences = [Preference::default(); N];
    let mut names_any = false;
    let ranges = accept
        .into_iter()
        .flat_map(|value| split_unquoted(value, b','));
    for (place, range) in ranges.enumerate() {
        let mut parts = split_unquoted(range, b';');
        let media_range = parts.next().unwrap_or_default().trim_ascii();
        names_any |= !media_range.is_empty();
        let Some(quality) = weight(parts) else {
            continue;
        };
        for (preference, offer) in preferences.iter_mut().zip(offers) {
            if let Some(precision) = precision(media_range, offer) {
                *preference = (*preference).max(Preference {
                    precision,
                    quality,
                    earliness: usize::MAX - place,
                });
            }
        }
    }
    (preferences, names_any)
}

/// How exactly a media range names a media type; `None` if it does not include it.
fn precision(media_range: &[u8], media_type: &str) -> Option<u8> {
    if media_range.eq_ignore_ascii_case(media_type.as_bytes()) {
        return Some(BY_NAME);
    }
    let kind = media_range.strip_suffix(b"/*")?;
    let own = media_type.split('/').next().unwrap_or_default();
    match kind {
        b"*" => Some(1),
        _ => kind.eq_ignore_ascii_case(own.as_bytes()).then_some(2),
    }
}

/// The values of `Accept` in a head that could not be parsed, as far as it was read.
pub fn accept_in(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = head.split(|&byte| byte == b'\n').skip(1);
    lines.filter_map(|line| {
        let (name, value) = line.split_at_checked(b"accept:".len())?;
        name.eq_ignore_ascii_case(b"accept:")
            .then(|| scan::trim(value.trim_ascii_end()))
    })
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OFFERS: [&str; 2] = ["text/html", "application/json"];

    #[test]
    fn accept_decides_between_html_and_json() {
        for (accept, expected) in [
            ("", 0),
            ("*/*", 0),
            ("text/html", 0),
            ("application/json", 1),
            ("Application/JSON", 1),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                0,
            ),
            ("application/json, text/plain, */*", 1),
            ("application/json, text/html", 1),
            ("text/html, application/json", 0),
            ("application/json;q=0.9, text/html", 0),
            ("application/json, text/html;q=0.9", 1),
            ("application/json ; q=0.5 , */*;q=0.4", 1),
            ("application/json;q=0.4, */*;q=0.5", 0),
            ("application/json;q=0, */*;q=0", 0),
            ("application/*, text/*;q=0.5", 1),
            ("*/*, text/html;q=0.1", 1),
            ("text/html;q=0, application/*;q=0.1", 1),
            ("application/json;q=2", 0),
            ("application/json;q=1.001", 0),
            ("application/json;q=0.0001", 0),
            ("application/json;q=x", 0),
            ("application/json;v=\"a,b;q=0\", text/html;q=0.5", 1),
            ("text/html;v=\", application/json", 0),
            (",,;,/,", 0),
        ] {
            assert_eq!(
                preferred(Some(accept.as_bytes()), OFFERS),
                expected,
                "{accept}"
            );
        }
        assert_eq!(preferred(None, OFFERS), 0);
    }

    #[test]
    fn several_lines_are_one_list() {
        let lines = [
            &b"image/png"[..],
            b"application/json;q=0.5",
            b"text/*;q=0.1",
        ];
        assert_eq!(preferred(lines, OFFERS), 1);
        assert_eq!(HtmlAccepted::of(lines), HtmlAccepted::ByWildcard);
    }

    #[test]
    fn browsers_name_html_and_scripts_take_anything() {
        for (accept, wanted) in [
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                HtmlAccepted::ByName,
            ),
            ("application/xhtml+xml", HtmlAccepted::ByName),
            ("*/*", HtmlAccepted::ByWildcard),
            ("", HtmlAccepted::ByWildcard),
            ("application/json, TEXT/*;q=0.1", HtmlAccepted::ByWildcard),
            ("image/webp, image/*", HtmlAccepted::No),
            ("text/html;q=0, */*", HtmlAccepted::No),
            ("text/*;q=0, */*", HtmlAccepted::No),
            ("Text/HTML ; level=1 ; q=0.5", HtmlAccepted::ByName),
            ("a/b;c=\"text/html,\"", HtmlAccepted::No),
            ("*/*;q=0", HtmlAccepted::No),
            ("text/html;q=x", HtmlAccepted::No),
        ] {
            assert_eq!(HtmlAccepted::of([accept.as_bytes()]), wanted, "{accept}");
        }
        assert_eq!(HtmlAccepted::of([]), HtmlAccepted::ByWildcard);
    }

    #[test]
    fn the_field_is_found_in_a_broken_head() {
        let of = |head: &'static str| -> Vec<&str> {
            let values = accept_in(head.as_bytes());
            values.map(|value| str::from_utf8(value).unwrap()).collect()
        };
        assert_eq!(
            of("GET / HTTP/1.1\r\nACCEPT:  text/html \r\nbad line\r\naccept: c/d\r\n"),
            ["text/html", "c/d"]
        );
        assert_eq!(of("GET / HTTP/1.1\nx: y\naccept: a/b"), ["a/b"]);
        assert!(of("accept: a/b\r\nx-accept: c/d\r\n").is_empty());
        assert!(of("").is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_will_do(accept in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(preferred([&*accept], OFFERS) < OFFERS.len());
            accept_in(&accept).for_each(drop);
        }
    }
}
