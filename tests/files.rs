//! Files by their responses: every request goes through the parser and then
//! straight to `Files`, inside a running shard.

#[path = "files/caching.rs"]
mod caching;
#[path = "files/folders.rs"]
mod folders;
#[path = "files/paths.rs"]
mod paths;
#[path = "files/ranges.rs"]
mod ranges;
#[path = "files/site.rs"]
mod site;
