//! A folder's listing as an HTML page or as JSON.
//!
//! Pure rendering: the caller reads the folder. A listing of
//! [`LISTING_ENTRIES_MAX`](crate::limits::LISTING_ENTRIES_MAX) entries takes
//! milliseconds, so it is work for the task pool and not for a shard.

mod html;
mod icon;
mod json;
mod order;
#[cfg(test)]
mod tests;
mod text;

pub use html::{CONTENT_SECURITY_POLICY, render_html};
pub use json::render_json;

/// `Content-Type` of [`render_html`]'s page.
pub const HTML_CONTENT_TYPE: &str = "text/html; charset=utf-8";
/// `Content-Type` of [`render_json`]'s array.
pub const JSON_CONTENT_TYPE: &str = "application/json";

/// A folder as it is shown to a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The folder's URL path, percent-decoded, with a slash at both ends.
    pub path: Vec<u8>,
    /// The folder's entries in any order, without `.` and `..`.
    pub entries: Vec<Entry>,
    /// The folder holds more than `entries`.
    pub truncated: bool,
    /// Offer a link to the folder above.
    pub parent: bool,
}

/// One file or folder of a [`Listing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name's bytes as the file system has them; they need not be UTF-8.
    pub name: Vec<u8>,
    /// A folder: its link ends with a slash and its size is not shown.
    pub is_dir: bool,
    /// A file's size in bytes.
    pub size: u64,
    /// Last modification, in seconds since 1970-01-01T00:00:00Z.
    pub mtime_unix_s: i64,
}
