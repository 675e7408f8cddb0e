//! Profiles: text in the form of sysctl.d(5), with `#@` lines for what that form can't express.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use super::expression::{Machine, evaluate};
use super::key::Key;
use super::known::{Better, Scope};
use crate::limits;

/// The profiles that come with headwater: name and text.
pub const BUILT_IN: [(&str, &str); 6] = [
    (
        "file-server",
        include_str!("../../../sysctl/file-server.conf"),
    ),
    (
        "live-stream",
        include_str!("../../../sysctl/live-stream.conf"),
    ),
    (
        "high-connections",
        include_str!("../../../sysctl/high-connections.conf"),
    ),
    (
        "low-latency",
        include_str!("../../../sysctl/low-latency.conf"),
    ),
    (
        "load-generator",
        include_str!("../../../sysctl/load-generator.conf"),
    ),
    ("container", include_str!("../../../sysctl/container.conf")),
];

/// One setting of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub key: Key,
    /// The value wanted on this host: the computed one where there is a `#@ compute` line.
    pub value: String,
    /// Whether a `-` precedes it: then a failure to set it is ignored.
    pub optional: bool,
    /// In which direction values are better, from `#@ better` or a built-in profile; `Exact` by
    /// default.
    pub better: Better,
    /// The scope from `#@ scope` or a built-in profile; `None` if neither states it.
    pub scope: Option<Scope>,
    /// Its line in the text, from 1.
    pub line: usize,
}

/// A profile, its values computed for one host.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The built-in's name, or the file's path.
    pub name: String,
    /// The text that was read.
    pub text: String,
    /// In the text's order, each key once: the last line of a key counts.
    pub settings: Vec<Setting>,
}

impl Profile {
    /// The built-in profile of this name, or the file of this path: what has a `/` in it or
    /// ends in `.conf` is a path.
    ///
    /// # Errors
    /// An unknown name, a file that can't be read, a line that can't be parsed.
    pub fn load(name: &str, machine: Machine) -> Result<Self, ProfileError> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            return Self::parse(name, text, machine);
        }
        if !name.contains('/') && !name.ends_with(".conf") {
            return Err(ProfileError::Unknown(name.to_owned()));
        }
        let text = read_file(Path::new(name)).map_err(|error| ProfileError::File {
            path: name.to_owned(),
            error,
        })?;
        Self::parse(name, &text, machine)
    }

    /// Reads a profile's text.
    ///
    /// # Errors
    /// The first line that can't be parsed.
    pub fn parse(name: &str, text: &str, machine: Machine) -> Result<Self, ProfileError> {
        let mut settings: Vec<Setting> = Vec::new();
        let mut notes = Notes::default();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let fail = |problem: String| ProfileError::Line {
                profile: name.to_owned(),
                line: number,
                problem,
            };
            let line = line.trim();
            if let Some(note) = line.strip_prefix("#@") {
                notes.take(note.trim()).map_err(fail)?;
                continue;
            }
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let notes = std::mem::take(&mut notes);
            let setting = setting(line, number, notes, machine).map_err(fail)?;
            // The last line counts, as for sysctl(8).
            settings.retain(|earlier| earlier.key != setting.key);
            settings.push(setting);
        }
        Ok(Self {
            name: name.to_owned(),
            text: text.to_owned(),
            settings,
        })
    }

    /// What the profile is for: its first comment.
    pub fn about(&self) -> &str {
        let first = self.text.lines().next().unwrap_or("");
        first.strip_prefix('#').map_or("", str::trim)
    }

    /// The text with the values that `value` gives for its settings; without `#@` lines, which are
    /// no longer needed then.
    pub fn with_values(&self, value: impl Fn(&Setting) -> String) -> String {
        let mut out = String::new();
        for (index, line) in self.text.lines().enumerate() {
            if line.trim_start().starts_with("#@") {
                continue;
            }
            let is_here = |setting: &&Setting| setting.line == index + 1;
            match self.settings.iter().find(is_here) {
                Some(setting) => {
                    let dash = if setting.optional { "-" } else { "" };
                    out += &format!("{dash}{} = {}\n", setting.key, value(setting));
                }
                None => out += &format!("{line}\n"),
            }
        }
        out
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    let size = fs::metadata(path)?.len();
    if size > limits::SYSCTL_PROFILE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{size} bytes are too many for a profile"),
        ));
    }
    fs::read_to_string(path)
}

/// The `#@` lines before a setting.
#[derive(Default)]
struct Notes {
    better: Option<Better>,
    scope: Option<Scope>,
    compute: Option<String>,
}

impl Notes {
    fn take(&mut self, note: &str) -> Result<(), String> {
        let (word, rest) = note.split_once(' ').unwrap_or((note, ""));
        let bad = || format!("\"#@ {note}\" says nothing");
        match word {
            "better" => self.better = Some(Better::parse(rest).ok_or_else(bad)?),
            "scope" => self.scope = Some(Scope::parse(rest).ok_or_else(bad)?),
            "compute" => self.compute = Some(rest.to_owned()),
            _ => return Err(bad()),
        }
        Ok(())
    }
}

fn setting(line: &str, number: usize, notes: Notes, machine: Machine) -> Result<Setting, String> {
    let (optional, line) = match line.strip_prefix('-') {
        Some(rest) => (true, rest.trim_start()),
        None => (false, line),
    };
    let (name, value) = line
        .split_once('=')
        .ok_or_else(|| format!("\"{line}\" is no setting; write KEY = VALUE"))?;
    let name = name.trim();
    let key = Key::parse(name).ok_or_else(|| format!("\"{name}\" is no setting's name"))?;
    let value = match &notes.compute {
        Some(expression) => evaluate(expression, machine)
            .map_err(|problem| format!("cannot compute {key}: {problem}"))?,
        None => value.trim().to_owned(),
    };
    // Where the file has no note on a key, the built-in profiles' note applies.
    let known = match (notes.better, notes.scope) {
        (Some(_), Some(_)) => (None, None),
        _ => known(&key),
    };
    Ok(Setting {
        key,
        value,
        optional,
        better: notes.better.or(known.0).unwrap_or(Better::Exact),
        scope: notes.scope.or(known.1),
        line: number,
    })
}

fn known(key: &Key) -> (Option<Better>, Option<Scope>) {
    let none = Machine {
        memory_kib: 0,
        cpus: 1,
    };
    // Every built-in setting has both notes, so this does not recurse further.
    BUILT_IN
        .iter()
        .filter_map(|(name, text)| Profile::parse(name, text, none).ok())
        .flat_map(|profile| profile.settings)
        .find(|setting| setting.key == *key)
        .map_or((None, None), |found| (Some(found.better), found.scope))
}

/// Why a profile can't be loaded.
#[derive(Debug)]
pub enum ProfileError {
    /// No built-in profile has this name, and it is not written as a path.
    Unknown(String),
    /// The file can't be read.
    File {
        /// Its path, as it was given.
        path: String,
        /// The error; `InvalidData` if it is too large or not UTF-8.
        error: io::Error,
    },
    /// A line can't be parsed, or its value can't be computed.
    Line {
        /// The built-in's name, or the file's path.
        profile: String,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

impl fmt::Display for ProfileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                let names = BUILT_IN.map(|(name, _)| name).join(", ");
                write!(
                    f,
                    "there is no profile \"{name}\"; choose from {names}, or name a file as ./FILE.conf"
                )
            }
            Self::File { path, error } => write!(f, "cannot read the profile \"{path}\": {error}"),
            Self::Line {
                profile,
                line,
                problem,
            } => write!(f, "{profile}:{line}: {problem}"),
        }
    }
}

impl std::error::Error for ProfileError {}
