//! Validates a [`Config`], however it was made.

use super::error::{ConfigError, Problem, ValueSource};
use super::field::{FIELDS, Field, FieldKind};
use super::model::{
    Config, DRIVERS, ETAG_MTIME, QUERY_DROP, QUERY_KEEP, SCHEDULING_BATCH, SCHEDULING_IDLE,
};
use super::value::Value;
use crate::limits;

/// Length of a congestion control's name: TCP_CA_NAME_MAX of the kernel, less its NUL.
const CONGESTION_NAME_BYTES_MAX: usize = 15;
/// Length of a file name (NAME_MAX of the kernel).
const FILE_NAME_BYTES_MAX: usize = 255;

impl Config {
    /// Checks every range and all constraints between fields. Addresses and the CPU list are
    /// checked by their parsers.
    ///
    /// # Errors
    /// The first rule that is broken, under the key of its field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for field in FIELDS {
            self.in_range(field)?;
        }
        self.addresses()?;
        self.names()?;
        self.types()?;
        self.agreements()
    }

    fn in_range(&self, field: &Field) -> Result<(), ConfigError> {
        let (FieldKind::Number { unit, min, max }, Value::Number(value)) =
            (field.kind, field.value(self))
        else {
            return Ok(());
        };
        if (min..=max).contains(&value) {
            return Ok(());
        }
        Err(wrong(
            &field.path(),
            Problem::OutOfRange {
                value: unit.show(value),
                min: unit.show(min),
                max: unit.show(max),
            },
        ))
    }

    fn addresses(&self) -> Result<(), ConfigError> {
        let listen = &self.server.listen;
        if listen.is_empty() {
            return Err(invalid(
                "server.listen",
                "",
                "one address or more, such as \":8080\"",
            ));
        }
        if listen.len() > limits::LISTEN_ADDRESSES_MAX {
            return Err(wrong(
                "server.listen",
                Problem::OutOfRange {
                    value: format!("{} addresses", listen.len()),
                    min: "1".to_owned(),
                    max: limits::LISTEN_ADDRESSES_MAX.to_string(),
                },
            ));
        }
        Ok(())
    }

    fn names(&self) -> Result<(), ConfigError> {
        if self.server.root.as_os_str().is_empty() {
            return Err(invalid("server.root", "", "the path of a folder"));
        }
        if let Some(index) = &self.server.index {
            let name = !index.is_empty() && index != "." && index != "..";
            if !name || index.len() > FILE_NAME_BYTES_MAX || index.contains(['/', '\0']) {
                return Err(invalid(
                    "server.index",
                    index,
                    "a file name without a folder, such as \"index.html\"",
                ));
            }
        }
        if let Some(congestion) = &self.socket.congestion {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
            let fits = (1..=CONGESTION_NAME_BYTES_MAX).contains(&congestion.len());
            if !fits || !congestion.bytes().all(plain) {
                return Err(invalid(
                    "socket.congestion",
                    congestion,
                    "a name that /proc/sys/net/ipv4/tcp_available_congestion_control lists",
                ));
            }
        }
        if let Some(driver) = &self.server.driver
            && !DRIVERS.contains(&driver.as_str())
        {
            return Err(invalid(
                "server.driver",
                driver,
                "\"auto\", \"io_uring\" or \"epoll\"",
            ));
        }
        if let Some(etag) = &self.server.etag
            && etag != ETAG_MTIME
        {
            return Err(invalid("server.etag", etag, "\"inode\" or \"mtime\""));
        }
        if let Some(scheduling) = &self.tasks.scheduling
            && ![SCHEDULING_IDLE, SCHEDULING_BATCH].contains(&scheduling.as_str())
        {
            return Err(invalid(
                "tasks.scheduling",
                scheduling,
                "\"idle\", \"batch\" or \"normal\"",
            ));
        }
        if let Some(rule) = &self.access_log.query
            && ![QUERY_KEEP, QUERY_DROP].contains(&rule.as_str())
        {
            return Err(invalid(
                "access_log.query",
                rule,
                "\"redact\", \"drop\" or \"keep\"",
            ));
        }
        if self.socket.unix_mode > 0o777 {
            return Err(invalid(
                "socket.unix_mode",
                &format!("0{:o}", self.socket.unix_mode),
                "permission bits from 0000 to 0777",
            ));
        }
        Ok(())
    }

    /// Names that a file can have an extension of; `cli` checks the media types.
    fn types(&self) -> Result<(), ConfigError> {
        if self.types.len() > limits::TYPES_MAX {
            return Err(wrong(
                "types.*",
                Problem::OutOfRange {
                    value: format!("{} types", self.types.len()),
                    min: "0".to_owned(),
                    max: limits::TYPES_MAX.to_string(),
                },
            ));
        }
        let is_bad = |name: &&String| {
            name.is_empty() || name.len() > FILE_NAME_BYTES_MAX || name.contains(['/', '.', '\0'])
        };
        match self.types.keys().find(is_bad) {
            Some(name) => Err(invalid(
                "types.*",
                name,
                "an extension without its dot, such as m3u8, or a whole name without a dot",
            )),
            None => Ok(()),
        }
    }

    fn agreements(&self) -> Result<(), ConfigError> {
        let (uri, head) = (self.limits.uri_bytes, self.limits.head_bytes);
        if uri >= head {
            return Err(conflict(
                "limits.uri_bytes",
                format!(
                    "a request target of {uri} bytes cannot fit a head of {head}; \
                     keep limits.uri_bytes below limits.head_bytes"
                ),
            ));
        }
        let (least, most) = (self.compression.bytes_min, self.compression.bytes_max);
        if least > most {
            return Err(conflict(
                "compression.bytes_min",
                format!(
                    "no file has at least {least} bytes and at most {most}; \
                     keep compression.bytes_min within compression.bytes_max"
                ),
            ));
        }
        let (body, bodies) = (self.cache.body_bytes, self.cache.bodies_bytes);
        if bodies != 0 && body > bodies {
            return Err(conflict(
                "cache.body_bytes",
                format!(
                    "a file of {body} bytes cannot fit a memory of {bodies}; \
                     keep cache.body_bytes within cache.bodies_bytes"
                ),
            ));
        }
        let observe = &self.observe;
        if observe.trace_dir.is_some() && observe.trace_buffer_bytes == 0 {
            return Err(conflict(
                "observe.trace_dir",
                "a trace of a stall needs events; set observe.trace_buffer_bytes above 0, \
                 or observe.trace_dir to \"off\""
                    .to_owned(),
            ));
        }
        Ok(())
    }
}

fn wrong(key: &str, problem: Problem) -> ConfigError {
    ConfigError {
        at: ValueSource::Key(key.to_owned()),
        problem,
    }
}

fn invalid(key: &str, value: &str, expected: &str) -> ConfigError {
    wrong(
        key,
        Problem::Invalid {
            value: value.to_owned(),
            expected: expected.to_owned(),
        },
    )
}

fn conflict(key: &str, sentence: String) -> ConfigError {
    wrong(key, Problem::Conflict(sentence))
}
