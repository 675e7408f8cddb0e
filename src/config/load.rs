//! Lays flags over environment over file over defaults, and remembers where
//! each value came from.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Origin, Problem};
use super::field::{FIELDS, Field, Kind, Slot};
use super::quantity::QuantityError;
use super::{Config, file};
use crate::keepalive::Preset;

/// The variable that names the configuration file when `--config` doesn't.
pub const CONFIG_ENV: &str = "HEADWATER_CONFIG";
/// The variable by which hosting platforms name the port to listen on.
pub const PORT_ENV: &str = "PORT";

/// The fields that a keepalive preset sets.
pub const PRESET_FIELDS: [&str; 5] = [
    "keepalive.idle_s",
    "keepalive.interval_s",
    "keepalive.probes",
    "keepalive.user_timeout_ms",
    "timeouts.idle_ms",
];

#[derive(Debug)]
/// A field's flag with the values it was given.
pub struct FlagValue {
    /// The field.
    pub field: &'static Field,
    /// Its values: one, or several for a flag that may be repeated.
    pub values: Vec<OsString>,
}

/// A valid configuration, and where its values came from.
#[derive(Debug)]
pub struct Effective {
    /// The configuration.
    pub config: Config,
    /// Origin of every value that isn't a default, by `section.key`.
    pub origins: BTreeMap<String, Origin>,
}

/// A value as it was written.
pub(super) enum Raw {
    /// From a flag or variable; a list is separated by commas.
    Texts(Vec<OsString>),
    /// A TOML string.
    Text(String),
    /// A TOML integer.
    Integer { digits: String, radix: u32 },
    /// A TOML boolean.
    Bool(bool),
    /// A TOML array of strings.
    Array(Vec<String>),
    /// Another TOML value, as it is to be shown.
    Other(String),
}

/// Builds the configuration from `flags`, the environment as `env` answers for
/// it, the TOML file (`file`, else the one `HEADWATER_CONFIG` names) and the
/// defaults, in that order of precedence. An empty variable counts as unset.
///
/// # Errors
/// The first value that is malformed, out of range or in conflict with
/// another, or a file that can't be read, with the place it was written.
pub fn load(
    flags: &[FlagValue],
    env: impl Fn(&str) -> Option<OsString>,
    file: Option<&Path>,
) -> Result<Effective, ConfigError> {
    let env = |name: &str| env(name).filter(|value| !value.is_empty());
    let mut effective = Effective {
        config: Config::default(),
        origins: BTreeMap::new(),
    };
    let file = match file {
        Some(path) => Some((path.to_owned(), Origin::Flag("--config".to_owned()))),
        None => env(CONFIG_ENV).map(|path| (path.into(), Origin::Env(CONFIG_ENV.to_owned()))),
    };
    if let Some((path, named_by)) = file {
        file::read(&path, named_by, &mut effective)?;
    }
    if let Some(port) = env(PORT_ENV) {
        effective.set_port(&port)?;
    }
    for field in FIELDS {
        let name = field.env();
        if let Some(value) = env(&name) {
            effective.set(field, Raw::Texts(vec![value]), Origin::Env(name))?;
        }
    }
    for flag in flags {
        let origin = Origin::Flag(flag.field.typed());
        effective.set(flag.field, Raw::Texts(flag.values.clone()), origin)?;
    }
    effective.fit_defaults();
    match effective.config.validate() {
        Ok(()) => Ok(effective),
        Err(ConfigError {
            origin: Origin::Key(key),
            problem,
        }) => Err(effective.error(&key, problem)),
        Err(error) => Err(error),
    }
}

impl Effective {
    pub(super) fn set(
        &mut self,
        field: &Field,
        raw: Raw,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        match assign(field, &mut self.config, raw) {
            Ok(()) => {
                if field.kind == Kind::Preset {
                    self.lay_preset(&origin);
                }
                self.origins.insert(field.path(), origin);
                Ok(())
            }
            Err(problem) => Err(ConfigError { origin, problem }),
        }
    }

    /// Lays the preset just set, at `origin`, over the values of weaker places: one that is
    /// written at the same or a stronger place wins over it, whichever is read first.
    fn lay_preset(&mut self, origin: &Origin) {
        let mut preset = Config::default();
        preset.set_preset(self.config.keepalive.preset);
        for field in FIELDS {
            let path = field.path();
            let written = self.origins.get(&path).map_or(0, Origin::rank);
            if !PRESET_FIELDS.contains(&&*path) || written >= origin.rank() {
                continue;
            }
            if let (Slot::Long(to), Slot::Long(from)) =
                ((field.slot)(&mut self.config), (field.slot)(&mut preset))
            {
                *to = *from;
                self.origins.insert(path, origin.clone());
            }
        }
    }

    /// `PORT` gives way to `HEADWATER_LISTEN` and `--listen`, which are laid over it.
    fn set_port(&mut self, port: &OsStr) -> Result<(), ConfigError> {
        let origin = Origin::Env(PORT_ENV.to_owned());
        let Some(number) = port.to_str().and_then(|text| text.parse::<u16>().ok()) else {
            return Err(ConfigError {
                origin,
                problem: Problem::Invalid {
                    value: port.to_string_lossy().into_owned(),
                    expected: "a port from 0 to 65535".to_owned(),
                },
            });
        };
        self.config.server.listen = vec![format!(":{number}")];
        self.origins.insert("server.listen".to_owned(), origin);
        Ok(())
    }

    /// Moves a default that would contradict a bound that was written.
    fn fit_defaults(&mut self) {
        let limits = &mut self.config.limits;
        if !self.origins.contains_key("limits.uri_bytes") && limits.uri_bytes >= limits.head_bytes {
            limits.uri_bytes = limits.head_bytes / 2;
        }
        let cache = &mut self.config.cache;
        if !self.origins.contains_key("cache.body_bytes") {
            cache.body_bytes = cache.body_bytes.min(cache.bodies_bytes);
        }
        let compression = &mut self.config.compression;
        if !self.origins.contains_key("compression.bytes_min") {
            compression.bytes_min = compression.bytes_min.min(compression.bytes_max);
        }
        if !self.origins.contains_key("compression.bytes_max") {
            compression.bytes_max = compression.bytes_max.max(compression.bytes_min);
        }
    }

    /// Checks that the folder to serve and the one for traces are folders, and that this user may
    /// enter them.
    ///
    /// # Errors
    /// [`Problem::Root`] and [`Problem::TraceDir`] where they aren't.
    pub fn check_folders(&self) -> Result<(), ConfigError> {
        // The dot makes the kernel look for the right to enter.
        let enter = |path: &Path| std::fs::metadata(path.join("."));
        let path = self.config.server.root.clone();
        if let Err(source) = enter(&path) {
            return Err(self.error("server.root", Problem::Root { path, source }));
        }
        let Some(dir) = &self.config.observe.trace_dir else {
            return Ok(());
        };
        let path = PathBuf::from(dir);
        match enter(&path) {
            Ok(_) => Ok(()),
            Err(source) => Err(self.error("observe.trace_dir", Problem::TraceDir { path, source })),
        }
    }

    /// `problem` of the value of `key` (`section.key`), at the place where that was written.
    pub fn error(&self, key: &str, problem: Problem) -> ConfigError {
        let written = self.origins.get(key).cloned();
        ConfigError {
            origin: written.unwrap_or_else(|| Origin::Key(key.to_owned())),
            problem,
        }
    }
}

/// Writes `raw` into `field` of `config`; ranges are left to [`Config::validate`].
fn assign(field: &Field, config: &mut Config, raw: Raw) -> Result<(), Problem> {
    match (field.slot)(config) {
        Slot::Switch(place) => *place = switch(raw)?,
        Slot::Size(place) => {
            let number = number(field, &raw)?;
            *place = usize::try_from(number).map_err(|_| Problem::Quantity {
                value: raw.shown(),
                source: QuantityError::TooLarge,
            })?;
        }
        Slot::Long(place) => *place = number(field, &raw)?,
        Slot::Optional(place) => *place = optional(field, raw)?,
        Slot::List(place) => *place = list(raw)?,
        Slot::Path(place) => *place = path(raw)?,
        Slot::Mode(place) => *place = mode(&raw)?,
        Slot::Preset(place) => *place = preset(&raw)?,
    }
    Ok(())
}

impl Raw {
    /// The value as the person wrote it.
    fn shown(&self) -> String {
        match self {
            Raw::Texts(texts) => texts
                .iter()
                .map(|text| text.to_string_lossy())
                .collect::<Vec<_>>()
                .join(","),
            Raw::Text(text) | Raw::Other(text) => text.clone(),
            Raw::Integer { digits, radix } => match radix {
                2 => format!("0b{digits}"),
                8 => format!("0o{digits}"),
                16 => format!("0x{digits}"),
                _ => digits.clone(),
            },
            Raw::Bool(value) => value.to_string(),
            Raw::Array(items) => format!("{items:?}"),
        }
    }

    /// The one text that this is, if it is one.
    fn text(&self) -> Option<&str> {
        match self {
            Raw::Texts(texts) => texts.last().and_then(|text| text.to_str()),
            Raw::Text(text) => Some(text),
            _ => None,
        }
    }

    fn invalid(&self, expected: impl Into<String>) -> Problem {
        Problem::Invalid {
            value: self.shown(),
            expected: expected.into(),
        }
    }
}

fn switch(raw: Raw) -> Result<bool, Problem> {
    if let Raw::Bool(value) = raw {
        return Ok(value);
    }
    let outside_toml = matches!(raw, Raw::Texts(_));
    match raw.text() {
        Some("true" | "on" | "yes" | "1") if outside_toml => Ok(true),
        Some("false" | "off" | "no" | "0") if outside_toml => Ok(false),
        _ => Err(raw.invalid("true or false")),
    }
}

fn number(field: &Field, raw: &Raw) -> Result<u64, Problem> {
    let Kind::Number { unit, .. } = field.kind else {
        return Err(raw.invalid("a value of this field's kind"));
    };
    let parsed = match raw {
        Raw::Integer { digits, radix } => {
            u64::from_str_radix(digits, *radix).map_err(|_| match digits.strip_prefix('-') {
                Some(_) => QuantityError::NotOne(unit),
                None => QuantityError::TooLarge,
            })
        }
        _ => match raw.text() {
            Some(text) => unit.parse(text),
            None => Err(QuantityError::NotOne(unit)),
        },
    };
    parsed.map_err(|source| Problem::Quantity {
        value: raw.shown(),
        source,
    })
}

fn optional(field: &Field, raw: Raw) -> Result<Option<String>, Problem> {
    let Kind::Optional(placeholder, none) = field.kind else {
        return Err(raw.invalid("a value of this field's kind"));
    };
    match raw.text().map(str::trim) {
        Some(word) if word == none => Ok(None),
        Some(text) if !text.is_empty() => Ok(Some(text.to_owned())),
        _ => Err(raw.invalid(format!("a text ({placeholder}) or \"{none}\""))),
    }
}

fn list(raw: Raw) -> Result<Vec<String>, Problem> {
    let items: Option<Vec<String>> = match &raw {
        Raw::Texts(texts) => texts
            .iter()
            .map(|t| t.to_str().map(split))
            .collect::<Option<Vec<_>>>()
            .map(|all| all.concat()),
        Raw::Text(text) => Some(split(text)),
        Raw::Array(items) => Some(items.clone()),
        _ => None,
    };
    match items {
        Some(items) if !items.is_empty() && items.iter().all(|item| !item.is_empty()) => Ok(items),
        _ => Err(raw.invalid("one address or more, such as \":8080\"")),
    }
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(|item| item.trim().to_owned()).collect()
}

fn path(raw: Raw) -> Result<PathBuf, Problem> {
    let path = match &raw {
        Raw::Texts(texts) => texts.last().map(PathBuf::from),
        Raw::Text(text) => Some(PathBuf::from(text)),
        _ => None,
    };
    match path {
        Some(path) if !path.as_os_str().is_empty() => Ok(path),
        _ => Err(raw.invalid("the path of a folder")),
    }
}

/// A decimal TOML integer is refused: `600` would be taken for the bits 01130.
fn mode(raw: &Raw) -> Result<u32, Problem> {
    let digits = match raw {
        Raw::Integer { digits, radix: 8 } => Some(digits.as_str()),
        _ => raw.text(),
    };
    digits
        .map(|text| text.strip_prefix("0o").unwrap_or(text))
        .filter(|text| !text.starts_with('+'))
        .and_then(|text| u32::from_str_radix(text, 8).ok())
        .ok_or_else(|| raw.invalid("permission bits in octal, such as \"0660\""))
}

fn preset(raw: &Raw) -> Result<Preset, Problem> {
    match raw.text().map(|name| name.trim().parse()) {
        Some(Ok(preset)) => Ok(preset),
        _ => Err(raw.invalid(Preset::names())),
    }
}
