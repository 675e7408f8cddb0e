//! A file's media type, from its name's extension.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::scan;

/// What a file of unknown type is sent as (RFC 2046 section 4.5.1).
pub const UNKNOWN: &str = "application/octet-stream";

/// Media types by extension: an operator's over the built-in ones.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Types(BTreeMap<String, String>);

impl Types {
    /// `own`: extensions without their dot, or whole names that have none, each with the value of
    /// Content-Type. Case means nothing in the names.
    pub fn new<'a>(own: impl IntoIterator<Item = (&'a String, &'a String)>) -> Types {
        let lower = |(name, value): (&String, &String)| (name.to_ascii_lowercase(), value.clone());
        Types(own.into_iter().map(lower).collect())
    }

    /// The Content-Type of a file called `name`, a path or its last part, in bytes.
    pub fn content_type(&self, name: &[u8]) -> Cow<'static, str> {
        match self.own(name) {
            Some(own) => Cow::Owned(own.clone()),
            None => content_type(name),
        }
    }

    fn own(&self, name: &[u8]) -> Option<&String> {
        if self.0.is_empty() {
            return None;
        }
        let key = extension(name).or_else(|| std::str::from_utf8(last_part(name)).ok())?;
        self.0.get(&key.to_ascii_lowercase())
    }
}

/// Whether `value` is a media type with or without parameters (RFC 9110 section 8.3.1), as far as
/// its two names go, and can stand in a header field.
pub fn is_media_type(value: &str) -> bool {
    let essence = value.split(';').next().unwrap_or_default().trim_end();
    let Some((kind, subtype)) = essence.split_once('/') else {
        return false;
    };
    let is_token = |name: &str| !name.is_empty() && scan::all(name.as_bytes(), scan::TOKEN);
    let is_shown = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    is_token(kind) && is_token(subtype) && value.bytes().all(is_shown)
}

/// The built-in Content-Type of a file called `name`, a path or its last part, in bytes.
fn content_type(name: &[u8]) -> Cow<'static, str> {
    let Some(extension) = extension(name) else {
        let is_text = TEXT_NAMES
            .iter()
            .any(|known| known.as_bytes() == last_part(name));
        return Cow::Borrowed(if is_text { TEXT } else { UNKNOWN });
    };
    if let Some(known) = built_in(extension) {
        return Cow::Borrowed(known);
    }
    match mime_guess::from_ext(extension).first_raw() {
        None => Cow::Borrowed(UNKNOWN),
        Some(text) if text.starts_with("text/") => Cow::Owned(format!("{text}; charset=utf-8")),
        Some(other) => Cow::Borrowed(other),
    }
}

fn last_part(name: &[u8]) -> &[u8] {
    let slash = name.iter().rposition(|&byte| byte == b'/');
    &name[slash.map_or(0, |slash| slash + 1)..]
}

/// What stands behind the last dot of the last segment; a dot at its start
/// hides a file and begins no extension.
fn extension(name: &[u8]) -> Option<&str> {
    let name = last_part(name);
    let dot = name.iter().rposition(|&byte| byte == b'.')?;
    if dot == 0 {
        return None;
    }
    std::str::from_utf8(&name[dot + 1..]).ok()
}

const TEXT: &str = "text/plain; charset=utf-8";

/// Files without an extension that are text by custom.
const TEXT_NAMES: [&str; 11] = [
    "AUTHORS",
    "CHANGELOG",
    "CONTRIBUTING",
    "COPYING",
    "Dockerfile",
    "INSTALL",
    "LICENSE",
    "Makefile",
    "NEWS",
    "NOTICE",
    "README",
];

/// The types that players insist on and that general tables lack or get wrong, and the
/// common text types, ready with their charset.
fn built_in(extension: &str) -> Option<&'static str> {
    const BUILT_IN: [(&str, &str); 47] = [
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
        ("ttml", "application/ttml+xml"),
        ("html", "text/html; charset=utf-8"),
        ("htm", "text/html; charset=utf-8"),
        ("css", "text/css; charset=utf-8"),
        ("js", "text/javascript; charset=utf-8"),
        ("mjs", "text/javascript; charset=utf-8"),
        ("cjs", "text/javascript; charset=utf-8"),
        ("txt", TEXT),
        ("log", TEXT),
        ("conf", TEXT),
        ("tsx", TEXT),
        ("jsx", TEXT),
        ("go", "text/x-go; charset=utf-8"),
        ("md", "text/markdown; charset=utf-8"),
        ("json", "application/json"),
        ("map", "application/json"),
        ("jsonl", "application/jsonl"),
        ("ndjson", "application/x-ndjson"),
        ("ipynb", "application/x-ipynb+json"),
        ("toml", "application/toml"),
        ("yaml", "application/yaml"),
        ("yml", "application/yaml"),
        ("webmanifest", "application/manifest+json"),
        ("zst", "application/zstd"),
        ("deb", "application/vnd.debian.binary-package"),
        ("iso", "application/x-iso9660-image"),
        ("otf", "font/otf"),
        ("ttf", "font/ttf"),
        ("stl", "model/stl"),
        ("usdz", "model/vnd.usdz+zip"),
        ("jxl", "image/jxl"),
    ];
    BUILT_IN
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(extension))
        .map(|(_, content_type)| *content_type)
}

/// Whether a file of this Content-Type is worth compressing: text and what is built like it.
/// Pictures, sound, video and archives are compressed already. A playlist is text, whatever its
/// type's name says.
pub fn is_compressible(content_type: &str) -> bool {
    const OTHERS: [&str; 19] = [
        "application/dash+xml",
        "application/javascript",
        "application/json",
        "application/jsonl",
        "application/manifest+json",
        "application/rtf",
        "application/toml",
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
    fn what_other_servers_know_is_known() {
        for (name, wanted) in [
            ("a.cjs", "text/javascript; charset=utf-8"),
            ("a.map", "application/json"),
            ("a.zst", "application/zstd"),
            ("a.otf", "font/otf"),
            ("a.yaml", "application/yaml"),
            ("a.deb", "application/vnd.debian.binary-package"),
            ("a.iso", "application/x-iso9660-image"),
            ("a.gltf", "model/gltf+json"),
            ("a.glb", "model/gltf-binary"),
            ("a.usdz", "model/vnd.usdz+zip"),
            ("a.ttml", "application/ttml+xml"),
            ("a.log", "text/plain; charset=utf-8"),
            ("a.rs", "text/x-rust; charset=utf-8"),
            ("v1.0/README", "text/plain; charset=utf-8"),
            ("LICENSE", "text/plain; charset=utf-8"),
        ] {
            assert_eq!(content_type(name.as_bytes()), wanted, "{name}");
        }
    }

    #[test]
    fn an_operators_types_come_first() {
        let own = [("M3U8", "audio/x-mpegurl"), ("readme", "text/x-readme")];
        let own: Vec<_> = own.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let types = Types::new(own.iter().map(|(name, value)| (name, value)));
        for (name, wanted) in [
            ("live/a.m3u8", "audio/x-mpegurl"),
            ("a/README", "text/x-readme"),
            ("a.mp4", "video/mp4"),
            ("m3u8", "audio/x-mpegurl"),
        ] {
            assert_eq!(types.content_type(name.as_bytes()), wanted, "{name}");
        }
        assert_eq!(
            Types::default().content_type(b"a.m3u8"),
            "application/vnd.apple.mpegurl"
        );
    }

    #[test]
    fn media_types_are_two_tokens_and_parameters() {
        for good in [
            "text/plain",
            "a/b+c",
            "text/html; charset=\"utf 8\"",
            "x/y;",
        ] {
            assert!(is_media_type(good), "{good}");
        }
        for bad in [
            "",
            "text",
            "text/",
            "/plain",
            "a b/c",
            "a/b\r\nx: y",
            "a/b/c",
            "a/b; c=\u{e9}",
        ] {
            assert!(!is_media_type(bad), "{bad}");
        }
    }

    #[test]
    fn names_without_a_known_extension() {
        for name in [
            &b"SOMETHING"[..],
            b"README2",
            b"a.",
            b".html",
            b"dir/.html",
            b"v1.mp4/SOMETHING",
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
            ("a.toml", true),
            ("a.jsonl", true),
            ("a.map", true),
            ("README", true),
            ("SOMETHING", false),
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
