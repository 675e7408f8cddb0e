//! The fields of the configuration: their names and kinds. The table lists them all.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::model::Config;
use super::quantity::Unit;
use super::responses::HeaderRule;
use crate::keepalive::Preset;

mod table;

pub use table::FIELDS;

/// One field of the configuration under all its names.
#[derive(Debug)]
pub struct Field {
    /// TOML section.
    pub section: &'static str,
    /// TOML key, whose suffix is the unit of a plain integer. `*`: the field is the whole section.
    pub key: &'static str,
    /// Long flag without its dashes; the variable is `HEADWATER_` and this in capitals.
    pub flag: &'static str,
    /// Group in the help.
    pub heading: &'static str,
    /// Its description, for the help.
    pub about: &'static str,
    /// Its kind.
    pub kind: FieldKind,
    pub(super) get_mut: for<'a> fn(&'a mut Config) -> FieldMut<'a>,
}

/// The kind of a field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// On or off.
    Switch,
    /// A number of `unit` from `min` to `max`.
    Number {
        /// The unit.
        unit: Unit,
        /// Least allowed.
        min: u64,
        /// Most allowed.
        max: u64,
    },
    /// A text, shown in the help as this placeholder, or the word that means none.
    Optional(&'static str, &'static str),
    /// Addresses.
    List,
    /// Texts, shown in the help as this placeholder, or the word that means none.
    Words(&'static str, &'static str),
    /// A section with keys that the operator chooses, and texts; in flags and variables `KEY=TEXT`.
    /// Sources of different precedence are merged key by key.
    Map(&'static str),
    /// An array of tables with changes to header lines.
    HeaderRules,
    /// The folder, a positional argument.
    Path,
    /// Permission bits in octal.
    Mode,
    /// The name of a keepalive preset, which sets the fields of [`super::PRESET_FIELDS`].
    Preset,
}

/// A field of a [`Config`], to be read or written.
pub(super) enum FieldMut<'a> {
    Switch(&'a mut bool),
    Size(&'a mut usize),
    Long(&'a mut u64),
    Optional(&'a mut Option<String>),
    List(&'a mut Vec<String>),
    Map(&'a mut BTreeMap<String, String>),
    HeaderRules(&'a mut Vec<HeaderRule>),
    Path(&'a mut PathBuf),
    Mode(&'a mut u32),
    Preset(&'a mut Preset),
}

impl Field {
    /// The environment variable: `--idle-timeout` is `HEADWATER_IDLE_TIMEOUT`.
    pub fn env(&self) -> String {
        format!(
            "HEADWATER_{}",
            self.flag.to_ascii_uppercase().replace('-', "_")
        )
    }

    /// Section and key: `timeouts.idle_ms`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }

    /// The flag as typed: `--idle-timeout`, or `DIR` for the positional one.
    pub fn typed(&self) -> String {
        match self.kind {
            FieldKind::Path => "DIR".to_owned(),
            _ => format!("--{}", self.flag),
        }
    }
}
