//! A configuration under construction, with the source of every value.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Problem, ValueSource};
use super::field::{FIELDS, Field, FieldKind, FieldMut};
use super::model::Config;
use super::raw::{RawValue, assign};

/// The variable in which hosting platforms pass the port to listen on.
pub const PORT_ENV: &str = "PORT";

/// The fields that a keepalive preset sets.
pub const PRESET_FIELDS: [&str; 5] = [
    "keepalive.idle_s",
    "keepalive.interval_s",
    "keepalive.probes",
    "keepalive.user_timeout_ms",
    "timeouts.idle_ms",
];

/// A configuration together with the source of each value.
#[derive(Debug)]
pub struct Effective {
    /// The configuration.
    pub config: Config,
    /// Source of every value that isn't a default, by `section.key`.
    pub sources: BTreeMap<String, ValueSource>,
}

impl Effective {
    pub(super) fn set(
        &mut self,
        field: &Field,
        raw: RawValue,
        at: ValueSource,
    ) -> Result<(), ConfigError> {
        match assign(field, &mut self.config, raw) {
            Ok(()) => {
                if field.kind == FieldKind::Preset {
                    self.apply_preset(&at);
                }
                if field.kind == FieldKind::HeaderRules {
                    // These are the positions of rules that have just been replaced.
                    self.sources.retain(|key, _| !key.starts_with("headers["));
                }
                self.sources.insert(field.path(), at);
                Ok(())
            }
            Err(problem) => Err(ConfigError { at, problem }),
        }
    }

    /// Applies the preset that `at` has just set to every field it defines, except those that were
    /// set by a source of the same or a higher rank: these win, in whatever order they are read.
    fn apply_preset(&mut self, at: &ValueSource) {
        let mut preset = Config::default();
        preset.set_preset(self.config.keepalive.preset);
        for field in FIELDS {
            let path = field.path();
            let written = self.sources.get(&path).map_or(0, ValueSource::rank);
            if !PRESET_FIELDS.contains(&&*path) || written >= at.rank() {
                continue;
            }
            if let (FieldMut::Long(to), FieldMut::Long(from)) = (
                (field.get_mut)(&mut self.config),
                (field.get_mut)(&mut preset),
            ) {
                *to = *from;
                self.sources.insert(path, at.clone());
            }
        }
    }

    /// `PORT` has a lower rank than `HEADWATER_LISTEN` and `--listen`, which are set after it.
    pub(super) fn set_port(&mut self, port: &OsStr) -> Result<(), ConfigError> {
        let at = ValueSource::Env(PORT_ENV.to_owned());
        let Some(number) = port.to_str().and_then(|text| text.parse::<u16>().ok()) else {
            return Err(ConfigError {
                at,
                problem: Problem::Invalid {
                    value: port.to_string_lossy().into_owned(),
                    expected: "a port from 0 to 65535".to_owned(),
                },
            });
        };
        self.config.server.listen = vec![format!(":{number}")];
        self.sources.insert("server.listen".to_owned(), at);
        Ok(())
    }

    /// Adjusts defaults that would contradict a configured bound.
    pub(super) fn fit_defaults(&mut self) {
        let limits = &mut self.config.limits;
        if !self.sources.contains_key("limits.uri_bytes") && limits.uri_bytes >= limits.head_bytes {
            limits.uri_bytes = limits.head_bytes / 2;
        }
        let cache = &mut self.config.cache;
        if !self.sources.contains_key("cache.body_bytes") {
            cache.body_bytes = cache.body_bytes.min(cache.bodies_bytes);
        }
        let compression = &mut self.config.compression;
        if !self.sources.contains_key("compression.bytes_min") {
            compression.bytes_min = compression.bytes_min.min(compression.bytes_max);
        }
        if !self.sources.contains_key("compression.bytes_max") {
            compression.bytes_max = compression.bytes_max.max(compression.bytes_min);
        }
    }

    /// Checks that the folder to serve and the one for traces are folders, and that this user may
    /// enter them.
    ///
    /// # Errors
    /// [`Problem::Root`] and [`Problem::TraceDir`] where they aren't.
    pub fn check_folders(&self) -> Result<(), ConfigError> {
        // With the dot the kernel checks the permission to enter the folder.
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

    /// An error about the value of `key` (`section.key`), with the source of that value.
    pub fn error(&self, key: &str, problem: Problem) -> ConfigError {
        let of_rules = key.starts_with("headers[").then_some("headers.*");
        let written = self
            .sources
            .get(key)
            .or_else(|| self.sources.get(of_rules?));
        let written = written.cloned();
        ConfigError {
            at: written.unwrap_or_else(|| ValueSource::Key(key.to_owned())),
            problem,
        }
    }
}
