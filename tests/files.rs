//! Files by their responses: every request goes through the parser and then
//! straight to `Files`, inside a running shard.

#[path = "files/caching.rs"]
mod caching;
#[path = "files/compression.rs"]
mod compression;
#[path = "files/digests.rs"]
mod digests;
#[path = "files/folders.rs"]
mod folders;
#[path = "files/paths.rs"]
mod paths;
#[path = "files/precompressed.rs"]
mod precompressed;
#[path = "files/ranges.rs"]
mod ranges;
#[path = "files/site.rs"]
mod site;
