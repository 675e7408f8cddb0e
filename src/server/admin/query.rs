//! What may stand behind the `?` of an admin page.

use std::time::Duration;

use crate::http::Head;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// `seconds=2`: how far back.
    pub seconds: Option<Duration>,
}

impl Query {
    /// # Errors
    /// A sentence about what can't be understood.
    pub fn of(head: &Head<'_>) -> Result<Self, String> {
        let mut query = Self::default();
        let parts = head.query().unwrap_or("").split('&');
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name {
                "seconds" => query.seconds = Some(seconds(value)?),
                _ => {
                    return Err(format!(
                        "\"{name}\" is unknown here; seconds=2 is understood"
                    ));
                }
            }
        }
        Ok(query)
    }
}

fn seconds(value: &str) -> Result<Duration, String> {
    let seconds = value.parse().ok();
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| format!("\"{value}\" is no number of seconds; write 2 or 0.5"))
}
