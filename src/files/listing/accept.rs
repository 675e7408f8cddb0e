//! Which of a listing's two forms a client asked for (RFC 9110, section 12.5.1).

/// How well the `Accept` field likes one media type.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Preference {
    /// How exactly the deciding range names the type: 0 not at all, 1 `*/*`, 2 `type/*`, 3 `type/subtype`.
    precision: u8,
    quality_thousandths: u16,
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
        let Some(quality_thousandths) = quality(parts) else {
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
            let seen = Preference {
                precision,
                quality_thousandths,
            };
            *preference = seen.max(*preference);
        }
    }
    match json.quality_thousandths.cmp(&html.quality_thousandths) {
        std::cmp::Ordering::Greater => true,
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => {
            json.quality_thousandths > 0 && json.precision == 3 && html.precision < 3
        }
    }
}

/// The range's weight, 1000 when it has none; `None` when it is malformed.
fn quality<'a>(parameters: impl Iterator<Item = &'a [u8]>) -> Option<u16> {
    for parameter in parameters {
        if let Some(value) = parameter
            .trim_ascii()
            .strip_prefix(b"q=")
            .or_else(|| parameter.trim_ascii().strip_prefix(b"Q="))
        {
            return qvalue(value);
        }
    }
    Some(1000)
}

/// `qvalue` of RFC 9110, section 12.4.2: 0 to 1 with up to three decimals, in thousandths.
fn qvalue(value: &[u8]) -> Option<u16> {
    let (whole, decimals) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', decimals @ ..] if decimals.len() <= 3 => (whole, decimals),
        _ => return None,
    };
    let mut thousandths = match whole {
        b'0' => 0,
        b'1' => 1000,
        _ => return None,
    };
    let mut unit = 100;
    for digit in decimals {
        if !digit.is_ascii_digit() {
            return None;
        }
        thousandths += u16::from(digit - b'0') * unit;
        unit /= 10;
    }
    (thousandths <= 1000).then_some(thousandths)
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
