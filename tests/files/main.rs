//! Tests of `Files` through its responses: every request goes through the parser and directly to
//! `Files`, inside a running shard.

mod caching;
mod compression;
mod digests;
mod folders;
mod paths;
mod precompressed;
mod ranges;
mod site;
mod validators;
