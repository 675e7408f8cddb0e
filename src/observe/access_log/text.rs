//! Texts from clients, escaped so that none can forge a line, a field or a terminal's control.

/// Appends `text` as nginx's default escaping has it: control bytes, quotes, backslashes and all
/// beyond ASCII as `\xHH` (ngx_http_log_escape).
#[inline]
pub(super) fn put_nginx(out: &mut Vec<u8>, text: &[u8]) {
    if is_plain(text) {
        return out.extend_from_slice(text);
    }
    for &byte in text {
        match is_plain(&[byte]) {
            true => out.push(byte),
            false => {
                out.extend_from_slice(b"\\x");
                out.extend_from_slice(&hex(byte));
            }
        }
    }
}

/// Appends `text` as what stands between the quotes of a JSON string (RFC 8259 section 7).
///
/// Bytes that are no UTF-8 become U+FFFD, as in [`String::from_utf8_lossy`]. Besides what JSON
/// asks for, controls from U+007F to U+009F and line separators are escaped: terminals act on the
/// first, and JavaScript's older readers break lines at the second.
#[inline]
pub(super) fn put_json(out: &mut Vec<u8>, text: &[u8]) {
    if is_plain(text) {
        return out.extend_from_slice(text);
    }
    for chunk in text.utf8_chunks() {
        chunk.valid().chars().for_each(|c| put_json_char(out, c));
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn put_json_char(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\0'..=' ' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' if c != ' ' => {
            let code = c as u32;
            out.extend_from_slice(b"\\u");
            out.extend_from_slice(&hex_lower((code >> 8) as u8));
            out.extend_from_slice(&hex_lower(code as u8));
        }
        _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Appends `text` as a value of logfmt: bare where nothing in it needs quotes, else as a JSON string.
#[inline]
pub(super) fn put_logfmt(out: &mut Vec<u8>, text: &[u8]) {
    let bare = |byte: u8| byte != b' ' && byte != b'=';
    if !text.is_empty() && is_plain(text) && text.iter().all(|&byte| bare(byte)) {
        return out.extend_from_slice(text);
    }
    out.push(b'"');
    put_json(out, text);
    out.push(b'"');
}

/// Whether all of `text` is visible ASCII or a space, and neither a quote nor a backslash. Looks
/// at every byte, so that the compiler can look at many at a time.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, &byte| {
        plain & (byte.wrapping_sub(b' ') < 0x5f) & (byte != b'"') & (byte != b'\\')
    })
}

fn hex(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    [
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]
}

fn hex_lower(byte: u8) -> [u8; 2] {
    hex(byte).map(|digit| digit.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn put(by: fn(&mut Vec<u8>, &[u8]), text: &[u8]) -> String {
        let mut out = Vec::new();
        by(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nginx_escapes_as_nginx_does() {
        assert_eq!(put(put_nginx, b"GET /a HTTP/1.1"), "GET /a HTTP/1.1");
        let hostile = b"\"\\\x00\n\x1f\x7f\xc3\xa9~ ";
        assert_eq!(
            put(put_nginx, hostile),
            r"\x22\x5C\x00\x0A\x1F\x7F\xC3\xA9~ "
        );
    }

    #[test]
    fn logfmt_quotes_what_needs_it() {
        assert_eq!(put(put_logfmt, b"/a?b"), "/a?b");
        assert_eq!(put(put_logfmt, b""), "\"\"");
        assert_eq!(put(put_logfmt, b"a=b"), "\"a=b\"");
        assert_eq!(put(put_logfmt, b"a b\n\""), r#""a b\n\"""#);
        assert_eq!(put(put_logfmt, b"\x9b\xff"), "\"\u{fffd}\u{fffd}\"");
    }

    #[test]
    fn a_terminals_controls_are_escaped_in_json() {
        let text = "\u{7f}\u{9b}31m\u{2028}\u{b}é";
        assert_eq!(
            put(put_json, text.as_bytes()),
            "\\u007f\\u009b31m\\u2028\\u000bé"
        );
    }

    proptest! {
        #[test]
        fn json_comes_back_as_it_was(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let quoted = format!("\"{}\"", put(put_json, &text));
            let back: String = serde_json::from_str(&quoted).unwrap();
            prop_assert_eq!(back, String::from_utf8_lossy(&text));
            prop_assert!(!quoted.chars().any(char::is_control), "{}", quoted);
        }

        #[test]
        fn logfmt_comes_back_as_it_was(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let value = put(put_logfmt, &text);
            let back = match value.starts_with('"') {
                true => serde_json::from_str(&value).unwrap(),
                false => {
                    prop_assert!(!value.contains([' ', '=', '"']), "{}", value);
                    value
                }
            };
            prop_assert_eq!(back, String::from_utf8_lossy(&text));
        }

        #[test]
        fn nginx_comes_back_as_it_was(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let escaped = put(put_nginx, &text);
            prop_assert!(escaped.bytes().all(|b| (b' '..0x7f).contains(&b) && b != b'"'));
            let (mut back, mut rest) = (Vec::new(), escaped.as_bytes());
            while let [first, tail @ ..] = rest {
                let (byte, left) = match (first, tail) {
                    (b'\\', [b'x', high, low, left @ ..]) => {
                        let digits = [*high, *low];
                        let digits = std::str::from_utf8(&digits).unwrap();
                        (u8::from_str_radix(digits, 16).unwrap(), left)
                    }
                    _ => (*first, tail),
                };
                back.push(byte);
                rest = left;
            }
            prop_assert_eq!(back, text);
        }
    }
}
