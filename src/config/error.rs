//! Errors of a configuration, with the place where the value was written.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::quantity::QuantityError;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// A command-line flag, as typed (`--idle-timeout`), or `DIR`.
    Flag(String),
    /// An environment variable.
    Env(String),
    /// A position in the TOML file; lines and columns count from 1.
    File {
        /// The file's name as given.
        path: PathBuf,
        /// Line.
        line: usize,
        /// Column in characters.
        column: usize,
    },
    /// A key of the configuration, `timeouts.idle_ms`: a default, or a value set by a program.
    Key(String),
}

impl ValueSource {
    /// The precedence of a source: a value from a higher one wins.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Key(_) => 0,
            Self::File { .. } => 1,
            Self::Env(_) => 2,
            Self::Flag(_) => 3,
        }
    }
}

impl fmt::Display for ValueSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Env(name) | Self::Key(name) => f.write_str(name),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", path.display()),
        }
    }
}

/// A configuration that can't be used: where the mistake is, and what would be valid.
#[derive(Debug)]
pub struct ConfigError {
    /// Where the value came from.
    pub at: ValueSource,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a value.
#[derive(Debug)]
pub enum Problem {
    /// The configuration file can't be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration file is larger than this many bytes.
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        bytes_max: u64,
    },
    /// The file is not TOML; the parser's words.
    Syntax(String),
    /// No section has this name.
    UnknownSection {
        /// The name.
        name: String,
        /// The probable meaning, or the known names.
        advice: String,
    },
    /// No field has this key.
    UnknownKey {
        /// The section it was found in, if any.
        section: Option<String>,
        /// The key.
        key: String,
        /// The probable meaning, or the known names.
        advice: String,
    },
    /// Not a number with a valid unit.
    Quantity {
        /// The value as written.
        value: String,
        /// Why.
        source: QuantityError,
    },
    /// A number outside the field's range.
    OutOfRange {
        /// The value.
        value: String,
        /// Least allowed.
        min: String,
        /// Most allowed.
        max: String,
    },
    /// A value of a wrong form.
    Invalid {
        /// The value as written.
        value: String,
        /// The expected form; completes "write …".
        expected: String,
    },
    /// A value that contradicts another; a whole sentence.
    Conflict(String),
    /// A well-formed text whose meaning can't be used: an address, a CPU list.
    Refused(Box<dyn std::error::Error + Send + Sync>),
    /// The folder to serve can't be used.
    Root {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder for traces can't be used.
    TraceDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ConfigError {
    /// Whether the command line itself was mistyped (exit status 2), as
    /// opposed to something it refers to (exit status 1).
    pub fn is_usage(&self) -> bool {
        let outside = matches!(
            self.problem,
            Problem::Unreadable { .. }
                | Problem::FileTooLarge { .. }
                | Problem::Root { .. }
                | Problem::TraceDir { .. }
        );
        matches!(self.at, ValueSource::Flag(_)) && !outside
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.at)?;
        match &self.problem {
            Problem::Unreadable { path, source } => write!(
                f,
                "cannot read the configuration file \"{}\": {source}; check its name and permissions",
                path.display()
            ),
            Problem::FileTooLarge { path, bytes_max } => write!(
                f,
                "\"{}\" is larger than {bytes_max} bytes; is it a configuration file?",
                path.display()
            ),
            Problem::Syntax(message) => write!(f, "not valid TOML: {message}"),
            Problem::UnknownSection { name, advice } => {
                write!(f, "unknown section [{}]; {advice}", name.escape_debug())
            }
            Problem::UnknownKey {
                section,
                key,
                advice,
            } => match section {
                Some(section) => write!(f, "unknown key {key:?} in [{section}]; {advice}"),
                None => write!(f, "unknown key {key:?} outside any section; {advice}"),
            },
            Problem::Quantity { value, source } => write!(f, "{value:?} {source}"),
            Problem::OutOfRange { value, min, max } => {
                write!(f, "{value} is out of range; choose from {min} to {max}")
            }
            Problem::Invalid { value, expected } => {
                write!(f, "{value:?} cannot be used; write {expected}")
            }
            Problem::Conflict(sentence) => f.write_str(sentence),
            Problem::Refused(error) => error.fmt(f),
            Problem::Root { path, source } => write!(
                f,
                "cannot serve the folder \"{}\": {source}; name a folder that this user may enter",
                path.display()
            ),
            Problem::TraceDir { path, source } => write!(
                f,
                "cannot write traces to \"{}\": {source}; name a folder that this user may write to",
                path.display()
            ),
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Unreadable { source, .. }
            | Problem::Root { source, .. }
            | Problem::TraceDir { source, .. } => Some(source),
            Problem::Quantity { source, .. } => Some(source),
            Problem::Refused(error) => Some(&**error),
            _ => None,
        }
    }
}
