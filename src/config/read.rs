//! Reads the file, the environment and the flags, in ascending precedence, and validates the
//! result.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::effective::{Effective, PORT_ENV};
use super::error::{ConfigError, ValueSource};
use super::field::{FIELDS, Field};
use super::file;
use super::model::Config;
use super::raw::RawValue;

/// The variable that names the configuration file when `--config` doesn't.
pub const CONFIG_ENV: &str = "HEADWATER_CONFIG";

/// A field's flag with the values it was given.
#[derive(Clone, Debug)]
pub struct FlagValue {
    /// The field.
    pub field: &'static Field,
    /// Its values: one, or several for a flag that may be repeated.
    pub values: Vec<OsString>,
    /// The flag as it was typed.
    pub typed: String,
}

impl FlagValue {
    /// Values of the field's own flag.
    pub fn new(field: &'static Field, values: Vec<OsString>) -> FlagValue {
        let typed = field.typed();
        FlagValue {
            field,
            values,
            typed,
        }
    }

    /// `--port PORT`: short for `--listen :PORT`, every address of the host.
    pub fn port(port: u16) -> Option<FlagValue> {
        let field = FIELDS.iter().find(|field| field.flag == "listen")?;
        Some(FlagValue {
            field,
            values: vec![format!(":{port}").into()],
            typed: "--port".to_owned(),
        })
    }
}

/// Builds the configuration from `flags`, the environment as `env` returns it, the TOML file
/// (`file`, else the one `HEADWATER_CONFIG` names) and the defaults, in that order of precedence.
/// An empty variable counts as unset.
///
/// # Errors
/// The first value that is malformed, out of range or in conflict with another, or a file that
/// can't be read, with the place where it was written.
pub fn read(
    flags: &[FlagValue],
    env: impl Fn(&str) -> Option<OsString>,
    file: Option<&Path>,
) -> Result<Effective, ConfigError> {
    let env = |name: &str| env(name).filter(|value| !value.is_empty());
    let mut effective = Effective {
        config: Config::default(),
        sources: BTreeMap::new(),
    };
    let file = match file {
        Some(path) => Some((path.to_owned(), ValueSource::Flag("--config".to_owned()))),
        None => env(CONFIG_ENV).map(|path| (path.into(), ValueSource::Env(CONFIG_ENV.to_owned()))),
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
            effective.set(field, RawValue::Texts(vec![value]), ValueSource::Env(name))?;
        }
    }
    for flag in flags {
        let at = ValueSource::Flag(flag.typed.clone());
        effective.set(flag.field, RawValue::Texts(flag.values.clone()), at)?;
    }
    effective.fit_defaults();
    match effective.config.validate() {
        Ok(()) => Ok(effective),
        Err(ConfigError {
            at: ValueSource::Key(key),
            problem,
        }) => Err(effective.error(&key, problem)),
        Err(error) => Err(error),
    }
}
