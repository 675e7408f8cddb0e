//! The log's format: what a line is made of, read once from the operator's text.

use std::fmt;

use crate::limits;

/// A part of a line. Each has a name in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    RemoteAddr,
    RemotePort,
    /// The server authenticates no user, and what the client says of itself is not logged.
    RemoteUser,
    TimeLocal,
    TimeIso8601,
    Msec,
    StartUtc,
    StartMsec,
    Request,
    /// The request's first line where it could not be split, and nothing else.
    Unparsed,
    Method,
    Target,
    Path,
    /// The path, decoded and without dot segments.
    Uri,
    Args,
    Protocol,
    ProtocolVersion,
    Status,
    BodyBytes,
    SentBytes,
    HeadBytes,
    Duration,
    FirstByte,
    Connection,
    ConnectionRequests,
    Shard,
    Pid,
    Cut,
    Completion,
    /// A field of the request, by its place among those that the format asks for.
    Header(u8),
}

impl Field {
    /// Whether it is made of the request line.
    fn is_of_request(self) -> bool {
        use Field::{
            Args, Method, Path, Protocol, ProtocolVersion, Request, Target, Unparsed, Uri,
        };
        matches!(
            self,
            Request | Unparsed | Method | Target | Path | Uri | Args | Protocol | ProtocolVersion
        )
    }
}

/// Variables of a template, by nginx's name where nginx has one.
const VARIABLES: &[(&str, Field)] = &[
    ("remote_addr", Field::RemoteAddr),
    ("remote_port", Field::RemotePort),
    ("remote_user", Field::RemoteUser),
    ("time_local", Field::TimeLocal),
    ("time_iso8601", Field::TimeIso8601),
    ("msec", Field::Msec),
    ("start_utc", Field::StartUtc),
    ("start_msec", Field::StartMsec),
    ("request", Field::Request),
    ("request_method", Field::Method),
    ("request_uri", Field::Target),
    ("request_path", Field::Path),
    ("uri", Field::Uri),
    ("args", Field::Args),
    ("query_string", Field::Args),
    ("server_protocol", Field::Protocol),
    ("status", Field::Status),
    ("body_bytes_sent", Field::BodyBytes),
    ("bytes_sent", Field::SentBytes),
    ("request_head_length", Field::HeadBytes),
    ("request_time", Field::Duration),
    ("first_byte_time", Field::FirstByte),
    ("connection", Field::Connection),
    ("connection_requests", Field::ConnectionRequests),
    ("shard", Field::Shard),
    ("pid", Field::Pid),
    ("cut", Field::Cut),
    ("request_completion", Field::Completion),
];

const HEADER_PREFIX: &str = "http_";
/// Fields of a request that are never logged.
const SECRET_HEADERS: &[&str] = &["authorization", "proxy-authorization", "cookie", "cookie2"];
/// Fields of a request that hold a URL, to which the rule for queries applies.
const URL_HEADERS: &[&str] = &[
    "referer",
    "x-forwarded-uri",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" \
                        $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";

/// Names of the JSON form's members, of logfmt's keys, and what they hold. OpenTelemetry's and
/// ECS's names where these have one.
const MEMBERS: &[(&str, &str, &str)] = &[
    ("timestamp", "time", "start_utc"),
    ("client.address", "client", "remote_addr"),
    ("client.port", "port", "remote_port"),
    ("http.request.method", "method", "request_method"),
    ("url.original", "target", "request_uri"),
    ("headwater.request_line", "request_line", "unparsed"),
    ("network.protocol.version", "protocol", "protocol_version"),
    ("http.response.status_code", "status", "status"),
    ("http.response.body.size", "body_bytes", "body_bytes_sent"),
    ("http.response.size", "bytes", "bytes_sent"),
    ("http.server.request.duration", "duration", "request_time"),
    ("headwater.first_byte", "first_byte", "first_byte_time"),
    ("error.type", "cut", "cut"),
    ("http.request.header.host", "host", "http_host"),
    ("http.request.header.referer", "referer", "http_referer"),
    ("user_agent.original", "user_agent", "http_user_agent"),
    (
        "http.request.header.x-request-id",
        "request_id",
        "http_x_request_id",
    ),
    ("headwater.shard", "shard", "shard"),
    ("headwater.connection", "connection", "connection"),
    ("headwater.request", "request", "connection_requests"),
];

/// How a field's text is escaped, and what is written for one that is absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// As nginx: `\xHH`; `-` for what is absent.
    Nginx,
    /// A JSON value; what is absent is left out with its name.
    Json,
    /// A logfmt value; what is absent is left out with its key.
    Logfmt,
}

/// A field and the text before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub before: Box<[u8]>,
    pub field: Field,
}

/// The format of an access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    pub(super) style: Style,
    pub(super) pieces: Vec<Piece>,
    /// Whether one of them is made of the request line.
    pub(super) has_request: bool,
    /// What stands behind the last field, with the end of the line.
    pub(super) end: Box<[u8]>,
    headers: Vec<String>,
    /// Whether each of those holds a URL.
    pub(super) is_url: Vec<bool>,
}

impl Format {
    /// Reads `combined`, `json`, `logfmt`, or a template with variables such as `$status`.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        match text {
            "combined" => Self::template(COMBINED),
            "json" => Self::members(Style::Json),
            "logfmt" => Self::members(Style::Logfmt),
            _ if text.contains('$') => Self::template(text),
            _ => Err(FormatError::Unknown(text.to_owned())),
        }
    }

    /// The request's fields that a line contains, in lower case, in the order in which a shard
    /// gives them with each record.
    pub fn headers(&self) -> &[String] {
        &self.headers
    }

    fn empty(style: Style) -> Self {
        Self {
            style,
            pieces: Vec::new(),
            has_request: false,
            end: Box::default(),
            headers: Vec::new(),
            is_url: Vec::new(),
        }
    }

    fn template(text: &str) -> Result<Self, FormatError> {
        if text.chars().any(char::is_control) {
            return Err(FormatError::Control);
        }
        if text.len() > limits::ACCESS_LOG_FORMAT_BYTES_MAX {
            return Err(FormatError::TooLong);
        }
        let mut format = Self::empty(Style::Nginx);
        let (mut before, mut rest) = (String::new(), text);
        while let Some((literal, variable)) = rest.split_once('$') {
            before.push_str(literal);
            let (name, behind) = variable_name(variable)?;
            let field = format.field(name)?;
            format.push(std::mem::take(&mut before), field);
            rest = behind;
        }
        format.end = format!("{before}{rest}\n").into_bytes().into();
        Ok(format)
    }

    fn members(style: Style) -> Result<Self, FormatError> {
        let mut format = Self::empty(style);
        for (json, logfmt, variable) in MEMBERS {
            let field = match *variable {
                "unparsed" => Field::Unparsed,
                "protocol_version" if style == Style::Json => Field::ProtocolVersion,
                "protocol_version" => Field::Protocol,
                variable => format.field(variable)?,
            };
            let before = match (style, format.pieces.is_empty()) {
                (Style::Json, true) => format!("{{\"{json}\":"),
                (Style::Json, false) => format!(",\"{json}\":"),
                (_, true) => format!("{logfmt}="),
                (_, false) => format!(" {logfmt}="),
            };
            format.push(before, field);
        }
        let end: &[u8] = if style == Style::Json { b"}\n" } else { b"\n" };
        format.end = end.into();
        Ok(format)
    }

    fn push(&mut self, before: String, field: Field) {
        self.has_request |= field.is_of_request();
        self.pieces.push(Piece {
            before: before.into_bytes().into(),
            field,
        });
    }

    fn field(&mut self, variable: &str) -> Result<Field, FormatError> {
        if let Some((_, field)) = VARIABLES.iter().find(|(name, _)| *name == variable) {
            return Ok(*field);
        }
        let unknown = || FormatError::Variable(variable.to_owned());
        let name = variable.strip_prefix(HEADER_PREFIX).ok_or_else(unknown)?;
        if name.is_empty() {
            return Err(unknown());
        }
        let name = name.replace('_', "-");
        if SECRET_HEADERS.contains(&&*name) {
            return Err(FormatError::Secret(variable.to_owned()));
        }
        let known = self.headers.iter().position(|header| *header == name);
        let index = known.unwrap_or_else(|| {
            self.is_url.push(URL_HEADERS.contains(&&*name));
            self.headers.push(name);
            self.headers.len() - 1
        });
        match u8::try_from(index) {
            Ok(place) if index < limits::ACCESS_LOG_HEADERS_MAX => Ok(Field::Header(place)),
            _ => Err(FormatError::TooManyHeaders),
        }
    }
}

/// The name at the beginning of `text`, which may stand in braces, and what follows it.
fn variable_name(text: &str) -> Result<(&str, &str), FormatError> {
    if let Some(braced) = text.strip_prefix('{') {
        let bad = || FormatError::Variable(format!("{{{braced}"));
        return braced.split_once('}').ok_or_else(bad);
    }
    let in_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let end = text.find(|c| !in_name(c)).unwrap_or(text.len());
    Ok(text.split_at(end))
}

/// What is wrong with a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormatError {
    /// Neither a format's name nor a template.
    Unknown(String),
    /// A template with control bytes, which could break its lines.
    Control,
    /// A template longer than [`limits::ACCESS_LOG_FORMAT_BYTES_MAX`].
    TooLong,
    /// No variable of this name.
    Variable(String),
    /// A field of the request that is never logged.
    Secret(String),
    /// More different fields of the request than [`limits::ACCESS_LOG_HEADERS_MAX`].
    TooManyHeaders,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the access log's format ")?;
        match self {
            Self::Unknown(text) => write!(
                f,
                "{text:?} is not known; it is combined, json, logfmt, or a template with variables \
                 such as '$remote_addr $status'"
            ),
            Self::Control => write!(
                f,
                "has a control character, which could break a line in two; leave it out"
            ),
            Self::TooLong => write!(
                f,
                "is longer than {} bytes; shorten it",
                limits::ACCESS_LOG_FORMAT_BYTES_MAX
            ),
            Self::Variable(name) => {
                let names: Vec<String> = VARIABLES.iter().map(|v| format!("${}", v.0)).collect();
                write!(
                    f,
                    "has ${name}, which is not known; there are $http_NAME for a field of the request, {}",
                    names.join(", ")
                )
            }
            Self::Secret(name) => write!(
                f,
                "has ${name}, which is never logged: whoever reads the log could pose as the client"
            ),
            Self::TooManyHeaders => write!(
                f,
                "has more than {} fields of the request; use fewer",
                limits::ACCESS_LOG_HEADERS_MAX
            ),
        }
    }
}

impl std::error::Error for FormatError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_cut_at_its_variables() {
        let format = Format::parse("a $status ${request}s [$http_x_y]$http_x_y").unwrap();
        let pieces: Vec<(&[u8], Field)> = format
            .pieces
            .iter()
            .map(|piece| (&*piece.before, piece.field))
            .collect();
        assert_eq!(
            pieces,
            [
                (&b"a "[..], Field::Status),
                (b" ", Field::Request),
                (b"s [", Field::Header(0)),
                (b"]", Field::Header(0)),
            ]
        );
        assert_eq!(&*format.end, b"\n");
        assert_eq!(format.headers(), ["x-y"]);
    }

    #[test]
    fn what_cannot_be_logged_is_refused() {
        let refused = |text: &str| Format::parse(text).unwrap_err();
        assert!(matches!(refused("Combined"), FormatError::Unknown(_)));
        assert!(matches!(refused(""), FormatError::Unknown(_)));
        assert!(matches!(refused("$nothing"), FormatError::Variable(_)));
        assert!(matches!(refused("$http_"), FormatError::Variable(_)));
        assert!(matches!(refused("$"), FormatError::Variable(_)));
        assert!(matches!(refused("${status"), FormatError::Variable(_)));
        assert!(matches!(refused("$http_cookie"), FormatError::Secret(_)));
        assert!(matches!(
            refused("$http_authorization"),
            FormatError::Secret(_)
        ));
        assert!(matches!(refused("$status\n"), FormatError::Control));
        let many: String = (0..=limits::ACCESS_LOG_HEADERS_MAX)
            .map(|n| format!("$http_a{n}"))
            .collect();
        assert_eq!(refused(&many), FormatError::TooManyHeaders);
        let long = "x".repeat(limits::ACCESS_LOG_FORMAT_BYTES_MAX) + "$status";
        assert_eq!(refused(&long), FormatError::TooLong);
    }

    #[test]
    fn every_named_format_is_good() {
        for name in ["combined", "json", "logfmt"] {
            Format::parse(name).unwrap();
        }
    }
}
