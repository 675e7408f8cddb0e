//! Prints a configuration as the TOML file that would give it.

use std::fmt::Write;

use super::Config;
use super::field::{FIELDS, Field, Kind, Slot};
use super::load::Effective;

/// The value of a field, for those who look at all of them alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// On or off.
    Switch(bool),
    /// A number in the unit of its field.
    Number(u64),
    /// A text; an absent one is the word for it.
    Text(String),
    /// Texts.
    List(Vec<String>),
}

impl Field {
    /// The value of this field in `config`.
    pub fn value(&self, config: &Config) -> Value {
        match (self.slot)(&mut config.clone()) {
            Slot::Switch(value) => Value::Switch(*value),
            Slot::Size(value) => Value::Number(*value as u64),
            Slot::Long(value) => Value::Number(*value),
            Slot::Optional(value) => Value::Text(match (value, self.kind) {
                (Some(text), _) => text.clone(),
                (None, Kind::Optional(_, none)) => none.to_owned(),
                (None, _) => String::new(),
            }),
            Slot::List(value) => Value::List(value.clone()),
            Slot::Path(value) => Value::Text(value.to_string_lossy().into_owned()),
            Slot::Mode(value) => Value::Text(format!("{value:04o}")),
            Slot::Preset(value) => Value::Text(value.name().to_owned()),
        }
    }

    /// The value of this field in `config` as a flag would take it.
    pub fn shown(&self, config: &Config) -> String {
        match (self.value(config), self.kind) {
            (Value::Switch(on), _) => on.to_string(),
            (Value::Number(number), Kind::Number { unit, .. }) => unit.show(number),
            (Value::Number(number), _) => number.to_string(),
            (Value::Text(text), _) => text,
            (Value::List(items), _) => items.join(","),
        }
    }
}

impl Effective {
    /// The configuration as TOML; a comment follows each value that isn't a
    /// default and says where it came from. A relative root is printed in full.
    pub fn to_toml(&self) -> String {
        let mut config = self.config.clone();
        if let Ok(root) = std::path::absolute(&config.server.root) {
            config.server.root = root;
        }
        let mut out = String::new();
        let mut section = "";
        for field in FIELDS {
            if field.section != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                section = field.section;
                let _ = writeln!(out, "{gap}[{section}]");
            }
            let value = match field.value(&config) {
                Value::Switch(on) => on.to_string(),
                Value::Number(number) => number.to_string(),
                Value::Text(text) => toml::Value::String(text).to_string(),
                Value::List(items) => toml::Value::from(items).to_string(),
            };
            let _ = write!(out, "{} = {value}", field.key);
            if let Some(origin) = self.origins.get(&field.path()) {
                let origin = origin.to_string().replace(char::is_control, "?");
                let _ = write!(out, "  # {origin}");
            }
            out.push('\n');
        }
        out
    }
}
