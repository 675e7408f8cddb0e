//! How files are served, with the program's limits as defaults.

use std::sync::Arc;

use super::compress::Levels;
use super::validators::EtagMode;
use crate::http::Coding;
use crate::http::mime::Types;
use crate::http::rules::ResponseRules;
use crate::limits;

/// How files are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesOptions {
    /// Show a listing for a folder without an index file.
    pub browse: bool,
    /// Serve names that begin with a dot; `.well-known` at the top is served in any case.
    pub hidden: bool,
    /// Follow symbolic links that lead out of the folder.
    pub follow_links: bool,
    /// Media types by extension.
    pub types: Arc<Types>,
    /// File that answers for its folder; `None`: no such file.
    pub index: Option<String>,
    /// Entries of one listing; it says so if there are more.
    pub listing_entries_max: usize,
    /// Files that are cached; 0: none.
    pub cache_files: usize,
    /// Bytes of bodies that are kept in memory.
    pub cache_bodies_bytes: usize,
    /// Largest file that is kept in memory, in bytes.
    pub cache_body_bytes: usize,
    /// Age in milliseconds at which a cached file is looked at again; 0: at every request.
    pub revalidate_ms: u64,
    /// Compress what is compressible, for clients that ask for it.
    pub compress: bool,
    /// Prefer a compressed file that lies beside the requested one.
    pub precompressed: bool,
    /// Levels of compression; 0: not in this coding.
    pub levels: Levels,
    /// Smallest file that is compressed, in bytes.
    pub compress_bytes_min: u64,
    /// Largest file that is compressed, in bytes.
    pub compress_bytes_max: u64,
    /// What entity tags are made of.
    pub etag: EtagMode,
    /// Tell the digest of what is sent to clients that ask for it.
    pub digests: bool,
    /// How responses are changed before they are sent.
    pub rules: Arc<ResponseRules>,
    /// How long a response waits for a compression or a digest that it can go without, in
    /// milliseconds.
    pub work_wait_ms: u64,
}

impl FilesOptions {
    /// The level of a coding.
    pub fn level(&self, coding: Coding) -> usize {
        self.levels[coding as usize]
    }

    /// Whether there can be coded forms of files.
    pub fn codes(&self) -> bool {
        self.precompressed || (self.compress && self.levels.iter().any(|&level| level > 0))
    }
}

impl Default for FilesOptions {
    fn default() -> FilesOptions {
        FilesOptions {
            browse: false,
            hidden: false,
            follow_links: false,
            types: Arc::default(),
            index: Some("index.html".to_owned()),
            listing_entries_max: limits::LISTING_ENTRIES_MAX,
            cache_files: limits::CACHE_FILES_MAX,
            cache_bodies_bytes: limits::CACHE_BODIES_BYTES_MAX,
            cache_body_bytes: limits::CACHE_BODY_BYTES_MAX,
            revalidate_ms: limits::CACHE_REVALIDATE_MS,
            compress: true,
            precompressed: true,
            levels: [limits::BROTLI_LEVEL, limits::ZSTD_LEVEL, limits::GZIP_LEVEL],
            compress_bytes_min: limits::COMPRESS_BYTES_MIN,
            compress_bytes_max: limits::COMPRESS_BYTES_MAX,
            etag: EtagMode::default(),
            digests: true,
            rules: Arc::default(),
            work_wait_ms: limits::WORK_WAIT_MS,
        }
    }
}
