//! Prints a configuration as the TOML file that would give it.

use std::fmt::Write;

use super::effective::Effective;
use super::field::FIELDS;
use super::value::Value;

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
            if let Some(at) = self.sources.get(&field.path()) {
                let at = at.to_string().replace(char::is_control, "?");
                let _ = write!(out, "  # {at}");
            }
            out.push('\n');
        }
        out
    }
}
