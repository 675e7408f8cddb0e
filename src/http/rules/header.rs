//! Rules that set, add and remove header lines of responses.

use std::fmt;

use super::pattern::PathPattern;
use super::statuses::StatusSet;
use crate::http::{HeaderBlock, Status};
use crate::limits;

/// Fields that HTTP/1.1 and HTTP/2 write or forbid themselves (RFC 9110 sections 6.6.1 and 7.6.1,
/// RFC 9112 section 6, RFC 9113 section 8.2.2).
const PROTOCOL_FIELDS: [&str; 10] = [
    "connection",
    "content-length",
    "date",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields that say what the body is: another value, or none, would make it unreadable.
const BODY_FIELDS: [&str; 3] = ["content-encoding", "content-range", "content-type"];

/// Fields that the server works by: they may be left out, but not be made up.
const VALIDATOR_FIELDS: [&str; 3] = ["accept-ranges", "etag", "last-modified"];

/// A change to the header lines of a response. Made with [`HeaderChange::set`] and its kin,
/// which check names and values, so a change can always be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderChange {
    /// In lower case.
    name: Box<str>,
    action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Set(Box<str>),
    Add(Box<str>),
    Remove,
}

/// Why a header line can't be set, added or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// Not a token (RFC 9110 section 5.6.2).
    Name(String),
    /// The value has a control character, such as a line break.
    Value(String),
    /// The value is longer than [`limits::HEADER_VALUE_BYTES_MAX`].
    TooLong(String),
    /// The protocol writes this field.
    Protocol(String),
    /// This field says what the body is.
    Body(String),
    /// The server makes this field from the file; it may be removed only.
    Validator(String),
    /// Vary may only be added to.
    Vary,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(
                f,
                "{name:?} is no header name; write letters, digits and dashes, such as Cache-Control"
            ),
            Self::Value(name) => write!(
                f,
                "the value of {name} has a line break or another control character; write it on one line"
            ),
            Self::TooLong(name) => write!(
                f,
                "the value of {name} is too long; write at most {} bytes",
                limits::HEADER_VALUE_BYTES_MAX
            ),
            Self::Protocol(name) => write!(
                f,
                "{name} belongs to the protocol and is written by the server; leave it out"
            ),
            Self::Body(name) if name.eq_ignore_ascii_case("content-type") => write!(
                f,
                "{name} follows from the file's name; set it in [types]"
            ),
            Self::Body(name) => write!(
                f,
                "{name} says how the body is sent and is written by the server; leave it out"
            ),
            Self::Validator(name) => write!(
                f,
                "{name} is made from the file; it can be removed, but not be set"
            ),
            Self::Vary => f.write_str(
                "Vary names what the server chooses by; add to it instead of setting or removing it",
            ),
        }
    }
}

impl std::error::Error for HeaderError {}

impl HeaderChange {
    /// Sends `name` with this value and no other.
    ///
    /// # Errors
    /// A name or value that can't be sent, or that the server owns.
    pub fn set(name: &str, value: &str) -> Result<HeaderChange, HeaderError> {
        let field = writable(name)?;
        if field == "vary" {
            return Err(HeaderError::Vary);
        }
        Ok(HeaderChange {
            name: field.into(),
            action: Action::Set(checked(name, value)?),
        })
    }

    /// Sends one more line of `name`; a name in Vary joins those that are there.
    ///
    /// # Errors
    /// As [`HeaderChange::set`].
    pub fn add(name: &str, value: &str) -> Result<HeaderChange, HeaderError> {
        Ok(HeaderChange {
            name: writable(name)?.into(),
            action: Action::Add(checked(name, value)?),
        })
    }

    /// Leaves `name` out.
    ///
    /// # Errors
    /// As [`HeaderChange::set`].
    pub fn remove(name: &str) -> Result<HeaderChange, HeaderError> {
        let field = known(name)?;
        match &*field {
            "vary" => Err(HeaderError::Vary),
            _ => Ok(HeaderChange {
                name: field.into(),
                action: Action::Remove,
            }),
        }
    }

    /// The field's name in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// The name in lower case, if it is one and the server lets go of it.
fn known(name: &str) -> Result<String, HeaderError> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > limits::HEADER_NAME_BYTES_MAX || !name.bytes().all(is_token)
    {
        return Err(HeaderError::Name(name.to_owned()));
    }
    let field = name.to_ascii_lowercase();
    if PROTOCOL_FIELDS.contains(&&*field) {
        return Err(HeaderError::Protocol(name.to_owned()));
    }
    if BODY_FIELDS.contains(&&*field) {
        return Err(HeaderError::Body(name.to_owned()));
    }
    Ok(field)
}

fn writable(name: &str) -> Result<String, HeaderError> {
    let field = known(name)?;
    match VALIDATOR_FIELDS.contains(&&*field) {
        true => Err(HeaderError::Validator(name.to_owned())),
        false => Ok(field),
    }
}

/// The value without white space around it (RFC 9110 section 5.5).
fn checked(name: &str, value: &str) -> Result<Box<str>, HeaderError> {
    if value
        .bytes()
        .any(|byte| byte == 0x7f || (byte < 0x20 && byte != b'\t'))
    {
        return Err(HeaderError::Value(name.to_owned()));
    }
    if value.len() > limits::HEADER_VALUE_BYTES_MAX {
        return Err(HeaderError::TooLong(name.to_owned()));
    }
    Ok(value.trim_matches([' ', '\t']).into())
}

/// Changes to the responses for some paths with some statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRule {
    /// It applies where one of these matches.
    pub paths: Vec<PathPattern>,
    /// It applies to these statuses.
    pub statuses: StatusSet,
    /// What it does, in this order.
    pub changes: Vec<HeaderChange>,
}

impl HeaderRule {
    /// Whether it applies whatever the path.
    pub(super) fn is_of_every_path(&self) -> bool {
        self.paths.iter().any(PathPattern::matches_every)
    }

    fn applies(&self, path: &[u8], status: Status) -> bool {
        self.statuses.contains(status) && self.paths.iter().any(|pattern| pattern.matches(path))
    }
}

/// What all rules together do to the responses for one path with one status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Fields whose lines of the server's own are left out.
    removed: Vec<Box<str>>,
    /// Lines that are sent, names in lower case.
    lines: Vec<(Box<str>, Box<str>)>,
    /// Names that are to be in Vary.
    varies: Vec<Box<str>>,
}

impl HeaderEdits {
    /// The sum of these rules, of which a later one wins over an earlier one.
    pub fn of<'a>(
        rules: impl IntoIterator<Item = &'a HeaderRule>,
        path: &[u8],
        status: Status,
    ) -> HeaderEdits {
        let mut edits = HeaderEdits::default();
        let rules = rules.into_iter().filter(|rule| rule.applies(path, status));
        for change in rules.flat_map(|rule| &rule.changes) {
            edits.take(change);
        }
        edits
    }

    fn take(&mut self, change: &HeaderChange) {
        let name = &change.name;
        match &change.action {
            Action::Add(value) if **name == *"vary" => self.vary(value),
            Action::Add(value) => self.lines.push((name.clone(), value.clone())),
            Action::Set(value) => {
                self.drop_lines(name);
                self.lines.push((name.clone(), value.clone()));
            }
            Action::Remove => self.drop_lines(name),
        }
    }

    fn drop_lines(&mut self, name: &str) {
        self.lines.retain(|(other, _)| **other != *name);
        if !self.removed.iter().any(|other| **other == *name) {
            self.removed.push(name.into());
        }
    }

    /// Has these names, separated by commas, in Vary.
    pub(super) fn vary(&mut self, names: &str) {
        let names = names
            .split(',')
            .map(|name| name.trim().to_ascii_lowercase());
        for name in names.filter(|name| !name.is_empty()) {
            self.varies.push(name.into());
        }
    }

    /// Sends one more line.
    pub(super) fn line(&mut self, name: &str, value: &str) {
        self.lines.push((name.into(), value.into()));
    }

    /// The header lines of a response with the edits made.
    #[must_use]
    pub fn apply(&self, mut block: HeaderBlock) -> HeaderBlock {
        for name in &self.removed {
            block.remove(name);
        }
        for (name, value) in &self.lines {
            block.push(name, value.as_bytes());
        }
        for name in &self.varies {
            block.vary(name);
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(paths: &str, statuses: StatusSet, changes: &[HeaderChange]) -> HeaderRule {
        HeaderRule {
            paths: vec![paths.parse().unwrap()],
            statuses,
            changes: changes.to_vec(),
        }
    }

    fn set(name: &str, value: &str) -> HeaderChange {
        HeaderChange::set(name, value).unwrap()
    }

    fn applied(rules: &[HeaderRule], path: &str, status: Status, block: HeaderBlock) -> String {
        let edits = HeaderEdits::of(rules, path.as_bytes(), status);
        String::from_utf8(edits.apply(block).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn later_rules_win_and_adding_keeps_what_is_there() {
        let rules = [
            rule(
                "/**",
                StatusSet::usual(),
                &[set("Cache-Control", "no-cache"), set("X-A", "1")],
            ),
            rule(
                "*.js",
                StatusSet::usual(),
                &[
                    set("cache-control", " max-age=5 "),
                    HeaderChange::add("X-A", "2").unwrap(),
                    HeaderChange::remove("ETag").unwrap(),
                ],
            ),
        ];
        let block = || HeaderBlock::new().with("etag", "\"a\"").with("x-b", "3");
        assert_eq!(
            applied(&rules, "/a.js", Status::OK, block()),
            "x-b: 3\r\nx-a: 1\r\ncache-control: max-age=5\r\nx-a: 2\r\n"
        );
        assert_eq!(
            applied(&rules, "/a.css", Status::NOT_MODIFIED, block()),
            "etag: \"a\"\r\nx-b: 3\r\ncache-control: no-cache\r\nx-a: 1\r\n"
        );
        assert_eq!(
            applied(&rules, "/a.js", Status::NOT_FOUND, block()),
            "etag: \"a\"\r\nx-b: 3\r\n"
        );
    }

    #[test]
    fn set_takes_the_place_of_the_servers_own_line() {
        let rules = [rule(
            "/**",
            StatusSet::ALL,
            &[set("Content-Security-Policy", "none")],
        )];
        let block = HeaderBlock::new()
            .with("content-security-policy", "x")
            .with("a", "b");
        assert_eq!(
            applied(&rules, "/", Status::NOT_FOUND, block),
            "a: b\r\ncontent-security-policy: none\r\n"
        );
    }

    #[test]
    fn vary_is_added_to_and_each_name_is_there_once() {
        let add = HeaderChange::add("Vary", "Cookie, accept-encoding").unwrap();
        let rules = [rule("/**", StatusSet::ALL, &[add])];
        let block = HeaderBlock::new().with("vary", "accept-encoding");
        assert_eq!(
            applied(&rules, "/", Status::OK, block),
            "vary: accept-encoding, cookie\r\n"
        );
        assert_eq!(
            applied(&rules, "/", Status::OK, HeaderBlock::new()),
            "vary: cookie, accept-encoding\r\n"
        );
    }

    #[test]
    fn what_the_server_owns_is_refused() {
        for name in PROTOCOL_FIELDS {
            let shown = name.to_ascii_uppercase();
            let error = HeaderError::Protocol(shown.clone());
            assert_eq!(HeaderChange::set(&shown, "x"), Err(error.clone()));
            assert_eq!(HeaderChange::add(&shown, "x"), Err(error.clone()));
            assert_eq!(HeaderChange::remove(&shown), Err(error));
        }
        for name in BODY_FIELDS {
            assert_eq!(
                HeaderChange::remove(name),
                Err(HeaderError::Body(name.to_owned()))
            );
        }
        for name in VALIDATOR_FIELDS {
            let error = Err(HeaderError::Validator(name.to_owned()));
            assert_eq!(HeaderChange::add(name, "x"), error);
            assert!(HeaderChange::remove(name).is_ok());
        }
        assert_eq!(HeaderChange::set("Vary", "x"), Err(HeaderError::Vary));
        assert_eq!(HeaderChange::remove("vary"), Err(HeaderError::Vary));
    }

    #[test]
    fn names_and_values_are_checked() {
        for name in ["", "a b", "a:", "a\r\nb", "ä", "a\0", ":status"] {
            assert_eq!(
                HeaderChange::set(name, "x"),
                Err(HeaderError::Name(name.to_owned()))
            );
        }
        for value in ["a\r\nset-cookie: b", "a\n", "\0", "\x7f", "\x1b"] {
            assert_eq!(
                HeaderChange::set("x", value),
                Err(HeaderError::Value("x".to_owned()))
            );
        }
        let long = "x".repeat(limits::HEADER_VALUE_BYTES_MAX + 1);
        assert_eq!(
            HeaderChange::add("x", &long),
            Err(HeaderError::TooLong("x".to_owned()))
        );
        assert!(HeaderChange::set("x", "tab\tand ü").is_ok());
    }
}
