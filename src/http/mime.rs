//! A file's media type, from its name's extension.

use std::borrow::Cow;

/// What a file of unknown type is sent as (RFC 2046 section 4.5.1).
pub const UNKNOWN: &str = "application/octet-stream";

/// The Content-Type of a file called `name`, a path or its last part, in bytes.
pub fn content_type(name: &[u8]) -> Cow<'static, str> {
    let Some(extension) = extension(name) else {
        return Cow::Borrowed(UNKNOWN);
    };
    if let Some(known) = own(extension) {
        return Cow::Borrowed(known);
    }
    match mime_guess::from_ext(extension).first_raw() {
        None => Cow::Borrowed(UNKNOWN),
        Some(text) if text.starts_with("text/") => Cow::Owned(format!("{text}; charset=utf-8")),
        Some(other) => Cow::Borrowed(other),
    }
}

/// What stands behind the last dot of the last segment; a dot at its start
/// hides a file and begins no extension.
fn extension(name: &[u8]) -> Option<&str> {
    let start = name.iter().rposition(|&byte| byte == b'/');
    let name = &name[start.map_or(0, |slash| slash + 1)..];
    let dot = name.iter().rposition(|&byte| byte == b'.')?;
    if dot == 0 {
        return None;
    }
    std::str::from_utf8(&name[dot + 1..]).ok()
}

/// The types that players insist on and that general tables get wrong, and the
/// common text types, ready with their charset.
fn own(extension: &str) -> Option<&'static str> {
    const OWN: [(&str, &str); 24] = [
        ("mp4", "video/mp4"),
        ("m4v", "video/mp4"),
        ("m4s", "video/iso.segment"),
        ("cmfv", "video/mp4"),
        ("cmfa", "audio/mp4"),
        ("cmft", "application/mp4"),
        ("m4a", "audio/mp4"),
        ("m3u8", "application/vnd.apple.mpegurl"),
        ("mpd", "application/dash+xml"),
        ("ts", "video/mp2t"),
        ("m2ts", "video/mp2t"),
        ("webm", "video/webm"),
        ("mkv", "video/x-matroska"),
        ("flv", "video/x-flv"),
        ("vtt", "text/vtt; charset=utf-8"),
        ("srt", "application/x-subrip; charset=utf-8"),
        ("html", "text/html; charset=utf-8"),
        ("htm", "text/html; charset=utf-8"),
        ("css", "text/css; charset=utf-8"),
        ("js", "text/javascript; charset=utf-8"),
        ("mjs", "text/javascript; charset=utf-8"),
        ("txt", "text/plain; charset=utf-8"),
        ("md", "text/markdown; charset=utf-8"),
        ("json", "application/json"),
    ];
    OWN.iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(extension))
        .map(|(_, content_type)| *content_type)
}

/// Whether a file of this Content-Type is worth compressing: text and what is built like it.
/// Pictures, sound, video and archives are compressed already. A playlist is text, whatever its
/// type's name says.
pub fn is_compressible(content_type: &str) -> bool {
    const OTHERS: [&str; 17] = [
        "application/dash+xml",
        "application/javascript",
        "application/json",
        "application/manifest+json",
        "application/rtf",
        "application/vnd.apple.mpegurl",
        "application/vnd.ms-fontobject",
        "application/wasm",
        "application/x-javascript",
        "application/x-ndjson",
        "application/x-subrip",
        "application/xml",
        "application/yaml",
        "font/otf",
        "font/ttf",
        "image/bmp",
        "image/x-icon",
    ];
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.starts_with("text/")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || OTHERS.contains(&essence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn video_and_its_playlists() {
        for (name, wanted) in [
            ("a.mp4", "video/mp4"),
            ("seg-1.m4s", "video/iso.segment"),
            ("live/index.M3U8", "application/vnd.apple.mpegurl"),
            ("manifest.mpd", "application/dash+xml"),
            ("0001.ts", "video/mp2t"),
            ("a.webm", "video/webm"),
            ("a.mkv", "video/x-matroska"),
            ("en.vtt", "text/vtt; charset=utf-8"),
        ] {
            assert_eq!(content_type(name.as_bytes()), wanted, "{name}");
        }
    }

    #[test]
    fn text_has_its_charset() {
        for (name, wanted) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a.JS", "text/javascript; charset=utf-8"),
            ("a.csv", "text/csv; charset=utf-8"),
            ("a.svg", "image/svg+xml"),
            ("a.json", "application/json"),
            ("a.png", "image/png"),
            ("a.tar.gz", "application/gzip"),
        ] {
            assert_eq!(content_type(name.as_bytes()), wanted, "{name}");
        }
    }

    #[test]
    fn names_without_a_known_extension() {
        for name in [
            &b"README"[..],
            b"a.",
            b".html",
            b"dir/.html",
            b"v1.mp4/README",
            b"a.\xff\xfe",
            b"a.nonesuch",
            b"",
        ] {
            assert_eq!(content_type(name), UNKNOWN);
        }
        assert_eq!(content_type(b"\xff.mp4"), "video/mp4");
    }

    #[test]
    fn text_is_compressible_and_what_is_compressed_is_not() {
        for (name, wanted) in [
            ("a.html", true),
            ("a.js", true),
            ("a.json", true),
            ("a.svg", true),
            ("a.wasm", true),
            ("a.xml", true),
            ("a.geojson", true),
            ("a.csv", true),
            ("a.ttf", true),
            ("live.m3u8", true),
            ("a.mpd", true),
            ("a.srt", true),
            ("a.png", false),
            ("a.woff2", false),
            ("a.mp4", false),
            ("a.ts", false),
            ("a.zip", false),
            ("a.html.gz", false),
            ("README", false),
        ] {
            let content_type = content_type(name.as_bytes());
            assert_eq!(
                is_compressible(&content_type),
                wanted,
                "{name}: {content_type}"
            );
        }
    }
}
