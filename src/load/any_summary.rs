//! The summary of a load of whatever kind, as it is read back from JSON.

use super::host::Host;
use super::live::LiveSummary;
use super::rooms::RoomsSummary;
use super::summary::{Second, Summary};
use super::times::Times;
use super::verdict::Verdict;

/// What a load has found.
#[derive(Clone, Debug)]
pub enum AnySummary {
    /// Of a load of requests.
    Requests(Box<Summary>),
    /// Of a load of rooms.
    Rooms(Box<RoomsSummary>),
    /// Of a load of live readers.
    Live(Box<LiveSummary>),
}

impl AnySummary {
    /// Reads what `--json` of any kind of load has written.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        /// A field that only the named kind has.
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

    /// What kind of load it is of, in words.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Requests(_) => "requests",
            Self::Rooms(_) => "rooms",
            Self::Live(_) => "live readers",
        }
    }

    /// The verdict on the load.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Requests(summary) => summary.verdict,
            Self::Rooms(summary) => summary.verdict,
            Self::Live(summary) => summary.verdict,
        }
    }

    /// How long was measured, in seconds.
    pub(super) fn seconds(&self) -> f64 {
        match self {
            Self::Requests(summary) => summary.seconds,
            Self::Rooms(summary) => summary.seconds,
            Self::Live(summary) => summary.seconds,
        }
    }

    /// What was loaded: the first URL, and how many others.
    pub(super) fn target(&self) -> String {
        match self {
            Self::Requests(summary) => summary.targets(1),
            Self::Rooms(summary) => summary.sub_url.clone(),
            Self::Live(summary) => summary.url.clone(),
        }
    }

    /// How it was loaded.
    pub(super) fn set_up(&self) -> String {
        match self {
            Self::Requests(summary) => summary.set_up(),
            Self::Rooms(summary) => summary.set_up(),
            Self::Live(summary) => summary.set_up(),
        }
    }

    pub(super) fn host(&self) -> &Host {
        match self {
            Self::Requests(summary) => &summary.host,
            Self::Rooms(summary) => &summary.host,
            Self::Live(summary) => &summary.host,
        }
    }

    /// The seconds of its timeline: of rooms with the deliveries, of live readers with the pieces.
    pub(super) fn timeline(&self) -> Vec<Second> {
        match self {
            Self::Requests(summary) => summary.timeline.clone(),
            Self::Rooms(summary) => summary.deliveries_by_second(),
            Self::Live(summary) => summary.pieces_by_second(),
        }
    }

    /// The times that matter most: of requests their response times, of rooms delivery times, of live
    /// readers how far they were behind.
    pub(super) fn times(&self) -> &Times {
        match self {
            Self::Requests(summary) => &summary.response_time_us,
            Self::Rooms(summary) => &summary.delivery_time_us,
            Self::Live(summary) => &summary.behind_us,
        }
    }

    /// Percentiles of those times.
    pub(super) fn percentiles(&self) -> &[(f64, f64, f64)] {
        match self {
            Self::Requests(summary) => &summary.percentiles,
            Self::Rooms(summary) => &summary.percentiles,
            Self::Live(summary) => &summary.percentiles,
        }
    }
}
