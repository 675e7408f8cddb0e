//! The flags of `headwater load`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::common::CommonArgs;
use super::values::{bits, factor, positive, time, time_or_off};
use super::{compare, index, live, rooms};
use crate::load::{RangeSpec, Rate};

const EXAMPLES: &str = "\
EXAMPLES:
  headwater load http://localhost:8080/                     10 connections, 10 s, at full speed
  headwater load http://localhost:8080/ -c 64 -d 30s -t 2 --cores 2,3
  headwater load http://localhost:8080/ -c 64 --rate 20k    20,000 requests/s, in an open loop
  headwater load http://localhost:8080/ --rate 1k..10k --poisson -d 60s --json run.json
  headwater load http://localhost:8080/ -c 64 --pipeline 16
  headwater load http://localhost:8080/ --data @body.json -H 'Content-Type: application/json'
  headwater load http://localhost:8080/a http://localhost:8080/b --weights 3,1
  headwater load --urls urls.txt -c 64                      on each line: [METHOD] URL [WEIGHT]
  headwater load http://localhost:8080 --replay access.log --speed 10x
  headwater load http://localhost:8080/film.mp4 -c 100 --ranges player --player-seek 20s -d 60s
  headwater load http://localhost:8080/film.mp4 -c 16 --ranges random:256KiB --check
  headwater load http://localhost:8080/ --pid $(pidof nginx)
  headwater load unix:/run/headwater.sock:/index.html -c 64
  headwater load http://example.org/ --connect-to example.org:80:127.0.0.1:8080
  headwater load http://localhost:8080/ -c 64 --find-knee 10ms
  headwater load http://localhost:8080/ --rate 5k -d 30s --report run.html
  headwater load --self-test
  headwater load compare before.json after.json             faster, or within the noise?
  headwater load compare before.json after.json third.json --report all.html

Without --rate every connection waits for its answer before it sends the next request (a closed \
loop): that finds the highest rate of the server. With --rate requests are due at fixed times, however \
fast the server is (an open loop): that finds what clients would see, and the response time counts \
from when a request was due.

EXIT STATUS:
  0  every request was answered, at the requested rate
  1  the load could not be run: nothing listens, the name does not resolve, a limit is too low
  2  the command line is mistyped
  3  requests failed, or were answered with 4xx or 5xx
  4  the rate was not reached
  5  the generator itself was the bottleneck
  130  stopped by Ctrl-C; the report covers the time until then";

/// Load an HTTP server and measure its answers
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct LoadArgs {
    /// URL to request: http://HOST[:PORT]/PATH, or unix:SOCKET[:/PATH] for a Unix socket; of
    /// several, which must be of one server, each request takes one at random
    #[arg(required_unless_present_any = ["self_test", "urls_file"], value_name = "URL")]
    pub(super) urls: Vec<String>,

    /// Relative frequency of each URL, in their order: 3,1 [default: all the same]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = positive)]
    #[arg(conflicts_with_all = ["urls_file", "replay"])]
    pub(super) weights: Vec<f64>,

    /// Read URLs from this file, - for standard input: on each line [METHOD] URL [WEIGHT]; a URL
    /// may be a path on the server of the command line; # begins a comment
    #[arg(
        long = "urls",
        visible_alias = "urls-from-file",
        value_name = "FILE",
        conflicts_with = "replay"
    )]
    pub(super) urls_file: Option<PathBuf>,

    /// Replay the GET and HEAD requests of this access log (common or combined format, - for
    /// standard input) on the server of the URL, at their recorded times, or in their order at
    /// --rate
    #[arg(long, value_name = "FILE", conflicts_with_all = ["find_knee", "warmup"])]
    pub(super) replay: Option<PathBuf>,

    /// Replay at this multiple of the log's speed: 10x, 0.5x
    #[arg(long, value_name = "FACTOR", value_parser = factor, requires = "replay", conflicts_with = "rate")]
    pub(super) speed: Option<f64>,

    /// Connections
    #[arg(short, long, value_name = "N", default_value_t = 10)]
    pub(super) connections: usize,

    /// How long to measure, after the warm-up [default: 10s, or until --requests are sent]
    #[arg(short, long, value_name = "TIME", value_parser = time, overrides_with = "duration")]
    pub(super) duration: Option<u64>,

    /// Stop after this many requests
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) requests: Option<u64>,

    /// Requests per second, due at fixed times however fast the server is: 20k, a ramp 1k..10k, or
    /// steps 1k,2k,4k
    #[arg(short = 'R', long, value_name = "RATE")]
    pub(super) rate: Option<Rate>,

    /// Make requests due at random times, as from many independent clients, instead of evenly
    #[arg(long)]
    pub(super) poisson: bool,

    /// Find the highest rate at which the P99 of the response time stays within this: loads of
    /// --duration each [default: 3s], from 1,000 requests per second on
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with_all = ["rate", "requests", "hdr"])]
    pub(super) find_knee: Option<u64>,

    /// Request ranges, each a piece of this size [default: 1MiB]: sequential:1MB, random:256KiB, or
    /// player: every connection acts as a video player, which reads the movie box, fills a buffer,
    /// and seeks
    #[arg(long, value_name = "PATTERN", conflicts_with_all = ["replay", "data"])]
    pub(super) ranges: Option<RangeSpec>,

    /// Bits per second at which players play, such as 4M [default: the file's size over its
    /// duration]
    #[arg(long, value_name = "RATE", value_parser = bits, requires = "ranges")]
    pub(super) player_bitrate: Option<f64>,

    /// Mean time between a player's seeks to a random place, or off [default: 30s]
    #[arg(long, value_name = "TIME", value_parser = time_or_off, requires = "ranges")]
    pub(super) player_seek: Option<u64>,

    /// How much a player reads ahead [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = time, requires = "ranges")]
    pub(super) player_buffer: Option<u64>,

    /// Requests that may be in flight on one connection
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) pipeline: usize,

    /// Make a new connection for every request
    #[arg(long, conflicts_with = "pipeline")]
    pub(super) connection_per_request: bool,

    /// Send for this time before measuring; not with --requests, which may all be sent within that
    /// time
    #[arg(long, value_name = "TIME", value_parser = time, overrides_with = "warmup")]
    #[arg(conflicts_with = "requests")]
    pub(super) warmup: Option<u64>,

    /// Request method [default: GET, or POST with --data]
    #[arg(
        short = 'X',
        visible_short_alias = 'm',
        long,
        visible_alias = "request",
        value_name = "NAME"
    )]
    pub(super) method: Option<String>,

    /// Request body, or @FILE to read it from; chunked with -H 'Transfer-Encoding: chunked'
    #[arg(long, value_name = "DATA")]
    pub(super) data: Option<String>,

    /// Compare every body, by length and checksum, with the first one of the URL
    #[arg(long)]
    pub(super) check: bool,

    /// Check that the generator measures correctly: load a small built-in server that pauses for
    /// 1.4 s, and check that the P99 shows it
    #[arg(long, exclusive = true)]
    pub(super) self_test: bool,

    #[command(flatten)]
    pub(super) common: CommonArgs,

    #[command(subcommand)]
    pub(super) command: Option<LoadCommand>,
}

#[derive(Debug, Subcommand)]
pub(super) enum LoadCommand {
    Compare(compare::CompareArgs),
    Index(index::IndexArgs),
    Live(Box<live::LiveArgs>),
    Rooms(Box<rooms::RoomsArgs>),
}
