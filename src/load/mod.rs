//! The load generator: the same runtime, seen from the client's side.
//!
//! A load is a [`Plan`], plain data. [`start`] runs it on shards of its own; each has its share
//! of the connections and of the arrivals, and reports once a second to a [`Load`], which makes one
//! [`Summary`] of it, plain data again, from which all output is made.
//!
//! Two times are told of every request. The *response time* runs from the moment at which the
//! request was due; the *service time* from when it was sent. In an open loop (at a rate) requests
//! are due whatever the server does, and so a server that stops for a second is seen to make a
//! second's worth of requests wait. In a closed loop both are the same, and such a stop is one slow request.

mod arrivals;
mod choice;
mod collect;
mod compare;
mod connecting;
mod connection;
mod engine;
mod error;
mod host;
mod intervals;
mod knee;
pub mod live;
mod mark;
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
mod self_test;
mod shards;
mod summary;
mod table;
mod target;
mod urls;
mod verdict;

pub use arrivals::{Rate, RateError, Spacing};
pub use compare::{Comparison, Figure, Judgement, Row, compare};
pub use error::{ErrorClass, LoadError};
pub use knee::{KneeSearch, Step};
pub use mark::MARK_BYTES_MIN;
pub use plan::{Plan, Replay};
pub use player::PlayerOptions;
pub use preflight::ask_sizes;
pub use ranges::{RangePattern, RangeSpec, RangeSpecError, Ranges};
pub use replay::{Log, LogError};
pub use report::{ComparisonReport, Entry, Index, Loaded, Report, RoomsReport};
pub use request::{Prepared, RequestError, RequestSpec};
pub use run::{Load, Progress, start};
pub use self_test::{SelfTest, self_test};
pub use shards::Stop;
pub use summary::{ByUrl, Host, Players, Second, Summary, Times};
pub use table::{grouped, timed};
pub use target::{Origin, Target, TargetError};
pub use urls::{ListedUrl, UrlsError, read_urls};
pub use verdict::Verdict;
