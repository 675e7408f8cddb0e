//! The load generator: an HTTP client on the runtime that the server uses.
//!
//! A load is a [`Plan`], plain data. [`start`] runs it on new shards. Each has its share of the
//! connections and of the arrivals, and reports once a second to a [`Load`]. That makes one
//! [`Summary`], plain data again, from which all output is made.
//!
//! Every request has two times. The *response time* runs from the moment at which the
//! request was due; the *service time* from when it was sent. In an open loop (at a rate) requests
//! are due independently of the server, so a server that stops for a second delays every request
//! that was due in that second. In a closed loop both times are the same, and such a stop shows as
//! one slow request for each connection.

mod address;
mod any_summary;
mod arrivals;
mod choice;
mod clients;
mod collect;
mod compare;
mod connection;
mod connector;
mod engine;
mod error;
mod host;
mod intervals;
mod kind;
mod knee;
pub(crate) mod limits;
pub mod live;
mod message_tag;
mod mp4;
mod pieces;
mod plan;
mod player;
mod preflight;
mod ranges;
mod record;
mod replay;
mod report;
mod request;
pub mod rooms;
mod run;
mod run_summary;
mod self_test;
mod shards;
mod summary;
mod table;
mod target;
mod times;
mod urls;
mod verdict;

pub use address::Address;
pub use any_summary::AnySummary;
pub use arrivals::{Rate, RateError, Spacing};
pub use compare::{CompareError, Comparison, Figure, Judgement, Row, compare};
pub use error::{ErrorClass, LoadError};
pub use host::Host;
pub use kind::{Load, Progress};
pub use knee::{KneeSearch, KneeStep};
pub use message_tag::MESSAGE_TAG_BYTES_MIN;
pub use plan::{Plan, Replay};
pub use preflight::ask_sizes;
pub use ranges::{PlayerOptions, RangePattern, RangeSpec, RangeSpecError, Ranges};
pub use replay::{Log, LogError};
pub use report::{ComparisonReport, Index, IndexedRun, LiveReport, Report, RoomsReport};
pub use request::{Prepared, RequestError, RequestSpec};
pub use run::start;
pub use run_summary::RunSummary;
pub use self_test::{SelfTest, self_test};
pub use shards::StopHandle;
pub use summary::{ByUrl, Players, Second, Summary};
pub use table::{grouped, per_second, timed};
pub use target::{ConnectTo, ConnectToError, Origin, Target, TargetError};
pub use times::Times;
pub use urls::{ListedUrl, UrlsError, read_urls};
pub use verdict::Verdict;
