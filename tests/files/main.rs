//! Files by their responses: every request goes through the parser and then
//! straight to `Files`, inside a running shard.

mod caching;
mod compression;
mod digests;
mod folders;
mod paths;
mod precompressed;
mod ranges;
mod site;
mod validators;
