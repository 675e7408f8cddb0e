//! The query of a request for an admin page: the parameters behind `?`.

use std::time::Duration;

use crate::http::Head;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    /// `seconds=2`: how far back.
    pub seconds: Option<Duration>,
    /// `age=10`: only tasks older than 10 seconds.
    pub age: Option<Duration>,
    /// `format=json`.
    pub json: bool,
}

impl Query {
    /// Selects JSON also when the client's `Accept` field asks for it.
    pub(crate) fn accepting(mut self, accept: Option<&[u8]>) -> Self {
        const JSON: &[u8] = b"application/json";
        let asked = |accept: &[u8]| accept.windows(JSON.len()).any(|part| part == JSON);
        self.json |= accept.is_some_and(asked);
        self
    }

    /// # Errors
    /// A sentence about what can't be understood.
    pub(crate) fn of(head: &Head<'_>) -> Result<Self, String> {
        let mut query = Self::default();
        let parts = head.query().unwrap_or("").split('&');
        for part in parts.filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name {
                "seconds" => query.seconds = Some(seconds(value)?),
                "age" => query.age = Some(seconds(value)?),
                "format" => query.json = json(value)?,
                _ => {
                    return Err(format!(
                        "\"{name}\" is unknown here; seconds=2, age=10 and format=json are understood"
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

fn json(value: &str) -> Result<bool, String> {
    match value {
        "json" => Ok(true),
        "text" => Ok(false),
        _ => Err(format!("\"{value}\" is no format here; write json or text")),
    }
}
