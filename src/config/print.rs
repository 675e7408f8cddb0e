//! Prints a configuration as a TOML file with the same meaning.

use std::collections::BTreeSet;
use std::fmt::{Display, Write};

use super::effective::Effective;
use super::field::{FIELDS, Field};
use super::responses::HeaderRule;
use super::value::Value;

impl Effective {
    /// The configuration as TOML; each value that isn't a default is followed by a comment with its
    /// source. A relative root is printed in full.
    pub fn to_toml(&self) -> String {
        let mut config = self.config.clone();
        if let Ok(root) = std::path::absolute(&config.server.root) {
            config.server.root = root;
        }
        let mut out = String::new();
        let mut section = "";
        for field in FIELDS {
            let value = field.value(&config);
            if field.section != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                section = field.section;
                match &value {
                    Value::HeaderRules(rules) => self.print_header_rules(&mut out, rules),
                    _ => drop(writeln!(out, "{gap}[{section}]")),
                }
            }
            match value {
                Value::Switch(on) => self.print(&mut out, field, field.key, on),
                Value::Number(number) => self.print(&mut out, field, field.key, number),
                Value::Text(text) => {
                    self.print(&mut out, field, field.key, toml::Value::String(text));
                }
                Value::List(items) => {
                    self.print(&mut out, field, field.key, toml::Value::from(items));
                }
                Value::Map(pairs) => {
                    for (key, text) in pairs {
                        let key = toml::Value::String(key).to_string();
                        self.print(&mut out, field, &key, toml::Value::String(text));
                    }
                }
                Value::HeaderRules(_) => {}
            }
        }
        out
    }

    fn print(&self, out: &mut String, field: &Field, key: &str, value: impl Display) {
        let _ = write!(out, "{key} = {value}");
        self.print_source(out, &field.path());
    }

    /// Ends a line with the source of the value at `key`, if it isn't a default.
    fn print_source(&self, out: &mut String, key: &str) {
        if let Some(at) = self.sources.get(key) {
            let at = at.to_string().replace(char::is_control, "?");
            let _ = write!(out, "  # {at}");
        }
        out.push('\n');
    }

    fn print_header_rules(&self, out: &mut String, rules: &[HeaderRule]) {
        let text = |text: &String| toml::Value::String(text.clone()).to_string();
        for rule in rules {
            let _ = write!(out, "\n[[headers]]");
            self.print_source(out, "headers.*");
            let _ = writeln!(out, "path = {}", toml::Value::from(rule.paths.clone()));
            if rule.always {
                let _ = writeln!(out, "always = true");
            }
            for (key, texts) in [("status", &rule.statuses), ("remove", &rule.remove)] {
                if !texts.is_empty() {
                    let _ = writeln!(out, "{key} = {}", toml::Value::from(texts.clone()));
                }
            }
            for (key, lines) in [("set", &rule.set), ("add", &rule.add)] {
                let names: BTreeSet<&String> = lines.iter().map(|(name, _)| name).collect();
                let lines = names.iter().map(|name| {
                    let values = lines.iter().filter(|line| line.0 == **name);
                    let values: Vec<_> = values.map(|line| line.1.clone()).collect();
                    let value = match &values[..] {
                        [one] => text(one),
                        _ => toml::Value::from(values).to_string(),
                    };
                    format!("{} = {value}", text(name))
                });
                let lines = lines.collect::<Vec<_>>().join(", ");
                if !lines.is_empty() {
                    let _ = writeln!(out, "{key} = {{ {lines} }}");
                }
            }
        }
    }
}
