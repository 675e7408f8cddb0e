//! Names of what a connection does.

use crate::observe::CallSite;

/// The names, in reports of stalls, of what a connection does.
pub(super) struct ActivityNames {
    /// From the request's head to the response.
    pub answer: CallSite,
    pub send_file: CallSite,
    pub look_in_page_cache: CallSite,
}

impl ActivityNames {
    pub(crate) fn new() -> Self {
        Self {
            answer: CallSite::named("answer"),
            send_file: CallSite::named("sendfile"),
            look_in_page_cache: CallSite::named("look in the page cache"),
        }
    }
}
