//! How far a client accepts HTML (RFC 9110 section 12.5.1).

use super::quality::weight;

/// How far a client accepts HTML.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HtmlAccepted {
    /// Not at all.
    No,
    /// Only by `*/*` or `text/*`, or because it sends no Accept at all.
    ByWildcard,
    /// It names HTML, as browsers do for a navigation.
    ByName,
}

impl HtmlAccepted {
    /// From the values of Accept. Commas within quoted parameters also separate here: at worst a
    /// media range with such a parameter is ignored.
    pub fn of<'a>(accept: impl IntoIterator<Item = &'a [u8]>) -> HtmlAccepted {
        let mut said = false;
        let mut accepted = HtmlAccepted::No;
        for range in accept
            .into_iter()
            .flat_map(|value| value.split(|byte| *byte == b','))
        {
            said |= !range.trim_ascii().is_empty();
            let mut parts = range.split(|byte| *byte == b';');
            let media_type = parts.next().unwrap_or_default().trim_ascii();
            let how = match media_type {
                m if m.eq_ignore_ascii_case(b"text/html") => HtmlAccepted::ByName,
                m if m.eq_ignore_ascii_case(b"application/xhtml+xml") => HtmlAccepted::ByName,
                b"*/*" => HtmlAccepted::ByWildcard,
                m if m.eq_ignore_ascii_case(b"text/*") => HtmlAccepted::ByWildcard,
                _ => continue,
            };
            match weight(parts) {
                Some(0) if how == HtmlAccepted::ByName => return HtmlAccepted::No,
                Some(0) | None => {}
                Some(_) => accepted = accepted.max(how),
            }
        }
        match said {
            true => accepted,
            false => HtmlAccepted::ByWildcard,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_name_html_and_scripts_take_anything() {
        for (accept, wanted) in [
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                HtmlAccepted::ByName,
            ),
            ("*/*", HtmlAccepted::ByWildcard),
            ("", HtmlAccepted::ByWildcard),
            ("application/json, TEXT/*;q=0.1", HtmlAccepted::ByWildcard),
            ("image/webp, image/*", HtmlAccepted::No),
            ("text/html;q=0, */*", HtmlAccepted::No),
            ("Text/HTML ; level=1 ; q=0.5", HtmlAccepted::ByName),
            ("*/*;q=0", HtmlAccepted::No),
            ("text/html;q=x", HtmlAccepted::No),
        ] {
            assert_eq!(HtmlAccepted::of([accept.as_bytes()]), wanted, "{accept}");
        }
        assert_eq!(HtmlAccepted::of([]), HtmlAccepted::ByWildcard);
    }
}
