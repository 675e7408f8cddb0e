//! The summary of a load of any kind, as read back from JSON.

use super::host::Host;
use super::live::LiveSummary;
use super::rooms::RoomsSummary;
use super::summary::{Second, Summary};
use super::times::Times;
use super::verdict::Verdict;

/// A summary of one of the kinds of load.
#[derive(Clone, Debug)]
pub enum AnySummary {
    /// A load of requests.
    Requests(Box<Summary>),
    /// A load of rooms.
    Rooms(Box<RoomsSummary>),
    /// A load of live readers.
    Live(Box<LiveSummary>),
}

/// An expression that is the same for the summaries of all kinds.
macro_rules! each {
    ($any:expr, $summary:ident => $value:expr) => {
        match $any {
            Self::Requests($summary) => $value,
            Self::Rooms($summary) => $value,
            Self::Live($summary) => $value,
        }
    };
}

impl AnySummary {
    /// Reads what `--json` of any kind of load has written.
    ///
    /// # Errors
    /// When the text is not such a summary.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        /// Fields that only one kind of summary has: rooms, live readers.
        #[derive(serde::Deserialize)]
        struct Marks {
            sub_url: Option<serde::de::IgnoredAny>,
            readers: Option<serde::de::IgnoredAny>,
        }
        let marks: Marks = serde_json::from_str(text)?;
        Ok(match (marks.sub_url, marks.readers) {
            (Some(_), _) => Self::Rooms(serde_json::from_str(text)?),
            (None, Some(_)) => Self::Live(serde_json::from_str(text)?),
            (None, None) => Self::Requests(serde_json::from_str(text)?),
        })
    }

    /// The kind of load, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Requests(_) => "requests",
            Self::Rooms(_) => "rooms",
            Self::Live(_) => "live readers",
        }
    }

    /// The verdict on the load.
    pub fn verdict(&self) -> Verdict {
        each!(self, summary => summary.verdict)
    }

    /// How long was measured, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        each!(self, summary => summary.seconds)
    }

    /// The target of the load: the first URL, and how many others.
    pub(super) fn target(&self) -> String {
        match self {
            Self::Requests(summary) => summary.targets(1),
            Self::Rooms(summary) => summary.sub_url.clone(),
            Self::Live(summary) => summary.url.clone(),
        }
    }

    /// The set-up of the load, in one line.
    pub(super) fn set_up(&self) -> String {
        each!(self, summary => summary.set_up())
    }

    pub(super) fn host(&self) -> &Host {
        each!(self, summary => &summary.host)
    }

    /// The seconds of its timeline; the rate counts deliveries for rooms and pieces for live
    /// readers.
    pub(super) fn timeline(&self) -> Vec<Second> {
        match self {
            Self::Requests(summary) => summary.timeline.clone(),
            Self::Rooms(summary) => summary.deliveries_by_second(),
            Self::Live(summary) => summary.pieces_by_second(),
        }
    }

    /// The main distribution of times: response times for requests, delivery times for rooms, the
    /// time behind the writer for live readers.
    pub(super) fn times(&self) -> &Times {
        match self {
            Self::Requests(summary) => &summary.response_time_us,
            Self::Rooms(summary) => &summary.delivery_time_us,
            Self::Live(summary) => &summary.behind_us,
        }
    }

    /// The percentiles of the main and the inner times, for plots.
    pub(super) fn percentiles(&self) -> &[(f64, f64, f64)] {
        each!(self, summary => &summary.percentiles)
    }
}
