//! Which icon stands before an entry.

use super::Entry;

/// The id of the entry's symbol in `icons.svg`.
pub(super) fn icon(entry: &Entry) -> &'static str {
    if entry.is_dir {
        return "folder";
    }
    let Some(dot) = entry.name.iter().rposition(|&byte| byte == b'.') else {
        return "file";
    };
    match entry.name[dot + 1..].to_ascii_lowercase().as_slice() {
        b"mp4" | b"m4v" | b"mkv" | b"webm" | b"mov" | b"avi" | b"flv" | b"ts" | b"m2ts"
        | b"m4s" | b"m3u8" | b"mpd" | b"ogv" => "video",
        b"mp3" | b"m4a" | b"aac" | b"flac" | b"ogg" | b"opus" | b"wav" | b"mka" => "audio",
        b"jpg" | b"jpeg" | b"png" | b"gif" | b"webp" | b"avif" | b"svg" | b"bmp" | b"ico"
        | b"heic" | b"jxl" => "image",
        b"zip" | b"gz" | b"tgz" | b"xz" | b"txz" | b"zst" | b"bz2" | b"7z" | b"tar" | b"rar"
        | b"deb" | b"rpm" | b"iso" => "archive",
        b"txt" | b"md" | b"html" | b"htm" | b"pdf" | b"css" | b"js" | b"json" | b"xml" | b"csv"
        | b"log" | b"toml" | b"yaml" | b"yml" | b"srt" | b"vtt" | b"ass" | b"conf" | b"rs"
        | b"c" | b"h" | b"py" | b"sh" => "text",
        _ => "file",
    }
}
