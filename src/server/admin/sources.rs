//! The counters and pools that the admin pages read.

use std::sync::Arc;

use crate::observe::access_log::AccessLog;
use crate::runtime::ShardHandle;
use crate::server::observation::Observation;
use crate::server::state::Shared;
use crate::tasks::{Class, Handle};

/// The sources of the pages' figures.
pub(in crate::server) struct Sources {
    pub shards: Vec<ShardHandle>,
    pub shared: Arc<Shared>,
    pub observation: Observation,
    /// The class of tasks that make the pages.
    pub pages: Class,
    pub tasks: Handle,
    pub access_log: Option<AccessLog>,
}
